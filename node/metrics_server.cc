#include "node/metrics_server.h"

#include <absl/strings/str_cat.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <future>
#include <optional>
#include <utility>

#include "node/http_head.h"
#include "p2p/base/text.h"
#include "p2p/net/fd_table.h"

namespace helo::node {
namespace {

constexpr int kBacklog = 128;
constexpr size_t kMostDiscarded = size_t{64} << 10;  // of what comes behind the request

}  // namespace

class MetricsServer::Caller final : public net::Watcher {
 public:
  Caller(MetricsServer& server, uint64_t id, net::Socket socket)
      : server_(server),
        id_(id),
        socket_(std::move(socket)),
        timer_(*server.loop_, [this] { OnTimer(); }) {
    timer_.SetAt(server_.clock_.Now() + server_.times_.request);
  }

  ~Caller() override {
    MutexLock lock(server_.shown_mutex_);
    server_.shown_.erase(id_);
  }

  bool Watch() {
    auto watched = server_.loop_->Watch(socket_.FdDoNotKeep(), net::Lane::kSession, Subnet(), this);
    if (watched.ok()) registration_ = std::move(*watched);
    return watched.ok();
  }
  static constexpr int kNeverForRoom = 3;
  int Rank() const {  // the least makes room first
    if (stage_ == Stage::kLinger) return 0;
    if (stage_ == Stage::kRequest) return silent_ ? 1 : 2;
    return kNeverForRoom;
  }

  void Say(int status, const std::string& body) {
    if (stage_ != Stage::kRequest && stage_ != Stage::kCollecting) return;
    out_ = HttpAnswer(status, head_.head_only(), body);
    stage_ = Stage::kAnswer;
    registration_.Kick();
  }

 private:
  enum class Stage : uint8_t { kRequest, kCollecting, kAnswer, kLinger };

  bool OnReady(uint32_t /*events*/) override {
    if (stage_ == Stage::kRequest && !ReadRequest()) return Gone();
    if (stage_ == Stage::kAnswer && !WriteAnswer()) return Gone();
    if (stage_ == Stage::kLinger && !Discard()) return Gone();
    return false;
  }

  // These say false when the connection is to end.
  bool ReadRequest() {
    std::array<uint8_t, 1024> buffer;
    for (;;) {
      const net::IoResult read = socket_.Recv(buffer);
      if (read.kind == net::IoResult::Kind::kWouldBlock) return true;
      if (read.kind != net::IoResult::Kind::kOk) return false;
      silent_ = false;
      if (!head_.Feed(ByteView(buffer).first(read.bytes))) continue;
      if (head_.status() == 200) {
        stage_ = Stage::kCollecting;
        server_.Ask(id_);
      } else {
        Say(head_.status(), "");
      }
      return true;
    }
  }

  bool WriteAnswer() {
    while (written_ < out_.size()) {
      const net::IoResult sent = socket_.Send(AsBytes(out_).subspan(written_));
      if (sent.kind == net::IoResult::Kind::kWouldBlock) return true;
      if (sent.kind != net::IoResult::Kind::kOk) return false;
      written_ += sent.bytes;
    }
    // What the caller still sends is read, or close() would reset and the answer be lost.
    if (socket_.ShutdownWrite() != 0) return false;
    stage_ = Stage::kLinger;
    timer_.SetAt(server_.clock_.Now() + server_.times_.linger);
    return true;
  }

  bool Discard() {
    std::array<uint8_t, 4096> buffer;
    for (;;) {
      const net::IoResult read = socket_.Recv(buffer);
      if (read.kind == net::IoResult::Kind::kWouldBlock) return true;
      discarded_ += read.bytes;
      if (read.kind != net::IoResult::Kind::kOk || discarded_ > kMostDiscarded) return false;
    }
  }

  void OnTimer() {
    if (stage_ == Stage::kRequest && !silent_) {
      // Said once and without waiting for it to be read.
      timer_.SetAt(server_.clock_.Now() + server_.times_.linger);
      return Say(408, "");
    }
    Gone();
  }

  bool Gone() {
    server_.callers_.erase(id_);  // destroys this
    return false;
  }

  MetricsServer& server_;
  const uint64_t id_;
  net::Socket socket_;
  net::Registration registration_;  // goes before the socket
  net::Timer timer_;
  HttpHead head_;
  Stage stage_ = Stage::kRequest;
  bool silent_ = true;
  std::string out_;
  size_t written_ = 0, discarded_ = 0;
};

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const Endpoint& address,
                                                                    Collect collect, FdPool& admin,
                                                                    FdPool& files,
                                                                    const Clock& clock,
                                                                    LogSink& log, Times times) {
  if (!address.ip.IsLoopback()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--metrics ", address.ToString(),
        ": metrics are shown on this machine only (127.0.0.1 or [::1]), since whoever reaches them "
        "may read them; to scrape from elsewhere forward the port (ssh -L) or put a proxy with a "
        "password before it"));
  }
  // At least as many of the pool are left to the operator as are taken here.
  const int free = admin.limit() - admin.used();
  const int callers = std::clamp((free - 1) / 2, 1, kMetricsCallers);
  std::unique_ptr<MetricsServer> server(
      new MetricsServer(std::move(collect), clock, callers, times));
  for (int i = 0; i < callers + 1; ++i) {
    std::optional<FdTicket> ticket = admin.TryTake();
    if (!ticket) {
      return absl::ResourceExhaustedError(
          absl::StrCat("metrics on ", address.ToString(), ": no file descriptor left in the pool '",
                       ToAbsl(ToString(admin.kind())), "', which holds ", admin.limit(),
                       ": raise --admin-fds, or the limit (ulimit -n)"));
    }
    server->reserved_.push_back(*std::move(ticket));
  }
  ListenAddress where;
  where.family = address.ip.is_v4() ? ListenAddress::Family::kV4 : ListenAddress::Family::kV6;
  where.ip = address.ip;
  where.port = address.port;
  FdTicket ticket = std::move(server->reserved_.back());
  server->reserved_.pop_back();
  auto listener = net::Listener::Open(where, kBacklog, std::move(ticket), log);
  if (!listener.ok()) return listener.status();
  server->address_ = listener->local();
  auto loop = net::EventLoop::Create("metrics", clock, log, files);
  if (!loop.ok()) return loop.status();
  server->loop_ = std::move(*loop);
  server->standing_ = server->loop_->OwnFds();
  const int listening = listener->socket().FdDoNotKeep();
  server->standing_.push_back(
      {listening, net::SocketCookie(listening), "listens for metrics", PoolKind::kAdmin});
  server->thread_ = std::thread([loop_ptr = server->loop_.get()] { loop_ptr->Run(); });
  std::promise<absl::Status> started;
  server->loop_->Post([&] {
    auto acceptor =
        net::Acceptor::Start(*server->loop_, *std::move(listener), server->share_, *server, log);
    if (acceptor.ok()) server->acceptor_ = std::move(*acceptor);
    started.set_value(acceptor.status());
  });
  if (absl::Status status = started.get_future().get(); !status.ok()) return status;
  return server;
}

MetricsServer::MetricsServer(Collect collect, const Clock& clock, int callers, Times times)
    : collect_(std::move(collect)),
      clock_(clock),
      times_(times),
      share_(PoolKind::kAdmin, callers) {}

MetricsServer::~MetricsServer() { Stop(); }

std::vector<net::OwnFd> MetricsServer::OwnFds() const {
  std::vector<net::OwnFd> own = standing_;
  MutexLock lock(shown_mutex_);
  for (const auto& [id, fd] : shown_) own.push_back(fd);
  return own;
}

void MetricsServer::Stop() {
  if (!thread_.joinable()) return;
  loop_->Post([this] {
    acceptor_.reset();
    callers_.clear();
  });
  loop_->Stop();
  thread_.join();
}

void MetricsServer::OnAccepted(net::Socket socket, const Endpoint& remote,
                               const Endpoint& /*local*/) {
  if (!remote.ip.IsLoopback()) return;  // closes it
  const uint64_t id = next_caller_++;
  const int fd = socket.FdDoNotKeep();
  {
    MutexLock lock(shown_mutex_);
    shown_[id] = {fd, net::SocketCookie(fd), "metrics caller", PoolKind::kAdmin};
  }
  auto caller = std::make_unique<Caller>(*this, id, std::move(socket));
  if (caller->Watch()) callers_.emplace(id, std::move(caller));
}

// First one that has its answer, then one that has said nothing, then one that is still asking; the
// oldest of them. Who is being answered is done soon, or its time is over.
bool MetricsServer::MakeRoom() {
  auto victim = callers_.end();
  for (auto it = callers_.begin(); it != callers_.end(); ++it) {
    const int rank = it->second->Rank();
    if (rank == Caller::kNeverForRoom) continue;
    if (victim == callers_.end() ||
        std::pair(rank, it->first) < std::pair(victim->second->Rank(), victim->first)) {
      victim = it;
    }
  }
  if (victim == callers_.end()) return false;
  callers_.erase(victim);
  return true;
}

void MetricsServer::Ask(uint64_t caller) {
  // The answer may come when this server is gone: then the loop no longer takes it.
  collect_([loop = loop_, this, caller](Render render) {
    loop->Post([this, caller, render = std::move(render)] {
      const auto found = callers_.find(caller);
      if (found == callers_.end()) return;
      const std::string text = render();
      found->second->Say(text.empty() ? 503 : 200, text);
    });
  });
}

}  // namespace helo::node
