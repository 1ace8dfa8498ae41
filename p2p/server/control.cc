// Admission, the referee's challenges, and the end of every attempt. Dialing is in control_dial.cc,
// the commands of the admin API in control_commands.cc.
#include "p2p/server/control.h"

#include <absl/strings/str_cat.h>

#include <algorithm>

#include "p2p/base/text.h"
#include "p2p/server/worker.h"

namespace helo::server {
namespace {

constexpr Duration kWorthEvery = std::chrono::seconds(5);

uint32_t SecondsLeft(MonoTime until, MonoTime now) {
  if (until == kNever || until <= now) return 0;
  return static_cast<uint32_t>(std::min<int64_t>(
      std::chrono::ceil<std::chrono::seconds>(until - now).count(), 3600LL * 24 * 365));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Control>> Control::Create(Shared& shared) {
  std::unique_ptr<Control> control(new Control(shared));
  auto loop = net::EventLoop::Create("control", *shared.deps.clock, shared.log(),
                                     shared.pool(PoolKind::kFiles));
  if (!loop.ok()) return loop.status();
  control->loop_ = std::move(*loop);
  auto resolver = shared.deps.make_resolver
                      ? shared.deps.make_resolver(*control->loop_)
                      : net::MakeAresResolver(*control->loop_, shared.pool(PoolKind::kFiles),
                                              shared.options.resolve_timeout);
  if (!resolver.ok()) return resolver.status();
  control->resolver_ = std::move(*resolver);
  return control;
}

Control::Control(Shared& shared)
    : shared_(shared),
      table_(shared.key.id(), {shared.options.max_inbound, shared.options.max_outbound},
             *shared.deps.rng),
      dials_(shared.options.dial_times, *shared.deps.rng),
      trusted_(shared.options.trusted.begin(), shared.options.trusted.end()) {}

Control::~Control() {
  fds_timer_.reset();
  worth_timer_.reset();
  dial_timer_.reset();
  resolving_.clear();
  resolver_.reset();
}

void Control::Launch(std::vector<Worker*> workers) {
  workers_ = std::move(workers);
  dial_timer_ = std::make_unique<net::Timer>(*loop_, [this] { DialDue(); });
  worth_timer_ = std::make_unique<net::Timer>(*loop_, [this] { CollectWorth(); });
  worth_timer_->SetAt(shared_.Now() + kWorthEvery);
  if (shared_.deps.read_fds) {
    fds_timer_ = std::make_unique<net::Timer>(*loop_, [this] { WatchFds(); });
    fds_due_ = shared_.Now() + kFdsEvery;
    WatchFds();
  }
  const MonoTime now = shared_.Now();
  for (const PeerAddress& peer : shared_.options.static_peers) {
    dials_.Add(peer, peers::TargetKind::kStatic, /*saved=*/false, now);
  }
  for (const PeerAddress& peer : shared_.options.saved_peers) {
    dials_.Add(peer, peers::TargetKind::kAdded, /*saved=*/true, now);
  }
  thread_ = std::thread([this] { loop_->Run(); });
}

void Control::StopAndJoin() {
  if (!thread_.joinable()) return;
  loop_->Stop();
  thread_.join();
}

void Control::CandidateArrived(CandidateReport report) {
  Post([this, report = std::move(report)]() mutable { OnCandidate(std::move(report)); });
}
void Control::WentUp(ConnId conn, peers::Attempt so_far) {
  Post([this, conn, so_far = std::move(so_far)]() mutable { OnUp(conn, std::move(so_far)); });
}
void Control::ChallengeEnded(ConnId challenged, ConnId newcomer, ChallengeOutcome outcome) {
  Post([this, challenged, newcomer, outcome] { OnChallengeEnded(challenged, newcomer, outcome); });
}
void Control::Ended(EndReport report) {
  Post([this, report = std::move(report)]() mutable { OnEnded(std::move(report)); });
}

bool Control::IsStatic(const NodeId& id) const {
  for (TargetId target : dials_.FindById(id)) {
    const peers::Target* t = dials_.Get(target);
    if (t != nullptr && t->kind == peers::TargetKind::kStatic) return true;
  }
  return false;
}

void Control::OnCandidate(CandidateReport report) {
  const MonoTime now = shared_.Now();
  Live& live = live_[report.conn];
  live.worker = report.worker;
  live.target = report.target;
  live.direction = report.candidate.direction;
  live.remote = report.candidate.remote;
  live.id = report.candidate.id;
  live.user_agent = std::move(report.user_agent);
  report.candidate.trusted = trusted_.contains(report.candidate.id);
  report.candidate.is_static = IsStatic(report.candidate.id);

  const peers::Ban* ban = bans_.Find(report.candidate.id, now);
  if (ban == nullptr) ban = bans_.Find(report.candidate.remote.ip, now);
  if (ban != nullptr) {
    peers::Judgement refused;
    refused.kind = peers::Judgement::Kind::kRefuse;
    refused.reason = Reason::kBanned;
    refused.text = ban->text;
    refused.retry_after_s = SecondsLeft(ban->until, now);
    Answer(live, report.conn, refused);
    return;
  }
  Answer(live, report.conn, table_.Judge(report.candidate, now));
}

void Control::Answer(const Live& live, ConnId conn, const peers::Judgement& judgement) {
  Worker& worker = *workers_[live.worker];
  switch (judgement.kind) {
    case peers::Judgement::Kind::kAccept:
      worker.Decide(conn, {});
      return;
    case peers::Judgement::Kind::kRefuse:
      worker.Decide(conn, {judgement.reason, judgement.text, judgement.retry_after_s});
      return;
    case peers::Judgement::Kind::kChallenge: {
      auto challenged = live_.find(judgement.challenged);
      worker.HoldForChallenge(conn);
      challenges_[judgement.challenged] = conn;
      if (challenged == live_.end()) {
        OnChallengeEnded(judgement.challenged, conn, ChallengeOutcome::kGone);
      } else {
        workers_[challenged->second.worker]->Challenge(judgement.challenged, conn);
      }
      return;
    }
  }
}

void Control::OnChallengeEnded(ConnId challenged, ConnId newcomer, ChallengeOutcome outcome) {
  auto it = challenges_.find(challenged);
  // Answered already, by the end of one of the two.
  if (it == challenges_.end() || it->second != newcomer) return;
  challenges_.erase(it);
  auto live = live_.find(newcomer);
  if (live == live_.end()) return;  // the newcomer went away; Closed told the table
  if (outcome == ChallengeOutcome::kRefused) {
    Answer(live->second, newcomer, table_.ChallengeRefused(newcomer));
    return;
  }
  if (outcome == ChallengeOutcome::kGone) table_.Closed(challenged, shared_.Now());
  peers::PeerTable::ChallengeResult result =
      table_.ChallengeEnded(newcomer, outcome == ChallengeOutcome::kAlive, shared_.Now());
  for (const peers::Closing& closing : result.close) CloseConn(closing.conn, closing.reason, "", 0);
  Answer(live_.at(newcomer), newcomer, result.judgement);
}

void Control::CloseConn(ConnId conn, Reason reason, const std::string& text,
                        uint32_t retry_after_s) {
  auto it = live_.find(conn);
  if (it != live_.end()) workers_[it->second.worker]->Close(conn, reason, text, retry_after_s);
}

void Control::OnUp(ConnId conn, peers::Attempt so_far) {
  auto it = live_.find(conn);
  if (it == live_.end()) return;
  const MonoTime now = shared_.Now();
  const peers::UpResult result = table_.Up(conn, now);
  for (const peers::Closing& closing : result.close) CloseConn(closing.conn, closing.reason, "", 0);
  if (!result.up) {
    CloseConn(conn, result.refused, "no peer may make room any more", 0);
    return;
  }
  Live& live = it->second;
  live.up = true;
  ++came_up_[static_cast<size_t>(live.direction)];
  live.up_since = now;
  live.history = history_.Add(so_far);
  if (live.target != 0) {
    dials_.Connected(live.target, *live.id);
    AddResult added;
    added.target = live.target;
    added.up = true;
    added.id = live.id;
    AnswerWaiters(live.target, added);
  }
  // A peer that came by itself is what those wait for who asked for a dial that has had no slot
  // yet.
  for (TargetId target : dials_.FindById(*live.id)) {
    AddResult came;
    came.target = target;
    came.up = true;
    came.id = live.id;
    AnswerWaiters(target, came);
  }
  Publish(EventKind::kPeerUp, so_far);
  // Known peers are few; strangers share one line in ten seconds.
  const bool known = live.target != 0 || trusted_.contains(*live.id) || IsStatic(*live.id);
  const LogLimiter::Pass pass =
      shared_.limiter.Check(known ? "up " + live.id->ToHex() : "stranger up");
  if (pass.log) {
    LogFields fields = {{"peer", live.id->Short()},
                        {"direction", std::string(ToString(live.direction))},
                        {"remote", live.remote.ToString()},
                        {"user_agent", live.user_agent}};
    if (pass.suppressed > 0) fields.emplace_back("more", std::to_string(pass.suppressed));
    shared_.log().Info("server", "peer up", fields);
  }
}

void Control::OnEnded(EndReport report) {
  const MonoTime now = shared_.Now();
  const peers::Attempt& attempt = report.attempt;
  auto it = live_.find(report.conn);
  uint64_t history = 0;
  bool was_up = false;
  std::optional<NodeId> id;
  if (it != live_.end()) {
    history = it->second.history;
    was_up = it->second.up;
    id = it->second.id;
    live_.erase(it);
  }
  table_.Closed(report.conn, now);
  // A newcomer that waits for this one need not wait any longer.
  if (auto waiting = challenges_.find(report.conn); waiting != challenges_.end()) {
    OnChallengeEnded(report.conn, waiting->second, ChallengeOutcome::kGone);
  }

  const bool outbound = attempt.direction == Direction::kOutbound;
  (outbound ? closed_out_ : closed_in_)[attempt.close.reason] += 1;
  if (history != 0) {
    history_.Replace(history, attempt);
  } else {
    history_.Add(attempt);
  }
  // By control's book: a close is told only of a peer whose up was told.
  if (was_up) {
    Publish(EventKind::kPeerClosed, attempt);
  } else {
    Publish(outbound ? EventKind::kAttemptFailed : EventKind::kRefused, attempt);
  }
  LogEnd(attempt);

  if (outbound) {
    --outbound_live_;
    peers::DialOutcome outcome;
    outcome.close = attempt.close;
    outcome.up_for = report.up_for;
    outcome.over_tls_from_expected_id = report.over_tls_from_expected_id;
    outcome.proven_id = attempt.id;
    if (attempt.close.reason == Reason::kNoFd && attempt.close.decider == Decider::kUs) {
      dials_.Postpone(report.target, now);
    } else {
      dials_.Ended(report.target, outcome, now);
    }
    AddResult added;
    added.target = report.target;
    added.id = attempt.id;
    added.close = attempt.close;
    AnswerWaiters(report.target, added);
  }
  // Targets that stood back for this peer need not wait for their next look at it.
  if (id && !table_.Connected(*id)) dials_.PeerEnded(*id, now);
  ArmDial();
}

void Control::Refused(std::vector<peers::Attempt> attempts) {
  Post([this, attempts = std::move(attempts)] {
    for (const peers::Attempt& attempt : attempts) {
      closed_in_[attempt.close.reason] += attempt.repeats;
      history_.Add(attempt);
      Publish(EventKind::kRefused, attempt);
      LogEnd(attempt);
    }
  });
}

void Control::Publish(EventKind kind, const peers::Attempt& attempt) {
  Event event;
  event.kind = kind;
  event.when = kind == EventKind::kPeerUp ? shared_.deps.clock->WallNow() : attempt.ended;
  event.id = attempt.id;
  event.remote = attempt.remote;
  event.direction = attempt.direction;
  event.target = attempt.target;
  event.close = attempt.close;
  if (attempt.repeats > 1) event.text = std::to_string(attempt.repeats) + " times";
  shared_.events.Append(std::move(event));
}

void Control::LogEnd(const peers::Attempt& attempt) {
  const std::string_view label = Label(attempt.close.reason);
  // One line in ten seconds for each target of ours and for each reason that strangers end with.
  end_cause_.clear();
  absl::StrAppend(&end_cause_, "end ", attempt.target, attempt.was_up ? " up " : " ",
                  ToAbsl(label));
  const LogLimiter::Pass pass = shared_.limiter.Check(end_cause_);
  if (!pass.log) return;
  LogFields fields = {{"reason", std::string(label)},
                      {"decided_by", std::string(ToString(attempt.close.decider))},
                      {"stage", std::string(ToString(attempt.close.stage))},
                      {"direction", std::string(ToString(attempt.direction))}};
  if (attempt.id) fields.emplace_back("peer", attempt.id->Short());
  if (attempt.remote) fields.emplace_back("remote", attempt.remote->ToString());
  if (!attempt.target.empty()) fields.emplace_back("target", attempt.target);
  if (!attempt.close.text.empty()) fields.emplace_back("text", attempt.close.text);
  if (attempt.close.retry_after_s != 0)
    fields.emplace_back("retry_after_s", std::to_string(attempt.close.retry_after_s));
  if (pass.suppressed + attempt.repeats > 1) {
    fields.emplace_back("more", std::to_string(pass.suppressed + attempt.repeats - 1));
  }
  const bool loud =
      attempt.close.reason == Reason::kUnexpectedId || attempt.close.reason == Reason::kSelf;
  const LogLevel level = loud ? LogLevel::kWarn : LogLevel::kInfo;
  if (!shared_.log().Enabled(level)) return;
  shared_.log().Write(
      level, "server",
      attempt.was_up
          ? "peer closed"
          : (attempt.direction == Direction::kOutbound ? "dial failed" : "inbound refused"),
      fields);
}

void Control::PeersRequested(size_t worker, ConnId conn, uint32_t max) {
  Post([this, worker, conn, max] {
    std::vector<wire::PeerInfo> known;
    const MonoTime now = shared_.Now();
    const size_t most = std::min<uint32_t>(max, 100);
    for (const auto& [id, live] : live_) {
      if (known.size() >= most) break;
      // Only addresses that this node has reached itself.
      if (!live.up || live.direction != Direction::kOutbound || !live.id || id == conn) continue;
      const auto age =
          std::chrono::duration_cast<std::chrono::seconds>(now - live.up_since).count();
      known.push_back(
          {*live.id, live.remote, static_cast<uint32_t>(std::clamp<int64_t>(age, 0, 86399))});
    }
    workers_[worker]->SendPeers(conn, std::move(known));
  });
}

void Control::CollectWorth() {
  worth_timer_->SetAt(shared_.Now() + kWorthEvery);
  // Facts for choosing whom to evict are only needed when a choice is near.
  if (table_.inbound() * 10 < table_.limits().max_inbound * 9) return;
  GetSnapshot([this](const std::shared_ptr<const ServerSnapshot>& snapshot) {
    if (snapshot) NoteWorth(*snapshot);  // none: the timer fired in the loop's last turn
  });
}

void Control::NoteWorth(const ServerSnapshot& snapshot) {
  for (const PeerSnapshot& peer : snapshot.peers)
    table_.UpdateWorth(peer.connection, peer.stats.least_rtt, peer.stats.last_message);
}

}  // namespace helo::server
