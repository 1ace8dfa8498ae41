// Whom to dial now: names are resolved at every try, a ticket of the outbound pool is taken before
// anything else.
#include <algorithm>

#include "p2p/server/control.h"
#include "p2p/server/worker.h"

namespace helo::server {
namespace {

// Each may take the whole time for connecting, and the slot is held meanwhile. The next try asks
// the name anew.
constexpr size_t kMostAddresses = 8;

}  // namespace

void Control::StartDialing() {
  Post([this] {
    dialing_ = true;
    DialDue();
  });
}

void Control::StopDialing() {
  Post([this] {
    dialing_ = false;
    dial_timer_->Cancel();
    for (auto& [key, resolving] : resolving_) resolver_->Cancel(resolving.query);
    resolving_.clear();
    auto waiters = std::move(waiters_);
    waiters_.clear();
    for (auto& [target, all] : waiters) {
      for (auto& done : all) done(absl::UnavailableError("the node is shutting down"));
    }
  });
}

void Control::ArmDial() {
  if (!dialing_) return;
  const MonoTime due = dials_.NextDue();
  const MonoTime now = shared_.Now();
  // Something may be due that waits for a slot or for its id to go: the end of a connection calls
  // here again.
  dial_timer_->SetAt(due == kNever ? kNever : std::max(due, now));
}

void Control::DialDue() {
  if (!dialing_) return;
  const MonoTime now = shared_.Now();
  bans_.Expire(now);
  const int slots = table_.limits().max_outbound - outbound_live_;
  const std::vector<peers::Target> due =
      dials_.Due(now, slots, [this](const NodeId& id) { return table_.Connected(id); });
  for (const peers::Target& target : due) StartDial(target);
  const MonoTime next = dials_.NextDue();
  if (next == kNever) {
    dial_timer_->Cancel();
  } else if (next > now) {
    dial_timer_->SetAt(next);
  } else {
    // Due but held back by a missing slot or a standing connection: look again when something ends,
    // and now and then.
    dial_timer_->SetAt(now + std::chrono::milliseconds(500));
  }
}

void Control::StartDial(const peers::Target& target) {
  const MonoTime now = shared_.Now();
  auto ticket = shared_.pool(PoolKind::kOutbound).TryTake();
  if (!ticket) {
    dials_.Postpone(target.id, now);
    return;
  }
  ++outbound_live_;
  const WallTime wall = shared_.deps.clock->WallNow();
  if (auto literal = target.address.literal()) {
    HandToWorker(target, {Endpoint{*literal, target.address.port}}, std::move(*ticket), wall, {});
    return;
  }
  const uint64_t key = next_resolving_++;
  Resolving& resolving = resolving_[key];
  resolving.target = target.id;
  resolving.began = now;
  resolving.began_wall = wall;
  resolving.ticket = std::move(*ticket);
  resolving.query = resolver_->Resolve(
      target.address.host, [this, key](absl::StatusOr<std::vector<IpAddress>> addresses) {
        Resolved(key, std::move(addresses));
      });
}

void Control::Resolved(uint64_t key, absl::StatusOr<std::vector<IpAddress>> addresses) {
  auto it = resolving_.find(key);
  if (it == resolving_.end()) return;
  Resolving resolving = std::move(it->second);
  resolving_.erase(it);
  const MonoTime now = shared_.Now();
  const peers::Target* target = dials_.Get(resolving.target);
  if (target == nullptr) {  // removed meanwhile
    --outbound_live_;
    return;
  }
  if (!addresses.ok()) {
    EndReport report;
    report.target = target->id;
    report.attempt.direction = Direction::kOutbound;
    report.attempt.began = resolving.began_wall;
    report.attempt.ended = shared_.deps.clock->WallNow();
    report.attempt.target = target->address.ToString();
    report.attempt.stage = Stage::kResolve;
    report.attempt.spent[static_cast<size_t>(Stage::kResolve)] = now - resolving.began;
    report.attempt.close.reason =
        absl::IsResourceExhausted(addresses.status()) ? Reason::kNoFd : Reason::kResolve;
    report.attempt.close.decider =
        absl::IsResourceExhausted(addresses.status()) ? Decider::kUs : Decider::kNetwork;
    report.attempt.close.stage = Stage::kResolve;
    report.attempt.close.text = std::string(FromAbsl(addresses.status().message()));
    OnEnded(std::move(report));
    return;
  }
  if (addresses->size() > kMostAddresses) {
    const LogLimiter::Pass pass = shared_.limiter.Check("addresses " + target->address.host);
    if (pass.log) {
      shared_.log().Info("server", "a name has many addresses: only the first are tried",
                         {{"target", target->address.ToString()},
                          {"addresses", std::to_string(addresses->size())},
                          {"tried", std::to_string(kMostAddresses)}});
    }
    addresses->resize(kMostAddresses);
  }
  std::vector<Endpoint> endpoints;
  for (const IpAddress& ip : *addresses) endpoints.push_back({ip, target->address.port});
  const peers::Target copy = *target;
  HandToWorker(copy, std::move(endpoints), std::move(resolving.ticket), resolving.began_wall,
               now - resolving.began);
}

void Control::HandToWorker(const peers::Target& target, std::vector<Endpoint> endpoints,
                           FdTicket ticket, WallTime began, Duration resolving) {
  const ConnId conn = shared_.next_connection.fetch_add(1, std::memory_order_relaxed);
  DialJob job;
  job.target = target.id;
  job.address = target.address;
  job.endpoints = std::move(endpoints);
  job.ticket = std::move(ticket);
  job.began = began;
  job.resolving = resolving;
  Live& live = live_[conn];
  live.worker = next_worker_++ % workers_.size();
  live.target = target.id;
  live.direction = Direction::kOutbound;
  live.remote = job.endpoints.front();
  workers_[live.worker]->Dial(std::move(job), conn);
}

void Control::CancelResolving(TargetId target) {
  for (auto it = resolving_.begin(); it != resolving_.end(); ++it) {
    if (it->second.target != target) continue;
    resolver_->Cancel(it->second.query);
    resolving_.erase(it);
    --outbound_live_;
    return;
  }
}

void Control::AnswerWaiters(TargetId target, const AddResult& result) {
  snapshot_.reset();  // a list asked for upon the answer is true
  auto it = waiters_.find(target);
  if (it == waiters_.end()) return;
  auto waiters = std::move(it->second);
  waiters_.erase(it);
  for (auto& done : waiters) done(result);
}

absl::Status Control::Save() {
  if (!shared_.deps.save_peers) {
    return absl::FailedPreconditionError(
        "this node keeps no list of added peers: it was started without a data directory");
  }
  std::vector<PeerAddress> saved;
  for (const peers::Target& target : dials_.All()) {
    if (target.saved) saved.push_back(target.address);
  }
  return shared_.deps.save_peers(saved);
}

}  // namespace helo::server
