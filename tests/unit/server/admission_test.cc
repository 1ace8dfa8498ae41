// Who gets in, who does not, and what both sides are told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/test_node.h"

namespace helo {
namespace {

using testing::TestNode;

bool IsPeerClosed(const Event& e) { return e.kind == EventKind::kPeerClosed; }

class Families : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(Families, TwoNodesShakeHands) {
  TestNode a({.key = 1, .listen = GetParam().first});
  const std::string host = GetParam().second;
  TestNode b(
      {.key = 2,
       .listen = "",
       .peers = {"helo://" + a.id().ToHex() + "@" + host + ":" + std::to_string(a.at().port)}});
  ASSERT_TRUE(a.WaitUp(b.id()));
  ASSERT_TRUE(b.WaitUp(a.id()));
  ASSERT_TRUE(a.WaitSnapshot([](const ServerSnapshot& s) { return s.peers.size() == 1; }));
  const PeerSnapshot at_a = a.server().Snapshot()->peers.at(0);
  EXPECT_EQ(at_a.direction, Direction::kInbound);
  EXPECT_EQ(at_a.user_agent, "test/2");
  EXPECT_THAT(at_a.capabilities.shared, ::testing::ElementsAre("echo/1"));
  EXPECT_GE(at_a.fd, 0);
  ASSERT_TRUE(b.WaitSnapshot([](const ServerSnapshot& s) { return s.peers.size() == 1; }));
  const PeerSnapshot at_b = b.server().Snapshot()->peers.at(0);
  EXPECT_EQ(at_b.direction, Direction::kOutbound);
  EXPECT_EQ(at_b.remote, at_a.local);
  EXPECT_EQ(at_b.local, at_a.remote);
  EXPECT_TRUE(at_b.is_static);
}

INSTANTIATE_TEST_SUITE_P(
    Loopback, Families,
    ::testing::Values(std::pair{"127.0.0.1:0", "127.0.0.1"}, std::pair{"tcp4://:0", "127.0.0.1"},
                      std::pair{"[::1]:0", "[::1]"}, std::pair{"tcp6://:0", "[::1]"},
                      std::pair{"tcp://:0", "127.0.0.1"}, std::pair{"tcp://:0", "[::1]"}));

TEST(Admission, SeveralLoopsServeSeveralPeers) {
  TestNode a({.key = 1, .loops = 3});
  std::vector<std::unique_ptr<TestNode>> others;
  for (uint8_t i = 2; i < 8; ++i) {
    others.push_back(std::make_unique<TestNode>(
        TestNode::Setup{.key = i, .listen = "", .peers = {a.Address()}, .loops = 2}));
  }
  for (const auto& other : others) EXPECT_TRUE(a.WaitUp(other->id()));
  ASSERT_TRUE(a.WaitSnapshot([](const ServerSnapshot& s) { return s.peers.size() == 6; }));
  EXPECT_EQ(a.server().Snapshot()->inbound, 6);
}

TEST(Admission, AnotherNetworkIsRefusedAndBothSidesKnowWhy) {
  TestNode a({.key = 1});
  TestNode b({.key = 2, .listen = "", .network = "elsewhere"});
  const auto added = b.Add(a.Address());
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_FALSE(added->up);
  EXPECT_EQ(added->close.reason, Reason::kWrongNetwork);
  EXPECT_EQ(added->close.decider, Decider::kThem);
  const auto at_a = a.WaitEnd(Reason::kWrongNetwork);
  ASSERT_TRUE(at_a);
  EXPECT_EQ(at_a->close.decider, Decider::kUs);
  EXPECT_EQ(at_a->id, b.id());
}

TEST(Admission, AnotherGenesisIsRefused) {
  TestNode a({.key = 1, .genesis = {1, 2, 3}});
  TestNode b({.key = 2, .listen = "", .genesis = {9}});
  TestNode unset({.key = 3, .listen = ""});
  EXPECT_EQ(b.Add(a.Address())->close.reason, Reason::kWrongGenesis);
  EXPECT_TRUE(unset.Add(a.Address())->up);
}

TEST(Admission, ANodeThatDialsItselfNotices) {
  TestNode a({.key = 1});
  const auto added = a.Add(a.Address(/*with_id=*/false));
  ASSERT_TRUE(added.ok());
  EXPECT_FALSE(added->up);
  EXPECT_EQ(added->close.reason, Reason::kSelf);
  // Refused at once when it can be seen from the address.
  EXPECT_FALSE(a.Add(a.Address()).ok());
}

TEST(Admission, AnotherKeyThanTheOneAskedForIsRefusedByTheDialer) {
  TestNode a({.key = 1});
  TestNode b({.key = 2, .listen = ""});
  const auto added = b.Add("helo://" + testing::KeyOf(9).id().ToHex() + "@" + a.at().ToString());
  EXPECT_EQ(added->close.reason, Reason::kUnexpectedId);
  EXPECT_EQ(added->close.decider, Decider::kUs);
  const auto at_a = a.WaitEnd(Reason::kUnexpectedId);
  ASSERT_TRUE(at_a);
  EXPECT_EQ(at_a->close.decider, Decider::kThem);
}

TEST(Admission, AFullNodeSaysSoAndATrustedPeerGetsInAllTheSame) {
  const NodeId trusted = testing::KeyOf(4).id();
  TestNode a({.key = 1, .trusted = {trusted}, .max_inbound = 1});
  TestNode b({.key = 2, .listen = "", .peers = {a.Address()}});
  ASSERT_TRUE(a.WaitUp(b.id()));
  TestNode c({.key = 3, .listen = ""});
  const auto refused = c.Add(a.Address());
  EXPECT_EQ(refused->close.reason, Reason::kFull);
  EXPECT_EQ(refused->close.stage, Stage::kVerdict);
  TestNode d({.key = 4, .listen = ""});
  EXPECT_TRUE(d.Add(a.Address())->up);
}

TEST(Admission, CrossingDialsEndWithOneConnection) {
  TestNode a({.key = 1, .listen = "127.0.0.1:0"});
  TestNode b({.key = 2, .peers = {a.Address()}});
  a.Add(b.Address(), /*wait=*/false).IgnoreError();
  ASSERT_TRUE(a.WaitUp(b.id()));
  ASSERT_TRUE(b.WaitUp(a.id()));
  // Both settle on the same single connection.
  EXPECT_TRUE(a.WaitSnapshot([&](const ServerSnapshot& at_a) {
    auto at_b = b.server().Snapshot();
    return at_a.peers.size() == 1 && at_b->peers.size() == 1 &&
           at_a.peers[0].local == at_b->peers[0].remote;
  }));
}

TEST(Admission, ADroppedPeerStaysAwayInBothDirectionsAndComesBack) {
  TestNode a({.key = 1});
  TestNode b({.key = 2, .peers = {a.Address()}});
  ASSERT_TRUE(a.WaitUp(b.id()));
  const auto dropped = a.Drop(b.id(), std::chrono::milliseconds(1500), "making room");
  ASSERT_TRUE(dropped.ok()) << dropped.status();
  EXPECT_EQ(dropped->connections_closed, 1);
  EXPECT_FALSE(a.Lists(b.id()));
  const auto at_b = b.WaitFor(IsPeerClosed);
  ASSERT_TRUE(at_b);
  EXPECT_EQ(at_b->close.reason, Reason::kDropped);
  EXPECT_EQ(at_b->close.text, "making room");
  EXPECT_EQ(at_b->close.retry_after_s, 2u);
  // A stubborn one that dials at once is told BANNED; a third, uninvolved, gets in.
  TestNode again({.key = 2, .listen = ""});
  const auto refused = again.Add(a.Address());
  EXPECT_EQ(refused->close.reason, Reason::kBanned);
  EXPECT_EQ(refused->close.text, "making room");
  // b's static dial finds its way back once the time is over.
  EXPECT_TRUE(a.WaitSnapshot(
      [&](const ServerSnapshot& s) { return s.peers.size() == 1 && s.peers[0].id == b.id(); }));
}

TEST(Admission, DroppingAStaticPeerPausesItsDialing) {
  TestNode a({.key = 1});
  TestNode b({.key = 2, .listen = "", .peers = {a.Address()}});
  ASSERT_TRUE(b.WaitUp(a.id()));
  const auto dropped = b.Drop(a.id(), std::chrono::hours(1));
  ASSERT_TRUE(dropped.ok());
  EXPECT_EQ(dropped->targets_paused, 1);
  const auto snapshot = b.server().Snapshot();
  ASSERT_EQ(snapshot->targets.size(), 1u);
  EXPECT_GT(snapshot->targets[0].paused_until, RealClock().Now() + std::chrono::minutes(59));
  ASSERT_EQ(snapshot->away.size(), 1u);
  // Letting it back at once.
  ASSERT_TRUE(b.Drop(a.id(), Duration{}).ok());
  EXPECT_TRUE(b.WaitSnapshot([](const ServerSnapshot& s) { return s.peers.size() == 1; }));
}

TEST(Admission, AStaticPeerThatCameByItselfIsDialedSoonAfterItLeft) {
  // a knows b's address, but b comes first: while it is here a stands back, and looks again after
  // 30 s at the latest, which is longer than this test waits.
  TestNode a({.key = 1});
  auto b = std::make_unique<TestNode>(TestNode::Setup{.key = 2, .peers = {a.Address()}});
  const std::string address = b->at().ToString();
  ASSERT_TRUE(a.WaitUp(b->id()));
  // Asked for without an id, so that a must learn from the refusal whose connection it is.
  ASSERT_TRUE(a.Add(b->Address(/*with_id=*/false)).ok());
  ASSERT_TRUE(a.WaitSnapshot([](const ServerSnapshot& s) { return s.targets.at(0).deferred; }));
  b.reset();
  TestNode again({.key = 2, .listen = address});
  EXPECT_TRUE(a.WaitSnapshot([&](const ServerSnapshot& s) {
    return s.peers.size() == 1 && s.peers[0].direction == Direction::kOutbound;
  }));
}

TEST(Admission, APeerThatCouldNotBeSavedIsNotAdded) {
  TestNode a({.key = 1});  // without a place to save to
  std::promise<absl::Status> answer;
  a.server().AddPeer(*PeerAddress::Parse("helo://127.0.0.1:1"), /*saved=*/true, /*wait=*/false,
                     [&](const absl::StatusOr<AddResult>& r) { answer.set_value(r.status()); });
  EXPECT_TRUE(absl::IsFailedPrecondition(answer.get_future().get()));
  EXPECT_TRUE(a.server().Snapshot()->targets.empty());
}

TEST(Admission, APeerThatIsDialedAlreadyIsNotMarkedSavedWhenSavingFails) {
  TestNode a({.key = 1});
  TestNode b({.key = 2});
  ASSERT_TRUE(a.Add(b.Address())->up);
  std::promise<absl::Status> answer;
  a.server().AddPeer(*PeerAddress::Parse(b.Address()), /*saved=*/true, /*wait=*/false,
                     [&](const absl::StatusOr<AddResult>& r) { answer.set_value(r.status()); });
  EXPECT_TRUE(absl::IsFailedPrecondition(answer.get_future().get()));
  ASSERT_TRUE(a.WaitSnapshot([](const ServerSnapshot& s) { return s.targets.size() == 1; }));
  EXPECT_FALSE(a.server().Snapshot()->targets.at(0).saved);
}

TEST(Admission, DroppingAPeerEndsTheDialThatIsUnderWay) {
  // Accepts, by the kernel's hand, and says nothing.
  FdPool pool(PoolKind::kListener, 1);
  auto silent = net::Listener::Open(*ListenAddress::Parse("127.0.0.1:0"), 8,
                                    std::move(*pool.TryTake()), NullLog());
  ASSERT_TRUE(silent.ok()) << silent.status();
  const NodeId id = testing::KeyOf(9).id();
  TestNode a({.key = 1,
              .listen = "",
              .peers = {"helo://" + id.ToHex() + "@" + silent->local().ToString()},
              .tls_timeout = std::chrono::minutes(10)});
  ASSERT_TRUE(a.WaitSnapshot([](const ServerSnapshot& s) { return s.targets.at(0).trying; }));
  ASSERT_TRUE(a.Drop(id, std::chrono::hours(1), "not now").ok());
  EXPECT_TRUE(a.WaitEnd(Reason::kBanned));
  EXPECT_FALSE(a.server().Snapshot()->targets.at(0).trying);
}

TEST(Admission, AnUnknownPeerCannotBeDropped) {
  TestNode a({.key = 1});
  EXPECT_TRUE(absl::IsNotFound(a.Drop(testing::KeyOf(9).id(), std::chrono::hours(1)).status()));
}

TEST(Admission, RemoveUndoesAdd) {
  TestNode a({.key = 1});
  TestNode b({.key = 2, .listen = ""});
  ASSERT_TRUE(b.Add(a.Address())->up);
  EXPECT_TRUE(absl::IsNotFound(b.Remove("helo://127.0.0.1:1", false)));
  ASSERT_TRUE(b.Remove(a.Address(), /*disconnect=*/true).ok());
  ASSERT_TRUE(b.WaitFor(IsPeerClosed));
  EXPECT_TRUE(b.server().Snapshot()->targets.empty());
  TestNode fixed({.key = 3, .listen = "", .peers = {a.Address()}});
  EXPECT_TRUE(absl::IsFailedPrecondition(fixed.Remove(a.Address(), false)));
}

TEST(Admission, RemoveWithDisconnectClosesThePeerAlsoIfItCameByItself) {
  TestNode a({.key = 1});
  TestNode b({.key = 2, .max_outbound = 1, .more = [](ServerOptions& options) {
                options.dial_times.backoff_first = std::chrono::hours(1);
                options.dial_times.backoff_most = std::chrono::hours(1);
              }});
  ASSERT_TRUE(b.Add(a.Address())->up);
  // a knows b's address, and b is here already.
  ASSERT_TRUE(a.Add(b.Address())->up);
  ASSERT_EQ(a.server().Snapshot()->peers.at(0).direction, Direction::kInbound);
  ASSERT_TRUE(a.Remove(b.Address(), /*disconnect=*/true).ok());
  EXPECT_TRUE(b.WaitEnd(Reason::kDropped));
  EXPECT_TRUE(a.WaitSnapshot([](const ServerSnapshot& s) { return s.peers.empty(); }));
}

TEST(Admission, HistoryTellsStageReasonAndDecider) {
  TestNode a({.key = 1});
  TestNode b({.key = 2, .listen = ""});
  ASSERT_TRUE(b.Add(a.Address())->up);
  // A port that nobody listens on.
  EXPECT_EQ(b.Add("helo://127.0.0.1:1")->close.reason, Reason::kRefused);
  const std::vector<peers::Attempt> history = b.History();
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].close.reason, Reason::kRefused);
  EXPECT_EQ(history[0].stage, Stage::kConnect);
  EXPECT_EQ(history[0].close.decider, Decider::kNetwork);
  EXPECT_TRUE(history[1].still_up);
  EXPECT_EQ(history[1].id, a.id());
  EXPECT_GT(history[1].spent[static_cast<size_t>(Stage::kTls)].count(), 0);
  ASSERT_TRUE(b.Drop(a.id(), std::chrono::hours(1)).ok());
  peers::AttemptHistory::Query of_a;
  of_a.id = a.id();
  const std::vector<peers::Attempt> after = b.History(of_a);
  ASSERT_EQ(after.size(), 1u);
  EXPECT_FALSE(after[0].still_up);
  EXPECT_TRUE(after[0].was_up);
  EXPECT_EQ(after[0].close.reason, Reason::kDropped);
}

TEST(Admission, AStaticPeerIsDialedUntilItComes) {
  // The port is known before anybody listens on it.
  std::string address;
  NodeId id;
  {
    TestNode first({.key = 1});
    address = first.at().ToString();
    id = first.id();
  }
  TestNode b({.key = 2, .listen = "", .peers = {"helo://" + id.ToHex() + "@" + address}});
  ASSERT_TRUE(b.WaitEnd(Reason::kRefused));
  TestNode a({.key = 1, .listen = address});
  EXPECT_TRUE(b.WaitUp(a.id()));
}

}  // namespace
}  // namespace helo
