// The bytes of a probe: socket to TLS to session and back. All of them are a stranger's.
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "rpc/tool/probe_impl.h"

namespace helo::tool {
namespace {

constexpr size_t kFirstBytes = 128;
constexpr int64_t kClockBound = int64_t{1} << 53;      // WIRE 4: clock_us
constexpr Duration kLinger = std::chrono::seconds(1);  // WIRE 8

}  // namespace

// Until the socket is empty, or has said more than a probe listens to.
void Prober::ReadSome() {
  while (phase_ == Phase::kTls || phase_ == Phase::kSession || phase_ == Phase::kClosing) {
    const net::IoResult read = socket_.Recv(buffer_);
    if (read.kind == net::IoResult::Kind::kWouldBlock) return;
    if (read.kind != net::IoResult::Kind::kOk) {
      SocketEnded(read.kind == net::IoResult::Kind::kError ? read.error : 0);
      return;
    }
    const ByteView bytes = ByteView(buffer_).first(read.bytes);
    report_.bytes_in += bytes.size();
    if (report_.first_bytes.size() < kFirstBytes) {
      const ByteView some =
          bytes.first(std::min(bytes.size(), kFirstBytes - report_.first_bytes.size()));
      report_.first_bytes.insert(report_.first_bytes.end(), some.begin(), some.end());
    }
    if (report_.bytes_in > kProbeMostBytes) {
      if (phase_ == Phase::kClosing) return Finish();
      report_.close.stage = session_ ? session_->stage() : Stage::kTls;
      Step(report_.close.stage, false);
      Fail(Reason::kFlood, Decider::kUs,
           absl::StrCat("it sent more than ", HumanBytes(kProbeMostBytes),
                        " where a few kB were due"));
      return;
    }
    if (phase_ == Phase::kClosing) continue;
    channel_->Feed(bytes);
    Pump();
  }
}

void Prober::Pump() {
  if (!session_) {
    switch (channel_->Handshake()) {
      case tls::Channel::State::kHandshaking:
        return;
      case tls::Channel::State::kFailed: {
        const tls::Channel::Failure& failure = channel_->failure();
        report_.alert = failure.alert;
        report_.certificate_requested = channel_->certificate_requested();
        report_.close.stage = Stage::kTls;
        Step(Stage::kTls, false);
        Fail(failure.reason, failure.by_remote ? Decider::kThem : Decider::kUs, failure.detail);
        return;
      }
      default:
        StartSession();
    }
  }
  while (!session_end_) {
    const size_t n = channel_->Read(buffer_);
    const tls::Channel::PostHandshake post = channel_->TakePostHandshake();
    if (post.unexpected) session_->OnTlsMisuse(Now());
    if (post.key_updates > 0) {
      session_->OnKeyUpdates(Now(), post.key_updates, channel_->records_received());
    }
    if (n == 0) {
      if (post.key_updates > 0 && channel_->HasBufferedInput()) continue;
      break;
    }
    session_->Receive(Now(), ByteView(buffer_).first(n));
    NoteHello();
    // The verdict is theirs alone; ours is that we would not have objected either.
    if (would_accept_ && !session_end_) session_->Decide(Now(), {});
  }
  if (!session_end_ && channel_->state() == tls::Channel::State::kPeerClosed) {
    session_->ReceiveEof(Now(), /*close_notify=*/true);
  } else if (!session_end_ && channel_->state() == tls::Channel::State::kFailed) {
    report_.alert = channel_->failure().alert;
    session_->Abort(Now(), channel_->failure().reason,
                    channel_->failure().by_remote ? Decider::kThem : Decider::kUs,
                    channel_->failure().detail);
  }
  AfterSession();
}

void Prober::StartSession() {
  report_.tls_up = true;
  report_.bytes_before_hello = report_.bytes_in;
  report_.id = channel_->remote_id();
  report_.certificate_requested = channel_->certificate_requested();
  Step(Stage::kTls, true, "TLS 1.3, helo/1");
  phase_ = Phase::kSession;
  wire::Session::Params params;
  params.profile = &profile_;
  params.purpose = wire::Purpose::kProbe;
  params.remote = channel_->remote_id();
  params.expected = request_.address.id;
  params.observed = report_.remote;
  params.our_offers = request_.offers;
  params.started = stage_began_;
  params.clock = &RealClock();
  params.rng = &SystemRng();
  params.sink = this;
  session_ = std::make_unique<wire::Session>(std::move(params));
  hello_sent_ = Now();
  session_->Start(hello_sent_);
  Arm(session_->NextDeadline());
}

void Prober::NoteHello() {
  if (report_.hello || session_->stage() == Stage::kHello) return;
  const bool readable = session_->remote_hello().has_value();
  if (!readable) return;  // MALFORMED, which the verdict's place tells
  report_.hello = session_->remote_hello();
  report_.hello_rtt = Now() - hello_sent_;
  if (report_.hello->clock_us > 0 && report_.hello->clock_us < kClockBound) {
    const int64_t half = report_.hello_rtt.count() / 2000;
    report_.skew_us =
        report_.hello->clock_us - (RealClock().WallNow().time_since_epoch().count() - half);
  }
  Step(Stage::kHello, true);
  Arm(session_->NextDeadline());
}

// Once the session has said how it ended.
void Prober::AfterSession() {
  if (!session_end_ || phase_ != Phase::kSession) return;
  report_.close = *session_end_;
  report_.accepted =
      session_end_->reason == Reason::kProbe && session_end_->decider == Decider::kUs;
  const Stage stage = report_.hello ? Stage::kVerdict : Stage::kHello;
  Step(stage, report_.accepted);
  report_.close.stage = stage;
  phase_ = Phase::kClosing;
  timer_->SetAt(Now() + kLinger);
  Flush();
}

void Prober::Flush() {
  while (channel_ && phase_ != Phase::kDone && write_error_ == 0) {
    const bool failed = channel_->state() == tls::Channel::State::kFailed;
    if (session_ && !failed) {
      const ByteView pending = session_->Pending();
      const size_t n = pending.size();
      if (n > 0 && channel_->Write(pending)) {
        session_->Sent(Now(), n, channel_->OutputSize(), /*progressed=*/false);
      }
      if (phase_ == Phase::kClosing && !std::exchange(sent_close_notify_, true)) channel_->Close();
    }
    const ByteView out = channel_->Output();
    if (out.empty()) break;
    const net::IoResult sent = socket_.Send(out);
    if (sent.kind == net::IoResult::Kind::kWouldBlock) return;
    if (sent.kind != net::IoResult::Kind::kOk) {
      write_error_ = sent.error;  // what it had said before it went may still be there to read
      return;
    }
    channel_->ConsumeOutput(sent.bytes);
  }
  if (phase_ == Phase::kClosing && socket_.ShutdownWrite() != 0) Finish();
}

void Prober::SocketEnded(int error) {
  if (phase_ == Phase::kClosing) return Finish();
  TakeIcmp();
  report_.error = error;
  const Reason reason =
      error == 0 ? Reason::kEofEarly : net::ReasonFromErrno(error, /*connected=*/true);
  std::string text =
      error == 0 ? "it closed the connection" : ErrnoSentence(error, "reading from the connection");
  if (session_) {
    session_->Abort(Now(), reason, Decider::kNetwork, std::move(text));
    AfterSession();
    Finish();
    return;
  }
  report_.close.stage = Stage::kTls;
  Step(Stage::kTls, false);
  Fail(reason, Decider::kNetwork, std::move(text));
}

}  // namespace helo::tool
