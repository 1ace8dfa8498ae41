// The one answer to a call, and the way from any thread to the admin loop. Thread: any.
#pragma once

#include <absl/status/status.h>

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "p2p/base/mutex.h"
#include "p2p/net/event_loop.h"

namespace helo::rpc {

// Copies share the answer; the first one given counts. If every copy is gone and none was given
// (the node stops and drops what it had still to do), UNAVAILABLE is: no call can hang on a lost
// callback.
template <typename Response>
class Reply {
 public:
  using Send = std::function<void(const absl::Status&, Response)>;
  explicit Reply(Send send) : state_(std::make_shared<State>(std::move(send))) {}
  void Ok(Response response) const { state_->Give(absl::OkStatus(), std::move(response)); }
  void Fail(const absl::Status& status) const { state_->Give(status, Response()); }

 private:
  struct State {
    explicit State(Send s) : send(std::move(s)) {}
    ~State() { Give(absl::UnavailableError("the node is shutting down"), Response()); }
    void Give(const absl::Status& status, Response response) {
      if (!given.exchange(true)) send(status, std::move(response));
    }
    const Send send;
    std::atomic<bool> given{false};
  };
  std::shared_ptr<State> state_;
};

// Posts to the admin loop while there is one. Callbacks of the server may outlive the admin server:
// they hold this, not the loop.
class Mailbox {
 public:
  explicit Mailbox(net::EventLoop& loop) : loop_(&loop) {}
  // False, and `fn` destroyed, once closed.
  bool Post(std::function<void()> fn) {
    MutexLock lock(mutex_);
    return loop_ != nullptr && loop_->Post(std::move(fn));
  }
  void Close() {
    MutexLock lock(mutex_);
    loop_ = nullptr;
  }

 private:
  Mutex mutex_;
  net::EventLoop* loop_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace helo::rpc
