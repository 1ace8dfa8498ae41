// What became of every attempt, in and out: when, how far, milliseconds per stage, why, who
// decided. Three bounded rings, so that a flood of refused strangers cannot push out the line an
// operator needs; inbound ones that never came up are aggregated by source and reason, the latest
// standing for all. Thread: control's.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/node_id.h"
#include "p2p/base/reasons.h"

namespace helo::peers {

struct Attempt {
  uint64_t sequence = 0;  // ascending over all rings, set by Add
  Direction direction = Direction::kInbound;
  WallTime began{};
  WallTime ended{};
  std::string target;  // outbound: what was asked for (host:port or helo://)
  std::optional<Endpoint> remote;
  std::optional<NodeId> id;         // proven over TLS
  std::string user_agent;           // the remote's bytes
  Stage stage = Stage::kGate;       // reached
  std::array<Duration, 7> spent{};  // by Stage; 0 = not entered
  CloseInfo close;
  bool was_up = false;
  bool still_up = false;   // close is not meaningful yet
  uint64_t repeats = 1;    // aggregated refusals; the other fields are the latest one's
  WallTime first_began{};  // of the first of them; set by Add
};

class AttemptHistory {
 public:
  struct Sizes {
    size_t outbound = 1024, inbound = 1024, refused = 1024;
  };
  explicit AttemptHistory(Sizes sizes) : sizes_(sizes) {}
  AttemptHistory() : AttemptHistory(Sizes{}) {}
  uint64_t Add(Attempt attempt);
  // A connection that was added as still up has ended: its line is rewritten in place; nothing if
  // it has been pushed out.
  void Replace(uint64_t sequence, Attempt attempt);
  // Newest first; `before` = 0 from the newest, else only sequences below it. `id` and `direction`
  // filter.
  struct Query {
    size_t most = 100;
    uint64_t before = 0;
    std::optional<NodeId> id;
    std::optional<Direction> direction;
    std::string text;  // substring of target or remote address
  };
  std::vector<Attempt> Find(const Query& query) const;

 private:
  using Source = std::pair<Subnet, Reason>;
  static Source SourceOfRefusal(const Attempt& attempt);
  void AddRefused(Attempt attempt);

  const Sizes sizes_;
  uint64_t next_ = 1;
  std::deque<Attempt> outbound_, inbound_;
  std::list<Attempt> refused_;  // the most recently repeated last
  absl::flat_hash_map<Source, std::list<Attempt>::iterator> by_source_;
};

}  // namespace helo::peers
