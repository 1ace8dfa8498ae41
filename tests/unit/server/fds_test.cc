// The descriptors of a running server: the limit falls and rises under it, on a virtual clock and
// with a kernel that says what the test wants.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <set>
#include <thread>

#include "p2p/base/testing/manual_clock.h"
#include "p2p/net/socket.h"
#include "tests/unit/server/test_node.h"

namespace helo {
namespace {

using namespace std::chrono_literals;
using testing::TestNode;

constexpr int kOutside = 10;
constexpr int kAmple = 53;  // everything that is asked for below
constexpr int kLeast = 45;  // what it cannot work with less of

peers::FdDemand Demand() {
  peers::FdDemand demand;
  demand.inbound = 8;
  demand.trusted = 1;
  demand.outbound = 2;
  demand.closing = 4;
  demand.admin = 2;
  demand.files = 16;
  demand.handshakes = 8;
  return demand;
}

class FdsTest : public ::testing::Test {
 protected:
  TestNode::Setup TightSetup() {
    TestNode::Setup setup{.key = 1};
    setup.clock = &clock_;
    setup.max_inbound = 8;
    setup.max_outbound = 2;
    setup.tls_timeout = 10h;  // the clock leaps
    setup.more = [](ServerOptions& options) { options.profile.times.ping_timeout = 10h; };
    setup.plan = *peers::PlanFds(Demand(), {kAmple, 4096, kOutside});
    setup.read_fds = [this](const peers::FdBudget& budget) {
      int open = kOutside + foreign_;
      for (int i = 0; i < kPoolKinds; ++i) open += budget.pool(static_cast<PoolKind>(i)).used();
      return peers::FdLimit{static_cast<uint64_t>(soft_.load()), 4096, open};
    };
    return setup;
  }
  // The node looks at its limit, which is now this.
  void Look(TestNode& node, int soft) {
    soft_ = soft;
    clock_.Advance(10s);
    node.History();            // wakes control, so that it sees the time
    node.History();            // answered a turn later, when the timer has fired
    node.server().Snapshot();  // behind the one by which it is chosen who goes
  }
  static int Limit(TestNode& node, PoolKind kind) { return node.fds().pool(kind).limit(); }
  static size_t Evicted(TestNode& node) {
    size_t evicted = 0;
    for (const Event& event : node.server().events().ReadAfter(0, 10000).events)
      evicted += event.close.reason == Reason::kEvicted ? 1 : 0;
    return evicted;
  }

  testing::ManualClock clock_;
  std::atomic<int> soft_{kAmple}, foreign_{0};
};

TEST_F(FdsTest, WhenTheLimitFallsTheLeastUsefulPeersAreToldAndTrustedOnesStay) {
  const NodeId trusted = testing::KeyOf(20).id();
  TestNode::Setup setup = TightSetup();
  setup.trusted = {trusted};
  TestNode node(std::move(setup));
  std::vector<std::unique_ptr<TestNode>> others;
  for (uint8_t key : {2, 3, 4, 5, 6, 7, 8, 9, 20}) {  // the trusted one is the youngest
    others.push_back(std::make_unique<TestNode>(
        TestNode::Setup{.key = key, .listen = "", .peers = {node.Address()}}));
    ASSERT_TRUE(node.WaitUp(others.back()->id()));
  }
  Look(node, kAmple);
  EXPECT_EQ(Evicted(node), 0u);

  Look(node, kLeast);
  std::set<NodeId> gone;
  ASSERT_TRUE(node.WaitFor([&](const Event& e) {
    if (e.kind == EventKind::kPeerClosed && e.close.reason == Reason::kEvicted) gone.insert(*e.id);
    return gone.size() == 4;
  }));
  EXPECT_EQ(Limit(node, PoolKind::kInbound), 5);
  size_t told = 0;
  for (const auto& other : others) {
    if (!gone.contains(other->id())) continue;
    const auto end = other->WaitEnd(Reason::kEvicted);
    ASSERT_TRUE(end);
    EXPECT_EQ(end->close.decider, Decider::kThem);
    EXPECT_EQ(end->close.retry_after_s, 20u);
    EXPECT_THAT(end->close.text, ::testing::HasSubstr("file descriptors"));
    ++told;
  }
  EXPECT_EQ(told, 4u);
  EXPECT_FALSE(gone.contains(trusted));
  Look(node, kLeast);
  EXPECT_EQ(Evicted(node), 4u) << "enough went the first time";

  // No room for a newcomer, until the limit rises.
  TestNode newcomer({.key = 30, .listen = ""});
  const auto refused = newcomer.Add(node.Address());
  ASSERT_TRUE(refused.ok());
  EXPECT_FALSE(refused->up);
  EXPECT_EQ(refused->close.reason, Reason::kFull);
  Look(node, kAmple);
  EXPECT_TRUE(node.WaitUp(newcomer.id()));
  EXPECT_EQ(Limit(node, PoolKind::kInbound), 9);
}

TEST_F(FdsTest, OutboundPeersMakeRoomTooAndAreDialedAgainWhenThereIsSome) {
  TestNode a({.key = 2}), b({.key = 3});
  TestNode::Setup setup = TightSetup();
  setup.peers = {a.Address(), b.Address()};
  TestNode node(std::move(setup));
  ASSERT_TRUE(node.WaitUp(a.id()) && node.WaitUp(b.id()));
  // What stands anyway, and no more: a listener, two loops, the operator's two, the spare one.
  Look(node, kOutside + 1 + 8 + 2 + 1);
  size_t gone = 0;
  ASSERT_TRUE(node.WaitFor([&](const Event& e) {
    return e.close.reason == Reason::kEvicted && e.close.decider == Decider::kUs && ++gone == 2;
  }));
  EXPECT_EQ(Limit(node, PoolKind::kOutbound), 0);
  EXPECT_TRUE(a.WaitEnd(Reason::kEvicted));
  while (node.fds().pool(PoolKind::kOutbound).used() > 0) std::this_thread::yield();
  clock_.Advance(30s);  // their time to rest is over, and still there is no room
  node.History();
  node.History();
  EXPECT_EQ(node.fds().pool(PoolKind::kOutbound).used(), 0);
  Look(node, kAmple);
  size_t back = 0;
  EXPECT_TRUE(node.WaitFor([&](const Event& e) {
    return e.kind == EventKind::kPeerUp && e.id == a.id() && ++back == 2;
  }));
}

TEST_F(FdsTest, WaitingHandshakesLoseTheOldestAndAcceptingResumesWhenTheLimitRises) {
  TestNode node(TightSetup());
  const auto call = [&] {
    net::ConnectStart start = net::StartConnect(node.at(), {});
    EXPECT_EQ(start.error, 0);
    return std::move(start.socket);
  };
  const auto hears = [](const net::Socket& socket, int patience_ms) {
    pollfd entry{socket.FdDoNotKeep(), POLLIN, 0};
    return ::poll(&entry, 1, patience_ms) == 1;
  };
  const auto waiting = [&](int n) { return node.fds().pool(PoolKind::kHandshake).used() == n; };
  std::vector<net::Socket> callers;
  for (int i = 1; i <= 8; ++i) {
    callers.push_back(call());
    while (!waiting(i)) std::this_thread::yield();
  }
  Look(node, kLeast);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(hears(callers[i], 20000)) << i;  // the alert
  while (!waiting(4)) std::this_thread::yield();  // the alert comes before the ticket is back
  for (size_t i = 4; i < 8; ++i) EXPECT_FALSE(hears(callers[i], 0)) << i;

  Look(node, kAmple);
  for (int i = 5; i <= 8; ++i) {
    callers.push_back(call());
    while (!waiting(i)) std::this_thread::yield();
  }
  for (size_t i = 4; i < 12; ++i) EXPECT_FALSE(hears(callers[i], 0)) << i;
}

TEST_F(FdsTest, ForeignDescriptorsAreShownAndSaidOnce) {
  TestNode node(TightSetup());
  const std::string line = "library or plugin";
  Look(node, kAmple);
  EXPECT_FALSE(node.log().Contains(line));
  foreign_ = 12;
  Look(node, 100);
  EXPECT_TRUE(node.WaitSnapshot([](const ServerSnapshot& s) { return s.fds.foreign == 12; }));
  EXPECT_TRUE(node.log().Contains(line));
  EXPECT_EQ(Limit(node, PoolKind::kFiles), node.fds().pool(PoolKind::kFiles).used());
  foreign_ = 14;
  const size_t before = node.log().Count(line);
  Look(node, 100);
  EXPECT_EQ(node.log().Count(line), before) << "two more are not noticeable";
}

TEST_F(FdsTest, TheSnapshotSaysWhatTheKernelSays) {
  TestNode node(TightSetup());
  Look(node, 50);
  const auto snapshot = node.server().Snapshot();
  EXPECT_EQ(snapshot->fds.soft, 50u);
  EXPECT_EQ(snapshot->fds.hard, 4096u);
  EXPECT_TRUE(snapshot->fds.reduced);
  EXPECT_THAT(snapshot->fds.sentences.front(), ::testing::HasSubstr("of 50."));
  EXPECT_TRUE(node.log().Contains("limit of file descriptors was changed"));
}

}  // namespace
}  // namespace helo
