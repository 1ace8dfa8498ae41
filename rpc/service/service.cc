#include "rpc/service/service.h"

#include <grpcpp/server_builder.h>

#include <atomic>
#include <string>
#include <utility>

#include "helo/admin/v1/admin.grpc.pb.h"
#include "p2p/base/mutex.h"
#include "p2p/base/text.h"

namespace helo::rpc {
namespace {

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // The codes are the same numbers by definition (absl/status/status.h).
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()),
                      std::string(status.message()));
}

// One call in flight, as the door counts it.
class CallInFlight {
 public:
  CallInFlight(Door& door, const grpc::CallbackServerContext& context)
      : door_(door), caller_(door.CallBegan(context.peer())) {}
  ~CallInFlight() { door_.CallEnded(caller_.connection); }
  CallInFlight(const CallInFlight&) = delete;
  CallInFlight& operator=(const CallInFlight&) = delete;
  const Caller& caller() const { return caller_; }

 private:
  Door& door_;
  const Caller caller_;
};

template <typename Response>
class UnaryCall final : public grpc::ServerUnaryReactor,
                        public std::enable_shared_from_this<UnaryCall<Response>> {
 public:
  UnaryCall(Door& door, const grpc::CallbackServerContext& context, Response* response)
      : flight_(std::make_unique<CallInFlight>(door, context)), response_(response) {}
  const Caller& caller() const { return flight_->caller(); }

  Reply<Response> Begin() {
    self_ = this->shared_from_this();
    return Reply<Response>([self = self_](const absl::Status& status, Response response) {
      self->Answer(status, std::move(response));
    });
  }

 private:
  void Answer(const absl::Status& status, Response response) {
    {
      // gRPC takes `response_` back after Finish: who comes second must not touch it.
      MutexLock lock(mutex_);
      if (answered_) return;
      answered_ = true;
      if (status.ok()) *response_ = std::move(response);
    }
    this->Finish(ToGrpc(status));
  }
  void OnCancel() override { Answer(absl::CancelledError("the caller went away"), Response()); }
  void OnDone() override {
    flight_.reset();
    const std::shared_ptr<UnaryCall> last = std::move(self_);
  }

  std::unique_ptr<CallInFlight> flight_;  // until done, while the door is sure to be there
  Response* const response_;
  Mutex mutex_;
  bool answered_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<UnaryCall> self_;
};

class WatchCall final : public grpc::ServerWriteReactor<proto::WatchResponse>,
                        public WatchStream,
                        public std::enable_shared_from_this<WatchCall> {
 public:
  WatchCall(uint64_t stream, Door& door, const grpc::CallbackServerContext& context,
            std::shared_ptr<WatchHub> hub, std::shared_ptr<Mailbox> mailbox)
      : stream_(stream),
        flight_(std::make_unique<CallInFlight>(door, context)),
        hub_(std::move(hub)),
        mailbox_(std::move(mailbox)) {}

  void Begin(const proto::WatchRequest& request) {
    self_ = shared_from_this();
    Tell(
        [hub = hub_, stream = stream_, request, self = self_] { hub->Add(stream, request, self); });
  }

  // WatchStream, on the admin loop.
  void Write(proto::WatchResponse message) override {
    message_ = std::move(message);
    StartWrite(&message_);
  }
  void Finish(const absl::Status& status) override {
    if (!finished_.exchange(true)) ServerWriteReactor::Finish(ToGrpc(status));
  }

 private:
  // Without an admin loop there is nobody else who could end the call.
  void Tell(std::function<void()> fn) {
    if (!mailbox_->Post(std::move(fn))) Finish(absl::UnavailableError("the node is shutting down"));
  }
  void OnWriteDone(bool ok) override {
    Tell([hub = hub_, stream = stream_, ok] { hub->Written(stream, ok); });
  }
  void OnCancel() override {
    Tell([hub = hub_, stream = stream_] { hub->Cancelled(stream); });
  }
  void OnDone() override {
    flight_.reset();
    const std::shared_ptr<WatchCall> last = std::move(self_);
  }

  const uint64_t stream_;
  std::unique_ptr<CallInFlight> flight_;
  const std::shared_ptr<WatchHub> hub_;
  const std::shared_ptr<Mailbox> mailbox_;
  proto::WatchResponse message_;
  std::atomic<bool> finished_{false};
  std::shared_ptr<WatchCall> self_;
};

class Service final : public AdminService, public proto::Admin::CallbackService {
 public:
  Service(AdminApi& api, std::shared_ptr<WatchHub> hub, Door& door,
          std::shared_ptr<Mailbox> mailbox)
      : api_(api), hub_(std::move(hub)), door_(door), mailbox_(std::move(mailbox)) {}

  void Register(grpc::ServerBuilder& builder) override { builder.RegisterService(this); }

 private:
  using Context = grpc::CallbackServerContext;
  using Reactor = grpc::ServerUnaryReactor;

  // A read: `method` needs no caller.
  template <typename Request, typename Response>
  Reactor* Read(Context* context, const Request* request, Response* response,
                void (AdminApi::*method)(const Request&, Reply<Response>)) {
    const auto call = std::make_shared<UnaryCall<Response>>(door_, *context, response);
    mailbox_->Post([api = &api_, method, request = *request, reply = call->Begin()] {
      (api->*method)(request, reply);
    });
    return call.get();
  }
  template <typename Request, typename Response>
  Reactor* Change(Context* context, const Request* request, Response* response,
                  void (AdminApi::*method)(const Caller&, const Request&, Reply<Response>)) {
    const auto call = std::make_shared<UnaryCall<Response>>(door_, *context, response);
    mailbox_->Post([api = &api_, method, caller = call->caller(), request = *request,
                    reply = call->Begin()] { (api->*method)(caller, request, reply); });
    return call.get();
  }

  Reactor* GetNode(Context* c, const proto::GetNodeRequest* q, proto::Node* a) override {
    return Read(c, q, a, &AdminApi::GetNode);
  }
  Reactor* ListPeers(Context* c, const proto::ListPeersRequest* q,
                     proto::ListPeersResponse* a) override {
    return Read(c, q, a, &AdminApi::ListPeers);
  }
  Reactor* GetPeer(Context* c, const proto::GetPeerRequest* q, proto::Peer* a) override {
    return Read(c, q, a, &AdminApi::GetPeer);
  }
  Reactor* ListAttempts(Context* c, const proto::ListAttemptsRequest* q,
                        proto::ListAttemptsResponse* a) override {
    return Read(c, q, a, &AdminApi::ListAttempts);
  }
  Reactor* ListFds(Context* c, const proto::ListFdsRequest* q, proto::ListFdsResponse* a) override {
    return Read(c, q, a, &AdminApi::ListFds);
  }
  Reactor* ListSockets(Context* c, const proto::ListSocketsRequest* q,
                       proto::ListSocketsResponse* a) override {
    return Read(c, q, a, &AdminApi::ListSockets);
  }
  Reactor* AddPeer(Context* c, const proto::AddPeerRequest* q, proto::AddPeerResponse* a) override {
    return Change(c, q, a, &AdminApi::AddPeer);
  }
  Reactor* RemovePeer(Context* c, const proto::RemovePeerRequest* q,
                      proto::RemovePeerResponse* a) override {
    return Change(c, q, a, &AdminApi::RemovePeer);
  }
  Reactor* DropPeer(Context* c, const proto::DropPeerRequest* q,
                    proto::DropPeerResponse* a) override {
    return Change(c, q, a, &AdminApi::DropPeer);
  }
  Reactor* ListPlugins(Context* c, const proto::ListPluginsRequest* q,
                       proto::ListPluginsResponse* a) override {
    return Read(c, q, a, &AdminApi::ListPlugins);
  }
  Reactor* LoadPlugin(Context* c, const proto::LoadPluginRequest* q, proto::Plugin* a) override {
    return Change(c, q, a, &AdminApi::LoadPlugin);
  }
  Reactor* UnloadPlugin(Context* c, const proto::UnloadPluginRequest* q,
                        proto::UnloadPluginResponse* a) override {
    return Change(c, q, a, &AdminApi::UnloadPlugin);
  }
  Reactor* CallPlugin(Context* c, const proto::CallPluginRequest* q,
                      proto::CallPluginResponse* a) override {
    return Change(c, q, a, &AdminApi::CallPlugin);
  }
  Reactor* SetLogLevel(Context* c, const proto::SetLogLevelRequest* q,
                       proto::SetLogLevelResponse* a) override {
    return Change(c, q, a, &AdminApi::SetLogLevel);
  }
  Reactor* Shutdown(Context* c, const proto::ShutdownRequest* q,
                    proto::ShutdownResponse* a) override {
    return Change(c, q, a, &AdminApi::Shutdown);
  }
  grpc::ServerWriteReactor<proto::WatchResponse>* Watch(Context* c,
                                                        const proto::WatchRequest* q) override {
    const auto call =
        std::make_shared<WatchCall>(next_stream_.fetch_add(1), door_, *c, hub_, mailbox_);
    call->Begin(*q);
    return call.get();
  }

  AdminApi& api_;
  const std::shared_ptr<WatchHub> hub_;
  Door& door_;
  const std::shared_ptr<Mailbox> mailbox_;
  std::atomic<uint64_t> next_stream_{1};
};

}  // namespace

std::unique_ptr<AdminService> AdminService::Make(AdminApi& api, std::shared_ptr<WatchHub> hub,
                                                 Door& door, std::shared_ptr<Mailbox> mailbox) {
  return std::make_unique<Service>(api, std::move(hub), door, std::move(mailbox));
}

}  // namespace helo::rpc
