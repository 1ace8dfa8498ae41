// A clock that stands still until a test moves it. Thread: any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "p2p/base/clock.h"

namespace helo::testing {

class ManualClock final : public Clock {
 public:
  // Starts well away from zero, so that "now minus an hour" is still a valid time.
  ManualClock() = default;
  explicit ManualClock(MonoTime start) : mono_ns_(start.time_since_epoch().count()) {}

  MonoTime Now() const override { return MonoTime(Duration(mono_ns_.load())); }
  WallTime WallNow() const override { return WallTime(std::chrono::microseconds(wall_us_.load())); }

  // Both clocks go on by `d`.
  void Advance(Duration d) {
    mono_ns_.fetch_add(d.count());
    wall_us_.fetch_add(std::chrono::duration_cast<std::chrono::microseconds>(d).count());
  }
  // The monotonic clock alone; the wall clock keeps its own time.
  void Set(MonoTime now) { mono_ns_.store(now.time_since_epoch().count()); }
  // The wall clock alone may jump, back too.
  void SetWall(WallTime now) { wall_us_.store(now.time_since_epoch().count()); }

 private:
  std::atomic<int64_t> mono_ns_{int64_t{100'000} * 1'000'000'000};
  std::atomic<int64_t> wall_us_{int64_t{1'700'000'000} * 1'000'000};
};

}  // namespace helo::testing
