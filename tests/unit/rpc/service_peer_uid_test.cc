#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rpc/service/peer_uid.h"
#include "tests/unit/rpc/service_support.h"

namespace helo::rpc {
namespace {

using ::helo::testing::CanBeOthers;
using ::helo::testing::ConnectTo;
using ::helo::testing::kStranger;

// A listener, and one connection to it.
class Pair {
 public:
  explicit Pair(const std::string& at, std::optional<uid_t> as = std::nullopt) {
    const Endpoint want = *Endpoint::Parse(at);
    listener_ = net::Socket(
        net::UniqueFd(socket(want.ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        FdTicket());
    sockaddr_storage address{};
    const socklen_t size = want.ToSockaddr(address);
    EXPECT_EQ(bind(listener_.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_.FdDoNotKeep(), 8), 0);
    caller = ConnectTo(*listener_.Local(), as);
    EXPECT_TRUE(caller);
    accepted =
        net::Socket(net::UniqueFd(accept4(listener_.FdDoNotKeep(), nullptr, nullptr, SOCK_CLOEXEC)),
                    FdTicket());
    remote = *accepted.Remote();
    local = *accepted.Local();
  }
  net::UniqueFd caller;
  net::Socket accepted;
  Endpoint remote, local;

 private:
  net::Socket listener_;
};

class PeerUidTest : public ::testing::Test {
 protected:
  FdPool files_{PoolKind::kFiles, 8};
  PeerUid uids_{files_};
};

TEST_F(PeerUidTest, TellsWhoCallsOverIpv4AndIpv6) {
  ASSERT_TRUE(uids_.has_netlink());
  for (const char* at : {"127.0.0.1:0", "[::1]:0"}) {
    const Pair pair(at);
    EXPECT_EQ(uids_.FindByNetlink(pair.remote, pair.local), geteuid()) << at;
    EXPECT_EQ(uids_.FindInProc(pair.remote, pair.local), geteuid()) << at;
    EXPECT_EQ(uids_.Find(pair.remote, pair.local), geteuid()) << at;
  }
}

TEST_F(PeerUidTest, TellsAnotherUserFromUs) {
  if (!CanBeOthers()) GTEST_SKIP() << "NOT CHECKED: only root can make a socket of another uid";
  const Pair pair("127.0.0.1:0", kStranger);
  EXPECT_EQ(uids_.FindByNetlink(pair.remote, pair.local), kStranger);
  EXPECT_EQ(uids_.FindInProc(pair.remote, pair.local), kStranger);
}

TEST_F(PeerUidTest, DoesNotTakeTheSocketOfAProcessThatWentForRoot) {
  // What is sent before close() still arrives; the kernel shows the orphaned socket as uid 0.
  Pair pair("127.0.0.1:0");
  ASSERT_EQ(uids_.Find(pair.remote, pair.local), geteuid());
  ASSERT_EQ(write(pair.caller.FdDoNotKeep(), "request", 7), 7);
  pair.caller.Close();
  EXPECT_EQ(uids_.FindByNetlink(pair.remote, pair.local), std::nullopt);
  EXPECT_EQ(uids_.FindInProc(pair.remote, pair.local), std::nullopt);
  EXPECT_EQ(uids_.Find(pair.remote, pair.local), std::nullopt);
}

TEST_F(PeerUidTest, DoesNotTakeAHalfClosedSocket) {
  const Pair pair("127.0.0.1:0");
  ASSERT_EQ(shutdown(pair.caller.FdDoNotKeep(), SHUT_WR), 0);
  EXPECT_EQ(uids_.Find(pair.remote, pair.local), std::nullopt);
}

TEST_F(PeerUidTest, KnowsNothingOfAConnectionThatIsNotThere) {
  const Pair pair("127.0.0.1:0");
  Endpoint other = pair.remote;
  other.port = pair.local.port;  // the listener itself is no connection
  EXPECT_EQ(uids_.Find(other, pair.local), std::nullopt);
  EXPECT_EQ(uids_.Find(pair.remote, *Endpoint::Parse("127.0.0.2:1")), std::nullopt);
}

TEST_F(PeerUidTest, FindsAnIpv6SocketThatSpeaksIpv4) {
  Pair pair("127.0.0.1:0");
  pair.caller = net::UniqueFd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  net::Socket listener(net::UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), FdTicket());
  ASSERT_EQ(listen(listener.FdDoNotKeep(), 1), 0);  // binds to a port of the kernel's choice
  Endpoint to = *listener.Local();
  to.ip = *IpAddress::Parse("127.0.0.1");
  sockaddr_storage address{};
  const socklen_t size = to.ToSockaddr(address, /*as_v6=*/true);
  ASSERT_EQ(connect(pair.caller.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&address), size), 0);
  const net::Socket accepted(
      net::UniqueFd(accept4(listener.FdDoNotKeep(), nullptr, nullptr, SOCK_CLOEXEC)), FdTicket());
  EXPECT_EQ(uids_.FindByNetlink(*accepted.Remote(), *accepted.Local()), geteuid());
  EXPECT_EQ(uids_.FindInProc(*accepted.Remote(), *accepted.Local()), geteuid());
}

TEST_F(PeerUidTest, WorksFromProcWhereThereIsNoDescriptorForNetlink) {
  FdPool one(PoolKind::kFiles, 1);
  std::optional<FdTicket> taken = one.TryTake();
  PeerUid uids(one);
  EXPECT_FALSE(uids.has_netlink());
  taken->Release();
  const Pair pair("127.0.0.1:0");
  EXPECT_EQ(uids.Find(pair.remote, pair.local), geteuid());
}

TEST_F(PeerUidTest, GivesItsDescriptorBack) {
  {
    const PeerUid second(files_);
    EXPECT_EQ(files_.used(), 2);
  }
  EXPECT_EQ(files_.used(), 1);
}

}  // namespace
}  // namespace helo::rpc
