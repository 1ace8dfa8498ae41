// Where calls about plugins are carried out: loading and stopping one waits for it, which neither
// the admin loop nor a gRPC thread may do. One thread, one operation after the other, a bounded
// queue. Private to rpc/service. Thread: any; Stop once.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "p2p/base/mutex.h"

namespace helo::rpc {

class PluginDesk {
 public:
  static constexpr size_t kMostWaiting = 64;

  PluginDesk();
  ~PluginDesk() { Stop(); }
  PluginDesk(const PluginDesk&) = delete;
  PluginDesk& operator=(const PluginDesk&) = delete;

  // False, and `work` destroyed: too many wait already, or it was stopped.
  bool Do(std::function<void()> work);
  // What runs is waited for (a plugin is given up after its limit), what waits is destroyed undone.
  void Stop();

 private:
  void Run();

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace helo::rpc
