// Who makes room: what protects a peer, and that a crowd from one network loses its youngest.
#include "p2p/peers/eviction.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "p2p/base/testing/seeded_rng.h"

namespace helo::peers {
namespace {

using namespace std::chrono_literals;

constexpr GroupKey kKey = {1, 2};
const MonoTime kStart{1000s};

// Peer n of its own network group, up since n seconds after the start, without further merits.
EvictionCandidate Peer(uint64_t n) {
  EvictionCandidate who;
  who.conn = n;
  who.ip = IpAddress::V4({static_cast<uint8_t>(20 + n / 200), static_cast<uint8_t>(n % 200), 0, 1});
  who.up_since = kStart + std::chrono::seconds(n);
  return who;
}
std::vector<EvictionCandidate> Peers(uint64_t count) {
  std::vector<EvictionCandidate> all;
  for (uint64_t n = 1; n <= count; ++n) all.push_back(Peer(n));
  return all;
}

TEST(SipHash, MatchesThePublishedVectors) {
  const GroupKey key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::vector<uint8_t> data;
  EXPECT_EQ(SipHash24(key, data), 0x726fdb47dd0e0e31);
  for (uint8_t i = 0; i < 8; ++i) data.push_back(i);
  EXPECT_EQ(SipHash24(key, data), 0x93f5f5799a932462);
  for (uint8_t i = 8; i < 15; ++i) data.push_back(i);
  EXPECT_EQ(SipHash24(key, data), 0xa129ca6149be45e5);
}

TEST(NetworkGroup, IsWhatOneOperatorEasilyHasManyOf) {
  EXPECT_EQ(NetworkGroupOf(*IpAddress::Parse("192.0.2.7")).ToString(), "192.0.0.0/16");
  EXPECT_EQ(NetworkGroupOf(*IpAddress::Parse("2001:db8:1:2::9")).ToString(), "2001:db8::/32");
}

TEST(ChooseVictim, InASmallTableEverybodyIsProtected) {
  for (uint64_t n = 0; n < kLeastEvictable; ++n) EXPECT_FALSE(ChooseVictim(Peers(n), kKey)) << n;
  EXPECT_TRUE(ChooseVictim(Peers(kLeastEvictable), kKey));
}

TEST(ChooseVictim, WithoutOtherMeritsTheYoungestGoes) {
  EXPECT_EQ(ChooseVictim(Peers(100), {7, 7}).value(), 100u);
}

TEST(ChooseVictim, ALowRttProtects) {
  std::vector<EvictionCandidate> all = Peers(60);
  for (uint64_t n = 53; n <= 60; ++n) all[n - 1].least_rtt = 1ms;
  const ConnId victim = ChooseVictim(all, kKey).value();
  EXPECT_LE(victim, 52u);
  all[59].least_rtt = std::nullopt;  // no longer among the eight nearest
  all[10].least_rtt = 2ms;
  EXPECT_EQ(ChooseVictim(all, kKey).value(), 60u);
}

TEST(ChooseVictim, ARecentUsefulMessageProtects) {
  std::vector<EvictionCandidate> all = Peers(60);
  for (uint64_t n = 57; n <= 60; ++n) all[n - 1].last_message = kStart + 1h;
  EXPECT_LE(ChooseVictim(all, kKey).value(), 56u);
  for (uint64_t n = 1; n <= 4; ++n) all[n - 1].last_message = kStart + 2h;
  // The nearest eight are unknown, so the first eight by age stand for them; four of these have
  // newer messages.
  for (uint64_t n = 9; n <= 12; ++n) all[n - 1].last_message = kStart + 2h;
  EXPECT_GE(ChooseVictim(all, kKey).value(), 57u);
}

TEST(ChooseVictim, UptimeProtectsTheOlderHalfOfTheRest) {
  // A crowd of old peers from one network, and younger ones from everywhere: the crowd is larger,
  // but older.
  std::vector<EvictionCandidate> all = Peers(100);
  for (uint64_t n = 1; n <= 40; ++n) all[n - 1].ip = IpAddress::V4({99, 99, 0, uint8_t(n)});
  EXPECT_EQ(ChooseVictim(all, kKey).value(), 100u);
}

TEST(ChooseVictim, TheLargestGroupLosesItsYoungest) {
  std::vector<EvictionCandidate> all = Peers(100);
  for (uint64_t n : {80, 84, 88, 92, 96}) all[n - 1].ip = IpAddress::V4({99, 99, 0, uint8_t(n)});
  EXPECT_EQ(ChooseVictim(all, kKey).value(), 96u);
}

TEST(ChooseVictim, AnAttackerFromOneNetworkNeverPushesOutPeersOfOthers) {
  // 40 honest peers of 40 networks, already old; then an attacker's addresses fill the table and go
  // on coming.
  std::vector<EvictionCandidate> all = Peers(40);
  uint64_t next = 41;
  for (int round = 0; round < 500; ++round) {
    EvictionCandidate attacker = Peer(next++);
    attacker.ip = IpAddress::V4({66, 66, uint8_t(round >> 8), uint8_t(round)});
    attacker.least_rtt = 1us;
    attacker.last_message = attacker.up_since;
    all.push_back(attacker);
    if (all.size() <= 64) continue;
    const std::optional<ConnId> victim = ChooseVictim(all, kKey);
    ASSERT_TRUE(victim);
    ASSERT_GT(*victim, 40u) << "an honest peer was evicted in round " << round;
    std::erase_if(all, [&](const EvictionCandidate& who) { return who.conn == *victim; });
  }
}

TEST(ChooseVictim, WhichGroupsAreFavouredDependsOnTheKey) {
  // Two crowds of equal size and age; the rest of the merits equal too.
  std::vector<EvictionCandidate> all;
  for (uint64_t n = 0; n < 30; ++n) {
    EvictionCandidate who = Peer(n + 1);
    who.up_since = kStart;
    all.push_back(who);
  }
  std::vector<ConnId> victims;
  for (uint64_t key = 0; key < 200; ++key) victims.push_back(*ChooseVictim(all, {key, ~key}));
  std::sort(victims.begin(), victims.end());
  victims.erase(std::unique(victims.begin(), victims.end()), victims.end());
  EXPECT_GT(victims.size(), 1u);
}

TEST(ChooseVictim, DoesNotDependOnTheOrderOfItsInput) {
  testing::SeededRng rng(42);
  std::vector<EvictionCandidate> all = Peers(80);
  for (EvictionCandidate& who : all) {
    who.ip = IpAddress::V4({30, uint8_t(rng.Below(5)), 0, 1});
    who.up_since = kStart + std::chrono::seconds(rng.Below(10));
    if (rng.Below(2) == 0) who.least_rtt = std::chrono::milliseconds(rng.Below(5));
    if (rng.Below(2) == 0) who.last_message = kStart + std::chrono::seconds(rng.Below(5));
  }
  const std::optional<ConnId> victim = ChooseVictim(all, kKey);
  for (int i = 0; i < 50; ++i) {
    for (size_t k = all.size() - 1; k > 0; --k) std::swap(all[k], all[rng.Below(k + 1)]);
    ASSERT_EQ(ChooseVictim(all, kKey), victim);
  }
}

TEST(ChooseVictims, TheFirstIsTheOneThatWouldGoAlone) {
  for (size_t count : {kLeastEvictable, size_t{40}, size_t{300}}) {
    EXPECT_EQ(ChooseVictims(Peers(count), kKey, 3).front(), ChooseVictim(Peers(count), kKey))
        << count;
  }
}

TEST(ChooseVictims, AsManyAsAskedEachOnceAndInTheEndEverybody) {
  for (size_t n : {size_t{0}, size_t{1}, size_t{30}, size_t{99}, size_t{100}, size_t{200}}) {
    std::vector<ConnId> victims = ChooseVictims(Peers(100), kKey, n);
    EXPECT_EQ(victims.size(), std::min<size_t>(n, 100));
    std::sort(victims.begin(), victims.end());
    EXPECT_EQ(std::unique(victims.begin(), victims.end()), victims.end());
  }
}

TEST(ChooseVictims, WhoIsProtectedIsAmongTheLastToGo) {
  std::vector<EvictionCandidate> all = Peers(100);
  for (uint64_t n = 93; n <= 100; ++n) all[n - 1].least_rtt = 1ms;  // young and near
  const std::vector<ConnId> victims = ChooseVictims(all, kKey, 80);
  for (ConnId victim : victims) EXPECT_LE(victim, 92u);
}

TEST(ChooseVictims, InASmallTableTheLargestNetworkLosesItsYoungest) {
  std::vector<EvictionCandidate> all = Peers(6);
  for (uint64_t n : {1, 3, 5}) all[n - 1].ip = IpAddress::V4({198, 51, 100, 7});
  EXPECT_EQ(ChooseVictims(all, kKey, 2), (std::vector<ConnId>{5, 3}));
  EXPECT_EQ(ChooseVictims(all, kKey, 3), (std::vector<ConnId>{5, 3, 6}));
}

}  // namespace
}  // namespace helo::peers
