#include "p2p/peers/dial_scheduler.h"

#include <algorithm>
#include <utility>

namespace helo::peers {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// WIRE 7 and 9.
constexpr Duration kRetryAfterMost = std::chrono::hours(1);
constexpr Duration kRetryAfterMostStatic = minutes(5);
constexpr Duration kBannedWithoutHint = std::chrono::hours(1);
constexpr Duration kMisfit = minutes(10);
constexpr Duration kMisfitStatic = minutes(1);
constexpr Duration kUnexpectedId = minutes(1);
constexpr int kTableJitterPercent = 10;
// How often a target whose peer is connected otherwise is looked at again if nobody calls
// PeerEnded.
constexpr Duration kRecheck = seconds(30);
constexpr Duration kClosesWithin = seconds(10);  // a connection that a penalty ends

MonoTime Later(MonoTime now, Duration wait) { return wait >= kNever - now ? kNever : now + wait; }

}  // namespace

DialScheduler::DialScheduler(DialTimes times, Rng& rng) : times_(times), rng_(rng) {}

TargetId DialScheduler::Add(const PeerAddress& address, TargetKind kind, bool saved, MonoTime now) {
  if (const std::optional<TargetId> existing = FindByAddress(address)) {
    Target& target = targets_.at(*existing);
    if (kind == TargetKind::kStatic) target.kind = TargetKind::kStatic;
    target.saved = target.saved || saved;
    return *existing;
  }
  const TargetId id = next_++;
  Target& target = targets_[id];
  target.id = id;
  target.address = address;
  target.kind = kind;
  target.saved = saved;
  target.known_id = address.id;
  target.next_try = now;
  return id;
}

bool DialScheduler::Remove(TargetId id) { return targets_.erase(id) != 0; }

void DialScheduler::Unsave(TargetId id) {
  const auto it = targets_.find(id);
  if (it != targets_.end()) it->second.saved = false;
}

std::optional<TargetId> DialScheduler::FindByAddress(const PeerAddress& address) const {
  for (const auto& [id, target] : targets_) {
    if (target.address == address) return id;
  }
  return std::nullopt;
}

std::vector<TargetId> DialScheduler::FindById(const NodeId& id) const {
  std::vector<TargetId> found;
  for (const auto& [target_id, target] : targets_) {
    if (target.known_id == id) found.push_back(target_id);
  }
  std::sort(found.begin(), found.end());
  return found;
}

const Target* DialScheduler::Get(TargetId id) const {
  const auto it = targets_.find(id);
  return it == targets_.end() ? nullptr : &it->second;
}

std::vector<Target> DialScheduler::All() const {
  std::vector<Target> all;
  all.reserve(targets_.size());
  for (const auto& [id, target] : targets_) all.push_back(target);
  std::sort(all.begin(), all.end(), [](const Target& a, const Target& b) { return a.id < b.id; });
  return all;
}

MonoTime DialScheduler::NextDue() const {
  MonoTime next = kNever;
  for (const auto& [id, target] : targets_) next = std::min(next, target.next_try);
  return next;
}

std::vector<TargetId> DialScheduler::DueIds(MonoTime now) const {
  std::vector<const Target*> due;
  for (const auto& [id, target] : targets_) {
    if (target.next_try <= now) due.push_back(&target);
  }
  std::sort(due.begin(), due.end(), [](const Target* a, const Target* b) {
    return std::pair(a->next_try, a->id) < std::pair(b->next_try, b->id);
  });
  std::vector<TargetId> ids;
  ids.reserve(due.size());
  for (const Target* target : due) ids.push_back(target->id);
  return ids;
}

void DialScheduler::Defer(Target& target, MonoTime now) {
  target.deferred = true;
  target.next_try = now + kRecheck;
}

void DialScheduler::Forgive(TargetId id, MonoTime now) {
  const auto it = targets_.find(id);
  if (it == targets_.end()) return;
  it->second.forgiven_until = it->second.connected ? now + kClosesWithin : MonoTime{};
  if (it->second.paused_until <= now) TryNow(id, now);
}

void DialScheduler::TryNow(TargetId id, MonoTime now) {
  const auto it = targets_.find(id);
  if (it == targets_.end()) return;
  Target& target = it->second;
  target.paused_until = MonoTime{};
  target.failures = 0;
  target.deferred = false;
  if (!target.trying && !target.connected) target.next_try = now;
}

void DialScheduler::Connected(TargetId id, const NodeId& node) {
  const auto it = targets_.find(id);
  if (it == targets_.end()) return;
  Target& target = it->second;
  target.known_id = node;
  target.trying = false;
  target.connected = true;
  target.deferred = false;
  target.next_try = kNever;
}

void DialScheduler::Ended(TargetId id, const DialOutcome& outcome, MonoTime now) {
  const auto it = targets_.find(id);
  if (it == targets_.end()) return;
  Target& target = it->second;
  target.trying = false;
  target.connected = false;
  target.deferred = false;
  target.last = outcome.close;
  const Reason reason = outcome.close.reason;
  if ((reason == Reason::kDuplicate || reason == Reason::kReplaced) && outcome.proven_id &&
      !target.address.id) {
    target.known_id = outcome.proven_id;
  }
  if (outcome.up_for >= times_.reset_after_up) target.failures = 0;
  std::optional<Duration> wait = WaitFor(target, outcome);
  if (reason == Reason::kPluginViolation && outcome.close.decider == Decider::kUs &&
      now < target.forgiven_until) {
    target.failures = 0;
    wait = Duration{};
  }
  target.forgiven_until = MonoTime{};
  target.next_try = wait ? std::max(Later(now, *wait), target.paused_until) : kNever;
}

void DialScheduler::PeerEnded(const NodeId& node, MonoTime now) {
  for (auto& [id, target] : targets_) {
    if (!target.deferred || target.known_id != node) continue;
    target.deferred = false;
    target.failures = 1;
    target.next_try = std::max(Later(now, Backoff(target)), target.paused_until);
  }
}

void DialScheduler::Pause(TargetId id, MonoTime until) {
  const auto it = targets_.find(id);
  if (it == targets_.end()) return;
  Target& target = it->second;
  const bool lifted = until < target.paused_until;
  target.paused_until = until;
  if (target.next_try == kNever) return;
  target.next_try = lifted ? until : std::max(target.next_try, until);
}

void DialScheduler::Postpone(TargetId id, MonoTime now) {
  const auto it = targets_.find(id);
  if (it == targets_.end()) return;
  Target& target = it->second;
  target.trying = false;
  target.next_try = std::max(Later(now, rng_.Jitter(times_.backoff_first, times_.jitter_percent)),
                             target.paused_until);
}

Duration DialScheduler::Backoff(const Target& target) {
  Duration base = times_.backoff_first;
  for (int i = 1; i < target.failures && base < times_.backoff_most; ++i) base *= 2;
  return rng_.Jitter(std::min(base, times_.backoff_most), times_.jitter_percent);
}

std::optional<Duration> DialScheduler::WaitFor(Target& target, const DialOutcome& outcome) {
  const bool is_static = target.kind == TargetKind::kStatic;
  const Duration most = is_static ? kRetryAfterMostStatic : kRetryAfterMost;
  const CloseInfo& close = outcome.close;
  // What we told them ourselves is the operator's will and binds us without a clamp.
  Duration told{};
  if (close.decider == Decider::kUs) {
    told = seconds(close.retry_after_s);
  } else if (outcome.over_tls_from_expected_id) {
    told = std::min<Duration>(seconds(close.retry_after_s), most);
  }

  switch (close.reason) {
    case Reason::kSelf:
      // Our own id answered. From another's mouth it is no reason to forget an address.
      if (close.decider == Decider::kUs) return std::nullopt;
      break;
    case Reason::kNoFd:
    case Reason::kNoLocalAddress:
    case Reason::kNoSlot:
    case Reason::kCancelled:
      // Our own doing: soon again, and no failure of the peer's.
      return rng_.Jitter(times_.backoff_first, times_.jitter_percent);
    default:
      break;
  }
  ++target.failures;
  Duration wait{};
  switch (close.reason) {
    case Reason::kBanned:
      wait = told > Duration{}
                 ? Backoff(target)
                 : rng_.Jitter(std::min(kBannedWithoutHint, most), kTableJitterPercent);
      break;
    case Reason::kWrongNetwork:
    case Reason::kWrongGenesis:
    case Reason::kNoSharedCapability:
    case Reason::kMinorTooOld:
    case Reason::kMalformed:
    case Reason::kUnexpected:
    case Reason::kTooLarge:
    case Reason::kUnknownChannel:
    case Reason::kFlood:
    case Reason::kPluginViolation:
    case Reason::kTlsMisuse:
      wait = rng_.Jitter(is_static ? kMisfitStatic : kMisfit, kTableJitterPercent);
      break;
    case Reason::kUnexpectedId:
      wait = rng_.Jitter(kUnexpectedId, kTableJitterPercent);
      break;
    default:
      wait = Backoff(target);
      break;
  }
  return std::max(wait, told);
}

}  // namespace helo::peers
