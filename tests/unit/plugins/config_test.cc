// helo/config.hpp and helo/bytes.hpp.
#include "helo/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "helo/bytes.hpp"

namespace {

using helo::Config;
using ::testing::HasSubstr;

std::string ErrorOf(const std::string& text) {
  try {
    Config config(text);
    config.Number("limit", 5, 1, 10);
    config.Flag("open", true);
    config.HexBytes("genesis", 2);
    config.RejectOthers();
  } catch (const helo::ConfigError& e) {
    return e.what();
  }
  return "";
}

TEST(Config, ReadsLinesAsTheNodeWritesThem) {
  Config config("# comment\n\n a = 1 # one\r\nb=\"x # \\\"y\\\" \\\\\"  # two\nc = a#b\nempty =");
  EXPECT_EQ(config.Text("a"), "1");
  EXPECT_EQ(config.Text("b"), "x # \"y\" \\");
  EXPECT_EQ(config.Text("c"), "a#b");
  EXPECT_EQ(config.Text("empty"), "");
  EXPECT_EQ(config.Text("absent"), std::nullopt);
  EXPECT_NO_THROW(config.RejectOthers());
}

TEST(Config, HasValuesWithBounds) {
  Config config("limit = 7\nopen = false\ngenesis = BEef");
  EXPECT_EQ(config.Number("limit", 5, 1, 10), 7u);
  EXPECT_EQ(config.Number("absent", 5), 5u);
  EXPECT_FALSE(config.Flag("open", true));
  EXPECT_EQ(helo::Hex(config.HexBytes("genesis", 2)), "beef");
}

TEST(Config, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(ErrorOf("limit = 10\n"), "");
  EXPECT_EQ(ErrorOf(""), "");
  EXPECT_THAT(ErrorOf("\nlimit = 11"), HasSubstr("line 2 of its configuration: limit is \"11\""));
  EXPECT_THAT(ErrorOf("limit = 11"), HasSubstr("a number from 1 to 10"));
  for (const char* bad : {"0", "-1", "1x", "", "99999999999999999999"}) {
    EXPECT_THAT(ErrorOf(std::string("limit = ") + bad), HasSubstr("limit is")) << bad;
  }
  EXPECT_THAT(ErrorOf("open = yes"), HasSubstr("true or false"));
  EXPECT_THAT(ErrorOf("genesis = abc"), HasSubstr("4 hex digits"));
  EXPECT_THAT(ErrorOf("limt = 1"),
              HasSubstr("no setting \"limt\"; there are: genesis, limit, open"));
  EXPECT_THAT(ErrorOf("limit"), HasSubstr("name = value"));
  EXPECT_THAT(ErrorOf("= 1"), HasSubstr("name = value"));
  EXPECT_THAT(ErrorOf("limit = 1\nlimit = 2"), HasSubstr("twice"));
  EXPECT_THAT(ErrorOf("limit = \"1"), HasSubstr("not closed"));
  EXPECT_THAT(ErrorOf("limit = \"1\" x"), HasSubstr("after the quotes"));
  EXPECT_THAT(ErrorOf("a\x1b[2J"), HasSubstr("\\x1b")) << "what is not text is quoted";
}

TEST(Bytes, AReaderThatRunsShortSaysSo) {
  helo::Writer writer;
  writer.U8(1).U16(0x0203).U32(0x04050607).U64(0x08090a0b0c0d0e0f).Add(helo::AsBytes("xy"));
  EXPECT_EQ(helo::Hex(writer.bytes()), "0102030405060708090a0b0c0d0e0f7879");
  helo::Reader reader(writer.bytes());
  EXPECT_EQ(reader.U8(), 1u);
  EXPECT_EQ(reader.U16(), 0x0203u);
  EXPECT_EQ(reader.U32(), 0x04050607u);
  EXPECT_EQ(reader.U64(), 0x08090a0b0c0d0e0fu);
  EXPECT_FALSE(reader.Done());
  EXPECT_EQ(helo::AsText(reader.Rest()), "xy");
  EXPECT_TRUE(reader.Done());
  EXPECT_EQ(reader.U32(), 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_TRUE(reader.Take(SIZE_MAX).empty());
}

TEST(Bytes, HexAndQuotes) {
  EXPECT_EQ(helo::Unhex("0aF"), std::nullopt);
  EXPECT_EQ(helo::Unhex("0g"), std::nullopt);
  EXPECT_EQ(helo::Unhex("0aFf")->at(1), 255);
  EXPECT_TRUE(helo::Unhex("")->empty());
  EXPECT_EQ(helo::Quote("a\"b\\\n\xff"), "\"a\\\"b\\\\\\x0a\\xff\"");
}

}  // namespace
