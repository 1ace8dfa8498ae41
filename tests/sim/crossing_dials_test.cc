// Two nodes that dial each other, in every order of events (WIRE 6): it never ends with none, and
// never with two up at the referee. Node A has the larger id, so it is the referee of every pair
// that it is in. A failure prints the schedule that leads to it. HELO_SIM_DEEP=1 lets time pass
// more often: minutes instead of seconds.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/sim/crossing_world.h"

namespace helo::sim {
namespace {

using namespace std::chrono_literals;

constexpr size_t kA = 0, kB = 1, kC = 2;
const std::vector<Dial> kEachOther = {{kA, kB}, {kB, kA}};
const std::vector<CutKind> kEveryCut = {CutKind::kBoth, CutKind::kTowardDialer,
                                        CutKind::kTowardAcceptor};

bool Deep() { return std::getenv("HELO_SIM_DEEP") != nullptr; }

// Explores the plan to its end. `least` states must have been seen, so that a world that stands
// still cannot pass.
void Holds(const CrossingPlan& plan, uint64_t least) {
  const Exploration result =
      Explore([&] { return std::make_unique<CrossingWorld>(plan); }, /*max_depth=*/300);
  if (!result.failure.empty()) ADD_FAILURE() << result.failure;
  EXPECT_FALSE(result.truncated);
  EXPECT_GE(result.states, least);
  ::testing::Test::RecordProperty("states", std::to_string(result.states));
}

TEST(CrossingDials, OneDialAloneConnects) {
  Holds({.dials = {{kA, kB}}}, 5);
  Holds({.dials = {{kB, kA}}}, 5);
  Holds({.dials = {{kB, kA}}, .two_threads = true}, 12);
}

TEST(CrossingDials, WhenBothDialAtOnceOneConnectionIsLeft) { Holds({.dials = kEachOther}, 100); }

TEST(CrossingDials, WhenBothDialAtOnceAndEachHasTwoThreadsOneConnectionIsLeft) {
  Holds({.dials = kEachOther, .two_threads = true}, 20'000);
}

TEST(CrossingDials, WhenOneSideDialsTwiceAndTheOtherOnceOneConnectionIsLeft) {
  Holds({.dials = {{kA, kB}, {kB, kA}, {kB, kA}}}, 9'000);
  Holds({.dials = {{kA, kB}, {kA, kB}, {kB, kA}}}, 15'000);
}

TEST(CrossingDials, ALivingConnectionStaysWhoeverDialsAgain) {
  for (const Dial& old : kEachOther) Holds({.standing = {old}, .dials = kEachOther}, 250);
}

// The old one is dead and nobody knows yet: the referee finds out by a challenge, the other side by
// the newcomer.
TEST(CrossingDials, ADeadConnectionGivesWayToOneOfTheNewOnes) {
  for (const Dial& old : kEachOther) {
    for (const std::vector<Dial>& fresh : {std::vector<Dial>{{kA, kB}},
                                           {{kB, kA}},
                                           kEachOther,
                                           {{kB, kA}, {kB, kA}},
                                           {{kA, kB}, {kA, kB}}}) {
      Holds({.standing = {old}, .dead = {0}, .dials = fresh, .ticks = 8}, 25);
    }
    Holds({.standing = {old}, .dead = {0}, .dials = kEachOther, .two_threads = true, .ticks = 8},
          5'000);
  }
}

// A message may be so late that a challenge of a living connection fails, and what belongs to the
// old connection may be read after what belongs to the new one. Closing by the order in which they
// came up, or closing what is not up yet, ends with none here.
TEST(CrossingDials, AChallengeThatFailsThoughTheOldOneLivesLeavesOneConnection) {
  // Two challenges take four seconds, so no stage of a handshake times out.
  CrossingPlan plan = {
      .dials = kEachOther, .ticks = 2, .ticks_at_most = 2s, .ticks_at_any_time = true};
  Holds(plan, 250);
  for (const Dial& old : kEachOther) {
    plan.standing = {old};
    Holds(plan, 4'000);
  }
  if (!Deep()) return;
  plan.standing = {};
  plan.two_threads = true;
  Holds(plan, 20'000);
}

// A cut may leave none, if it hits the only one that the referee had accepted; then one dial more
// connects.
TEST(CrossingDials, ACutAtAnyMomentIsHealedByOneMoreDial) {
  Holds({.dials = kEachOther, .cuts = kEveryCut, .ticks = 12, .redial = true}, 10'000);
  for (const Dial& old : kEachOther) {
    Holds({.standing = {old}, .dials = kEachOther, .cuts = kEveryCut, .ticks = 12, .redial = true},
          30'000);
  }
}

// Every message may be later than every deadline: nothing is promised then but the rule, and that
// one more dial heals.
TEST(CrossingDials, HoweverSlowTheLinksAreTheRefereeNeverHasTwo) {
  Holds({.dials = kEachOther, .ticks = Deep() ? 4 : 2, .ticks_at_any_time = true, .redial = true},
        2'000);
  for (const Dial& old : kEachOther) {
    Holds({.standing = {old},
           .dials = {{old.to, old.from}},
           .ticks = 2,
           .ticks_at_any_time = true,
           .redial = true},
          300);
    Holds({.standing = {old},
           .dials = kEachOther,
           .ticks = Deep() ? 3 : 1,
           .ticks_at_any_time = true,
           .redial = true},
          3'000);
  }
}

TEST(CrossingDials, ThreeNodesWithOneSlotEachWayNeverExceedIt) {
  Holds({.nodes = 3,
         .dials = {{kA, kB}, {kB, kA}, {kC, kB}},
         .limits = {{1, 1}, {1, 1}, {1, 1}},
         .must_end_connected = false},
        1'000);
}

TEST(CrossingDials, TwoPairsThatShareANodeDoNotDisturbEachOther) {
  Holds({.nodes = 3, .dials = {{kA, kB}, {kB, kA}, {kC, kB}}}, 1'000);
  if (Deep()) Holds({.nodes = 3, .dials = {{kA, kB}, {kB, kA}, {kA, kC}, {kC, kA}}}, 400'000);
}

}  // namespace
}  // namespace helo::sim
