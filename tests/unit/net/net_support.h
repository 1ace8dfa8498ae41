// What the tests of p2p/net share: a loop on a thread of its own, a clock that stands still, a log
// that remembers, and plain blocking sockets for the other end. Long: a box of small tools.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "p2p/base/fd_ticket.h"
#include "p2p/base/log.h"
#include "p2p/base/mutex.h"
#include "p2p/net/event_loop.h"
#include "p2p/net/socket.h"

namespace helo::net {

// No test waits longer than this for something that should happen.
inline constexpr auto kPatience = std::chrono::seconds(20);

// Stands still until it is moved. Thread: any.
class StandingClock : public Clock {
 public:
  MonoTime Now() const override { return MonoTime(Duration(now_.load())); }
  WallTime WallNow() const override { return WallTime(); }
  void Advance(Duration by) { now_ += by.count(); }

 private:
  std::atomic<int64_t> now_{Duration(std::chrono::hours(10'000)).count()};
};

// Set by one thread, awaited by another.
class Flag {
 public:
  void Set() {
    MutexLock lock(mutex_);
    set_ = true;
    changed_.NotifyAll();
  }
  // False if it is not set in time.
  [[nodiscard]] bool Wait(std::chrono::steady_clock::duration patience = kPatience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    MutexLock lock(mutex_);
    while (!set_) {
      if (!changed_.WaitUntil(mutex_, deadline)) return set_;
    }
    return true;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool set_ ABSL_GUARDED_BY(mutex_) = false;
};

// Calls `condition` again and again, giving the processor away between, until it holds. False: not
// in time.
[[nodiscard]] bool Eventually(const std::function<bool()>& condition);

class RecordingLog : public LogSink {
 public:
  struct Line {
    LogLevel level;
    std::string message;
    std::vector<std::pair<std::string, std::string>> fields;
    std::string Field(const std::string& name) const;
  };
  bool Enabled(LogLevel) const override { return true; }
  void Write(LogLevel level, std::string_view room, std::string_view message,
             const LogFields& fields) override;
  std::vector<Line> Lines(LogLevel at_least = LogLevel::kTrace) const;

 private:
  mutable Mutex mutex_;
  std::vector<Line> lines_ ABSL_GUARDED_BY(mutex_);
};

// A loop that runs on its own thread until the end of the scope. What belongs to the loop is made
// and destroyed with On(), which runs a function there and waits for it.
class LoopThread {
 public:
  explicit LoopThread(const Clock& clock = RealClock(), LogSink& log = NullLog());
  ~LoopThread() { Stop(); }
  EventLoop& loop() { return *loop_; }
  FdPool& files() { return files_; }
  void On(const std::function<void()>& fn);
  // Everything that was ready or posted has been served when it returns: so many whole turns have
  // passed.
  void PassTurns(int turns = 3);
  void Stop();
  uint64_t turns() const { return loop_->stats().turns; }
  Duration CpuTime();  // of the loop's thread

 private:
  FdPool files_{PoolKind::kFiles, 64};
  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
};

// A watcher made of a function.
class FunctionWatcher : public Watcher {
 public:
  explicit FunctionWatcher(std::function<bool(uint32_t)> fn) : fn_(std::move(fn)) {}
  bool OnReady(uint32_t events) override { return fn_(events); }

 private:
  std::function<bool(uint32_t)> fn_;
};

struct SocketPair {  // connected, non-blocking, both ends ours
  UniqueFd a, b;
};
Registration Watch(EventLoop& loop, const UniqueFd& fd, Lane lane, Watcher& watcher,
                   const std::string& group = "192.0.2.0/24");
SocketPair MakeSocketPair();
void WriteByte(const UniqueFd& fd);
void ReadAll(int fd);  // until it would block

Subnet Group(const std::string& text);
Endpoint Loopback(uint16_t port);
ListenAddress Listen(const std::string& text);
FdTicket Ticket(FdPool& pool);

// A blocking client connection; invalid if refused.
UniqueFd ConnectTo(const Endpoint& remote);
// Sends a reset instead of an orderly end.
void CloseWithReset(UniqueFd fd);

// Lowers RLIMIT_NOFILE so that no descriptor can be had until one is closed, to the end of the
// scope. It holds `spare` descriptors of its own, or more, for FreeOne to close.
class NoDescriptors {
 public:
  explicit NoDescriptors(int spare = 0);
  ~NoDescriptors() { Restore(); }
  void FreeOne();
  void Restore();

 private:
  uint64_t soft_ = 0;
  std::vector<UniqueFd> fillers_;
};

// Runs `fn` in a child process and returns what it returned. For what changes the whole process
// (uid, namespace). The child may not use threads.
std::string InChild(const std::function<std::string()>& fn);

}  // namespace helo::net
