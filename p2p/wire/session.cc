#include "p2p/wire/session.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

#include "p2p/wire/session_impl.h"

namespace helo::wire {
namespace {

// Frames on channel 0 are not held back by the quota, but a remote that makes us write them and
// reads a byte now and then must not grow the queue for ever. Far above what the rates of WIRE 2
// let an honest remote ask for.
constexpr size_t kMaxQueuedCoreBytes = size_t{512} << 10;

constexpr Duration kPeersInterval = std::chrono::minutes(1);

}  // namespace

Session::Impl::Impl(Params params)
    : params_(std::move(params)), keepalive_(params_.profile->times, *params_.rng) {
  assert(params_.profile != nullptr && params_.clock != nullptr && params_.sink != nullptr);
  std::vector<std::vector<Offer>> sets;
  for (Offer& offer : params_.our_offers) {
    const auto set = std::find_if(sets.begin(), sets.end(),
                                  [&](const auto& one) { return one[0].name == offer.name; });
    if (set == sets.end()) {
      sets.push_back({std::move(offer)});
    } else {
      set->push_back(std::move(offer));
    }
  }
  params_.our_offers = {};
  for (std::vector<Offer>& set : sets) {
    if (!channels_.AddOurs(std::move(set))) ++stats_.offers_refused;
  }
}

int64_t Session::Impl::WallMicros() const {
  return params_.clock->WallNow().time_since_epoch().count();
}

void Session::Impl::Start(MonoTime now) {
  if (state_ != State::kNew) return;
  now_ = now;
  started_ = true;
  state_ = State::kAwaitHello;
  hello_deadline_ = now + times().hello;
  if (!is_dialer()) up_deadline_ = params_.started + times().accept_to_up;
  const bool self = params_.remote == params_.profile->self;
  if (is_dialer() && params_.expected && *params_.expected != params_.remote) {
    EndByUs(Reason::kUnexpectedId, self ? "this node answered itself" : "", 0);
  } else if (self) {
    EndByUs(Reason::kSelf, "", 0);
  } else if (is_dialer()) {
    AppendHello();
  }
}

void Session::Impl::Receive(MonoTime now, ByteView plain) {
  assert(started_);
  if (closing()) return;
  now_ = now;
  in_receive_ = true;
  reader_.Feed(plain, *this);
  in_receive_ = false;
  if (closing()) reader_.Clear();
}

void Session::Impl::Tick(MonoTime now) {
  if (!started_ || closing()) return;
  now_ = now;
  if (queued() > 0 && now >= stalled_since_ + times().not_reading) {
    Fail(Reason::kNotReading, "nothing was read for too long");
    return;
  }
  if (up()) {
    TickUp();
  } else {
    TickStages();
  }
}

void Session::Impl::TickStages() {
  const bool held = held_since_ != kNever;
  if (now_ >= hello_deadline_) {
    Fail(Reason::kStageTimeout, "no HELLO in time");
  } else if (!held && now_ >= verdict_deadline_) {
    Fail(Reason::kStageTimeout, "no VERDICT in time");
  } else if (!held && now_ >= up_deadline_) {
    Fail(Reason::kStageTimeout, "not up in time");
  }
}

void Session::Impl::TickUp() {
  if (now_ >= keepalive_.SilenceDeadline()) {
    Fail(Reason::kPingTimeout, "nothing was heard for too long");
    return;
  }
  while (now_ >=
         keepalive_.ChallengeDeadline()) {  // again if the sink begins the next, at most 5 times
    keepalive_.EndChallenge();
    sink().OnChallenge(keepalive_.ChallengeExcused());
    if (closing()) return;
  }
  if (now_ >= keepalive_.NextPing()) {
    // The one regular visit to an idle session: a good moment to give big buffers back.
    reader_.Shrink();
    outbox_.Shrink();
    SendPing();
  }
  FlushOffers();
}

MonoTime Session::Impl::NextDeadline() const {
  if (!started_ || closing()) return kNever;
  MonoTime next = kNever;
  if (queued() > 0) next = stalled_since_ + times().not_reading;
  if (up()) {
    return std::min({next, keepalive_.SilenceDeadline(), keepalive_.ChallengeDeadline(),
                     keepalive_.NextPing(), offer_queue_.NextAt()});
  }
  next = std::min(next, hello_deadline_);
  if (held_since_ == kNever) next = std::min({next, verdict_deadline_, up_deadline_});
  return next;
}

bool Session::Impl::Challenge(MonoTime now) {
  if (!up()) return false;
  now_ = now;
  if (!keepalive_.BeginChallenge(now)) return false;
  SendPing();
  return true;
}

void Session::Impl::SetReadingPaused(MonoTime now, bool paused) {
  now_ = now;
  keepalive_.SetPaused(now, paused);
}

void Session::Impl::SendPing() { AppendCore(kPing, EncodePing(keepalive_.MakePing(now_))); }

bool Session::Impl::RequestPeers(MonoTime now, uint32_t max) {
  if (!up() || (remote_hello_->features & kFeatureGetPeers) == 0) return false;
  if (peers_requested_by_us_ && now - *peers_requested_by_us_ < kPeersInterval) return false;
  now_ = now;
  peers_requested_by_us_ = now;
  ++peers_expected_;
  AppendCore(kGetPeers, EncodeGetPeers(max));
  return true;
}

void Session::Impl::SendPeers(MonoTime now, const std::vector<PeerInfo>& peers) {
  if (!up() || peers_owed_ == 0) return;
  now_ = now;
  --peers_owed_;
  if (peers.size() <= kMaxPeersAFrame) {
    AppendCore(kPeers, EncodePeers(peers));
  } else {
    AppendCore(kPeers, EncodePeers({peers.begin(), peers.begin() + kMaxPeersAFrame}));
  }
}

void Session::Impl::NoteQueued() {
  if (queued() == 0) stalled_since_ = now_;
  keepalive_.NoteSent(now_);
}

void Session::Impl::AppendCore(uint16_t type, ByteView payload) {
  NoteQueued();
  FrameCount& count = stats_.core_out[type];
  ++count.frames;
  count.bytes += kFrameHeaderBytes + payload.size();
  outbox_.Append(0, type, payload);
  if (up() && outbox_.core_size() > kMaxQueuedCoreBytes) {
    Fail(Reason::kNotReading, "too many answers wait to be read");
  }
}

void Session::Impl::Sent(MonoTime now, size_t n, size_t still_queued, bool progressed) {
  now_ = now;
  outbox_.Take(n);
  still_queued_ = still_queued;
  if (progressed) stalled_since_ = now;
  NoteRoom();
}

void Session::Impl::NoteRoom() {
  if (want_writable_ && up() && queued() < params_.profile->send_quota_bytes / 2) {
    want_writable_ = false;
    sink().OnWritable();
  }
}

Stage Session::Impl::stage() const {
  if (!started_) return Stage::kTls;
  if (!got_hello_) return Stage::kHello;
  return was_up_ ? Stage::kUp : Stage::kVerdict;
}

const SessionStats& Session::Impl::stats() const {
  stats_.queued_bytes = queued();
  return stats_;
}

Session::Session(Params params) : impl_(std::make_unique<Impl>(std::move(params))) {}
Session::~Session() = default;
void Session::Start(MonoTime now) { impl_->Start(now); }
void Session::Receive(MonoTime now, ByteView plain) { impl_->Receive(now, plain); }
void Session::ReceiveEof(MonoTime now, bool close_notify) { impl_->ReceiveEof(now, close_notify); }
void Session::Tick(MonoTime now) { impl_->Tick(now); }
MonoTime Session::NextDeadline() const { return impl_->NextDeadline(); }
void Session::Decide(MonoTime now, const Verdict& verdict) { impl_->Decide(now, verdict); }
void Session::HoldForChallenge(MonoTime now) { impl_->HoldForChallenge(now); }
bool Session::Challenge(MonoTime now) { return impl_->Challenge(now); }
void Session::Close(MonoTime now, Reason reason, std::string text, uint32_t retry_after_s) {
  impl_->Close(now, reason, std::move(text), retry_after_s);
}
void Session::Abort(MonoTime now, Reason reason, Decider decider, std::string text) {
  impl_->Abort(now, reason, decider, std::move(text));
}
void Session::OnKeyUpdates(MonoTime now, uint32_t count, uint64_t records_received) {
  impl_->OnKeyUpdates(now, count, records_received);
}
void Session::OnTlsMisuse(MonoTime now) { impl_->Close(now, Reason::kTlsMisuse, "", 0); }
SendStatus Session::Send(MonoTime now, uint32_t open_id, uint16_t type, ByteView payload) {
  return impl_->Send(now, open_id, type, payload);
}
bool Session::OfferName(MonoTime now, const std::vector<Offer>& all_versions_of_one_name) {
  return impl_->OfferName(now, all_versions_of_one_name);
}
void Session::WithdrawName(MonoTime now, const std::string& name, uint32_t code) {
  impl_->WithdrawName(now, name, code);
}
bool Session::RequestPeers(MonoTime now, uint32_t max) { return impl_->RequestPeers(now, max); }
void Session::SendPeers(MonoTime now, const std::vector<PeerInfo>& peers) {
  impl_->SendPeers(now, peers);
}
void Session::SetReadingPaused(MonoTime now, bool paused) { impl_->SetReadingPaused(now, paused); }
bool Session::reading_paused() const { return impl_->reading_paused(); }
ByteView Session::Pending() const { return impl_->Pending(); }
void Session::Sent(MonoTime now, size_t n, size_t still_queued, bool progressed) {
  impl_->Sent(now, n, still_queued, progressed);
}
bool Session::up() const { return impl_->up(); }
bool Session::closing() const { return impl_->closing(); }
Stage Session::stage() const { return impl_->stage(); }
const std::optional<Hello>& Session::remote_hello() const { return impl_->remote_hello(); }
const SessionStats& Session::stats() const { return impl_->stats(); }
Session::Capabilities Session::capabilities() const { return impl_->capabilities(); }

}  // namespace helo::wire
