// The methods of the admin API, called as any stock client calls them, on real nodes. Long: a case
// each.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>

#include "tests/unit/rpc/service_support.h"

namespace helo::testing {
namespace {

using grpc::StatusCode;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() : stub_(admin_.Call()) {}

  template <typename Request, typename Response>
  grpc::Status Do(grpc::Status (AdminStub::*method)(grpc::ClientContext*, const Request&,
                                                    Response*),
                  const Request& request, Response& response) {
    const auto context = Context("", std::chrono::seconds(30));
    return (stub_.get()->*method)(context.get(), request, &response);
  }
  std::unique_ptr<TestNode> Other(uint8_t key, bool dials = true) {
    TestNode::Setup setup{.key = key};
    if (dials) setup.peers = {admin_.node().Address()};
    auto node = std::make_unique<TestNode>(std::move(setup));
    if (dials) {
      EXPECT_TRUE(admin_.node().WaitUp(node->id()));
      EXPECT_TRUE(admin_.node().WaitSnapshot([&](const ServerSnapshot& s) {
        return std::any_of(s.peers.begin(), s.peers.end(),
                           [&](const auto& p) { return p.id == node->id(); });
      }));
    }
    return node;
  }
  pb::ListPeersResponse Peers(const pb::ListPeersRequest& request = {}) {
    pb::ListPeersResponse response;
    const grpc::Status status = Do(&AdminStub::ListPeers, request, response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  grpc::Status Add(const std::string& address, double wait, pb::AddPeerResponse& response) {
    pb::AddPeerRequest request;
    request.set_address(address);
    request.set_wait_seconds(wait);
    response.Clear();
    return Do(&AdminStub::AddPeer, request, response);
  }
  grpc::Status Remove(const std::string& address, bool disconnect = false) {
    pb::RemovePeerRequest request;
    request.set_address(address);
    request.set_disconnect(disconnect);
    pb::RemovePeerResponse response;
    return Do(&AdminStub::RemovePeer, request, response);
  }

  AdminNode admin_;
  std::unique_ptr<AdminStub> stub_;
};

TEST_F(ApiTest, TellsAboutTheNode) {
  pb::Node node;
  ASSERT_TRUE(Do(&AdminStub::GetNode, pb::GetNodeRequest(), node).ok());
  EXPECT_EQ(node.id(), admin_.node().id().ToHex());
  EXPECT_EQ(node.version(), "1.2.3");
  EXPECT_EQ(node.pid(), static_cast<uint32_t>(getpid()));
  EXPECT_EQ(node.genesis(), std::string("\x01\x02\x03"));
  EXPECT_EQ(node.boot_id(), admin_.node().server().events().boot_id());
  EXPECT_EQ(node.admin_address(), admin_.at().ToString());
  EXPECT_EQ(node.log_level(), "info");
  ASSERT_EQ(node.listeners_size(), 1);
  EXPECT_EQ(node.listeners(0).local(), admin_.node().at().ToString());
  EXPECT_EQ(node.max_inbound(), 64U);
  EXPECT_EQ(node.fd_pools_size(), kPoolKinds);
}

TEST_F(ApiTest, ListsPeersInPagesThatMissNobody) {
  std::vector<std::unique_ptr<TestNode>> others;
  std::vector<std::string> ids;
  for (uint8_t key = 2; key < 7; ++key) {
    others.push_back(Other(key));
    ids.push_back(others.back()->id().ToHex());
  }
  std::sort(ids.begin(), ids.end());
  std::vector<std::string> listed;
  pb::ListPeersRequest request;
  request.set_page_size(2);
  for (int pages = 1;; ++pages) {
    const pb::ListPeersResponse page = Peers(request);
    EXPECT_EQ(page.total(), 5U);
    for (const pb::Peer& peer : page.peers()) listed.push_back(peer.id());
    if (page.next_page_token().empty()) {
      EXPECT_EQ(pages, 3);
      break;
    }
    EXPECT_EQ(page.peers_size(), 2);
    request.set_page_token(page.next_page_token());
  }
  EXPECT_EQ(listed, ids);
}

TEST_F(ApiTest, APageGoesOnBehindAPeerThatIsGone) {
  std::vector<std::unique_ptr<TestNode>> others;
  for (uint8_t key = 2; key < 5; ++key) others.push_back(Other(key));
  std::sort(others.begin(), others.end(),
            [](const auto& a, const auto& b) { return a->id() < b->id(); });
  pb::ListPeersRequest request;
  request.set_page_size(1);
  request.set_page_token(Peers(request).next_page_token());
  others[0].reset();
  ASSERT_TRUE(
      admin_.node().WaitSnapshot([&](const ServerSnapshot& s) { return s.peers.size() == 2; }));
  EXPECT_EQ(Peers(request).peers(0).id(), others[1]->id().ToHex());
}

TEST_F(ApiTest, FiltersPeers) {
  const auto inbound = Other(2);
  const auto outbound = Other(3, /*dials=*/false);
  pb::AddPeerResponse added;
  ASSERT_TRUE(Add(outbound->Address(), 10, added).ok());
  ASSERT_TRUE(added.up());
  ASSERT_TRUE(
      admin_.node().WaitSnapshot([](const ServerSnapshot& s) { return s.peers.size() == 2; }));
  const auto only = [&](const pb::ListPeersRequest& request) {
    const pb::ListPeersResponse response = Peers(request);
    EXPECT_EQ(response.total(), static_cast<uint64_t>(response.peers_size()));
    return response.peers_size() == 1 ? response.peers(0).id()
                                      : std::to_string(response.peers_size());
  };
  pb::ListPeersRequest request;
  request.set_direction(pb::OUTBOUND);
  EXPECT_EQ(only(request), outbound->id().ToHex());
  request.set_direction(pb::INBOUND);
  EXPECT_EQ(only(request), inbound->id().ToHex());
  request.clear_direction();
  for (const std::string& filter :
       {std::string("test/3"), outbound->id().ToHex().substr(20, 20), outbound->at().ToString()}) {
    request.set_filter(filter);
    EXPECT_EQ(only(request), outbound->id().ToHex()) << filter;
  }
  request.set_filter("echo/");
  EXPECT_EQ(only(request), "2") << "a capability's name fits both";
  request.set_filter("nothing of that kind");
  EXPECT_EQ(only(request), "0");
}

TEST_F(ApiTest, RefusesAPageTokenThatItDidNotGive) {
  for (const std::string& token : {std::string("x"), std::string(64, 'a'),
                                   std::string(64, 'a') + ".", std::string(64, 'a') + ".-1"}) {
    pb::ListPeersRequest request;
    request.set_page_token(token);
    pb::ListPeersResponse response;
    EXPECT_EQ(Do(&AdminStub::ListPeers, request, response).error_code(),
              StatusCode::INVALID_ARGUMENT)
        << token;
  }
}

TEST_F(ApiTest, GetsAPeerByItsPrefix) {
  const auto other = Other(2);
  pb::GetPeerRequest request;
  request.set_id(other->id().ToHex().substr(0, 4));
  pb::Peer peer;
  const grpc::Status status = Do(&AdminStub::GetPeer, request, peer);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(peer.id(), other->id().ToHex());
  EXPECT_EQ(peer.direction(), pb::INBOUND);
  EXPECT_EQ(peer.user_agent(), "test/2");
  EXPECT_THAT(peer.shared(), ElementsAre(HasSubstr("echo/")));
  EXPECT_GE(peer.fd(), 0);
  EXPECT_GT(peer.bytes_in(), 0U);
  request.set_id("0000");
  EXPECT_EQ(Do(&AdminStub::GetPeer, request, peer).error_code(), StatusCode::NOT_FOUND);
  request.set_id("xyz");
  EXPECT_EQ(Do(&AdminStub::GetPeer, request, peer).error_code(), StatusCode::INVALID_ARGUMENT);
}

TEST_F(ApiTest, AddsAPeerAndWaitsForTheVerdict) {
  const auto other = Other(2, /*dials=*/false);
  pb::AddPeerResponse response;
  const grpc::Status status = Add(other->Address(), 20, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(response.decided());
  EXPECT_TRUE(response.up());
  EXPECT_FALSE(response.existed());
  EXPECT_EQ(response.id(), other->id().ToHex());
  EXPECT_FALSE(response.has_close());
  EXPECT_TRUE(admin_.log().WaitFor("asked to add a peer"));
  ASSERT_TRUE(Add(other->Address(), 20, response).ok());
  EXPECT_TRUE(response.existed());
  EXPECT_TRUE(response.up());
}

TEST_F(ApiTest, AddTellsTheStageThatFailedAndWhy) {
  Endpoint nobody;
  {
    const TestNode closed(TestNode::Setup{.key = 9});
    nobody = const_cast<TestNode&>(closed).at();
  }
  pb::AddPeerResponse response;
  ASSERT_TRUE(Add(nobody.ToString(), 20, response).ok());
  EXPECT_TRUE(response.decided());
  EXPECT_FALSE(response.up());
  EXPECT_EQ(response.close().label(), "REFUSED");
  EXPECT_EQ(response.close().stage(), "connect");
}

TEST_F(ApiTest, AddTellsThatItIsStillUnderWayWhenTheTimeIsUp) {
  // Listens and never answers.
  const net::Socket mute(net::UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), FdTicket());
  ASSERT_EQ(listen(mute.FdDoNotKeep(), 1), 0);
  const std::string address = "127.0.0.1:" + std::to_string(mute.Local()->port);
  pb::AddPeerResponse response;
  const grpc::Status status = Add(address, 0.2, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(response.decided());
  EXPECT_FALSE(response.existed());
  ASSERT_TRUE(Add(address, 0.1, response).ok());
  EXPECT_FALSE(response.decided());
  EXPECT_TRUE(response.existed());
  ASSERT_TRUE(Add(address, 0, response).ok());
  EXPECT_FALSE(response.decided());
  EXPECT_TRUE(response.existed());
}

TEST_F(ApiTest, AWaitThatItsCallerLeavesIsForgotten) {
  const net::Socket mute(net::UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), FdTicket());
  ASSERT_EQ(listen(mute.FdDoNotKeep(), 1), 0);
  pb::AddPeerRequest request;
  request.set_address("127.0.0.1:" + std::to_string(mute.Local()->port));
  request.set_wait_seconds(30);
  pb::AddPeerResponse response;
  const auto context = Context("", std::chrono::milliseconds(200));
  EXPECT_EQ(stub_->AddPeer(context.get(), request, &response).error_code(),
            StatusCode::DEADLINE_EXCEEDED);
  const auto began = std::chrono::steady_clock::now();
  admin_.admin().Stop(std::chrono::seconds(10));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(3));
}

TEST_F(ApiTest, RefusesToAddWhatIsNoPeer) {
  pb::AddPeerResponse response;
  EXPECT_EQ(Add("not an address", 0, response).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Add("", 0, response).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Add(admin_.node().Address(), 0, response).error_code(), StatusCode::INVALID_ARGUMENT)
      << "itself";
  for (const double wait : {-1.0, 601.0, std::nan(""), HUGE_VAL}) {
    EXPECT_EQ(Add("127.0.0.1:1", wait, response).error_code(), StatusCode::INVALID_ARGUMENT)
        << wait;
  }
}

TEST_F(ApiTest, RemovesWhatItAddedByAddressByAddressWithoutIdAndById) {
  const auto other = Other(2, /*dials=*/false);
  const std::string id = other->id().ToHex();
  for (const std::string& name : {other->Address(), other->at().ToString(), id, id.substr(0, 8)}) {
    pb::AddPeerResponse added;
    ASSERT_TRUE(Add(other->Address(), 20, added).ok());
    ASSERT_TRUE(
        admin_.node().WaitSnapshot([](const ServerSnapshot& s) { return s.targets.size() == 1; }));
    const grpc::Status status = Remove(name);
    EXPECT_TRUE(status.ok()) << name << ": " << status.error_message();
    EXPECT_TRUE(
        admin_.node().WaitSnapshot([](const ServerSnapshot& s) { return s.targets.empty(); }));
  }
  EXPECT_EQ(Remove(other->Address()).error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(Remove("127.0.0.1:1").error_code(), StatusCode::NOT_FOUND);
  EXPECT_THAT(Remove(id).error_code(), AnyOf(StatusCode::NOT_FOUND, StatusCode::OK));
  EXPECT_EQ(Remove("").error_code(), StatusCode::INVALID_ARGUMENT);
}

TEST_F(ApiTest, DropsAPeerAndKeepsItAway) {
  const auto other = Other(2);
  pb::DropPeerRequest request;
  request.set_id(other->id().ToHex().substr(0, 10));
  request.set_text("maintenance");
  request.set_away_seconds(3600);
  pb::DropPeerResponse response;
  const grpc::Status status = Do(&AdminStub::DropPeer, request, response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.id(), other->id().ToHex());
  EXPECT_EQ(response.connections_closed(), 1U);
  EXPECT_EQ(response.away_seconds(), 3600);
  EXPECT_TRUE(other->WaitEnd(Reason::kDropped));
  EXPECT_TRUE(admin_.log().WaitFor("peer dropped"));
  ASSERT_TRUE(
      admin_.node().WaitSnapshot([](const ServerSnapshot& s) { return s.away.size() == 1; }));
  pb::Node node;
  ASSERT_TRUE(Do(&AdminStub::GetNode, pb::GetNodeRequest(), node).ok());
  ASSERT_EQ(node.away_size(), 1);
  EXPECT_EQ(node.away(0).id(), other->id().ToHex());
  EXPECT_GT(node.away(0).remaining_ms(), 3'500'000);
  // By default ten minutes; a prefix is found among those kept away too.
  request.clear_away_seconds();
  ASSERT_TRUE(Do(&AdminStub::DropPeer, request, response).ok());
  EXPECT_EQ(response.away_seconds(), 600);
}

TEST_F(ApiTest, RefusesADropThatCannotBeMeant) {
  const auto other = Other(2);
  pb::DropPeerResponse response;
  pb::DropPeerRequest good;
  good.set_id(other->id().ToHex());
  for (const std::string& text :
       {std::string(257, 'a'), std::string("new\nline"), std::string("\xc3\xa4")}) {
    pb::DropPeerRequest request = good;
    request.set_text(text);
    EXPECT_EQ(Do(&AdminStub::DropPeer, request, response).error_code(),
              StatusCode::INVALID_ARGUMENT)
        << text;
  }
  for (const double away : {-1.0, 1e12, std::nan(""), HUGE_VAL}) {
    pb::DropPeerRequest request = good;
    request.set_away_seconds(away);
    EXPECT_EQ(Do(&AdminStub::DropPeer, request, response).error_code(),
              StatusCode::INVALID_ARGUMENT)
        << away;
  }
  pb::DropPeerRequest request = good;
  request.set_id(admin_.node().id().ToHex());
  EXPECT_EQ(Do(&AdminStub::DropPeer, request, response).error_code(), StatusCode::INVALID_ARGUMENT)
      << "itself";
  request.set_id("0000");
  EXPECT_EQ(Do(&AdminStub::DropPeer, request, response).error_code(), StatusCode::NOT_FOUND);
  EXPECT_TRUE(admin_.node().Lists(other->id())) << "it is still there";
}

TEST_F(ApiTest, ListsAttemptsNewestFirstInPages) {
  const auto other = Other(2);
  pb::AddPeerResponse added;
  for (int i = 1; i <= 3; ++i) ASSERT_TRUE(Add("127.0.0.1:" + std::to_string(i), 20, added).ok());
  std::vector<uint64_t> sequences;
  pb::ListAttemptsRequest request;
  request.set_page_size(2);
  pb::ListAttemptsResponse page;
  do {
    page.Clear();
    ASSERT_TRUE(Do(&AdminStub::ListAttempts, request, page).ok());
    EXPECT_LE(page.attempts_size(), 2);
    for (const pb::Attempt& attempt : page.attempts()) sequences.push_back(attempt.sequence());
    request.set_before(page.next_before());
  } while (page.next_before() != 0);
  EXPECT_GE(sequences.size(), 4U);
  EXPECT_TRUE(std::is_sorted(sequences.rbegin(), sequences.rend()));
  EXPECT_EQ(std::adjacent_find(sequences.begin(), sequences.end()), sequences.end());

  request.Clear();
  request.set_id(other->id().ToHex().substr(0, 6));
  ASSERT_TRUE(Do(&AdminStub::ListAttempts, request, page).ok());
  ASSERT_EQ(page.attempts_size(), 1);
  EXPECT_TRUE(page.attempts(0).still_up());
  EXPECT_FALSE(page.attempts(0).has_close());
  request.Clear();
  request.set_filter("127.0.0.1:2");
  request.set_direction(pb::OUTBOUND);
  ASSERT_TRUE(Do(&AdminStub::ListAttempts, request, page).ok());
  ASSERT_GE(page.attempts_size(), 1);
  EXPECT_EQ(page.attempts(0).close().label(), "REFUSED");
}

TEST_F(ApiTest, FindsTheAttemptsOfAStrangerByPrefix) {
  // Refused, so that neither peers nor targets know it.
  TestNode stranger(
      TestNode::Setup{.key = 8, .network = "another", .peers = {admin_.node().Address()}});
  ASSERT_TRUE(admin_.node().WaitFor(
      [&](const Event& e) { return e.kind == EventKind::kRefused && e.id == stranger.id(); }));
  pb::ListAttemptsRequest request;
  request.set_id(stranger.id().ToHex().substr(0, 8));
  pb::ListAttemptsResponse page;
  const grpc::Status status = Do(&AdminStub::ListAttempts, request, page);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_GE(page.attempts_size(), 1);
  EXPECT_EQ(page.attempts(0).close().label(), "WRONG_NETWORK");
  request.set_id("0123");
  EXPECT_EQ(Do(&AdminStub::ListAttempts, request, page).error_code(), StatusCode::NOT_FOUND);
}

TEST_F(ApiTest, SetsTheLogLevelAndTellsThePreviousOne) {
  pb::SetLogLevelRequest request;
  request.set_level("debug");
  pb::SetLogLevelResponse response;
  ASSERT_TRUE(Do(&AdminStub::SetLogLevel, request, response).ok());
  EXPECT_EQ(response.previous(), "info");
  EXPECT_EQ(admin_.level(), LogLevel::kDebug);
  request.set_level("LOUD");
  const grpc::Status status = Do(&AdminStub::SetLogLevel, request, response);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("trace, debug"));
  EXPECT_EQ(admin_.level(), LogLevel::kDebug);
}

TEST_F(ApiTest, ShutsDownByAskingTheProcess) {
  pb::ShutdownResponse response;
  ASSERT_TRUE(Do(&AdminStub::Shutdown, pb::ShutdownRequest(), response).ok());
  EXPECT_TRUE(Eventually([&] { return admin_.shutdown_asked(); }));
}

TEST_F(ApiTest, RefusesARequestOfAbsurdSize) {
  pb::ListPeersRequest request;
  request.set_filter(std::string(size_t{2} << 20, 'x'));
  pb::ListPeersResponse response;
  EXPECT_EQ(Do(&AdminStub::ListPeers, request, response).error_code(),
            StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace helo::testing
