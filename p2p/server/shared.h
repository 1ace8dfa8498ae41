// What every piece of one server works with. Private to p2p/server. Immutable after Create, except
// what is locked.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <utility>

#include "p2p/base/mutex.h"
#include "p2p/base/text.h"
#include "p2p/peers/ban_list.h"
#include "p2p/peers/peer_table.h"
#include "p2p/server/server.h"

namespace helo::server {

using peers::ConnId;
using peers::TargetId;

struct Shared {
  Shared(ServerOptions o, const tls::NodeKey& k, ServerDeps d)
      : options(std::move(o)),
        key(k),
        deps(std::move(d)),
        sources(options.sources, *deps.clock),
        limiter(*deps.clock),
        events(deps.rng->U64() | 1),
        bans(std::make_shared<peers::AddressBans>()) {}

  const ServerOptions options;
  const tls::NodeKey key;
  const ServerDeps deps;
  peers::SourceLimiter sources;
  LogLimiter limiter;
  EventLog events;
  std::atomic<ConnId> next_connection{1};
  std::atomic<SessionId> next_session{1};
  std::atomic<uint64_t> accepted{0}, gate_refused{0};
  std::array<std::atomic<uint64_t>, 2> received_bytes{}, sent_bytes{};  // by Direction
  std::atomic<int> handshakes{0};  // inbound, waiting or running

  // Asked at every accept, and nearly always there is no such ban: then no lock is taken.
  bool BannedAtGate(const IpAddress& ip) const {
    return any_bans.load(std::memory_order_acquire) && gate_bans()->Banned(ip, Now());
  }
  void set_gate_bans(std::shared_ptr<const peers::AddressBans> fresh) {
    MutexLock lock(bans_mutex);
    bans = std::move(fresh);
    any_bans.store(!bans->subnets.empty(), std::memory_order_release);
  }

  MonoTime Now() const { return deps.clock->Now(); }
  FdPool& pool(PoolKind kind) const { return deps.fds->pool(kind); }
  LogSink& log() const { return *deps.log; }

 private:
  std::shared_ptr<const peers::AddressBans> gate_bans() const {
    MutexLock lock(bans_mutex);
    return bans;
  }

  std::atomic<bool> any_bans{false};
  mutable Mutex bans_mutex;
  std::shared_ptr<const peers::AddressBans> bans ABSL_GUARDED_BY(bans_mutex);
};

// A capability and who serves it.
struct Offered {
  Capability capability;
  Handler* handler = nullptr;
};

// A dial that control asks a worker for.
struct DialJob {
  TargetId target = 0;
  PeerAddress address;
  std::vector<Endpoint> endpoints;  // to be tried in order
  FdTicket ticket;                  // of the outbound pool
  WallTime began{};
  Duration resolving{};
};

// What control needs for a verdict.
struct CandidateReport {
  ConnId conn = 0;
  size_t worker = 0;
  TargetId target = 0;
  peers::Candidate candidate;  // trusted and is_static are control's to fill in
  std::string user_agent;
};

// The end of one attempt or connection.
struct EndReport {
  peers::Attempt attempt;
  ConnId conn = 0;
  TargetId target = 0;
  Duration up_for{};
  bool judged = false;  // control has seen a CandidateReport of it
  bool over_tls_from_expected_id = false;
};

}  // namespace helo::server
