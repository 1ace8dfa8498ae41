#include "p2p/net/resolver.h"

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/net/fd_table.h"
#include "tests/unit/net/dns_server.h"
#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Result = absl::StatusOr<std::vector<IpAddress>>;

IpAddress Ip(const std::string& text) { return *IpAddress::Parse(text); }

// Where a result arrives; shared with the callback, so that one that comes too late or twice is
// seen.
struct Answer {
  Flag came;
  int times = 0;
  Result result = absl::UnknownError("none yet");
};

class ResolverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + absl::StrCat("helo-resolv.", ::getpid(), ".conf");
    thread_.On([&] { server_ = std::make_unique<DnsServer>(thread_.loop(), "127.0.0.1"); });
    WriteConf("nameserver 127.0.0.1\n");
  }
  void TearDown() override {
    thread_.On([&] {
      resolver_.reset();
      server_.reset();
      second_server_.reset();
    });
    EXPECT_EQ(thread_.files().used(), EventLoop::kDescriptors) << "a ticket was not given back";
    thread_.Stop();
    ::unlink(path_.c_str());
  }
  void WriteConf(const std::string& text) {
    // A new file each time, as the programs that write resolv.conf do it.
    const std::string fresh = path_ + ".new";
    std::ofstream(fresh) << text;
    ASSERT_EQ(::rename(fresh.c_str(), path_.c_str()), 0);
  }
  void Begin(Duration timeout = kPatience) {
    AresOptions options;
    options.timeout = timeout;
    options.resolv_conf = path_;
    options.port = server_->port();
    thread_.On([&] {
      auto made = MakeAresResolver(thread_.loop(), thread_.files(), options);
      ASSERT_TRUE(made.ok()) << made.status().ToString();
      resolver_ = std::move(*made);
    });
  }
  std::shared_ptr<Answer> Ask(const std::string& host, uint64_t* id = nullptr) {
    auto answer = std::make_shared<Answer>();
    thread_.On([&] {
      const uint64_t query = resolver_->Resolve(host, [answer](Result result) {
        ++answer->times;
        answer->result = std::move(result);
        answer->came.Set();
      });
      EXPECT_EQ(answer->times, 0) << "called from within Resolve";
      if (id != nullptr) *id = query;
    });
    return answer;
  }
  Result Resolve(const std::string& host) {
    const std::shared_ptr<Answer> answer = Ask(host);
    EXPECT_TRUE(answer->came.Wait()) << host;
    thread_.On([&] { EXPECT_EQ(answer->times, 1); });
    return answer->result;
  }
  void OnServer(const std::function<void(DnsServer&)>& fn) {
    thread_.On([&] { fn(*server_); });
  }

  LoopThread thread_;
  std::string path_;
  std::unique_ptr<DnsServer> server_, second_server_;
  std::unique_ptr<Resolver> resolver_;
};

TEST_F(ResolverTest, ALiteralIsAnsweredAsItselfWithoutAskingAnybody) {
  Begin();
  EXPECT_THAT(Resolve("192.0.2.7").value(), ElementsAre(Ip("192.0.2.7")));
  EXPECT_THAT(Resolve("2001:db8::1").value(), ElementsAre(Ip("2001:db8::1")));
  OnServer([](DnsServer& server) { EXPECT_EQ(server.udp_queries, 0); });
}

TEST_F(ResolverTest, LocalhostComesFromTheHostsFile) {
  Begin();
  const Result result = Resolve("localhost");
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  for (const IpAddress& ip : *result) EXPECT_TRUE(ip.IsLoopback()) << ip.ToString();
  OnServer([](DnsServer& server) { EXPECT_EQ(server.udp_queries, 0); });
}

TEST_F(ResolverTest, ANameIsAskedForBothFamiliesAndNoAddressComesTwice) {
  OnServer([](DnsServer& server) {
    server.names["node.test"] = {Ip("127.0.0.5"), Ip("127.0.0.6"), Ip("127.0.0.5"), Ip("::1")};
    server.names["four.test"] = {Ip("127.0.0.9")};
  });
  Begin();
  EXPECT_THAT(Resolve("node.test").value(),
              UnorderedElementsAre(Ip("127.0.0.5"), Ip("127.0.0.6"), Ip("::1")));
  EXPECT_THAT(Resolve("four.test").value(), ElementsAre(Ip("127.0.0.9")));
}

TEST_F(ResolverTest, ANameThatDoesNotExistIsNotFoundAndTheSentenceNamesItAndWhoWasAsked) {
  OnServer([](DnsServer& server) { server.names["empty.test"] = {}; });
  Begin();
  const Result result = Resolve("nothing.test");
  EXPECT_EQ(result.status().code(), absl::StatusCode::kNotFound) << result.status().ToString();
  EXPECT_THAT(std::string(result.status().message()),
              AllOf(HasSubstr("\"nothing.test\""), HasSubstr("127.0.0.1")));
  EXPECT_EQ(Resolve("empty.test").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ResolverTest, WhatLooksLikeAnAddressAndIsNoneIsNeverAskedFor) {
  Begin();
  for (const char* host : {"1.2.3", "999.0.0.1", "10", "node.7", "", "."}) {
    EXPECT_EQ(Resolve(host).status().code(), absl::StatusCode::kNotFound) << host;
  }
  OnServer([](DnsServer& server) { EXPECT_EQ(server.udp_queries, 0); });
}

TEST_F(ResolverTest, AServerThatFailsMakesItUnavailable) {
  OnServer([](DnsServer& server) {
    server.failures["broken.test"] = DnsServer::kServerFailure;
    server.failures["forbidden.test"] = DnsServer::kRefused;
  });
  Begin();
  for (const char* host : {"broken.test", "forbidden.test"}) {
    const Result result = Resolve(host);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kUnavailable) << result.status().ToString();
    EXPECT_THAT(std::string(result.status().message()), HasSubstr(host));
  }
}

TEST_F(ResolverTest, AServerThatIsSilentEndsInTheDeadlineNotLater) {
  OnServer([](DnsServer& server) { server.answer_nothing = true; });
  Begin(milliseconds(300));
  const MonoTime begin = RealClock().Now();
  const Result result = Resolve("node.test");
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded)
      << result.status().ToString();
  EXPECT_THAT(std::string(result.status().message()),
              AllOf(HasSubstr("\"node.test\""), HasSubstr("127.0.0.1")));
  EXPECT_LT(RealClock().Now() - begin, seconds(5));
  // Its sockets are closed as soon as nobody waits.
  EXPECT_TRUE(Eventually([&] { return thread_.files().used() == EventLoop::kDescriptors; }));
}

TEST_F(ResolverTest, AServerThatAnswersGarbageHoldsNothingUp) {
  OnServer([](DnsServer& server) { server.answer_garbage = true; });
  Begin(milliseconds(300));
  EXPECT_FALSE(Resolve("node.test").ok());
}

TEST_F(ResolverTest, NoServerAtAllIsAnErrorNotAWait) {
  Begin(seconds(1));
  thread_.On([&] { server_.reset(); });
  const Result result = Resolve("node.test");
  EXPECT_TRUE(absl::IsUnavailable(result.status()) || absl::IsDeadlineExceeded(result.status()))
      << result.status().ToString();
}

TEST_F(ResolverTest, ALostPacketIsSentAgainWithinTheDeadline) {
  OnServer([](DnsServer& server) {
    server.names["node.test"] = {Ip("127.0.0.5")};
    server.lose = 2;  // one for each family
  });
  Begin(seconds(4));
  EXPECT_THAT(Resolve("node.test").value(), ElementsAre(Ip("127.0.0.5")));
}

TEST_F(ResolverTest, AnIpv4AnswerIsOfUseThoughTheServerNeverAnswersForIpv6) {
  // As some home routers do: nothing at all for AAAA.
  OnServer([](DnsServer& server) {
    server.names["node.test"] = {Ip("127.0.0.5")};
    server.ignore_v6 = true;
  });
  Begin(seconds(1));
  const Result result = Resolve("node.test");
  ASSERT_TRUE(result.ok()) << result.status().ToString();
  EXPECT_THAT(*result, ElementsAre(Ip("127.0.0.5")));
}

TEST_F(ResolverTest, TheSecondServerIsAskedWhenTheFirstIsSilent) {
  thread_.On([&] {
    second_server_ = std::make_unique<DnsServer>(thread_.loop(), "127.0.0.2", server_->port());
    second_server_->names["node.test"] = {Ip("127.0.0.5")};
    server_->answer_nothing = true;
  });
  WriteConf("nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
  Begin(seconds(4));
  EXPECT_THAT(Resolve("node.test").value(), ElementsAre(Ip("127.0.0.5")));
}

TEST_F(ResolverTest, AnAnswerTooLongForUdpIsFetchedOverTcp) {
  std::vector<IpAddress> many;
  for (uint8_t i = 1; i <= 100; ++i) many.push_back(IpAddress::V4({127, 0, 1, i}));
  OnServer([&](DnsServer& server) {
    server.names["many.test"] = many;
    server.truncate_udp = true;
  });
  Begin();
  EXPECT_THAT(Resolve("many.test").value(), ::testing::UnorderedElementsAreArray(many));
  OnServer([](DnsServer& server) { EXPECT_GE(server.tcp_queries, 1); });
}

TEST_F(ResolverTest, SearchDomainsOfResolvConfAreHonoured) {
  OnServer([](DnsServer& server) { server.names["node.cluster.test"] = {Ip("127.0.0.5")}; });
  WriteConf("search cluster.test\nnameserver 127.0.0.1\n");
  Begin();
  EXPECT_THAT(Resolve("node").value(), ElementsAre(Ip("127.0.0.5")));
}

TEST_F(ResolverTest, AChangedResolvConfIsReadAgainWhileOldQueriesGoOn) {
  thread_.On([&] {
    second_server_ = std::make_unique<DnsServer>(thread_.loop(), "127.0.0.2", server_->port());
    second_server_->names["node.test"] = {Ip("127.0.0.22")};
    server_->names["node.test"] = {Ip("127.0.0.11")};
    server_->silent = {"slow.test"};
  });
  Begin(milliseconds(1500));
  EXPECT_THAT(Resolve("node.test").value(), ElementsAre(Ip("127.0.0.11")));
  const std::shared_ptr<Answer> slow = Ask("slow.test");
  WriteConf("# moved\nnameserver 127.0.0.2\n");
  EXPECT_THAT(Resolve("node.test").value(), ElementsAre(Ip("127.0.0.22")));
  ASSERT_TRUE(slow->came.Wait());
  EXPECT_EQ(slow->result.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ResolverTest, ManyNamesAtOnceShareASocket) {
  OnServer([](DnsServer& server) {
    for (int i = 0; i < 200; ++i) {
      server.names[absl::StrCat("n", i, ".test")] = {
          IpAddress::V4({127, 0, 2, static_cast<uint8_t>(i)})};
    }
  });
  Begin();
  std::vector<std::shared_ptr<Answer>> answers;
  answers.reserve(200);
  for (int i = 0; i < 200; ++i) answers.push_back(Ask(absl::StrCat("n", i, ".test")));
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(answers[i]->came.Wait()) << i;
    EXPECT_THAT(answers[i]->result.value(),
                ElementsAre(IpAddress::V4({127, 0, 2, static_cast<uint8_t>(i)})));
  }
  EXPECT_LE(thread_.files().used(), EventLoop::kDescriptors + 2);
}

TEST_F(ResolverTest, ACancelledQueryIsNotAnsweredAndItsSocketsAreClosed) {
  OnServer([](DnsServer& server) {
    server.silent = {"silent.test"};
    server.names["node.test"] = {Ip("127.0.0.5")};
  });
  Begin();
  uint64_t silent = 0, literal = 0;
  const std::shared_ptr<Answer> first = Ask("silent.test", &silent);
  thread_.On([&] { resolver_->Cancel(silent); });
  EXPECT_EQ(thread_.files().used(), EventLoop::kDescriptors);
  auto second = std::make_shared<Answer>();
  thread_.On([&] {
    // Decided already, not yet told.
    literal = resolver_->Resolve("127.0.0.1", [second](const Result&) { ++second->times; });
    resolver_->Cancel(literal);
    resolver_->Cancel(literal);
    resolver_->Cancel(12345);
  });
  EXPECT_TRUE(Resolve("node.test").ok());
  thread_.On([&] {
    EXPECT_EQ(first->times, 0);
    EXPECT_EQ(second->times, 0);
  });
  EXPECT_EQ(first.use_count(), 1) << "its callback is kept";
}

TEST_F(ResolverTest, ItsSocketsAreNamedWhileItHasThem) {
  OnServer([](DnsServer& server) { server.silent = {"silent.test"}; });
  Begin();
  uint64_t silent = 0;
  const std::shared_ptr<Answer> answer = Ask("silent.test", &silent);
  thread_.On([&] {
    const std::vector<OwnFd> own = resolver_->OwnFds();
    EXPECT_FALSE(own.empty());
    EXPECT_EQ(static_cast<int>(own.size()), thread_.files().used() - EventLoop::kDescriptors);
    for (const OwnFd& fd : own) {
      const FdEntry entry = ReadFd(fd.fd).value();
      EXPECT_EQ(entry.cookie, fd.cookie);
      EXPECT_EQ(entry.protocol, "udp");
      EXPECT_EQ(entry.remote, Loopback(server_->port()));
      EXPECT_EQ(fd.pool, PoolKind::kFiles);
    }
    resolver_->Cancel(silent);
    EXPECT_TRUE(resolver_->OwnFds().empty());
  });
}

TEST_F(ResolverTest, CancellingOneQueryLeavesTheOthersAlone) {
  OnServer([](DnsServer& server) {
    server.lose = 4;
    server.names["one.test"] = server.names["two.test"] = {Ip("127.0.0.5")};
  });
  Begin(seconds(4));
  uint64_t id = 0;
  const std::shared_ptr<Answer> one = Ask("one.test", &id);
  const std::shared_ptr<Answer> two = Ask("two.test");
  thread_.On([&] { resolver_->Cancel(id); });
  ASSERT_TRUE(two->came.Wait());
  EXPECT_TRUE(two->result.ok()) << two->result.status().ToString();
  thread_.On([&] { EXPECT_EQ(one->times, 0); });
}

TEST_F(ResolverTest, DestroyedWithQueriesInFlightItCallsNobodyAndKeepsNothing) {
  OnServer([](DnsServer& server) { server.answer_nothing = true; });
  Begin();
  std::vector<std::shared_ptr<Answer>> answers;
  answers.reserve(11);
  for (int i = 0; i < 5; ++i) answers.push_back(Ask(absl::StrCat("n", i, ".test")));
  WriteConf("nameserver 127.0.0.1\n# again\n");
  for (int i = 5; i < 10; ++i) answers.push_back(Ask(absl::StrCat("n", i, ".test")));
  thread_.On([&] {
    auto literal = std::make_shared<Answer>();
    answers.push_back(literal);
    resolver_->Resolve("127.0.0.1", [literal](const Result&) { ++literal->times; });
    resolver_.reset();
  });
  EXPECT_EQ(thread_.files().used(), EventLoop::kDescriptors);
  thread_.PassTurns();
  for (const auto& answer : answers) {
    EXPECT_EQ(answer->times, 0);
    EXPECT_EQ(answer.use_count(), 1);
  }
}

TEST_F(ResolverTest, ACallbackMayAskAgainOrDestroyTheResolver) {
  OnServer([](DnsServer& server) { server.names["node.test"] = {Ip("127.0.0.5")}; });
  Begin();
  Flag done;
  thread_.On([&] {
    resolver_->Resolve("node.test", [&](const Result&) {
      resolver_->Resolve("node.test", [&](const Result& again) {
        EXPECT_TRUE(again.ok());
        resolver_->Resolve("node.test", [](const Result&) {});
        resolver_.reset();
        done.Set();
      });
    });
  });
  EXPECT_TRUE(done.Wait());
  thread_.PassTurns();
}

TEST_F(ResolverTest, WithoutATicketForASocketItSaysSo) {
  OnServer([](DnsServer& server) { server.names["node.test"] = {Ip("127.0.0.5")}; });
  Begin();
  thread_.files().SetLimit(EventLoop::kDescriptors);
  const Result result = Resolve("node.test");
  EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted)
      << result.status().ToString();
  EXPECT_THAT(std::string(result.status().message()),
              AllOf(HasSubstr("node.test"), HasSubstr("files")));
  thread_.files().SetLimit(64);
  EXPECT_TRUE(Resolve("node.test").ok()) << "it works again with room";
}

TEST_F(ResolverTest, AnUnresolvableNameInFlightDoesNotHoldItsEndUp) {
  OnServer([](DnsServer& server) { server.answer_nothing = true; });
  Begin();
  const std::shared_ptr<Answer> answer = Ask("node.test");
  const MonoTime begin = RealClock().Now();
  thread_.On([&] { resolver_.reset(); });
  EXPECT_LT(RealClock().Now() - begin, seconds(5));
  EXPECT_EQ(answer->times, 0);
}

}  // namespace
}  // namespace helo::net
