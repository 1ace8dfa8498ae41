// What the kernel knows of a process: CPU time, memory, descriptors. man 5 proc. Thread: any.
#pragma once

#include <absl/status/statusor.h>
#include <sys/types.h>

#include <cstdint>

namespace helo::load {

struct Usage {
  double cpu_s = 0;                 // of all its threads, since its start
  double user_s = 0, system_s = 0;  // the same, in clock ticks
  uint64_t rss_kb = 0;
  int fds = 0;
};

// NotFound if there is no such process, PermissionDenied where it may not be looked at.
absl::StatusOr<Usage> ReadUsage(pid_t pid);

}  // namespace helo::load
