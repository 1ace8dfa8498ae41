// helod's log: LogSink in front of spdlog. Lines are made where they are logged and written by one
// thread of spdlog's, so a full disk or a terminal that somebody stopped holds up nobody; when its
// queue is full the oldest lines go and the log says how many. Thread: any.
#pragma once

#include <absl/status/statusor.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "node/config.h"
#include "p2p/base/clock.h"
#include "p2p/base/log.h"

namespace spdlog {
class async_logger;
namespace details {
class thread_pool;
}
}  // namespace spdlog

namespace helo::node {

class LogFile;

class NodeLog final : public LogSink {
 public:
  // `file` empty: stderr. Errors name the file and the remedy. `queue_lines` bounds what waits to
  // be written.
  static absl::StatusOr<std::unique_ptr<NodeLog>> Open(LogFormat format, LogLevel level,
                                                       const std::string& file, const Clock& clock,
                                                       size_t queue_lines = 8192);
  ~NodeLog() override;  // Drain() if not done

  bool Enabled(LogLevel level) const override {
    return level >= level_.load() && level != LogLevel::kOff;
  }
  void Write(LogLevel level, std::string_view room, std::string_view message,
             const LogFields& fields) override;

  LogLevel level() const { return level_.load(); }
  void SetLevel(LogLevel level) { level_.store(level); }
  // Opens the file anew, after it was renamed. On failure the old one stays in use. No-op on
  // stderr.
  absl::Status Reopen();
  // Writes what is queued and ends the writer; what comes later is dropped. May take as long as the
  // file does.
  void Drain();

 private:
  NodeLog(LogFormat format, LogLevel level, const Clock& clock)
      : format_(format), clock_(clock), level_(level) {}
  const LogFormat format_;
  const Clock& clock_;
  std::atomic<LogLevel> level_;
  std::shared_ptr<LogFile> file_;
  std::shared_ptr<spdlog::details::thread_pool> writer_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

// One line without its end. Text: `TIME LEVEL ROOM MESSAGE key=value ...`; JSON: an object with
// time, level, room, message and the fields. Values go through QuoteRemote either way, so a line is
// printable ASCII whatever a remote sent.
std::string FormatLine(LogFormat format, WallTime time, LogLevel level, std::string_view room,
                       std::string_view message, const LogFields& fields);

}  // namespace helo::node
