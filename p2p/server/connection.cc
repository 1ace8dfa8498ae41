// Life and stages of a connection; its bytes are in connection_io.cc, the session's calls in
// connection_sink.cc.
#include "p2p/server/connection.h"

#include <absl/cleanup/cleanup.h>
#include <sys/epoll.h>

#include <algorithm>

#include "p2p/server/control.h"
#include "p2p/server/worker.h"

namespace helo::server {

Connection::Connection(Worker& worker, ConnId id, net::Socket socket, const Endpoint& remote,
                       const Endpoint& local)
    : worker_(worker),
      shared_(worker.shared()),
      id_(id),
      direction_(Direction::kInbound),
      phase_(Phase::kWaiting),
      stage_(Stage::kTls),
      counted_(true),
      socket_(std::move(socket)),
      timer_(worker.loop(), [this] { OnTimer(); }),
      remote_(remote),
      local_(local) {
  accepted_ = stage_entered_ = shared_.Now();
  attempt_.began = shared_.deps.clock->WallNow();
  shared_.handshakes.fetch_add(1, std::memory_order_relaxed);
}

Connection::Connection(Worker& worker, ConnId id, DialJob job)
    : worker_(worker),
      shared_(worker.shared()),
      id_(id),
      direction_(Direction::kOutbound),
      phase_(Phase::kConnecting),
      stage_(Stage::kConnect),
      timer_(worker.loop(), [this] { OnTimer(); }),
      job_(std::move(job)) {
  accepted_ = stage_entered_ = shared_.Now();
  attempt_.began = job_.began;
  attempt_.target = job_.address.ToString();
  attempt_.spent[static_cast<size_t>(Stage::kResolve)] = job_.resolving;
}

Connection::~Connection() { registration_.Reset(); }

void Connection::Begin() {
  if (direction_ == Direction::kOutbound) {
    TryNextAddress();
    return;
  }
  socket_.SetNoDelay();
  auto watched = worker_.loop().Watch(socket_.FdDoNotKeep(), net::Lane::kHandshake,
                                      FairnessGroupOf(remote_.ip), this);
  if (!watched.ok()) {
    End({.reason = Reason::kNoFd,
         .stage = Stage::kGate,
         .text = std::string(FromAbsl(watched.status().message()))});
    worker_.RestFromAccepting();
    return;
  }
  registration_ = std::move(*watched);
  deadline_ = accepted_ + shared_.options.tls_timeout;
  worker_.BeganHandshake(*this);
  Arm();
}

bool Connection::TryNextAddress() {
  registration_.Reset();
  socket_.Close();
  while (next_endpoint_ < job_.endpoints.size()) {
    remote_ = job_.endpoints[next_endpoint_++];
    attempt_.remote = remote_;
    FdTicket ticket = std::move(job_.ticket);
    if (!ticket) {  // the first address took it
      auto another = shared_.pool(PoolKind::kOutbound).TryTake();
      if (!another) {
        End({.reason = Reason::kNoFd,
             .stage = Stage::kConnect,
             .text = "no ticket left in the outbound pool"});
        return false;
      }
      ticket = std::move(*another);
    }
    net::ConnectStart start = net::StartConnect(remote_, std::move(ticket));
    if (start.error == 0) {
      socket_ = std::move(start.socket);
      auto watched = worker_.loop().Watch(socket_.FdDoNotKeep(), net::Lane::kHandshake,
                                          FairnessGroupOf(remote_.ip), this);
      if (!watched.ok()) {
        End({.reason = Reason::kNoFd,
             .stage = Stage::kConnect,
             .text = std::string(FromAbsl(watched.status().message()))});
        return false;
      }
      registration_ = std::move(*watched);
      deadline_ = shared_.Now() + shared_.options.connect_timeout;
      Arm();
      return true;
    }
    close_.reason = net::ReasonFromErrno(start.error, /*connected=*/false);
    close_.text = ErrnoSentence(
        start.error, (start.failed_at_socket ? "socket for " : "connect ") + remote_.ToString());
  }
  const Decider decider = FindReason(static_cast<uint32_t>(close_.reason))->fault == Fault::kOurs
                              ? Decider::kUs
                              : Decider::kNetwork;
  End({.reason = close_.reason, .decider = decider, .stage = Stage::kConnect, .text = close_.text});
  return false;
}

void Connection::Connected() {
  socket_.SetNoDelay();
  if (auto local = socket_.Local()) local_ = *local;
  Enter(Stage::kTls);
  phase_ = Phase::kTls;
  deadline_ = shared_.Now() + shared_.options.tls_timeout;
  BeginTls(tls::Role::kDialer);
  Pump();
}

void Connection::BeginTls(tls::Role role) {
  channel_ = std::make_unique<tls::Channel>(worker_.tls(), role);
}

void Connection::TlsUp() {
  Enter(Stage::kHello);
  phase_ = Phase::kSession;
  attempt_.id = channel_->remote_id();
  wire::Session::Params params;
  params.profile = &shared_.options.profile;
  params.role = direction_ == Direction::kInbound ? wire::Role::kAcceptor : wire::Role::kDialer;
  params.remote = channel_->remote_id();
  if (direction_ == Direction::kOutbound) params.expected = job_.address.id;
  params.observed = remote_;
  for (const Offered& offered : worker_.offers())
    params.our_offers.push_back(Number(offered.capability));
  params.started = accepted_;
  params.clock = shared_.deps.clock;
  params.rng = shared_.deps.rng;
  params.sink = this;
  session_ = std::make_unique<wire::Session>(std::move(params));
  session_->Start(shared_.Now());
  AfterSession();
}

wire::Offer Connection::Number(const Capability& capability) {
  return {next_channel_++, capability.name, capability.version, capability.message_count,
          capability.max_message_bytes};
}

void Connection::Enter(Stage stage) {
  const MonoTime now = shared_.Now();
  attempt_.spent[static_cast<size_t>(stage_)] += now - stage_entered_;
  stage_ = stage;
  stage_entered_ = now;
}

void Connection::Uncount() {
  if (!std::exchange(counted_, false)) return;
  shared_.sources.End(remote_.ip);
  shared_.handshakes.fetch_sub(1, std::memory_order_relaxed);
  worker_.EndedHandshake(*this);
}

void Connection::End(CloseInfo close) {
  if (std::exchange(ended_, true)) return;
  Uncount();
  Enter(stage_);
  const MonoTime now = shared_.Now();
  ended_at_ = now;
  attempt_.direction = direction_;
  attempt_.ended = shared_.deps.clock->WallNow();
  attempt_.remote = remote_;
  attempt_.stage = stage_;
  attempt_.close = close;
  attempt_.was_up = up_since_ != kNever;
  close_ = close;
  // Told when its ticket is back, so that control, if it has waited for one, finds it.
  const absl::Cleanup tell = [this] { TellEnd(); };
  // What may still be sent: a last frame, a TLS alert. Slot and id are free from here on.
  const bool broken = write_broken_ || close.decider == Decider::kNetwork || !channel_;
  if (!broken || (session_ && close.reason == Reason::kEofEarly) ||
      (session_ && close.reason == Reason::kTruncated)) {
    const bool may_linger = socket_.ticket().TryMoveTo(shared_.pool(PoolKind::kClosing));
    phase_ = Phase::kClosing;
    deadline_ = may_linger ? now + shared_.options.linger : now;
    ContinueClosing();
    if (!may_linger && phase_ != Phase::kGone) Vanish();
    Arm();
  } else {
    Vanish();
  }
}

void Connection::TellEnd() {
  if (direction_ == Direction::kInbound && !judged_) {
    worker_.CountRefusal(attempt_);
    return;
  }
  EndReport report;
  report.attempt = attempt_;
  report.conn = id_;
  report.target = job_.target;
  report.judged = judged_;
  if (attempt_.was_up) report.up_for = ended_at_ - up_since_;
  report.over_tls_from_expected_id =
      channel_ && session_ && (!job_.address.id || *job_.address.id == channel_->remote_id());
  worker_.control().Ended(std::move(report));
}

void Connection::AfterSession() {
  if (!session_closed_ || ended_) return;
  CloseInfo close = close_;
  End(std::move(close));
}

void Connection::Vanish() {
  if (phase_ == Phase::kGone) return;
  phase_ = Phase::kGone;
  timer_.Cancel();
  registration_.Reset();
  socket_.Close();
  worker_.Remove(*this);
}

void Connection::Arm() {
  if (phase_ == Phase::kGone) return;
  const MonoTime when = phase_ == Phase::kSession ? session_->NextDeadline() : deadline_;
  // A later deadline needs no work now: the timer fires early and is set again.
  if (when < timer_.when()) timer_.SetAt(when);
}

void Connection::OnTimer() {
  const MonoTime now = shared_.Now();
  switch (phase_) {
    case Phase::kConnecting:
      if (now >= deadline_) {
        close_.reason = Reason::kConnectTimeout;
        close_.text = "no answer from " + remote_.ToString();
        TryNextAddress();
      }
      break;
    case Phase::kWaiting:
    case Phase::kTls:
      if (now >= deadline_) {
        End({.reason = Reason::kStageTimeout,
             .decider = Decider::kUs,
             .stage = Stage::kTls,
             .text = "the TLS handshake was not finished in time"});
      }
      break;
    case Phase::kSession:
      session_->Tick(now);
      AfterSession();
      Flush();
      break;
    case Phase::kClosing:
    case Phase::kLingering:
      if (now >= deadline_) Vanish();
      break;
    case Phase::kGone:
      return;
  }
  Arm();
}

void Connection::Decide(const wire::Verdict& verdict) {
  if (!session_ || ended_) return;
  decided_ = true;
  session_->Decide(shared_.Now(), verdict);
  AfterSession();
  Flush();
  Arm();
}

void Connection::HoldForChallenge() {
  if (session_ && !ended_) session_->HoldForChallenge(shared_.Now());
  Arm();
}

void Connection::Challenge(ConnId newcomer) {
  // A session that cannot reach its peer may answer within its call, hence before.
  const ConnId before = std::exchange(challenger_, newcomer);
  if (!up() || !session_->Challenge(shared_.Now())) {
    challenger_ = before;
    worker_.control().ChallengeEnded(
        id_, newcomer,
        up() ? Control::ChallengeOutcome::kRefused : Control::ChallengeOutcome::kGone);
    return;
  }
  Flush();
  Arm();
}

void Connection::Close(Reason reason, const std::string& text, uint32_t retry_after_s) {
  if (ended_) return;
  if (session_) {
    session_->Close(shared_.Now(), reason, text, retry_after_s);
    AfterSession();
    Flush();
    Arm();
    return;
  }
  End({.reason = reason,
       .decider = Decider::kUs,
       .stage = stage_,
       .text = text,
       .retry_after_s = retry_after_s});
}

void Connection::Abandon() {
  if (ended_ || !session_) return;
  session_->Abort(shared_.Now(), Reason::kShuttingDown, Decider::kUs,
                  "the time for stopping is over");
}

void Connection::MakeRoom() {
  if (session_) {
    // BUSY is a verdict's word; where none is due a DISCONNECT says EVICTED (WIRE 9).
    const bool verdict_due = judged_ && !decided_;
    Close(verdict_due ? Reason::kBusy : Reason::kEvicted,
          "more handshakes are under way than there is room for", 0);
    return;
  }
  if (phase_ == Phase::kWaiting) {
    // As at the gate: what has arrived is read, or close() would reset and lose the alert.
    socket_.Send(tls::GateAlertRecord(tls::GateAlert::kNoRoom));
    socket_.ShutdownWrite();
    socket_.Recv(worker_.scratch());
  }
  End({.reason = Reason::kBusy,
       .decider = Decider::kUs,
       .stage = phase_ == Phase::kWaiting ? Stage::kGate : Stage::kTls,
       .text = "more handshakes are under way than there is room for"});
}

}  // namespace helo::server
