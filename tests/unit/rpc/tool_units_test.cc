// What people type: durations, ids, places in the event stream; and how figures look in columns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>

#include "rpc/tool/units.h"

namespace helo::tool {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;

Duration Parsed(std::string_view text, bool bare_seconds = false) {
  const absl::StatusOr<Duration> duration = ParseDuration(text, bare_seconds);
  EXPECT_TRUE(duration.ok()) << duration.status();
  return duration.value_or(Duration(-1));
}

TEST(Durations, AreReadWithTheirUnits) {
  EXPECT_EQ(Parsed("90s"), seconds(90));
  EXPECT_EQ(Parsed("10m"), minutes(10));
  EXPECT_EQ(Parsed("1h"), hours(1));
  EXPECT_EQ(Parsed("2d"), hours(48));
  EXPECT_EQ(Parsed("500ms"), milliseconds(500));
  EXPECT_EQ(Parsed("1.5h"), minutes(90));
  EXPECT_EQ(Parsed("1h30m5s"), hours(1) + minutes(30) + seconds(5));
  EXPECT_EQ(Parsed("0"), seconds(0));
}

TEST(Durations, WithoutUnitAreRefusedUnlessSecondsAreMeant) {
  const absl::StatusOr<Duration> refused = ParseDuration("10");
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("no unit"));
  EXPECT_EQ(Parsed("10", true), seconds(10));
  EXPECT_EQ(Parsed("2.5", true), milliseconds(2500));
}

TEST(Durations, ThatMakeNoSenseAreRefusedWithAnExample) {
  for (const char* text :
       {"", "s", "-5s", "5x", "1h30", "1..5s", "nan", "inf", "1e9s", "5 s", "99999999d", "0x10s"}) {
    const absl::StatusOr<Duration> refused = ParseDuration(text);
    ASSERT_FALSE(refused.ok()) << text;
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("10m")) << text;
  }
}

TEST(EventPositions, AreTwoNumbers) {
  const absl::StatusOr<EventPosition> position = ParseEventPosition("18446744073709551615:42");
  ASSERT_TRUE(position.ok());
  EXPECT_EQ(position->boot, 18446744073709551615u);
  EXPECT_EQ(position->sequence, 42u);
  for (const char* text : {"", "12", "12:", ":3", "0:3", "a:b", "1:-2"}) {
    EXPECT_FALSE(ParseEventPosition(text).ok()) << text;
  }
}

TEST(IdPrefixes, AreFourToSixtyFourHexDigitsInEitherCase) {
  EXPECT_EQ(*ParseIdPrefix("3F2A"), "3f2a");
  EXPECT_EQ(ParseIdPrefix(std::string(64, 'a'))->size(), 64u);
  for (const std::string& text :
       {std::string("3f2"), std::string("3f2g"), std::string(65, 'a'), std::string()}) {
    EXPECT_FALSE(ParseIdPrefix(text).ok()) << text;
  }
}

TEST(TextForThePeer, IsWhatTheProtocolCarries) {
  EXPECT_TRUE(CheckPeerText(std::string(256, 'x')).ok());
  EXPECT_FALSE(CheckPeerText(std::string(257, 'x')).ok());
  EXPECT_FALSE(CheckPeerText("caf\xc3\xa9").ok());
  EXPECT_FALSE(CheckPeerText("two\nlines").ok());
}

TEST(ShortIds, GrowUntilTheyTellNeighboursApart) {
  EXPECT_EQ(ShortIdLength({}), 10u);
  EXPECT_EQ(ShortIdLength({"aaaaaaaaaaaa", "bbbbbbbbbbbb"}), 10u);
  EXPECT_EQ(ShortIdLength({"aaaaaaaaaaaab", "c", "aaaaaaaaaaaac"}), 13u);
  // Two connections of one peer share its id.
  EXPECT_EQ(ShortIdLength({"aaaaaaaaaaaaa", "aaaaaaaaaaaaa"}), 10u);
}

TEST(Columns, HoldFiguresWithoutBlanks) {
  EXPECT_EQ(CompactDuration(milliseconds(59)), "59.0ms");
  EXPECT_EQ(CompactDuration(seconds(192)), "3m12s");
  EXPECT_EQ(CompactBytes(1500), "1.5kB");
}

class TimesOfDay : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    tzset();
  }
};

TEST_F(TimesOfDay, SayTheDayOnlyIfItIsAnother) {
  constexpr int64_t kNoon = 1'700'049'600'000'000;  // 2023-11-15 12:00:00 UTC
  EXPECT_EQ(FormatTime(kNoon - 61'000'000, kNoon), "11:58:59");
  EXPECT_EQ(FormatTime(kNoon - 61'500'000, kNoon, true), "11:58:58.500");
  EXPECT_EQ(FormatTime(kNoon - 13 * 3600'000'000LL, kNoon), "2023-11-14 23:00:00");
  EXPECT_EQ(FormatTime(0, kNoon), "-");
}

}  // namespace
}  // namespace helo::tool
