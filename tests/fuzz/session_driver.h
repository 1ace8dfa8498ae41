// Plays one session from a string of bytes: the remote's frames, well-formed and not, the node's
// own calls, calls from within the sink, and time. Aborts when a promise of p2p/wire/session.h is
// broken. Used by the libFuzzer target, by the corpus regression and by the unit tests' random
// walk.
#pragma once

#include <cstddef>
#include <cstdint>

namespace helo::wire::fuzz {

struct DriveResult {
  bool was_up = false;
  uint64_t messages = 0;
  uint32_t close_code = 0;
  bool closed = false;
};
DriveResult DriveSession(const uint8_t* data, size_t size);

}  // namespace helo::wire::fuzz
