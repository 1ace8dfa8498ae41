// plugins/gossip, on the fake host.
#include <random>
#include <string>
#include <vector>

#include "tests/unit/plugins/plugin_test.h"

namespace {

using helo::testing::Answered;
using helo::testing::FakeHost;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Note(uint32_t id, char hops, const std::string& text) {
  std::string note(16, '\0');
  for (int i = 0; i < 4; ++i) note[i] = static_cast<char>(id >> (8 * i));
  return note + hops + text;
}

class GossipTest : public helo::testing::PluginTest {
 protected:
  // The count of a row of `stats`.
  uint64_t Stat(const std::string& row) {
    const std::string table = host_->Command("stats").text;
    const size_t at = table.find(row);
    EXPECT_NE(at, std::string::npos) << row << " in\n" << table;
    return at == std::string::npos ? 0 : std::stoull(table.substr(at + row.size()));
  }
};

TEST_F(GossipTest, PublishesToAllPeers) {
  FakeHost& host = Start();
  const helo_session a = host.Open(), b = host.Open();
  EXPECT_EQ(host.Command("publish", {"hello", "world"}).text, "sent to 2 of 2 peers\n");
  const auto to_a = host.TakeSent(a), to_b = host.TakeSent(b);
  ASSERT_EQ(to_a.size(), 1u);
  EXPECT_EQ(to_a[0].payload.substr(16), "\x01hello world");
  EXPECT_EQ(to_a[0].payload, to_b[0].payload);
  EXPECT_EQ(host.Message(a, 0, to_a[0].payload), HELO_V_OK) << "it comes back round a ring";
  EXPECT_EQ(Stat("known already"), 1u);
  EXPECT_THAT(host.TakeSent(b), IsEmpty());
  host.Command("publish", {"hello world"});
  EXPECT_NE(host.TakeSent(a)[0].payload.substr(0, 16), to_a[0].payload.substr(0, 16));
}

TEST_F(GossipTest, WithoutPeersOrTextNothingIsPublished) {
  FakeHost& host = Start();
  EXPECT_TRUE(host.Command("publish", {"x"}).failed);
  host.Open();
  EXPECT_TRUE(host.Command("publish").failed);
  EXPECT_TRUE(host.Command("publish", {std::string(4097, 'x')}).failed);
  EXPECT_FALSE(host.Command("publish", {std::string(4096, 'x')}).failed);
  EXPECT_EQ(Stat("published here"), 1u);
}

TEST_F(GossipTest, HandsANewNoteToAllButItsSenderOnce) {
  FakeHost& host = Start();
  const helo_session a = host.Open(), b = host.Open(), c = host.Open();
  host.Message(a, 0, Note(7, 3, "x"));
  host.Message(b, 0, Note(7, 5, "x"));
  EXPECT_THAT(host.TakeSent(a), IsEmpty());
  const std::string onward =
      "0:07000000000000000000000000000000"
      "0478";
  EXPECT_THAT(SentHex(b), ElementsAre(onward));
  EXPECT_THAT(SentHex(c), ElementsAre(onward));
}

TEST_F(GossipTest, ANoteEndsAfterSixteenLinks) {
  FakeHost& host = Start();
  const helo_session a = host.Open(), b = host.Open();
  host.Message(a, 0, Note(1, 15, "on"));
  host.Message(a, 0, Note(2, 16, "end"));
  EXPECT_EQ(host.TakeSent(b).size(), 1u);
  EXPECT_THAT(host.Command("log").text, HasSubstr("\"end\"")) << "seen all the same";
}

TEST_F(GossipTest, WhatNoHonestNodeSendsIsPenalised) {
  FakeHost& host = Start();
  const helo_session other = host.Open();
  const std::vector<std::string> bad = {"",
                                        "x",
                                        std::string(16, 'i'),
                                        Note(1, 1, ""),
                                        Note(2, 0, "x"),
                                        Note(3, 17, "x"),
                                        Note(4, '\xff', "x")};
  for (const std::string& note : bad) {
    const helo_session peer = host.Open();
    host.Message(peer, 0, note);
    ASSERT_FALSE(host.closed().empty());
    EXPECT_EQ(host.closed().back().session, peer);
    EXPECT_EQ(host.closed().back().reason, HELO_REASON_PLUGIN_VIOLATION);
  }
  EXPECT_EQ(host.closed().size(), bad.size());
  EXPECT_THAT(host.TakeSent(other), IsEmpty());
  EXPECT_EQ(Stat("ids remembered"), 0u);
}

TEST_F(GossipTest, RandomBytesNeverHurt) {
  FakeHost& host = Start("rate = 1000000");
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % (i % 2 ? 256 : 20));
    host.Message(host.Open(), 0, bytes);
    if (i % 100 == 0) {
      EXPECT_FALSE(host.Command("log", {"1000"}).failed);
    }
  }
  EXPECT_THAT(host.faults(), IsEmpty());
}

TEST_F(GossipTest, RemembersABoundedNumberOfIds) {
  FakeHost& host = Start("remember = 16\nrate = 1000");
  const helo_session a = host.Open(), b = host.Open();
  for (uint32_t i = 0; i < 17; ++i) host.Message(a, 0, Note(i, 1, "x"));
  EXPECT_EQ(Stat("ids remembered"), 16u);
  host.TakeSent(b);
  host.Message(a, 0, Note(16, 1, "x"));
  EXPECT_THAT(host.TakeSent(b), IsEmpty());
  host.Message(a, 0, Note(0, 1, "x"));
  EXPECT_EQ(host.TakeSent(b).size(), 1u) << "the oldest was forgotten";
}

TEST_F(GossipTest, AboveItsRateAPeerIsNotHeardAndNotBlamed) {
  FakeHost& host = Start("rate = 10");
  const helo_session a = host.Open(), b = host.Open();
  for (uint32_t i = 0; i < 100; ++i) host.Message(a, 0, Note(i, 1, "x"));
  EXPECT_EQ(host.TakeSent(b).size(), 40u) << "four seconds' worth at once";
  EXPECT_EQ(Stat("above a peer's rate"), 60u);
  host.Message(b, 0, Note(99, 1, "x"));
  EXPECT_EQ(host.TakeSent(a).size(), 1u) << "another peer's copy gets through";
  host.Advance(std::chrono::seconds(1));
  for (uint32_t i = 200; i < 300; ++i) host.Message(a, 0, Note(i, 1, "x"));
  EXPECT_EQ(host.TakeSent(b).size(), 10u);
  EXPECT_THAT(host.closed(), IsEmpty());
}

TEST_F(GossipTest, ASlowPeerMissesANoteWhichIsCounted) {
  FakeHost& host = Start();
  const helo_session a = host.Open(), b = host.Open(), c = host.Open();
  host.Block(b);
  host.Message(a, 0, Note(1, 1, "x"));
  EXPECT_EQ(host.TakeSent(c).size(), 1u);
  host.Unblock(b);
  EXPECT_THAT(host.TakeSent(b), IsEmpty());
  EXPECT_EQ(Stat("missed by a slow peer"), 1u);
  EXPECT_EQ(Stat("sent to peers"), 1u);
}

TEST_F(GossipTest, TheLogSaysWhatCameFromWhomAndHowFar) {
  FakeHost& host = Start();
  const helo_session a = host.Open({.node_id = {0xab, 0xcd}});
  EXPECT_EQ(host.Command("log").text, "no note was seen yet\n");
  host.Command("publish", {"mine"});
  host.Advance(std::chrono::seconds(90));
  host.Message(a, 0, Note(1, 3, "\x1b[2J\"quoted\""));
  EXPECT_EQ(host.Command("log").text,
            "AGO  FROM        HOPS  TEXT\n"
            "90s  here           0  \"mine\"\n"
            " 0s  abcd000000     3  \"\\x1b[2J\\\"quoted\\\"\"\n");
  EXPECT_THAT(host.Command("log", {"1"}).text, Not(HasSubstr("mine")));
  for (const char* bad : {"0", "x", "-1", "", "1x", "99999999999999999999999"}) {
    EXPECT_TRUE(host.Command("log", {bad}).failed) << bad;
  }
}

TEST_F(GossipTest, TheLogIsBoundedAndSoIsItsAnswer) {
  FakeHost& host = Start("rate = 1000000");
  const helo_session a = host.Open();
  for (uint32_t i = 0; i < 600; ++i) host.Message(a, 0, Note(i, 1, std::string(4096, '\xff')));
  EXPECT_FALSE(host.Command("log", {"10"}).failed);
  const Answered all = host.Command("log", {"100000"});
  EXPECT_TRUE(all.failed);
  EXPECT_THAT(all.text, HasSubstr("fewer"));
}

TEST_F(GossipTest, AFaultyConfigurationIsRefusedInWords) {
  for (const char* config : {"rate = 0", "remember = 1", "rte = 5"}) {
    FakeHost::Options options;
    options.config = config;
    FakeHost host(helo_plugin_query(1), options);
    EXPECT_FALSE(host.Run()) << config;
    EXPECT_THAT(host.faults(), ElementsAre(HasSubstr("line 1"))) << config;
  }
}

}  // namespace
