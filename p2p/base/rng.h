// Randomness comes in through this interface, so that a run can be replayed from a seed.
#pragma once

#include <cstdint>

#include "p2p/base/bytes.h"
#include "p2p/base/clock.h"

namespace helo {

class Rng {
 public:
  virtual ~Rng() = default;
  virtual void Fill(std::span<uint8_t> out) = 0;

  uint64_t U64();
  // Uniform in [0, bound); bound > 0. No modulo bias.
  uint64_t Below(uint64_t bound);
  // base, plus or minus at most `percent` of it, uniformly. percent in [0, 100].
  Duration Jitter(Duration base, int percent);
};

// getrandom(2). Thread: any.
Rng& SystemRng();

}  // namespace helo
