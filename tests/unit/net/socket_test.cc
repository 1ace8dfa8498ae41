#include "p2p/net/socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

using Kind = IoResult::Kind;

bool WaitFor(const Socket& socket, short events) {
  pollfd entry{socket.FdDoNotKeep(), events, 0};
  return ::poll(&entry, 1, 20'000) == 1;
}

class SocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage name{};
    const socklen_t size = Loopback(0).ToSockaddr(name);
    ASSERT_EQ(::bind(listener_.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&name), size), 0);
    ASSERT_EQ(::listen(listener_.FdDoNotKeep(), 8), 0);
    const Socket view(UniqueFd(::dup(listener_.FdDoNotKeep())), FdTicket());
    at_ = view.Local().value();
  }
  Socket Dial() {
    ConnectStart start = StartConnect(at_, Ticket(pool_));
    EXPECT_EQ(start.error, 0);
    EXPECT_TRUE(WaitFor(start.socket, POLLOUT));
    EXPECT_EQ(start.socket.PendingError(), 0);
    return std::move(start.socket);
  }
  Socket Accept() {
    return Socket(UniqueFd(::accept4(listener_.FdDoNotKeep(), nullptr, nullptr,
                                     SOCK_NONBLOCK | SOCK_CLOEXEC)),
                  Ticket(pool_));
  }

  FdPool pool_{PoolKind::kOutbound, 8};
  UniqueFd listener_;
  Endpoint at_;
  std::array<uint8_t, 64> buffer_{};
};

TEST_F(SocketTest, ADialedConnectionCarriesBytesAndTellsItsEnds) {
  Socket ours = Dial();
  Socket theirs = Accept();
  EXPECT_EQ(ours.Remote(), at_);
  EXPECT_EQ(theirs.Remote(), ours.Local());
  EXPECT_EQ(ours.Recv(buffer_).kind, Kind::kWouldBlock);
  const IoResult sent = ours.Send(AsBytes("hello"));
  EXPECT_EQ(sent.kind, Kind::kOk);
  EXPECT_EQ(sent.bytes, 5u);
  ASSERT_TRUE(WaitFor(theirs, POLLIN));
  const IoResult got = theirs.Recv(buffer_);
  EXPECT_EQ(got.kind, Kind::kOk);
  EXPECT_EQ(AsString({buffer_.data(), got.bytes}), "hello");
}

TEST_F(SocketTest, AnOrderlyEndIsEofAndTheOtherDirectionStillWorks) {
  Socket ours = Dial();
  Socket theirs = Accept();
  EXPECT_EQ(ours.ShutdownWrite(), 0);
  ASSERT_TRUE(WaitFor(theirs, POLLIN));
  EXPECT_EQ(theirs.Recv(buffer_).kind, Kind::kEof);
  EXPECT_EQ(theirs.Send(AsBytes("bye")).kind, Kind::kOk);
  ASSERT_TRUE(WaitFor(ours, POLLIN));
  EXPECT_EQ(ours.Recv(buffer_).bytes, 3u);
}

TEST_F(SocketTest, AResetIsAnErrorAndSendingIntoItRaisesNoSignal) {
  Socket ours = Dial();
  Socket theirs = Accept();
  theirs.ResetOnClose();
  theirs.Close();
  ASSERT_TRUE(WaitFor(ours, POLLIN));
  const IoResult got = ours.Recv(buffer_);
  EXPECT_EQ(got.kind, Kind::kError);
  EXPECT_EQ(got.error, ECONNRESET);
  EXPECT_EQ(ours.Remote(), std::nullopt) << "the peer is gone";
  const IoResult sent = ours.Send(AsBytes("x"));
  EXPECT_EQ(sent.kind, Kind::kError);
  EXPECT_EQ(sent.error, EPIPE);
}

TEST_F(SocketTest, SendingToOneWhoDoesNotReadBlocksAtSomePoint) {
  Socket ours = Dial();
  Socket theirs = Accept();
  const Bytes chunk(64 * 1024);
  IoResult result;
  size_t total = 0;
  while ((result = ours.Send(chunk)).kind == Kind::kOk && total < (size_t{1} << 30))
    total += result.bytes;
  EXPECT_EQ(result.kind, Kind::kWouldBlock);
}

TEST_F(SocketTest, NothingToSendOrNoRoomToReadIsNotTheEnd) {
  Socket ours = Dial();
  EXPECT_EQ(ours.Recv({}).kind, Kind::kOk);
  EXPECT_EQ(ours.Send({}).kind, Kind::kOk);
}

TEST_F(SocketTest, EverySocketIsBornNonBlockingAndCloseOnExecAndWithoutDelay) {
  const Socket ours = Dial();
  EXPECT_NE(::fcntl(ours.FdDoNotKeep(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(ours.FdDoNotKeep(), F_GETFD) & FD_CLOEXEC, 0);
  int on = 0;
  socklen_t size = sizeof(on);
  ASSERT_EQ(::getsockopt(ours.FdDoNotKeep(), IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
  EXPECT_NE(on, 0);
}

TEST_F(SocketTest, TheTicketGoesBackAfterTheDescriptorIsClosed) {
  FdPool one(PoolKind::kOutbound, 1);
  bool open_when_told = true;
  int number = -1;
  const int hook = one.AddOnRoom([&] { open_when_told = ::fcntl(number, F_GETFD) != -1; });
  const auto dial = [&] {
    ConnectStart start = StartConnect(at_, Ticket(one));
    number = start.socket.FdDoNotKeep();
    open_when_told = true;
    return std::move(start.socket);
  };
  {
    const Socket destroyed = dial();
    EXPECT_EQ(one.used(), 1);
  }
  EXPECT_FALSE(open_when_told);
  Socket closed = dial();
  closed.Close();
  EXPECT_FALSE(open_when_told);
  EXPECT_EQ(one.used(), 0);
  Socket assigned = dial();
  assigned = Socket();
  EXPECT_FALSE(open_when_told);
  one.RemoveOnRoom(hook);
}

TEST_F(SocketTest, APortWhereNobodyListensRefuses) {
  listener_.Close();
  const ConnectStart start = StartConnect(at_, Ticket(pool_));
  if (start.error != 0) {
    EXPECT_EQ(ReasonFromErrno(start.error, false), Reason::kRefused);
    return;
  }
  ASSERT_TRUE(WaitFor(start.socket, POLLOUT));
  EXPECT_EQ(ReasonFromErrno(start.socket.PendingError(), false), Reason::kRefused);
}

TEST_F(SocketTest, WithoutADescriptorDialingFailsAtTheSocketAndGivesTheTicketBack) {
  const NoDescriptors exhausted;
  const ConnectStart start = StartConnect(at_, Ticket(pool_));
  EXPECT_EQ(start.error, EMFILE);
  EXPECT_TRUE(start.failed_at_socket);
  EXPECT_FALSE(start.socket);
  EXPECT_EQ(ReasonFromErrno(start.error, false), Reason::kNoFd);
}

TEST_F(SocketTest, ATicketIsNotKeptByAnAttemptThatFailed) {
  {
    const ConnectStart start =
        StartConnect({*IpAddress::Parse("255.255.255.255"), 1}, Ticket(pool_));
    EXPECT_NE(start.error, 0);
    EXPECT_FALSE(start.failed_at_socket);
  }
  EXPECT_EQ(pool_.used(), 0);
}

TEST(ReasonFromErrnoTest, TellsBeforeAndAfterTheConnectionStoodApart) {
  struct Case {
    int error;
    Reason before, after;
  };
  const Case cases[] = {
      {ECONNREFUSED, Reason::kRefused, Reason::kReset},
      {ETIMEDOUT, Reason::kConnectTimeout, Reason::kReset},
      {EHOSTUNREACH, Reason::kUnreachable, Reason::kUnreachable},
      {ENETUNREACH, Reason::kUnreachable, Reason::kUnreachable},
      {EACCES, Reason::kFiltered, Reason::kFiltered},
      {EPERM, Reason::kFiltered, Reason::kFiltered},
      {ECONNRESET, Reason::kReset, Reason::kReset},
      {EPIPE, Reason::kReset, Reason::kReset},
      {EADDRNOTAVAIL, Reason::kNoLocalAddress, Reason::kReset},
      {EAFNOSUPPORT, Reason::kNoLocalAddress, Reason::kReset},
      {EMFILE, Reason::kNoFd, Reason::kNoFd},
      {ENFILE, Reason::kNoFd, Reason::kNoFd},
      {ENOBUFS, Reason::kNoFd, Reason::kNoFd},
      {EIO, Reason::kUnreachable, Reason::kReset},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Label(ReasonFromErrno(c.error, false)), Label(c.before)) << c.error;
    EXPECT_EQ(Label(ReasonFromErrno(c.error, true)), Label(c.after)) << c.error;
  }
}

// That ICMP arrives here needs a firewall that sends it: tests/integration/probe_test.py.
TEST_F(SocketTest, ARefusalByResetLeavesNoIcmp) {
  ConnectStart start = StartConnect(at_, Ticket(pool_), /*keep_icmp=*/true);
  ASSERT_EQ(start.error, 0);
  EXPECT_TRUE(WaitFor(start.socket, POLLOUT));
  EXPECT_FALSE(TakeIcmp(start.socket).has_value());
  listener_.Close();
  start = StartConnect(at_, Ticket(pool_), /*keep_icmp=*/true);
  if (start.error == 0) {
    EXPECT_TRUE(WaitFor(start.socket, POLLOUT));
    EXPECT_FALSE(TakeIcmp(start.socket).has_value());
    EXPECT_EQ(start.socket.PendingError(), ECONNREFUSED);
  } else {
    EXPECT_EQ(start.error, ECONNREFUSED);
  }
}

TEST(IcmpErrorTest, WhatARuleSendsIsToldFromWhatIsMerelyMissing) {
  const auto icmp = [](bool v6, uint8_t type, uint8_t code) {
    return IcmpError{IpAddress(), v6, type, code, 0};
  };
  for (const uint8_t code : {2, 3, 9, 10, 13}) EXPECT_TRUE(icmp(false, 3, code).forbidden());
  for (const uint8_t code : {0, 1, 5, 11}) EXPECT_FALSE(icmp(false, 3, code).forbidden());
  for (const uint8_t code : {1, 4, 5, 6}) EXPECT_TRUE(icmp(true, 1, code).forbidden());
  for (const uint8_t code : {0, 3}) EXPECT_FALSE(icmp(true, 1, code).forbidden());
  EXPECT_FALSE(icmp(false, 11, 0).forbidden());
  EXPECT_EQ(Describe(icmp(false, 3, 13)),
            "ICMP type 3 code 13, communication administratively prohibited");
  EXPECT_EQ(Describe(icmp(true, 1, 4)), "ICMPv6 type 1 code 4, port unreachable");
  EXPECT_EQ(Describe(icmp(false, 11, 0)), "ICMP type 11 code 0, hop limit exceeded");
  EXPECT_EQ(Describe(icmp(false, 3, 200)), "ICMP type 3 code 200, an ICMP error");
}

}  // namespace
}  // namespace helo::net
