#include "p2p/net/event_loop.h"

#include <absl/strings/str_cat.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "p2p/base/text.h"
#include "p2p/net/event_loop_impl.h"

namespace helo::net {

EventLoop::EventLoop(std::string name, const Clock& clock, LogSink& log)
    : name_(std::move(name)), clock_(clock), log_(log), impl_(std::make_unique<Impl>(*this)) {}

EventLoop::~EventLoop() {
  std::vector<std::function<void()>> unrun;
  {
    MutexLock lock(impl_->mutex);
    impl_->closed = true;
    unrun.swap(impl_->posts);
  }
  unrun.clear();  // may hold timers and registrations of this loop
}

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create(std::string name, const Clock& clock,
                                                             LogSink& log, FdPool& files) {
  std::unique_ptr<EventLoop> loop(new EventLoop(std::move(name), clock, log));
  Impl& impl = *loop->impl_;
  for (Impl::Descriptor* it : {&impl.top, &impl.sessions, &impl.handshakes, &impl.wake}) {
    std::optional<FdTicket> ticket = files.TryTake();
    if (!ticket) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "event loop ", loop->name_, ": it needs ", kDescriptors,
          " descriptors, and the pool \"files\" has none left of its ", files.limit(),
          "; raise the limit of open files (ulimit -n, LimitNOFILE=) or run fewer loops"));
    }
    it->ticket = std::move(*ticket);
    it->fd = UniqueFd(it == &impl.wake ? ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
                                       : ::epoll_create1(EPOLL_CLOEXEC));
    if (!it->fd) {
      return absl::ResourceExhaustedError(absl::StrCat(
          ErrnoSentence(errno, absl::StrCat("making the descriptors of event loop ", loop->name_)),
          "; raise the limit of open files (ulimit -n, LimitNOFILE=)"));
    }
  }
  const std::pair<const Impl::Descriptor*, uint32_t> members[] = {
      {&impl.sessions, kSessionsReady},
      {&impl.handshakes, kHandshakesReady},
      {&impl.wake, kWoken},
  };
  for (const auto& [member, mark] : members) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = mark;
    if (::epoll_ctl(impl.top.Get(), EPOLL_CTL_ADD, member->Get(), &event) != 0) {
      return absl::ResourceExhaustedError(
          ErrnoSentence(errno, absl::StrCat("epoll_ctl for event loop ", loop->name_)));
    }
  }
  return loop;
}

std::vector<OwnFd> EventLoop::OwnFds() const {
  const Impl& impl = *impl_;
  const std::pair<const Impl::Descriptor*, const char*> members[] = {
      {&impl.top, "epoll of both lanes"},
      {&impl.sessions, "epoll of sessions"},
      {&impl.handshakes, "epoll of handshakes"},
      {&impl.wake, "wakes it"},
  };
  std::vector<OwnFd> fds;
  for (const auto& [member, what] : members) {
    fds.push_back({member->Get(), 0, absl::StrCat("loop ", name_, ": ", what), PoolKind::kFiles});
  }
  return fds;
}

void EventLoop::Impl::WakeNow() {
  if (!asleep.exchange(false)) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t result = ::write(wake.Get(), &one, sizeof(one));
}

void EventLoop::Stop() {
  {
    MutexLock lock(impl_->mutex);
    impl_->closed = true;
    impl_->has_posts.store(true, std::memory_order_release);
  }
  impl_->WakeNow();
}

bool EventLoop::Post(std::function<void()> fn) {
  {
    MutexLock lock(impl_->mutex);
    if (impl_->closed) return false;
    impl_->posts.push_back(std::move(fn));
    impl_->posted.Add();
    impl_->has_posts.store(true, std::memory_order_release);
  }
  impl_->Wake();
  return true;
}

void EventLoop::AfterSessions(std::function<void()> fn) { impl_->after_sessions = std::move(fn); }

bool EventLoop::InThread() const { return impl_->thread.load() == std::this_thread::get_id(); }

absl::StatusOr<Registration> EventLoop::Watch(int fd_of_live_socket, Lane lane,
                                              const Subnet& fairness_group, Watcher* watcher) {
  Impl& impl = *impl_;
  uint32_t index = 0;
  if (impl.free_slots.empty()) {
    index = static_cast<uint32_t>(impl.slots.size());
    impl.slots.emplace_back().index = index;
    impl.free_slots.push_back(index);
  }
  index = impl.free_slots.back();
  Impl::Slot& slot = impl.slots[index];

  epoll_event event{};
  event.events = kReadWriteEdges;
  event.data.u64 = EventLoop::Impl::Token(index, slot.generation);
  if (::epoll_ctl(impl.Set(lane), EPOLL_CTL_ADD, fd_of_live_socket, &event) != 0) {
    const int error = errno;
    const std::string sentence =
        ErrnoSentence(error, absl::StrCat("epoll_ctl for fd ", fd_of_live_socket));
    if (error == ENOSPC) {
      return absl::ResourceExhaustedError(
          absl::StrCat(sentence, "; raise fs.epoll.max_user_watches"));
    }
    if (error == ENOMEM) return absl::ResourceExhaustedError(sentence);
    return absl::InternalError(sentence);
  }
  impl.free_slots.pop_back();
  slot.watcher = watcher;
  slot.fd = fd_of_live_socket;
  slot.pending = 0;
  slot.lane = lane;
  slot.paused = false;
  slot.group = fairness_group;

  Registration registration;
  registration.loop_ = this;
  registration.slot_ = index;
  registration.generation_ = slot.generation;
  return registration;
}

EventLoop::Stats EventLoop::stats() const {
  Stats stats;
  stats.turns = impl_->turns.Get();
  stats.handshake_steps = impl_->handshake_steps.Get();
  stats.session_calls = impl_->session_calls.Get();
  stats.posted = impl_->posted.Get();
  stats.stale_events = impl_->stale_events.Get();
  stats.handshakes_queued = impl_->handshakes_queued.Get();
  stats.fairness_groups = impl_->fairness_groups.Get();
  return stats;
}

Registration::Registration(Registration&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)),
      slot_(other.slot_),
      generation_(other.generation_) {}

Registration& Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    Reset();
    loop_ = std::exchange(other.loop_, nullptr);
    slot_ = other.slot_;
    generation_ = other.generation_;
  }
  return *this;
}

void Registration::Reset() {
  if (loop_ == nullptr) return;
  EventLoop::Impl& impl = *std::exchange(loop_, nullptr)->impl_;
  assert(impl.Alive(slot_, generation_));
  EventLoop::Impl::Slot& slot = impl.slots[slot_];
  if (slot.list != nullptr && slot.pending != 0) impl.stale_events.Add();
  impl.Dequeue(slot);
  [[maybe_unused]] const int result =
      ::epoll_ctl(impl.Set(slot.lane), EPOLL_CTL_DEL, slot.fd, nullptr);
  // Else the descriptor was closed before its registration. Any other error is the kernel's, and
  // the close that follows ends the watching.
  assert(result == 0 || (errno != EBADF && errno != ENOENT));
  slot.watcher = nullptr;
  slot.fd = -1;
  ++slot.generation;
  impl.free_slots.push_back(slot_);
}

void Registration::MoveTo(Lane lane) {
  if (loop_ == nullptr) return;
  EventLoop::Impl& impl = *loop_->impl_;
  EventLoop::Impl::Slot& slot = impl.slots[slot_];
  if (slot.lane == lane) return;
  if (impl.Set(lane) != impl.Set(slot.lane)) {
    epoll_event event{};
    event.events = slot.paused ? uint32_t{EPOLLET} : kReadWriteEdges;
    event.data.u64 = EventLoop::Impl::Token(slot_, generation_);
    if (::epoll_ctl(impl.Set(lane), EPOLL_CTL_ADD, slot.fd, &event) != 0) {
      loop_->log_.Warn(
          "net", "the kernel has no memory to move a connection to another epoll set; it stays",
          {{"loop", loop_->name_}, {"error", ErrnoName(errno)}});
      return;
    }
    ::epoll_ctl(impl.Set(slot.lane), EPOLL_CTL_DEL, slot.fd, nullptr);
  }
  const bool queued = slot.list != nullptr;
  impl.Dequeue(slot);
  slot.lane = lane;
  if (queued) impl.Enqueue(slot);
}

void Registration::Kick() {
  if (loop_ == nullptr) return;
  loop_->impl_->Enqueue(loop_->impl_->slots[slot_]);
}

bool Registration::Pause(bool paused) {
  if (loop_ == nullptr) return true;
  EventLoop::Impl& impl = *loop_->impl_;
  EventLoop::Impl::Slot& slot = impl.slots[slot_];
  if (slot.paused == paused) return true;
  // A paused descriptor is watched for nothing, so that what comes in does not even wake the loop.
  epoll_event event{};
  event.events = paused ? uint32_t{EPOLLET} : kReadWriteEdges;
  event.data.u64 = EventLoop::Impl::Token(slot_, generation_);
  const bool done = ::epoll_ctl(impl.Set(slot.lane), EPOLL_CTL_MOD, slot.fd, &event) == 0;
  if (!done && !paused) return false;  // it would never be woken again
  slot.paused = paused;                // where pausing failed, its events are dropped
  if (paused) {
    impl.Dequeue(slot);
  } else {
    impl.Enqueue(slot);
  }
  return true;
}

Timer::Timer(EventLoop& loop, std::function<void()> on_fire)
    : loop_(loop), on_fire_(std::move(on_fire)) {}

Timer::~Timer() {
  loop_.impl_->timers.Remove(this);
  if (loop_.impl_->firing == this) loop_.impl_->firing = nullptr;
}

void Timer::SetAt(MonoTime when) {
  EventLoop::Impl& impl = *loop_.impl_;
  when_ = when;
  if (when == kNever) {
    impl.timers.Remove(this);
    return;
  }
  // What is armed while timers fire waits for the next round, so that one that always re-arms
  // itself for now does not hold the loop.
  impl.timers.Put(this, when > impl.round ? when : impl.round + Duration(1));
}

}  // namespace helo::net
