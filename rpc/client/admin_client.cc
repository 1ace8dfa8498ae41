// The one source of this room that sees gRPC.
#include "rpc/client/admin_client.h"

#include <absl/strings/str_cat.h>
#include <grpc/support/log.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <chrono>
#include <utility>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"
#include "helo/admin/v1/admin.grpc.pb.h"
#include "rpc/client/connection.h"
#include "rpc/client/errors.h"
#include "rpc/client/quote.h"
#include "rpc/client/token.h"

namespace helo::client {
namespace {

namespace pb = admin::v1;

// A page of 500 peers, each with 64 capabilities on both sides and counters for all of them, stays
// well below this.
constexpr int kMaxMessageBytes = 64 * 1024 * 1024;
constexpr Duration kSecondLook = std::chrono::seconds(1);
// A node whose admin port is flooded makes room by closing connections, and one that was just
// opened may be among them: a call that changes nothing is made again.
constexpr int kTries = 3;
enum class Again : uint8_t { kNo, kIfCut };

constexpr Duration kPluginPatience = std::chrono::seconds(15);  // stop, create and start
constexpr Duration kOnTheWay = std::chrono::seconds(2);

Duration SecondsOf(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

std::chrono::system_clock::time_point DeadlineIn(Duration timeout) {
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout);
}

}  // namespace

void SilenceGrpcLog() {
  gpr_set_log_function([](gpr_log_func_args*) {});
}

struct AdminClient::Impl {
  NodeTarget target;
  Duration timeout{};
  std::optional<Token> token;  // only if it may be sent
  std::string token_note;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<pb::Admin::Stub> admin;
  std::unique_ptr<grpc::health::v1::Health::Stub> health;

  absl::Status PrepareToken();
  absl::Status Open();  // a connection of its own, and who may be sent the token over it
  absl::Status CheckId();
  void Prepare(grpc::ClientContext& context) const;
  absl::Status Explain(const grpc::Status& status, const char* call, Duration given) const;

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(std::unique_ptr<Stub> Impl::*stub, const char* name,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, Duration given, Again again) {
    const auto deadline = DeadlineIn(given);
    Response response;
    grpc::Status status;
    for (int tries = 1;; ++tries) {
      grpc::ClientContext context;
      Prepare(context);
      context.set_deadline(deadline);
      status = ((this->*stub).get()->*method)(&context, request, &response);
      if (status.error_code() != grpc::StatusCode::UNAVAILABLE || again == Again::kNo ||
          tries == kTries || !Open().ok()) {
        break;
      }
    }
    if (!status.ok()) return Explain(status, name, given);
    QuoteMessage(response);
    return response;
  }
};

absl::Status AdminClient::Impl::PrepareToken() {
  if (target.token_path.empty()) {
    token_note = "No token was sent, because no data directory and no --token-file was given";
    return absl::OkStatus();
  }
  absl::StatusOr<Token> read = ReadToken(target.token_path, target.token_demanded);
  if (read.ok()) {
    token = *std::move(read);
    return absl::OkStatus();
  }
  if (target.token_demanded) {
    const absl::StatusCode code = absl::IsPermissionDenied(read.status())
                                      ? absl::StatusCode::kPermissionDenied
                                      : absl::StatusCode::kInvalidArgument;
    return absl::Status(code, absl::StrCat("--token-file: ", read.status().message()));
  }
  token_note = absl::StrCat("No token was sent: ", read.status().message());
  return absl::OkStatus();
}

void AdminClient::Impl::Prepare(grpc::ClientContext& context) const {
  if (token) context.AddMetadata("authorization", absl::StrCat("Bearer ", token->value));
}

absl::Status AdminClient::Impl::Explain(const grpc::Status& status, const char* call,
                                        Duration given) const {
  CallFailure failure;
  failure.code = static_cast<absl::StatusCode>(status.error_code());
  failure.message = status.error_message();
  failure.call = call;
  failure.timeout = given;
  failure.token_note = token_note;
  if (WantsSecondLook(failure.code)) failure.answer = WhatAnswers(target.admin, kSecondLook);
  return CallError(target, failure);
}

absl::Status AdminClient::Impl::CheckId() {
  if (!target.file || WriterExists(*target.file)) return absl::OkStatus();
  absl::StatusOr<pb::Node> node = Call(&Impl::admin, "GetNode", &pb::Admin::Stub::GetNode,
                                       pb::GetNodeRequest(), timeout, Again::kIfCut);
  if (!node.ok()) return node.status();
  if (node->id() == target.file->id) return absl::OkStatus();  // it lives in another pid namespace
  return absl::UnavailableError(
      absl::StrCat("the node of ", target.data_dir, " does not run: its process, pid ",
                   target.file->pid, ", is gone and left its ", kNodeFileName, " behind, and at ",
                   target.admin.ToString(), " another node answers now (", node->id().substr(0, 10),
                   "). Start it again: helod --data-dir ", target.data_dir));
}

absl::Status AdminClient::Impl::Open() {
  token.reset();
  token_note.clear();
  if (absl::Status status = PrepareToken(); !status.ok()) return status;
  std::vector<ListeningSocket> before;
  if (token) before = FindListeners(target.admin);
  Connection connection = ConnectTcp(target.admin, timeout);
  if (connection.result != ConnectResult::kConnected) {
    return ConnectError(target, connection.result, connection.error, timeout);
  }
  if (token) {
    const std::string why_not =
        WhyNotSendToken(before, FindListeners(target.admin), geteuid(), token->owner);
    if (why_not.empty()) {
      token_note = absl::StrCat("The token in ", target.token_path,
                                " was sent and did not fit: it is another node's");
    } else {
      token_note = absl::StrCat("The token in ", target.token_path, " was not sent: ", why_not);
      token.reset();
    }
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  channel = grpc::CreateCustomInsecureChannelFromFd(target.admin.ToString(),
                                                    connection.fd.Release(), arguments);
  admin = pb::Admin::NewStub(channel);
  health = grpc::health::v1::Health::NewStub(channel);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<AdminClient>> AdminClient::Connect(const NodeTarget& target,
                                                                  Duration timeout) {
  auto impl = std::make_unique<Impl>();
  impl->target = target;
  impl->timeout = timeout;
  if (absl::Status status = impl->Open(); !status.ok()) return status;
  if (absl::Status status = impl->CheckId(); !status.ok()) return status;
  return std::unique_ptr<AdminClient>(new AdminClient(std::move(impl)));
}

AdminClient::AdminClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdminClient::~AdminClient() = default;

const NodeTarget& AdminClient::target() const { return impl_->target; }

absl::StatusOr<pb::Node> AdminClient::GetNode() {
  return impl_->Call(&Impl::admin, "GetNode", &pb::Admin::Stub::GetNode, pb::GetNodeRequest(),
                     impl_->timeout, Again::kIfCut);
}

absl::StatusOr<pb::ListPeersResponse> AdminClient::ListPeers(const pb::ListPeersRequest& request) {
  return impl_->Call(&Impl::admin, "ListPeers", &pb::Admin::Stub::ListPeers, request,
                     impl_->timeout, Again::kIfCut);
}

absl::StatusOr<pb::Peer> AdminClient::GetPeer(const std::string& id) {
  pb::GetPeerRequest request;
  request.set_id(id);
  return impl_->Call(&Impl::admin, "GetPeer", &pb::Admin::Stub::GetPeer, request, impl_->timeout,
                     Again::kIfCut);
}

absl::StatusOr<pb::AddPeerResponse> AdminClient::AddPeer(const pb::AddPeerRequest& request) {
  return impl_->Call(&Impl::admin, "AddPeer", &pb::Admin::Stub::AddPeer, request,
                     SecondsOf(request.wait_seconds()) + impl_->timeout, Again::kNo);
}

absl::Status AdminClient::RemovePeer(const pb::RemovePeerRequest& request) {
  return impl_
      ->Call(&Impl::admin, "RemovePeer", &pb::Admin::Stub::RemovePeer, request, impl_->timeout,
             Again::kNo)
      .status();
}

absl::StatusOr<pb::DropPeerResponse> AdminClient::DropPeer(const pb::DropPeerRequest& request) {
  return impl_->Call(&Impl::admin, "DropPeer", &pb::Admin::Stub::DropPeer, request, impl_->timeout,
                     Again::kNo);
}

absl::StatusOr<pb::ListAttemptsResponse> AdminClient::ListAttempts(
    const pb::ListAttemptsRequest& request) {
  return impl_->Call(&Impl::admin, "ListAttempts", &pb::Admin::Stub::ListAttempts, request,
                     impl_->timeout, Again::kIfCut);
}

absl::StatusOr<pb::ListFdsResponse> AdminClient::ListFds(const pb::ListFdsRequest& request) {
  return impl_->Call(&Impl::admin, "ListFds", &pb::Admin::Stub::ListFds, request, impl_->timeout,
                     Again::kIfCut);
}

absl::StatusOr<pb::ListSocketsResponse> AdminClient::ListSockets(
    const pb::ListSocketsRequest& request) {
  return impl_->Call(&Impl::admin, "ListSockets", &pb::Admin::Stub::ListSockets, request,
                     impl_->timeout, Again::kIfCut);
}

absl::StatusOr<pb::ListPluginsResponse> AdminClient::ListPlugins() {
  return impl_->Call(&Impl::admin, "ListPlugins", &pb::Admin::Stub::ListPlugins,
                     pb::ListPluginsRequest(), impl_->timeout, Again::kIfCut);
}

absl::StatusOr<pb::Plugin> AdminClient::LoadPlugin(const pb::LoadPluginRequest& request) {
  return impl_->Call(&Impl::admin, "LoadPlugin", &pb::Admin::Stub::LoadPlugin, request,
                     kPluginPatience + impl_->timeout, Again::kNo);
}

absl::StatusOr<pb::UnloadPluginResponse> AdminClient::UnloadPlugin(
    const pb::UnloadPluginRequest& request) {
  return impl_->Call(&Impl::admin, "UnloadPlugin", &pb::Admin::Stub::UnloadPlugin, request,
                     SecondsOf(request.drain_seconds()) + kPluginPatience + impl_->timeout,
                     Again::kNo);
}

absl::StatusOr<pb::CallPluginResponse> AdminClient::CallPlugin(
    const pb::CallPluginRequest& request) {
  return impl_->Call(&Impl::admin, "CallPlugin", &pb::Admin::Stub::CallPlugin, request,
                     SecondsOf(request.wait_seconds()) + kOnTheWay, Again::kNo);
}

absl::StatusOr<std::string> AdminClient::SetLogLevel(const std::string& level) {
  pb::SetLogLevelRequest request;
  request.set_level(level);
  absl::StatusOr<pb::SetLogLevelResponse> response =
      impl_->Call(&Impl::admin, "SetLogLevel", &pb::Admin::Stub::SetLogLevel, request,
                  impl_->timeout, Again::kNo);
  if (!response.ok()) return response.status();
  return response->previous();
}

absl::Status AdminClient::Shutdown() {
  return impl_
      ->Call(&Impl::admin, "Shutdown", &pb::Admin::Stub::Shutdown, pb::ShutdownRequest(),
             impl_->timeout, Again::kNo)
      .status();
}

absl::StatusOr<std::string> AdminClient::CheckHealth() {
  using grpc::health::v1::Health;
  using grpc::health::v1::HealthCheckResponse;
  absl::StatusOr<HealthCheckResponse> response =
      impl_->Call(&Impl::health, "Check", &Health::Stub::Check,
                  grpc::health::v1::HealthCheckRequest(), impl_->timeout, Again::kIfCut);
  if (!response.ok()) return response.status();
  return HealthCheckResponse::ServingStatus_Name(response->status());
}

absl::Status AdminClient::Watch(const pb::WatchRequest& request, std::optional<Duration> how_long,
                                const std::function<bool(const pb::WatchResponse&)>& on_message) {
  grpc::ClientContext context;
  impl_->Prepare(context);
  if (how_long) context.set_deadline(DeadlineIn(*how_long));
  const std::unique_ptr<grpc::ClientReader<pb::WatchResponse>> reader =
      impl_->admin->Watch(&context, request);
  pb::WatchResponse message;
  bool enough = false;
  while (!enough && reader->Read(&message)) {
    QuoteMessage(message);
    enough = !on_message(message);
  }
  if (enough) context.TryCancel();
  const grpc::Status status = reader->Finish();
  if (enough || status.ok()) return absl::OkStatus();
  if (how_long && status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return absl::OkStatus();
  }
  return impl_->Explain(status, "Watch", how_long.value_or(impl_->timeout));
}

}  // namespace helo::client
