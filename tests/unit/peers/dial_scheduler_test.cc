// Whom to dial and when: WIRE 7 and 9 from the dialer's side.
#include "p2p/peers/dial_scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "p2p/base/testing/seeded_rng.h"

namespace helo::peers {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

const MonoTime kNow{100'000s};
NodeId Id(uint8_t n) { return NodeId{{n}}; }
PeerAddress Address(std::string_view text) { return *PeerAddress::Parse(text); }
PeerAddress WithId(uint8_t n) {
  PeerAddress address = Address("192.0.2.1:4356");
  address.host = "192.0.2." + std::to_string(n);
  address.id = Id(n);
  return address;
}

DialOutcome Outcome(Reason reason, uint32_t retry_after_s = 0, Decider decider = Decider::kThem) {
  DialOutcome outcome;
  outcome.close.reason = reason;
  outcome.close.decider = decider;
  outcome.close.retry_after_s = retry_after_s;
  outcome.over_tls_from_expected_id = true;
  return outcome;
}

class DialSchedulerTest : public ::testing::Test {
 protected:
  std::vector<TargetId> Due(MonoTime now, int slots = 100, std::vector<NodeId> connected = {}) {
    std::vector<TargetId> ids;
    for (const Target& target : dials_.Due(now, slots, [&](const NodeId& id) {
           return std::find(connected.begin(), connected.end(), id) != connected.end();
         })) {
      ids.push_back(target.id);
    }
    return ids;
  }
  // The wait that a fresh target of this kind has after one try that ended so.
  Duration WaitAfter(TargetKind kind, const DialOutcome& outcome) {
    const TargetId id = dials_.Add(WithId(77), kind, false, kNow);
    EXPECT_THAT(Due(kNow), ElementsAre(id));
    dials_.Ended(id, outcome, kNow);
    const Duration wait = dials_.NextDue() == kNever ? Duration::max() : dials_.NextDue() - kNow;
    dials_.Remove(id);
    return wait;
  }
  // Least and most over many tries, to see the jitter's edges.
  std::pair<Duration, Duration> WaitsAfter(TargetKind kind, const DialOutcome& outcome) {
    Duration least = Duration::max();
    Duration most = Duration::min();
    for (int i = 0; i < 300; ++i) {
      const Duration wait = WaitAfter(kind, outcome);
      least = std::min(least, wait);
      most = std::max(most, wait);
    }
    return {least, most};
  }
  void ExpectWaits(TargetKind kind, const DialOutcome& outcome, Duration base, int percent) {
    const auto [least, most] = WaitsAfter(kind, outcome);
    EXPECT_GE(least, base - base * percent / 100) << Label(outcome.close.reason);
    EXPECT_LE(most, base + base * percent / 100) << Label(outcome.close.reason);
    EXPECT_GT(most - least, base * percent / 100) << "no jitter: " << Label(outcome.close.reason);
  }

  testing::SeededRng rng_{7};
  DialScheduler dials_{DialTimes{}, rng_};
};

TEST_F(DialSchedulerTest, ANewTargetIsDueAtOnceAndTriedOnce) {
  const TargetId id = dials_.Add(Address("node2:4356"), TargetKind::kStatic, false, kNow);
  EXPECT_EQ(dials_.NextDue(), kNow);
  EXPECT_THAT(Due(kNow - 1ns), IsEmpty());
  EXPECT_THAT(Due(kNow), ElementsAre(id));
  EXPECT_TRUE(dials_.Get(id)->trying);
  EXPECT_EQ(dials_.NextDue(), kNever);
  EXPECT_THAT(Due(kNow + 1h), IsEmpty());
}

TEST_F(DialSchedulerTest, TheSameAddressIsTheSameTarget) {
  const TargetId id = dials_.Add(Address("node2:4356"), TargetKind::kAdded, false, kNow);
  EXPECT_EQ(dials_.Add(Address("node2:4356"), TargetKind::kAdded, true, kNow), id);
  EXPECT_TRUE(dials_.Get(id)->saved) << "asked to be saved the second time";
  EXPECT_NE(dials_.Add(Address("node2:4357"), TargetKind::kAdded, false, kNow), id);
  EXPECT_NE(dials_.Add(WithId(1), TargetKind::kAdded, false, kNow), id);
  EXPECT_EQ(dials_.All().size(), 3u);
  EXPECT_EQ(dials_.FindByAddress(Address("node2:4356")), id);
  EXPECT_TRUE(dials_.Remove(id));
  EXPECT_FALSE(dials_.Remove(id));
  EXPECT_EQ(dials_.FindByAddress(Address("node2:4356")), std::nullopt);
  dials_.Ended(id, Outcome(Reason::kRefused), kNow);  // the try was under way when it was removed
  EXPECT_EQ(dials_.Get(id), nullptr);
}

TEST_F(DialSchedulerTest, FewSlotsGoToThoseThatWaitLongest) {
  const TargetId a = dials_.Add(WithId(1), TargetKind::kStatic, false, kNow + 2s);
  const TargetId b = dials_.Add(WithId(2), TargetKind::kStatic, false, kNow + 1s);
  const TargetId c = dials_.Add(WithId(3), TargetKind::kStatic, false, kNow);
  EXPECT_THAT(Due(kNow + 5s, 0), IsEmpty());
  EXPECT_THAT(Due(kNow + 5s, 2), ElementsAre(c, b));
  EXPECT_THAT(Due(kNow + 5s, 2), ElementsAre(a));
}

TEST_F(DialSchedulerTest, BackoffDoublesFromOneSecondToSixtyWithHalfOfItAsJitter) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kStatic, false, kNow);
  MonoTime now = kNow;
  for (Duration base : {1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s, 60s}) {
    ASSERT_THAT(Due(now), ElementsAre(id));
    dials_.Ended(id, Outcome(Reason::kRefused), now);
    const Duration wait = dials_.NextDue() - now;
    EXPECT_GE(wait, base / 2);
    EXPECT_LE(wait, base * 3 / 2);
    now = dials_.NextDue();
  }
  for (int i = 0; i < 10'000; ++i) {
    Due(now);
    dials_.Ended(id, Outcome(Reason::kConnectTimeout), now);
    ASSERT_LE(dials_.NextDue() - now, 90s) << "a static peer is never given up";
    now = dials_.NextDue();
  }
}

TEST_F(DialSchedulerTest, SixtySecondsUpResetTheBackoffAndFewerDoNot) {
  for (const auto& [up_for, base] : {std::pair<Duration, Duration>{60s, 1s}, {59s, 32s}}) {
    DialScheduler dials(DialTimes{}, rng_);
    const TargetId id = dials.Add(WithId(1), TargetKind::kStatic, false, kNow);
    for (int i = 0; i < 5; ++i) dials.Ended(id, Outcome(Reason::kRefused), kNow);
    dials.Connected(id, Id(1));
    EXPECT_TRUE(dials.Get(id)->connected);
    EXPECT_EQ(dials.NextDue(), kNever);
    DialOutcome outcome = Outcome(Reason::kTruncated);
    outcome.up_for = up_for;
    dials.Ended(id, outcome, kNow);
    EXPECT_FALSE(dials.Get(id)->connected);
    EXPECT_GE(dials.NextDue() - kNow, base / 2);
    EXPECT_LE(dials.NextDue() - kNow, base * 3 / 2);
  }
}

TEST_F(DialSchedulerTest, EveryReasonHasTheWaitOfTheTable) {
  for (TargetKind kind : {TargetKind::kStatic, TargetKind::kAdded}) {
    const bool is_static = kind == TargetKind::kStatic;
    for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
      switch (info->reason) {
        case Reason::kSelf:
          EXPECT_EQ(WaitAfter(kind, Outcome(info->reason, 0, Decider::kUs)), Duration::max());
          break;
        case Reason::kBanned:
          ExpectWaits(kind, Outcome(info->reason), is_static ? 5min : 60min, 10);
          break;
        case Reason::kUnexpectedId:
          ExpectWaits(kind, Outcome(info->reason, 0, Decider::kUs), 1min, 10);
          break;
        case Reason::kWrongNetwork:
        case Reason::kWrongGenesis:
        case Reason::kNoSharedCapability:
        case Reason::kMinorTooOld:
          ExpectWaits(kind, Outcome(info->reason), is_static ? 1min : 10min, 10);
          break;
        default:
          if (info->fault == Fault::kRemoteFault) {
            ExpectWaits(kind, Outcome(info->reason), is_static ? 1min : 10min, 10);
          } else {
            ExpectWaits(kind, Outcome(info->reason), 1s, 50);
          }
      }
    }
  }
}

TEST_F(DialSchedulerTest, RetryAfterIsTheLeastWaitAndClamped) {
  const auto least = [&](TargetKind kind, Reason reason, uint32_t retry_after_s) {
    return WaitsAfter(kind, Outcome(reason, retry_after_s)).first;
  };
  EXPECT_EQ(least(TargetKind::kAdded, Reason::kFull, 30), 30s);
  EXPECT_EQ(least(TargetKind::kAdded, Reason::kFull, 4'000'000), 1h);
  EXPECT_EQ(least(TargetKind::kStatic, Reason::kFull, 4'000'000), 5min);
  EXPECT_EQ(least(TargetKind::kStatic, Reason::kBanned, 30), 30s);
  EXPECT_EQ(least(TargetKind::kStatic, Reason::kBanned, 100'000), 5min);
  EXPECT_EQ(least(TargetKind::kAdded, Reason::kDropped, 600), 10min);
  EXPECT_GE(least(TargetKind::kAdded, Reason::kMalformed, 5), 9min) << "the longer one counts";
  const auto [shortest, longest] = WaitsAfter(TargetKind::kStatic, Outcome(Reason::kFull, 1));
  EXPECT_EQ(shortest, 1s) << "never earlier";
  EXPECT_GT(longest, 1s) << "the jittered backoff where that is longer";
}

TEST_F(DialSchedulerTest, RetryAfterFromAnybodyElseIsIgnored) {
  DialOutcome outcome = Outcome(Reason::kFull, 600);
  outcome.over_tls_from_expected_id = false;
  ExpectWaits(TargetKind::kStatic, outcome, 1s, 50);
  outcome = Outcome(Reason::kBanned, 1);
  outcome.over_tls_from_expected_id = false;
  ExpectWaits(TargetKind::kAdded, outcome, 60min, 10);
}

TEST_F(DialSchedulerTest, OurOwnBanIsKeptToTheSecond) {
  DialOutcome outcome = Outcome(Reason::kBanned, 7200, Decider::kUs);
  outcome.over_tls_from_expected_id = false;
  EXPECT_EQ(WaitAfter(TargetKind::kStatic, outcome), 2h);
}

TEST_F(DialSchedulerTest, WantOfOurOwnResourcesIsSoonAgainAndNoFailure) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kStatic, false, kNow);
  for (int i = 0; i < 50; ++i) {
    Due(dials_.NextDue());
    if (i % 2 == 0) {
      dials_.Postpone(id, kNow);
    } else {
      dials_.Ended(id, Outcome(Reason::kNoFd, 0, Decider::kUs), kNow);
    }
    ASSERT_FALSE(dials_.Get(id)->trying);
    ASSERT_LE(dials_.NextDue() - kNow, 1500ms);
    ASSERT_EQ(dials_.Get(id)->failures, 0);
  }
}

TEST_F(DialSchedulerTest, AnAddressOfOurOwnIsKeptInTheListButNotDialed) {
  const TargetId id = dials_.Add(Address("localhost:4356"), TargetKind::kStatic, false, kNow);
  Due(kNow);
  dials_.Ended(id, Outcome(Reason::kSelf, 0, Decider::kUs), kNow);
  EXPECT_THAT(Due(kNow + 24h), IsEmpty());
  ASSERT_NE(dials_.Get(id), nullptr);
  EXPECT_EQ(dials_.Get(id)->last->reason, Reason::kSelf);
  dials_.Pause(id, kNow + 1h);
  EXPECT_EQ(dials_.NextDue(), kNever);
  dials_.TryNow(id, kNow);
  EXPECT_THAT(Due(kNow), ElementsAre(id)) << "unless the operator asks for it";
}

TEST_F(DialSchedulerTest, AStrangerWhoSaysSelfSilencesNoTarget) {
  const TargetId id = dials_.Add(Address("localhost:4356"), TargetKind::kStatic, false, kNow);
  Due(kNow);
  dials_.Ended(id, Outcome(Reason::kSelf, 0, Decider::kThem), kNow);
  EXPECT_LT(dials_.NextDue(), kNow + 2s);
}

TEST_F(DialSchedulerTest, NothingIsDialedWhileThePeerIsConnectedOtherwise) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kStatic, false, kNow);
  EXPECT_THAT(Due(kNow, 10, {Id(1)}), IsEmpty());
  EXPECT_GT(dials_.NextDue(), kNow + 10s) << "no spinning meanwhile";
  MonoTime now = kNow;
  for (int i = 0; i < 100; ++i) {
    now = dials_.NextDue();
    EXPECT_THAT(Due(now, 10, {Id(1)}), IsEmpty());
  }
  dials_.PeerEnded(Id(2), now);
  EXPECT_GT(dials_.NextDue(), now + 10s);
  dials_.PeerEnded(Id(1), now);
  const Duration wait = dials_.NextDue() - now;
  EXPECT_TRUE(wait >= 500ms && wait <= 1500ms) << "then backoff as after a failure";
  EXPECT_THAT(Due(dials_.NextDue()), ElementsAre(id));
}

TEST_F(DialSchedulerTest, ATargetFindsOutByItselfThatThePeerIsGone) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kStatic, false, kNow);
  EXPECT_THAT(Due(kNow, 10, {Id(1)}), IsEmpty());
  EXPECT_THAT(Due(dials_.NextDue()), ElementsAre(id));
}

TEST_F(DialSchedulerTest, DuplicateTeachesWhoseConnectionToWaitFor) {
  const TargetId id = dials_.Add(Address("node2:4356"), TargetKind::kStatic, false, kNow);
  Due(kNow);
  DialOutcome outcome = Outcome(Reason::kDuplicate);
  outcome.proven_id = Id(2);
  dials_.Ended(id, outcome, kNow);
  EXPECT_THAT(dials_.FindById(Id(2)), ElementsAre(id));
  EXPECT_THAT(Due(kNow + 1min, 10, {Id(2)}), IsEmpty());
  dials_.PeerEnded(Id(2), kNow + 1h);
  EXPECT_THAT(Due(kNow + 1h + 1500ms), ElementsAre(id));
}

TEST_F(DialSchedulerTest, AnIdThatWasNamedIsNotUnlearnt) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kStatic, false, kNow);
  Due(kNow);
  DialOutcome outcome = Outcome(Reason::kDuplicate);
  outcome.proven_id = Id(2);
  dials_.Ended(id, outcome, kNow);
  EXPECT_THAT(dials_.FindById(Id(1)), ElementsAre(id));
}

TEST_F(DialSchedulerTest, TheIdOfAConnectedPeerIsLearnt) {
  const TargetId id = dials_.Add(Address("node2:4356"), TargetKind::kStatic, false, kNow);
  Due(kNow);
  EXPECT_THAT(dials_.FindById(Id(2)), IsEmpty());
  dials_.Connected(id, Id(2));
  EXPECT_THAT(dials_.FindById(Id(2)), ElementsAre(id));
}

TEST_F(DialSchedulerTest, ADroppedPeerStaysAwayForItsTime) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kStatic, false, kNow);
  dials_.Pause(id, kNow + 10min);
  EXPECT_THAT(Due(kNow + 10min - 1ns), IsEmpty());
  EXPECT_THAT(Due(kNow + 10min), ElementsAre(id));
}

TEST_F(DialSchedulerTest, ADropWhileConnectedHoldsAfterTheClose) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kStatic, false, kNow);
  Due(kNow);
  dials_.Connected(id, Id(1));
  dials_.Pause(id, kNow + 10min);
  EXPECT_EQ(dials_.NextDue(), kNever);
  dials_.Ended(id, Outcome(Reason::kDropped, 0, Decider::kUs), kNow + 1s);
  EXPECT_EQ(dials_.NextDue(), kNow + 10min);
}

TEST_F(DialSchedulerTest, ALiftedPauseLetsItComeBackAtOnce) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kStatic, false, kNow);
  Due(kNow);
  dials_.Connected(id, Id(1));
  dials_.Pause(id, kNow + 10min);
  dials_.Ended(id, Outcome(Reason::kDropped, 600, Decider::kUs), kNow + 1s);
  dials_.Pause(id, kNow + 2s);
  EXPECT_THAT(Due(kNow + 2s), ElementsAre(id));
}

TEST_F(DialSchedulerTest, ForgivingEndsBackoffButNotAnOperatorsPause) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kAdded, false, kNow);
  for (int i = 0; i < 9; ++i) dials_.Ended(id, Outcome(Reason::kRefused), kNow);
  dials_.Forgive(id, kNow);
  EXPECT_THAT(Due(kNow), ElementsAre(id));
  dials_.Ended(id, Outcome(Reason::kRefused), kNow);
  dials_.Pause(id, kNow + 1h);
  dials_.Forgive(id, kNow);
  EXPECT_THAT(Due(kNow), IsEmpty());
}

TEST_F(DialSchedulerTest, ForgivenBeforeThePenaltyHasClosedItIsDialedAtOnceToo) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kAdded, false, kNow);
  ASSERT_THAT(Due(kNow), ElementsAre(id));
  dials_.Connected(id, Id(1));
  dials_.Forgive(id, kNow);
  EXPECT_THAT(Due(kNow), IsEmpty()) << "it is connected";
  dials_.Ended(id, Outcome(Reason::kPluginViolation, 0, Decider::kUs), kNow + 1s);
  EXPECT_THAT(Due(kNow + 1s), ElementsAre(id));
  // The next one counts.
  dials_.Connected(id, Id(1));
  dials_.Ended(id, Outcome(Reason::kPluginViolation, 0, Decider::kUs), kNow + 2s);
  EXPECT_THAT(Due(kNow + 1min), IsEmpty());
}

TEST_F(DialSchedulerTest, TryNowEndsBackoffAndPauseButNotAConnection) {
  const TargetId id = dials_.Add(WithId(1), TargetKind::kAdded, false, kNow);
  for (int i = 0; i < 9; ++i) dials_.Ended(id, Outcome(Reason::kRefused), kNow);
  dials_.Pause(id, kNow + 1h);
  dials_.TryNow(id, kNow);
  EXPECT_THAT(Due(kNow), ElementsAre(id));
  dials_.TryNow(id, kNow);
  EXPECT_THAT(Due(kNow), IsEmpty()) << "it is being tried";
  dials_.Connected(id, Id(1));
  dials_.TryNow(id, kNow);
  EXPECT_THAT(Due(kNow + 1h), IsEmpty()) << "it is connected";
}

}  // namespace
}  // namespace helo::peers
