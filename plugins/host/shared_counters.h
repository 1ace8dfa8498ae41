// A plugin's counters, which outlive its instances. Private to plugins/host. Thread: any.
#pragma once

#include <atomic>

#include "plugins/host/status.h"

namespace helo::plugins {

class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  // For the plugin's thread, where that is the only one that counts.
  void AddAlone(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void RaiseAlone(uint64_t to) {
    if (to > value_.load(std::memory_order_relaxed)) value_.store(to, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct SharedCounters {
  // The plugin's thread's, apart from what loops write.
  alignas(64) Counter messages_in, bytes_in, opened, closed, longest_ns;
  alignas(64) Counter messages_out, bytes_out, refused, dropped, pauses, slow, penalties, calls,
      faults, restarts, log_lines_dropped;

  Counters Read() const {
    Counters c;
    c.messages_in = messages_in.value();
    c.messages_out = messages_out.value();
    c.bytes_in = bytes_in.value();
    c.bytes_out = bytes_out.value();
    c.dropped = dropped.value();
    c.refused = refused.value();
    c.pauses = pauses.value();
    c.slow = slow.value();
    c.penalties = penalties.value();
    c.opened = opened.value();
    c.closed = closed.value();
    c.calls = calls.value();
    c.faults = faults.value();
    c.restarts = restarts.value();
    c.log_lines_dropped = log_lines_dropped.value();
    c.longest = Duration(static_cast<int64_t>(longest_ns.value()));
    return c;
  }
};

}  // namespace helo::plugins
