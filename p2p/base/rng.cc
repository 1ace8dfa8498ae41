// Randomness from the kernel, and the arithmetic over any source of it.
#include "p2p/base/rng.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "p2p/base/text.h"

namespace helo {

uint64_t Rng::U64() {
  uint8_t raw[8];
  Fill(raw);
  uint64_t value = 0;
  for (uint8_t byte : raw) value = value << 8 | byte;
  return value;
}

uint64_t Rng::Below(uint64_t bound) {
  if (bound <= 1) return 0;
  // Values below 2^64 mod bound would make the small results likelier: draw again.
  const uint64_t skip = (uint64_t{0} - bound) % bound;
  uint64_t value;
  do {
    value = U64();
  } while (value < skip);
  return value % bound;
}

Duration Rng::Jitter(Duration base, int percent) {
  const int64_t count = base.count();
  const int64_t share = std::clamp(percent, 0, 100);
  if (count <= 0 || share == 0) return base;
  // In two halves, so that no base can overflow.
  const int64_t span = count / 100 * share + count % 100 * share / 100;
  const int64_t low = count - span;
  const int64_t room = Duration::max().count() - low;
  const uint64_t width = static_cast<uint64_t>(span) * 2;
  return Duration(low +
                  static_cast<int64_t>(Below(std::min(width, static_cast<uint64_t>(room)) + 1)));
}

namespace {

class KernelRng final : public Rng {
 public:
  void Fill(std::span<uint8_t> out) override {
    while (!out.empty()) {
      const ssize_t got = getrandom(out.data(), out.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        // Without randomness there is no key and no TLS: going on would be worse than stopping.
        std::fprintf(stderr, "helo: %s\n", ErrnoSentence(errno, "getrandom").c_str());
        std::abort();
      }
      out = out.subspan(static_cast<size_t>(got));
    }
  }
};

}  // namespace

Rng& SystemRng() {
  static KernelRng rng;
  return rng;
}

}  // namespace helo
