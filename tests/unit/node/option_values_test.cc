// Single values.
#include "node/option_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace helo::node {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

std::string TimeOrError(std::string_view text) {
  const auto time = ParseDuration(text, 10ms, 24h);
  return time.ok() ? PrintDuration(*time) : std::string(time.status().message());
}

TEST(OptionValues, TimesNeedAUnitAndAreShownInTheLargest) {
  EXPECT_EQ(TimeOrError("500ms"), "500ms");
  EXPECT_EQ(TimeOrError("1m30s"), "1m30s");
  EXPECT_EQ(TimeOrError("90s"), "1m30s");
  EXPECT_EQ(TimeOrError("1.5h"), "1h30m");
  EXPECT_EQ(TimeOrError("0.25s"), "250ms");
  EXPECT_EQ(TimeOrError("1d"), "1d");
  EXPECT_EQ(PrintDuration(0s), "0s");
  EXPECT_EQ(TimeOrError("12.5ms"), "12.5ms");
  for (const char* text : {"5", "", "s", "5 s", "-5s", "5s5", "30s1m", "1m1m", "5sec", ".5s", "5.s",
                           "1e3s", "5s ", "0x5s"}) {
    EXPECT_THAT(TimeOrError(text), HasSubstr("write a number with its unit")) << text;
  }
  EXPECT_THAT(TimeOrError("25h"), HasSubstr("from 10ms to 1d"));
  EXPECT_THAT(TimeOrError("9ms"), HasSubstr("out of range"));
  EXPECT_THAT(TimeOrError("99999999999999999999d"), HasSubstr("out of range"));
}

TEST(OptionValues, CountsAreWholeAndWithinTheirRange) {
  EXPECT_EQ(*ParseCount("0", 0, 9), 0);
  EXPECT_EQ(*ParseCount("-1", -1, 9), -1);
  for (const char* text : {"", "1.0", "1k", "0x1", " 1", "1 ", "+1", "-", "--1", "many"}) {
    EXPECT_THAT(std::string(ParseCount(text, 0, 9).status().message()), HasSubstr("whole number"))
        << text;
  }
  for (const char* text : {"10", "-1", "99999999999999999999999", "-99999999999999999999999"}) {
    EXPECT_THAT(std::string(ParseCount(text, 0, 9).status().message()), HasSubstr("from 0 to 9"))
        << text;
  }
}

TEST(OptionValues, BytesMayHaveABinaryUnit) {
  EXPECT_EQ(*ParseBytes("65536", 1, 1 << 30), 65536);
  EXPECT_EQ(*ParseBytes("64KiB", 1, 1 << 30), 65536);
  EXPECT_EQ(*ParseBytes("1GiB", 1, 1 << 30), 1 << 30);
  EXPECT_EQ(PrintBytes(65536), "64KiB");
  EXPECT_EQ(PrintBytes(65537), "65537");
  for (const char* text : {"2GiB", "1kB", "KiB", "", "0", "99999999999GiB"}) {
    EXPECT_THAT(std::string(ParseBytes(text, 1, 1 << 30).status().message()), HasSubstr("1GiB"))
        << text;
  }
}

TEST(OptionValues, TheNearestWordIsOnlyOfferedWhenItIsNear) {
  EXPECT_EQ(Nearest("--lisen", {"--listen", "--linger"}), "--listen");
  EXPECT_EQ(Nearest("--max-in", {"--max-outbound", "--max-inbound"}), "--max-inbound");
  EXPECT_EQ(Nearest("--colour", {"--listen", "--linger"}), "");
  EXPECT_EQ(Nearest("", {"--listen"}), "");
}

}  // namespace
}  // namespace helo::node
