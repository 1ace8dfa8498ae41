// Admission: one connection a pair as the referee decides (WIRE 6), slots, and who makes room.
// Long: a case each.
#include "p2p/peers/peer_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "p2p/base/testing/seeded_rng.h"

namespace helo::peers {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const MonoTime kNow{100'000s};
constexpr Direction kIn = Direction::kInbound;
constexpr Direction kOut = Direction::kOutbound;

NodeId Id(uint16_t n) { return NodeId{{static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)}}; }
const NodeId kSelf = Id(1000);
const NodeId kSmaller = Id(1);      // we are the referee of this pair
const NodeId kLarger = Id(50'000);  // it is

class PeerTableTest : public ::testing::Test {
 protected:
  Candidate From(const NodeId& id, Direction direction) {
    Candidate candidate;
    candidate.conn = next_++;
    candidate.id = id;
    candidate.direction = direction;
    const uint8_t low = static_cast<uint8_t>(candidate.conn);
    candidate.remote = {IpAddress::V4({20, low, static_cast<uint8_t>(candidate.conn >> 8), 1}),
                        4356};
    return candidate;
  }
  Candidate Probe(const NodeId& id) {
    Candidate candidate = From(id, kIn);
    candidate.probe = true;
    return candidate;
  }
  ConnId Accepted(const Candidate& candidate) {
    EXPECT_EQ(table_.Judge(candidate, kNow).kind, Judgement::Kind::kAccept);
    return candidate.conn;
  }
  ConnId Accepted(const NodeId& id, Direction direction) { return Accepted(From(id, direction)); }
  ConnId MadeUp(const NodeId& id, Direction direction) {
    const ConnId conn = Accepted(id, direction);
    const UpResult result = table_.Up(conn, kNow);
    EXPECT_TRUE(result.up);
    return conn;
  }
  ConnId Challenging(const NodeId& id, ConnId old) {
    const Candidate candidate = From(id, kIn);
    const Judgement judgement = table_.Judge(candidate, kNow);
    EXPECT_EQ(judgement.kind, Judgement::Kind::kChallenge);
    EXPECT_EQ(judgement.challenged, old);
    return candidate.conn;
  }
  void ExpectRefused(const Judgement& judgement, Reason reason) {
    EXPECT_EQ(judgement.kind, Judgement::Kind::kRefuse);
    EXPECT_EQ(judgement.reason, reason) << Label(judgement.reason);
    EXPECT_FALSE(judgement.text.empty());
    EXPECT_LE(judgement.text.size(), 256u);
  }
  // Strangers with ids below ours, each up since a second after the one before.
  std::vector<ConnId> FillInbound(int count) {
    std::vector<ConnId> conns;
    for (int i = 0; i < count; ++i) {
      const ConnId conn = Accepted(Id(static_cast<uint16_t>(100 + i)), kIn);
      EXPECT_TRUE(table_.Up(conn, kNow + std::chrono::seconds(i)).up);
      conns.push_back(conn);
    }
    return conns;
  }
  void Limits(int inbound, int outbound) { table_.SetLimits({inbound, outbound}); }

  testing::SeededRng rng_{3};
  PeerTable table_{kSelf, TableLimits{}, rng_};
  ConnId next_ = 1;
};

// --- slots

TEST_F(PeerTableTest, ASlotIsReservedAtTheAcceptAndFreeWhenTheCloseBegins) {
  const ConnId in = Accepted(kSmaller, kIn);
  const ConnId out = Accepted(Id(2), kOut);
  EXPECT_EQ(table_.inbound(), 1);
  EXPECT_EQ(table_.outbound(), 1);
  EXPECT_EQ(table_.up_count(), 0u);
  EXPECT_FALSE(table_.Connected(kSmaller)) << "accepted is not up";
  EXPECT_TRUE(table_.Up(in, kNow).up);
  EXPECT_EQ(table_.up_count(), 1u);
  EXPECT_EQ(table_.Find(kSmaller), in);
  EXPECT_EQ(table_.inbound(), 1);
  table_.Closed(in, kNow);
  table_.Closed(out, kNow);
  table_.Closed(out, kNow);
  table_.Closed(12345, kNow);
  EXPECT_EQ(table_.inbound(), 0);
  EXPECT_EQ(table_.outbound(), 0);
  EXPECT_EQ(table_.up_count(), 0u);
  EXPECT_FALSE(table_.Connected(kSmaller));
}

TEST_F(PeerTableTest, ReservedSlotsCountBeforeTheyAreUp) {
  Limits(2, 1);
  Accepted(Id(1), kIn);
  Accepted(Id(2), kIn);
  ExpectRefused(table_.Judge(From(Id(3), kIn), kNow), Reason::kFull);
  Accepted(Id(3), kOut);
  ExpectRefused(table_.Judge(From(Id(4), kOut), kNow), Reason::kFull);
}

TEST_F(PeerTableTest, ZeroSlotsMeanNobodyButTheTrusted) {
  Limits(0, 0);
  ExpectRefused(table_.Judge(From(Id(1), kIn), kNow), Reason::kFull);
  ExpectRefused(table_.Judge(From(Id(1), kOut), kNow), Reason::kFull);
  Candidate trusted = From(Id(1), kIn);
  trusted.trusted = true;
  Accepted(trusted);
}

TEST_F(PeerTableTest, TrustedPeersAreAdmittedAboveTheLimitAndTakeNobodysSlot) {
  Limits(1, 1);
  for (uint16_t n : {1, 2, 3}) {
    Candidate trusted = From(Id(n), kIn);
    trusted.trusted = true;
    Accepted(trusted);
    EXPECT_TRUE(table_.Up(trusted.conn, kNow).up);
  }
  EXPECT_EQ(table_.inbound(), 0);
  MadeUp(Id(9), kIn);
  ExpectRefused(table_.Judge(From(Id(10), kIn), kNow), Reason::kFull);
}

TEST_F(PeerTableTest, OurOwnIdIsSelf) {
  ExpectRefused(table_.Judge(From(kSelf, kIn), kNow), Reason::kSelf);
}

TEST_F(PeerTableTest, UpOfAConnectionThatWentMeanwhileIsNoPeer) {
  const ConnId conn = Accepted(kSmaller, kIn);
  table_.Closed(conn, kNow);
  EXPECT_FALSE(table_.Up(conn, kNow).up);
  EXPECT_EQ(table_.up_count(), 0u);
}

// --- the referee

TEST_F(PeerTableTest, ANewcomerThatMeetsOneNotUpYetIsADuplicateAtTheReferee) {
  const ConnId first = Accepted(kSmaller, kOut);
  ExpectRefused(table_.Judge(From(kSmaller, kIn), kNow), Reason::kDuplicate);
  ExpectRefused(table_.Judge(From(kSmaller, kOut), kNow), Reason::kDuplicate);
  EXPECT_TRUE(table_.Up(first, kNow).up);
  EXPECT_EQ(table_.inbound(), 0);
  EXPECT_EQ(table_.outbound(), 1);
}

TEST_F(PeerTableTest, AnAliveOldOneMakesTheNewcomerADuplicate) {
  const ConnId old = MadeUp(kSmaller, kIn);
  const ConnId newcomer = Challenging(kSmaller, old);
  EXPECT_EQ(table_.inbound(), 1) << "who waits for a challenge holds nothing";
  const PeerTable::ChallengeResult result = table_.ChallengeEnded(newcomer, true, kNow);
  ExpectRefused(result.judgement, Reason::kDuplicate);
  EXPECT_THAT(result.close, IsEmpty());
  EXPECT_EQ(table_.Find(kSmaller), old);
}

TEST_F(PeerTableTest, ADeadOldOneIsReplacedByTheNewcomer) {
  const ConnId old = MadeUp(kSmaller, kOut);
  const ConnId newcomer = Challenging(kSmaller, old);
  const PeerTable::ChallengeResult result = table_.ChallengeEnded(newcomer, false, kNow);
  EXPECT_EQ(result.judgement.kind, Judgement::Kind::kAccept);
  EXPECT_THAT(result.close, ElementsAre(Closing{old, Reason::kReplaced}));
  EXPECT_FALSE(table_.Connected(kSmaller));
  EXPECT_EQ(table_.inbound(), 1);
  EXPECT_EQ(table_.outbound(), 0);
  const UpResult up = table_.Up(newcomer, kNow);
  EXPECT_TRUE(up.up);
  EXPECT_THAT(up.close, IsEmpty());
  EXPECT_EQ(table_.Find(kSmaller), newcomer);
  table_.Closed(old, kNow);  // its close is reported later
  EXPECT_EQ(table_.Find(kSmaller), newcomer);
}

TEST_F(PeerTableTest, OneChallengeAtATime) {
  const ConnId old = MadeUp(kSmaller, kIn);
  const ConnId newcomer = Challenging(kSmaller, old);
  ExpectRefused(table_.Judge(From(kSmaller, kIn), kNow), Reason::kDuplicate);
  const ConnId other_old = MadeUp(Id(2), kIn);
  Challenging(Id(2), other_old);  // of another id: at the same time
  table_.ChallengeEnded(newcomer, true, kNow);
  Challenging(kSmaller, old);
}

TEST_F(PeerTableTest, AChallengeThatTheLoopRefusesIsADuplicate) {
  const ConnId old = MadeUp(kSmaller, kIn);
  const ConnId newcomer = Challenging(kSmaller, old);
  ExpectRefused(table_.ChallengeRefused(newcomer), Reason::kDuplicate);
  Challenging(kSmaller, old);
}

TEST_F(PeerTableTest, TheFourthFailedChallengeWithinAMinuteIsRateLimited) {
  ConnId standing = MadeUp(kSmaller, kIn);
  const auto challenge = [&](MonoTime at) {
    const ConnId newcomer = Challenging(kSmaller, standing);
    PeerTable::ChallengeResult result = table_.ChallengeEnded(newcomer, false, at);
    if (result.judgement.kind == Judgement::Kind::kAccept) {
      EXPECT_TRUE(table_.Up(newcomer, at).up);
      standing = newcomer;
    }
    return result;
  };
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(challenge(kNow + i * 10s).judgement.kind, Judgement::Kind::kAccept) << i;
  }
  const ConnId before = standing;
  // Refused ones are not counted, so any number of them changes nothing.
  for (const auto& [at, left] :
       {std::pair<Duration, uint32_t>{30s, 30}, {30500ms, 30}, {59s, 1}, {60s - 1ns, 1}}) {
    const PeerTable::ChallengeResult result = challenge(kNow + at);
    ExpectRefused(result.judgement, Reason::kRateLimited);
    EXPECT_EQ(result.judgement.retry_after_s, left);
    EXPECT_THAT(result.close, IsEmpty());
    EXPECT_EQ(table_.Find(kSmaller), before) << "the old connection stays";
  }
  EXPECT_EQ(challenge(kNow + 60s).judgement.kind, Judgement::Kind::kAccept);
  const PeerTable::ChallengeResult next = challenge(kNow + 61s);
  ExpectRefused(next.judgement, Reason::kRateLimited);
  EXPECT_EQ(next.judgement.retry_after_s, 9u) << "until the second one is a minute old";
}

TEST_F(PeerTableTest, AnAliveAnswerIsADuplicateEvenAfterThreeFailedChallenges) {
  ConnId standing = MadeUp(kSmaller, kIn);
  for (int i = 0; i < 3; ++i) {
    const ConnId newcomer = Challenging(kSmaller, standing);
    table_.ChallengeEnded(newcomer, false, kNow);
    table_.Up(newcomer, kNow);
    standing = newcomer;
  }
  const ConnId newcomer = Challenging(kSmaller, standing);
  ExpectRefused(table_.ChallengeEnded(newcomer, true, kNow).judgement, Reason::kDuplicate);
}

TEST_F(PeerTableTest, FailedChallengesAreCountedByIdAndForgotten) {
  for (int round = 0; round < 300; ++round) {  // beyond the size at which old ones are swept
    const NodeId id = Id(static_cast<uint16_t>(round));
    const MonoTime at = kNow + round * 1s;
    const ConnId old = Accepted(id, kOut);
    table_.Up(old, at);
    const Candidate newcomer = From(id, kIn);
    ASSERT_EQ(table_.Judge(newcomer, at).kind, Judgement::Kind::kChallenge);
    ASSERT_EQ(table_.ChallengeEnded(newcomer.conn, false, at).judgement.kind,
              Judgement::Kind::kAccept);
    table_.Closed(newcomer.conn, at);
  }
}

TEST_F(PeerTableTest, WhenTheOldOneGoesByItselfDuringTheChallengeTheNewcomerIsAccepted) {
  for (bool alive : {false, true}) {
    const ConnId old = MadeUp(kSmaller, kIn);
    const ConnId newcomer = Challenging(kSmaller, old);
    table_.Closed(old, kNow);
    ExpectRefused(table_.Judge(From(kSmaller, kIn), kNow), Reason::kDuplicate);
    const PeerTable::ChallengeResult result = table_.ChallengeEnded(newcomer, alive, kNow);
    EXPECT_EQ(result.judgement.kind, Judgement::Kind::kAccept);
    EXPECT_THAT(result.close, IsEmpty());
    table_.Closed(newcomer, kNow);
  }
  const ConnId old = MadeUp(kSmaller, kIn);
  const ConnId newcomer = Challenging(kSmaller, old);
  table_.Closed(old, kNow);
  EXPECT_EQ(table_.ChallengeRefused(newcomer).kind, Judgement::Kind::kAccept);
}

TEST_F(PeerTableTest, WhenTheNewcomerGoesDuringTheChallengeTheOldOneStays) {
  const ConnId old = MadeUp(kSmaller, kIn);
  const ConnId newcomer = Challenging(kSmaller, old);
  table_.Closed(newcomer, kNow);
  EXPECT_THAT(table_.ChallengeEnded(newcomer, false, kNow).close, IsEmpty());
  EXPECT_EQ(table_.Find(kSmaller), old);
  EXPECT_EQ(table_.inbound(), 1);
  Challenging(kSmaller, old);  // and another may try
}

// --- the other side

TEST_F(PeerTableTest, TheOtherSideJudgesTheSecondAsIfTheFirstDidNotExist) {
  Limits(1, 1);
  const ConnId first = Accepted(kLarger, kIn);
  const ConnId second = Accepted(kLarger, kIn);
  EXPECT_EQ(table_.inbound(), 1) << "a connection of the same id does not count against the slot";
  EXPECT_TRUE(table_.Up(first, kNow).up);
  EXPECT_EQ(table_.inbound(), 1);
  const UpResult result = table_.Up(second, kNow);
  EXPECT_TRUE(result.up);
  EXPECT_THAT(result.close, ElementsAre(Closing{first, Reason::kReplaced}));
  EXPECT_EQ(table_.Find(kLarger), second);
  EXPECT_EQ(table_.inbound(), 1);
  EXPECT_EQ(table_.up_count(), 1u);
}

TEST_F(PeerTableTest, AcrossDirectionsTheOlderOneIsReplacedToo) {
  const ConnId out = MadeUp(kLarger, kOut);
  const ConnId in = Accepted(kLarger, kIn);
  EXPECT_THAT(table_.Up(in, kNow).close, ElementsAre(Closing{out, Reason::kReplaced}));
  EXPECT_EQ(table_.outbound(), 0);
  EXPECT_EQ(table_.inbound(), 1);
}

TEST_F(PeerTableTest, OneThatTheRefereeHasNotAnsweredYetIsLeftToTheReferee) {
  const ConnId pending = Accepted(kLarger, kIn);
  const ConnId up = Accepted(kLarger, kOut);
  EXPECT_THAT(table_.Up(up, kNow).close, IsEmpty());
  EXPECT_EQ(table_.Find(kLarger), up);
  table_.Closed(pending, kNow);  // DUPLICATE, from the referee
  EXPECT_EQ(table_.Find(kLarger), up);
  EXPECT_EQ(table_.inbound(), 0);
}

// The referee accepted `first`, found it dead, closed it and accepted `second`; the first one's
// words come late.
TEST_F(PeerTableTest, ALateAcceptOfAnOlderConnectionDoesNotCloseTheNewerOne) {
  const ConnId first = Accepted(kLarger, kIn);
  const ConnId second = Accepted(kLarger, kOut);
  EXPECT_TRUE(table_.Up(second, kNow).up);
  const UpResult late = table_.Up(first, kNow);
  EXPECT_TRUE(late.up);
  EXPECT_THAT(late.close, IsEmpty());
  EXPECT_EQ(table_.up_count(), 2u);
  table_.Closed(first, kNow);  // REPLACED, from the referee
  EXPECT_EQ(table_.Find(kLarger), second);
}

TEST_F(PeerTableTest, ARefereeThatPlaysForSlotsHasNeverMoreThanTwoUpAndPaysForThem) {
  Limits(3, 3);
  std::vector<ConnId> conns;
  for (int i = 0; i < 10; ++i) {
    const Candidate candidate = From(kLarger, kIn);
    if (table_.Judge(candidate, kNow).kind != Judgement::Kind::kAccept) break;
    conns.push_back(candidate.conn);
  }
  EXPECT_EQ(conns.size(), 4u) << "three slots, and the one that a second connection shares";
  for (auto it = conns.rbegin(); it != conns.rend(); ++it) {
    table_.Up(*it, kNow);
    EXPECT_LE(table_.up_count(), 2u);
  }
  EXPECT_EQ(table_.inbound(), 2);
}

TEST_F(PeerTableTest, ANewConnectionOfTheSamePeerComesInWhenTheTableIsFull) {
  Limits(4, 0);
  std::vector<ConnId> old;
  for (uint16_t n = 0; n < 4; ++n) old.push_back(MadeUp(Id(60'000 + n), kIn));
  std::vector<ConnId> fresh;
  for (uint16_t n = 0; n < 4; ++n) fresh.push_back(Accepted(Id(60'000 + n), kIn));
  EXPECT_EQ(table_.inbound(), 4);
  ExpectRefused(table_.Judge(From(Id(9), kIn), kNow), Reason::kFull);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_THAT(table_.Up(fresh[i], kNow).close, ElementsAre(Closing{old[i], Reason::kReplaced}));
  EXPECT_EQ(table_.inbound(), 4);
  EXPECT_EQ(table_.up_count(), 4u);
}

TEST_F(PeerTableTest, ANewConnectionOfTheSamePeerComesInEvenAboveALimitThatWasLowered) {
  const ConnId old = MadeUp(kLarger, kIn);
  MadeUp(Id(1), kIn);
  Limits(1, 1);
  ExpectRefused(table_.Judge(From(Id(2), kIn), kNow), Reason::kFull);
  const ConnId fresh = Accepted(kLarger, kIn);
  EXPECT_THAT(table_.Up(fresh, kNow).close, ElementsAre(Closing{old, Reason::kReplaced}));
  EXPECT_EQ(table_.inbound(), 2);
}

// --- probes

TEST_F(PeerTableTest, AProbeGetsTheVerdictOfAJoinAndChangesNothing) {
  Limits(1, 0);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(table_.Judge(Probe(kSmaller), kNow).kind, Judgement::Kind::kAccept);
  EXPECT_EQ(table_.inbound(), 0);
  const ConnId pending = Accepted(kSmaller, kIn);
  ExpectRefused(table_.Judge(Probe(kSmaller), kNow), Reason::kDuplicate);
  ExpectRefused(table_.Judge(Probe(Id(2)), kNow), Reason::kFull);
  EXPECT_TRUE(table_.Up(pending, kNow).up);
  ExpectRefused(table_.Judge(Probe(kSmaller), kNow), Reason::kDuplicate);
  Challenging(kSmaller, pending);  // the probe started none
  EXPECT_EQ(table_.Judge(Probe(kLarger), kNow).reason, Reason::kFull);
}

TEST_F(PeerTableTest, AProbeOfTheLargerIdIsJudgedAsIfNoConnectionStood) {
  MadeUp(kLarger, kIn);
  EXPECT_EQ(table_.Judge(Probe(kLarger), kNow).kind, Judgement::Kind::kAccept);
}

// --- eviction

TEST_F(PeerTableTest, InASmallTableNobodyMakesRoom) {
  Limits(kLeastEvictable - 1, 0);
  FillInbound(kLeastEvictable - 1);
  ExpectRefused(table_.Judge(From(Id(1), kIn), kNow), Reason::kFull);
}

TEST_F(PeerTableTest, ItEvictsOnlyWhenTheNewcomerIsUp) {
  Limits(30, 0);
  const std::vector<ConnId> old = FillInbound(30);
  const ConnId newcomer = Accepted(Id(1), kIn);
  EXPECT_EQ(table_.up_count(), 30u);
  EXPECT_EQ(table_.inbound(), 31);
  const UpResult result = table_.Up(newcomer, kNow + 1h);
  EXPECT_TRUE(result.up);
  EXPECT_THAT(result.close, ElementsAre(Closing{old.back(), Reason::kEvicted}));
  EXPECT_EQ(table_.inbound(), 30);
  EXPECT_EQ(table_.up_count(), 30u);
}

TEST_F(PeerTableTest, ANewcomerThatGaveUpEvictsNobody) {
  Limits(30, 0);
  FillInbound(30);
  table_.Closed(Accepted(Id(1), kIn), kNow);
  EXPECT_EQ(table_.up_count(), 30u);
  EXPECT_EQ(table_.inbound(), 30);
}

TEST_F(PeerTableTest, IfASlotCameFreeMeanwhileNobodyIsEvicted) {
  Limits(30, 0);
  const std::vector<ConnId> old = FillInbound(30);
  const ConnId newcomer = Accepted(Id(1), kIn);
  table_.Closed(old[3], kNow);
  EXPECT_THAT(table_.Up(newcomer, kNow).close, IsEmpty());
  EXPECT_EQ(table_.up_count(), 30u);
}

TEST_F(PeerTableTest, IfNobodyMayGoAnyMoreTheNewcomerItselfIsEvicted) {
  PeerTable table(kSelf, {static_cast<int>(kLeastEvictable), 0}, rng_);
  std::vector<Candidate> members;
  for (uint16_t n = 0; n < kLeastEvictable; ++n) {
    members.push_back(From(Id(100 + n), kIn));
    table.Judge(members.back(), kNow);
    table.Up(members.back().conn, kNow);
  }
  const Candidate early = From(Id(1), kIn);
  const Candidate late = From(Id(2), kIn);
  EXPECT_EQ(table.Judge(early, kNow).kind, Judgement::Kind::kAccept);
  // One leaves, and one that is protected takes its slot: everybody is protected when `early` comes
  // up.
  table.Closed(members[0].conn, kNow);
  Candidate of_ours = From(Id(3), kIn);
  of_ours.is_static = true;
  table.SetLimits({static_cast<int>(kLeastEvictable) + 1, 0});
  EXPECT_EQ(table.Judge(of_ours, kNow).kind, Judgement::Kind::kAccept);
  EXPECT_TRUE(table.Up(of_ours.conn, kNow).up);
  table.SetLimits({static_cast<int>(kLeastEvictable), 0});
  const UpResult result = table.Up(early.conn, kNow);
  EXPECT_FALSE(result.up);
  EXPECT_EQ(result.refused, Reason::kEvicted);
  EXPECT_THAT(result.close, IsEmpty());
  EXPECT_EQ(table.inbound(), static_cast<int>(kLeastEvictable));
  ExpectRefused(table.Judge(late, kNow), Reason::kFull);
}

TEST_F(PeerTableTest, TrustedStaticAndOutboundPeersAreNeverEvicted) {
  Limits(100, 100);
  for (int i = 0; i < 60; ++i) {
    Candidate candidate = From(Id(static_cast<uint16_t>(100 + i)), i % 3 == 0 ? kOut : kIn);
    candidate.trusted = i % 3 == 1;
    candidate.is_static = i % 3 == 2;
    Accepted(candidate);
    table_.Up(candidate.conn, kNow);
  }
  Limits(20, 20);  // 20 static inbound ones hold all slots
  ExpectRefused(table_.Judge(From(Id(1), kIn), kNow), Reason::kFull);
}

TEST_F(PeerTableTest, WorthProtects) {
  Limits(30, 0);
  const std::vector<ConnId> old = FillInbound(30);
  table_.UpdateWorth(old[29], 1ms, kNever);
  table_.UpdateWorth(old[28], std::nullopt, kNow);
  table_.UpdateWorth(old[27], std::nullopt, kNever);  // never sent a useful message
  table_.UpdateWorth(99999, 1ms, kNow);
  const ConnId newcomer = Accepted(Id(1), kIn);
  EXPECT_THAT(table_.Up(newcomer, kNow + 1h).close,
              ElementsAre(Closing{old[27], Reason::kEvicted}));
}

TEST_F(PeerTableTest, AReplacementThatNeedsAVictimAndFindsNoneLeavesTheOldOneInPlace) {
  Limits(kLeastEvictable, 1);
  const ConnId out = MadeUp(kLarger, kOut);
  const std::vector<ConnId> old = FillInbound(kLeastEvictable);
  const ConnId in = Accepted(kLarger, kIn);  // on the promise of a victim
  Limits(kLeastEvictable - 1, 1);
  table_.Closed(old[0], kNow);  // sixteen are left, all protected, and the limit is sixteen
  const UpResult result = table_.Up(in, kNow);
  EXPECT_FALSE(result.up);
  EXPECT_EQ(result.refused, Reason::kEvicted);
  EXPECT_THAT(result.close, IsEmpty());
  EXPECT_EQ(table_.Find(kLarger), out);
}

// --- the books

// Random events against the table; its counters always agree with a recount by these rules.
TEST_F(PeerTableTest, TheBooksBalanceWhateverHappens) {
  Limits(20, 6);
  struct Mine {
    NodeId id;
    Direction direction;
    bool up = false;
  };
  std::map<ConnId, Mine> mine;
  std::map<ConnId, Candidate> waiting;
  for (int step = 0; step < 20'000; ++step) {
    const MonoTime now = kNow + step * 100ms;
    const auto apply_close = [&](const std::vector<Closing>& close) {
      for (const Closing& closing : close) ASSERT_EQ(mine.erase(closing.conn), 1u) << closing.conn;
    };
    const auto pick = [&](auto& from) {
      auto it = from.begin();
      std::advance(it, rng_.Below(from.size()));
      return it;
    };
    switch (rng_.Below(5)) {
      case 0:
      case 1: {
        const Candidate c =
            From(Id(static_cast<uint16_t>(980 + rng_.Below(40))), rng_.Below(3) == 0 ? kOut : kIn);
        if (c.id == kSelf) break;
        const Judgement judgement = table_.Judge(c, now);
        if (judgement.kind == Judgement::Kind::kAccept) mine[c.conn] = {c.id, c.direction};
        if (judgement.kind == Judgement::Kind::kChallenge) {
          ASSERT_TRUE(kSelf > c.id);
          waiting[c.conn] = c;
        }
        break;
      }
      case 2: {
        if (mine.empty()) break;
        const auto it = pick(mine);
        const UpResult result = table_.Up(it->first, now);
        if (result.up) {
          it->second.up = true;
        } else {
          mine.erase(it);
        }
        apply_close(result.close);
        break;
      }
      case 3: {
        if (mine.empty()) break;
        const auto it = pick(mine);
        table_.Closed(it->first, now);
        mine.erase(it);
        break;
      }
      case 4: {
        if (waiting.empty()) break;
        const auto it = pick(waiting);
        const PeerTable::ChallengeResult result =
            table_.ChallengeEnded(it->first, rng_.Below(2) == 0, now);
        apply_close(result.close);
        if (result.judgement.kind == Judgement::Kind::kAccept)
          mine[it->first] = {it->second.id, it->second.direction};
        waiting.erase(it);
        break;
      }
    }
    int in = 0;
    int out = 0;
    size_t up = 0;
    std::map<NodeId, int> at_referee;
    std::map<NodeId, int> up_of;
    for (const auto& [conn, entry] : mine) {
      (entry.direction == kIn ? in : out) += 1;
      up += entry.up ? 1 : 0;
      up_of[entry.id] += entry.up ? 1 : 0;
      if (kSelf > entry.id) ++at_referee[entry.id];
    }
    ASSERT_EQ(table_.up_count(), up);
    ASSERT_LE(table_.inbound(), in);
    ASSERT_LE(table_.outbound(), out);
    ASSERT_LE(table_.outbound(), 6);
    for (const auto& [id, n] : at_referee) ASSERT_EQ(n, 1) << "two of one id at the referee";
    for (const auto& [id, n] : up_of) {
      ASSERT_LE(n, 2);
      ASSERT_EQ(table_.Connected(id), n > 0);
    }
  }
  for (const auto& [conn, entry] : mine) table_.Closed(conn, kNow);
  EXPECT_EQ(table_.inbound(), 0);
  EXPECT_EQ(table_.outbound(), 0);
  EXPECT_EQ(table_.up_count(), 0u);
}

TEST_F(PeerTableTest, ShrinkClosesTheLeastUsefulAndTrustedOnesLast) {
  const std::vector<ConnId> strangers = FillInbound(5);
  Candidate candidate = From(Id(300), kIn);
  candidate.is_static = true;
  const ConnId fixed = Accepted(candidate);
  candidate = From(Id(301), kIn);
  candidate.trusted = true;
  const ConnId trusted = Accepted(candidate);
  ASSERT_TRUE(table_.Up(fixed, kNow + 1h).up && table_.Up(trusted, kNow + 1h).up);

  EXPECT_THAT(table_.Shrink(kIn, 7), IsEmpty());
  EXPECT_THAT(table_.Shrink(kIn, 5), ElementsAre(Closing{strangers[4], Reason::kEvicted},
                                                 Closing{strangers[3], Reason::kEvicted}));
  EXPECT_EQ(table_.up_count(), 5u);
  EXPECT_EQ(table_.Shrink(kIn, 1).back(), (Closing{fixed, Reason::kEvicted}));
  EXPECT_THAT(table_.Shrink(kIn, 0), ElementsAre(Closing{trusted, Reason::kEvicted}));
  EXPECT_EQ(table_.inbound(), 0);
  EXPECT_THAT(table_.Shrink(kIn, -1), IsEmpty());
}

TEST_F(PeerTableTest, ShrinkLeavesTheOtherDirectionAndThoseThatAreNotUpAlone) {
  const ConnId in = MadeUp(Id(100), kIn);
  const ConnId out = MadeUp(Id(101), kOut);
  const ConnId pending = Accepted(Id(102), kOut);
  EXPECT_THAT(table_.Shrink(kOut, 0), ElementsAre(Closing{out, Reason::kEvicted}));
  EXPECT_TRUE(table_.Connected(Id(100)));
  EXPECT_TRUE(table_.Up(pending, kNow).up);
  EXPECT_THAT(table_.Shrink(kIn, 0), ElementsAre(Closing{in, Reason::kEvicted}));
}

}  // namespace
}  // namespace helo::peers
