// Signals, the request to stop, and the deadline that nothing can outlast: one thread that waits
// for signals and, once a stop was asked for, for the deadline. When that passes it ends the
// process itself, whatever the others hang in.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "p2p/base/clock.h"
#include "p2p/base/mutex.h"

namespace helo::node {

class Supervisor {
 public:
  // Blocks SIGINT, SIGTERM, SIGHUP and the one it uses itself in the calling thread, and so in all
  // that it starts later; ignores SIGPIPE. Before any thread is made.
  static void BlockSignals();

  // Starts the thread. `deadline`: from the first request to the end by force, with exit status 0.
  // `on_hangup` is called in it for every SIGHUP and must not block.
  Supervisor(Duration deadline, std::function<void()> on_hangup);
  ~Supervisor();  // ends the thread: everything was stopped in time
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  // Thread: any. A second signal, unlike a second call, ends the process at once.
  void RequestStop(const std::string& why);
  std::string WaitForStop();  // why

 private:
  void BeginStop(const std::string& why);
  void Watch();
  void WakeWatcher();

  const Duration deadline_;
  const std::function<void()> on_hangup_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::string why_ ABSL_GUARDED_BY(mutex_);
  MonoTime end_by_ ABSL_GUARDED_BY(mutex_) = kNever;
  std::thread watcher_;
};

}  // namespace helo::node
