// ListFds and ListSockets: what the kernel has, labelled by owners, and a label that is late never
// sticks to whoever got the number.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <set>
#include <thread>

#include "p2p/net/fd_table.h"
#include "rpc/service/api.h"
#include "tests/unit/rpc/service_support.h"

namespace helo::testing {
namespace {

using grpc::StatusCode;

// The API on a loop of its own, with sources that say what the test wants.
class FdApiTest : public ::testing::Test {
 protected:
  FdApiTest() : node_({}) {
    loop_ = *net::EventLoop::Create("admin", RealClock(), NullLog(), files_);
    mailbox_ = std::make_shared<rpc::Mailbox>(*loop_);
    api_ = std::make_unique<rpc::AdminApi>(rpc::NodeFacts(), rpc::AdminHooks(), Endpoint(),
                                           node_.server(), *loop_, mailbox_, NullLog());
    thread_ = std::thread([this] { loop_->Run(); });
  }
  ~FdApiTest() override {
    mailbox_->Close();
    loop_->Stop();
    thread_.join();
  }
  void Say(std::vector<net::OwnFd> own) {
    rpc::FdSources sources;
    sources.own = [own = std::move(own)] { return own; };
    mailbox_->Post([this, moved = std::make_shared<rpc::FdSources>(std::move(sources))] {
      api_->SetFdSources(std::move(*moved));
    });
  }
  template <typename Request, typename Response>
  absl::StatusOr<Response> Do(void (rpc::AdminApi::*method)(const Request&, rpc::Reply<Response>),
                              const Request& request) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<Response>>>();
    const rpc::Reply<Response> reply([promise](const absl::Status& status, Response response) {
      if (status.ok()) {
        promise->set_value(std::move(response));
      } else {
        promise->set_value(status);
      }
    });
    mailbox_->Post([this, method, request, reply] { (api_.get()->*method)(request, reply); });
    return promise->get_future().get();
  }
  pb::ListFdsResponse Fds(const pb::ListFdsRequest& request = {}) {
    absl::StatusOr<pb::ListFdsResponse> response = Do(&rpc::AdminApi::ListFds, request);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.value_or(pb::ListFdsResponse());
  }
  pb::ListSocketsResponse Sockets(const pb::ListSocketsRequest& request = {}) {
    absl::StatusOr<pb::ListSocketsResponse> response = Do(&rpc::AdminApi::ListSockets, request);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.value_or(pb::ListSocketsResponse());
  }
  pb::Fd FdOf(int number) {
    const pb::ListFdsResponse all = Fds();
    for (const pb::Fd& fd : all.fds()) {
      if (fd.fd() == number) return fd;
    }
    return {};
  }

  TestNode node_;
  FdPool files_{PoolKind::kFiles, 64};
  std::unique_ptr<net::EventLoop> loop_;
  std::shared_ptr<rpc::Mailbox> mailbox_;
  std::unique_ptr<rpc::AdminApi> api_;
  std::thread thread_;
};

TEST_F(FdApiTest, TheListIsTheProcesss) {
  const pb::ListFdsResponse response = Fds();
  std::vector<int> listed;
  for (const pb::Fd& fd : response.fds()) listed.push_back(fd.fd());
  EXPECT_EQ(listed, *net::ListFds());
  EXPECT_EQ(response.total(), listed.size());
  EXPECT_TRUE(response.next_page_token().empty());
  EXPECT_GT(response.limit(), 0u);
}

TEST_F(FdApiTest, ALabelThatIsLateNeverSticksToWhoeverGotTheNumber) {
  net::UniqueFd old = ConnectTo(node_.at());
  // From here on the node opens nothing that could take the number.
  ASSERT_TRUE(node_.WaitSnapshot([](const ServerSnapshot& s) { return s.accepted == 1; }));
  const int number = old.FdDoNotKeep();
  const uint64_t cookie = net::SocketCookie(number);
  Say({{number, cookie, "peer of old", PoolKind::kOutbound}});
  EXPECT_EQ(FdOf(number).what(), "peer of old");
  EXPECT_EQ(FdOf(number).pool(), "outbound");
  // The owner's word is from before the number changed hands.
  old.Close();
  const net::UniqueFd young = ConnectTo(node_.at());
  ASSERT_EQ(young.FdDoNotKeep(), number) << "the number was not reused, the test shows nothing";
  EXPECT_EQ(FdOf(number).fd(), number);
  EXPECT_EQ(FdOf(number).what(), "");
  EXPECT_FALSE(FdOf(number).ours());
  const pb::ListSocketsResponse sockets = Sockets();
  for (const pb::ConnectionSocket& socket : sockets.connections()) {
    EXPECT_NE(socket.fd(), number);
  }
  // Of two words on one number, the one on this very socket counts, whichever comes last.
  const net::OwnFd true_word{number, net::SocketCookie(number), "peer of young", std::nullopt};
  const net::OwnFd late_word{number, cookie, "peer of old", std::nullopt};
  Say({true_word, late_word});
  EXPECT_EQ(FdOf(number).what(), "peer of young");
  Say({late_word, true_word});
  EXPECT_EQ(FdOf(number).what(), "peer of young");
}

TEST_F(FdApiTest, ASocketsLabelDoesNotStickToAnEventfdOnItsNumberNorTheOtherWayRound) {
  const net::UniqueFd socket = ConnectTo(node_.at());
  const net::UniqueFd event(::eventfd(0, EFD_CLOEXEC));
  Say({{socket.FdDoNotKeep(), 0, "wakes a loop", PoolKind::kFiles},
       {event.FdDoNotKeep(), net::SocketCookie(socket.FdDoNotKeep()), "peer", std::nullopt}});
  EXPECT_FALSE(FdOf(socket.FdDoNotKeep()).ours());
  EXPECT_FALSE(FdOf(event.FdDoNotKeep()).ours());
}

TEST_F(FdApiTest, PagesMissNothingAndGoOnBehindANumberThatIsGone) {
  std::vector<net::UniqueFd> callers;
  for (int i = 0; i < 8; ++i) callers.push_back(ConnectTo(node_.at()));
  // All are accepted: from here on nothing is opened.
  ASSERT_TRUE(node_.WaitSnapshot([](const ServerSnapshot& s) { return s.accepted == 8; }));
  std::vector<int> whole;
  const pb::ListFdsResponse all = Fds();
  for (const pb::Fd& fd : all.fds()) whole.push_back(fd.fd());
  std::vector<int> listed;
  pb::ListFdsRequest request;
  request.set_page_size(3);
  do {
    const pb::ListFdsResponse page = Fds(request);
    EXPECT_LE(page.fds_size(), 3);
    for (const pb::Fd& fd : page.fds()) listed.push_back(fd.fd());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(listed, whole);
  const int gone = callers[3].FdDoNotKeep();
  const int next = *std::upper_bound(whole.begin(), whole.end(), gone);
  callers[3].Close();
  // The node's end of it may be gone by now or not.
  request.set_page_token(std::to_string(gone));
  EXPECT_GE(Fds(request).fds(0).fd(), next);
}

TEST_F(FdApiTest, SocketsComeWithListenersAndCountersOnTheFirstPageAlone) {
  std::vector<net::UniqueFd> callers;
  for (int i = 0; i < 9; ++i) callers.push_back(ConnectTo(node_.at()));
  ASSERT_TRUE(node_.WaitSnapshot([](const ServerSnapshot& s) { return s.accepted == 9; }));
  pb::ListSocketsRequest request;
  request.set_page_size(4);
  std::set<int> seen;
  for (int page = 0;; ++page) {
    const pb::ListSocketsResponse response = Sockets(request);
    EXPECT_EQ(response.listeners_size(), page == 0 ? 1 : 0);
    EXPECT_EQ(response.has_network(), page == 0);
    EXPECT_LE(response.connections_size(), 4);
    for (const pb::ConnectionSocket& socket : response.connections()) {
      EXPECT_TRUE(seen.insert(socket.fd()).second) << socket.fd() << " came twice";
      EXPECT_EQ(socket.tcp_state(), "ESTABLISHED");
      EXPECT_EQ(socket.pool(), "handshakes");
      EXPECT_EQ(socket.local(), node_.at().ToString());
    }
    if (page == 0) {
      const pb::ListenerSocket& listener = response.listeners(0);
      EXPECT_EQ(listener.listener().local(), node_.at().ToString());
      EXPECT_EQ(listener.accept_limit(), listener.listener().backlog_effective());
      EXPECT_EQ(listener.accept_queue(), 0u);
      EXPECT_EQ(listener.drops(), 0u);
      EXPECT_TRUE(listener.has_syn_queue());
      EXPECT_TRUE(response.network().has_listen_overflows());
      EXPECT_TRUE(response.network().has_time_wait());
    }
    if (response.next_page_token().empty()) break;
    request.set_page_token(response.next_page_token());
  }
  EXPECT_EQ(seen.size(), 9u);
}

TEST_F(FdApiTest, AForeignPageTokenIsRefused) {
  for (const char* token : {"x", "-1", "99999999999", "1.2", "3a"}) {
    pb::ListFdsRequest fds;
    fds.set_page_token(token);
    EXPECT_EQ(Do(&rpc::AdminApi::ListFds, fds).status().code(), absl::StatusCode::kInvalidArgument)
        << token;
    pb::ListSocketsRequest sockets;
    sockets.set_page_token(token);
    EXPECT_EQ(Do(&rpc::AdminApi::ListSockets, sockets).status().code(),
              absl::StatusCode::kInvalidArgument)
        << token;
  }
}

TEST(FdServiceTest, OverTheWireTheCallersOwnConnectionIsAmongThem) {
  AdminNode admin;
  const std::unique_ptr<AdminStub> stub = admin.Call();
  pb::ListFdsResponse fds;
  ASSERT_TRUE(stub->ListFds(Context().get(), pb::ListFdsRequest(), &fds).ok());
  int callers = 0;
  int pollers = 0;
  bool listener = false;
  for (const pb::Fd& fd : fds.fds()) {
    if (fd.what() == "admin caller, uid " + std::to_string(geteuid())) {
      ++callers;
      EXPECT_EQ(fd.pool(), "admin");
      EXPECT_EQ(fd.local(), admin.at().ToString());
    }
    if (fd.what() == "listens for the admin API") listener = true;
    if (fd.what() == "gRPC's poller") ++pollers;
  }
  EXPECT_EQ(callers, 1);
  EXPECT_TRUE(listener);
  EXPECT_LE(pollers, 4);
  pb::ListSocketsResponse sockets;
  ASSERT_TRUE(stub->ListSockets(Context().get(), pb::ListSocketsRequest(), &sockets).ok());
  ASSERT_EQ(sockets.listeners_size(), 2);
  EXPECT_EQ(sockets.listeners(1).what(), "admin");
  EXPECT_EQ(sockets.listeners(1).listener().local(), admin.at().ToString());
}

}  // namespace
}  // namespace helo::testing
