#include "p2p/net/net_counters.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <string>

#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

TEST(NetCountersTest, NetstatIsReadByNameWhateverTheOrderAndTheNeighbours) {
  NetCounters counters;
  ParseNetstat(
      "TcpExt: SyncookiesSent TW ListenDrops NewInSomeKernel ListenOverflows TCPReqQFullDrop\n"
      "TcpExt: 3 14 18446744073709551615 1 9 2\n"
      "IpExt: InNoRoutes ListenDrops\n"
      "IpExt: 0 5\n",
      counters);
  EXPECT_EQ(counters.listen_overflows, 9u);
  EXPECT_EQ(counters.listen_drops, 18446744073709551615u);
  EXPECT_EQ(counters.syn_cookies_sent, 3u);
  EXPECT_EQ(counters.syn_queue_drops, 2u);
  EXPECT_EQ(counters.time_wait_overflows, std::nullopt);  // this kernel does not tell
}

TEST(NetCountersTest, WhatIsCutShortOrNoNumberIsLeftOut) {
  NetCounters counters;
  ParseNetstat("TcpExt: ListenDrops ListenOverflows\nTcpExt: x\n", counters);
  ParseNetstat("TcpExt: ListenDrops ListenOverflows", counters);
  ParseNetstat("TcpExt: ListenDrops\nIpExt: 4\n", counters);
  ParseSockstat("TCP: inuse", counters);
  ParseSockstat("TCP: inuse -1 tw\nTCP6:\n\nTCP: orphan 99999999999999999999\n", counters);
  EXPECT_EQ(counters.listen_drops, std::nullopt);
  EXPECT_EQ(counters.listen_overflows, std::nullopt);
  EXPECT_EQ(counters.tcp_in_use, std::nullopt);
  EXPECT_EQ(counters.time_wait, std::nullopt);
  EXPECT_EQ(counters.orphans, std::nullopt);
}

TEST(NetCountersTest, SockstatTellsTheTwoFamiliesApart) {
  NetCounters counters;
  ParseSockstat(
      "sockets: used 29\nTCP: inuse 7 orphan 2 tw 41 alloc 9 mem 189\nUDP: inuse 5 mem 3\n",
      counters);
  ParseSockstat("TCP6: inuse 4\nUDP6: inuse 1\n", counters);
  EXPECT_EQ(counters.tcp_in_use, 7u);
  EXPECT_EQ(counters.tcp6_in_use, 4u);
  EXPECT_EQ(counters.orphans, 2u);
  EXPECT_EQ(counters.time_wait, 41u);
  EXPECT_EQ(counters.tcp_memory_pages, 189u);
}

TEST(NetCountersTest, AnOverflowOfAnAcceptQueueIsCounted) {
  const absl::StatusOr<NetCounters> before = ReadNetCounters();
  ASSERT_TRUE(before.ok()) << before.status().ToString();
  ASSERT_TRUE(before->listen_overflows && before->listen_drops && before->time_wait);
  ASSERT_TRUE(before->tcp_in_use && before->somaxconn);
  // listen(0) has room for one: of four who knock, some find it full.
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage name{};
  socklen_t size = Loopback(0).ToSockaddr(name);
  auto* const address = reinterpret_cast<sockaddr*>(&name);
  ASSERT_EQ(::bind(listener.FdDoNotKeep(), address, size), 0);
  ASSERT_EQ(::listen(listener.FdDoNotKeep(), 0), 0);
  ASSERT_EQ(::getsockname(listener.FdDoNotKeep(), address, &size), 0);
  std::array<UniqueFd, 4> callers;
  for (UniqueFd& caller : callers) {
    caller = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    ASSERT_TRUE(caller);
    ::connect(caller.FdDoNotKeep(), address, size);
  }
  const absl::StatusOr<NetCounters> after = ReadNetCounters();
  ASSERT_TRUE(after.ok());
  EXPECT_GT(*after->listen_overflows, *before->listen_overflows);
  EXPECT_GT(*after->listen_drops, *before->listen_drops);
}

}  // namespace
}  // namespace helo::net
