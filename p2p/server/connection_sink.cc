// What the session says, and what handlers and control ask of it.
#include "p2p/server/connection.h"
#include "p2p/server/control.h"
#include "p2p/server/worker.h"

namespace helo::server {

void Connection::OnHello(const wire::Hello& hello) {
  Enter(Stage::kVerdict);
  attempt_.user_agent = hello.user_agent;
  judged_ = true;
  CandidateReport report;
  report.conn = id_;
  report.worker = worker_.index();
  report.target = job_.target;
  report.candidate.conn = id_;
  report.candidate.direction = direction_;
  report.candidate.id = channel_->remote_id();
  report.candidate.remote = remote_;
  report.candidate.probe = hello.purpose == wire::Purpose::kProbe;
  report.user_agent = hello.user_agent;
  worker_.control().CandidateArrived(std::move(report));
}

void Connection::OnUp() {
  Enter(Stage::kUp);
  up_since_ = shared_.Now();
  Uncount();
  if (direction_ == Direction::kInbound) socket_.ticket().MoveTo(shared_.pool(PoolKind::kInbound));
  registration_.MoveTo(net::Lane::kSession);
  peers::Attempt so_far = attempt_;
  so_far.direction = direction_;
  so_far.remote = remote_;
  so_far.stage = Stage::kUp;
  so_far.was_up = so_far.still_up = true;
  worker_.control().WentUp(id_, std::move(so_far));
}

SessionEntry* Connection::FindOpen(uint32_t open_id) {
  for (const auto& entry : opens_) {
    if (entry->open_id == open_id) return entry.get();
  }
  return nullptr;
}

void Connection::OnOpen(const wire::OpenChannel& channel) {
  Handler* handler = nullptr;
  for (const Offered& offered : worker_.offers()) {
    if (offered.capability.name == channel.name) handler = offered.handler;
  }
  if (handler == nullptr) return;  // withdrawn in this very turn: the session closes it next
  auto entry = std::make_shared<SessionEntry>();
  entry->session = shared_.next_session.fetch_add(1, std::memory_order_relaxed);
  entry->worker = &worker_;
  entry->conn = id_;
  entry->open_id = channel.open_id;
  entry->message_count = channel.message_count;
  entry->max_send_bytes = channel.max_send_bytes;
  entry->handler = handler;
  entry->quota = shared_.options.profile.send_quota_bytes;
  opens_.push_back(entry);
  worker_.registry().Add(entry);
  SessionInfo info;
  info.session = entry->session;
  info.name = channel.name;
  info.version = channel.version;
  info.message_count = channel.message_count;
  info.max_send_bytes = channel.max_send_bytes;
  info.peer = channel_->remote_id();
  info.direction = direction_;
  info.remote = remote_;
  handler->OnOpen(info);
}

void Connection::OnMessage(uint32_t open_id, uint16_t type, ByteView payload) {
  SessionEntry* entry = FindOpen(open_id);
  if (entry == nullptr) return;
  worker_.Burst(entry->handler);
  entry->handler->OnMessage(entry->session, type, payload);
}

void Connection::OnWritable() {
}  // TellWritable asks after each flush, for senders on other threads too

void Connection::TellWritable() {
  if (!session_ || ended_) return;
  const size_t quota = shared_.options.profile.send_quota_bytes;
  if (session_->stats().queued_bytes > quota / 2) return;
  while (!backlog_.empty()) {
    PostedMessage message = std::move(backlog_.front());
    const wire::SendStatus sent =
        session_->Send(shared_.Now(), message.entry->open_id, message.type, message.payload);
    if (sent == wire::SendStatus::kAgain) {
      backlog_.front() = std::move(message);
      return;
    }
    message.entry->posted_bytes.fetch_sub(PostedBytes(message.payload.size()),
                                          std::memory_order_relaxed);
    backlog_.pop_front();
  }
  for (size_t i = 0; i < opens_.size(); ++i) {
    // Not before the message that was refused fits, or it would be refused and announced in turns
    // until the queue is empty.
    const size_t queued = session_->stats().queued_bytes;
    if (queued > 0 && queued + opens_[i]->wanted_bytes > quota) continue;
    if (opens_[i]->wants_writable.exchange(false))
      opens_[i]->handler->OnWritable(opens_[i]->session);
  }
}

void Connection::OnChannelClose(uint32_t open_id, uint32_t code) {
  for (size_t i = 0; i < opens_.size(); ++i) {
    if (opens_[i]->open_id != open_id) continue;
    std::shared_ptr<SessionEntry> entry = opens_[i];
    opens_.erase(opens_.begin() + static_cast<std::ptrdiff_t>(i));
    worker_.registry().Remove(entry->session);
    std::erase_if(backlog_, [&](const PostedMessage& m) { return m.entry == entry; });
    if (entry->paused) {
      --pauses_;
      if (!session_closed_ && !ended_) ApplyPause();
    }
    entry->handler->OnClose(entry->session, code);
    return;
  }
}

void Connection::OnChallenge(bool alive) {
  using Outcome = Control::ChallengeOutcome;
  const Outcome dead = session_->up() ? Outcome::kDead : Outcome::kGone;
  worker_.control().ChallengeEnded(id_, challenger_, alive ? Outcome::kAlive : dead);
}

void Connection::OnPeersRequested(uint32_t max) {
  worker_.control().PeersRequested(worker_.index(), id_, max);
}

void Connection::OnPeers(const std::vector<wire::PeerInfo>& /*peers*/) {
}  // nothing here asks for them

void Connection::OnMismatch(const std::string& name, uint16_t version, uint16_t ours,
                            uint16_t theirs) {
  const LogLimiter::Pass pass = shared_.limiter.Check("capability mismatch " + name);
  if (!pass.log) return;
  shared_.log().Warn("server",
                     "a capability is not shared: the two sides count its messages differently",
                     {{"peer", channel_->remote_id().Short()},
                      {"capability", name + "/" + std::to_string(version)},
                      {"messages_here", std::to_string(ours)},
                      {"messages_there", std::to_string(theirs)},
                      {"remedy", "use the same build of the plugin on both nodes"},
                      {"suppressed", std::to_string(pass.suppressed)}});
}

void Connection::OnClose(const CloseInfo& close) {
  session_closed_ = true;
  close_ = close;
}

SendResult Connection::Send(SessionEntry& entry, uint16_t type, ByteView payload) {
  if (!session_ || ended_ || session_closed_) return SendResult::kGone;
  switch (session_->Send(shared_.Now(), entry.open_id, type, payload)) {
    case wire::SendStatus::kOk:
      if (SetDirty()) worker_.MarkDirty(id_);
      return SendResult::kOk;
    case wire::SendStatus::kAgain:
      entry.wanted_bytes = wire::kFrameHeaderBytes + payload.size();
      entry.wants_writable = true;
      return SendResult::kAgain;
    case wire::SendStatus::kGone:
      return SendResult::kGone;
    case wire::SendStatus::kTooBig:
      return SendResult::kTooBig;
    case wire::SendStatus::kInvalid:
      return SendResult::kInvalid;
  }
  return SendResult::kGone;
}

void Connection::SendPosted(SessionEntry& entry, uint16_t type, ByteView payload) {
  if (!session_ || ended_ || session_closed_) return;
  // It was accepted with kOk on another thread, so it is kept, in order, even if the queue has
  // filled since.
  if (backlog_.empty()) {
    const wire::SendStatus sent = session_->Send(shared_.Now(), entry.open_id, type, payload);
    if (sent != wire::SendStatus::kAgain) {
      entry.posted_bytes.fetch_sub(PostedBytes(payload.size()), std::memory_order_relaxed);
      return;
    }
  }
  backlog_.push_back({entry.shared_from_this(), type, Bytes(payload.begin(), payload.end())});
}

void Connection::PauseReading(SessionEntry& entry) {
  if (!session_ || ended_ || FindOpen(entry.open_id) != &entry) return;
  const bool paused = entry.want_paused;
  if (std::exchange(entry.paused, paused) == paused) return;
  pauses_ += paused ? 1 : -1;
  ApplyPause();
}

void Connection::ApplyPause() {
  const bool stop = pauses_ > 0;
  if (stop == session_->reading_paused()) return;
  session_->SetReadingPaused(shared_.Now(), stop);
  if (!stop) registration_.Kick();
  Arm();
}

void Connection::SendPeers(const std::vector<wire::PeerInfo>& peers) {
  if (!session_ || ended_) return;
  session_->SendPeers(shared_.Now(), peers);
  Flush();
}

void Connection::Offer(const std::vector<Capability>& versions) {
  if (!session_ || ended_) return;  // the hello is still to be made, with the new offers in it
  std::vector<wire::Offer> offers;
  offers.reserve(versions.size());
  for (const Capability& capability : versions) offers.push_back(Number(capability));
  if (!session_->OfferName(shared_.Now(), offers) && !session_->closing() && !versions.empty()) {
    const std::string& name = versions.front().name;
    const LogLimiter::Pass pass = shared_.limiter.Check("no offer " + name);
    if (pass.log) {
      shared_.log().Warn("server",
                         "a capability cannot be offered to a peer: its connection has no channel "
                         "number or room for an offer left; it can be when the peer reconnects",
                         {{"peer", channel_->remote_id().Short()},
                          {"capability", name},
                          {"suppressed", std::to_string(pass.suppressed)}});
    }
  }
  AfterSession();
  Flush();
}

void Connection::Withdraw(const std::string& name, Reason code) {
  if (!session_ || ended_) return;
  session_->WithdrawName(shared_.Now(), name, static_cast<uint32_t>(code));
  AfterSession();
  Flush();
}

PeerSnapshot Connection::Snapshot() const {
  const MonoTime now = shared_.Now();
  PeerSnapshot peer;
  peer.connection = id_;
  peer.id = channel_->remote_id();
  peer.direction = direction_;
  peer.remote = remote_;
  peer.local = local_;
  peer.fd = socket_.FdDoNotKeep();
  if (const auto& hello = session_->remote_hello()) {
    peer.user_agent = hello->user_agent;
    peer.minor = hello->minor;
  }
  peer.age = now - up_since_;
  peer.up_since = shared_.deps.clock->WallNow() -
                  std::chrono::duration_cast<std::chrono::microseconds>(peer.age);
  peer.capabilities = session_->capabilities();
  peer.stats = session_->stats();
  if (peer.stats.last_message != MonoTime{} && peer.stats.last_message != kNever) {
    peer.since_message = now - peer.stats.last_message;
  }
  peer.reading_paused = session_->reading_paused();
  peer.loop = worker_.loop().name();
  return peer;
}

}  // namespace helo::server
