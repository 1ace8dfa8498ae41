// Time comes in through this interface, so that every deadline can be tested on a virtual clock.
// Thread: any; implementations are safe to read from every thread.
#pragma once

#include <chrono>

namespace helo {

using Duration = std::chrono::nanoseconds;
using MonoTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

inline constexpr MonoTime kNever = MonoTime::max();

class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic (CLOCK_MONOTONIC, man 2 clock_gettime); all deadlines are measured on it.
  virtual MonoTime Now() const = 0;
  // Wall clock, for what people and remotes see; it may jump.
  virtual WallTime WallNow() const = 0;
};

// The machine's clock. One instance serves the whole process.
const Clock& RealClock();

}  // namespace helo
