// Stopping: peers are told, and nothing holds the process up.
#include <gtest/gtest.h>

#include "tests/unit/server/test_node.h"

namespace helo {
namespace {

using testing::TestNode;

// Takes every question and never answers.
class SilentResolver final : public net::Resolver {
 public:
  uint64_t Resolve(const std::string&, Callback) override { return next_++; }
  void Cancel(uint64_t) override {}

 private:
  uint64_t next_ = 1;
};

TEST(Shutdown, PeersAreToldAndEveryTicketComesBack) {
  TestNode a({.key = 1, .loops = 2});
  TestNode b({.key = 2, .listen = "", .peers = {a.Address()}});
  ASSERT_TRUE(a.WaitUp(b.id()));
  ASSERT_TRUE(b.WaitUp(a.id()));
  const auto began = std::chrono::steady_clock::now();
  a.server().Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(4));
  const auto event = b.WaitFor([](const Event& e) { return e.kind == EventKind::kPeerClosed; });
  ASSERT_TRUE(event);
  EXPECT_EQ(event->close.reason, Reason::kShuttingDown);
  EXPECT_EQ(event->close.decider, Decider::kThem);
  for (PoolKind kind :
       {PoolKind::kInbound, PoolKind::kHandshake, PoolKind::kClosing, PoolKind::kOutbound}) {
    EXPECT_EQ(a.fds().pool(kind).used(), 0) << ToString(kind);
  }
}

TEST(Shutdown, ANameThatNeverResolvesDoesNotHoldItUp) {
  TestNode a({.key = 1,
              .peers = {"helo://nowhere.example:4356"},
              .resolver = [](net::EventLoop&) -> absl::StatusOr<std::unique_ptr<net::Resolver>> {
                return std::unique_ptr<net::Resolver>(new SilentResolver);
              }});
  ASSERT_TRUE(a.WaitSnapshot([](const ServerSnapshot& s) { return s.targets.at(0).trying; }));
  bool answered = false;
  std::promise<absl::StatusOr<AddResult>> waiting;
  a.server().AddPeer(*PeerAddress::Parse("helo://elsewhere.example:4356"), false, true,
                     [&](absl::StatusOr<AddResult> r) {
                       answered = true;
                       waiting.set_value(std::move(r));
                     });
  const auto began = std::chrono::steady_clock::now();
  a.server().Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(4));
  EXPECT_TRUE(absl::IsUnavailable(waiting.get_future().get().status()));
  EXPECT_TRUE(answered);
}

TEST(Shutdown, CommandsAfterTheStopAreAnswered) {
  TestNode a({.key = 1});
  a.server().Stop();
  EXPECT_TRUE(absl::IsUnavailable(a.Add("helo://127.0.0.1:1").status()));
  EXPECT_TRUE(absl::IsUnavailable(a.Drop(a.id(), std::chrono::hours(1)).status()));
  EXPECT_EQ(a.server().Snapshot(), nullptr);
  EXPECT_TRUE(a.History().empty());
}

}  // namespace
}  // namespace helo
