// How many peers fit into the descriptors this process may have (DESIGN 3), in plain sentences. The
// arithmetic is pure; what the kernel says comes from fd_limit.h. Thread: PlanFds any; FdBudget the
// starter's until the server starts, control's from then on, its pools any.
#pragma once

#include <absl/status/statusor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "p2p/base/fd_ticket.h"
#include "p2p/peers/fd_limit.h"

namespace helo::peers {

struct FdDemand {  // what the configuration asks for; defaults of DESIGN 3
  int listeners = 1;
  int inbound = 64;
  int outbound = 16;
  int closing = 64;
  int admin = 16;
  int metrics = 0;  // above `admin` and in its pool: the metrics listener and its callers
  int files = 32;   // files, plugins, resolver, epoll
  int loops = 1;    // network threads; those after the first need more `files`
  int spare = 1;
  int handshakes = 0;  // 0: a quarter of the rest, 64 to 4,096
  int trusted = 0;     // ids that are admitted above `inbound`
};

// What a node cannot work with less of; where the configuration asks for less than this, that is
// enough.
FdDemand LeastFds(const FdDemand& demand);

// The limit with which everything that is asked for fits, handshakes at their most.
uint64_t WantedFds(const FdDemand& demand, int open_now);

struct FdPlan {
  FdDemand demand = {};
  std::array<int, kPoolKinds> pools{};  // by PoolKind
  int outside = 0;                      // open, and in no pool
  int max_inbound = 0;                  // slots for those who are not trusted
  int max_outbound = 0;
  int total = 0;                   // sum of pools plus `outside`
  uint64_t limit = 0, wanted = 0;  // what there is, and with what nothing would be reduced
  bool reduced = false;            // less than asked for
  bool too_low = false;            // less than a working minimum: only SqueezeFds makes such a plan
  std::vector<std::string>
      sentences;  // the sum and, if reduced, what fits and how to raise the limit
};
// FailedPrecondition, naming the minimum and the remedies, when not even a working minimum fits. 64
// descriptors must be workable. `used`, by PoolKind, of a node that runs: what is not used is given
// up before a peer is.
absl::StatusOr<FdPlan> PlanFds(const FdDemand& demand, const FdLimit& limit,
                               const std::array<int, kPoolKinds>& used = {});
// For a node that runs already: below the minimum too it goes on, the operator first, then the
// peers that it has.
FdPlan SqueezeFds(const FdDemand& demand, const FdLimit& limit,
                  const std::array<int, kPoolKinds>& used);

// How things stood at the last look.
struct FdStatus {
  uint64_t soft = 0, hard = 0;
  int open_now = 0;
  int outside = 0;  // of the plan
  int own = 0;      // what the node's libraries opened at start; charged to `files`
  int foreign = 0;  // open since, and not by the node: a plugin, a library. Charged to `files` too
  bool reduced = false;
  std::vector<std::string> sentences;
};

struct FdChange {
  uint64_t soft_before = 0;
  bool limit_changed = false;
  bool pools_fell = false, pools_rose = false;  // some pool's limit
};

// The pools of a running node.
class FdBudget {
 public:
  explicit FdBudget(const FdPlan& plan);
  FdPool& pool(PoolKind kind) { return *pools_[static_cast<size_t>(kind)]; }
  const FdPool& pool(PoolKind kind) const { return *pools_[static_cast<size_t>(kind)]; }
  const FdPlan& plan() const { return plan_; }

  // Before peers come and go: what is open now and has no ticket is the node's own for good.
  void SettleOwn(const FdLimit& now);
  // To be called before the count is taken that the next Observe or Adjust is given. Counting takes
  // a while (fd_limit.h), and what closes in between was counted but has no ticket afterwards.
  void AboutToCount() { tickets_before_ = TicketsOut(); }
  // Only looks.
  void Observe(const FdLimit& now);
  // Looks, plans again and sets the limit of every pool. A pool that is used above its new limit
  // refuses until enough came back; making it come back is for who knows the peers.
  FdChange Adjust(const FdLimit& now);
  const FdStatus& status() const { return status_; }

 private:
  int TicketsOut() const;

  FdPlan plan_;
  int base_ = 0;  // open before the pools were made
  int tickets_before_ = 0;
  FdStatus status_;
  std::array<std::unique_ptr<FdPool>, kPoolKinds> pools_;
};

}  // namespace helo::peers
