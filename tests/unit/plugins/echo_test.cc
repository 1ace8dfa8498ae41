// plugins/echo, on the fake host.
#include <string>
#include <vector>

#include "tests/unit/plugins/plugin_test.h"

namespace {

using helo::testing::FakeHost;
using helo::testing::Sent;
using ::testing::IsEmpty;

class EchoTest : public helo::testing::PluginTest {};

TEST_F(EchoTest, AnswersAPingWithItsBytes) {
  FakeHost& host = Start();
  const helo_session peer = host.Open(), other = host.Open();
  for (const std::string& bytes :
       {std::string(), std::string("hello"), std::string(65536, '\xff')}) {
    EXPECT_EQ(host.Message(peer, 0, bytes), HELO_V_OK);
    const std::vector<Sent> sent = host.TakeSent(peer);
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].type, 1u);
    EXPECT_EQ(sent[0].payload, bytes);
  }
  EXPECT_THAT(host.TakeSent(other), IsEmpty());
}

TEST_F(EchoTest, APongIsNotAnswered) {
  FakeHost& host = Start();
  const helo_session peer = host.Open();
  EXPECT_EQ(host.Message(peer, 1, "hello"), HELO_V_OK);
  EXPECT_THAT(host.TakeSent(peer), IsEmpty());
}

TEST_F(EchoTest, DropsNoAnswerAndKeepsTheOrderWhenThePeerIsBehind) {
  FakeHost& host = Start({.quota_bytes = 20});
  const helo_session peer = host.Open();
  std::string expected, got;
  for (int i = 0; i < 500; ++i) {
    const std::string bytes = std::to_string(i) + ",";
    expected += bytes;
    host.Message(peer, 0, bytes);
    if (i % 7 != 0) continue;
    for (const Sent& sent : host.TakeSent(peer)) got += sent.payload;
  }
  for (int i = 0; i < 500; ++i) {
    for (const Sent& sent : host.TakeSent(peer)) got += sent.payload;
  }
  EXPECT_EQ(got, expected);
}

TEST_F(EchoTest, APeerThatNeverReadsIsSentAwayWithoutBlame) {
  FakeHost& host = Start();
  const helo_session peer = host.Open(), other = host.Open();
  host.Block(peer);
  int pings = 0;
  for (; host.open(peer) && pings < 1000; ++pings) host.Message(peer, 0, std::string(65536, 'x'));
  EXPECT_EQ(pings, 16) << "1 MiB of answers, with what each costs";
  ASSERT_EQ(host.closed().size(), 1u);
  EXPECT_EQ(host.closed()[0].reason, HELO_REASON_PLUGIN_POLITE);
  EXPECT_FALSE(host.closed()[0].why.empty());
  host.Message(other, 0, "still served");
  EXPECT_EQ(host.TakeSent(other).size(), 1u);
}

TEST_F(EchoTest, EmptyPingsAreBoundedTooAndAReconnectBeginsAnew) {
  FakeHost& host = Start();
  helo_session peer = host.Open();
  host.Block(peer);
  int pings = 0;
  for (; host.open(peer) && pings < 100000; ++pings) host.Message(peer, 0, "");
  EXPECT_EQ(pings, (1 << 20) / 64 + 1);
  peer = host.Open();
  host.Message(peer, 0, "again");
  EXPECT_EQ(host.TakeSent(peer)[0].payload, "again");
}

TEST_F(EchoTest, AClosedPeersAnswersAreForgotten) {
  FakeHost& host = Start();
  const helo_session peer = host.Open();
  host.Block(peer);
  host.Message(peer, 0, "x");
  host.Close(peer);
  host.Unblock(peer);
  EXPECT_THAT(host.TakeSent(peer), IsEmpty());
}

}  // namespace
