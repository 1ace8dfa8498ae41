// Randomness that is the same in every run of a test: splitmix64 (Steele, Lea, Flood 2014). Never
// for keys that leave the test. Thread: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "p2p/base/rng.h"

namespace helo::testing {

class SeededRng final : public Rng {
 public:
  explicit SeededRng(uint64_t seed = 1) : state_(seed) {}

  void Fill(std::span<uint8_t> out) override {
    size_t at = 0;
    while (at < out.size()) {
      uint64_t word = Next();
      for (int i = 0; i < 8 && at < out.size(); ++i, word >>= 8)
        out[at++] = static_cast<uint8_t>(word);
    }
  }

 private:
  uint64_t Next() {
    constexpr uint64_t kGamma = 0x9e3779b97f4a7c15;
    uint64_t z = state_.fetch_add(kGamma) + kGamma;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::atomic<uint64_t> state_;
};

}  // namespace helo::testing
