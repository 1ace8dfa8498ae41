// Strangers at the door: sources that come too fast, silent ones, those that do not speak TLS, and
// a full waiting room.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/server/test_node.h"

namespace helo {
namespace {

using testing::TestNode;

// A plain TCP client, blocking, with a limit on every wait.
class Caller {
 public:
  explicit Caller(const Endpoint& to) {
    sockaddr_storage addr{};
    const socklen_t size = to.ToSockaddr(addr);
    fd_ = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&addr), size), 0);
  }
  ~Caller() { close(fd_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  void Say(std::string_view text) {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), std::ssize(text));
  }
  // What the other side sends until it closes or patience ends.
  Bytes Hear(bool* closed = nullptr) {
    Bytes all;
    for (;;) {
      pollfd p{fd_, POLLIN, 0};
      if (poll(&p, 1, 15000) != 1) {
        if (closed != nullptr) *closed = false;
        return all;
      }
      uint8_t buffer[4096];
      const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) {
        if (closed != nullptr) *closed = true;
        return all;
      }
      all.insert(all.end(), buffer, buffer + n);
    }
  }

 private:
  int fd_;
};

const Bytes kNoRoomAlert = {0x15, 3, 3, 0, 2, 2, 80};

TEST(Gate, ASourceThatComesTooOftenGetsTheAlert) {
  TestNode a({.key = 1, .exempt_sources = false});
  std::vector<std::unique_ptr<Caller>> waiting;
  for (int i = 0; i < 8; ++i) waiting.push_back(std::make_unique<Caller>(a.at()));
  Caller ninth(a.at());
  EXPECT_EQ(ninth.Hear(), kNoRoomAlert);
  ASSERT_TRUE(a.WaitEnd(Reason::kRateLimited));
  EXPECT_EQ(a.server().Snapshot()->gate_refused, 1u);
}

TEST(Gate, ADialerThatMeetsTheGateLearnsIt) {
  TestNode a({.key = 1, .exempt_sources = false});
  std::vector<std::unique_ptr<Caller>> waiting;
  for (int i = 0; i < 8; ++i) waiting.push_back(std::make_unique<Caller>(a.at()));
  ASSERT_TRUE(a.WaitSnapshot([](const ServerSnapshot& s) { return s.handshakes == 8; }));
  TestNode b({.key = 2, .listen = ""});
  const auto added = b.Add(a.Address());
  ASSERT_TRUE(added.ok());
  EXPECT_EQ(added->close.reason, Reason::kGateNoRoom);
  EXPECT_EQ(added->close.decider, Decider::kThem);
}

TEST(Gate, SomethingThatIsNotTlsIsToldApart) {
  TestNode a({.key = 1});
  Caller http(a.at());
  http.Say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  bool closed = false;
  http.Hear(&closed);
  EXPECT_TRUE(closed);
  const auto event = a.WaitEnd(Reason::kNotTls);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->close.stage, Stage::kTls);
}

TEST(Gate, ASilentCallerIsClosedInTime) {
  TestNode a({.key = 1, .tls_timeout = std::chrono::milliseconds(300)});
  Caller silent(a.at());
  bool closed = false;
  silent.Hear(&closed);
  EXPECT_TRUE(closed);
  EXPECT_TRUE(a.WaitEnd(Reason::kStageTimeout));
  EXPECT_TRUE(a.WaitSnapshot([](const ServerSnapshot& s) { return s.handshakes == 0; }));
  EXPECT_EQ(a.fds().pool(PoolKind::kHandshake).used(), 0);
}

TEST(Gate, AFullWaitingRoomLosesItsOldestAndAPeerStillGetsIn) {
  TestNode a({.key = 1, .handshakes = 4});
  std::vector<std::unique_ptr<Caller>> silent;
  for (int i = 0; i < 8; ++i) silent.push_back(std::make_unique<Caller>(a.at()));
  TestNode b({.key = 2, .listen = "", .peers = {a.Address()}});
  EXPECT_TRUE(a.WaitUp(b.id()));
  EXPECT_EQ(silent.front()->Hear(), kNoRoomAlert);
  EXPECT_LE(a.fds().pool(PoolKind::kHandshake).used(), 4);
}

TEST(Gate, HandshakesThatWereBegunAndLeftMakeRoomToo) {
  TestNode a({.key = 1, .handshakes = 4});
  std::vector<std::unique_ptr<Caller>> stalled;
  for (int i = 0; i < 8; ++i) {
    stalled.push_back(std::make_unique<Caller>(a.at()));
    stalled.back()->Say(
        std::string_view("\x16\x03\x01\x02\x00", 5));  // a ClientHello's record, begun
  }
  TestNode b({.key = 2, .listen = "", .peers = {a.Address()}});
  EXPECT_TRUE(a.WaitUp(b.id()));
  bool closed = false;
  stalled.front()->Hear(&closed);
  EXPECT_TRUE(closed);
  EXPECT_TRUE(a.WaitEnd(Reason::kBusy));
}

TEST(Gate, AListenerThatIsNoHeloNodeIsToldApartByTheDialer) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage addr{};
  socklen_t size = Endpoint{*IpAddress::Parse("127.0.0.1"), 0}.ToSockaddr(addr);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&addr), size), 0);
  ASSERT_EQ(listen(fd, 4), 0);
  size = sizeof addr;
  getsockname(fd, reinterpret_cast<sockaddr*>(&addr), &size);
  const Endpoint at = *Endpoint::FromSockaddr(addr);
  TestNode b({.key = 2, .listen = ""});
  std::promise<absl::StatusOr<AddResult>> promise;
  b.server().AddPeer(*PeerAddress::Parse("helo://" + at.ToString()), false, true,
                     [&](absl::StatusOr<AddResult> r) { promise.set_value(std::move(r)); });
  const int caller = accept(fd, nullptr, nullptr);
  ASSERT_GE(caller, 0);
  const std::string_view answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
  ASSERT_EQ(send(caller, answer.data(), answer.size(), MSG_NOSIGNAL), std::ssize(answer));
  const auto added = promise.get_future().get();
  EXPECT_EQ(added->close.reason, Reason::kNotTls);
  close(caller);
  close(fd);
}

}  // namespace
}  // namespace helo
