// The rates of WIRE 2, as their receiver and their sender count them.
// A sender may send N in any window. Network delays bunch what was sent evenly, so a receiver here
// is as patient as WIRE allows: FLOOD is the 2N-th within one window, not earlier. Bytes are
// counted in windows that begin with their first frame, N each: two neighbours together stay below
// 2N in any window of that length. Owner: one session. Thread: its loop.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "p2p/base/clock.h"

namespace helo::wire {

class RateWindow {
 public:
  RateWindow(uint32_t tolerated, Duration window) : tolerated_(tolerated), window_(window) {}

  // Counts one event. False: it is the 2N-th within the window (and is not counted).
  bool Count(MonoTime now) {
    Forget(now);
    if (times_.size() + 1 >= size_t{2} * tolerated_) return false;
    times_.push_back(now);
    return true;
  }
  // For a sender: is there room for one more within N? Then Count it.
  bool MaySend(MonoTime now) {
    Forget(now);
    return times_.size() < tolerated_;
  }
  // For a sender that may not: when it may again.
  MonoTime NextRoom() const {
    return times_.size() < tolerated_ ? MonoTime::min()
                                      : times_[times_.size() - tolerated_] + window_;
  }

 private:
  void Forget(MonoTime now) {
    const auto in_window = [&](MonoTime t) { return now - t < window_; };
    times_.erase(times_.begin(), std::find_if(times_.begin(), times_.end(), in_window));
  }

  const uint32_t tolerated_;
  const Duration window_;
  std::vector<MonoTime> times_;  // ascending, within the window, fewer than 2N
};

class ByteWindow {
 public:
  ByteWindow(uint64_t tolerated, Duration window) : tolerated_(tolerated), window_(window) {}

  // False: this window's bytes are above N.
  bool Count(MonoTime now, uint64_t bytes) {
    if (used_ == 0 || now - begin_ >= window_) {
      begin_ = now;
      used_ = 0;
    }
    used_ += bytes;
    return used_ <= tolerated_;
  }

 private:
  const uint64_t tolerated_;
  const Duration window_;
  MonoTime begin_{};
  uint64_t used_ = 0;
};

}  // namespace helo::wire
