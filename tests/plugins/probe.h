// What the plugin `probe` and its test share, in the test's memory: the plugin writes down what it
// is told and does what the test's functions say. Its configuration is the address of one of these.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "helo/extensions.h"
#include "helo/plugin.h"
#include "p2p/base/mutex.h"

namespace helo::testing {

struct Probe {
  const helo_host* host = nullptr;  // from create on
  const helo_host_timer* timer = nullptr;
  const helo_host_command* command = nullptr;
  const helo_host_peers* peers = nullptr;

  // Each may be empty. An exception is turned into a fault, as the wrapper for authors does it.
  std::function<helo_status()> on_create, on_start;
  std::function<void(helo_session)> on_open, on_writable;
  std::function<helo_verdict(helo_session, uint32_t type, std::string_view)> on_message;
  std::function<void(helo_session, int32_t)> on_close;
  std::function<void(uint64_t)> on_posted, on_timer;
  std::function<void(uint64_t call, uint32_t command, std::vector<std::string>)> on_command;
  std::function<void()> on_stop, on_destroy;
  bool quiet = false;  // counts messages, does not write them down

  void Note(std::string line) {
    MutexLock lock(mutex_);
    lines_.push_back(std::move(line));
    grew_.NotifyAll();
  }
  std::vector<std::string> lines() const {
    MutexLock lock(mutex_);
    return lines_;
  }
  size_t Count(std::string_view start) const {
    MutexLock lock(mutex_);
    return CountLocked(start);
  }
  bool WaitFor(std::string_view start, size_t times = 1) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    MutexLock lock(mutex_);
    while (CountLocked(start) < times) {
      if (!grew_.WaitUntil(mutex_, deadline)) return CountLocked(start) >= times;
    }
    return true;
  }
  void Clear() {
    MutexLock lock(mutex_);
    lines_.clear();
  }
  std::string Config() const { return std::to_string(reinterpret_cast<uintptr_t>(this)); }

 private:
  size_t CountLocked(std::string_view start) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    size_t n = 0;
    for (const std::string& line : lines_) n += line.rfind(start, 0) == 0 ? 1 : 0;
    return n;
  }
  mutable Mutex mutex_;
  mutable CondVar grew_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace helo::testing
