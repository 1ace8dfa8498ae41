// The metrics listener over real sockets: answers, bounds, and callers that mean harm.
#include "node/metrics_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "p2p/base/testing/capturing_log.h"

namespace helo::node {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kGet = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

// A blocking client with a limit on every wait.
class Client {
 public:
  explicit Client(const Endpoint& to) {
    sockaddr_storage addr{};
    const socklen_t size = to.ToSockaddr(addr);
    fd_ = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&addr), size), 0);
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  bool Say(std::string_view text) const {
    return send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == std::ssize(text);
  }
  bool Readable(int patience_ms) const {
    pollfd p{fd_, POLLIN, 0};
    return poll(&p, 1, patience_ms) == 1;
  }
  // All that comes until the server closes.
  std::string Hear() const {
    std::string all;
    char buffer[4096];
    while (Readable(20'000)) {
      const ssize_t n = recv(fd_, buffer, sizeof buffer, 0);
      if (n <= 0) return all;
      all.append(buffer, static_cast<size_t>(n));
    }
    ADD_FAILURE() << "the server did not close; heard: " << all;
    return all;
  }

 private:
  int fd_;
};

class MetricsServerTest : public ::testing::Test {
 protected:
  void Serve(MetricsServer::Collect collect, MetricsServer::Times times = {}, int admin = 16) {
    admin_.SetLimit(admin);
    auto server = MetricsServer::Start(*Endpoint::Parse("127.0.0.1:0"), std::move(collect), admin_,
                                       files_, RealClock(), log_, times);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  static MetricsServer::Collect Text(std::string text) {
    return [text](const MetricsServer::Answer& answer) { answer([text] { return text; }); };
  }
  std::string Exchange(std::string_view request) {
    Client client(server_->address());
    EXPECT_TRUE(client.Say(request));
    return client.Hear();
  }

  helo::testing::CapturingLog log_;
  FdPool admin_{PoolKind::kAdmin, 16}, files_{PoolKind::kFiles, 16};
  std::unique_ptr<MetricsServer> server_;
};

TEST_F(MetricsServerTest, OneAnswerAndClosed) {
  Serve(Text("helo_peers 3\n"));
  const std::string answer = Exchange(kGet);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nhelo_peers 3\n"));
  EXPECT_THAT(Exchange("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\n"));
  EXPECT_THAT(Exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Exchange("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"),
              StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Exchange("\x16\x03\x01\x02"), StartsWith("HTTP/1.1 400 "));
}

TEST_F(MetricsServerTest, ALargeAnswerArrivesWhole) {
  const std::string text(8 << 20, 'm');
  Serve(Text(text));
  EXPECT_THAT(Exchange(kGet), EndsWith("\r\n\r\n" + text));
}

TEST_F(MetricsServerTest, PipelinedRequestsGetOneAnswer) {
  Serve(Text("a 1\n"));
  std::string many;
  for (int i = 0; i < 200; ++i) many += kGet;
  const std::string answer = Exchange(many);
  EXPECT_THAT(answer, EndsWith("\r\n\r\na 1\n"));
  EXPECT_EQ(answer.find("HTTP/1.1", 8), std::string::npos);
}

TEST_F(MetricsServerTest, WhoTricklesIsToldThatItTookTooLong) {
  Serve(Text("a 1\n"), {.request = 200ms, .linger = 100ms});
  Client client(server_->address());
  ASSERT_TRUE(client.Say("GET /metrics HTTP/1.1\r\nPad: "));
  while (!client.Readable(5)) client.Say("x");
  EXPECT_THAT(client.Hear(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(MetricsServerTest, WhoSaysNothingOrNeverReadsIsClosed) {
  std::atomic<bool> asked{false};
  Serve(
      [&](const MetricsServer::Answer& answer) {
        answer([] { return std::string(64 << 20, 'm'); });
        asked = true;
      },
      {.request = 200ms, .linger = 100ms});
  Client silent(server_->address());
  EXPECT_EQ(silent.Hear(), "");
  Client deaf(server_->address());
  ASSERT_TRUE(deaf.Say(kGet));
  while (!asked) std::this_thread::yield();
  while (server_->callers() > 0) std::this_thread::yield();  // not for ever: the test has a limit
}

TEST_F(MetricsServerTest, WhereNothingCanBeCollectedItSaysSo) {
  Serve(Text(""));
  EXPECT_THAT(Exchange(kGet), StartsWith("HTTP/1.1 503 "));
}

TEST_F(MetricsServerTest, AnAnswerThatNeverComesHoldsTheCallerOnlySoLong) {
  std::vector<MetricsServer::Answer> kept;
  Serve([&](MetricsServer::Answer answer) { kept.push_back(std::move(answer)); },
        {.request = 100ms, .linger = 100ms});
  EXPECT_EQ(Exchange(kGet), "");
  ASSERT_EQ(kept.size(), 1u);
  kept[0]([] { return std::string("late"); });  // nobody is there any more
  server_->Stop();
  kept[0]([] { return std::string("later"); });
  server_.reset();
  kept[0]([] { return std::string("too late"); });
}

TEST_F(MetricsServerTest, SilentCallersMakeRoomForOneThatAsks) {
  Serve(Text("a 1\n"));
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 200; ++i) silent.push_back(std::make_unique<Client>(server_->address()));
  for (int i = 0; i < 20; ++i) EXPECT_THAT(Exchange(kGet), EndsWith("a 1\n"));
  EXPECT_LE(server_->callers(), server_->callers_at_most());
}

TEST_F(MetricsServerTest, ItsShareOfTheAdminPoolIsFixedAndLeavesMostToTheOperator) {
  for (const auto& [admin, callers] : {std::pair{16, 4}, {8, 3}, {4, 1}, {3, 1}}) {
    Serve(Text("a 1\n"), {}, admin);
    EXPECT_EQ(server_->callers_at_most(), callers) << admin;
    EXPECT_EQ(admin_.used(), callers + 1) << admin;
    std::vector<std::unique_ptr<Client>> silent;
    for (int i = 0; i < 40; ++i) silent.push_back(std::make_unique<Client>(server_->address()));
    EXPECT_THAT(Exchange(kGet), EndsWith("a 1\n")) << admin;
    EXPECT_EQ(admin_.used(), callers + 1) << "never more, whoever calls";
    server_.reset();
    EXPECT_EQ(admin_.used(), 0);
    EXPECT_EQ(files_.used(), 0);
  }
}

TEST_F(MetricsServerTest, OtherAddressesThanLoopbackAreRefusedAndErrorsLeaveNothingBehind) {
  const auto open = MetricsServer::Start(*Endpoint::Parse("0.0.0.0:0"), Text(""), admin_, files_,
                                         RealClock(), log_, {});
  EXPECT_EQ(open.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(open.status().message()), HasSubstr("ssh -L"));
  admin_.SetLimit(1);
  const auto none = MetricsServer::Start(*Endpoint::Parse("127.0.0.1:0"), Text(""), admin_, files_,
                                         RealClock(), log_, {});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(admin_.used(), 0);
  Serve(Text(""));
  const auto taken =
      MetricsServer::Start(server_->address(), Text(""), admin_, files_, RealClock(), log_, {});
  EXPECT_EQ(taken.status().code(), absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace helo::node
