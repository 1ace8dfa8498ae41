#include "tests/unit/rpc/tool_fake_node.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <sstream>

#include "grpc/health/v1/health.grpc.pb.h"
#include "helo/admin/v1/admin.grpc.pb.h"
#include "rpc/tool/cli.h"

namespace helo {

namespace pb = admin::v1;
namespace health = grpc::health::v1;
using Context = grpc::ServerContext;

struct FakeNode::Impl : pb::Admin::Service {
  explicit Impl(const Answers& a) : answers(a) {}

  grpc::Status Begin(Context* context) {
    const std::lock_guard<std::mutex> lock(mutex);
    ++asked.calls;
    const auto token = context->client_metadata().find("authorization");
    asked.token = token == context->client_metadata().end()
                      ? ""
                      : std::string(token->second.data(), token->second.size());
    if (!answers.wanted_token.empty() && asked.token != "Bearer " + answers.wanted_token) {
      return {grpc::StatusCode::UNAUTHENTICATED, "the call carries no valid token"};
    }
    return {static_cast<grpc::StatusCode>(answers.status), answers.message};
  }
  template <typename T>
  void Remember(T Asked::*field, const T& value) {
    const std::lock_guard<std::mutex> lock(mutex);
    asked.*field = value;
  }

  grpc::Status GetNode(Context* c, const pb::GetNodeRequest*, pb::Node* out) override {
    *out = answers.node;
    return Begin(c);
  }
  grpc::Status ListPeers(Context* c, const pb::ListPeersRequest* in,
                         pb::ListPeersResponse* out) override {
    Remember(&Asked::list, *in);
    size_t at = in->page_token().empty() ? 0 : std::stoul(in->page_token());
    for (uint32_t n = 0; n < answers.page && at < answers.peers.size(); ++n)
      *out->add_peers() = answers.peers[at++];
    if (at < answers.peers.size()) out->set_next_page_token(std::to_string(at));
    out->set_total(answers.peers.size());
    return Begin(c);
  }
  grpc::Status GetPeer(Context* c, const pb::GetPeerRequest* in, pb::Peer* out) override {
    for (const pb::Peer& peer : answers.peers) {
      if (peer.id().rfind(in->id(), 0) != 0) continue;
      *out = peer;
      return Begin(c);
    }
    return {grpc::StatusCode::NOT_FOUND, "no peer's id begins with " + in->id()};
  }
  grpc::Status AddPeer(Context* c, const pb::AddPeerRequest* in,
                       pb::AddPeerResponse* out) override {
    Remember(&Asked::add, *in);
    *out = answers.added;
    return Begin(c);
  }
  grpc::Status RemovePeer(Context* c, const pb::RemovePeerRequest* in,
                          pb::RemovePeerResponse*) override {
    Remember(&Asked::remove, *in);
    return Begin(c);
  }
  grpc::Status DropPeer(Context* c, const pb::DropPeerRequest* in,
                        pb::DropPeerResponse* out) override {
    Remember(&Asked::drop, *in);
    *out = answers.dropped;
    return Begin(c);
  }
  grpc::Status ListAttempts(Context* c, const pb::ListAttemptsRequest* in,
                            pb::ListAttemptsResponse* out) override {
    for (const pb::Attempt& attempt : answers.attempts) {
      if (in->before() != 0 && attempt.sequence() >= in->before()) continue;
      if (static_cast<uint32_t>(out->attempts_size()) == std::min(answers.page, in->page_size())) {
        out->set_next_before(out->attempts().rbegin()->sequence());
        break;
      }
      *out->add_attempts() = attempt;
    }
    return Begin(c);
  }
  grpc::Status ListFds(Context* c, const pb::ListFdsRequest* in,
                       pb::ListFdsResponse* out) override {
    const auto add = [out](const pb::Fd& fd) { *out->add_fds() = fd; };
    Page(*in, answers.fds, add, *out);
    out->set_total(answers.fds.size());
    out->set_limit(1024);
    return Begin(c);
  }
  grpc::Status ListSockets(Context* c, const pb::ListSocketsRequest* in,
                           pb::ListSocketsResponse* out) override {
    if (in->page_token().empty()) {
      for (const pb::ListenerSocket& listener : answers.listeners) *out->add_listeners() = listener;
      *out->mutable_network() = answers.network;
    }
    const auto add = [out](const pb::ConnectionSocket& s) { *out->add_connections() = s; };
    Page(*in, answers.connections, add, *out);
    return Begin(c);
  }
  template <typename Request, typename Item, typename Add, typename Response>
  void Page(const Request& in, const std::vector<Item>& items, Add add, Response& out) {
    size_t at = in.page_token().empty() ? 0 : std::stoul(in.page_token());
    for (uint32_t n = 0; n < answers.page && at < items.size(); ++n) add(items[at++]);
    if (at < items.size() || answers.circles) out.set_next_page_token(std::to_string(at));
  }
  grpc::Status Watch(Context* c, const pb::WatchRequest* in,
                     grpc::ServerWriter<pb::WatchResponse>* out) override {
    Remember(&Asked::watch, *in);
    if (grpc::Status status = Begin(c); !status.ok()) return status;
    for (const pb::WatchResponse& event : answers.events) out->Write(event);
    // The synchronous API tells that the caller left by a failing write only.
    while (answers.hold_stream && !c->IsCancelled() && out->Write(answers.events.back())) {
    }
    return grpc::Status::OK;
  }
  grpc::Status SetLogLevel(Context* c, const pb::SetLogLevelRequest* in,
                           pb::SetLogLevelResponse* out) override {
    Remember(&Asked::level, in->level());
    out->set_previous("info");
    return Begin(c);
  }
  grpc::Status Shutdown(Context* c, const pb::ShutdownRequest*, pb::ShutdownResponse*) override {
    Remember(&Asked::shutdown, true);
    return Begin(c);
  }
  // A class of its own: both services have a Watch.
  struct HealthService : health::Health::Service {
    explicit HealthService(const Answers& a) : answers(a) {}
    grpc::Status Check(Context*, const health::HealthCheckRequest*,
                       health::HealthCheckResponse* out) override {
      out->set_status(answers.serving ? health::HealthCheckResponse::SERVING
                                      : health::HealthCheckResponse::NOT_SERVING);
      return grpc::Status::OK;
    }
    const Answers& answers;
  };

  const Answers& answers;
  std::mutex mutex;
  Asked asked;
  HealthService health_service{answers};
  int port = 0;
  std::unique_ptr<grpc::Server> server;
};

FakeNode::FakeNode() : impl_(std::make_unique<Impl>(answers)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &impl_->port);
  builder.RegisterService(impl_.get());
  builder.RegisterService(&impl_->health_service);
  impl_->server = builder.BuildAndStart();
  EXPECT_NE(impl_->server, nullptr);
}

FakeNode::~FakeNode() { impl_->server->Shutdown(std::chrono::system_clock::now()); }

Endpoint FakeNode::address() const {
  return {IpAddress::V4({127, 0, 0, 1}), static_cast<uint16_t>(impl_->port)};
}

FakeNode::Asked FakeNode::asked() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  return impl_->asked;
}

ToolRun RunHelo(const std::vector<std::string>& arguments,
                const std::map<std::string, std::string>& environment, size_t width) {
  std::ostringstream out;
  std::ostringstream err;
  tool::Environment env;
  env.out = &out;
  env.err = &err;
  env.getenv = [&environment](const char* name) -> std::optional<std::string> {
    const auto found = environment.find(name);
    if (found == environment.end()) return std::nullopt;
    return found->second;
  };
  env.style.width = width;
  env.now_unix_us = [] { return int64_t{1'700'049'600'000'000}; };  // 2023-11-15 12:00:00 UTC
  env.own_directory = "/nonexistent";
  ToolRun run;
  run.exit = tool::Run(arguments, env);
  run.out = out.str();
  run.err = err.str();
  return run;
}

}  // namespace helo
