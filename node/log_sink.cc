// Formatting, spdlog's queue, and the file behind it.
#include "node/log_sink.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <poll.h>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <functional>
#include <mutex>
#include <utility>

#include "p2p/base/text.h"

namespace helo::node {
namespace {

std::string FormatTime(WallTime time) {
  const int64_t us = time.time_since_epoch().count();
  const std::time_t seconds = us / 1'000'000 - (us % 1'000'000 < 0 ? 1 : 0);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                         utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                         us - int64_t{seconds} * 1'000'000);
}

// QuoteRemote, but an apostrophe stays: between double quotes it ends nothing, and our own
// sentences have some.
std::string Quoted(std::string_view value) {
  std::string out;
  for (;;) {
    const size_t apostrophe = value.find('\'');
    out += QuoteRemote(value.substr(0, apostrophe));
    if (apostrophe == std::string_view::npos) return out;
    out.push_back('\'');
    value.remove_prefix(apostrophe + 1);
  }
}

// As a JSON string; what Quoted leaves has no quote and only its own backslashes.
std::string JsonString(std::string_view value) {
  std::string out = "\"";
  for (const char c : Quoted(value)) {
    if (c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out + "\"";
}

absl::StatusOr<int> OpenForAppending(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
  if (fd >= 0) return fd;
  const absl::Status status = ErrnoStatus(errno, absl::StrCat("open log file ", path));
  return absl::Status(
      status.code(),
      absl::StrCat(status.message(), "; give another --log-file, or make its directory writable"));
}

}  // namespace

// Unbuffered: a line is one write(2) with O_APPEND, so it is whole even if two processes share the
// file.
class LogFile final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  LogFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;
  ~LogFile() override {
    if (!path_.empty()) close(fd_);
  }

  // The descriptor keeps its number and dup3(2) changes what is behind it at once: no lock, so a
  // write that hangs in the kernel cannot hold up the thread that asks for this.
  absl::Status Reopen() {
    if (path_.empty()) return absl::OkStatus();
    const absl::StatusOr<int> fresh = OpenForAppending(path_);
    if (!fresh.ok()) return fresh.status();
    const int result = dup3(*fresh, fd_, O_CLOEXEC);
    const int error = errno;
    close(*fresh);
    return result >= 0 ? absl::OkStatus() : ErrnoStatus(error, absl::StrCat("dup3 ", path_));
  }

  // Before the first line. `lost`: lines dropped for want of room in the queue, in all.
  void SetLostCounter(std::function<size_t()> lost, std::function<std::string(size_t)> say) {
    lost_ = std::move(lost);
    say_ = std::move(say);
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const size_t lost = lost_ ? lost_() : 0;
    if ((lost != told_ || failed_ > 0) && WriteLine(say_(lost - told_ + failed_))) {
      told_ = lost;
      failed_ = 0;
    }
    if (!WriteLine(std::string_view(message.payload.data(), message.payload.size()))) ++failed_;
  }
  void flush_() override {}

 private:
  bool WriteLine(std::string_view text) {
    const std::string line = absl::StrCat(ToAbsl(text), "\n");
    std::string_view rest = line;
    while (!rest.empty()) {
      const ssize_t wrote = write(fd_, rest.data(), rest.size());
      if (wrote >= 0) {
        rest.remove_prefix(static_cast<size_t>(wrote));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN)
        return false;  // ENOSPC, EIO, EPIPE: nowhere to say so but in a later line
      pollfd wait{.fd = fd_, .events = POLLOUT, .revents = 0};
      if (poll(&wait, 1, 1000) <= 0) return false;
    }
    return true;
  }

  const int fd_;
  const std::string path_;
  std::function<size_t()> lost_;
  std::function<std::string(size_t)> say_;
  size_t told_ = 0;
  size_t failed_ = 0;
};

absl::StatusOr<std::unique_ptr<NodeLog>> NodeLog::Open(LogFormat format, LogLevel level,
                                                       const std::string& file, const Clock& clock,
                                                       size_t queue_lines) {
  int fd = STDERR_FILENO;
  if (!file.empty()) {
    const absl::StatusOr<int> opened = OpenForAppending(file);
    if (!opened.ok()) return opened.status();
    fd = *opened;
  }
  std::unique_ptr<NodeLog> log(new NodeLog(format, level, clock));
  log->file_ = std::make_shared<LogFile>(fd, file);
  log->writer_ = std::make_shared<spdlog::details::thread_pool>(queue_lines, 1);
  // Not the shared pointer: the pool's thread would own the pool.
  log->file_->SetLostCounter([pool = log->writer_.get()] { return pool->overrun_counter(); },
                             [format, &clock](size_t lines) {
                               return FormatLine(
                                   format, clock.WallNow(), LogLevel::kWarn, "node",
                                   "log lines were lost because they could not be written",
                                   {{"lines", absl::StrCat(lines)}});
                             });
  log->logger_ = std::make_shared<spdlog::async_logger>(
      "helod", log->file_, log->writer_, spdlog::async_overflow_policy::overrun_oldest);
  log->logger_->set_level(spdlog::level::trace);  // NodeLog decides
  return log;
}

NodeLog::~NodeLog() { Drain(); }

void NodeLog::Drain() {
  SetLevel(LogLevel::kOff);
  writer_.reset();  // joins the writer after the last line
}

void NodeLog::Write(LogLevel level, std::string_view room, std::string_view message,
                    const LogFields& fields) {
  const std::string line = FormatLine(format_, clock_.WallNow(), level, room, message, fields);
  logger_->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

absl::Status NodeLog::Reopen() { return file_->Reopen(); }

std::string FormatLine(LogFormat format, WallTime time, LogLevel level, std::string_view room,
                       std::string_view message, const LogFields& fields) {
  if (format == LogFormat::kJson) {
    std::string out =
        absl::StrCat("{\"time\":\"", FormatTime(time), "\",\"level\":\"", ToAbsl(ToString(level)),
                     "\",\"room\":", JsonString(room), ",\"message\":", JsonString(message));
    for (const auto& [key, value] : fields) {
      const bool taken = key == "time" || key == "level" || key == "room" || key == "message";
      absl::StrAppend(&out, ",",
                      JsonString(taken ? absl::StrCat(ToAbsl(key), "_") : std::string(key)), ":",
                      JsonString(value));
    }
    return out + "}";
  }
  std::string out = absl::StrFormat("%s %-5s %-6s %s", FormatTime(time), ToAbsl(ToString(level)),
                                    ToAbsl(room), Quoted(message));
  for (const auto& [key, value] : fields) {
    const std::string quoted = Quoted(value);
    const bool bare = !quoted.empty() && quoted.find_first_of(" ='") == std::string::npos;
    absl::StrAppend(&out, " ", ToAbsl(key), "=", bare ? "" : "\"", quoted, bare ? "" : "\"");
  }
  return out;
}

}  // namespace helo::node
