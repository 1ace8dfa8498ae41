// A plugin in words and numbers.
#include "plugins/host/status.h"

#include <absl/strings/str_cat.h>

#include "plugins/host/plugin_runner.h"

namespace helo::plugins {

void PluginRunner::Describe(PluginStatus& status) {
  const Library& library = *library_;
  status.name = library.name();
  status.id = library.manifest().id;
  status.version = library.manifest().version;
  status.description = library.manifest().description;
  status.abi_minor = library.manifest().abi_minor;
  status.protocols = library.manifest().protocols;
  status.unloadable = library.manifest().unloadable();
  status.file = library.file();
  status.copy = library.copy();
  status.hash = library.hash();
  status.counters = counters_->Read();
  status.queued_bytes = queued_bytes_.load();
  {
    MutexLock lock(table_mutex_);
    status.sessions = table_.size();
  }
  MutexLock lock(mutex_);
  status.reason = reason_;
  status.commands = commands_;
  status.paused_sessions = paused_.size();
  status.queued_events = inbox_.events.size();
  status.timers = timers_.size();
  const bool lost = abandoned_ && !finished_;
  switch (state()) {
    case Phase::kStarting:
      status.state = State::kStarting;
      break;
    case Phase::kRunning:
      status.state = State::kRunning;
      break;
    case Phase::kDraining:
      status.state = finished_ ? State::kStopped : State::kDraining;
      break;
    case Phase::kFaulted:
      status.state = State::kQuarantined;
      break;
  }
  if (!lost) return;
  status.state = State::kAbandoned;
  absl::StrAppend(&status.reason, status.reason.empty() ? "" : "; ", call_what_.load(),
                  " has not returned");
}

std::string_view ToString(State state) {
  switch (state) {
    case State::kStarting:
      return "starting";
    case State::kRunning:
      return "running";
    case State::kDraining:
      return "draining";
    case State::kStopped:
      return "stopped";
    case State::kQuarantined:
      return "quarantined";
    case State::kAbandoned:
      return "abandoned";
  }
  return "unknown";
}

}  // namespace helo::plugins
