// The gate's memory of sources: what one address may do, that it stays small, and that a testnet is
// no attack.
#include "p2p/peers/source_limiter.h"

#include <gtest/gtest.h>

#include <thread>

#include "p2p/base/testing/manual_clock.h"

namespace helo::peers {
namespace {

using namespace std::chrono_literals;
using testing::ManualClock;

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }
IpAddress Numbered(uint32_t n) {
  return IpAddress::V4(
      {11, static_cast<uint8_t>(n >> 16), static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)});
}

class SourceLimiterTest : public ::testing::Test {
 protected:
  ManualClock clock_;
};

TEST_F(SourceLimiterTest, OneAddressHasAtMostEightHandshakesAtOnce) {
  SourceLimiter limiter({}, clock_);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(limiter.Begin(Ip("192.0.2.1")));
  EXPECT_FALSE(limiter.Begin(Ip("192.0.2.1")));
  EXPECT_TRUE(limiter.Begin(Ip("192.0.2.2"))) << "another address is not touched";
  limiter.End(Ip("192.0.2.1"));
  EXPECT_TRUE(limiter.Begin(Ip("192.0.2.1")));
}

TEST_F(SourceLimiterTest, OneAddressBeginsAtMostThirtyTwoInTenSeconds) {
  SourceLimiter limiter({}, clock_);
  const IpAddress ip = Ip("192.0.2.1");
  for (int i = 0; i < 32; ++i) {
    ASSERT_TRUE(limiter.Begin(ip)) << i;
    limiter.End(ip);
    clock_.Advance(100ms);
  }
  EXPECT_FALSE(limiter.Begin(ip));
  clock_.Advance(10s - 3200ms - 1ns);
  EXPECT_FALSE(limiter.Begin(ip)) << "the first one began less than ten seconds ago";
  clock_.Advance(1ns);
  EXPECT_TRUE(limiter.Begin(ip)) << "it is ten seconds old now";
  EXPECT_FALSE(limiter.Begin(ip)) << "the second one is not";
}

TEST_F(SourceLimiterTest, ARefusedAttemptDoesNotProlongTheWait) {
  SourceLimiter limiter({}, clock_);
  const IpAddress ip = Ip("192.0.2.1");
  for (int i = 0; i < 32; ++i) {
    ASSERT_TRUE(limiter.Begin(ip));
    limiter.End(ip);
  }
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(limiter.Begin(ip));
    clock_.Advance(9ms);
  }
  clock_.Advance(1s);
  EXPECT_TRUE(limiter.Begin(ip));
}

TEST_F(SourceLimiterTest, AnIpv6SourceIsItsSlash64) {
  SourceLimiter limiter({.at_once = 1, .exempt = {}}, clock_);
  EXPECT_TRUE(limiter.Begin(Ip("2001:db8:1:2::1")));
  EXPECT_FALSE(limiter.Begin(Ip("2001:db8:1:2:ffff::9")));
  EXPECT_TRUE(limiter.Begin(Ip("2001:db8:1:3::1")));
}

TEST_F(SourceLimiterTest, ExemptSourcesAreNeitherLimitedNorTracked) {
  SourceLimiter limiter({.at_once = 1, .exempt = DefaultExemptSources()}, clock_);
  for (const char* text : {"127.0.0.1", "127.255.255.255", "::1", "10.1.2.3", "172.16.0.1",
                           "172.31.255.255", "192.168.7.7", "169.254.1.1", "fd00::1", "fe80::1"}) {
    EXPECT_TRUE(limiter.IsExempt(Ip(text))) << text;
    EXPECT_TRUE(limiter.Begin(Ip(text)) && limiter.Begin(Ip(text))) << text;
    limiter.End(Ip(text));
  }
  EXPECT_EQ(limiter.tracked(), 0u);
  for (const char* text : {"126.0.0.1", "128.0.0.1", "::2", "11.0.0.1", "172.15.0.1", "172.32.0.1",
                           "192.169.0.1", "169.253.0.1", "fec0::1", "2001:db8::1", "0.0.0.0"}) {
    EXPECT_FALSE(limiter.IsExempt(Ip(text))) << text;
  }
}

TEST_F(SourceLimiterTest, IdleSourcesAreForgotten) {
  SourceLimiter limiter({}, clock_);
  for (uint32_t i = 0; i < 1000; ++i) {
    limiter.Begin(Numbered(i));
    limiter.End(Numbered(i));
  }
  EXPECT_EQ(limiter.tracked(), 1000u);
  clock_.Advance(10s);
  EXPECT_TRUE(limiter.Begin(Numbered(5000)));
  EXPECT_EQ(limiter.tracked(), 1u);
}

TEST_F(SourceLimiterTest, WhenItIsFullTheLongestIdleSourceMakesRoom) {
  SourceLimiter limiter({.begun = 1, .max_sources = 3, .exempt = {}}, clock_);
  EXPECT_TRUE(limiter.Begin(Numbered(1)));  // stays busy
  for (uint32_t i : {2u, 3u}) {
    EXPECT_TRUE(limiter.Begin(Numbered(i)));
    limiter.End(Numbered(i));
    clock_.Advance(1s);
  }
  EXPECT_TRUE(limiter.Begin(Numbered(4)));
  EXPECT_EQ(limiter.tracked(), 3u);
  EXPECT_FALSE(limiter.Begin(Numbered(3))) << "remembered: it began one already";
  EXPECT_FALSE(limiter.Begin(Numbered(1))) << "busy ones are never forgotten";
  EXPECT_TRUE(limiter.Begin(Numbered(2))) << "forgotten, in the place of the next idle one";
  EXPECT_FALSE(limiter.Begin(Numbered(5))) << "all three are busy now";
  EXPECT_EQ(limiter.tracked(), 3u);
}

TEST_F(SourceLimiterTest, ASourceIsBusyUntilItsLastHandshakeEnds) {
  SourceLimiter limiter({.at_once = 2, .max_sources = 1, .exempt = {}}, clock_);
  EXPECT_TRUE(limiter.Begin(Numbered(1)));
  EXPECT_TRUE(limiter.Begin(Numbered(1)));
  limiter.End(Numbered(1));
  EXPECT_FALSE(limiter.Begin(Numbered(2))) << "one still runs";
  clock_.Advance(1h);
  EXPECT_FALSE(limiter.Begin(Numbered(2))) << "however long";
  limiter.End(Numbered(1));
  EXPECT_TRUE(limiter.Begin(Numbered(2)));
}

TEST_F(SourceLimiterTest, AnEndWithoutABeginningDoesNothing) {
  SourceLimiter limiter({.at_once = 1, .exempt = {}}, clock_);
  limiter.End(Numbered(1));
  EXPECT_TRUE(limiter.Begin(Numbered(1)));
  limiter.End(Numbered(1));
  limiter.End(Numbered(1));
  EXPECT_TRUE(limiter.Begin(Numbered(1)));
  EXPECT_FALSE(limiter.Begin(Numbered(1)));
}

TEST_F(SourceLimiterTest, ManyThreadsNeverExceedTheLimitTogether) {
  SourceLimiter limiter({.at_once = 4, .begun = 1'000'000, .exempt = {}}, clock_);
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        if (!limiter.Begin(Numbered(1))) continue;
        const int n = ++now;
        int seen = most.load();
        while (n > seen && !most.compare_exchange_weak(seen, n)) {
        }
        --now;
        limiter.End(Numbered(1));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most.load(), 4);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(limiter.Begin(Numbered(1))) << "every end was counted";
}

}  // namespace
}  // namespace helo::peers
