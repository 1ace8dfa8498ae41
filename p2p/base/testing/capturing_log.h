// A log that tests read, and wait on. Each line reads "level room: message key=value key=value",
// values quoted as for people. Thread: any.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/log.h"
#include "p2p/base/mutex.h"
#include "p2p/base/text.h"

namespace helo::testing {

class CapturingLog final : public LogSink {
 public:
  explicit CapturingLog(LogLevel least = LogLevel::kTrace) : least_(least) {}

  bool Enabled(LogLevel level) const override { return level >= least_ && level != LogLevel::kOff; }

  void Write(LogLevel level, std::string_view room, std::string_view message,
             const LogFields& fields) override {
    std::string line(ToString(level));
    line.append(" ").append(room).append(": ").append(message);
    for (const auto& [key, value] : fields)
      line.append(" ").append(key).append("=").append(QuoteRemote(value));
    MutexLock lock(mutex_);
    lines_.push_back(std::move(line));
    grew_.NotifyAll();
  }

  std::vector<std::string> lines() const {
    MutexLock lock(mutex_);
    return lines_;
  }
  // How many lines hold `substring`.
  size_t Count(std::string_view substring) const {
    MutexLock lock(mutex_);
    size_t n = 0;
    for (const std::string& line : lines_) n += line.find(substring) != std::string::npos ? 1 : 0;
    return n;
  }
  bool Contains(std::string_view substring) const { return Count(substring) > 0; }
  // True as soon as a line holds `substring`; false if none does when `deadline` passes.
  bool WaitFor(std::string_view substring, std::chrono::steady_clock::time_point deadline) const {
    MutexLock lock(mutex_);
    size_t looked_at = 0;
    for (;;) {
      if (looked_at > lines_.size()) looked_at = 0;  // somebody called Clear()
      for (; looked_at < lines_.size(); ++looked_at) {
        if (lines_[looked_at].find(substring) != std::string::npos) return true;
      }
      if (!grew_.WaitUntil(mutex_, deadline) && looked_at == lines_.size()) return false;
    }
  }
  bool WaitFor(std::string_view substring, Duration within = std::chrono::seconds(10)) const {
    return WaitFor(substring, std::chrono::steady_clock::now() + within);
  }
  void Clear() {
    MutexLock lock(mutex_);
    lines_.clear();
  }

 private:
  const LogLevel least_;
  mutable Mutex mutex_;
  mutable CondVar grew_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace helo::testing
