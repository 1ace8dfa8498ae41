// One thread, one epoll loop with two sets: sessions are polled and served between any two
// handshake steps, and ready handshakes wait in a queue ordered by the recent CPU time of their
// source network, so that a flood of handshakes from one network delays neither established peers
// nor newcomers from elsewhere.
//
//        top epoll (slept on only when nothing is queued)
//          |-- sessions epoll     polled with timeout 0, served at once
//          `-- handshakes epoll   ready ones -> fair queue -> at most 4 steps a turn; listeners
//          too, which are
//                                 called at most 4 times a turn, outside the queue, so that a flood
//                                 of connections cannot keep a newcomer in the kernel's queue.
//                                 Sessions are polled again after each of these calls.
//
// Thread: Run's own, except Post, Stop and InThread, which any thread may call. A Watcher is called
// on the loop's thread only. Registrations carry a generation: an event for a closed descriptor can
// never reach the watcher that got its number.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/base/log.h"
#include "p2p/net/own_fd.h"
#include "p2p/net/socket.h"

namespace helo::net {

enum class Lane : uint8_t { kSession, kHandshake, kListener };

class Watcher {
 public:
  virtual ~Watcher() = default;
  // The descriptor is ready: `events` is a set of EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP,
  // EPOLLRDHUP, or 0 after Kick(). Readiness is edge-triggered: return true if work is left that no
  // new edge will announce (the watcher stopped before EAGAIN); it is then called again, with 0 or
  // what came meanwhile, after others had their turn. A socket that can be written when it is first
  // watched, or moved to another lane, gets one call with EPOLLOUT. It may destroy its own
  // Registration, or itself, while called.
  virtual bool OnReady(uint32_t events) = 0;
};

class EventLoop;

// Keeps a descriptor watched; destroying it stops that at once (no call after). Destroy it before
// the descriptor is closed, on the loop's thread.
class Registration {
 public:
  Registration() = default;
  Registration(Registration&& other) noexcept;
  Registration& operator=(Registration&& other) noexcept;
  ~Registration() { Reset(); }
  explicit operator bool() const { return loop_ != nullptr; }
  void Reset();
  void MoveTo(Lane lane);  // a handshake became a session
  void Kick();             // call OnReady(0) in a coming turn, in lane order
  // Paused: no OnReady at all; unpausing kicks. For listeners. False: the kernel refused to watch
  // it again; try later.
  bool Pause(bool paused);

 private:
  friend class EventLoop;
  EventLoop* loop_ = nullptr;
  uint32_t slot_ = 0;
  uint32_t generation_ = 0;
};

// A one-shot alarm; re-armed with SetAt. Thread: the loop's. The function may re-arm or destroy the
// timer.
class Timer {
 public:
  Timer(EventLoop& loop, std::function<void()> on_fire);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void SetAt(MonoTime when);  // kNever cancels
  void Cancel() { SetAt(kNever); }
  MonoTime when() const { return when_; }

 private:
  friend class EventLoop;
  EventLoop& loop_;
  std::function<void()> on_fire_;
  MonoTime when_ = kNever;
  size_t heap_index_ = SIZE_MAX;  // in the loop's heap of armed timers
};

class EventLoop {
 public:
  static constexpr int kDescriptors =
      4;  // three epoll instances and an eventfd, charged to `files`
  // ResourceExhausted when they cannot be had.
  static absl::StatusOr<std::unique_ptr<EventLoop>> Create(std::string name, const Clock& clock,
                                                           LogSink& log, FdPool& files);
  virtual ~EventLoop();  // not while Run() runs; posted functions that did not run are destroyed
                         // unrun

  void Run();   // once; returns after Stop(), having run everything posted before it
  void Stop();  // any thread, also before Run
  // Any thread. Runs `fn` on the loop, in order; from the loop's own thread too, later, never from
  // within. False, and `fn` destroyed, after Stop(). Posted by another loop, it may be seen at the
  // end of that loop's turn, until when this one must exist.
  bool Post(std::function<void()> fn);
  bool InThread() const;  // any thread

  // Before Run: `fn` is called in each turn after the sessions that were ready have been served,
  // and before handshakes are, for what is done once for all of them. Short.
  void AfterSessions(std::function<void()> fn);

  // Watches `socket` for input and output. In the handshake lane, its CPU time is charged to
  // `fairness_group`.
  absl::StatusOr<Registration> Watch(int fd_of_live_socket, Lane lane, const Subnet& fairness_group,
                                     Watcher* watcher);

  const Clock& clock() const { return clock_; }
  MonoTime Now() const { return clock_.Now(); }
  const std::string& name() const { return name_; }

  struct Stats {  // counters since start; any thread, each exact, together a moment apart
    uint64_t turns = 0, handshake_steps = 0, session_calls = 0, posted = 0, stale_events = 0;
    uint64_t handshakes_queued = 0;  // now
    uint64_t fairness_groups = 0;    // source networks remembered, now
  };
  Stats stats() const;
  // Its own kDescriptors, the same from Create to the end; any thread.
  std::vector<OwnFd> OwnFds() const;

 protected:
  EventLoop(std::string name, const Clock& clock, LogSink& log);

 private:
  friend class Registration;
  friend class Timer;
  struct Impl;
  std::string name_;
  const Clock& clock_;
  LogSink& log_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace helo::net
