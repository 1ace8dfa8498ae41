// Watch: each stream has a place of its own in the event log and one message under way. A
// subscriber that does not read keeps its place until the ring has passed it, and is then told how
// much it missed; it stalls nobody and costs a bounded number of events. Without gRPC. Thread: the
// admin loop's, except what says "any thread".
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "p2p/server/event_log.h"
#include "rpc/service/convert.h"
#include "rpc/service/reply.h"

namespace helo::rpc {

class WatchStream {
 public:
  virtual ~WatchStream() = default;
  // One at a time: the next one after WatchHub::Written.
  virtual void Write(proto::WatchResponse message) = 0;
  virtual void Finish(const absl::Status& status) = 0;  // the last call
};

class WatchHub : public std::enable_shared_from_this<WatchHub> {
 public:
  WatchHub(EventLog& events, std::shared_ptr<Mailbox> mailbox)
      : events_(events), mailbox_(std::move(mailbox)) {}
  void Start();  // subscribes; any thread
  void Stop();   // no wake comes after it; any thread

  void Add(uint64_t stream, const proto::WatchRequest& request, std::shared_ptr<WatchStream> to);
  void Written(uint64_t stream, bool ok);
  void Cancelled(uint64_t stream);
  // Every stream ends, with this status, once it has what happened until now.
  void End(const absl::Status& status);
  size_t size() const { return watchers_.size(); }

 private:
  struct Watcher {
    std::shared_ptr<WatchStream> to;
    uint64_t place = 0;  // the last event taken out of the log
    std::deque<proto::WatchResponse> ready;
    bool writing = false;
    std::optional<absl::Status> over;  // no write any more, this is its status
  };
  proto::WatchResponse NewMessage() const;
  void Pump(uint64_t stream, Watcher& watcher);
  void PumpAll();
  bool Refill(Watcher& watcher);

  EventLog& events_;
  const std::shared_ptr<Mailbox> mailbox_;
  int handle_ = 0;
  std::atomic<size_t> count_{0};
  std::atomic<bool> woken_{false};
  std::optional<absl::Status> ending_;
  absl::flat_hash_map<uint64_t, Watcher> watchers_;
};

}  // namespace helo::rpc
