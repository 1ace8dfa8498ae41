// Long: a case each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <deque>
#include <fstream>
#include <memory>
#include <optional>
#include <vector>

#include "p2p/net/listener.h"
#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

// Keeps what it gets. Touched on the loop's thread only, but for the count.
class Keeper : public AcceptorDelegate {
 public:
  void OnAccepted(Socket socket, const Endpoint& remote, const Endpoint& local) override {
    sockets.push_back(std::move(socket));
    remotes.push_back(remote);
    locals.push_back(local);
    if (on_accepted) on_accepted();
    ++count;
  }
  bool MakeRoom() override {
    ++asked;
    if (on_make_room) on_make_room();
    if (to_give == 0) return false;
    --to_give;
    sockets.pop_front();
    return true;
  }

  bool GiveUpReserve() override { return std::exchange(reserve, UniqueFd()) ? true : false; }
  int LeaveFree() const override { return leave_free; }

  UniqueFd reserve;
  int leave_free = 0;
  std::deque<Socket> sockets;
  std::vector<Endpoint> remotes, locals;
  std::function<void()> on_accepted, on_make_room;
  int to_give = 0;
  std::atomic<int> asked{0};
  std::atomic<int> count{0};
};

class AcceptorTest : public ::testing::Test {
 protected:
  // Its clock stands still unless a test moves it: what happens then is not the work of a retry
  // timer.
  AcceptorTest() : thread_(clock_, log_) {}

  void Begin(int tickets, const std::string& address = "127.0.0.1:0") {
    pool_.SetLimit(tickets);
    absl::StatusOr<Listener> listener =
        Listener::Open(Listen(address), 512, Ticket(listeners_), NullLog());
    ASSERT_TRUE(listener.ok()) << listener.status().ToString();
    at_ = listener->local();
    thread_.On([&] {
      auto acceptor = Acceptor::Start(thread_.loop(), std::move(*listener), pool_, keeper_, log_);
      ASSERT_TRUE(acceptor.ok()) << acceptor.status().ToString();
      acceptor_ = std::move(*acceptor);
    });
  }
  void TearDown() override {
    thread_.On([&] {
      acceptor_.reset();
      keeper_.sockets.clear();
    });
    thread_.Stop();
    EXPECT_EQ(pool_.used(), 0);
    EXPECT_EQ(listeners_.used(), 0);
  }
  void Dial(int clients) {
    for (int i = 0; i < clients; ++i) {
      clients_.push_back(
          ConnectTo(Endpoint{at_.ip.IsUnspecified() ? Loopback(0).ip : at_.ip, at_.port}));
      ASSERT_TRUE(clients_.back());
    }
  }
  bool Accepted(int count) {
    return Eventually([&] { return keeper_.count == count; });
  }
  bool Paused() {
    return Eventually([&] { return acceptor_->stats().paused; });
  }
  void CloseOne() {
    thread_.On([&] { keeper_.sockets.pop_front(); });
  }

  FdPool pool_{PoolKind::kHandshake, 64};
  FdPool listeners_{PoolKind::kListener, 4};
  StandingClock clock_;
  RecordingLog log_;
  Keeper keeper_;
  LoopThread thread_;
  std::unique_ptr<Acceptor> acceptor_;
  Endpoint at_;
  std::vector<UniqueFd> clients_;
};

TEST_F(AcceptorTest, EachConnectionComesWithItsEndsItsTicketAndNoDelay) {
  Begin(8);
  Dial(1);
  ASSERT_TRUE(Accepted(1));
  const Socket client(std::move(clients_[0]), FdTicket());
  thread_.On([&] {
    EXPECT_EQ(keeper_.remotes[0], client.Local());
    EXPECT_EQ(keeper_.locals[0], at_);
    EXPECT_EQ(keeper_.sockets[0].ticket().pool(), &pool_);
    int on = 0;
    socklen_t size = sizeof(on);
    ASSERT_EQ(::getsockopt(keeper_.sockets[0].FdDoNotKeep(), IPPROTO_TCP, TCP_NODELAY, &on, &size),
              0);
    EXPECT_NE(on, 0);
  });
  EXPECT_EQ(pool_.used(), 1);
  EXPECT_EQ(acceptor_->stats().accepted, 1u);
}

TEST_F(AcceptorTest, ADualStackListenerTellsIpv4PeersAsIpv4) {
  Begin(8, ":0");
  Dial(1);
  ASSERT_TRUE(Accepted(1));
  const bool dual = acceptor_->listener().dual_stack();
  thread_.On([&] {
    EXPECT_TRUE(keeper_.remotes[0].ip.is_v4()) << keeper_.remotes[0].ToString();
    EXPECT_EQ(keeper_.remotes[0].ip, Loopback(0).ip);
    EXPECT_EQ(keeper_.locals[0], Loopback(at_.port));
  });
  if (!dual) return;
  clients_.push_back(ConnectTo({*IpAddress::Parse("::1"), at_.port}));
  ASSERT_TRUE(Accepted(2));
  thread_.On([&] { EXPECT_EQ(keeper_.remotes[1].ip, *IpAddress::Parse("::1")); });
}

TEST_F(AcceptorTest, ABurstLargerThanATurnIsAcceptedWhole) {
  Begin(300);
  Dial(200);
  EXPECT_TRUE(Accepted(200));
  EXPECT_EQ(acceptor_->stats().starved, 0u);
  EXPECT_EQ(keeper_.asked, 0);
}

TEST_F(AcceptorTest, WithoutATicketItStopsAndResumesTheMomentOneComesBack) {
  Begin(2);
  Dial(4);
  ASSERT_TRUE(Accepted(2));
  ASSERT_TRUE(Paused());
  EXPECT_EQ(acceptor_->stats().starved, 1u);
  EXPECT_EQ(acceptor_->stats().last_errno, 0);
  CloseOne();
  ASSERT_TRUE(Accepted(3)) << "the clock stands: only the returned ticket can have woken it";
  ASSERT_TRUE(Paused());
  CloseOne();
  ASSERT_TRUE(Accepted(4));
  ASSERT_TRUE(Eventually([&] { return !acceptor_->stats().paused; })) << "nobody waits any more";
  CloseOne();
  CloseOne();
  Dial(1);
  EXPECT_TRUE(Accepted(5));
}

TEST_F(AcceptorTest, ATicketThatComesBackOnAnotherThreadResumesItToo) {
  Begin(1);
  Dial(50);
  for (int i = 1; i < 50; ++i) {
    ASSERT_TRUE(Accepted(i));
    std::optional<Socket> taken;
    thread_.On([&] {
      taken = std::move(keeper_.sockets.front());
      keeper_.sockets.pop_front();
    });
    std::thread([&] { taken.reset(); }).join();
  }
  EXPECT_TRUE(Accepted(50));
}

TEST_F(AcceptorTest, RaisingTheLimitOfThePoolResumesIt) {
  Begin(0);
  Dial(3);
  ASSERT_TRUE(Paused());
  pool_.SetLimit(3);
  EXPECT_TRUE(Accepted(3));
}

TEST_F(AcceptorTest, TwoAcceptorsOfOnePoolBothGetOnWhenTicketsComeBack) {
  Begin(1);
  absl::StatusOr<Listener> listener =
      Listener::Open(Listen("127.0.0.1:0"), 16, Ticket(listeners_), NullLog());
  ASSERT_TRUE(listener.ok());
  const Endpoint second_at = listener->local();
  std::unique_ptr<Acceptor> second;
  thread_.On([&] {
    auto started = Acceptor::Start(thread_.loop(), std::move(*listener), pool_, keeper_, log_);
    ASSERT_TRUE(started.ok());
    second = std::move(*started);
  });
  Dial(3);
  for (int i = 0; i < 3; ++i) clients_.push_back(ConnectTo(second_at));
  for (int i = 1; i < 6; ++i) {
    ASSERT_TRUE(Accepted(i));
    CloseOne();
  }
  EXPECT_TRUE(Accepted(6));
  EXPECT_EQ(acceptor_->stats().accepted, 3u);
  EXPECT_EQ(second->stats().accepted, 3u);
  thread_.On([&] { second.reset(); });
}

TEST_F(AcceptorTest, RoomIsMadeForWhoeverWaitsInsteadOfPausing) {
  Begin(2);
  Dial(2);
  ASSERT_TRUE(Accepted(2));
  thread_.On([&] { keeper_.to_give = 3; });
  Dial(3);
  ASSERT_TRUE(Accepted(5));
  EXPECT_EQ(keeper_.asked, 3);
  EXPECT_EQ(acceptor_->stats().starved, 0u);
  EXPECT_EQ(pool_.used(), 2);
}

TEST_F(AcceptorTest, NobodyIsAskedToMakeRoomWhileNobodyWaits) {
  Begin(2);
  Dial(2);
  ASSERT_TRUE(Accepted(2));
  thread_.PassTurns();
  EXPECT_EQ(keeper_.asked, 0);
  EXPECT_FALSE(acceptor_->stats().paused);
}

TEST_F(AcceptorTest, StarvedForATicketItAsksAgainByBackoffAndNeverSpins) {
  Begin(1);
  Dial(40);
  ASSERT_TRUE(Accepted(1));
  ASSERT_TRUE(Paused());
  thread_.On([&] { keeper_.to_give = 1; });
  clock_.Advance(milliseconds(10));
  thread_.PassTurns();
  ASSERT_TRUE(Accepted(2));
  ASSERT_TRUE(Paused());
  const int asked = keeper_.asked;
  for (int i = 0; i < 1000; ++i) {  // ten seconds
    clock_.Advance(milliseconds(10));
    thread_.PassTurns(1);
  }
  EXPECT_GE(keeper_.asked - asked, 10) << "at least once a second";
  EXPECT_LE(keeper_.asked - asked, 20) << "10, 20, 40 ... 640 ms, then each second";
}

TEST_F(AcceptorTest, StarvedItUsesNextToNoCpu) {
  // On the real clock: this one has its retries.
  LoopThread thread(RealClock(), log_);
  FdPool none(PoolKind::kHandshake, 0);
  absl::StatusOr<Listener> listener =
      Listener::Open(Listen("127.0.0.1:0"), 64, Ticket(listeners_), NullLog());
  ASSERT_TRUE(listener.ok());
  at_ = listener->local();
  thread.On([&] {
    auto started = Acceptor::Start(thread.loop(), std::move(*listener), none, keeper_, log_);
    ASSERT_TRUE(started.ok());
    acceptor_ = std::move(*started);
  });
  Dial(30);
  ASSERT_TRUE(Paused());
  const uint64_t turns = thread.turns();
  const Duration cpu = thread.CpuTime();
  Flag never;
  EXPECT_FALSE(never.Wait(milliseconds(500)));
  EXPECT_LT(thread.turns() - turns, 20u);
  EXPECT_LT(thread.CpuTime() - cpu, milliseconds(50));
  thread.On([&] { acceptor_.reset(); });
}

TEST_F(AcceptorTest, StarvationIsLoggedOnceACauseInTenSeconds) {
  Begin(1);
  Dial(2);
  ASSERT_TRUE(Accepted(1));
  ASSERT_TRUE(Paused());
  for (int i = 0; i < 100; ++i) {
    clock_.Advance(milliseconds(90));
    thread_.PassTurns(1);
  }
  ASSERT_EQ(log_.Lines(LogLevel::kWarn).size(), 1u);
  const RecordingLog::Line line = log_.Lines(LogLevel::kWarn)[0];
  EXPECT_THAT(line.message, HasSubstr("no descriptor is left"));
  EXPECT_EQ(line.Field("pool"), "handshakes");
  EXPECT_EQ(line.Field("limit"), "1");
  clock_.Advance(seconds(2));
  thread_.PassTurns();
  ASSERT_EQ(log_.Lines(LogLevel::kWarn).size(), 2u);
  EXPECT_NE(log_.Lines(LogLevel::kWarn)[1].Field("suppressed"), "");
}

TEST_F(AcceptorTest, OutOfDescriptorsItPausesRetriesByBackoffAndRecovers) {
  Begin(64);
  std::unique_ptr<NoDescriptors> exhausted;
  // The clients' descriptors are had before; the acceptor is held still while they connect.
  thread_.On([&] {
    Dial(5);
    exhausted = std::make_unique<NoDescriptors>();
  });
  ASSERT_TRUE(Paused());
  EXPECT_EQ(acceptor_->stats().last_errno, EMFILE);
  EXPECT_EQ(acceptor_->stats().starved, 1u);
  EXPECT_EQ(keeper_.count, 0);
  for (int i = 0; i < 500; ++i) {  // five seconds
    clock_.Advance(milliseconds(10));
    thread_.PassTurns(1);
  }
  EXPECT_EQ(acceptor_->stats().starved, 1u) << "one starvation, however often it tried";
  EXPECT_TRUE(acceptor_->stats().paused);
  ASSERT_EQ(log_.Lines(LogLevel::kWarn).size(), 1u);
  EXPECT_THAT(log_.Lines(LogLevel::kWarn)[0].Field("error"), HasSubstr("EMFILE"));
  exhausted->Restore();
  clock_.Advance(seconds(1));
  thread_.PassTurns();
  EXPECT_TRUE(Accepted(5));
  EXPECT_FALSE(acceptor_->stats().paused);
}

TEST_F(AcceptorTest, OutOfDescriptorsItResumesAtOnceWhenATicketComesBackThoughThePoolIsNotFull) {
  Begin(64);
  Dial(1);
  ASSERT_TRUE(Accepted(1));
  std::unique_ptr<NoDescriptors> exhausted;
  thread_.On([&] {
    Dial(2);
    exhausted = std::make_unique<NoDescriptors>();
  });
  ASSERT_TRUE(Paused());
  CloseOne();
  EXPECT_TRUE(Accepted(2)) << "the clock stands: only the returned ticket can have woken it";
  exhausted.reset();
  clock_.Advance(seconds(2));
  thread_.PassTurns();
  EXPECT_TRUE(Accepted(3));
}

TEST_F(AcceptorTest, OutOfDescriptorsAReserveLetsOneMoreIn) {
  Begin(64);
  std::unique_ptr<NoDescriptors> exhausted;
  thread_.On([&] {
    Dial(2);
    keeper_.reserve = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_TRUE(keeper_.reserve);
    exhausted = std::make_unique<NoDescriptors>();
  });
  ASSERT_TRUE(Paused());
  EXPECT_EQ(keeper_.count, 1);
  thread_.On([&] { EXPECT_FALSE(keeper_.reserve); });
  exhausted->Restore();
}

TEST_F(AcceptorTest, OutOfDescriptorsItLeavesFreeWhatOthersLiveOn) {
  Begin(64);
  Dial(2);
  ASSERT_TRUE(Accepted(2));
  std::unique_ptr<NoDescriptors> exhausted;
  thread_.On([&] {
    keeper_.leave_free = 1;
    Dial(2);
    exhausted = std::make_unique<NoDescriptors>();
  });
  ASSERT_TRUE(Paused());
  CloseOne();
  thread_.PassTurns();
  clock_.Advance(seconds(2));
  thread_.PassTurns();
  EXPECT_EQ(keeper_.count, 2) << "the one that is free is not for it";
  CloseOne();
  clock_.Advance(seconds(2));
  EXPECT_TRUE(Accepted(3));
  EXPECT_TRUE(Paused());
  exhausted->Restore();
  clock_.Advance(seconds(2));
  thread_.PassTurns();
  EXPECT_TRUE(Accepted(4));
}

TEST_F(AcceptorTest, ARestIsNotCutShortByTicketsThatComeBack) {
  Begin(64);
  Dial(1);
  ASSERT_TRUE(Accepted(1));
  thread_.On([&] { acceptor_->Rest(ENOMEM); });
  EXPECT_TRUE(acceptor_->stats().paused);
  Dial(1);
  CloseOne();
  thread_.PassTurns();
  EXPECT_EQ(keeper_.count, 1);
  clock_.Advance(milliseconds(10));
  thread_.PassTurns();
  EXPECT_TRUE(Accepted(2));
  // The next trouble follows at once: twice as long.
  thread_.On([&] { acceptor_->Rest(ENOMEM); });
  Dial(1);
  clock_.Advance(milliseconds(10));
  thread_.PassTurns();
  EXPECT_EQ(keeper_.count, 2);
  clock_.Advance(milliseconds(10));
  thread_.PassTurns();
  EXPECT_TRUE(Accepted(3));
}

TEST_F(AcceptorTest, ManyWhoHangUpBeforeTheyAreAcceptedDoNoHarm) {
  Begin(64);
  thread_.On([&] {
    for (int i = 0; i < 30; ++i) CloseWithReset(ConnectTo(at_));
    Dial(1);
  });
  ASSERT_TRUE(
      Eventually([&] { return acceptor_->stats().accepted + acceptor_->stats().aborted == 31; }));
  thread_.On([&] {
    const Socket last(std::move(clients_[0]), FdTicket());
    EXPECT_EQ(keeper_.remotes.back(), last.Local());
  });
}

TEST_F(AcceptorTest, ItMayBeDestroyedByWhatItCalls) {
  for (const bool while_making_room : {false, true}) {
    Begin(while_making_room ? 0 : 8);
    const auto destroy = [this] { acceptor_.reset(); };
    thread_.On([&] { (while_making_room ? keeper_.on_make_room : keeper_.on_accepted) = destroy; });
    thread_.On([&] { Dial(20); });
    ASSERT_TRUE(Eventually([&] {
      bool gone = false;
      thread_.On([&] { gone = acceptor_ == nullptr; });
      return gone;
    }));
    clients_.clear();
    thread_.On([&] {
      keeper_.on_accepted = nullptr;
      keeper_.on_make_room = nullptr;
      keeper_.sockets.clear();
    });
  }
}

TEST_F(AcceptorTest, ATicketThatComesBackAfterItsEndWakesNobody) {
  Begin(1);
  Dial(2);
  ASSERT_TRUE(Accepted(1));
  ASSERT_TRUE(Paused());
  thread_.On([&] {
    keeper_.sockets.clear();  // posts the resumption
    acceptor_.reset();
  });
  thread_.PassTurns();
  EXPECT_EQ(keeper_.count, 1);
}

}  // namespace
}  // namespace helo::net
