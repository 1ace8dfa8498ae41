// The names of the levels, the sink that drops everything, and the limit on what remotes can make
// us say.
#include "p2p/base/log.h"

#include "p2p/base/text.h"

namespace helo {
namespace {

class DroppingLog final : public LogSink {
 public:
  bool Enabled(LogLevel) const override { return false; }
  void Write(LogLevel, std::string_view, std::string_view, const LogFields&) override {}
};

}  // namespace

std::string_view ToString(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return "trace";
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
    case LogLevel::kOff:
      return "off";
  }
  return "unknown";
}

LogSink& NullLog() {
  static DroppingLog log;
  return log;
}

LogLimiter::Pass LogLimiter::Check(std::string_view cause) {
  const MonoTime now = clock_.Now();
  MutexLock lock(mutex_);
  auto at = causes_.find(ToAbsl(cause));
  if (at == causes_.end()) {
    if (causes_.size() >= max_causes_) Sweep(now);
    if (causes_.size() < max_causes_) at = causes_.try_emplace(std::string(cause)).first;
  }
  Cause& entry = at == causes_.end() ? others_ : at->second;
  if (now < entry.next) {
    ++entry.suppressed;
    return {};
  }
  const Pass pass{.log = true, .suppressed = entry.suppressed};
  entry = {.next = now + interval_, .suppressed = 0};
  return pass;
}

void LogLimiter::Sweep(MonoTime now) {
  // Once an interval at most: a flood of ever new causes must not make every call walk the table.
  if (now < next_sweep_) return;
  next_sweep_ = now + interval_;
  for (auto at = causes_.begin(); at != causes_.end();) {
    if (now < at->second.next) {
      ++at;
      continue;
    }
    others_.suppressed += at->second.suppressed;
    causes_.erase(at++);
  }
}

}  // namespace helo
