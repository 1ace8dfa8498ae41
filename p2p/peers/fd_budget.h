// How many peers fit into the descriptors this process may have (DESIGN 3), in plain sentences.
// The arithmetic is pure; reading and raising the limit is man 2 getrlimit. Thread: the starter's.
#pragma once

#include <absl/status/statusor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "p2p/base/fd_ticket.h"

namespace helo::peers {

struct FdDemand {  // what the configuration asks for; defaults of DESIGN 3
  int listeners = 1;
  int inbound = 64;
  int outbound = 16;
  int closing = 64;
  int admin = 16;
  int files = 32;  // files, plugins, resolver, epoll
  int spare = 1;
  int handshakes = 0;  // 0: a quarter of the rest, 64 to 4,096
};

// What a node cannot work with less of; where the configuration asks for less than this, that is
// enough.
FdDemand LeastFds(const FdDemand& demand);

struct FdLimit {
  uint64_t soft = 0, hard = 0;  // RLIM_INFINITY is cut to 2^30
  int open_now = 0;             // /proc/self/fd
};
absl::StatusOr<FdLimit> ReadFdLimit();
// The limit with which everything that is asked for fits, handshakes at their most.
uint64_t WantedFds(const FdDemand& demand, int open_now);
// Raises the soft limit toward the hard one as far as `want`, never lowers it; returns what holds
// afterwards. That it cannot be raised is no error here: PlanFds says what fits.
absl::StatusOr<FdLimit> RaiseFdLimit(uint64_t want);

struct FdPlan {
  std::array<int, kPoolKinds> pools{};  // by PoolKind
  int total = 0;                        // sum of pools plus open_now
  uint64_t limit = 0;
  bool reduced = false;  // less than asked for
  std::vector<std::string>
      sentences;  // the sum and, if reduced, what fits and how to raise the limit
};
// FailedPrecondition, naming the minimum and the remedies, when not even a working minimum fits. 64
// descriptors must be workable.
absl::StatusOr<FdPlan> PlanFds(const FdDemand& demand, const FdLimit& limit);

// The pools of a running node.
class FdBudget {
 public:
  explicit FdBudget(const FdPlan& plan);
  FdPool& pool(PoolKind kind) { return *pools_[static_cast<size_t>(kind)]; }
  const FdPool& pool(PoolKind kind) const { return *pools_[static_cast<size_t>(kind)]; }
  const FdPlan& plan() const { return plan_; }

 private:
  FdPlan plan_;
  std::array<std::unique_ptr<FdPool>, kPoolKinds> pools_;
};

}  // namespace helo::peers
