// The budget of descriptors while the node runs: the limit may be changed under it (prlimit), and
// plugins and libraries open what no ticket knows of.
#include <absl/strings/str_cat.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "p2p/base/text.h"
#include "p2p/server/control.h"
#include "p2p/server/worker.h"

namespace helo::server {
namespace {

// Two looks at the limit: by then it is known whether the shortage stays.
constexpr uint32_t kRetryAfterEvictedS = 20;
constexpr Duration kLimitEvery = std::chrono::milliseconds(250);
constexpr Duration kFreshFor = std::chrono::seconds(1);
constexpr int kNoticeable = 8;  // this many more foreign ones are worth a line

}  // namespace

absl::StatusOr<peers::FdLimit> Control::ReadFds() {
  const MonoTime before = shared_.Now();
  shared_.deps.fds->AboutToCount();
  absl::StatusOr<peers::FdLimit> limit = shared_.deps.read_fds();
  fds_read_ = shared_.Now();
  fds_cost_ = fds_read_ - before;
  if (!limit.ok()) {
    if (const LogLimiter::Pass pass = shared_.limiter.Check("fds unread"); pass.log) {
      shared_.log().Warn("server", "the limit of file descriptors could not be read",
                         {{"why", std::string(FromAbsl(limit.status().message()))}});
    }
  }
  return limit;
}

void Control::LookAtFds() {
  // Where counting is slow (many of them, an older kernel) it may take a hundredth of the time.
  const Duration fresh_for = std::max<Duration>(kFreshFor, 100 * fds_cost_);
  if (!shared_.deps.read_fds || shared_.Now() - fds_read_ < fresh_for) return;
  if (const auto limit = ReadFds(); limit.ok()) shared_.deps.fds->Observe(*limit);
}

// The whole look costs too much to be had all the time; whether the limit was changed does not.
void Control::WatchFds() {
  fds_timer_->SetAt(shared_.Now() + kLimitEvery);
  rlimit raw{};
  if (getrlimit(RLIMIT_NOFILE, &raw) != 0) raw.rlim_cur = kernel_soft_;
  const bool first = kernel_soft_ == 0;
  const bool changed = std::exchange(kernel_soft_, raw.rlim_cur) != raw.rlim_cur && !first;
  if (changed || shared_.Now() >= fds_due_) CheckFds();
}

void Control::CheckFds() {
  fds_due_ = shared_.Now() + kFdsEvery;
  const absl::StatusOr<peers::FdLimit> limit = ReadFds();
  if (!limit.ok()) return;
  peers::FdBudget& fds = *shared_.deps.fds;
  const peers::FdChange change = fds.Adjust(*limit);
  TellAboutFds(change);
  const peers::FdPlan& plan = fds.plan();
  // Slots are for the others; where more trusted ones are up than the plan sets aside for them, the
  // others get what is left, or one would be let in now and have to go at the next look.
  const int trusted =
      static_cast<int>(std::count_if(live_.begin(), live_.end(), [this](const auto& entry) {
        const Live& live = entry.second;
        return live.up && live.direction == Direction::kInbound && trusted_.contains(*live.id);
      }));
  const int inbound =
      std::min(plan.max_inbound, shared_.pool(PoolKind::kInbound).limit() - trusted);
  table_.SetLimits({std::max(inbound, 0), plan.max_outbound});
  for (Worker* worker : workers_) worker->TrimHandshakes();
  if (change.pools_fell || change.pools_rose) snapshot_.reset();
  if (change.pools_rose) DialDue();
  // Who goes is chosen by what is known of them now.
  GetSnapshot([this](const std::shared_ptr<const ServerSnapshot>& snapshot) {
    if (!snapshot) return;
    NoteWorth(*snapshot);
    ShrinkToPools();
  });
}

void Control::ShrinkToPools() {
  for (const Direction direction : {Direction::kInbound, Direction::kOutbound}) {
    const FdPool& pool =
        shared_.pool(direction == Direction::kInbound ? PoolKind::kInbound : PoolKind::kOutbound);
    for (const peers::Closing& closing : table_.Shrink(direction, pool.limit())) {
      CloseConn(closing.conn, closing.reason, "fewer file descriptors are left for peers here",
                kRetryAfterEvictedS);
    }
  }
}

void Control::TellAboutFds(const peers::FdChange& change) {
  const peers::FdPlan& plan = shared_.deps.fds->plan();
  const peers::FdStatus& status = shared_.deps.fds->status();
  if (change.limit_changed) {
    const bool less = plan.limit < change.soft_before;
    LogFields fields = {{"before", absl::StrCat(change.soft_before)},
                        {"now", absl::StrCat(plan.limit)},
                        {"open", absl::StrCat(status.open_now)}};
    for (const std::string& sentence : status.sentences) fields.emplace_back("fds", sentence);
    shared_.log().Write(less && plan.reduced ? LogLevel::kWarn : LogLevel::kInfo, "server",
                        "the limit of file descriptors was changed: the pools follow", fields);
  }
  // The check itself comes once in ten seconds, and so does this line at most.
  if (status.foreign >= foreign_told_ + kNoticeable) {
    foreign_told_ = status.foreign;
    shared_.log().Warn("server",
                       "more file descriptors are open than the node opened: a library or plugin "
                       "holds them, and they are charged to files and plugins",
                       {{"foreign", absl::StrCat(status.foreign)},
                        {"open", absl::StrCat(status.open_now)},
                        {"limit", absl::StrCat(status.soft)}});
  } else {
    foreign_told_ = std::min(foreign_told_, status.foreign);
  }
}

}  // namespace helo::server
