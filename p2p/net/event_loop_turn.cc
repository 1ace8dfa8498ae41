// One turn of the loop. Events are only noted when they are fetched; watchers are called from the
// queues, where destroying a registration takes it out.
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <ctime>
#include <utility>

#include "p2p/net/event_loop_impl.h"

namespace helo::net {

namespace {

constexpr int kHandshakeStepsATurn = 4;
constexpr int kListenerCallsATurn = 4;
constexpr int kSessionEvents = 64;
constexpr int kHandshakeEvents = 256;
// The fair queue can only order what it has seen, so ready handshakes are all fetched, up to this
// many times kHandshakeEvents (more than the largest handshake pool).
constexpr int kHandshakeFetches = 32;

Duration ThreadCpu() {
  timespec spent{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
}

// Rounded up, so that a timer is due when the sleep is over.
int SleepMilliseconds(Duration left) {
  if (left <= Duration::zero()) return 0;
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return milliseconds > INT_MAX ? INT_MAX : static_cast<int>(milliseconds);
}

}  // namespace

thread_local EventLoop::Impl* EventLoop::Impl::running = nullptr;

void EventLoop::Impl::Enqueue(Slot& slot) {
  if (slot.paused || slot.list != nullptr) return;
  switch (slot.lane) {
    case Lane::kSession:
      ready_sessions.PushBack(&slot);
      break;
    case Lane::kListener:
      ready_listeners.PushBack(&slot);
      break;
    case Lane::kHandshake:
      fair.Push(&slot, slot.group, loop.Now());
      break;
  }
}

void EventLoop::Impl::Dequeue(Slot& slot) {
  if (slot.list == nullptr) return;
  if (slot.lane == Lane::kHandshake) {
    fair.Remove(&slot);
  } else {
    slot.list->Remove(&slot);
  }
}

void EventLoop::Impl::Call(Slot& slot) {
  const uint32_t generation = slot.generation;
  const bool more = slot.watcher->OnReady(std::exchange(slot.pending, 0));
  if (more && Alive(slot.index, generation)) Enqueue(slot);
}

// Returns how many events there were. Nothing is called here: what is ready waits in its lane's
// queue, where destroying its registration finds it.
int EventLoop::Impl::Fetch(int epoll, int most) {
  std::array<epoll_event, kHandshakeEvents> events;  // NOLINT: filled by the kernel
  const int count = ::epoll_wait(epoll, events.data(), most, 0);
  for (int i = 0; i < count; ++i) {
    const auto index = static_cast<uint32_t>(events[i].data.u64);
    const auto generation = static_cast<uint32_t>(events[i].data.u64 >> 32);
    if (index >= slots.size() || !Alive(index, generation)) {
      stale_events.Add();
      continue;
    }
    slots[index].pending |= events[i].events;
    Enqueue(slots[index]);
  }
  return count;
}

void EventLoop::Impl::FetchHandshakes() {
  for (int i = 0; i < kHandshakeFetches; ++i) {
    if (Fetch(handshakes.Get(), kHandshakeEvents) < kHandshakeEvents) break;
  }
}

uint32_t EventLoop::Impl::Sleep() {
  asleep.store(true);
  int timeout = -1;
  {
    MutexLock lock(mutex);
    if (!posts.empty() || closed) timeout = 0;
  }
  if (timeout != 0 && !timers.empty()) timeout = SleepMilliseconds(timers.top_key() - loop.Now());
  std::array<epoll_event, 3> events;  // NOLINT: filled by the kernel
  const int count = ::epoll_wait(top.Get(), events.data(), events.size(), timeout);
  asleep.store(false);
  uint32_t ready = 0;
  for (int i = 0; i < count; ++i) ready |= events[i].data.u32;
  if ((ready & kWoken) != 0) {
    uint64_t ignored = 0;
    [[maybe_unused]] const ssize_t result = ::read(wake.Get(), &ignored, sizeof(ignored));
  }
  return ready;
}

void EventLoop::Impl::Wake() {
  if (running == nullptr || running == this) {
    WakeNow();
  } else if (std::find(running->owed_wakes.begin(), running->owed_wakes.end(), this) ==
             running->owed_wakes.end()) {
    running->owed_wakes.push_back(this);
  }
}

void EventLoop::Impl::SendWakes() {
  for (Impl* other : owed_wakes) other->WakeNow();
  owed_wakes.clear();
}

void EventLoop::Impl::FireTimers() {
  if (timers.empty()) return;
  round = loop.Now();
  while (!timers.empty() && timers.top_key() <= round) {
    Timer* const timer = timers.top();
    timers.Remove(timer);
    timer->when_ = kNever;
    // Called from here, so that the timer may be destroyed meanwhile.
    std::function<void()> on_fire = std::move(timer->on_fire_);
    firing = timer;
    on_fire();
    if (firing != nullptr) timer->on_fire_ = std::move(on_fire);
    firing = nullptr;
  }
  round = MonoTime::min();
}

void EventLoop::Impl::RunPosted() {
  if (!has_posts.load(std::memory_order_acquire)) return;
  std::vector<std::function<void()>> batch;
  {
    MutexLock lock(mutex);
    batch.swap(posts);
    has_posts.store(closed, std::memory_order_relaxed);
    stopped = closed;
  }
  for (std::function<void()>& fn : batch) {
    fn();
    fn = nullptr;
  }
}

bool EventLoop::Impl::ServeSessions(bool fetch) {
  bool any = has_posts.load(std::memory_order_relaxed);
  RunPosted();
  if (fetch) Fetch(sessions.Get(), kSessionEvents);
  for (size_t left = ready_sessions.size(); left > 0; --left) {
    ReadyItem* const item = ready_sessions.PopFront();
    if (item == nullptr) break;
    session_calls.Add();
    any = true;
    Call(static_cast<Slot&>(*item));
  }
  // Whether or not any: one that goes up in the handshake lane may have brought a message.
  if (after_sessions) after_sessions();
  if (any) SendWakes();  // what established peers wait for does not wait for handshakes
  return any;
}

void EventLoop::Impl::ServeListeners() {
  for (int i = 0; i < kListenerCallsATurn && !ready_listeners.empty() && !stopped; ++i) {
    for (size_t left = ready_listeners.size(); left > 0; --left) {
      ReadyItem* const item = ready_listeners.PopFront();
      if (item == nullptr) break;
      Call(static_cast<Slot&>(*item));
      ServeSessions(true);
    }
  }
}

void EventLoop::Impl::ServeHandshakes() {
  Duration before = Duration::zero();  // zero: to be read
  for (int i = 0; i < kHandshakeStepsATurn && !stopped; ++i) {
    ReadyItem* const item = fair.Pop();
    if (item == nullptr) break;
    Slot& slot = static_cast<Slot&>(*item);
    const Subnet group = slot.group;
    if (before == Duration::zero()) before = ThreadCpu();
    Call(slot);
    const Duration after = ThreadCpu();  // a system call
    fair.Charge(group, after - before, loop.Now());
    handshake_steps.Add();
    before = ServeSessions(true) ? Duration::zero() : after;
  }
}

void EventLoop::Run() {
  Impl& impl = *impl_;
  impl.thread.store(std::this_thread::get_id());
  Impl::running = &impl;
  // For top -H, perf and strace. The first thread's name is the program's, and stays.
  if (::gettid() != ::getpid()) ::pthread_setname_np(::pthread_self(), name_.substr(0, 15).c_str());
  while (!impl.stopped) {
    impl.turns.Add();
    const bool busy = impl.Busy();
    const uint32_t ready = busy ? kSessionsReady | kHandshakesReady : impl.Sleep();
    // Sockets before timers: after the process was stopped for a while, what peers sent in the
    // meantime is read before their silence is judged.
    impl.ServeSessions((ready & kSessionsReady) != 0);
    impl.FireTimers();
    if ((ready & kHandshakesReady) != 0) impl.FetchHandshakes();
    impl.ServeListeners();
    impl.ServeHandshakes();
    if (impl.after_sessions) impl.after_sessions();
    impl.SendWakes();
    impl.handshakes_queued.Set(impl.fair.size());
    impl.fairness_groups.Set(impl.fair.groups());
  }
  Impl::running = nullptr;
  impl.thread.store(std::thread::id());
}

}  // namespace helo::net
