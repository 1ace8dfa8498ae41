// The arithmetic over randomness, and the source itself.
#include "p2p/base/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "p2p/base/testing/seeded_rng.h"

namespace helo {
namespace {

using namespace std::chrono_literals;

// Says the same word over and over, then another: to show that a draw is rejected.
class ScriptedRng final : public Rng {
 public:
  explicit ScriptedRng(std::vector<uint64_t> words) : words_(std::move(words)) {}
  void Fill(std::span<uint8_t> out) override {
    uint64_t word = words_.at(next_++);
    for (auto at = out.rbegin(); at != out.rend(); ++at, word >>= 8)
      *at = static_cast<uint8_t>(word);
  }

 private:
  std::vector<uint64_t> words_;
  size_t next_ = 0;
};

TEST(Rng, BelowStaysBelowAndReachesEveryValue) {
  testing::SeededRng rng(7);
  std::set<uint64_t> seen;
  for (int i = 0; i < 500; ++i) seen.insert(rng.Below(10));
  EXPECT_EQ(seen.size(), 10u);
  EXPECT_EQ(*seen.rbegin(), 9u);
  EXPECT_EQ(rng.Below(1), 0u);
}

TEST(Rng, BelowDrawsAgainRatherThanFavourSmallResults) {
  // 2^64 mod 3 is 1, so the word 0 would be a sixth-of-2^64th too many.
  ScriptedRng rng({0, 5});
  EXPECT_EQ(rng.Below(3), 2u);
}

TEST(Rng, JitterStaysWithinItsShareAndUsesBothSides) {
  testing::SeededRng rng(3);
  Duration least = 15s, most = 15s;
  for (int i = 0; i < 2000; ++i) {
    const Duration d = rng.Jitter(15s, 20);
    least = std::min(least, d);
    most = std::max(most, d);
  }
  EXPECT_GE(least, 12s);
  EXPECT_LE(most, 18s);
  EXPECT_LT(least, 12500ms);
  EXPECT_GT(most, 17500ms);
}

TEST(Rng, JitterOfNothingAndOfEverythingIsSafe) {
  testing::SeededRng rng(3);
  EXPECT_EQ(rng.Jitter(0s, 50), 0s);
  EXPECT_EQ(rng.Jitter(15s, 0), 15s);
  EXPECT_GE(rng.Jitter(Duration::max(), 50), Duration::max() / 2);
  EXPECT_GE(rng.Jitter(Duration(1), 100), 0s);
}

TEST(Rng, ASeedGivesTheSameRunAgain) {
  testing::SeededRng a(42), b(42), c(43);
  EXPECT_EQ(a.U64(), b.U64());
  EXPECT_NE(a.U64(), c.U64());
}

TEST(Rng, TheKernelsBytesDifferFromDrawToDraw) {
  std::array<uint8_t, 600> first{}, second{};
  SystemRng().Fill(first);
  SystemRng().Fill(second);
  EXPECT_NE(first, second);
  EXPECT_TRUE(std::any_of(first.end() - 32, first.end(), [](uint8_t byte) { return byte != 0; }))
      << "the tail was not filled";
}

}  // namespace
}  // namespace helo
