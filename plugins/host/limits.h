// What a plugin may use, and how long it may take. The defaults are the design's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "p2p/base/clock.h"

namespace helo::plugins {

struct Limits {
  // Waiting for the plugin. At a mark the peer is not read; at half of it, it is again.
  size_t session_bytes = size_t{1} << 20;
  uint32_t session_messages = 256;
  size_t plugin_bytes = size_t{64} << 20;
  size_t waiting_events = 262'144;  // of every kind; more is the plugin's fault
  size_t posts = 65'536;
  size_t timers = 4'096;
  size_t calls = 1'024;  // commands without an answer yet

  // On the injected clock.
  Duration slow_after = std::chrono::seconds(10);  // paused and not one message taken
  int slow_is_fault = 3;                           // so many in a minute
  Duration minute = std::chrono::minutes(1);
  Duration stalled_after = std::chrono::seconds(30);  // one callback
  int penalties_at_least = 4;  // in a minute, and more than half of the sessions: its own fault

  // On the machine's clock.
  Duration start_within = std::chrono::seconds(5);  // create and start
  Duration stop_within = std::chrono::seconds(5);   // after the draining, or after a fault
};

}  // namespace helo::plugins
