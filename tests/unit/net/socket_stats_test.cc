#include "p2p/net/socket_stats.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <string>

#include "p2p/net/fd_table.h"
#include "p2p/net/listener.h"
#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

class SocketStatsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<Listener> opened =
        Listener::Open(Listen("127.0.0.1:0"), 3, Ticket(pool_), NullLog());
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    listener_ = std::make_unique<Listener>(std::move(*opened));
  }
  int listening() const { return listener_->socket().FdDoNotKeep(); }
  UniqueFd Accept() { return UniqueFd(::accept4(listening(), nullptr, nullptr, SOCK_CLOEXEC)); }
  std::optional<ListenQueue> Queue() {
    return ReadListenQueue(listening(), SocketCookie(listening()));
  }
  static std::optional<ConnectionStats> Stats(const UniqueFd& fd) {
    return ReadConnectionStats(fd.FdDoNotKeep(), SocketCookie(fd.FdDoNotKeep()));
  }

  FdPool pool_{PoolKind::kListener, 1};
  std::unique_ptr<Listener> listener_;
};

TEST_F(SocketStatsTest, WhoWaitsToBeAcceptedIsCounted) {
  EXPECT_EQ(Queue().value().length, 0u);
  EXPECT_EQ(Queue().value().limit, 3u);
  const UniqueFd one = ConnectTo(listener_->local());
  const UniqueFd two = ConnectTo(listener_->local());
  EXPECT_EQ(Queue().value().length, 2u);
  const UniqueFd accepted = Accept();
  EXPECT_EQ(Queue().value().length, 1u);
}

TEST_F(SocketStatsTest, WhoFindsTheQueueFullIsADropOfThatListenerAlone) {
  FdPool pool(PoolKind::kListener, 1);
  const absl::StatusOr<Listener> other =
      Listener::Open(Listen("127.0.0.1:0"), 3, Ticket(pool), NullLog());
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(Queue().value().drops, 0u);
  sockaddr_storage name{};
  const socklen_t size = listener_->local().ToSockaddr(name);
  std::vector<UniqueFd> callers;
  for (int i = 0; i < 8; ++i) {  // four find room: the limit and one more
    callers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    ::connect(callers.back().FdDoNotKeep(), reinterpret_cast<sockaddr*>(&name), size);
  }
  EXPECT_EQ(Queue().value().length, 4u);
  EXPECT_GE(Queue().value().drops.value(), 4u);
  const int fd = other->socket().FdDoNotKeep();
  EXPECT_EQ(ReadListenQueue(fd, SocketCookie(fd)).value().drops, 0u);
}

TEST_F(SocketStatsTest, BytesThatWaitAreToldOnBothSides) {
  const UniqueFd client = ConnectTo(listener_->local());
  const UniqueFd served = Accept();
  const std::string text(1000, 'x');
  ASSERT_EQ(::send(client.FdDoNotKeep(), text.data(), text.size(), 0), 1000);
  ASSERT_TRUE(Eventually([&] { return Stats(served)->receive_queue == 1000; }));
  ASSERT_TRUE(Eventually([&] { return Stats(client)->send_queue == 0; }));  // acknowledged
  EXPECT_EQ(Stats(client)->bytes_acked.value(), 1001u);                     // the SYN counts as one
  EXPECT_EQ(Stats(served)->bytes_received.value(), 1000u);
  EXPECT_EQ(Stats(client)->tcp_state, "ESTABLISHED");
  EXPECT_GT(Stats(client)->rtt_us, 0u);
  EXPECT_GT(Stats(client)->mss, 0u);
  EXPECT_EQ(Stats(client)->retransmits, 0u);

  // To one who does not read, until the kernel takes no more.
  const std::string much(65536, 'x');
  while (::send(client.FdDoNotKeep(), much.data(), much.size(), MSG_DONTWAIT) > 0) {
  }
  ASSERT_TRUE(Eventually([&] { return Stats(client)->unsent > 0; }));
  EXPECT_GE(Stats(client)->send_queue, Stats(client)->unsent);
}

TEST_F(SocketStatsTest, AHalfOpenConnectionIsCountedAtItsPort) {
  // Deferred: the kernel keeps it half open until the first byte comes.
  const int seconds = 30;
  ASSERT_EQ(::setsockopt(listening(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)), 0);
  absl::StatusOr<absl::flat_hash_map<Endpoint, uint32_t>> counts =
      CountHalfOpen(listener_->local().port);
  ASSERT_TRUE(counts.ok()) << counts.status().ToString();
  EXPECT_TRUE(counts->empty());
  const UniqueFd one = ConnectTo(listener_->local());
  const UniqueFd two = ConnectTo(listener_->local());
  counts = CountHalfOpen(listener_->local().port);
  ASSERT_TRUE(counts.ok()) << counts.status().ToString();
  ASSERT_EQ(counts->size(), 1u);
  EXPECT_EQ((*counts)[listener_->local()], 2u);
  EXPECT_EQ(Queue().value().length, 0u);
}

TEST_F(SocketStatsTest, ANumberThatIsAnothersByNowGivesNoAnswer) {
  UniqueFd client = ConnectTo(listener_->local());
  const int number = client.FdDoNotKeep();
  const uint64_t cookie = SocketCookie(number);
  ASSERT_TRUE(ReadConnectionStats(number, cookie));
  client.Close();
  EXPECT_FALSE(ReadConnectionStats(number, cookie));
  const UniqueFd next = ConnectTo(listener_->local());
  ASSERT_EQ(next.FdDoNotKeep(), number);
  EXPECT_FALSE(ReadConnectionStats(number, cookie));
  EXPECT_FALSE(ReadConnectionStats(number, 0));
  EXPECT_TRUE(Stats(next));
}

TEST_F(SocketStatsTest, WhatIsNotOfTheSortAskedForGivesNoAnswer) {
  const UniqueFd client = ConnectTo(listener_->local());
  EXPECT_FALSE(ReadListenQueue(client.FdDoNotKeep(), SocketCookie(client.FdDoNotKeep())));
  EXPECT_FALSE(ReadConnectionStats(listening(), SocketCookie(listening())));
  const SocketPair pair = MakeSocketPair();
  EXPECT_FALSE(Stats(pair.a));
}

}  // namespace
}  // namespace helo::net
