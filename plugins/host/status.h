// A plugin as people see it in lists.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/server/handler.h"
#include "plugins/host/descriptor_check.h"

namespace helo::plugins {

enum class State : uint8_t {
  kStarting,     // create and start run
  kRunning,      // offered to peers
  kDraining,     // withdrawn; takes what has arrived, then stops
  kStopped,      // destroyed, its thread joined
  kQuarantined,  // it failed; its sessions are closed, its capabilities withdrawn
  kAbandoned,    // told to stop, it did not come back from a call; its thread and memory stay
};
std::string_view ToString(State state);  // "running", ...

struct Counters {  // since it was loaded; a restart goes on
  uint64_t messages_in = 0, messages_out = 0, bytes_in = 0, bytes_out = 0;
  uint64_t dropped = 0;    // messages that arrived too late for it
  uint64_t refused = 0;    // sends answered AGAIN
  uint64_t pauses = 0;     // times that a peer was not read because its queue was full
  uint64_t slow = 0;       // peers closed with PLUGIN_SLOW
  uint64_t penalties = 0;  // peers closed with PLUGIN_VIOLATION
  uint64_t opened = 0, closed = 0;
  uint64_t calls = 0, faults = 0, restarts = 0, log_lines_dropped = 0;
  Duration longest{};  // callback
};

struct PluginStatus {
  std::string name, id, version, description;
  uint32_t abi_minor = 0;
  State state = State::kStarting;
  std::string reason;  // of a quarantine, or what an abandoned one was doing
  std::vector<Capability> protocols;
  std::vector<CommandInfo> commands;
  size_t sessions = 0, paused_sessions = 0;
  size_t queued_bytes = 0, queued_events = 0, timers = 0;
  Counters counters;
  std::string file, copy, hash;
  bool unloadable = false;
};

}  // namespace helo::plugins
