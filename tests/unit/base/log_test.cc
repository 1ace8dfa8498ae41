// The limit on what remotes can make us say, the clocks, and the log that the other tests read.
#include "p2p/base/log.h"

#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include <thread>

#include "p2p/base/testing/capturing_log.h"
#include "p2p/base/testing/manual_clock.h"

namespace helo {
namespace {

using namespace std::chrono_literals;

TEST(LogLimiter, OneLineACauseAnIntervalAndThenTheCountOfTheRest) {
  testing::ManualClock clock;
  LogLimiter limiter(clock, 10s);
  EXPECT_TRUE(limiter.Check("emfile").log);
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(limiter.Check("emfile").log);
  EXPECT_TRUE(limiter.Check("reset").log) << "another cause has its own interval";
  clock.Advance(9999ms);
  EXPECT_FALSE(limiter.Check("emfile").log);
  clock.Advance(1ms);
  const LogLimiter::Pass pass = limiter.Check("emfile");
  EXPECT_TRUE(pass.log);
  EXPECT_EQ(pass.suppressed, 1001u);
  clock.Advance(10s);
  EXPECT_EQ(limiter.Check("emfile").suppressed, 0u) << "told once";
}

TEST(LogLimiter, AFloodOfEverNewCausesSharesOneLine) {
  testing::ManualClock clock;
  LogLimiter limiter(clock, 10s, 8);
  int lines = 0;
  for (int i = 0; i < 100'000; ++i) lines += limiter.Check(absl::StrCat("cause ", i)).log ? 1 : 0;
  EXPECT_EQ(lines, 8 + 1);
}

TEST(LogLimiter, AfterTheFloodCausesAreToldApartAgainAndNothingIsLostFromTheCount) {
  testing::ManualClock clock;
  LogLimiter limiter(clock, 10s, 2);
  EXPECT_TRUE(limiter.Check("a").log);
  EXPECT_FALSE(limiter.Check("a").log);
  EXPECT_TRUE(limiter.Check("b").log);
  EXPECT_TRUE(limiter.Check("c").log);   // the shared one
  EXPECT_FALSE(limiter.Check("d").log);  // the shared one again
  clock.Advance(10s);
  EXPECT_TRUE(limiter.Check("e").log) << "a and b are over and made room";
  EXPECT_TRUE(limiter.Check("f").log);
  const LogLimiter::Pass shared = limiter.Check("g");
  EXPECT_TRUE(shared.log);
  EXPECT_EQ(shared.suppressed, 2u) << "one of a, one of d";
}

TEST(LogSink, CallersPayNothingForALevelThatIsOff) {
  testing::CapturingLog log(LogLevel::kWarn);
  log.Info("net", "not written");
  log.Warn("net", "written", {{"peer", "\x1b[31mred"}});
  ASSERT_EQ(log.lines().size(), 1u);
  EXPECT_EQ(log.lines()[0], "warn net: written peer=\\x1b[31mred");
  EXPECT_FALSE(NullLog().Enabled(LogLevel::kError));
}

TEST(CapturingLog, WakesAWaiterAndGivesUpAtTheDeadline) {
  testing::CapturingLog log;
  std::thread writer([&] { log.Info("node", "ready"); });
  EXPECT_TRUE(log.WaitFor("ready"));
  writer.join();
  EXPECT_FALSE(log.WaitFor("never", std::chrono::steady_clock::now()));
}

TEST(Clock, TheRealOneGoesForwardAndTheManualOneWhenTold) {
  const MonoTime before = RealClock().Now();
  EXPECT_GE(RealClock().Now(), before);
  EXPECT_GT(RealClock().WallNow().time_since_epoch(), 24h * 365 * 50);
  testing::ManualClock clock;
  const MonoTime start = clock.Now();
  const WallTime wall = clock.WallNow();
  clock.Advance(5s);
  EXPECT_EQ(clock.Now() - start, 5s);
  EXPECT_EQ(clock.WallNow() - wall, 5s);
}

}  // namespace
}  // namespace helo
