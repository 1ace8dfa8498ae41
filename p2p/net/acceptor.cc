#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "p2p/base/text.h"
#include "p2p/net/listener.h"

namespace helo::net {

namespace {

// With the loop's four calls a turn: 32 a turn, sessions served after each eight.
constexpr int kAcceptsACall = 8;
constexpr int kLostInARow = 64;  // beyond that it is not one connection that went wrong
constexpr int kMostLeftFree = 8;
constexpr Duration kFirstPause = std::chrono::milliseconds(10);
constexpr Duration kLongestPause = std::chrono::seconds(1);

// What accept4 reports of one connection that went wrong in the queue (man 2 accept): the next may
// be well.
bool OneConnectionLost(int error) {
  switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
    case ECONNRESET:
      return true;
    default:
      return false;
  }
}

void Increment(std::atomic<uint64_t>& counter) { counter.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

struct Acceptor::Impl {
  Impl(EventLoop& loop_in, FdPool& pool_in, AcceptorDelegate& delegate_in, LogSink& log_in)
      : loop(loop_in),
        pool(pool_in),
        delegate(delegate_in),
        log(log_in),
        limiter(loop_in.clock()),
        retry(loop_in, [this] { Resume(); }) {}

  bool SomebodyWaits(int listening_fd) const;
  bool EnoughFree(int listening_fd) const;
  std::optional<FdTicket> TakeTicket(const Acceptor& acceptor);
  void Pause(const Acceptor& acceptor, int error);
  void Resume();
  // Somebody was accepted or nobody waits: the next starvation is a new one.
  void Recovered() {
    starving = false;
    pause = kFirstPause;
  }

  EventLoop& loop;
  FdPool& pool;
  AcceptorDelegate& delegate;
  LogSink& log;
  LogLimiter limiter;
  Registration registration;
  Timer retry;
  Duration pause = kFirstPause;
  // While descriptors are out, the ticket in hand is kept for the next try: giving it back would
  // wake other acceptors of the pool, which would do the same to us.
  std::optional<FdTicket> kept;
  bool starving = false;        // since the last accepted connection
  bool kernel_refused = false;  // a descriptor, since the queue was last empty
  int lost_in_a_row = 0;
  Duration rest = kFirstPause;
  MonoTime rested{};
  bool* destroyed = nullptr;  // set while OnReady runs: told when the acceptor dies in a callback
  int on_room = 0;
  std::atomic<bool> waiting{false};  // for a ticket to come back; the pool's hook clears it
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);

  std::atomic<uint64_t> accepted{0}, aborted{0}, starved{0};
  std::atomic<int> last_errno{0};
  std::atomic<bool> paused{false};
};

bool Acceptor::Impl::SomebodyWaits(int listening_fd) const {
  pollfd entry{listening_fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) > 0;
}

// Whether the one that would be accepted leaves enough for others. Asked by trying, since a limit
// and a count of what is open are two looks at what other threads change in between.
bool Acceptor::Impl::EnoughFree(int listening_fd) const {
  const int leave = std::clamp(delegate.LeaveFree(), 0, kMostLeftFree);
  if (leave == 0) return true;
  std::array<UniqueFd, kMostLeftFree + 1> trial;
  for (int i = 0; i <= leave; ++i) {
    UniqueFd& fd = trial[static_cast<size_t>(i)];
    fd = UniqueFd(::fcntl(listening_fd, F_DUPFD_CLOEXEC, 0));
    if (!fd) return false;
  }
  return true;
}

// nullopt: nothing to do now; accepting is paused if somebody waits.
std::optional<FdTicket> Acceptor::Impl::TakeTicket(const Acceptor& acceptor) {
  if (kept) return std::exchange(kept, std::nullopt);
  std::optional<FdTicket> ticket = pool.TryTake();
  if (ticket || !SomebodyWaits(acceptor.listener_.socket().FdDoNotKeep())) return ticket;
  bool gone = false;
  bool* const outer = std::exchange(destroyed, &gone);
  const bool made = delegate.MakeRoom();
  if (gone) {
    if (outer != nullptr) *outer = true;
    return std::nullopt;
  }
  destroyed = outer;
  if (made) ticket = pool.TryTake();
  if (ticket) return ticket;
  // From here on the hook wakes us; a ticket that came back just before is seen by the second look.
  waiting.store(true);
  ticket = pool.TryTake();
  if (ticket) {
    waiting.store(false);
  } else {
    Pause(acceptor, 0);
  }
  return ticket;
}

void Acceptor::Impl::Pause(const Acceptor& acceptor, int error) {
  registration.Pause(true);
  last_errno.store(error, std::memory_order_relaxed);
  waiting.store(true);
  kernel_refused = kernel_refused || error == EMFILE || error == ENFILE;
  if (error != 0) pool.TellNextReturn();
  if (!starving) Increment(starved);
  starving = true;
  retry.SetAt(loop.Now() + pause);
  pause = std::min(pause * 2, kLongestPause);
  paused.store(true, std::memory_order_release);  // last: whoever sees it sees why

  const LogLimiter::Pass pass = limiter.Check(error == 0 ? "no ticket" : ErrnoName(error));
  if (!pass.log) return;
  LogFields fields{{"listen", acceptor.listener_.local().ToString()}};
  if (error == 0) {
    fields.emplace_back("pool", std::string(ToString(pool.kind())));
    fields.emplace_back("used", absl::StrCat(pool.used()));
    fields.emplace_back("limit", absl::StrCat(pool.limit()));
  } else {
    fields.emplace_back("error", ErrnoSentence(error, "accept4"));
  }
  if (pass.suppressed > 0) fields.emplace_back("suppressed", absl::StrCat(pass.suppressed));
  log.Warn(
      "net",
      error == 0
          ? "no descriptor is left for another connection: new ones wait in the kernel's queue "
            "until "
            "one closes; a higher limit of open files (ulimit -n, LimitNOFILE=) makes more room"
      : OneConnectionLost(error)
          ? "every connection in the kernel's queue turns out to be lost; looked at again by "
            "backoff"
          : "the kernel refuses another descriptor: new connections wait in its queue; tried again "
            "as "
            "soon as one closes, and by backoff",
      fields);
}

void Acceptor::Impl::Resume() {
  waiting.store(false);
  retry.Cancel();
  if (!registration.Pause(false)) {  // kicks
    waiting.store(true);
    retry.SetAt(loop.Now() + pause);
    pause = std::min(pause * 2, kLongestPause);
    return;
  }
  paused.store(false, std::memory_order_relaxed);
}

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Start(EventLoop& loop, Listener listener,
                                                          FdPool& pool, AcceptorDelegate& delegate,
                                                          LogSink& log) {
  std::unique_ptr<Acceptor> acceptor(new Acceptor(loop, std::move(listener), pool, delegate, log));
  Impl& impl = *acceptor->impl_;
  absl::StatusOr<Registration> registration = loop.Watch(acceptor->listener_.socket().FdDoNotKeep(),
                                                         Lane::kListener, Subnet(), acceptor.get());
  if (!registration.ok()) return registration.status();
  impl.registration = std::move(*registration);
  impl.on_room = pool.AddOnRoom([&impl] {
    if (!impl.waiting.exchange(false)) return;
    impl.loop.Post([alive = std::weak_ptr<bool>(impl.alive), target = &impl] {
      if (!alive.expired()) target->Resume();
    });
  });
  return acceptor;
}

Acceptor::Acceptor(EventLoop& loop, Listener listener, FdPool& pool, AcceptorDelegate& delegate,
                   LogSink& log)
    : listener_(std::move(listener)), impl_(std::make_unique<Impl>(loop, pool, delegate, log)) {}

Acceptor::~Acceptor() {
  if (impl_->on_room != 0) impl_->pool.RemoveOnRoom(impl_->on_room);
  if (impl_->destroyed != nullptr) *impl_->destroyed = true;
  impl_->registration.Reset();
}

AcceptorStats Acceptor::stats() const {
  AcceptorStats stats;
  stats.paused = impl_->paused.load(std::memory_order_acquire);
  stats.accepted = impl_->accepted.load(std::memory_order_relaxed);
  stats.aborted = impl_->aborted.load(std::memory_order_relaxed);
  stats.starved = impl_->starved.load(std::memory_order_relaxed);
  stats.last_errno = impl_->last_errno.load(std::memory_order_relaxed);
  return stats;
}

void Acceptor::Rest(int error) {
  Impl& impl = *impl_;
  if (impl.paused.load(std::memory_order_relaxed)) return;
  const MonoTime now = impl.loop.Now();
  // One that follows the last closely is the same trouble.
  impl.rest =
      now < impl.rested + impl.rest * 2 ? std::min(impl.rest * 2, kLongestPause) : kFirstPause;
  impl.rested = now + impl.rest;
  impl.pause = impl.rest;
  impl.Pause(*this, error);
  impl.waiting.store(
      false);  // a ticket that comes back, of those very connections, changes nothing
}

bool Acceptor::OnReady(uint32_t /*events*/) {
  Impl& impl = *impl_;
  const int listening = listener_.socket().FdDoNotKeep();
  bool gone = false;
  impl.destroyed = &gone;
  for (int i = 0; i < kAcceptsACall; ++i) {
    if (impl.kernel_refused && !impl.EnoughFree(listening)) {
      impl.destroyed = nullptr;
      impl.Pause(*this, EMFILE);
      return false;
    }
    std::optional<FdTicket> ticket = impl.TakeTicket(*this);
    if (gone) return false;
    if (!ticket) {
      impl.destroyed = nullptr;
      if (!impl.paused.load(std::memory_order_relaxed)) impl.Recovered();
      return false;
    }
    sockaddr_storage name{};
    socklen_t size = sizeof(name);
    UniqueFd fd(::accept4(listening, reinterpret_cast<sockaddr*>(&name), &size,
                          SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      const int error = errno;
      if (error == EINTR) continue;
      if (OneConnectionLost(error)) {
        Increment(impl.aborted);
        if (++impl.lost_in_a_row < kLostInARow) continue;
      } else if ((error == EMFILE || error == ENFILE) && impl.delegate.GiveUpReserve()) {
        impl.kept = std::move(ticket);
        continue;
      }
      impl.destroyed = nullptr;
      if (error == EAGAIN || error == EWOULDBLOCK) {
        impl.lost_in_a_row = 0;
        impl.kernel_refused = false;
        impl.Recovered();
        return false;
      }
      impl.kept = std::move(ticket);
      impl.Pause(*this, error);
      return false;
    }
    impl.lost_in_a_row = 0;
    Socket socket(std::move(fd), std::move(*ticket));
    const std::optional<Endpoint> remote = Endpoint::FromSockaddr(name);
    const std::optional<Endpoint> local = socket.Local();
    if (!remote || !local) {
      Increment(impl.aborted);
      continue;
    }
    impl.Recovered();
    Increment(impl.accepted);
    impl.delegate.OnAccepted(std::move(socket), *remote, *local);
    if (gone) return false;
  }
  impl.destroyed = nullptr;
  return true;
}

}  // namespace helo::net
