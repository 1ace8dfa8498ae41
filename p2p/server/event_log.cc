#include "p2p/server/event_log.h"

#include <algorithm>
#include <memory>

namespace helo {

std::string_view ToString(EventKind kind) {
  switch (kind) {
    case EventKind::kPeerUp:
      return "peer-up";
    case EventKind::kPeerClosed:
      return "peer-closed";
    case EventKind::kAttemptFailed:
      return "attempt-failed";
    case EventKind::kRefused:
      return "refused";
    case EventKind::kDropped:
      return "dropped";
    case EventKind::kTargetAdded:
      return "target-added";
    case EventKind::kTargetRemoved:
      return "target-removed";
    case EventKind::kListening:
      return "listening";
    case EventKind::kShuttingDown:
      return "shutting-down";
  }
  return "unknown";
}

void EventLog::Append(Event event) {
  {
    MutexLock lock(mutex_);
    event.sequence = next_++;
    const size_t which = event.kind == EventKind::kRefused ? 1 : 0;
    rings_[which].push_back(std::move(event));
    if (rings_[which].size() > capacities_[which]) rings_[which].pop_front();
  }
  std::shared_ptr<const Wakes> wakes;
  {
    MutexLock lock(wake_mutex_);
    if (wakes_->empty()) return;
    wakes = wakes_;
    ++waking_;
  }
  for (const auto& [handle, wake] : *wakes) wake();
  MutexLock lock(wake_mutex_);
  if (--waking_ == 0) woken_.NotifyAll();
}

EventLog::Batch EventLog::ReadAfter(uint64_t after, size_t most) const {
  Batch batch;
  MutexLock lock(mutex_);
  if (after >= next_ - 1) return batch;
  std::array<std::deque<Event>::const_iterator, 2> at;
  for (size_t which = 0; which < at.size(); ++which) {
    at[which] = std::partition_point(rings_[which].begin(), rings_[which].end(),
                                     [after](const Event& e) { return e.sequence <= after; });
  }
  while (batch.events.size() < most) {
    const bool first = at[0] != rings_[0].end(), second = at[1] != rings_[1].end();
    if (!first && !second) break;
    const bool take_second = second && (!first || at[1]->sequence < at[0]->sequence);
    batch.events.push_back(*at[take_second ? 1 : 0]++);
  }
  if (!batch.events.empty()) {
    batch.missed = batch.events.back().sequence - after - batch.events.size();
  }
  return batch;
}

uint64_t EventLog::newest() const {
  MutexLock lock(mutex_);
  return next_ - 1;
}

int EventLog::Subscribe(std::function<void()> wake) {
  MutexLock lock(wake_mutex_);
  auto wakes = std::make_shared<Wakes>(*wakes_);
  wakes->emplace_back(next_handle_, std::move(wake));
  wakes_ = std::move(wakes);
  return next_handle_++;
}

void EventLog::Unsubscribe(int handle) {
  MutexLock lock(wake_mutex_);
  auto wakes = std::make_shared<Wakes>(*wakes_);
  std::erase_if(*wakes, [handle](const auto& wake) { return wake.first == handle; });
  wakes_ = std::move(wakes);
  while (waking_ > 0) woken_.Wait(wake_mutex_);
}

}  // namespace helo
