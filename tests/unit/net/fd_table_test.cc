#include "p2p/net/fd_table.h"

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <thread>

#include "p2p/net/listener.h"
#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

using ::testing::Contains;

FdEntry Read(int fd) {
  std::optional<FdEntry> entry = ReadFd(fd);
  EXPECT_TRUE(entry) << "fd " << fd;
  return entry.value_or(FdEntry());
}

FdKind KindOf(const UniqueFd& fd) { return Read(fd.FdDoNotKeep()).kind; }

TEST(FdTableTest, EveryKindIsToldFromWhatTheKernelSays) {
  EXPECT_EQ(KindOf(UniqueFd(::epoll_create1(EPOLL_CLOEXEC))), FdKind::kEpoll);
  EXPECT_EQ(KindOf(UniqueFd(::eventfd(0, EFD_CLOEXEC))), FdKind::kEventfd);
  EXPECT_EQ(KindOf(UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC))), FdKind::kTimerfd);
  sigset_t none;
  sigemptyset(&none);
  EXPECT_EQ(KindOf(UniqueFd(::signalfd(-1, &none, SFD_CLOEXEC))), FdKind::kSignalfd);
  EXPECT_EQ(KindOf(UniqueFd(::inotify_init1(IN_CLOEXEC))), FdKind::kInotify);
  EXPECT_EQ(KindOf(UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC))), FdKind::kDevice);
  EXPECT_EQ(KindOf(UniqueFd(::open("/tmp", O_RDONLY | O_CLOEXEC | O_DIRECTORY))),
            FdKind::kDirectory);
  EXPECT_EQ(KindOf(UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC))), FdKind::kFile);
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd a(ends[0]);
  const UniqueFd b(ends[1]);
  EXPECT_EQ(KindOf(a), FdKind::kPipe);
  EXPECT_EQ(Read(ends[0]).inode, Read(ends[1]).inode);
}

TEST(FdTableTest, AnonymousInodesAreKnownByEveryNameThatKernelsGaveThem) {
  EXPECT_EQ(ClassifyFd("anon_inode:inotify", 0), FdKind::kInotify);
  EXPECT_EQ(ClassifyFd("anon_inode:[io_uring]", 0), FdKind::kOther);
  EXPECT_EQ(ClassifyFd("/tmp/anon_inode:[eventpoll]", S_IFREG), FdKind::kFile);
  EXPECT_EQ(ClassifyFd("", S_IFREG), FdKind::kFile);
}

TEST(FdTableTest, ASocketTellsItsProtocolItsEndsAndItsState) {
  FdPool pool(PoolKind::kListener, 1);
  absl::StatusOr<Listener> listener =
      Listener::Open(Listen("127.0.0.1:0"), 4, Ticket(pool), NullLog());
  ASSERT_TRUE(listener.ok());
  const FdEntry listening = Read(listener->socket().FdDoNotKeep());
  EXPECT_EQ(listening.kind, FdKind::kSocket);
  EXPECT_EQ(listening.protocol, "tcp");
  EXPECT_EQ(listening.tcp_state, "LISTEN");
  EXPECT_EQ(listening.local, listener->local());
  EXPECT_EQ(listening.remote, std::nullopt);
  EXPECT_EQ(listening.link, absl::StrCat("socket:[", listening.inode, "]"));

  const UniqueFd client = ConnectTo(listener->local());
  const FdEntry dialed = Read(client.FdDoNotKeep());
  EXPECT_EQ(dialed.tcp_state, "ESTABLISHED");
  EXPECT_EQ(dialed.remote, listener->local());
  EXPECT_NE(dialed.cookie, listening.cookie);
  EXPECT_NE(dialed.cookie, 0u);

  const SocketPair pair = MakeSocketPair();
  EXPECT_EQ(Read(pair.a.FdDoNotKeep()).protocol, "unix");
  const UniqueFd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(Read(udp.FdDoNotKeep()).protocol, "udp");
  EXPECT_EQ(Read(udp.FdDoNotKeep()).tcp_state, "");
}

TEST(FdTableTest, AnIpv4PeerOfADualStackSocketIsShownAsIpv4) {
  FdPool pool(PoolKind::kListener, 1);
  absl::StatusOr<Listener> listener = Listener::Open(Listen(":0"), 4, Ticket(pool), NullLog());
  ASSERT_TRUE(listener.ok());
  if (!listener->dual_stack()) GTEST_SKIP() << "this machine has no IPv6";
  const UniqueFd client = ConnectTo(Loopback(listener->local().port));
  const UniqueFd accepted(
      ::accept4(listener->socket().FdDoNotKeep(), nullptr, nullptr, SOCK_CLOEXEC));
  const FdEntry entry = Read(accepted.FdDoNotKeep());
  EXPECT_EQ(entry.protocol, "tcp6");
  ASSERT_TRUE(entry.local && entry.remote);
  EXPECT_EQ(entry.local->ToString(), absl::StrCat("127.0.0.1:", listener->local().port));
  EXPECT_TRUE(entry.remote->ip.is_v4());
}

TEST(FdTableTest, TheListIsWhatIsOpenWithoutTheDescriptorThatReadsIt) {
  const UniqueFd mine(::eventfd(0, EFD_CLOEXEC));
  const absl::StatusOr<std::vector<int>> first = ListFds();
  const absl::StatusOr<std::vector<int>> second = ListFds();
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);  // nothing is left open by it
  EXPECT_THAT(*first, Contains(mine.FdDoNotKeep()));
  for (const int fd : *first) EXPECT_GE(::fcntl(fd, F_GETFD), 0) << fd;
}

TEST(FdTableTest, InPagesTheListIsTheSame) {
  std::vector<UniqueFd> more;
  for (int i = 0; i < 30; ++i) more.emplace_back(::eventfd(0, EFD_CLOEXEC));
  more.erase(more.begin() + 7, more.begin() + 12);  // a gap
  const UniqueFd high(::fcntl(more[0].FdDoNotKeep(), F_DUPFD_CLOEXEC, 700));
  const absl::StatusOr<std::vector<int>> all = ListFds();
  ASSERT_TRUE(all.ok());
  for (const size_t most : {size_t{1}, size_t{7}, all->size() - 1, all->size(), size_t{5000}}) {
    std::vector<int> paged;
    for (int after = -1;;) {
      const absl::StatusOr<FdNumbers> page = ListFdsAfter(after, most);
      ASSERT_TRUE(page.ok()) << page.status().ToString();
      EXPECT_EQ(page->open, all->size());
      ASSERT_LE(page->numbers.size(), most);
      paged.insert(paged.end(), page->numbers.begin(), page->numbers.end());
      if (!page->more) break;
      after = paged.back();
    }
    EXPECT_EQ(paged, *all) << most;
  }
  const absl::StatusOr<FdNumbers> beyond = ListFdsAfter(100'000'000, 5);
  ASSERT_TRUE(beyond.ok());
  EXPECT_TRUE(beyond->numbers.empty());
  EXPECT_FALSE(beyond->more);
}

TEST(FdTableTest, WithoutADescriptorToReadItByTheListIsTheSameEvenAboveALoweredLimit) {
  const absl::StatusOr<std::vector<int>> before = ListFds();
  ASSERT_TRUE(before.ok());
  const UniqueFd last(::eventfd(0, EFD_CLOEXEC));
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const UniqueFd high(::fcntl(last.FdDoNotKeep(), F_DUPFD_CLOEXEC, 300));
  rlimit none = limit;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::StatusOr<std::vector<int>> starved = ListFds(high.FdDoNotKeep() + 1);
  const std::optional<FdEntry> entry = ReadFd(last.FdDoNotKeep());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_TRUE(starved.ok()) << starved.status().ToString();
  std::vector<int> expected = *before;
  expected.push_back(last.FdDoNotKeep());
  expected.push_back(high.FdDoNotKeep());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(*starved, expected);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->kind, FdKind::kEventfd);
}

TEST(FdTableTest, AClosedNumberIsNothing) {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
  const int number = fd.FdDoNotKeep();
  fd.Close();
  EXPECT_FALSE(ReadFd(number));
  EXPECT_EQ(SocketCookie(number), 0u);
}

TEST(FdTableTest, ANumberThatChangesHandsWhileItIsReadNeverGivesHalfOfEach) {
  // One thread gives the number to fresh sockets in turn: IPv4 ones that listen, IPv6 ones that do
  // not.
  if (!UniqueFd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0))) {
    GTEST_SKIP() << "this machine has no IPv6";
  }
  const UniqueFd shared(::eventfd(0, EFD_CLOEXEC));
  const int number = shared.FdDoNotKeep();
  std::atomic<bool> stop{false};
  std::thread changing([&] {
    while (!stop) {
      const UniqueFd four(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      ::listen(four.FdDoNotKeep(), 1);
      ::dup2(four.FdDoNotKeep(), number);
      const UniqueFd six(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
      ::dup2(six.FdDoNotKeep(), number);
    }
  });
  int listening = 0;
  int fresh = 0;
  for (int i = 0; i < 2'000'000 && (listening < 100 || fresh < 100); ++i) {
    const std::optional<FdEntry> entry = ReadFd(number);
    if (!entry || entry->kind != FdKind::kSocket) continue;
    ++(entry->protocol == "tcp" ? listening : fresh);
    EXPECT_EQ(entry->tcp_state, entry->protocol == "tcp" ? "LISTEN" : "CLOSED");
    EXPECT_EQ(entry->link, absl::StrCat("socket:[", entry->inode, "]"));
    if (::testing::Test::HasFailure()) break;
  }
  stop = true;
  changing.join();
  EXPECT_GT(listening, 0);
  EXPECT_GT(fresh, 0);
}

TEST(FdTableTest, ALoopNamesItsOwn) {
  LoopThread loop;
  std::vector<FdKind> kinds;
  for (const OwnFd& own : loop.loop().OwnFds()) kinds.push_back(Read(own.fd).kind);
  EXPECT_THAT(kinds, ::testing::ElementsAre(FdKind::kEpoll, FdKind::kEpoll, FdKind::kEpoll,
                                            FdKind::kEventfd));
}

// --- The story of the seed: the kernel gives the lowest free number, so a number names whoever has
// it now and nothing more.

constexpr int kHigh = 400;

// The other end of a connection, out of the way of the low numbers.
UniqueFd HighSocket() {
  UniqueFd low(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return UniqueFd(::fcntl(low.FdDoNotKeep(), F_DUPFD_CLOEXEC, kHigh));
}

// Takes every free number below the highest one in use, so that what is opened next stands in a row
// whatever this process was started with.
std::vector<UniqueFd> WithoutGaps() {
  int highest = 0;
  for (int fd = 0; fd < kHigh; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) highest = fd;
  }
  std::vector<UniqueFd> fillers;
  do {
    fillers.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  } while (fillers.back() && fillers.back().FdDoNotKeep() < highest);
  return fillers;
}

class KeepAll : public AcceptorDelegate {
 public:
  void OnAccepted(Socket socket, const Endpoint& remote, const Endpoint& /*local*/) override {
    held.emplace_back(remote, std::move(socket));
    ++accepted;
  }
  bool MakeRoom() override { return false; }
  std::deque<std::pair<Endpoint, Socket>> held;  // the loop's
  std::atomic<int> accepted{0};
};

TEST(FdTableTest, TheListenerIsNTheFirstPeerNPlus1TheSecondNPlus2AndAReusedNumberIsTheThirds) {
  FdPool pool(PoolKind::kListener, 8);
  LoopThread
      loop;  // its own descriptors come first, so that nothing is between the ones that count
  const std::vector<UniqueFd> fillers = WithoutGaps();
  absl::StatusOr<Listener> opened =
      Listener::Open(Listen("127.0.0.1:0"), 8, Ticket(pool), NullLog());
  ASSERT_TRUE(opened.ok());
  const int n = opened->socket().FdDoNotKeep();
  const Endpoint local = opened->local();
  KeepAll peers;
  std::unique_ptr<Acceptor> acceptor;
  loop.On([&] {
    acceptor = *Acceptor::Start(loop.loop(), std::move(*opened), pool, peers, NullLog());
  });
  sockaddr_storage name{};
  const socklen_t size = local.ToSockaddr(name);
  const auto connect = [&](const UniqueFd& from) {
    const int before = peers.accepted;
    EXPECT_EQ(::connect(from.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&name), size), 0);
    EXPECT_TRUE(Eventually([&] { return peers.accepted > before; }));
    return *Read(from.FdDoNotKeep()).local;
  };
  const UniqueFd a = HighSocket();
  const UniqueFd b = HighSocket();
  const UniqueFd c = HighSocket();
  const Endpoint from_a = connect(a);
  const Endpoint from_b = connect(b);
  const FdEntry first = Read(n + 1);
  EXPECT_EQ(Read(n).tcp_state, "LISTEN");
  EXPECT_EQ(first.remote, from_a);
  EXPECT_EQ(Read(n + 2).remote, from_b);

  loop.On([&] { peers.held.pop_front(); });
  EXPECT_FALSE(ReadFd(n + 1));
  const Endpoint from_c = connect(c);
  const FdEntry reused = Read(n + 1);
  EXPECT_EQ(reused.remote, from_c);
  EXPECT_EQ(Read(n + 2).remote, from_b);
  EXPECT_NE(reused.cookie, first.cookie);  // by which a label of A's never gets to C
  loop.On([&] {
    acceptor.reset();
    peers.held.clear();
  });
}

}  // namespace
}  // namespace helo::net
