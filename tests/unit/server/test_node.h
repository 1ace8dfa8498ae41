// A whole server in the test's process, on loopback, with verbs that wait for events instead of
// sleeping. Long: one class, a verb each.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "p2p/base/testing/capturing_log.h"
#include "p2p/base/testing/seeded_rng.h"
#include "p2p/server/server.h"
#include "tests/unit/server/echo_handler.h"

namespace helo::testing {

inline constexpr auto kPatience = std::chrono::seconds(20);

inline tls::NodeKey KeyOf(uint8_t seed) {
  const Bytes bytes(32, seed);
  auto key = tls::NodeKey::FromSeed(bytes);
  EXPECT_TRUE(key.ok()) << key.status();
  return *key;
}

class TestNode {
 public:
  struct Setup {
    uint8_t key = 1;
    std::string listen = "127.0.0.1:0";  // empty: dials only
    std::string network = "helo-test";
    Bytes genesis = {};
    std::vector<std::string> peers = {};
    std::vector<NodeId> trusted = {};
    int max_inbound = 64, max_outbound = 16, handshakes = 64, loops = 1;
    bool exempt_sources = true;
    Duration tls_timeout = std::chrono::seconds(5);
    std::vector<Handler*> handlers = {};  // empty: the echo handler
    std::function<absl::StatusOr<std::unique_ptr<net::Resolver>>(net::EventLoop&)> resolver = {};
    std::function<void(ServerOptions&)> more = {};
    const Clock* clock = nullptr;            // the machine's
    std::optional<peers::FdPlan> plan = {};  // in place of ample pools
    // In place of the kernel; none: pools never change. Called on the control thread.
    std::function<peers::FdLimit(const peers::FdBudget&)> read_fds = {};
  };

  explicit TestNode(Setup setup)
      : setup_(std::move(setup)), rng_(setup_.key), key_(KeyOf(setup_.key)) {
    peers::FdPlan plan;
    for (int i = 0; i < kPoolKinds; ++i) plan.pools[static_cast<size_t>(i)] = 256;
    plan.pools[static_cast<size_t>(PoolKind::kInbound)] = std::max(setup_.max_inbound, 1);
    plan.pools[static_cast<size_t>(PoolKind::kOutbound)] = setup_.max_outbound;
    plan.pools[static_cast<size_t>(PoolKind::kHandshake)] = setup_.handshakes;
    fds_ = std::make_unique<peers::FdBudget>(setup_.plan.value_or(plan));
    ServerOptions options;
    if (!setup_.listen.empty()) options.listen.push_back(*ListenAddress::Parse(setup_.listen));
    for (const std::string& peer : setup_.peers)
      options.static_peers.push_back(*PeerAddress::Parse(peer));
    options.trusted = setup_.trusted;
    options.max_inbound = setup_.max_inbound;
    options.max_outbound = setup_.max_outbound;
    options.loops = setup_.loops;
    options.tls_timeout = setup_.tls_timeout;
    if (setup_.exempt_sources) options.sources.exempt = peers::DefaultExemptSources();
    options.profile.network = setup_.network;
    options.profile.genesis = setup_.genesis;
    options.profile.user_agent = "test/" + std::to_string(setup_.key);
    options.dial_times.backoff_first = std::chrono::milliseconds(20);
    options.dial_times.backoff_most = std::chrono::milliseconds(200);
    if (setup_.more) setup_.more(options);
    ServerDeps deps;
    deps.clock = setup_.clock != nullptr ? setup_.clock : &RealClock();
    if (setup_.read_fds)
      deps.read_fds = [this]() -> absl::StatusOr<peers::FdLimit> { return setup_.read_fds(*fds_); };
    deps.rng = &rng_;
    deps.log = &log_;
    deps.fds = fds_.get();
    deps.handlers = setup_.handlers;
    if (deps.handlers.empty()) deps.handlers.push_back(&echo_);
    deps.make_resolver = setup_.resolver;
    auto server = Server::Create(std::move(options), key_, std::move(deps));
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
    handle_ = server_->events().Subscribe([this] {
      MutexLock lock(mutex_);
      ++wakes_;
      cond_.NotifyAll();
    });
    server_->Start();
  }
  ~TestNode() {
    server_->events().Unsubscribe(handle_);
    server_.reset();
  }

  Server& server() { return *server_; }
  const NodeId& id() const { return key_.id(); }
  CapturingLog& log() { return log_; }
  EchoHandler& echo() { return echo_; }
  peers::FdBudget& fds() { return *fds_; }
  Endpoint at() const { return server_->listening().at(0); }
  std::string Address(bool with_id = true) const {
    return "helo://" + (with_id ? key_.id().ToHex() + "@" : std::string()) + at().ToString();
  }

  // Waits until an event fits (from the first one on); nullopt when patience ends.
  std::optional<Event> WaitFor(const std::function<bool(const Event&)>& fits,
                               Duration patience = kPatience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    uint64_t after = 0;
    for (;;) {
      uint64_t seen;
      {
        MutexLock lock(mutex_);
        seen = wakes_;
      }
      const EventLog::Batch batch = server_->events().ReadAfter(after, 10000);
      for (const Event& event : batch.events) {
        if (fits(event)) return event;
        after = event.sequence;
      }
      MutexLock lock(mutex_);
      while (wakes_ == seen) {
        if (!cond_.WaitUntil(mutex_, deadline)) return std::nullopt;
      }
    }
  }
  bool WaitUp(const NodeId& peer) {
    return WaitFor([&](const Event& e) { return e.kind == EventKind::kPeerUp && e.id == peer; })
        .has_value();
  }
  // The end of an attempt or connection with this reason.
  std::optional<Event> WaitEnd(Reason reason) {
    return WaitFor([&](const Event& e) {
      return (e.kind == EventKind::kPeerClosed || e.kind == EventKind::kAttemptFailed ||
              e.kind == EventKind::kRefused) &&
             e.close.reason == reason;
    });
  }
  // Waits until a fresh snapshot fits.
  bool WaitSnapshot(const std::function<bool(const ServerSnapshot&)>& fits) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      auto snapshot = server_->Snapshot();
      if (snapshot && fits(*snapshot)) return true;
      std::this_thread::yield();
    }
    return false;
  }
  bool Lists(const NodeId& peer) {
    auto snapshot = server_->Snapshot();
    for (const PeerSnapshot& p : snapshot->peers) {
      if (p.id == peer) return true;
    }
    return false;
  }

  absl::StatusOr<AddResult> Add(const std::string& address, bool wait = true) {
    std::promise<absl::StatusOr<AddResult>> promise;
    server_->AddPeer(
        *PeerAddress::Parse(address), false, wait,
        [&](absl::StatusOr<AddResult> result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
  }
  absl::Status Remove(const std::string& address, bool disconnect) {
    std::promise<absl::Status> promise;
    server_->RemovePeer(*PeerAddress::Parse(address), disconnect,
                        [&](absl::Status status) { promise.set_value(std::move(status)); });
    return promise.get_future().get();
  }
  absl::StatusOr<DropResult> Drop(const NodeId& peer, Duration away, const std::string& text = "") {
    std::promise<absl::StatusOr<DropResult>> promise;
    server_->DropPeer(peer, text, away, [&](absl::StatusOr<DropResult> result) {
      promise.set_value(std::move(result));
    });
    return promise.get_future().get();
  }
  std::vector<peers::Attempt> History(peers::AttemptHistory::Query query = {}) {
    std::promise<std::vector<peers::Attempt>> promise;
    server_->FindAttempts(
        query, [&](std::vector<peers::Attempt> found) { promise.set_value(std::move(found)); });
    return promise.get_future().get();
  }

 private:
  Setup setup_;
  SeededRng rng_;
  tls::NodeKey key_;
  CapturingLog log_;
  EchoHandler echo_;
  std::unique_ptr<peers::FdBudget> fds_;
  Mutex mutex_;
  CondVar cond_;
  uint64_t wakes_ ABSL_GUARDED_BY(mutex_) = 0;
  int handle_ = 0;
  std::unique_ptr<Server> server_;
};

}  // namespace helo::testing
