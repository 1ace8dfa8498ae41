// What the admin API asks of the control thread.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "p2p/base/text.h"
#include "p2p/server/control.h"
#include "p2p/server/worker.h"

namespace helo::server {
namespace {

constexpr Duration kSnapshotAge = std::chrono::milliseconds(50);

uint32_t CeilSeconds(Duration d) {
  return static_cast<uint32_t>(
      std::max<int64_t>(0, std::chrono::ceil<std::chrono::seconds>(d).count()));
}

}  // namespace

void Control::GetSnapshot(std::function<void(std::shared_ptr<const ServerSnapshot>)> done) {
  auto shared_done = std::make_shared<decltype(done)>(std::move(done));
  const bool posted = Post([this, shared_done] {
    if (snapshot_ && shared_.Now() - snapshot_->taken < kSnapshotAge) {
      (*shared_done)(snapshot_);
      return;
    }
    snapshot_waiters_.push_back(*shared_done);
    if (!building_) BuildSnapshot();
  });
  if (!posted) (*shared_done)(nullptr);
}

void Control::BuildSnapshot() {
  building_ = std::make_shared<ServerSnapshot>();
  building_->taken = shared_.Now();
  building_->taken_wall = shared_.deps.clock->WallNow();
  parts_missing_ = workers_.size();
  for (Worker* worker : workers_) {
    const bool posted = worker->Post([this, worker] {
      auto peers = std::make_shared<std::vector<PeerSnapshot>>(worker->TakePeers());
      auto listeners = std::make_shared<std::vector<ListenerSnapshot>>(worker->TakeListeners());
      Post([this, peers, listeners] {
        for (PeerSnapshot& peer : *peers) building_->peers.push_back(std::move(peer));
        for (ListenerSnapshot& listener : *listeners)
          building_->listeners.push_back(std::move(listener));
        if (--parts_missing_ == 0) FinishSnapshot();
      });
    });
    if (!posted && --parts_missing_ == 0) FinishSnapshot();
  }
}

void Control::FinishSnapshot() {
  ServerSnapshot& s = *building_;
  // A connection that control has not (yet, or any more) in its books as up is not listed: what an
  // operator sees here is what commands act on.
  s.peers.erase(std::remove_if(s.peers.begin(), s.peers.end(),
                               [this](const PeerSnapshot& peer) {
                                 auto it = live_.find(peer.connection);
                                 return it == live_.end() || !it->second.up;
                               }),
                s.peers.end());
  s.targets = dials_.All();
  absl::flat_hash_set<NodeId> static_ids;
  for (const peers::Target& target : s.targets) {
    if (target.kind == peers::TargetKind::kStatic && target.known_id)
      static_ids.insert(*target.known_id);
  }
  for (PeerSnapshot& peer : s.peers) {
    peer.trusted = trusted_.contains(peer.id);
    peer.is_static = static_ids.contains(peer.id);
  }
  std::sort(s.peers.begin(), s.peers.end(), [](const PeerSnapshot& a, const PeerSnapshot& b) {
    return std::tie(a.id, a.connection) < std::tie(b.id, b.connection);
  });
  std::sort(s.listeners.begin(), s.listeners.end(),
            [](const ListenerSnapshot& a, const ListenerSnapshot& b) { return a.fd < b.fd; });
  bans_.Expire(shared_.Now());
  s.away = bans_.ids();
  for (int i = 0; i < kPoolKinds; ++i) {
    const FdPool& pool = shared_.pool(static_cast<PoolKind>(i));
    s.pools.push_back({pool.kind(), pool.used(), pool.limit()});
  }
  LookAtFds();
  s.fds = shared_.deps.fds->status();
  s.inbound = table_.inbound();
  s.outbound = table_.outbound();
  s.max_inbound = table_.limits().max_inbound;
  s.max_outbound = table_.limits().max_outbound;
  s.handshakes = shared_.handshakes.load();
  s.accepted = shared_.accepted.load();
  s.gate_refused = shared_.gate_refused.load();
  s.came_up = came_up_;
  for (size_t i = 0; i < s.received_bytes.size(); ++i) {
    s.received_bytes[i] = shared_.received_bytes[i].load(std::memory_order_relaxed);
    s.sent_bytes[i] = shared_.sent_bytes[i].load(std::memory_order_relaxed);
  }
  s.closed_in = closed_in_;
  s.closed_out = closed_out_;
  snapshot_ = std::move(building_);
  building_.reset();
  auto waiters = std::move(snapshot_waiters_);
  snapshot_waiters_.clear();
  for (auto& done : waiters) done(snapshot_);
}

void Control::FindAttempts(peers::AttemptHistory::Query query,
                           std::function<void(std::vector<peers::Attempt>)> done) {
  auto shared_done = std::make_shared<decltype(done)>(std::move(done));
  if (!Post([this, query = std::move(query), shared_done] {
        (*shared_done)(history_.Find(query));
      })) {
    (*shared_done)({});
  }
}

void Control::AddPeer(PeerAddress address, bool saved, bool wait,
                      std::function<void(absl::StatusOr<AddResult>)> done) {
  auto shared_done = std::make_shared<decltype(done)>(std::move(done));
  const bool posted =
      Post([this, address = std::move(address), saved, wait, shared_done]() mutable {
        OnAdd(std::move(address), saved, wait, *shared_done);
      });
  if (!posted) (*shared_done)(absl::UnavailableError("the node is shutting down"));
}

void Control::OnAdd(PeerAddress address, bool saved, bool wait,
                    std::function<void(absl::StatusOr<AddResult>)> done) {
  if (!dialing_) {
    done(absl::UnavailableError("the node is shutting down"));
    return;
  }
  const MonoTime now = shared_.Now();
  if (address.id && *address.id == shared_.key.id()) {
    done(absl::InvalidArgumentError("that is this node's own id"));
    return;
  }
  if (address.id) {
    if (const peers::Ban* ban = bans_.Find(*address.id, now)) {
      done(absl::FailedPreconditionError(
          absl::StrCat("peer ", address.id->Short(), " was dropped and stays away for another ",
                       HumanDuration((ban->until - now).count()), ": helo drop ",
                       address.id->Short(), " --for 0 lets it come back now")));
      return;
    }
  }
  AddResult result;
  const std::optional<TargetId> existing = dials_.FindByAddress(address);
  const bool was_saved = existing && dials_.Get(*existing)->saved;
  result.existed = existing.has_value();
  result.target = dials_.Add(address, peers::TargetKind::kAdded, saved, now);
  if (saved) {
    if (absl::Status status = Save(); !status.ok()) {
      // Refused is not added, and not saved either.
      if (!result.existed) dials_.Remove(result.target);
      if (!was_saved) dials_.Unsave(result.target);
      done(status);
      return;
    }
  }
  if (!result.existed) {
    Event event;
    event.kind = EventKind::kTargetAdded;
    event.when = shared_.deps.clock->WallNow();
    event.id = address.id;
    event.target = address.ToString();
    shared_.events.Append(std::move(event));
  }
  const peers::Target* target = dials_.Get(result.target);
  const bool connected =
      (target->known_id && table_.Connected(*target->known_id)) || target->connected;
  if (connected) {
    result.up = true;
    result.id = target->known_id;
    done(result);
    return;
  }
  if (!target->trying) dials_.TryNow(result.target, now);
  snapshot_.reset();
  if (wait) {
    waiters_[result.target].push_back(
        [done = std::move(done), existed = result.existed](absl::StatusOr<AddResult> answer) {
          if (answer.ok()) answer->existed = existed;
          done(std::move(answer));
        });
  } else {
    done(result);
  }
  DialDue();
  // Who waits is told when no try could begin; the address stays and is dialed when there is room.
  target = dials_.Get(result.target);
  if (wait && target != nullptr && !target->trying && !target->connected) {
    result.close = {};
    result.close.reason = Reason::kNoSlot;
    result.close.text = "every outbound slot is in use; it is dialed as soon as one is free";
    AnswerWaiters(result.target, result);
  }
}

void Control::RemovePeer(PeerAddress address, bool disconnect,
                         std::function<void(absl::Status)> done) {
  auto shared_done = std::make_shared<decltype(done)>(std::move(done));
  const bool posted = Post([this, address = std::move(address), disconnect, shared_done] {
    OnRemove(address, disconnect, *shared_done);
  });
  if (!posted) (*shared_done)(absl::UnavailableError("the node is shutting down"));
}

void Control::OnRemove(const PeerAddress& address, bool disconnect,
                       const std::function<void(absl::Status)>& done) {
  std::optional<TargetId> id = dials_.FindByAddress(address);
  if (!id) {
    done(absl::NotFoundError(absl::StrCat("this node does not dial ", address.ToString(),
                                          ": `helo info` lists what it dials")));
    return;
  }
  const peers::Target target = *dials_.Get(*id);
  if (target.kind == peers::TargetKind::kStatic) {
    done(absl::FailedPreconditionError(
        absl::StrCat(target.address.ToString(),
                     " comes from the configuration (--peer): take it out there and restart; "
                     "`helo drop ID --for 24h` keeps it away until then")));
    return;
  }
  dials_.Remove(*id);
  CancelResolving(*id);
  snapshot_.reset();  // a list asked for next is true
  absl::Status saved = target.saved ? Save() : absl::OkStatus();
  std::vector<ConnId> to_close;
  for (const auto& [conn, live] : live_) {
    // The peer may have come by itself, and that connection is meant too.
    const bool same_peer = live.up && target.known_id && live.id == target.known_id;
    if (live.target == *id ? (disconnect || !live.up) : (disconnect && same_peer)) {
      to_close.push_back(conn);
    }
  }
  for (ConnId conn : to_close) {
    const bool up = live_.at(conn).up;
    CloseConn(conn, up ? Reason::kDropped : Reason::kCancelled, "removed by the operator", 0);
  }
  AddResult gone;
  gone.close.reason = Reason::kCancelled;
  AnswerWaiters(*id, gone);
  Event event;
  event.kind = EventKind::kTargetRemoved;
  event.when = shared_.deps.clock->WallNow();
  event.id = target.known_id;
  event.target = target.address.ToString();
  shared_.events.Append(std::move(event));
  done(saved);
}

void Control::Forgive(NodeId id) {
  Post([this, id] {
    const MonoTime now = shared_.Now();
    for (const TargetId target : dials_.FindById(id)) dials_.Forgive(target, now);
    DialDue();
  });
}

void Control::DropPeer(NodeId id, std::string text, Duration away,
                       std::function<void(absl::StatusOr<DropResult>)> done) {
  auto shared_done = std::make_shared<decltype(done)>(std::move(done));
  const bool posted = Post([this, id, text = std::move(text), away, shared_done]() mutable {
    OnDrop(id, std::move(text), away, *shared_done);
  });
  if (!posted) (*shared_done)(absl::UnavailableError("the node is shutting down"));
}

void Control::OnDrop(NodeId id, std::string text, Duration away,
                     std::function<void(absl::StatusOr<DropResult>)> done) {
  const MonoTime now = shared_.Now();
  DropResult result;
  const std::vector<TargetId> targets = dials_.FindById(id);
  std::vector<ConnId> conns;
  for (const auto& [conn, live] : live_) {
    // A dial in flight has proven no id yet; its target says whom it is for.
    const bool dialing_it =
        !live.id && std::find(targets.begin(), targets.end(), live.target) != targets.end();
    if (live.id == id || dialing_it) conns.push_back(conn);
  }
  if (conns.empty() && targets.empty() && bans_.Find(id, now) == nullptr) {
    done(absl::NotFoundError(absl::StrCat("no peer ", id.Short(),
                                          " is connected, dialed or kept away: `helo peers` "
                                          "lists those that are")));
    return;
  }
  if (away > Duration{}) {
    bans_.BanId(id, {text, now + away, shared_.deps.clock->WallNow()});
  } else {
    bans_.UnbanId(id);
  }
  shared_.set_gate_bans(bans_.ForGate());
  for (TargetId target : targets) {
    dials_.Pause(target, away > Duration{} ? now + away : now);
    if (away > Duration{}) ++result.targets_paused;
  }
  absl::flat_hash_set<size_t> touched;
  for (ConnId conn : conns) {
    const Live& live = live_.at(conn);
    // One that may come back at once and is on its way may as well go on.
    if (!live.up && away <= Duration{}) continue;
    touched.insert(live.worker);
    if (live.up) ++result.connections_closed;
    // Before up a VERDICT may have to carry it, which knows no DROPPED (WIRE 9).
    CloseConn(conn, live.up ? Reason::kDropped : Reason::kBanned, text, CeilSeconds(away));
  }
  Event event;
  event.kind = EventKind::kDropped;
  event.when = shared_.deps.clock->WallNow();
  event.id = id;
  event.close.reason = Reason::kDropped;
  event.close.text = text;
  event.close.retry_after_s = CeilSeconds(away);
  shared_.events.Append(std::move(event));
  DialDue();
  if (touched.empty()) {
    done(result);
    return;
  }
  // Answered once every loop has closed its part and control has heard of it, so that a list asked
  // for next is true.
  auto missing = std::make_shared<size_t>(touched.size());
  auto shared_done = std::make_shared<decltype(done)>(std::move(done));
  const auto one_told = [this, missing, result, shared_done] {
    if (--*missing > 0) return;
    snapshot_.reset();
    (*shared_done)(result);
  };
  for (size_t index : touched) {
    // A loop that has stopped has closed its part as well.
    if (!workers_[index]->Post([this, one_told] { Post(one_told); })) one_told();
  }
}

}  // namespace helo::server
