// Long: one loop's connections, and all that others ask of them.
#include "p2p/server/worker.h"

#include <algorithm>
#include <cerrno>

#include "p2p/server/connection.h"
#include "p2p/server/control.h"
#include "p2p/server/session_registry.h"

namespace helo::server {
namespace {

constexpr size_t kScratchBytes = 32 * 1024;
constexpr size_t kRefusalKinds =
    1024;  // distinct (source, reason) held until the next flush; beyond that, flush at once
// Before a connection must make room. Who is serious has sent its first flight by then: it was on
// its way while the connection waited in the kernel's queue.
constexpr Duration kLeastStay = std::chrono::milliseconds(50);
constexpr Duration kRefusalFlush = std::chrono::milliseconds(200);

}  // namespace

absl::StatusOr<std::unique_ptr<Worker>> Worker::Create(Shared& shared, SessionRegistry& registry,
                                                       size_t index) {
  std::unique_ptr<Worker> worker(new Worker(shared, registry, index));
  auto loop = net::EventLoop::Create("net-" + std::to_string(index), *shared.deps.clock,
                                     shared.log(), shared.pool(PoolKind::kFiles));
  if (!loop.ok()) return loop.status();
  worker->loop_ = std::move(*loop);
  auto tls = tls::Context::Create(shared.key);
  if (!tls.ok()) return tls.status();
  worker->tls_ = std::move(*tls);
  return worker;
}

Worker::Worker(Shared& shared, SessionRegistry& registry, size_t index)
    : shared_(shared),
      registry_(registry),
      index_(index),
      scratch_(kScratchBytes),
      plain_scratch_(kScratchBytes) {
  for (Handler* handler : shared.deps.handlers) {
    for (Capability& capability : handler->Capabilities())
      offers_.push_back({std::move(capability), handler});
  }
}

Worker::~Worker() {
  connections_.clear();
  graveyard_.clear();
  acceptors_.clear();
  refusal_timer_.reset();
}

void Worker::Launch(Control& control, std::vector<Worker*> all) {
  control_ = &control;
  all_ = std::move(all);
  refusal_timer_ = std::make_unique<net::Timer>(*loop_, [this] { FlushRefusals(); });
  loop_->AfterSessions([this] { EndBursts(); });
  thread_ = std::thread([this] { loop_->Run(); });
}

void Worker::Accept(net::Listener listener) {
  auto shared_listener = std::make_shared<net::Listener>(std::move(listener));
  Post([this, shared_listener] {
    auto acceptor = net::Acceptor::Start(*loop_, std::move(*shared_listener),
                                         shared_.pool(PoolKind::kHandshake), *this, shared_.log());
    if (acceptor.ok()) {
      acceptors_.push_back(std::move(*acceptor));
    } else {
      shared_.log().Error("server", "cannot accept connections",
                          {{"error", std::string(FromAbsl(acceptor.status().message()))}});
    }
  });
}

void Worker::OnAccepted(net::Socket socket, const Endpoint& remote, const Endpoint& local) {
  shared_.accepted.fetch_add(1, std::memory_order_relaxed);
  if (draining_) return;
  if (shared_.BannedAtGate(remote.ip)) {
    RefuseAtGate(std::move(socket), remote, Reason::kBanned);
    return;
  }
  if (!shared_.sources.Begin(remote.ip)) {
    RefuseAtGate(std::move(socket), remote, Reason::kRateLimited);
    return;
  }
  Worker* worker = all_[next_worker_++ % all_.size()];
  if (worker == this) {
    Adopt(std::move(socket), remote, local);
    return;
  }
  auto moved = std::make_shared<net::Socket>(std::move(socket));
  const bool posted = worker->Post(
      [worker, moved, remote, local] { worker->Adopt(std::move(*moved), remote, local); });
  if (!posted) shared_.sources.End(remote.ip);
}

void Worker::Adopt(net::Socket socket, const Endpoint& remote, const Endpoint& local) {
  if (draining_) {
    shared_.sources.End(remote.ip);
    return;
  }
  const ConnId id = shared_.next_connection.fetch_add(1, std::memory_order_relaxed);
  auto connection = std::make_unique<Connection>(*this, id, std::move(socket), remote, local);
  Connection& begun = *connection;
  connections_.emplace(id, std::move(connection));
  begun.Begin();
}

void Worker::RefuseAtGate(net::Socket socket, const Endpoint& remote, Reason reason) {
  shared_.gate_refused.fetch_add(1, std::memory_order_relaxed);
  const auto alert =
      reason == Reason::kBanned ? tls::GateAlert::kNotWelcome : tls::GateAlert::kNoRoom;
  socket.Send(tls::GateAlertRecord(alert));
  // What has arrived already is read, so that close() sends FIN and the alert is not lost to a
  // reset.
  socket.ShutdownWrite();
  socket.Recv(scratch_);
  peers::Attempt attempt;
  attempt.direction = Direction::kInbound;
  attempt.began = attempt.ended = shared_.deps.clock->WallNow();
  attempt.remote = remote;
  attempt.stage = Stage::kGate;
  attempt.close.reason = reason;
  attempt.close.stage = Stage::kGate;
  CountRefusal(attempt);
}

bool Worker::MakeRoom() {
  if (handshakes_by_count_.empty()) return false;
  const Subnet group = handshakes_by_count_.rbegin()->second;
  const ConnId oldest = *handshakes_.at(group).conns.begin();
  Connection* connection = Find(oldest);
  if (connection == nullptr) return false;
  // Who is refused at once is back at once: this bounds what a small pool costs under a crowd.
  if (shared_.Now() < connection->accepted() + kLeastStay) return false;
  shared_.gate_refused.fetch_add(1, std::memory_order_relaxed);
  connection->MakeRoom();
  return true;
}

void Worker::RestFromAccepting() {
  for (Worker* worker : all_) {
    worker->Post([worker] {
      for (const auto& acceptor : worker->acceptors_) acceptor->Rest(ENOMEM);
    });
  }
}

void Worker::BeganHandshake(Connection& connection) {
  const Subnet group = FairnessGroupOf(connection.remote().ip);
  Handshakes& of_group = handshakes_[group];
  handshakes_by_count_.erase({of_group.conns.size(), group});
  of_group.conns.insert(connection.id());
  handshakes_by_count_.insert({of_group.conns.size(), group});
}

void Worker::EndedHandshake(Connection& connection) {
  const Subnet group = FairnessGroupOf(connection.remote().ip);
  auto it = handshakes_.find(group);
  if (it == handshakes_.end()) return;
  std::set<ConnId>& conns = it->second.conns;
  if (!conns.contains(connection.id())) return;
  handshakes_by_count_.erase({conns.size(), group});
  conns.erase(connection.id());
  if (conns.empty()) {
    handshakes_.erase(it);
  } else {
    handshakes_by_count_.insert({conns.size(), group});
  }
}

Connection* Worker::Find(ConnId conn) {
  auto it = connections_.find(conn);
  return it == connections_.end() ? nullptr : it->second.get();
}

void Worker::Remove(Connection& connection) {
  auto it = connections_.find(connection.id());
  if (it == connections_.end()) return;
  graveyard_.push_back(std::move(it->second));
  connections_.erase(it);
  if (std::exchange(burying_, true)) return;
  Post([this] {
    burying_ = false;
    graveyard_.clear();
    CheckIdle();
  });
}

void Worker::CheckIdle() {
  if (draining_ && connections_.empty() && idle_) std::exchange(idle_, nullptr)();
}

template <typename Fn>
void Worker::With(ConnId conn, Fn fn) {
  Post([this, conn, fn = std::move(fn)] {
    if (Connection* connection = Find(conn)) fn(*connection);
  });
}

void Worker::Dial(DialJob job, ConnId conn) {
  auto moved = std::make_shared<DialJob>(std::move(job));
  Post([this, moved, conn] {
    auto connection = std::make_unique<Connection>(*this, conn, std::move(*moved));
    Connection& begun = *connection;
    connections_.emplace(conn, std::move(connection));
    if (draining_) {
      begun.Close(Reason::kCancelled, "the node stops", 0);
    } else {
      begun.Begin();
    }
  });
}

void Worker::Decide(ConnId conn, wire::Verdict verdict) {
  With(conn, [verdict = std::move(verdict)](Connection& c) { c.Decide(verdict); });
}
void Worker::HoldForChallenge(ConnId conn) {
  With(conn, [](Connection& c) { c.HoldForChallenge(); });
}
void Worker::Challenge(ConnId conn, ConnId newcomer) {
  Post([this, conn, newcomer] {
    if (Connection* connection = Find(conn)) {
      connection->Challenge(newcomer);
    } else {
      control_->ChallengeEnded(conn, newcomer, Control::ChallengeOutcome::kGone);
    }
  });
}
void Worker::Close(ConnId conn, Reason reason, std::string text, uint32_t retry_after_s) {
  With(conn, [reason, text = std::move(text), retry_after_s](Connection& c) {
    c.Close(reason, text, retry_after_s);
  });
}
void Worker::TrimHandshakes() {
  Post([this] {
    const FdPool& pool = shared_.pool(PoolKind::kHandshake);
    // Bounded by what there is, should one of them not give its ticket back at once.
    for (int most = pool.used(); most > 0 && pool.used() > pool.limit(); --most) {
      if (!MakeRoom()) break;
    }
  });
}
void Worker::SendPeers(ConnId conn, std::vector<wire::PeerInfo> peers) {
  With(conn, [peers = std::move(peers)](Connection& c) { c.SendPeers(peers); });
}

void Worker::Offer(std::vector<Capability> versions, Handler* handler) {
  Post([this, versions = std::move(versions), handler] {
    if (versions.empty()) return;
    offers_.erase(std::remove_if(
                      offers_.begin(), offers_.end(),
                      [&](const Offered& o) { return o.capability.name == versions.front().name; }),
                  offers_.end());
    for (const Capability& capability : versions) offers_.push_back({capability, handler});
    std::vector<ConnId> all;
    for (const auto& [id, connection] : connections_) all.push_back(id);
    for (ConnId id : all) {
      if (Connection* connection = Find(id)) connection->Offer(versions);
    }
  });
}

void Worker::Withdraw(std::string name, Reason code) {
  Post([this, name = std::move(name), code] {
    std::vector<ConnId> all;
    for (const auto& [id, connection] : connections_) all.push_back(id);
    for (ConnId id : all) {
      if (Connection* connection = Find(id)) connection->Withdraw(name, code);
    }
    offers_.erase(std::remove_if(offers_.begin(), offers_.end(),
                                 [&](const Offered& o) { return o.capability.name == name; }),
                  offers_.end());
  });
}

void Worker::MarkDirty(ConnId conn) {
  dirty_.push_back(conn);
  if (dirty_.size() == 1) {
    Post([this] { FlushDirty(); });
  }
}

void Worker::FlushDirty() {
  std::vector<ConnId> dirty;
  dirty.swap(dirty_);
  for (ConnId id : dirty) {
    if (Connection* connection = Find(id)) connection->Flush();
  }
}

bool Worker::Send(const std::shared_ptr<SessionEntry>& entry, uint16_t type, ByteView payload,
                  bool later) {
  switch (sends_.Append(entry, type, payload, later)) {
    case SendQueue::Appended::kQueued:
      return true;
    case SendQueue::Appended::kTellLoop:
      return PostSends();
    case SendQueue::Appended::kClosed:
      return false;
  }
  return false;
}

bool Worker::PostSends() {
  if (Post([this] { TakeSends(); })) return true;
  sends_.Close();
  return false;
}

void Worker::TakeSends() {
  sends_.Take(taken_sends_);
  Connection* connection = nullptr;
  ConnId conn = 0;
  for (const SendBatch::Item& item : taken_sends_.items()) {
    if (item.entry->conn != conn) {
      conn = item.entry->conn;
      connection = Find(conn);
      if (connection != nullptr && connection->SetDirty()) sent_to_.push_back(conn);
    }
    if (connection != nullptr)
      connection->SendPosted(*item.entry, item.type, taken_sends_.Payload(item));
  }
  taken_sends_.Clear();
  for (const ConnId id : sent_to_) {
    if (Connection* sent = Find(id)) sent->Flush();
  }
  sent_to_.clear();
}

void Worker::Burst(Handler* handler) {
  if (std::find(bursts_.begin(), bursts_.end(), handler) != bursts_.end()) return;
  bursts_.push_back(handler);
  handler->OnBurst(true);
}

void Worker::EndBursts() {
  for (Handler* handler : bursts_) handler->OnBurst(false);
  bursts_.clear();
}

void Worker::CountRefusal(const peers::Attempt& attempt) {
  const Subnet source = attempt.remote ? SourceOf(attempt.remote->ip) : Subnet{};
  auto [it, fresh] = refusals_.try_emplace({source, attempt.close.reason}, attempt);
  if (!fresh) {
    const uint64_t repeats = it->second.repeats + 1;
    const WallTime began = it->second.began;
    it->second = attempt;
    it->second.began = began;
    it->second.repeats = repeats;
  }
  if (refusals_.size() >= kRefusalKinds) {
    FlushRefusals();
  } else if (refusal_timer_->when() == kNever) {
    refusal_timer_->SetAt(loop_->Now() + kRefusalFlush);
  }
}

void Worker::FlushRefusals() {
  refusal_timer_->Cancel();
  if (refusals_.empty()) return;
  std::vector<peers::Attempt> all;
  all.reserve(refusals_.size());
  for (auto& [key, attempt] : refusals_) all.push_back(std::move(attempt));
  refusals_.clear();
  control_->Refused(std::move(all));
}

std::vector<PeerSnapshot> Worker::TakePeers() {
  std::vector<PeerSnapshot> peers;
  peers.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) {
    if (connection->up()) peers.push_back(connection->Snapshot());
  }
  return peers;
}

std::vector<ListenerSnapshot> Worker::TakeListeners() {
  std::vector<ListenerSnapshot> listeners;
  for (const auto& acceptor : acceptors_) listeners.push_back(SnapshotOf(*acceptor));
  return listeners;
}

void Worker::Drain(std::function<void()> idle) {
  Post([this, idle = std::move(idle)] {
    draining_ = true;
    idle_ = idle;
    acceptors_.clear();
    std::vector<ConnId> all;
    for (const auto& [id, connection] : connections_) all.push_back(id);
    for (ConnId id : all) {
      if (Connection* connection = Find(id)) connection->Close(Reason::kShuttingDown, "", 0);
    }
    FlushRefusals();
    CheckIdle();
  });
}

void Worker::StopAndJoin() {
  if (!thread_.joinable()) return;
  // What is left after the time of grace is closed as it stands; handlers still get their OnClose.
  Post([this] {
    for (auto& [id, connection] : connections_) connection->Abandon();
    FlushRefusals();
  });
  loop_->Stop();
  thread_.join();
}

}  // namespace helo::server
