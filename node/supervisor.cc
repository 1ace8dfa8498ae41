// One thread in sigtimedwait(2). SIGUSR2, sent to that thread alone, makes it look at what changed.
#include "node/supervisor.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>

namespace helo::node {
namespace {

constexpr int kLook = SIGUSR2;

sigset_t Watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, kLook}) sigaddset(&set, number);
  return set;
}

// To stderr if it takes it at once: the reason for the forced end may be that nobody reads it.
void SayWithoutBlocking(std::string_view text) {
  pollfd wait{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
  if (poll(&wait, 1, 0) == 1 && (wait.revents & POLLOUT) != 0 &&
      write(STDERR_FILENO, text.data(), text.size()) < 0) {
    errno = 0;  // nowhere to say that either
  }
}

}  // namespace

void Supervisor::BlockSignals() {
  const sigset_t set = Watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // Shells start background jobs with SIGINT ignored, and what is ignored never arrives.
  for (const int number : {SIGINT, SIGTERM, SIGHUP, kLook}) std::signal(number, SIG_DFL);
  std::signal(SIGPIPE, SIG_IGN);
}

Supervisor::Supervisor(Duration deadline, std::function<void()> on_hangup)
    : deadline_(deadline), on_hangup_(std::move(on_hangup)), watcher_([this] { Watch(); }) {}

Supervisor::~Supervisor() {
  {
    MutexLock lock(mutex_);
    finished_ = true;
  }
  WakeWatcher();
  watcher_.join();
}

void Supervisor::WakeWatcher() { pthread_kill(watcher_.native_handle(), kLook); }

void Supervisor::RequestStop(const std::string& why) {
  BeginStop(why);
  WakeWatcher();
}

void Supervisor::BeginStop(const std::string& why) {
  MutexLock lock(mutex_);
  if (stopping_) return;
  stopping_ = true;
  why_ = why;
  end_by_ = RealClock().Now() + deadline_;
  changed_.NotifyAll();
}

std::string Supervisor::WaitForStop() {
  MutexLock lock(mutex_);
  while (!stopping_) changed_.Wait(mutex_);
  return why_;
}

void Supervisor::Watch() {
  const sigset_t set = Watched();
  bool signalled = false;
  for (;;) {
    MonoTime end_by;
    {
      MutexLock lock(mutex_);
      if (finished_) return;
      end_by = end_by_;
    }
    int got;
    if (end_by == kNever) {
      got = sigwaitinfo(&set, nullptr);
    } else {
      const Duration left = std::max(end_by - RealClock().Now(), Duration(0));
      const timespec wait{.tv_sec = left / std::chrono::seconds(1),
                          .tv_nsec = (left % std::chrono::seconds(1)).count()};
      got = sigtimedwait(&set, nullptr, &wait);
      if (got < 0 && errno == EAGAIN) {
        SayWithoutBlocking("helod: not everything could be stopped in time; ending now\n");
        _exit(0);
      }
    }
    if (got == SIGHUP) {
      on_hangup_();
    } else if (got == SIGINT || got == SIGTERM) {
      if (std::exchange(signalled, true)) _exit(128 + got);
      BeginStop(got == SIGINT ? "SIGINT" : "SIGTERM");
    }
  }
}

}  // namespace helo::node
