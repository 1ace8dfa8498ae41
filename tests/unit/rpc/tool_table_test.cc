// Tables that fit where they go to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rpc/tool/table.h"

namespace helo::tool {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Table Example() {
  Table table(
      {{"ID"}, {"AGENT", false, 6}, {"IN", true}, {"FD", true, 0, 2}, {"LAST", true, 0, 1}});
  table.AddRow({"3f2a", "helo/0.1.0 (linux)", "1.5kB", "7", "-"});
  table.AddRow({"9c", "x", "12MB", "108", "3s"});
  return table;
}

TEST(Tables, AlignTheirColumns) {
  EXPECT_EQ(Example().Render({}),
            "ID    AGENT                  IN   FD  LAST\n"
            "3f2a  helo/0.1.0 (linux)  1.5kB    7     -\n"
            "9c    x                    12MB  108    3s\n");
}

TEST(Tables, ShrinkElasticColumnsFirst) {
  EXPECT_EQ(Example().Render({false, 32}),
            "ID    AGENT        IN   FD  LAST\n"
            "3f2a  helo/0.~  1.5kB    7     -\n"
            "9c    x          12MB  108    3s\n");
}

TEST(Tables, LeaveOutWhatIsDispensableAndSaySo) {
  const std::string out = Example().Render({false, 24}, "", "--wide shows all");
  EXPECT_EQ(out,
            "ID    AGENT           IN\n"
            "3f2a  helo/0.1.0~  1.5kB\n"
            "9c    x             12MB\n"
            "(no room for FD, LAST: --wide shows all)\n");
}

TEST(Tables, NeverExceedTheTerminalUnlessNothingIsLeftToGive) {
  for (size_t width = 20; width < 60; ++width) {
    const std::string out = Example().Render({false, width});
    size_t start = 0;
    for (size_t end = out.find('\n'); end != std::string::npos; end = out.find('\n', start)) {
      EXPECT_LE(end - start, width) << out;
      start = end + 1;
    }
  }
}

TEST(Tables, ShowWhatIsBriefInsteadOfACutText) {
  Table table({{"ID"}, {"SHARED", false, 7}});
  Cell many("chainstatus/1,echo/1");
  many.brief = "2 names";
  table.AddRow({"3f", many});
  table.AddRow({"9c", "echo/1"});
  EXPECT_EQ(table.Render({false, 12}), "ID  SHARED\n3f  2 names\n9c  echo/1\n");
  EXPECT_THAT(table.Render({}), HasSubstr("chainstatus/1,echo/1"));
}

TEST(Tables, EndNoLineWithBlanks) {
  Table table({{"A"}, {"B"}});
  table.AddRow({"x", ""});
  EXPECT_EQ(table.Render({}), "A  B\nx\n");
}

TEST(Tables, CountCharactersNotBytes) {
  Table table({{"NAME"}, {"N", true}});
  table.AddRow({"caf\xc3\xa9", "1"});
  table.AddRow({"cafe", "2"});
  EXPECT_EQ(table.Render({}), "NAME  N\ncaf\xc3\xa9  1\ncafe  2\n");
  EXPECT_EQ(Shorten("caf\xc3\xa9s and more", 5), "caf\xc3\xa9~");
}

TEST(Tables, AreColouredOnlyWhereColourIsWanted) {
  Table table({{"STATE"}});
  table.AddRow({Cell("up", Colour::kGreen)});
  EXPECT_THAT(table.Render({}), Not(HasSubstr("\x1b")));
  EXPECT_EQ(table.Render({true, 0}), "\x1b[1mSTATE\x1b[0m\n\x1b[32mup\x1b[0m\n");
}

TEST(Listings, AlignTheirValues) {
  Listing listing;
  listing.Add("id", "3f2a");
  listing.Add("network", "helo-dev");
  EXPECT_EQ(listing.Render({}, "  "), "  id       3f2a\n  network  helo-dev\n");
}

TEST(WrappedText, BreaksAtBlanks) {
  EXPECT_EQ(Wrap("one two three four five six", 22, "  "), "  one two three four\n  five six\n");
  EXPECT_EQ(Wrap("", 40, "  "), "");
}

}  // namespace
}  // namespace helo::tool
