#include "tests/bench/client.h"

#include <netinet/in.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "p2p/base/text.h"
#include "p2p/wire/codec.h"
#include "p2p/wire/frame.h"

namespace helo::load {
namespace {

constexpr size_t kBuffer = 16 * 1024;
constexpr uint16_t kEchoPing = 0;
constexpr uint16_t kEchoPong = 1;
constexpr uint16_t kNobodysChannel = 65000;

bool OverTls(Goal goal) {
  return goal == Goal::kTls || goal == Goal::kTlsPayload || goal == Goal::kUp;
}

bool Stays(Exit exit) {
  return exit == Exit::kStay || exit == Exit::kPing || exit == Exit::kMessages;
}

}  // namespace

Client::Client(net::EventLoop& loop, FdPool& pool, const ClientTls& tls, ClientOwner& owner,
               Errand errand)
    : loop_(loop),
      pool_(pool),
      tls_(tls),
      owner_(owner),
      errand_(std::move(errand)),
      timer_(loop, [this] { OnTimer(); }) {}

Client::~Client() {
  registration_.Reset();
  ssl_.reset();
}

void Client::Begin() {
  began_ = loop_.Now();
  deadline_ = began_ + errand_.patience;
  if (Open()) Arm();
  Settle();
}

bool Client::Open() {
  std::optional<FdTicket> ticket = pool_.TryTake();
  if (!ticket) {
    End(Outcome::kNoSocket, "no descriptor left for another connection of helo-load");
    return false;
  }
  const int family = errand_.target.ip.is_v4() ? AF_INET : AF_INET6;
  net::UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) {
    End(Outcome::kNoSocket, ErrnoSentence(errno, "socket"));
    return false;
  }
  socket_ = net::Socket(std::move(fd), std::move(*ticket));
  socket_.SetNoDelay();
  const int raw = socket_.FdDoNotKeep();
  sockaddr_storage address{};
  if (errand_.source) {
    // The port is chosen at connect, by the whole 4-tuple, so that many targets share it.
    const int on = 1;
    setsockopt(raw, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    const socklen_t size = Endpoint{*errand_.source, 0}.ToSockaddr(address);
    if (::bind(raw, reinterpret_cast<const sockaddr*>(&address), size) != 0) {
      End(Outcome::kNoSocket, ErrnoSentence(errno, "bind " + errand_.source->ToString()));
      return false;
    }
  }
  const socklen_t size = errand_.target.ToSockaddr(address);
  if (::connect(raw, reinterpret_cast<const sockaddr*>(&address), size) != 0 &&
      errno != EINPROGRESS && errno != EINTR) {
    End(Outcome::kNoSocket, ErrnoSentence(errno, "connect " + errand_.target.ToString()));
    return false;
  }
  auto watched = loop_.Watch(raw, net::Lane::kSession, Subnet(), this);
  if (!watched.ok()) {
    End(Outcome::kNoSocket, std::string(FromAbsl(watched.status().message())));
    return false;
  }
  registration_ = std::move(*watched);
  return true;
}

void Client::Connected() {
  connected_ = true;
  switch (errand_.goal) {
    case Goal::kConnect:
      Reached();
      return;
    case Goal::kSend:
      if (Write(errand_.bytes) && !errand_.await_answer) Reached();
      return;
    case Goal::kTcpPayload:
      Write(Bytes(errand_.payload, 0x5a));
      return;
    case Goal::kTls:
    case Goal::kTlsPayload:
    case Goal::kUp:
      ssl_ = tls_.NewConnection(socket_.FdDoNotKeep(),
                                errand_.without_certificate ? nullptr : errand_.identity,
                                errand_.alpn);
      if (!ssl_) {
        End(Outcome::kBroken, "no memory for a TLS connection");
        return;
      }
      HandshakeStep();
  }
}

void Client::HandshakeStep() {
  ERR_clear_error();  // another connection's, which SSL_get_error would take for this one's
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) {
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
    End(Outcome::kRefused, "TLS handshake");
    return;
  }
  handshaken_ = true;
  if (errand_.goal == Goal::kTls) {
    Reached();
    return;
  }
  if (errand_.goal == Goal::kTlsPayload) {
    Write(Bytes(errand_.payload, 0x5a));
    return;
  }
  if (errand_.malformed_hello) {
    Bytes frame;
    wire::AppendFrame(frame, 0, wire::kHello, Bytes(40, 0xff));
    if (Write(frame)) Reached();
    return;
  }
  wire::Session::Params params;
  params.profile = errand_.profile != nullptr ? errand_.profile : &errand_.identity->profile;
  params.role = wire::Role::kDialer;
  if (auto id = RemoteId(ssl_.get())) params.remote = *id;
  params.our_offers = {{0, "echo", 1, 2, 65536}};
  params.started = began_;
  params.clock = &loop_.clock();
  params.rng = &SystemRng();
  params.sink = this;
  session_ = std::make_unique<wire::Session>(std::move(params));
  session_->Start(loop_.Now());
}

bool Client::OnReady(uint32_t events) {
  if (!connected_) {
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0) return false;
    if (const int error = socket_.PendingError(); error != 0) {
      End(error == ECONNRESET ? Outcome::kReset : Outcome::kNoSocket,
          ErrnoSentence(error, "connect"));
    } else {
      Connected();
    }
  }
  if (!ended_ && connected_ && OverTls(errand_.goal) && !handshaken_) HandshakeStep();
  if (!ended_) ReadAll();
  if (!ended_) Flush();
  if (Settle()) return false;
  Arm();
  return false;
}

void Client::ReadAll() {
  std::array<uint8_t, kBuffer> buffer;
  while (!ended_) {
    if (OverTls(errand_.goal)) {
      if (!handshaken_) return;
      ERR_clear_error();
      const int n = SSL_read(ssl_.get(), buffer.data(), static_cast<int>(buffer.size()));
      if (n > 0) {
        Take(ByteView(buffer).first(static_cast<size_t>(n)));
        continue;
      }
      const int error = SSL_get_error(ssl_.get(), n);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
      const bool notified = error == SSL_ERROR_ZERO_RETURN;
      if (session_ && !session_->closing()) session_->ReceiveEof(loop_.Now(), notified);
      const bool wanted = reached_ && !Stays(errand_.exit);
      if (error == SSL_ERROR_SYSCALL && errno == ECONNRESET) {
        End(wanted ? Outcome::kDone : Outcome::kReset, detail_.empty() ? "reset" : detail_);
      } else {
        if (notified) SSL_shutdown(ssl_.get());
        End(wanted ? Outcome::kDone : Outcome::kRefused,
            detail_.empty() ? "closed by the other side" : detail_);
      }
      return;
    }
    const net::IoResult read = socket_.Recv(buffer);
    if (read.kind == net::IoResult::Kind::kWouldBlock) return;
    if (read.kind == net::IoResult::Kind::kOk) {
      Take(ByteView(buffer).first(read.bytes));
      continue;
    }
    const bool waited = errand_.exit == Exit::kWaitForEnd;
    End(waited ? Outcome::kDone
               : (read.kind == net::IoResult::Kind::kEof ? Outcome::kRefused : Outcome::kReset),
        "closed by the other side");
  }
}

void Client::Take(ByteView bytes) {
  received_ += bytes.size();
  if (session_) {
    session_->Receive(loop_.Now(), bytes);
    return;
  }
  if (reached_ && errand_.exit == Exit::kPing) {
    if (received_ < errand_.payload || pinged_ == MonoTime{}) return;
    owner_.OnRoundTrip(loop_.Now() - pinged_);
    next_ping_ = loop_.Now() + errand_.ping_pause;
    return;
  }
  if (reached_ && errand_.exit == Exit::kMessages) {
    Answered(errand_.one_way ? bytes.size() * kAcknowledgedBytes : bytes.size());
    return;
  }
  if (reached_) return;
  const bool payload = errand_.goal == Goal::kTcpPayload || errand_.goal == Goal::kTlsPayload;
  if (payload ? received_ >= errand_.payload : errand_.goal == Goal::kSend) Reached();
}

void Client::Flush() {
  if (errand_.exit == Exit::kMessages && reached_) Pour();
  if (!session_) return;
  for (;;) {
    const ByteView pending = session_->Pending();
    if (pending.empty()) break;
    ERR_clear_error();
    const int n = SSL_write(ssl_.get(), pending.data(),
                            static_cast<int>(std::min<size_t>(pending.size(), kBuffer)));
    if (n <= 0) {
      const int error = SSL_get_error(ssl_.get(), n);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
      End(reached_ && !Stays(errand_.exit) ? Outcome::kDone : Outcome::kReset, "write");
      return;
    }
    session_->Sent(loop_.Now(), static_cast<size_t>(n), 0, true);
  }
  // After the last frame: our side is closed, theirs is awaited.
  if (session_->closing() && !said_goodbye_ && !ended_) {
    said_goodbye_ = true;
    SSL_shutdown(ssl_.get());
    socket_.ShutdownWrite();
  }
}

bool Client::Write(ByteView bytes) {
  bool sent = true;
  if (!OverTls(errand_.goal)) {
    sent = socket_.Send(bytes).bytes == bytes.size();
  } else {
    for (; sent && !bytes.empty();) {  // a record at a time
      const int n = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
      sent = n > 0;
      if (sent) bytes = bytes.subspan(static_cast<size_t>(n));
    }
  }
  if (!sent) End(Outcome::kReset, "write");
  return sent;
}

void Client::OnHello(const wire::Hello& /*hello*/) {
  wire::Verdict verdict;
  if (errand_.refuse) verdict.reason = Reason::kFull;
  session_->Decide(loop_.Now(), verdict);
}

void Client::OnUp() { up_ = true; }

void Client::OnOpen(const wire::OpenChannel& channel) { echo_ = channel.open_id; }

void Client::OnMessage(uint32_t /*open_id*/, uint16_t type, ByteView payload) {
  if (type != kEchoPong) return;
  if (errand_.exit == Exit::kMessages) {
    if (!errand_.one_way) {
      Answered(wire::kFrameHeaderBytes + payload.size());
    } else if (!marks_.empty()) {
      Answered(marks_.front());
      marks_.pop_front();
    }
    return;
  }
  if (payload.size() != errand_.payload) return;
  owner_.OnRoundTrip(loop_.Now() - pinged_);
  next_ping_ = loop_.Now() + errand_.ping_pause;
}

void Client::OnClose(const CloseInfo& close) {
  detail_ = std::string(FindReason(static_cast<uint32_t>(close.reason))->label);
}

void Client::Reached() {
  reached_ = true;
  deadline_ = loop_.Now() + errand_.patience;
  owner_.OnGoal(*this, loop_.Now() - began_);
  LeaveNow();
}

void Client::Leave(Exit how) {
  errand_.exit = how;
  deadline_ = loop_.Now() + errand_.patience;
  LeaveNow();
  if (!ended_) Flush();
  if (!Settle()) Arm();
}

void Client::LeaveNow() {
  switch (errand_.exit) {
    case Exit::kReset:
      socket_.ResetOnClose();
      End(Outcome::kDone);
      return;
    case Exit::kFin:
      End(Outcome::kDone);
      return;
    case Exit::kGoodbye:
      if (session_) session_->Close(loop_.Now(), Reason::kShuttingDown);
      return;
    case Exit::kViolate: {
      Bytes frame;
      wire::AppendFrame(frame, kNobodysChannel, 0, Bytes(8, 0));
      Flush();
      if (!ended_) Write(frame);
      return;
    }
    case Exit::kWaitForEnd:
      return;
    case Exit::kStay:
      deadline_ = kNever;
      return;
    case Exit::kPing:
      deadline_ = kNever;
      next_ping_ = loop_.Now();
      return;
    case Exit::kMessages:
      deadline_ = kNever;
      payload_.assign(errand_.payload, 0x5a);
      Flush();
      return;
  }
}

size_t Client::FrameBytes() const { return wire::kFrameHeaderBytes + errand_.payload; }

void Client::Answered(uint64_t bytes) {
  on_their_way_ -= std::min(bytes, on_their_way_);
  answered_ += bytes;
  if (answered_ < FrameBytes()) return;
  owner_.OnMessages(answered_ / FrameBytes());
  answered_ %= FrameBytes();
}

void Client::Pour() {
  const size_t frame = FrameBytes();
  const MonoTime now = loop_.Now();
  while (session_ && !session_->closing() && on_their_way_ + frame <= errand_.window) {
    if (session_->Send(now, echo_, errand_.one_way ? kEchoPong : kEchoPing, payload_) !=
        wire::SendStatus::kOk)
      return;
    on_their_way_ += frame;
    unmarked_ += frame;
    if (!errand_.one_way || unmarked_ < kAcknowledgedBytes) continue;
    session_->Send(now, echo_, kEchoPing, {});
    marks_.push_back(std::exchange(unmarked_, 0));
  }
  while (!session_ && !ended_) {
    const size_t room = errand_.window - std::min<uint64_t>(on_their_way_, errand_.window);
    const size_t fresh =
        std::min(room / frame * frame, kBuffer - std::min(kBuffer, poured_.size()));
    poured_.resize(poured_.size() + fresh, 0x5a);
    on_their_way_ += fresh;
    if (poured_.empty()) return;
    ERR_clear_error();
    const int n = SSL_write(ssl_.get(), poured_.data(), static_cast<int>(poured_.size()));
    if (n <= 0) {
      const int error = SSL_get_error(ssl_.get(), n);
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        End(Outcome::kReset, "write");
      return;
    }
    poured_.erase(poured_.begin(), poured_.begin() + n);
  }
}

void Client::Ping() {
  next_ping_ = kNever;
  pinged_ = loop_.Now();
  received_ = 0;
  const Bytes bytes(errand_.payload, 0x5a);
  if (!session_) {
    Write(bytes);
    return;
  }
  session_->Send(pinged_, echo_, kEchoPing, bytes);
  Flush();
}

void Client::OnTimer() {
  const MonoTime now = loop_.Now();
  if (now >= deadline_) {
    End(Outcome::kTimeout, reached_ ? "waiting for the end" : "on the way");
  } else {
    if (session_) session_->Tick(now);
    if (now >= next_ping_) Ping();
    if (!ended_) Flush();
  }
  if (!Settle()) Arm();
}

void Client::Arm() {
  MonoTime when = std::min(deadline_, next_ping_);
  if (session_ && !session_->closing()) when = std::min(when, session_->NextDeadline());
  if (when != timer_.when()) timer_.SetAt(when);
}

void Client::End(Outcome outcome, std::string detail) {
  if (std::exchange(ended_, true)) return;
  if (outcome == Outcome::kRefused && errand_.refused_is_well) outcome = Outcome::kDone;
  outcome_ = outcome;
  detail_ = std::move(detail);
}

bool Client::Settle() {
  // The goal of a peer is told here, not within the session's own call.
  if (up_ && !reached_ && !ended_) {
    Flush();
    if (!ended_) Reached();
    if (!ended_) Flush();
  }
  if (!ended_ || std::exchange(told_, true)) return ended_;
  timer_.Cancel();
  registration_.Reset();
  ssl_.reset();
  socket_.Close();
  owner_.OnEnded(*this);  // destroys us
  return true;
}

}  // namespace helo::load
