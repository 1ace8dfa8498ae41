// The JSON files that helod keeps in its data directory: helod.json (who runs here), config.json
// (with which options) and peers.json (peers added for good). Thread: each function from one thread
// at a time.
#pragma once

#include <absl/status/status.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/log.h"
#include "p2p/base/node_id.h"

namespace helo::node {

inline constexpr char kNodeFile[] = "helod.json";
inline constexpr char kConfigFile[] = "config.json";
inline constexpr char kPeersFile[] = "peers.json";
inline constexpr char kPluginCopies[] = "plugins";  // a directory: what is mapped

struct RunningNode {
  int64_t pid = 0;
  NodeId id;
  std::vector<Endpoint> listen;     // as bound
  Endpoint admin;                   // as bound
  std::optional<Endpoint> metrics;  // the same, if served
  std::string version;
  std::string user_agent;
  std::string network;
  std::string data_dir;
  WallTime started{};
};

std::string NodeFileJson(const RunningNode& node);

// What SavePeers wrote; empty if there is no file. One that cannot be used is set aside with a
// warning, and what of it can be read is used.
std::vector<PeerAddress> LoadPeers(const std::string& path, LogSink& log);
absl::Status SavePeers(const std::string& path, const std::vector<PeerAddress>& peers);

}  // namespace helo::node
