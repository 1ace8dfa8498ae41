// The inside of EventLoop, shared by its two sources: event_loop.cc (what callers see:
// registrations, timers, posting) and event_loop_turn.cc (what one turn of the loop does). Nobody
// else includes it. Thread: the loop's, except what is atomic or guarded.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "p2p/base/mutex.h"
#include "p2p/net/event_loop.h"
#include "p2p/net/fair_queue.h"
#include "p2p/net/indexed_heap.h"

namespace helo::net {

inline constexpr uint32_t kReadWriteEdges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

// The members of the top set, as bits of what Sleep returns.
inline constexpr uint32_t kSessionsReady = 1;
inline constexpr uint32_t kHandshakesReady = 2;
inline constexpr uint32_t kWoken = 4;

// A counter with one writer at a time: plain stores, readable from every thread.
class Counter {
 public:
  void Add(uint64_t n = 1) { Set(Get() + n); }
  void Set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t Get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct EventLoop::Impl {
  struct Slot : ReadyItem {
    Watcher* watcher = nullptr;  // nullptr: free
    int fd = -1;
    uint32_t index = 0;
    uint32_t generation = 0;
    uint32_t pending = 0;  // events not yet told
    Lane lane = Lane::kSession;
    bool paused = false;
    Subnet group;
  };

  struct Descriptor {
    FdTicket ticket;
    UniqueFd fd;  // closed before the ticket goes back
    int Get() const { return fd.FdDoNotKeep(); }
  };

  explicit Impl(EventLoop& owner) : loop(owner) {}

  // What an event carries: the slot, and the generation of the registration it is for.
  static uint64_t Token(uint32_t slot, uint32_t generation) {
    return (uint64_t{generation} << 32) | slot;
  }

  int Set(Lane lane) const { return lane == Lane::kSession ? sessions.Get() : handshakes.Get(); }
  bool Alive(uint32_t slot, uint32_t generation) const {
    return slots[slot].watcher != nullptr && slots[slot].generation == generation;
  }

  void Enqueue(Slot& slot);
  void Dequeue(Slot& slot);
  void Call(Slot& slot);
  int Fetch(int epoll, int most);
  void FetchHandshakes();

  uint32_t Sleep();
  void FireTimers();
  void RunPosted();
  void Wake();  // any thread; after something was posted: soon, if this thread runs another loop
  void WakeNow();
  void SendWakes();                // those that calls of this turn owe to other loops
  bool ServeSessions(bool fetch);  // was anything called
  void ServeListeners();
  void ServeHandshakes();
  bool Busy() const {
    return !ready_sessions.empty() || !ready_listeners.empty() || fair.size() > 0 ||
           has_posts.load(std::memory_order_relaxed);
  }

  static thread_local Impl* running;  // this thread's, if it runs one

  EventLoop& loop;
  Descriptor top, sessions, handshakes, wake;
  std::deque<Slot> slots;  // addresses stay
  std::vector<uint32_t> free_slots;
  ReadyList ready_sessions, ready_listeners;
  FairQueue fair;

  IndexedHeap<Timer, &Timer::heap_index_> timers;
  std::function<void()> after_sessions;
  Timer* firing = nullptr;           // the timer whose function runs, if it was not destroyed by it
  MonoTime round = MonoTime::min();  // while timers fire: those due up to now

  std::atomic<std::thread::id> thread{};
  std::atomic<bool> asleep{false};
  std::atomic<bool> has_posts{false};  // a hint; true after Stop() too
  bool stopped = false;
  // Loops to be woken for what was posted to them in this turn: one wake-up (two switches of
  // threads) for the handshakes of a turn and not one for each.
  std::vector<Impl*> owed_wakes;
  Mutex mutex;
  bool closed ABSL_GUARDED_BY(mutex) = false;
  std::vector<std::function<void()>> posts ABSL_GUARDED_BY(mutex);
  Counter posted;  // written under `mutex`

  Counter turns, handshake_steps, session_calls, stale_events, handshakes_queued, fairness_groups;
};

}  // namespace helo::net
