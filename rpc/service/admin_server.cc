#include "rpc/service/admin_server.h"

#include <absl/strings/str_cat.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <future>
#include <set>
#include <thread>
#include <utility>

#include "grpc/health/v1/health.pb.h"
#include "p2p/base/text.h"
#include "p2p/net/fd_table.h"
#include "rpc/service/api.h"
#include "rpc/service/door.h"
#include "rpc/service/grpc_log.h"
#include "rpc/service/guard.h"
#include "rpc/service/reflection.h"
#include "rpc/service/reply.h"
#include "rpc/service/service.h"
#include "rpc/service/token.h"
#include "rpc/service/watch.h"

namespace helo::rpc {
namespace {

constexpr char kServiceName[] = "helo.admin.v1.Admin";
constexpr char kHealthName[] = "grpc.health.v1.Health";
constexpr int kHandshakeTimeoutMs = 3000;      // until the caller's first HTTP/2 frames are there
constexpr int kIdleTimeoutMs = 5 * 60 * 1000;  // without a call
constexpr int kStreamsPerConnection = 32;
constexpr int kMostRequestBytes = 1 << 20;
constexpr int kMostMetadataBytes = 8 << 10;
constexpr size_t kMostMemory = size_t{64} << 20;  // of gRPC's buffers, over all connections
// A new epoll or eventfd that appeared while gRPC was started, and that no loop has.
std::vector<net::OwnFd> NewSince(const std::vector<int>& before, const net::EventLoop& loop) {
  std::set<int> known(before.begin(), before.end());
  for (const net::OwnFd& own : loop.OwnFds()) known.insert(own.fd);
  std::vector<net::OwnFd> fresh;
  for (const int fd : net::ListFds().value_or(std::vector<int>())) {
    if (known.contains(fd)) continue;
    const std::optional<net::FdEntry> entry = net::ReadFd(fd);
    const bool pollers =
        entry && (entry->kind == net::FdKind::kEpoll || entry->kind == net::FdKind::kEventfd);
    if (pollers) fresh.push_back({fd, 0, "gRPC's poller", PoolKind::kFiles});
  }
  return fresh;
}

constexpr int kGrpcDescriptors =
    4;  // its poller's epoll and wakeup descriptors; none a connection, none a call

// The start of what is global in gRPC; it has no end.
void PrepareGrpc() {
  static const bool done = [] {
    grpc::EnableDefaultHealthCheckService(true);
    // libgrpc++ speaks health without its .proto; reflection describes only what is linked in.
    grpc::health::v1::HealthCheckRequest::descriptor();
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

struct AdminServer::Impl {
  Impl(const Clock& clock_in, LogSink& log_in)
      : clock(clock_in), log(log_in), grpc_log(clock_in, log_in) {}

  // Runs `fn` on the loop and waits for it. False if that took too long (it will still run) or the
  // loop has stopped.
  bool RunOnLoop(std::function<void()> fn, MonoTime deadline) const {
    auto done = std::make_shared<std::promise<void>>();
    std::future<void> ran = done->get_future();
    if (!loop->Post([fn = std::move(fn), done] {
          fn();
          done->set_value();
        })) {
      return false;
    }
    if (deadline == kNever) {
      ran.wait();
      return true;
    }
    return ran.wait_until(deadline) == std::future_status::ready;
  }

  const Clock& clock;
  LogSink& log;
  const GrpcLogCapture grpc_log;
  std::vector<FdTicket> grpc_tickets;
  std::unique_ptr<net::EventLoop> loop;
  std::shared_ptr<Mailbox> mailbox;
  std::unique_ptr<Door> door;     // used on the loop once that runs
  std::shared_ptr<WatchHub> hub;  // the same
  std::unique_ptr<AdminApi> api;  // the same
  std::unique_ptr<AdminService> service;
  std::unique_ptr<ReflectionService> reflection;
  std::unique_ptr<grpc::Server> server;
  std::thread thread;
  bool watching = false;
  bool stopped = false;
};

AdminServer::AdminServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<AdminServer>> AdminServer::Start(AdminOptions options,
                                                                NodeFacts facts, AdminHooks hooks,
                                                                Server& server, FdPool& admin_pool,
                                                                FdPool& files_pool,
                                                                const Clock& clock, LogSink& log) {
  const std::vector<int> before_grpc = net::ListFds().value_or(std::vector<int>());
  PrepareGrpc();
  auto impl = std::make_unique<Impl>(clock, log);
  absl::StatusOr<std::unique_ptr<Door>> door =
      Door::Open(options.address, options.backlog, options.auth == AdminAuth::kToken, admin_pool,
                 files_pool, clock, log);
  if (!door.ok()) return door.status();
  impl->door = *std::move(door);
  absl::StatusOr<std::string> token = LoadOrMakeToken(options.token_path, SystemRng());
  if (!token.ok()) return token.status();
  absl::StatusOr<std::unique_ptr<net::EventLoop>> loop =
      net::EventLoop::Create("admin", clock, log, files_pool);
  if (!loop.ok()) return loop.status();
  impl->loop = *std::move(loop);
  for (int i = 0; i < kGrpcDescriptors; ++i) {
    std::optional<FdTicket> ticket = files_pool.TryTake();
    if (!ticket) {
      return absl::ResourceExhaustedError(
          "admin API: no file descriptor left in the pool 'files' for gRPC; raise the limit "
          "(ulimit -n)");
    }
    impl->grpc_tickets.push_back(*std::move(ticket));
  }
  impl->mailbox = std::make_shared<Mailbox>(*impl->loop);
  impl->hub = std::make_shared<WatchHub>(server.events(), impl->mailbox);
  FdSources sources;
  const auto node_fds = hooks.own_fds;
  sources.files = facts.open_files;
  impl->api = std::make_unique<AdminApi>(std::move(facts), std::move(hooks), impl->door->address(),
                                         server, *impl->loop, impl->mailbox, log);
  impl->service = AdminService::Make(*impl->api, impl->hub, *impl->door, impl->mailbox);
  impl->reflection = ReflectionService::Make({kServiceName, kHealthName});

  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMostMetadataBytes);
  builder.SetMaxReceiveMessageSize(kMostRequestBytes);
  grpc::ResourceQuota quota("helo-admin");
  quota.Resize(kMostMemory);
  builder.SetResourceQuota(quota);
  impl->door->AddAcceptors(builder, MakeGuard(*std::move(token), options.token_path,
                                              options.auth == AdminAuth::kToken, clock, log));
  impl->service->Register(builder);
  impl->reflection->Register(builder);
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr) {
    return absl::InternalError(
        "admin API: gRPC could not start its server; --log-level debug tells more");
  }
  impl->server->GetHealthCheckService()->SetServingStatus(kServiceName, true);

  sources.own = [door = impl->door.get(), grpc = NewSince(before_grpc, *impl->loop), node_fds] {
    std::vector<net::OwnFd> own = door->OwnFds();
    if (node_fds) {
      for (net::OwnFd& fd : node_fds()) own.push_back(std::move(fd));
    }
    own.insert(own.end(), grpc.begin(), grpc.end());
    return own;
  };
  sources.listener = [door = impl->door.get()] { return door->listener(); };
  impl->api->SetFdSources(std::move(sources));
  impl->thread = std::thread([loop_ptr = impl->loop.get()] { loop_ptr->Run(); });
  auto admin = std::unique_ptr<AdminServer>(new AdminServer(std::move(impl)));
  Impl& running = *admin->impl_;
  running.hub->Start();
  running.watching = true;
  absl::Status accepting = absl::InternalError("admin API: its loop did not start");
  running.RunOnLoop([&] { accepting = running.door->Start(*running.loop); }, kNever);
  if (!accepting.ok()) return accepting;  // the destructor stops what runs
  return admin;
}

Endpoint AdminServer::address() const { return impl_->door->address(); }

void AdminServer::Stop(Duration deadline) {
  Impl& impl = *impl_;
  if (impl.stopped) return;
  impl.stopped = true;
  const MonoTime until = MonoTime::clock::now() + deadline;
  const absl::Status why = absl::UnavailableError("the node is shutting down");

  // 1. Nobody new; streams get what happened until now and end; waiting calls are answered.
  impl.server->GetHealthCheckService()->Shutdown();
  impl.RunOnLoop(
      [&impl, why] {
        impl.door->StopAccepting();
        impl.hub->End(why);
        impl.api->Stop();
      },
      until);
  // 2. Callers that do not read, or hang, have until here; then gRPC cancels their calls and
  // closes.
  impl.server->Shutdown(
      std::chrono::system_clock::now() +
      std::chrono::duration_cast<std::chrono::system_clock::duration>(deadline * 6 / 10));
  // 3. The descriptors are closed on gRPC's threads, a moment later.
  impl.server.reset();
  std::promise<void> emptied;
  std::future<void> empty = emptied.get_future();
  impl.RunOnLoop([&] { impl.door->WhenEmpty([&emptied] { emptied.set_value(); }); }, kNever);
  if (empty.wait_until(until) != std::future_status::ready) {
    impl.log.Warn(
        "rpc", "gRPC still holds admin connections after its shutdown",
        {{"connections", std::to_string(impl.door->stats().open + impl.door->stats().guarded)}});
  }
  // 4. Everything that lives on the loop dies on the loop.
  if (impl.watching) impl.hub->Stop();
  impl.mailbox->Close();
  impl.RunOnLoop(
      [&impl] {
        impl.door->Close();
        impl.api.reset();
      },
      kNever);
  impl.loop->Stop();
  impl.thread.join();
}

AdminServer::~AdminServer() { Stop(std::chrono::seconds(1)); }

}  // namespace helo::rpc
