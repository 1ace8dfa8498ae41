// No byte from a node or its peers reaches a terminal as it came; and the same values as JSON.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "rpc/client/quote.h"
#include "rpc/tool/json.h"

namespace helo {
namespace {

using client::QuoteMessage;
using client::QuoteText;
using nlohmann::json;
using tool::Document;
using tool::Line;
using tool::ToJson;

TEST(QuotedText, KeepsWhatANodeMayRightlySay) {
  EXPECT_EQ(QuoteText("/home/jos\xc3\xa9/\"helo\" \\ it's"), "/home/jos\xc3\xa9/\"helo\" \\ it's");
  EXPECT_EQ(QuoteText("\xe2\x82\xac \xf0\x9f\x98\x80"), "\xe2\x82\xac \xf0\x9f\x98\x80");
}

TEST(QuotedText, LetsNothingSteerATerminal) {
  EXPECT_EQ(QuoteText("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(QuoteText("a\nb\r\t"), "a\\x0ab\\x0d\\x09");
  EXPECT_EQ(QuoteText("\x7f"), "\\x7f");
  EXPECT_EQ(QuoteText("\xc2\x9b"), "\\xc2\\x9b") << "C1 control: CSI in one character";
  EXPECT_EQ(QuoteText("\xe2\x80\xae"), "\\xe2\\x80\\xae") << "right-to-left override";
  EXPECT_EQ(QuoteText("\xe2\x80\x8b"), "\\xe2\\x80\\x8b") << "zero width space";
}

TEST(QuotedText, ShowsInvalidUtf8AsBytes) {
  EXPECT_EQ(QuoteText("\xff"), "\\xff");
  EXPECT_EQ(QuoteText("\xc3"), "\\xc3") << "cut off";
  EXPECT_EQ(QuoteText("\xc0\xaf"), "\\xc0\\xaf") << "overlong";
  EXPECT_EQ(QuoteText("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "surrogate";
  EXPECT_EQ(QuoteText("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80") << "beyond Unicode";
  EXPECT_EQ(QuoteText(std::string("a\0b", 3)), "a\\x00b");
}

TEST(QuotedMessages, HoldNoRawByteAtAnyDepth) {
  admin::v1::ListAttemptsResponse response;
  admin::v1::Attempt& attempt = *response.add_attempts();
  attempt.set_user_agent("evil\x1b]0;owned\x07\"");
  attempt.set_target("host\n");
  attempt.mutable_close()->set_text("bye\xff");
  (*attempt.mutable_spent_us())["tls\x1b"] = 5;
  QuoteMessage(response);
  EXPECT_EQ(attempt.user_agent(), "evil\\x1b]0;owned\\x07\\x22");
  EXPECT_EQ(attempt.target(), "host\\x0a");
  EXPECT_EQ(attempt.close().text(), "bye\\xff");
  ASSERT_EQ(attempt.spent_us().size(), 1u);
  EXPECT_EQ(attempt.spent_us().begin()->first, "tls\\x1b");

  admin::v1::Peer peer;
  peer.add_shared("echo/1\x1b");
  QuoteMessage(peer);
  EXPECT_EQ(peer.shared(0), "echo/1\\x1b");
}

TEST(QuotedMessages, LeaveGenesisForHex) {
  admin::v1::Node node;
  node.set_genesis(std::string("\x00\xff", 2));
  QuoteMessage(node);
  EXPECT_EQ(ToJson(node)["genesis"], "00ff");
}

TEST(JsonDocuments, NameEveryFieldAndKeepTypes) {
  admin::v1::Peer peer;
  peer.set_id("3f2a");
  peer.set_direction(admin::v1::OUTBOUND);
  peer.set_fd(12);
  peer.set_rtt_us(312);
  peer.add_shared("echo/1");
  peer.add_frames()->set_name("PING");
  const json parsed = json::parse(Document(ToJson(peer)));
  EXPECT_EQ(parsed["id"], "3f2a");
  EXPECT_EQ(parsed["direction"], "out");
  EXPECT_EQ(parsed["fd"], 12);
  EXPECT_EQ(parsed["rtt_us"], 312);
  EXPECT_TRUE(parsed.contains("skew_us"));
  EXPECT_TRUE(parsed["skew_us"].is_null());
  EXPECT_EQ(parsed["trusted"], false);
  EXPECT_EQ(parsed["shared"], json::array({"echo/1"}));
  EXPECT_EQ(parsed["only_ours"], json::array());
  EXPECT_EQ(parsed["frames"][0]["name"], "PING");
}

TEST(JsonDocuments, WriteBootIdsAsTextSinceReadersRoundNumbers) {
  admin::v1::WatchResponse response;
  response.set_boot_id(18446744073709551615u);
  response.mutable_gap()->set_missed(3);
  const std::string line = Line(ToJson(response));
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  const json parsed = json::parse(line);
  EXPECT_EQ(parsed["boot_id"], "18446744073709551615");
  EXPECT_EQ(parsed["gap"]["missed"], 3);
  EXPECT_FALSE(parsed.contains("event")) << "only the one that came";
}

TEST(JsonDocuments, TellStagesAsAnObject) {
  admin::v1::Attempt attempt;
  (*attempt.mutable_spent_us())["tls"] = 900;
  (*attempt.mutable_spent_us())["connect"] = 20;
  const json parsed = json::parse(Document(ToJson(attempt)));
  EXPECT_EQ(parsed["spent_us"], (json{{"connect", 20}, {"tls", 900}}));
  EXPECT_TRUE(parsed["close"].is_null());
}

}  // namespace
}  // namespace helo
