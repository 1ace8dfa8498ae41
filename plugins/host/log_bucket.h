// How fast a plugin may log: 100 lines at once, 20 a second. Private to plugins/host. Thread: any.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "p2p/base/mutex.h"

namespace helo::plugins {

class LogBucket {
 public:
  struct Pass {
    bool log = false;
    uint64_t suppressed = 0;  // since the last line that passed
  };
  Pass Take() {
    const auto now = std::chrono::steady_clock::now();
    MutexLock lock(mutex_);
    const double seconds = std::chrono::duration<double>(now - last_).count();
    left_ = std::min(kAtOnce, left_ + seconds * kPerSecond);
    last_ = now;
    if (left_ < 1) {
      ++suppressed_;
      return {};
    }
    left_ -= 1;
    Pass pass{true, suppressed_};
    suppressed_ = 0;
    return pass;
  }

 private:
  static constexpr double kAtOnce = 100, kPerSecond = 20;
  Mutex mutex_;
  double left_ ABSL_GUARDED_BY(mutex_) = kAtOnce;
  uint64_t suppressed_ ABSL_GUARDED_BY(mutex_) = 0;
  std::chrono::steady_clock::time_point last_ ABSL_GUARDED_BY(mutex_) =
      std::chrono::steady_clock::now();
};

}  // namespace helo::plugins
