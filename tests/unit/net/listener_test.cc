#include "p2p/net/listener.h"

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr uid_t kNobody = 65534;

class ListenerTest : public ::testing::Test {
 protected:
  absl::StatusOr<Listener> Open(const std::string& address, int backlog = 16) {
    return Listener::Open(Listen(address), backlog, Ticket(pool_), log_);
  }
  std::string ErrorOf(const std::string& address, absl::StatusCode code) {
    const absl::StatusOr<Listener> listener = Open(address);
    EXPECT_EQ(listener.status().code(), code) << listener.status().ToString();
    return std::string(listener.status().message());
  }

  FdPool pool_{PoolKind::kListener, 8};
  RecordingLog log_;
};

std::string At(const std::string& host, uint16_t port) { return absl::StrCat(host, ":", port); }

// Another process, with a name, that listens on `host` and a port of the kernel's choice.
class OtherProcess {
 public:
  explicit OtherProcess(const std::string& host) {
    std::array<int, 2> ready{}, end{};
    if (::pipe(ready.data()) != 0 || ::pipe(end.data()) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(end[1]);
      ::prctl(PR_SET_NAME, "other-listener");
      FdPool pool(PoolKind::kListener, 1);
      const absl::StatusOr<Listener> listener =
          Listener::Open(Listen(host + ":0"), 4, std::move(*pool.TryTake()), NullLog());
      const uint16_t port = listener.ok() ? listener->local().port : uint16_t{0};
      char byte = 0;
      if (::write(ready[1], &port, sizeof(port)) != sizeof(port)) ::_exit(1);
      // Until the parent closes its end, dead or alive.
      [[maybe_unused]] const ssize_t n = ::read(end[0], &byte, 1);
      ::_exit(0);
    }
    ::close(ready[1]);
    ::close(end[0]);
    end_ = UniqueFd(end[1]);
    if (::read(ready[0], &port_, sizeof(port_)) != sizeof(port_)) std::abort();
    ::close(ready[0]);
  }
  ~OtherProcess() {
    end_.Close();
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  uint16_t port() const { return port_; }

 private:
  pid_t pid_ = -1;
  uint16_t port_ = 0;
  UniqueFd end_;
};

TEST_F(ListenerTest, PortZeroGetsAPortOfTheKernelsChoiceAndItCanBeReached) {
  const absl::StatusOr<Listener> listener = Open("127.0.0.1:0");
  ASSERT_TRUE(listener.ok()) << listener.status().ToString();
  EXPECT_NE(listener->local().port, 0);
  EXPECT_EQ(listener->local().ip, Loopback(0).ip);
  EXPECT_FALSE(listener->dual_stack());
  EXPECT_EQ(listener->asked().port, 0);
  EXPECT_TRUE(ConnectTo(listener->local()));
  EXPECT_EQ(pool_.used(), 1);
}

TEST_F(ListenerTest, TheThreeStepsAreLoggedWithTheirDescriptorAndResult) {
  const absl::StatusOr<Listener> listener = Open("127.0.0.1:0");
  ASSERT_TRUE(listener.ok());
  const std::vector<RecordingLog::Line> lines = log_.Lines();
  ASSERT_EQ(lines.size(), 3u);
  const std::array<std::string, 3> calls = {"socket(AF_INET", "bind(127.0.0.1:0)", "listen(16)"};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(lines[i].level, LogLevel::kDebug);
    EXPECT_THAT(lines[i].Field("call"), StartsWith(calls[i]));
    EXPECT_EQ(lines[i].Field("fd"), absl::StrCat(listener->socket().FdDoNotKeep()));
    EXPECT_EQ(lines[i].Field("result"), "ok");
    EXPECT_EQ(lines[i].Field("listen"), Listen("127.0.0.1:0").ToString());
  }
}

TEST_F(ListenerTest, AStepThatFailsIsLoggedAsSuchAndIsTheLast) {
  EXPECT_FALSE(Open("192.0.2.1:0").ok());
  const std::vector<RecordingLog::Line> lines = log_.Lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1].Field("result"), "EADDRNOTAVAIL");
}

TEST_F(ListenerTest, DualStackTakesBothFamiliesAndTcp6OnlyItsOwn) {
  const absl::StatusOr<Listener> dual = Open(":0");
  ASSERT_TRUE(dual.ok()) << dual.status().ToString();
  if (dual->ipv4_fallback()) GTEST_SKIP() << "this machine has no IPv6";
  EXPECT_TRUE(dual->dual_stack());
  const uint16_t port = dual->local().port;
  EXPECT_TRUE(ConnectTo(Loopback(port)));
  EXPECT_TRUE(ConnectTo({*IpAddress::Parse("::1"), port}));

  const absl::StatusOr<Listener> six = Open("tcp6://[::]:0");
  ASSERT_TRUE(six.ok()) << six.status().ToString();
  EXPECT_FALSE(six->dual_stack());
  EXPECT_FALSE(ConnectTo(Loopback(six->local().port)));
  EXPECT_TRUE(ConnectTo({*IpAddress::Parse("::1"), six->local().port}));
  // So IPv4 may have the same port beside it.
  EXPECT_TRUE(Open(At("tcp4://0.0.0.0", six->local().port)).ok());
}

TEST_F(ListenerTest, Tcp4OnAnEmptyHostIsIpv4Alone) {
  const absl::StatusOr<Listener> four = Open("tcp4://:0");
  ASSERT_TRUE(four.ok()) << four.status().ToString();
  EXPECT_EQ(four->local().ip, IpAddress());
  EXPECT_FALSE(four->ipv4_fallback()) << "asked for, not fallen back to";
}

TEST_F(ListenerTest, WithoutIpv6TcpFallsBackToIpv4SayingSoAndTcp6Fails) {
  // A new network namespace has no IPv6 address, not even ::1, until its loopback is up.
  const std::string told = InChild([this]() -> std::string {
    if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return "skip";
    const absl::StatusOr<Listener> any = Open("tcp://:0");
    const absl::StatusOr<Listener> six = Open("tcp6://:0");
    const absl::StatusOr<Listener> literal = Open("[::1]:0");
    std::string text =
        any.ok() && any->ipv4_fallback() && !any->dual_stack() && any->local().ip.is_v4()
            ? "fell back\n"
            : "did not fall back\n";
    for (const RecordingLog::Line& line : log_.Lines(LogLevel::kWarn))
      text += "warned: " + line.message + "\n";
    text += six.status().ToString() + "\n" + literal.status().ToString();
    return text;
  });
  if (told == "skip") GTEST_SKIP() << "no right to make a network namespace here";
  EXPECT_THAT(told, AllOf(HasSubstr("fell back"), HasSubstr("warned: this machine has no IPv6"),
                          HasSubstr("FAILED_PRECONDITION: tcp6://"),
                          HasSubstr("/proc/net/if_inet6 is empty"), HasSubstr("tcp4://")));
  EXPECT_THAT(told, Not(HasSubstr("did not")));
}

TEST_F(ListenerTest, AnAddressThatIsNotOfThisMachineSaysSo) {
  EXPECT_THAT(ErrorOf("192.0.2.1:0", absl::StatusCode::kInvalidArgument),
              AllOf(HasSubstr("192.0.2.1"), HasSubstr("no interface of this machine"),
                    HasSubstr("ip address")));
  EXPECT_EQ(pool_.used(), 0);
}

TEST_F(ListenerTest, APortThatWeListenOnAlreadyIsNamedAsOurOwn) {
  const absl::StatusOr<Listener> first = Open("127.0.0.1:0");
  ASSERT_TRUE(first.ok());
  const std::string fd = absl::StrCat("this process (fd ", first->socket().FdDoNotKeep(), ")");
  EXPECT_THAT(ErrorOf(At("127.0.0.1", first->local().port), absl::StatusCode::kAlreadyExists),
              AllOf(HasSubstr(absl::StrCat("port ", first->local().port)), HasSubstr(fd),
                    HasSubstr("overlap")));
  EXPECT_THAT(ErrorOf(At("0.0.0.0", first->local().port), absl::StatusCode::kAlreadyExists),
              HasSubstr(fd));
  EXPECT_EQ(pool_.used(), 1);
}

TEST_F(ListenerTest, ADualStackListenerInTheWayOfIpv4IsFound) {
  const absl::StatusOr<Listener> dual = Open(":0");
  ASSERT_TRUE(dual.ok());
  EXPECT_THAT(ErrorOf(At("127.0.0.1", dual->local().port), absl::StatusCode::kAlreadyExists),
              AllOf(HasSubstr("this process"), HasSubstr("overlap")));
}

TEST_F(ListenerTest, AnIpv4ListenerInTheWayOfDualStackIsFound) {
  const absl::StatusOr<Listener> four = Open("127.0.0.1:0");
  ASSERT_TRUE(four.ok());
  const absl::StatusOr<Listener> dual = Open(At("", four->local().port));
  EXPECT_THAT(std::string(dual.status().message()), HasSubstr("this process"));
}

TEST_F(ListenerTest, APortOfAnotherProcessIsNamedWithPidAndCommand) {
  const OtherProcess other("127.0.0.1");
  ASSERT_NE(other.port(), 0);
  EXPECT_THAT(ErrorOf(At("0.0.0.0", other.port()), absl::StatusCode::kAlreadyExists),
              AllOf(HasSubstr(absl::StrCat("process ", other.pid(), " (other-listener)")),
                    HasSubstr(absl::StrCat("127.0.0.1:", other.port())),
                    HasSubstr("stop it, or choose another")));
}

TEST_F(ListenerTest, WhereTheProcessIsNotVisibleItsUserIsNamedAndHowToSeeMore) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to look as another user";
  const OtherProcess other("127.0.0.1");
  const std::string told = InChild([&]() -> std::string {
    if (::setuid(kNobody) != 0) return "setuid failed";
    return Open(At("127.0.0.1", other.port())).status().ToString();
  });
  EXPECT_THAT(told, AllOf(HasSubstr("ALREADY_EXISTS"), HasSubstr("a process of user root"),
                          HasSubstr(absl::StrCat("sudo ss -ltnp 'sport = :", other.port(), "'"))));
}

TEST_F(ListenerTest, AnOutgoingConnectionThatHasThePortIsNamedWithTheRangeItCameFrom) {
  const absl::StatusOr<Listener> somewhere = Open("127.0.0.1:0");
  ASSERT_TRUE(somewhere.ok());
  Socket outgoing(ConnectTo(somewhere->local()), FdTicket());
  ASSERT_TRUE(outgoing);
  const uint16_t port = outgoing.Local().value().port;
  EXPECT_THAT(ErrorOf(At("127.0.0.1", port), absl::StatusCode::kAlreadyExists),
              AllOf(HasSubstr("an outgoing connection of this process"),
                    HasSubstr("ip_local_port_range"), HasSubstr(somewhere->local().ToString())));
}

TEST_F(ListenerTest, ASocketThatIsBoundButDoesNotListenIsToldAsNotVisible) {
  const UniqueFd bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage name{};
  const socklen_t size = Loopback(0).ToSockaddr(name);
  ASSERT_EQ(::bind(bound.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&name), size), 0);
  const Socket view(UniqueFd(::dup(bound.FdDoNotKeep())), FdTicket());
  EXPECT_THAT(ErrorOf(At("127.0.0.1", view.Local().value().port), absl::StatusCode::kAlreadyExists),
              HasSubstr("does not listen yet"));
}

TEST_F(ListenerTest, ARestartWithConnectionsInTimeWaitWorks) {
  absl::StatusOr<Listener> first = Open("127.0.0.1:0");
  ASSERT_TRUE(first.ok());
  const uint16_t port = first->local().port;
  UniqueFd client = ConnectTo(first->local());
  ASSERT_TRUE(client);
  UniqueFd accepted(::accept4(first->socket().FdDoNotKeep(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(accepted);
  accepted.Close();  // the side that closes first keeps TIME_WAIT
  std::array<char, 1> byte{};
  EXPECT_EQ(::read(client.FdDoNotKeep(), byte.data(), 1), 0);
  client.Close();
  first->socket().Close();
  const absl::StatusOr<Listener> second = Open(At("127.0.0.1", port));
  EXPECT_TRUE(second.ok()) << second.status().ToString();
}

TEST_F(ListenerTest, APrivilegedPortNamesTheSettingAndTheRemedies) {
  int start = 1024;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> start;
  if (start <= 1) GTEST_SKIP() << "no port is privileged on this machine";
  const std::string told = InChild([this]() -> std::string {
    if (::geteuid() == 0 && ::setuid(kNobody) != 0) return "setuid failed";
    return Open("127.0.0.1:1").status().ToString();
  });
  EXPECT_THAT(
      told, AllOf(HasSubstr("PERMISSION_DENIED"), HasSubstr("net.ipv4.ip_unprivileged_port_start"),
                  HasSubstr(absl::StrCat("below ", start)), HasSubstr("CAP_NET_BIND_SERVICE")));
}

TEST_F(ListenerTest, WithoutADescriptorTheSocketStepSaysSo) {
  const NoDescriptors exhausted;
  EXPECT_THAT(ErrorOf("127.0.0.1:0", absl::StatusCode::kResourceExhausted),
              AllOf(HasSubstr("socket()"), HasSubstr("EMFILE"), HasSubstr("ulimit -n")));
  EXPECT_EQ(pool_.used(), 0);
}

TEST_F(ListenerTest, AnAddressWithoutItsInterfaceSaysWhatIsMissing) {
  if (!std::ifstream("/proc/net/if_inet6").good()) GTEST_SKIP() << "this machine has no IPv6";
  EXPECT_THAT(ErrorOf("[fe80::1]:0", absl::StatusCode::kInvalidArgument), HasSubstr("%eth0"));
}

TEST_F(ListenerTest, FamilyAndAddressMustAgree) {
  ListenAddress address;
  address.family = ListenAddress::Family::kV4;
  address.ip = IpAddress::Parse("::1");
  const absl::StatusOr<Listener> listener = Listener::Open(address, 4, Ticket(pool_), log_);
  EXPECT_EQ(listener.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ListenerTest, TheBacklogThatTheKernelMadeOfTheOneAskedForIsToldAndLoggedIfShorter) {
  int somaxconn = 0;
  std::ifstream("/proc/sys/net/core/somaxconn") >> somaxconn;
  ASSERT_GT(somaxconn, 0);
  const absl::StatusOr<Listener> fits = Open("127.0.0.1:0", 3);
  ASSERT_TRUE(fits.ok());
  EXPECT_EQ(fits->backlog_effective(), 3);
  EXPECT_TRUE(log_.Lines(LogLevel::kInfo).empty());
  const absl::StatusOr<Listener> cut = Open("127.0.0.1:0", somaxconn + 1);
  ASSERT_TRUE(cut.ok());
  EXPECT_EQ(cut->backlog_asked(), somaxconn + 1);
  EXPECT_EQ(cut->backlog_effective(), somaxconn);
  ASSERT_EQ(log_.Lines(LogLevel::kInfo).size(), 1u);
  EXPECT_THAT(log_.Lines(LogLevel::kInfo)[0].message, HasSubstr("net.core.somaxconn"));
}

}  // namespace
}  // namespace helo::net
