#include "rpc/service/watch.h"

#include <absl/strings/str_cat.h>

#include <utility>
#include <vector>

namespace helo::rpc {
namespace {

constexpr size_t kBatch = 64;

}  // namespace

void WatchHub::Start() {
  handle_ = events_.Subscribe([this] {
    if (count_.load() == 0 || woken_.exchange(true)) return;
    mailbox_->Post([self = shared_from_this()] { self->PumpAll(); });
  });
}

void WatchHub::Stop() { events_.Unsubscribe(handle_); }

proto::WatchResponse WatchHub::NewMessage() const {
  proto::WatchResponse message;
  message.set_boot_id(events_.boot_id());
  return message;
}

void WatchHub::Add(uint64_t stream, const proto::WatchRequest& request,
                   std::shared_ptr<WatchStream> to) {
  if (ending_) return to->Finish(*ending_);
  // Counted before the log is read: an event that comes after the reading then finds somebody to
  // wake.
  count_.fetch_add(1);
  const uint64_t newest = events_.newest();
  const bool this_boot = request.boot_id() == events_.boot_id();
  if (this_boot && request.after_sequence() > newest) {
    count_.fetch_sub(1);
    return to->Finish(absl::InvalidArgumentError(
        absl::StrCat("after_sequence ", request.after_sequence(),
                     " has not happened yet: the newest event of this boot is ", newest,
                     "; watch without boot_id to begin now")));
  }
  Watcher watcher;
  watcher.to = std::move(to);
  proto::WatchResponse ready = NewMessage();
  ready.mutable_ready()->set_newest_sequence(newest);
  watcher.ready.push_back(std::move(ready));
  if (this_boot) {
    watcher.place = request.after_sequence();
  } else if (request.boot_id() != 0) {
    // The caller knows another run of this node: what this one still remembers follows the gap.
    const uint64_t lost = events_.ReadAfter(0, 1).missed;
    proto::WatchResponse gap = NewMessage();
    gap.mutable_gap()->set_other_boot(true);
    gap.mutable_gap()->set_missed(lost);
    watcher.ready.push_back(std::move(gap));
    watcher.place = lost;
  } else {
    watcher.place = newest;
  }
  Pump(stream, watchers_.emplace(stream, std::move(watcher)).first->second);
}

bool WatchHub::Refill(Watcher& watcher) {
  const EventLog::Batch batch = events_.ReadAfter(watcher.place, kBatch);
  if (batch.missed > 0) {
    proto::WatchResponse gap = NewMessage();
    gap.mutable_gap()->set_missed(batch.missed);
    watcher.ready.push_back(std::move(gap));
  }
  for (const Event& event : batch.events) {
    proto::WatchResponse message = NewMessage();
    ToProto(event, *message.mutable_event());
    watcher.ready.push_back(std::move(message));
    watcher.place = event.sequence;
  }
  return !watcher.ready.empty();
}

// May remove the watcher: `watcher` is not to be touched after it.
void WatchHub::Pump(uint64_t stream, Watcher& watcher) {
  if (watcher.writing) return;
  if (!watcher.over && (!watcher.ready.empty() || Refill(watcher))) {
    watcher.writing = true;
    proto::WatchResponse message = std::move(watcher.ready.front());
    watcher.ready.pop_front();
    watcher.to->Write(std::move(message));
    return;
  }
  if (!watcher.over) watcher.over = ending_;
  if (!watcher.over) return;
  const std::shared_ptr<WatchStream> to = std::move(watcher.to);
  const absl::Status status = *watcher.over;
  watchers_.erase(stream);
  count_.fetch_sub(1);
  to->Finish(status);
}

void WatchHub::PumpAll() {
  woken_.store(false);  // before the log is read: what comes later wakes again
  std::vector<uint64_t> streams;
  streams.reserve(watchers_.size());
  for (const auto& [stream, watcher] : watchers_) streams.push_back(stream);
  for (const uint64_t stream : streams) {
    const auto found = watchers_.find(stream);
    if (found != watchers_.end()) Pump(stream, found->second);
  }
}

void WatchHub::Written(uint64_t stream, bool ok) {
  const auto found = watchers_.find(stream);
  if (found == watchers_.end()) return;
  found->second.writing = false;
  if (!ok && !found->second.over) found->second.over = absl::CancelledError("the caller went away");
  Pump(stream, found->second);
}

void WatchHub::Cancelled(uint64_t stream) {
  const auto found = watchers_.find(stream);
  if (found == watchers_.end()) return;
  found->second.over = absl::CancelledError("the caller went away");
  Pump(stream, found->second);  // a write under way ends by itself, and with it the stream
}

void WatchHub::End(const absl::Status& status) {
  ending_ = status;
  PumpAll();
}

}  // namespace helo::rpc
