// Where log lines go. The rooms know only this sink; helod puts spdlog behind it.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/mutex.h"

namespace helo {

enum class LogLevel : uint8_t { kTrace, kDebug, kInfo, kWarn, kError, kOff };
std::string_view ToString(LogLevel level);

using LogFields = std::vector<std::pair<std::string_view, std::string>>;

// Thread: any. Implementations quote every value, so callers pass raw bytes from remotes unchanged.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual bool Enabled(LogLevel level) const = 0;
  // `room`: "net", "tls", "wire", "peers", "server", "rpc", "node". `message`: a constant sentence
  // of ours, never remote text; that goes into a field.
  virtual void Write(LogLevel level, std::string_view room, std::string_view message,
                     const LogFields& fields) = 0;

  void Debug(std::string_view room, std::string_view message, const LogFields& fields = {}) {
    if (Enabled(LogLevel::kDebug)) Write(LogLevel::kDebug, room, message, fields);
  }
  void Info(std::string_view room, std::string_view message, const LogFields& fields = {}) {
    if (Enabled(LogLevel::kInfo)) Write(LogLevel::kInfo, room, message, fields);
  }
  void Warn(std::string_view room, std::string_view message, const LogFields& fields = {}) {
    if (Enabled(LogLevel::kWarn)) Write(LogLevel::kWarn, room, message, fields);
  }
  void Error(std::string_view room, std::string_view message, const LogFields& fields = {}) {
    if (Enabled(LogLevel::kError)) Write(LogLevel::kError, room, message, fields);
  }
};

// Drops everything. For tests and tools.
LogSink& NullLog();

// Anything that a remote can trigger is logged at most once per cause per interval; the next line
// that passes tells how many were held back. Bounded: at most `max_causes` are tracked, all others
// share one. Thread: any.
class LogLimiter {
 public:
  explicit LogLimiter(const Clock& clock, Duration interval = std::chrono::seconds(10),
                      size_t max_causes = 256)
      : clock_(clock), interval_(interval), max_causes_(max_causes) {}
  struct Pass {
    bool log = false;
    uint64_t suppressed = 0;  // since the last line of this cause
  };
  Pass Check(std::string_view cause);

 private:
  struct Cause {
    MonoTime next{};
    uint64_t suppressed = 0;
  };
  // Forgets causes whose interval is over; what they held back is told with the shared one.
  void Sweep(MonoTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  const Duration interval_;
  const size_t max_causes_;
  Mutex mutex_;
  MonoTime next_sweep_ ABSL_GUARDED_BY(mutex_){};
  Cause others_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Cause> causes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace helo
