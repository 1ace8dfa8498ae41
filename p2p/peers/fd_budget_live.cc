// The budget while the node runs: what the kernel says is held against what the tickets say.
#include <absl/strings/str_cat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "p2p/peers/fd_budget.h"

namespace helo::peers {

FdBudget::FdBudget(const FdPlan& plan) : plan_(plan), base_(plan.outside) {
  for (int i = 0; i < kPoolKinds; ++i) {
    const size_t at = static_cast<size_t>(i);
    pools_[at] = std::make_unique<FdPool>(static_cast<PoolKind>(i), plan_.pools[at]);
  }
  status_.soft = status_.hard = plan.limit;
  status_.open_now = status_.outside = plan.outside;
  status_.reduced = plan.reduced;
  status_.sentences = plan.sentences;
}

int FdBudget::TicketsOut() const {
  int out = 0;
  for (const auto& pool : pools_) out += pool->used();
  return out;
}

void FdBudget::SettleOwn(const FdLimit& now) {
  status_.own = std::max(now.open_now - base_ - TicketsOut(), 0);
  Adjust(now);
}

// A ticket is taken before its descriptor and given back after it, and a dial has one while its
// name is resolved; and of the tickets before and after the count the more are believed. So this
// errs on one side: what it calls foreign is, but for what came and went during the count.
void FdBudget::Observe(const FdLimit& now) {
  const int tickets = std::max(TicketsOut(), std::exchange(tickets_before_, 0));
  status_.soft = now.soft;
  status_.hard = now.hard;
  status_.open_now = now.open_now;
  status_.foreign = std::max(now.open_now - base_ - tickets - status_.own, 0);
}

FdChange FdBudget::Adjust(const FdLimit& now) {
  FdChange change;
  change.soft_before = plan_.limit;
  change.limit_changed = plan_.limit != now.soft;
  Observe(now);
  // What nobody has a ticket for is taken from `files`, which is there for it; only what does not
  // fit there takes from everybody.
  const int without_ticket = status_.own + status_.foreign;
  const int files_used = pool(PoolKind::kFiles).used();
  std::array<int, kPoolKinds> used{};
  for (size_t i = 0; i < kPoolKinds; ++i) used[i] = pools_[i]->used();
  used[static_cast<size_t>(PoolKind::kFiles)] += without_ticket;
  FdPlan plan = SqueezeFds(plan_.demand, {now.soft, now.hard, base_}, used);
  int excess = 0;
  for (;;) {  // `files` shrinks with the room, so the excess may grow, and by less each time
    const int more =
        without_ticket + files_used - plan.pools[static_cast<size_t>(PoolKind::kFiles)];
    if (more <= excess) break;
    excess = more;
    plan = SqueezeFds(plan_.demand, {now.soft, now.hard, base_ + excess}, used);
  }
  plan_ = std::move(plan);
  for (size_t i = 0; i < kPoolKinds; ++i) {
    int limit = plan_.pools[i];
    if (static_cast<PoolKind>(i) == PoolKind::kFiles)
      limit = std::max(limit - (without_ticket - excess), 0);
    const int before = pools_[i]->limit();
    change.pools_fell = change.pools_fell || limit < before;
    change.pools_rose = change.pools_rose || limit > before;
    if (limit != before) pools_[i]->SetLimit(limit);
  }
  status_.outside = plan_.outside;
  status_.reduced = plan_.reduced;
  status_.sentences = plan_.sentences;
  status_.sentences.push_back(absl::StrCat(
      "At the last look ", now.open_now, " were open: ", base_, " since before the node began, ",
      TicketsOut(), " under tickets of the pools, ", status_.own, " of its libraries, ",
      status_.foreign, " foreign; these two are charged to files and plugins."));
  if (plan_.reduced) {
    status_.sentences.push_back(absl::StrCat("While it runs: `prlimit --pid ", getpid(),
                                             " --nofile=", plan_.wanted,
                                             "`; the pools follow at once."));
  }
  return change;
}

}  // namespace helo::peers
