// plugins/chainstatus, on the fake host.
#include <random>
#include <string>
#include <vector>

#include "tests/unit/plugins/plugin_test.h"

namespace {

using helo::testing::FakeHost;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kGenesis(32, '\x11'), kOther(32, '\x22'), kHash(32, '\x33');
const char kConfig[] =
    "genesis = 1111111111111111111111111111111111111111111111111111111111111111\nhead = 5\n";

std::string U64(uint64_t value) {
  helo::Writer writer;
  writer.U64(value);
  return std::string(helo::AsText(writer.bytes()));
}
std::string Status(const std::string& genesis, uint64_t height) {
  return genesis + U64(height) + kHash;
}
std::string Head(uint64_t height) { return U64(height) + kHash; }

class ChainStatusTest : public helo::testing::PluginTest {
 protected:
  helo_session OpenOnOurChain(uint64_t height) {
    const helo_session peer = host_->Open();
    host_->TakeSent(peer);
    host_->Message(peer, 0, Status(kGenesis, height));
    return peer;
  }
};

TEST_F(ChainStatusTest, SaysItsStatusFirst) {
  FakeHost& host = Start(kConfig);
  const auto sent = host.TakeSent(host.Open());
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].type, 0u);
  ASSERT_EQ(sent[0].payload.size(), 72u);
  EXPECT_EQ(sent[0].payload.substr(0, 40), kGenesis + U64(5));
}

TEST_F(ChainStatusTest, APeerOfAnotherChainIsSentAwayPolitelyAndToldWhy) {
  FakeHost& host = Start(kConfig);
  const helo_session peer = host.Open(), same = OpenOnOurChain(9);
  host.Message(peer, 0, Status(kOther, 5));
  ASSERT_EQ(host.closed().size(), 1u);
  EXPECT_EQ(host.closed()[0].session, peer);
  EXPECT_EQ(host.closed()[0].reason, HELO_REASON_PLUGIN_POLITE);
  EXPECT_EQ(host.closed()[0].why,
            "another chain: your genesis is 2222222222..., ours is 1111111111...");
  EXPECT_TRUE(host.open(same));
}

TEST_F(ChainStatusTest, ANewHeadIsAnnouncedToAll) {
  FakeHost& host = Start(kConfig);
  const helo_session a = OpenOnOurChain(1), b = host.Open();
  host.TakeSent(b);
  EXPECT_FALSE(host.Command("mine").failed);
  const auto to_a = SentHex(a);
  ASSERT_EQ(to_a.size(), 1u);
  EXPECT_EQ(to_a[0].substr(0, 18), "1:0000000000000006");
  EXPECT_EQ(SentHex(b), to_a);
  EXPECT_FALSE(host.Command("set-head", {"2", std::string(64, 'f')}).failed);
  EXPECT_THAT(SentHex(a), ElementsAre("1:0000000000000002" + std::string(64, 'f')));
}

TEST_F(ChainStatusTest, TwoNodesHaveTheSameBlockAtTheSameHeight) {
  FakeHost& host = Start(kConfig);
  const helo_session a = OpenOnOurChain(1);
  host.Command("mine");
  const auto mined = SentHex(a);
  host.Command("mine");
  EXPECT_NE(SentHex(a), mined);
  host.Command("set-head", {"6"});
  EXPECT_EQ(SentHex(a), mined);
}

TEST_F(ChainStatusTest, HeadsShowsWhereEverybodyIs) {
  FakeHost& host = Start(kConfig);
  const helo_session a =
      host.Open({.node_id = {0xaa}, .address = "192.0.2.1:1", .agent = "evil\n\x1b"});
  host.Open({.node_id = {0xbb}, .address = "[2001:db8::1]:4356"});
  host.Message(a, 0, Status(kGenesis, 7));
  host.Message(a, 1, Head(1000));
  const std::string heads = host.Command("heads").text;
  std::vector<std::string> lines;
  for (size_t at = 0; at < heads.size(); at = heads.find('\n', at) + 1) {
    lines.push_back(heads.substr(at, heads.find('\n', at) - at));
  }
  ASSERT_EQ(lines.size(), 4u) << heads;
  EXPECT_EQ(lines[0], "NODE        ADDRESS             HEIGHT  HEAD        AGENT");
  EXPECT_EQ(lines[2], "aa00000000  192.0.2.1:1           1000  3333333333  \"evil\\x0a\\x1b\"");
  EXPECT_EQ(lines[3], "bb00000000  [2001:db8::1]:4356       -  -           \"fake/1.0\"");
  host.Close(a);
  EXPECT_THAT(host.Command("heads").text, Not(HasSubstr("aa00")));
}

TEST_F(ChainStatusTest, HeadsWorksOnAHostThatListsNoPeers) {
  FakeHost& host = Start({.peers = false});
  host.Open();
  EXPECT_FALSE(host.Command("heads").failed);
}

TEST_F(ChainStatusTest, WhatIsOutOfOrderOrOfAWrongSizeIsPenalised) {
  FakeHost& host = Start(kConfig);
  struct Bad {
    bool after_status;
    uint32_t type;
    std::string bytes;
  };
  const std::string good = Status(kGenesis, 1);
  const std::vector<Bad> all = {{false, 1, Head(1)},
                                {true, 0, good},
                                {true, 0, Status(kOther, 1)},
                                {false, 0, ""},
                                {false, 0, good.substr(1)},
                                {false, 0, kGenesis},
                                {true, 1, ""},
                                {true, 1, Head(1) + "x"},
                                {true, 1, Head(1).substr(0, 8)},
                                {true, 1, good}};
  for (const Bad& bad : all) {
    const helo_session peer = bad.after_status ? OpenOnOurChain(1) : host.Open();
    host.Message(peer, bad.type, bad.bytes);
    ASSERT_FALSE(host.closed().empty());
    EXPECT_EQ(host.closed().back().session, peer);
    EXPECT_EQ(host.closed().back().reason, HELO_REASON_PLUGIN_VIOLATION);
    EXPECT_FALSE(host.closed().back().why.empty());
  }
  EXPECT_EQ(host.closed().size(), all.size());
}

TEST_F(ChainStatusTest, RandomBytesNeverHurt) {
  FakeHost& host = Start(kConfig);
  std::mt19937 random(7);
  const size_t sizes[] = {0, 1, 8, 39, 40, 41, 71, 72};
  for (int i = 0; i < 2000; ++i) {
    const helo_session peer = i % 2 ? host.Open() : OpenOnOurChain(i);
    std::string bytes(sizes[random() % 8], '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    host.Message(peer, random() % 2, bytes);
    if (i % 100 == 0) {
      EXPECT_FALSE(host.Command("heads").failed);
    }
    host.Close(peer);
  }
  EXPECT_THAT(host.faults(), IsEmpty());
}

TEST_F(ChainStatusTest, ASlowPeerIsToldTheNewestHeadOnce) {
  FakeHost& host = Start(kConfig);
  const helo_session peer = OpenOnOurChain(1);
  host.Block(peer);
  for (int i = 0; i < 100; ++i) host.Command("mine");
  EXPECT_THAT(host.TakeSent(peer), IsEmpty());
  host.Unblock(peer);
  const auto sent = SentHex(peer);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].substr(0, 18), "1:0000000000000069");
}

TEST_F(ChainStatusTest, CommandsRefuseWhatIsNoHeightOrHash) {
  FakeHost& host = Start(kConfig);
  for (const char* bad : {"", "x", "-1", "1x", "18446744073709551616"}) {
    EXPECT_TRUE(host.Command("set-head", {bad}).failed) << bad;
  }
  EXPECT_TRUE(host.Command("set-head").failed);
  EXPECT_TRUE(host.Command("set-head", {"1", "abcd"}).failed);
  EXPECT_THAT(host.Command("heads").text, HasSubstr("     5  ")) << "nothing moved";
  EXPECT_FALSE(host.Command("set-head", {"18446744073709551615"}).failed);
  EXPECT_TRUE(host.Command("mine").failed);
}

TEST_F(ChainStatusTest, AFaultyConfigurationIsRefusedInWords) {
  for (const char* config : {"genesis = 11", "head = -1", "genesys = 1"}) {
    FakeHost::Options options;
    options.config = config;
    FakeHost host(helo_plugin_query(1), options);
    EXPECT_FALSE(host.Run()) << config;
    EXPECT_THAT(host.faults(), ElementsAre(HasSubstr("line 1"))) << config;
  }
}

}  // namespace
