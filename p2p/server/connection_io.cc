// The bytes of a connection: socket to TLS to session and back.
#include <sys/epoll.h>

#include <algorithm>

#include "p2p/server/connection.h"
#include "p2p/server/control.h"
#include "p2p/server/worker.h"

namespace helo::server {
namespace {

constexpr size_t kOutputHighWater =
    64 * 1024;                    // TLS output beyond which the session keeps its bytes
constexpr int kReadsPerTurn = 8;  // of an established peer, before others have their turn
constexpr int kWritableRounds = 4;
constexpr size_t kDiscardMost = 64 * 1024;  // WIRE 8

}  // namespace

bool Connection::OnReady(uint32_t events) {
  in_ready_ = true;
  end_announced_ = end_announced_ || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  short_read_is_last_ = (events & EPOLLIN) != 0 && !end_announced_;
  bool more = false;
  switch (phase_) {
    case Phase::kConnecting: {
      if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) break;
      const int error = socket_.PendingError();
      if (error != 0) {
        close_.reason = net::ReasonFromErrno(error, /*connected=*/false);
        close_.text = ErrnoSentence(error, "connect " + remote_.ToString());
        TryNextAddress();
        in_ready_ = false;
        return false;
      }
      Connected();
      Flush();
      // An eager acceptor's first bytes may have come with the same edge.
      if (phase_ == Phase::kTls) more = ReadSome();
      if (phase_ == Phase::kSession) Flush();
      break;
    }
    case Phase::kWaiting:
    case Phase::kTls:
    case Phase::kSession:
      if ((events & EPOLLOUT) != 0) PumpOutput();
      more = ReadSome();
      if (write_broken_ && !ended_ && !more) SocketEnded(write_errno_, /*eof=*/false);
      if (phase_ == Phase::kSession) Flush();
      break;
    case Phase::kClosing:
      ContinueClosing();
      break;
    case Phase::kLingering:
      more = Discard();
      break;
    case Phase::kGone:
      break;
  }
  in_ready_ = false;
  if (phase_ == Phase::kGone) return false;
  Arm();
  return more;
}

bool Connection::ReadSome() {
  const bool established = up();
  for (int i = 0; i < (established ? kReadsPerTurn : 1); ++i) {
    if (session_ && session_->reading_paused()) return false;
    std::span<uint8_t> buffer = worker_.scratch();
    const net::IoResult read = socket_.Recv(buffer);
    switch (read.kind) {
      case net::IoResult::Kind::kWouldBlock:
        return false;
      case net::IoResult::Kind::kEof:
        SocketEnded(0, /*eof=*/true);
        return false;
      case net::IoResult::Kind::kError:
        SocketEnded(read.error, /*eof=*/false);
        return false;
      case net::IoResult::Kind::kOk:
        break;
    }
    shared_.received_bytes[static_cast<size_t>(direction_)].fetch_add(read.bytes,
                                                                      std::memory_order_relaxed);
    if (phase_ == Phase::kWaiting) {
      phase_ = Phase::kTls;
      BeginTls(tls::Role::kAcceptor);
    }
    channel_->Feed(buffer.first(read.bytes));
    Pump();
    if (phase_ != Phase::kTls && phase_ != Phase::kSession) return false;
    // A short read of an event's bytes means that the socket was empty (man 7 epoll): what comes
    // later, an end too, brings its own edge. An end that was announced brings none, and is read.
    if (read.bytes < buffer.size() && short_read_is_last_) return false;
  }
  return true;
}

void Connection::Pump() {
  if (!session_) {  // also where the channel failed at birth, for want of memory
    switch (channel_->Handshake()) {
      case tls::Channel::State::kHandshaking:
        PumpOutput();
        return;
      case tls::Channel::State::kFailed: {
        const tls::Channel::Failure& failure = channel_->failure();
        End({.reason = failure.reason,
             .decider = failure.by_remote ? Decider::kThem : Decider::kUs,
             .stage = Stage::kTls,
             .text = failure.detail});
        return;
      }
      case tls::Channel::State::kUp:
      case tls::Channel::State::kPeerClosed:
        TlsUp();
        if (ended_) return;
        break;
    }
  }
  const MonoTime now = shared_.Now();
  std::span<uint8_t> plain = worker_.plain_scratch();
  while (!ended_) {
    const size_t n = channel_->Read(plain);
    const tls::Channel::PostHandshake post = channel_->TakePostHandshake();
    if (post.unexpected) session_->OnTlsMisuse(now);
    if (post.key_updates > 0)
      session_->OnKeyUpdates(now, post.key_updates, channel_->records_received());
    if (n == 0) {
      // The channel stops reading when it has counted too many KeyUpdates that nobody took: now
      // they are taken.
      if (post.key_updates > 0 && channel_->HasBufferedInput()) continue;
      break;
    }
    session_->Receive(now, plain.first(n));
    AfterSession();
  }
  AfterSession();
  if (ended_) return;
  if (channel_->state() == tls::Channel::State::kPeerClosed) {
    session_->ReceiveEof(now, /*close_notify=*/true);
  } else if (channel_->state() == tls::Channel::State::kFailed) {
    TlsFailed();
  }
  AfterSession();
}

void Connection::TlsFailed() {
  const tls::Channel::Failure& failure = channel_->failure();
  session_->Abort(shared_.Now(), failure.reason, failure.by_remote ? Decider::kThem : Decider::kUs,
                  failure.detail);
}

void Connection::SocketEnded(int error, bool eof) {
  if (ended_) {
    Vanish();
    return;
  }
  const MonoTime now = shared_.Now();
  if (session_) {
    if (eof) {
      session_->ReceiveEof(now, /*close_notify=*/false);
    } else {
      session_->Abort(now, net::ReasonFromErrno(error, /*connected=*/true), Decider::kNetwork,
                      ErrnoSentence(error, "connection with " + remote_.ToString()));
    }
    AfterSession();
    return;
  }
  CloseInfo close;
  close.reason = eof ? Reason::kEofEarly : net::ReasonFromErrno(error, /*connected=*/true);
  close.decider = Decider::kNetwork;
  close.stage = Stage::kTls;
  if (!eof) close.text = ErrnoSentence(error, "connection with " + remote_.ToString());
  End(std::move(close));
}

void Connection::PumpOutput() {
  if (!channel_ || phase_ == Phase::kGone) return;
  bool progressed = false;
  const MonoTime now = shared_.Now();
  while (!write_broken_) {
    if (session_ && channel_->state() != tls::Channel::State::kFailed) {
      while (channel_->OutputSize() < kOutputHighWater) {
        const ByteView pending = session_->Pending();
        if (pending.empty()) break;
        const size_t n = std::min(pending.size(), kOutputHighWater);
        if (!channel_->Write(pending.first(n))) break;
        session_->Sent(now, n, channel_->OutputSize(), /*progressed=*/false);
      }
    }
    const ByteView out = channel_->Output();
    if (out.empty()) break;
    const net::IoResult sent = socket_.Send(out);
    if (sent.kind == net::IoResult::Kind::kOk) {
      channel_->ConsumeOutput(sent.bytes);
      shared_.sent_bytes[static_cast<size_t>(direction_)].fetch_add(sent.bytes,
                                                                    std::memory_order_relaxed);
      progressed = true;
      continue;
    }
    if (sent.kind == net::IoResult::Kind::kWouldBlock) break;
    // What the other side said before it went (a gate alert, a DISCONNECT) may still be there to
    // read.
    write_broken_ = true;
    write_errno_ = sent.error;
    registration_.Kick();
  }
  if (session_) session_->Sent(now, 0, channel_->OutputSize(), progressed);
}

void Connection::Flush() {
  dirty_ = false;
  if (phase_ == Phase::kClosing) {
    ContinueClosing();
    return;
  }
  if (phase_ != Phase::kSession && phase_ != Phase::kTls) return;
  // Whoever was waiting for room may queue more when told; that must go out too, since no edge will
  // announce a socket that has been writable all along. A few rounds, then others have their turn.
  for (int round = 0; round < kWritableRounds; ++round) {
    PumpOutput();
    if (opens_.empty()) break;
    const size_t queued = session_->stats().queued_bytes;
    for (const auto& entry : opens_) entry->queued_bytes.store(queued, std::memory_order_relaxed);
    TellWritable();
    if (channel_->OutputSize() > 0 || session_->Pending().empty()) break;
    if (round + 1 == kWritableRounds) {
      dirty_ = true;
      worker_.MarkDirty(id_);
    }
  }
  // A write can fail too, where the remote left a handshake message unfinished; no read may follow.
  if (session_ && channel_->state() == tls::Channel::State::kFailed) TlsFailed();
  AfterSession();
  if (phase_ == Phase::kSession) Arm();
}

void Connection::ContinueClosing() {
  PumpOutput();
  if (phase_ == Phase::kGone) return;
  const bool failed = !channel_ || channel_->state() == tls::Channel::State::kFailed;
  const bool session_empty = !session_ || failed || session_->Pending().empty();
  if (!write_broken_ && session_empty && !failed && !sent_close_notify_ &&
      channel_->state() != tls::Channel::State::kHandshaking) {
    sent_close_notify_ = true;
    channel_->Close();
    PumpOutput();
  }
  if (write_broken_) {
    Vanish();
    return;
  }
  if (!session_empty || channel_->OutputSize() > 0) return;  // EPOLLOUT or the deadline
  // Who was told goodbye, or has gone, is not waited for.
  if (close_.decider != Decider::kUs || socket_.ShutdownWrite() != 0) {
    Vanish();
    return;
  }
  phase_ = Phase::kLingering;
  if (Discard()) registration_.Kick();
}

bool Connection::Discard() {
  for (int i = 0; i < kReadsPerTurn; ++i) {
    const net::IoResult read = socket_.Recv(worker_.scratch());
    if (read.kind == net::IoResult::Kind::kWouldBlock) return false;
    discarded_ += read.bytes;
    if (read.kind != net::IoResult::Kind::kOk || discarded_ >= kDiscardMost) {
      Vanish();
      return false;
    }
  }
  return true;
}

}  // namespace helo::server
