#include "p2p/server/event_log.h"

#include <algorithm>

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
    ring_.push_back(std::move(event));
    if (ring_.size() > capacity_) ring_.pop_front();
  }
  // Held while the functions run, so that Unsubscribe can promise that none runs after it.
  MutexLock lock(wake_mutex_);
  for (const auto& [handle, wake] : wakes_) wake();
}

EventLog::Batch EventLog::ReadAfter(uint64_t after, size_t most) const {
  Batch batch;
  MutexLock lock(mutex_);
  if (ring_.empty() || after >= next_ - 1) return batch;
  const uint64_t oldest = ring_.front().sequence;
  uint64_t first = after + 1;
  if (first < oldest) {
    batch.missed = oldest - first;
    first = oldest;
  }
  for (size_t i = first - oldest; i < ring_.size() && batch.events.size() < most; ++i) {
    batch.events.push_back(ring_[i]);
  }
  return batch;
}

uint64_t EventLog::newest() const {
  MutexLock lock(mutex_);
  return next_ - 1;
}

int EventLog::Subscribe(std::function<void()> wake) {
  MutexLock lock(wake_mutex_);
  wakes_.emplace_back(next_handle_, std::move(wake));
  return next_handle_++;
}

void EventLog::Unsubscribe(int handle) {
  MutexLock lock(wake_mutex_);
  wakes_.erase(std::remove_if(wakes_.begin(), wakes_.end(),
                              [handle](const auto& w) { return w.first == handle; }),
               wakes_.end());
}

}  // namespace helo
