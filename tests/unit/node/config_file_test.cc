// The config file's grammar.
#include "node/config_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "p2p/base/text.h"

namespace helo::node {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Lines(std::string_view text, std::vector<std::string>* errors = nullptr) {
  std::vector<std::string> found;
  std::vector<std::string> wrong;
  for (const ConfigLine& line : ParseConfigText(text, "f", wrong)) {
    found.push_back(std::to_string(line.number) + " " + line.name + "=[" + line.value + "]");
  }
  if (errors != nullptr) *errors = wrong;
  return found;
}

std::string Wrong(std::string_view text) {
  std::vector<std::string> errors;
  Lines(text, &errors);
  return errors.size() == 1 ? errors[0] : "not one error: " + std::to_string(errors.size());
}

TEST(ConfigFile, LinesCommentsAndQuotes) {
  EXPECT_THAT(
      Lines("# head\n\n a = 1 \r\nb=x y\t# said behind\nc = \"# not a comment\" # but this\n"
            "d = \"quote \\\" and \\\\\"\ne = a#b\nf = \"\"\nlast = no newline"),
      ElementsAre("3 a=[1]", "4 b=[x y]", "5 c=[# not a comment]", "6 d=[quote \" and \\]",
                  "7 e=[a#b]", "8 f=[]", "9 last=[no newline]"));
  EXPECT_THAT(Lines(""), IsEmpty());
}

TEST(ConfigFile, AnErrorNamesFileAndLine) {
  EXPECT_THAT(Wrong("a = 1\njust words\n"), HasSubstr("\"just words\" at f:2"));
  EXPECT_THAT(Wrong("[node]\n"), HasSubstr("section"));
  EXPECT_THAT(Wrong("a =\n"), HasSubstr("option \"a\" at f:1: its value is missing"));
  EXPECT_THAT(Wrong("a = # nothing\n"), HasSubstr("its value is missing"));
  EXPECT_THAT(Wrong("a = \"open\n"), HasSubstr("closing quote is missing"));
  EXPECT_THAT(Wrong("a = \"x\" y\n"), HasSubstr("behind the closing quote"));
  EXPECT_THAT(Wrong("a = \"\\n\"\n"), HasSubstr("backslash"));
}

TEST(ConfigFile, OneBadLineDoesNotHideTheOthers) {
  std::vector<std::string> errors;
  EXPECT_THAT(Lines("a = 1\nbad\nb = 2\nworse\n", &errors), ElementsAre("1 a=[1]", "3 b=[2]"));
  EXPECT_EQ(errors.size(), 2u);
}

TEST(ConfigFile, WhatIsQuotedIsReadAsItself) {
  for (const std::string value : {"plain", "two words", "", "#x", "a #b", "a#b", " lead", "trail ",
                                  "\"q\"", "a\\b", "\\", "a\"b"}) {
    EXPECT_THAT(Lines("k = " + ConfigQuote(value)), ElementsAre("1 k=[" + value + "]"));
  }
}

TEST(PluginSections, AreHandedOnAsTheyStand) {
  const std::string text =
      "network = main\n[plugin gossip]\nttl = 4  # theirs\n\n= not ours to judge\n"
      "[plugin chainstatus]\nhead=7\n [plugin gossip] \nmore\n";
  EXPECT_EQ(PluginSection(text, "gossip"), "ttl = 4  # theirs\n\n= not ours to judge\nmore\n");
  EXPECT_EQ(PluginSection(text, "chainstatus"), "head=7\n");
  EXPECT_EQ(PluginSection(text, "echo"), std::nullopt);
  EXPECT_EQ(PluginSection("[plugin echo]", "echo"), "");
  std::vector<std::string> errors;
  const std::vector<ConfigLine> lines = ParseConfigText(text, "f", errors);
  EXPECT_THAT(errors, IsEmpty()) << "what is a plugin's is not read as ours";
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].name, "network");
}

}  // namespace
}  // namespace helo::node
