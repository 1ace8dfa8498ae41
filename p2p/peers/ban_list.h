// Who may not be here until when: ids the operator dropped, and addresses and subnets, which no
// command bans yet. Honoured on every path, dialing included. Thread: control's; the gate reads an
// immutable copy.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/node_id.h"

namespace helo::peers {

struct Ban {
  std::string text;  // the operator's words, told to the remote
  MonoTime until = kNever;
  WallTime created{};
};

// What the gate may know before TLS: addresses only.
class AddressBans {
 public:
  std::vector<std::pair<Subnet, MonoTime>> subnets;
  bool Banned(const IpAddress& ip, MonoTime now) const;
};

class BanList {
 public:
  // Replaces an earlier ban of the same id.
  void BanId(const NodeId& id, Ban ban);
  void BanSubnet(const Subnet& subnet, Ban ban);
  bool UnbanId(const NodeId& id);
  bool UnbanSubnet(const Subnet& subnet);
  // nullptr if free; expired entries are free.
  const Ban* Find(const NodeId& id, MonoTime now) const;
  const Ban* Find(const IpAddress& ip, MonoTime now) const;
  void Expire(MonoTime now);
  std::shared_ptr<const AddressBans> ForGate() const;
  std::vector<std::pair<NodeId, Ban>> ids() const;

 private:
  absl::flat_hash_map<NodeId, Ban> ids_;
  std::vector<std::pair<Subnet, Ban>> subnets_;
};

}  // namespace helo::peers
