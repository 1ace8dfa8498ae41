// How many peers fit into the descriptors: the sum always holds, and what was given up is said in
// plain words. Long: a case each.
#include "p2p/peers/fd_budget.h"

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_join.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace helo::peers {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

int Of(const FdPlan& plan, PoolKind kind) { return plan.pools[static_cast<size_t>(kind)]; }
FdPlan Plan(const FdDemand& demand, uint64_t soft, uint64_t hard, int open) {
  absl::StatusOr<FdPlan> plan = PlanFds(demand, {soft, hard, open});
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *plan : FdPlan{};
}
std::string Text(const FdPlan& plan) { return absl::StrJoin(plan.sentences, "\n"); }

TEST(PlanFds, WithRoomEveryPoolGetsWhatIsAskedAndHandshakesAQuarterOfTheRest) {
  const FdPlan plan = Plan({}, 1024, 1024, 10);
  EXPECT_EQ(Of(plan, PoolKind::kListener), 1);
  EXPECT_EQ(Of(plan, PoolKind::kInbound), 64);
  EXPECT_EQ(Of(plan, PoolKind::kOutbound), 16);
  EXPECT_EQ(Of(plan, PoolKind::kClosing), 64);
  EXPECT_EQ(Of(plan, PoolKind::kAdmin), 16);
  EXPECT_EQ(Of(plan, PoolKind::kFiles), 32);
  EXPECT_EQ(Of(plan, PoolKind::kSpare), 1);
  EXPECT_EQ(Of(plan, PoolKind::kHandshake), (1024 - 10 - 194) / 4);
  EXPECT_FALSE(plan.reduced);
  EXPECT_THAT(
      plan.sentences,
      ElementsAre(
          "File descriptors: 10 open outside the pools + 1 listener + 64 inbound peers + 16 "
          "outbound peers + 205 handshakes + 64 closing + 16 admin + 32 for files and plugins + 1 "
          "spare = 409 of 1024."));
}

TEST(PlanFds, HandshakesStayWithinTheirBounds) {
  EXPECT_EQ(Of(Plan({}, 204 + 64, 268, 10), PoolKind::kHandshake), 64);
  EXPECT_EQ(Of(Plan({}, 204 + 4 * 64 + 4, 500, 10), PoolKind::kHandshake), 65);
  EXPECT_EQ(Of(Plan({}, 204 + 4 * 4096, 20000, 10), PoolKind::kHandshake), 4096);
  EXPECT_EQ(Of(Plan({}, 1'000'000, 1'000'000, 10), PoolKind::kHandshake), 4096);
  FdDemand demand;
  demand.handshakes = 7;
  EXPECT_EQ(Of(Plan(demand, 1'000'000, 1'000'000, 10), PoolKind::kHandshake), 7);
}

TEST(PlanFds, TheLimitItAsksForIsTheOneWithWhichEverythingFits) {
  const FdDemand demand;
  const uint64_t want = WantedFds(demand, 10);
  const FdPlan plan = Plan(demand, want, want, 10);
  EXPECT_FALSE(plan.reduced);
  EXPECT_EQ(Of(plan, PoolKind::kHandshake), 4096);
  EXPECT_EQ(Of(Plan(demand, want - 1, want, 10), PoolKind::kHandshake), 4095);
}

TEST(PlanFds, ALimitNearTwoToTheThirtyOrInfiniteIsJustALargeOne) {
  for (uint64_t limit : {uint64_t{1} << 30, (uint64_t{1} << 30) + 7, ~uint64_t{0}}) {
    const FdPlan plan = Plan({}, limit, limit, 10);
    EXPECT_FALSE(plan.reduced);
    EXPECT_EQ(plan.total, 10 + 194 + 4096);
  }
}

TEST(PlanFds, SixtyFourDescriptorsAreWorkable) {
  const FdPlan plan = Plan({}, 64, 64, 12);
  EXPECT_TRUE(plan.reduced);
  EXPECT_LE(plan.total, 64);
  EXPECT_EQ(Of(plan, PoolKind::kListener), 1);
  EXPECT_GE(Of(plan, PoolKind::kInbound), 8);
  EXPECT_GE(Of(plan, PoolKind::kOutbound), 4);
  EXPECT_GE(Of(plan, PoolKind::kHandshake), 4);
  EXPECT_GE(Of(plan, PoolKind::kClosing), 4);
  EXPECT_GE(Of(plan, PoolKind::kAdmin), 2);
  EXPECT_GE(Of(plan, PoolKind::kFiles), 22);
  EXPECT_EQ(Of(plan, PoolKind::kSpare), 1);
}

TEST(PlanFds, AReducedPlanSaysWhatWasGivenUpAndHowToRaiseTheLimit) {
  const FdPlan plan = Plan({}, 128, 512, 10);
  ASSERT_GE(plan.sentences.size(), 2u);
  EXPECT_THAT(plan.sentences[0], AllOf(HasSubstr("File descriptors:"), HasSubstr("= 128 of 128.")));
  EXPECT_THAT(plan.sentences[1], AllOf(HasSubstr("less than configured"),
                                       HasSubstr("which needs 268"), HasSubstr("inbound peers"),
                                       HasSubstr("instead of 64"), Not(HasSubstr("listeners"))));
  EXPECT_THAT(Text(plan),
              AllOf(HasSubstr("`ulimit -n 268` in the shell"), HasSubstr("LimitNOFILE=268"),
                    HasSubstr("ulimits"), HasSubstr("docker")));
  for (const std::string& sentence : plan.sentences)
    EXPECT_EQ(sentence.find('\n'), std::string::npos) << sentence;
}

TEST(PlanFds, WhereTheHardLimitIsTheObstacleItNamesWhoCanRaiseIt) {
  const FdPlan plan = Plan({}, 128, 128, 10);
  EXPECT_THAT(Text(plan),
              AllOf(HasSubstr("hard limit is 128"), HasSubstr("root"),
                    HasSubstr("/etc/security/limits.conf"), HasSubstr("hard nofile 268")));
}

TEST(PlanFds, BelowTheWorkingMinimumItRefusesAndNamesTheMinimum) {
  const FdDemand least = LeastFds({});
  const int sum = least.listeners + least.inbound + least.outbound + least.closing + least.admin +
                  least.files + least.spare + least.handshakes;
  const uint64_t enough = static_cast<uint64_t>(sum + 10);
  EXPECT_TRUE(PlanFds({}, {enough, enough, 10}).ok());
  const absl::StatusOr<FdPlan> plan = PlanFds({}, {enough - 1, enough - 1, 10});
  ASSERT_EQ(plan.status().code(), absl::StatusCode::kFailedPrecondition);
  const std::string message(plan.status().message());
  EXPECT_THAT(message, AllOf(HasSubstr(std::to_string(enough) + " are needed"),
                             HasSubstr("ulimit -n"), HasSubstr("/etc/security/limits.conf"),
                             HasSubstr("LimitNOFILE="), HasSubstr("ulimits")));
  EXPECT_FALSE(PlanFds({}, {5, 5, 10}).ok()) << "more open than the limit allows";
}

TEST(PlanFds, ASmallDemandIsItsOwnMinimum) {
  FdDemand demand;
  demand.listeners = 0;
  demand.inbound = 0;
  demand.outbound = 1;
  demand.handshakes = 1;
  demand.closing = 1;
  demand.admin = 0;
  demand.files = 3;
  const FdPlan plan = Plan(demand, 17, 17, 10);
  EXPECT_FALSE(plan.reduced);
  EXPECT_EQ(plan.total, 17);
  EXPECT_FALSE(PlanFds(demand, {16, 16, 10}).ok());
}

// Whatever the limit: the sum fits, nobody gets less than the minimum or more than asked, and more
// room never means fewer of anything.
TEST(PlanFds, EveryLimitGivesASumThatFitsAndNeverShrinksWithMoreRoom) {
  for (FdDemand demand : {FdDemand{}, FdDemand{.listeners = 3, .inbound = 1000, .outbound = 200},
                          FdDemand{.inbound = 0, .handshakes = 500}}) {
    const FdDemand least = LeastFds(demand);
    FdPlan before;
    bool any = false;
    for (uint64_t limit = 0; limit < 3000; ++limit) {
      const absl::StatusOr<FdPlan> plan = PlanFds(demand, {limit, limit, 9});
      if (!plan.ok()) {
        ASSERT_FALSE(any) << "workable with less, but not with " << limit;
        continue;
      }
      ASSERT_LE(static_cast<uint64_t>(plan->total), limit);
      ASSERT_EQ(std::accumulate(plan->pools.begin(), plan->pools.end(), 9), plan->total);
      if (plan->reduced) {
        ASSERT_EQ(static_cast<uint64_t>(plan->total), limit) << "room left unused";
      }
      ASSERT_GE(Of(*plan, PoolKind::kInbound), least.inbound);
      ASSERT_LE(Of(*plan, PoolKind::kInbound), demand.inbound);
      ASSERT_GE(Of(*plan, PoolKind::kFiles), least.files);
      ASSERT_EQ(Of(*plan, PoolKind::kListener), demand.listeners);
      for (PoolKind kind : {PoolKind::kInbound, PoolKind::kOutbound, PoolKind::kHandshake}) {
        // Rounding may move one between pools.
        if (any) {
          ASSERT_GE(Of(*plan, kind) + 1, Of(before, kind)) << limit << " " << ToString(kind);
        }
      }
      before = *plan;
      any = true;
    }
    EXPECT_TRUE(any);
  }
}

TEST(PlanFds, PeersAreGivenUpLast) {
  const FdPlan plan = Plan({}, 200, 200, 10);
  EXPECT_EQ(Of(plan, PoolKind::kInbound), 64);
  EXPECT_EQ(Of(plan, PoolKind::kOutbound), 16);
  EXPECT_LT(Of(plan, PoolKind::kHandshake), 64);
  EXPECT_LT(Of(plan, PoolKind::kClosing), 64);
}

TEST(ReadFdLimit, CountsTheDescriptorsThatAreOpen) {
  const absl::StatusOr<FdLimit> before = ReadFdLimit();
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_LE(before->soft, before->hard);
  EXPECT_LE(before->hard, uint64_t{1} << 30);
  int counted = 0;
  const int most = static_cast<int>(std::min<uint64_t>(before->soft, 65536));
  for (int fd = 0; fd < most; ++fd) counted += fcntl(fd, F_GETFD) != -1 ? 1 : 0;
  EXPECT_EQ(before->open_now, counted);
  const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const absl::StatusOr<FdLimit> after = ReadFdLimit();
  close(fd);
  EXPECT_EQ(after->open_now, before->open_now + 1);
}

TEST(RaiseFdLimit, RaisesOnlyAsFarAsWantedAndNeverLowers) {
  rlimit saved{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &saved), 0);
  const auto restore = absl::MakeCleanup([&] { setrlimit(RLIMIT_NOFILE, &saved); });
  if (saved.rlim_max < 200) GTEST_SKIP() << "the hard limit here is " << saved.rlim_max;
  rlimit low = saved;
  low.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(RaiseFdLimit(150)->soft, 150u);
  EXPECT_EQ(RaiseFdLimit(120)->soft, 150u);
}

TEST(RaiseFdLimit, StopsAtTheHardLimitWithoutAnError) {
  // In a child, because only root could raise the hard limit again.
  EXPECT_EXIT(
      {
        rlimit low{};
        low.rlim_cur = 100;
        low.rlim_max = 110;
        if (setrlimit(RLIMIT_NOFILE, &low) != 0) _exit(3);
        const absl::StatusOr<FdLimit> limit = RaiseFdLimit(5000);
        if (!limit.ok()) _exit(4);
        _exit(limit->soft == 110 && limit->hard == 110 ? 0 : 5);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(PlanFds, TrustedIdsAreCountedAboveTheInboundSlots) {
  FdDemand demand;
  demand.trusted = 6;
  const FdPlan plenty = Plan(demand, 1024, 1024, 10);
  EXPECT_EQ(Of(plenty, PoolKind::kInbound), 70);
  EXPECT_EQ(plenty.max_inbound, 64);
  EXPECT_EQ(plenty.max_outbound, 16);
  // With less, each gets its share, and neither all of it.
  demand.trusted = 64;
  const FdPlan less = Plan(demand, 150, 150, 10);
  EXPECT_TRUE(less.reduced);
  EXPECT_NEAR(less.max_inbound, Of(less, PoolKind::kInbound) / 2.0, 0.5);
}

TEST(PlanFds, EveryFurtherLoopNeedsItsOwnDescriptors) {
  FdDemand demand;
  demand.loops = 5;
  EXPECT_EQ(Of(Plan(demand, 1024, 1024, 10), PoolKind::kFiles), 32 + 4 * 4);
  EXPECT_EQ(Of(Plan(demand, 76, 76, 10), PoolKind::kFiles), 22 + 4 * 4);
}

TEST(SqueezeFds, IsThePlanWhereThereIsOne) {
  for (uint64_t limit : {64, 200, 1024}) {
    const FdPlan plan = SqueezeFds({}, {limit, limit, 12}, {});
    EXPECT_EQ(plan.pools, Plan({}, limit, limit, 12).pools);
    EXPECT_FALSE(plan.too_low);
  }
}

TEST(PlanFds, WhatIsNotUsedIsGivenUpBeforeAPeerIs) {
  std::array<int, kPoolKinds> used{};
  used[static_cast<size_t>(PoolKind::kInbound)] = 60;
  // 42 is the least of everything; 56 more than the least of inbound.
  const auto plan = PlanFds({}, {10 + 42 + 56, 4096, 10}, used);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(Of(*plan, PoolKind::kInbound), 60);
  EXPECT_EQ(Of(*plan, PoolKind::kOutbound), 4);
  const auto less = PlanFds({}, {10 + 42 + 50, 4096, 10}, used);
  EXPECT_EQ(Of(*less, PoolKind::kInbound), 54) << "the least of the others stays";
  const auto more = PlanFds({}, {10 + 42 + 70, 4096, 10}, used);
  EXPECT_GE(Of(*more, PoolKind::kInbound), 60);
  EXPECT_GT(Of(*more, PoolKind::kOutbound), 4);
  used[static_cast<size_t>(PoolKind::kInbound)] = 1000;
  EXPECT_EQ(Of(*PlanFds({}, {5000, 5000, 10}, used), PoolKind::kInbound), 64)
      << "never more than configured";
}

TEST(SqueezeFds, BelowTheMinimumThePeersThatAreThereStayAsLongAsTheyFit) {
  std::array<int, kPoolKinds> used{};
  used[static_cast<size_t>(PoolKind::kInbound)] = 12;
  used[static_cast<size_t>(PoolKind::kFiles)] = 18;
  const FdPlan fits = SqueezeFds({}, {12 + 22 + 12 + 3, 4096, 12}, used);
  EXPECT_TRUE(fits.too_low);
  EXPECT_EQ(Of(fits, PoolKind::kInbound), 12);
  EXPECT_EQ(fits.total, 12 + 22 + 12 + 3);
  const FdPlan less = SqueezeFds({}, {12 + 22 + 5, 4096, 12}, used);
  EXPECT_EQ(Of(less, PoolKind::kInbound), 5);
  EXPECT_EQ(Of(less, PoolKind::kAdmin), 2);
}

TEST(SqueezeFds, BelowTheMinimumTheOperatorComesFirstAndPeersShareTheRest) {
  std::array<int, kPoolKinds> used{};
  used[static_cast<size_t>(PoolKind::kFiles)] = 32;
  for (int limit = 0; limit < 54; ++limit) {
    const FdPlan plan = SqueezeFds({}, {static_cast<uint64_t>(limit), 1024, 12}, used);
    ASSERT_TRUE(plan.too_low) << limit;
    EXPECT_EQ(Of(plan, PoolKind::kListener), 1);
    EXPECT_EQ(Of(plan, PoolKind::kAdmin), 2);
    EXPECT_EQ(Of(plan, PoolKind::kFiles), 22);
    const int peers = Of(plan, PoolKind::kInbound) + Of(plan, PoolKind::kOutbound) +
                      Of(plan, PoolKind::kHandshake) + Of(plan, PoolKind::kClosing);
    EXPECT_EQ(peers, std::clamp(limit - 12 - 26, 0, 15)) << limit;
    EXPECT_THAT(Text(plan), AllOf(HasSubstr("too low to work with"), HasSubstr("goes on")));
  }
}

// A node at work: what it has open beside its tickets, and tickets in one pool.
class Running {
 public:
  explicit Running(const FdPlan& plan) : budget_(plan), limit_{plan.limit, 4096, plan.outside} {}
  FdBudget& budget() { return budget_; }
  int Limit(PoolKind kind) { return budget_.pool(kind).limit(); }
  void Take(PoolKind kind, int n) {
    for (; n > 0; --n) {
      tickets_.push_back(*budget_.pool(kind).TryTake());
      ++limit_.open_now;
    }
  }
  // They close, but the count was taken before.
  void CloseUncounted(int n) { tickets_.resize(tickets_.size() - static_cast<size_t>(n)); }
  void OpenWithoutTicket(int n) { limit_.open_now += n; }
  FdChange Adjust(uint64_t soft) {
    limit_.soft = soft;
    return budget_.Adjust(limit_);
  }
  void Settle() { budget_.SettleOwn(limit_); }
  int Promised() {  // what may be open if every pool is used up
    int sum = budget_.plan().outside;
    for (int i = 0; i < kPoolKinds; ++i) sum += Limit(static_cast<PoolKind>(i));
    return sum;
  }

 private:
  FdBudget budget_;
  FdLimit limit_;
  std::vector<FdTicket> tickets_;
};

TEST(FdBudget, WhatLibrariesOpenedAtStartIsTheNodesOwnAndChargedToFiles) {
  Running node(Plan({}, 1024, 4096, 10));
  node.Take(PoolKind::kFiles, 9);
  node.OpenWithoutTicket(7);
  node.Settle();
  EXPECT_EQ(node.budget().status().own, 7);
  EXPECT_EQ(node.budget().status().foreign, 0);
  EXPECT_EQ(node.budget().status().open_now, 26);
  EXPECT_EQ(node.Limit(PoolKind::kFiles), 32 - 7);
  EXPECT_EQ(node.Limit(PoolKind::kInbound), 64);
}

TEST(FdBudget, ForeignDescriptorsTakeFromFilesFirstAndThenFromEverybody) {
  Running node(Plan({}, 300, 4096, 10));
  node.Settle();
  node.OpenWithoutTicket(30);
  node.Adjust(300);
  EXPECT_EQ(node.budget().status().foreign, 30);
  EXPECT_EQ(node.Limit(PoolKind::kFiles), 2);
  EXPECT_FALSE(node.budget().status().reduced);
  node.OpenWithoutTicket(150);
  EXPECT_TRUE(node.Adjust(300).pools_fell);
  EXPECT_EQ(node.budget().status().foreign, 180);
  EXPECT_EQ(node.Limit(PoolKind::kFiles), 0);
  EXPECT_TRUE(node.budget().status().reduced);
  EXPECT_LT(node.Limit(PoolKind::kInbound), 64);
  EXPECT_LE(node.Promised(), 300);
  node.OpenWithoutTicket(-180);
  EXPECT_TRUE(node.Adjust(300).pools_rose);
  EXPECT_EQ(node.Limit(PoolKind::kFiles), 32);
  EXPECT_EQ(node.Limit(PoolKind::kInbound), 64);
}

TEST(FdBudget, WhatClosesWhileItIsCountedIsNotForeign) {
  Running node(Plan({}, 1024, 4096, 10));
  node.Settle();
  node.Take(PoolKind::kHandshake, 50);
  node.budget().AboutToCount();
  node.CloseUncounted(40);
  node.Adjust(1024);
  EXPECT_EQ(node.budget().status().foreign, 0);
  EXPECT_EQ(node.Limit(PoolKind::kFiles), 32);
  node.OpenWithoutTicket(3 - 40);
  node.budget().AboutToCount();
  node.Adjust(1024);
  EXPECT_EQ(node.budget().status().foreign, 3);
}

TEST(FdBudget, ThePoolsFollowTheLimitDownAndUpAgain) {
  Running node(Plan({}, 1024, 4096, 10));
  node.Settle();
  node.Take(PoolKind::kInbound, 50);
  const FdChange same = node.Adjust(1024);
  EXPECT_FALSE(same.limit_changed || same.pools_fell || same.pools_rose);
  const FdChange fell = node.Adjust(95);
  EXPECT_TRUE(fell.limit_changed && fell.pools_fell);
  EXPECT_FALSE(fell.pools_rose);
  EXPECT_EQ(fell.soft_before, 1024u);
  EXPECT_EQ(node.Promised(), 95);
  EXPECT_LT(node.Limit(PoolKind::kInbound), 50);
  EXPECT_EQ(node.budget().pool(PoolKind::kInbound).used(), 50) << "nobody loses a ticket by it";
  EXPECT_FALSE(node.budget().pool(PoolKind::kInbound).TryTake());
  EXPECT_THAT(
      absl::StrJoin(node.budget().status().sentences, "\n"),
      AllOf(HasSubstr("= 95 of 95"), HasSubstr("prlimit --pid"), HasSubstr("60 were open")));
  const FdChange rose = node.Adjust(1024);
  EXPECT_TRUE(rose.limit_changed && rose.pools_rose);
  EXPECT_FALSE(rose.pools_fell);
  EXPECT_EQ(node.Limit(PoolKind::kInbound), 64);
  EXPECT_TRUE(node.budget().pool(PoolKind::kInbound).TryTake());
}

// Whatever happens: every look leaves pools that fit, unless not even the least does.
TEST(FdBudget, AfterEveryLookWhatIsPromisedFits) {
  Running node(Plan({}, 256, 4096, 10));
  node.Take(PoolKind::kFiles, 9);
  node.OpenWithoutTicket(6);
  node.Settle();
  for (int step = 0; step < 2000; ++step) {
    if (step % 7 == 0) node.OpenWithoutTicket(step % 3 == 0 ? -5 : 5);
    const uint64_t soft = static_cast<uint64_t>(20 + step * 37 % 500);
    node.Adjust(soft);
    if (!node.budget().plan().too_low) {
      ASSERT_LE(node.Promised(), static_cast<int>(soft)) << step;
    }
  }
}

TEST(FdReader, CountsTheSameEitherWay) {
  std::vector<int> more;
  for (int i = 0; i < 20; ++i) more.push_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto by_name = FdReader::Open({}, /*by_name=*/true);
  auto as_it_comes = FdReader::Open({});
  ASSERT_TRUE(by_name.ok() && as_it_comes.ok());
  for (int fd : more) {
    EXPECT_EQ((*by_name)->Read()->open_now, (*as_it_comes)->Read()->open_now);
    close(fd);
  }
}

TEST(FdReader, ReadsWhenNotOneMoreDescriptorIsToBeHad) {
  for (const bool by_name : {false, true})
    EXPECT_EXIT(
        {
          auto reader = FdReader::Open({}, by_name);
          if (!reader.ok()) _exit(3);
          const absl::StatusOr<FdLimit> before = (*reader)->Read();
          rlimit none{};
          getrlimit(RLIMIT_NOFILE, &none);
          none.rlim_cur = 0;
          if (setrlimit(RLIMIT_NOFILE, &none) != 0) _exit(4);
          if (open("/dev/null", O_RDONLY) >= 0) _exit(5);
          if (ReadFdLimit().ok()) _exit(6);
          const absl::StatusOr<FdLimit> after = (*reader)->Read();
          if (!after.ok() || !before.ok()) _exit(7);
          _exit(after->soft == 0 && after->open_now == before->open_now ? 0 : 8);
        },
        ::testing::ExitedWithCode(0), "")
        << by_name;
}

TEST(FdBudget, MakesThePoolsOfThePlan) {
  const FdPlan plan = Plan({}, 64, 64, 12);
  FdBudget budget(plan);
  for (int i = 0; i < kPoolKinds; ++i) {
    const PoolKind kind = static_cast<PoolKind>(i);
    EXPECT_EQ(budget.pool(kind).kind(), kind);
    EXPECT_EQ(budget.pool(kind).limit(), Of(plan, kind));
  }
}

}  // namespace
}  // namespace helo::peers
