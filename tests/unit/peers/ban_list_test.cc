// Who may not be here until when.
#include "p2p/peers/ban_list.h"

#include <gtest/gtest.h>

namespace helo::peers {
namespace {

using namespace std::chrono_literals;

const MonoTime kNow{1000s};
NodeId Id(uint8_t n) { return NodeId{{n}}; }
IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }
Subnet Net(std::string_view text) { return *Subnet::Parse(text); }

TEST(BanList, AnIdIsBannedUntilItsTimeAndNotLonger) {
  BanList bans;
  bans.BanId(Id(1), {"go away", kNow + 10s, {}});
  ASSERT_NE(bans.Find(Id(1), kNow), nullptr);
  EXPECT_EQ(bans.Find(Id(1), kNow)->text, "go away");
  EXPECT_NE(bans.Find(Id(1), kNow + 10s - 1ns), nullptr);
  EXPECT_EQ(bans.Find(Id(1), kNow + 10s), nullptr);
  EXPECT_EQ(bans.Find(Id(2), kNow), nullptr);
}

TEST(BanList, ALaterBanReplacesTheEarlierEvenIfShorter) {
  BanList bans;
  bans.BanId(Id(1), {"first", kNow + 10s, {}});
  bans.BanId(Id(1), {"second", kNow + 5s, {}});
  EXPECT_EQ(bans.Find(Id(1), kNow)->text, "second");
  EXPECT_EQ(bans.Find(Id(1), kNow + 5s), nullptr);
  bans.BanSubnet(Net("192.0.2.0/24"), {"first", kNow + 10s, {}});
  bans.BanSubnet(Net("192.0.2.0/24"), {"second", kNow + 5s, {}});
  EXPECT_EQ(bans.Find(Ip("192.0.2.9"), kNow)->text, "second");
  EXPECT_EQ(bans.Find(Ip("192.0.2.9"), kNow + 5s), nullptr);
}

TEST(BanList, OfOverlappingBlocksTheLongestLastingOneAnswers) {
  BanList bans;
  bans.BanSubnet(Net("192.0.0.0/16"), {"wide", kNow + 5s, {}});
  bans.BanSubnet(Net("192.0.2.0/24"), {"narrow", kNow + 10s, {}});
  EXPECT_EQ(bans.Find(Ip("192.0.2.1"), kNow)->text, "narrow");
  EXPECT_EQ(bans.Find(Ip("192.0.3.1"), kNow)->text, "wide");
  EXPECT_EQ(bans.Find(Ip("192.1.0.1"), kNow), nullptr);
}

TEST(BanList, UnbanTellsWhetherThereWasOne) {
  BanList bans;
  bans.BanId(Id(1), {"", kNow + 10s, {}});
  bans.BanSubnet(Net("2001:db8::/64"), {"", kNow + 10s, {}});
  EXPECT_FALSE(bans.UnbanId(Id(2)));
  EXPECT_TRUE(bans.UnbanId(Id(1)));
  EXPECT_EQ(bans.Find(Id(1), kNow), nullptr);
  EXPECT_FALSE(bans.UnbanSubnet(Net("2001:db8::/48")));
  EXPECT_TRUE(bans.UnbanSubnet(Net("2001:db8::/64")));
  EXPECT_EQ(bans.Find(Ip("2001:db8::1"), kNow), nullptr);
}

TEST(BanList, ExpiryDropsWhatIsOver) {
  BanList bans;
  bans.BanId(Id(2), {"", kNow + 30s, {}});
  bans.BanId(Id(1), {"", kNever, {}});
  bans.BanSubnet(Net("192.0.2.0/24"), {"", kNow + 10s, {}});
  bans.Expire(kNow + 10s);
  EXPECT_EQ(bans.ids().size(), 2u);
  EXPECT_TRUE(bans.ForGate()->subnets.empty());
  bans.Expire(kNow + 30s);
  ASSERT_EQ(bans.ids().size(), 1u) << "a ban for ever stays";
  EXPECT_EQ(bans.ids()[0].first, Id(1));
}

TEST(BanList, IdsAreListedInOrder) {
  BanList bans;
  for (uint8_t n : {9, 3, 200, 1}) bans.BanId(Id(n), {"", kNow + 1s, {}});
  std::vector<NodeId> ids;
  for (const auto& [id, ban] : bans.ids()) ids.push_back(id);
  EXPECT_EQ(ids, (std::vector<NodeId>{Id(1), Id(3), Id(9), Id(200)}));
}

TEST(BanList, TheGatesCopyDoesNotFollowLaterChanges) {
  BanList bans;
  bans.BanSubnet(Net("192.0.2.0/24"), {"", kNow + 10s, {}});
  const std::shared_ptr<const AddressBans> gate = bans.ForGate();
  bans.UnbanSubnet(Net("192.0.2.0/24"));
  EXPECT_TRUE(gate->Banned(Ip("192.0.2.1"), kNow));
  EXPECT_FALSE(gate->Banned(Ip("192.0.2.1"), kNow + 10s));
  EXPECT_FALSE(gate->Banned(Ip("192.0.3.1"), kNow));
  EXPECT_FALSE(bans.ForGate()->Banned(Ip("192.0.2.1"), kNow));
}

}  // namespace
}  // namespace helo::peers
