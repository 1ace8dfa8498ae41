#include "rpc/service/plugin_desk.h"

#include <pthread.h>

#include <utility>

namespace helo::rpc {

PluginDesk::PluginDesk() : thread_([this] { Run(); }) {}

bool PluginDesk::Do(std::function<void()> work) {
  MutexLock lock(mutex_);
  if (stopped_ || waiting_.size() >= kMostWaiting) return false;
  waiting_.push_back(std::move(work));
  changed_.NotifyOne();
  return true;
}

void PluginDesk::Run() {
  ::pthread_setname_np(::pthread_self(), "plugin-desk");
  for (;;) {
    std::function<void()> work;
    {
      MutexLock lock(mutex_);
      while (!stopped_ && waiting_.empty()) changed_.Wait(mutex_);
      if (stopped_) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    work();
  }
}

void PluginDesk::Stop() {
  std::deque<std::function<void()>> undone;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    undone.swap(waiting_);
    changed_.NotifyAll();
  }
  undone.clear();  // replies that are dropped answer UNAVAILABLE by themselves
  if (thread_.joinable()) thread_.join();
}

}  // namespace helo::rpc
