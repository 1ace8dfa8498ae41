// Quoting, hex, errno sentences and figures.
#include "p2p/base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "p2p/base/node_id.h"

namespace helo {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

TEST(QuoteRemote, LeavesPlainTextAlone) {
  EXPECT_EQ(QuoteRemote("helo/1.0 (linux; x86_64)"), "helo/1.0 (linux; x86_64)");
}

TEST(QuoteRemote, EscapesWhatCouldEndAQuoteOrSteerATerminal) {
  EXPECT_EQ(QuoteRemote("\x1b[2J\n\"'\\"), "\\x1b[2J\\x0a\\x22\\x27\\x5c");
  EXPECT_EQ(QuoteRemote(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(QuoteRemote("\x7f"), "\\x7f");
  EXPECT_EQ(QuoteRemote("caf\xc3\xa9"), "caf\\xc3\\xa9");
}

TEST(QuoteRemote, LetsOnlyPrintableAsciiThroughWhateverTheBytes) {
  std::string every;
  for (int i = 0; i < 256; ++i) every.push_back(static_cast<char>(i));
  EXPECT_THAT(QuoteRemote(every), Each(::testing::AllOf(::testing::Ge(' '), ::testing::Le('~'))));
}

TEST(QuoteRemote, IsReversibleBecauseTheBackslashIsEscapedToo) {
  EXPECT_NE(QuoteRemote("\\x41"), QuoteRemote("A"));
  EXPECT_EQ(QuoteRemote("\\x41"), "\\x5cx41");
}

TEST(Errno, SentenceNamesTheCallTheObjectTheWordsAndTheName) {
  EXPECT_EQ(ErrnoSentence(EMFILE, "accept4 0.0.0.0:4356"),
            "accept4 0.0.0.0:4356: too many open files (EMFILE)");
  EXPECT_EQ(ErrnoSentence(4242, "ioctl"), "ioctl: unknown error (errno 4242)");
  EXPECT_EQ(ErrnoName(ECONNREFUSED), "ECONNREFUSED");
  EXPECT_EQ(ErrnoName(0), "errno 0");
}

TEST(Errno, StatusCarriesTheCanonicalCode) {
  EXPECT_EQ(ErrnoStatus(ENOENT, "open x").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrnoStatus(EACCES, "open x").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_FALSE(ErrnoStatus(0, "nothing").ok()) << "a failure without an errno is still a failure";
}

TEST(Hex, GoesThereAndBack) {
  const Bytes bytes = {0x00, 0x7f, 0x80, 0xff};
  EXPECT_EQ(ToHex(bytes), "007f80ff");
  Bytes back;
  ASSERT_TRUE(FromHex("007F80fF", back));
  EXPECT_EQ(back, bytes);
  ASSERT_TRUE(FromHex("", back));
  EXPECT_TRUE(back.empty());
}

TEST(Hex, RefusesWhatIsNotHex) {
  Bytes out;
  EXPECT_FALSE(FromHex("abc", out)) << "odd number of digits";
  EXPECT_FALSE(FromHex("0x12", out));
  EXPECT_FALSE(FromHex("1 ", out));
  EXPECT_FALSE(FromHex("g0", out));
  EXPECT_TRUE(IsHex("0fA"));
  EXPECT_FALSE(IsHex(""));
  EXPECT_FALSE(IsHex("0x1"));
}

TEST(NodeId, IsExactlySixtyFourHexDigits) {
  const std::string hex(64, 'A');
  const auto id = NodeId::FromHex(hex);
  ASSERT_TRUE(id);
  EXPECT_EQ(id->ToHex(), std::string(64, 'a'));
  EXPECT_EQ(id->Short(), "aaaaaaaaaa");
  EXPECT_FALSE(NodeId::FromHex(hex + "aa"));
  EXPECT_FALSE(NodeId::FromHex(hex.substr(2)));
  EXPECT_FALSE(NodeId::FromHex(hex.substr(1) + "g"));
  EXPECT_FALSE(NodeId::FromHex(""));
}

TEST(NodeId, IsOrderedAsUnsignedBytes) {
  NodeId low, high;
  low.bytes[0] = 0x7f;
  high.bytes[0] = 0x80;
  EXPECT_LT(low, high);
}

TEST(Human, BytesHaveAUnitAndAtMostFourCharactersOfFigure) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(999), "999 B");
  EXPECT_EQ(HumanBytes(1500), "1.5 kB");
  EXPECT_EQ(HumanBytes(999'400), "999 kB");
  EXPECT_EQ(HumanBytes(999'600), "1.0 MB") << "never 1000 kB";
  EXPECT_EQ(HumanBytes(UINT64_MAX), "18.4 EB");
}

TEST(Human, DurationsReadAsPeopleSayThem) {
  EXPECT_EQ(HumanDuration(0), "0 ns");
  EXPECT_EQ(HumanDuration(310'000), "0.31 ms");
  EXPECT_EQ(HumanDuration(88'000), "88.0 us");
  EXPECT_EQ(HumanDuration(5'000'000'000), "5.00 s");
  EXPECT_EQ(HumanDuration(59'960'000'000), "1 m 0 s") << "never 60.0 s";
  EXPECT_EQ(HumanDuration(192'000'000'000), "3 m 12 s");
  EXPECT_EQ(HumanDuration(int64_t{3600} * 1'000'000'000 * 2 + int64_t{300} * 1'000'000'000),
            "2 h 5 m");
  EXPECT_EQ(HumanDuration(int64_t{86400} * 1'000'000'000 * 3), "3 d 0 h");
  EXPECT_EQ(HumanDuration(-5'000'000), "-5.00 ms");
  EXPECT_THAT(HumanDuration(INT64_MIN), HasSubstr("-106751 d"));
}

TEST(ReadDuration, TakesFiguresWithTheirUnitsTheLargestFirst) {
  EXPECT_EQ(ReadDuration("500ms"), 500'000'000);
  EXPECT_EQ(ReadDuration("1m30s"), 90'000'000'000);
  EXPECT_EQ(ReadDuration("1.5h"), int64_t{5400} * 1'000'000'000);
  EXPECT_EQ(ReadDuration("1d1ms"), int64_t{86'400'001} * 1'000'000);
  EXPECT_EQ(ReadDuration("0s"), 0);
  EXPECT_EQ(ReadDuration("99999999999999999999d"), 9'000'000'000'000'000'000) << "cut, not wrapped";
  for (const char* text : {"", "5", "s", "5 s", " 5s", "5s ", "-5s", "+5s", "5s5", "30s1m", "1m1m",
                           "5sec", ".5s", "5.s", "1..5s", "1e3s", "0x5s", "nan", "infs"}) {
    EXPECT_EQ(ReadDuration(text), std::nullopt) << text;
  }
}

TEST(EditDistance, CountsLettersToChangeAddOrTakeAway) {
  EXPECT_EQ(EditDistance("", ""), 0U);
  EXPECT_EQ(EditDistance("peers", "peers"), 0U);
  EXPECT_EQ(EditDistance("pers", "peers"), 1U);
  EXPECT_EQ(EditDistance("peers", ""), 5U);
  EXPECT_EQ(EditDistance("", "peers"), 5U);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3U);
}

// That it is read as itself is the config file's test.
TEST(ConfigQuote, PutsInQuotesWhatWouldBeReadAsSomethingElse) {
  EXPECT_EQ(ConfigQuote("two words"), "two words");
  EXPECT_EQ(ConfigQuote("a#b"), "a#b");
  EXPECT_EQ(ConfigQuote(""), "\"\"");
  EXPECT_EQ(ConfigQuote("a #b"), "\"a #b\"");
  EXPECT_EQ(ConfigQuote(" \"\\"), "\" \\\"\\\\\"");
}

}  // namespace
}  // namespace helo
