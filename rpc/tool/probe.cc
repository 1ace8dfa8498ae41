// The driver of a probe: one socket, one TLS channel, one wire session, on one event loop that runs
// until the report is there.
#include "rpc/tool/probe.h"

#include <absl/strings/str_cat.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "p2p/base/text.h"
#include "p2p/net/event_loop.h"
#include "p2p/net/resolver.h"
#include "p2p/tls/channel.h"
#include "p2p/wire/session.h"

namespace helo::tool {
namespace {

constexpr size_t kFirstBytes = 128;
constexpr int kDescriptors = 64;  // the loop's, the resolver's, one for each address: never short
constexpr int64_t kClockBound = int64_t{1} << 53;               // WIRE 4: clock_us
constexpr Duration kLinger = std::chrono::seconds(1);           // WIRE 8
constexpr Duration kAskAfter = std::chrono::milliseconds(500);  // of silence, whether it is there

std::optional<TcpEvidence> ReadTcp(const net::Socket& socket) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (::getsockopt(socket.FdDoNotKeep(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
      size < offsetof(tcp_info, tcpi_total_retrans) + sizeof(info.tcpi_total_retrans)) {
    return std::nullopt;
  }
  return TcpEvidence{info.tcpi_retransmits, info.tcpi_total_retrans, info.tcpi_retrans,
                     info.tcpi_unacked};
}

bool IsOurs(const IpAddress& ip) {
  if (ip.IsLoopback()) return true;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return false;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr) continue;
    const int family = at->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage name{};
    std::copy_n(reinterpret_cast<const char*>(at->ifa_addr),
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6),
                reinterpret_cast<char*>(&name));
    const std::optional<Endpoint> own = Endpoint::FromSockaddr(name);
    if (own && own->ip.is_v4() == ip.is_v4() && AsString(own->ip.bytes()) == AsString(ip.bytes())) {
      return true;
    }
  }
  return false;
}

class Prober final : private net::Watcher, private wire::SessionSink {
 public:
  explicit Prober(const ProbeRequest& request) : request_(request) {}
  ProbeReport Run();

 private:
  enum class Phase : uint8_t { kResolving, kConnecting, kTls, kSession, kClosing, kDone };

  bool OnReady(uint32_t events) override;
  // SessionSink; a probe is never up.
  void OnHello(const wire::Hello& /*hello*/) override { would_accept_ = true; }
  void OnUp() override {}
  void OnOpen(const wire::OpenChannel& /*channel*/) override {}
  void OnMessage(uint32_t /*open*/, uint16_t /*type*/, ByteView /*payload*/) override {}
  void OnWritable() override {}
  void OnChannelClose(uint32_t /*open*/, uint32_t /*code*/) override {}
  void OnChallenge(bool /*alive*/) override {}
  void OnPeersRequested(uint32_t /*max*/) override {}
  void OnPeers(const std::vector<wire::PeerInfo>& /*peers*/) override {}
  void OnMismatch(const std::string& /*name*/, uint16_t /*version*/, uint16_t /*ours*/,
                  uint16_t /*theirs*/) override {}
  void OnClose(const CloseInfo& close) override { session_end_ = close; }

  absl::Status Prepare();
  void Resolved(absl::StatusOr<std::vector<IpAddress>> found);
  void ResolveFailed(Reason reason, std::string text);
  void NextAddress();
  void ConnectFailed(Reason reason, int error, std::string text);
  void Connected();
  void ReadSome();
  void Pump();
  void StartSession();
  void NoteHello();
  void Flush();
  void SocketEnded(int error);
  void AfterSession();
  void OnTimer();
  void Arm(MonoTime when) { timer_->SetAt(std::min(when, end_)); }
  void Step(Stage stage, bool ok, std::string text = {});
  void Fail(Reason reason, Decider decider, std::string text);
  void Finish();
  void TakeIcmp();
  MonoTime Now() const { return RealClock().Now(); }
  std::string Waited() const { return HumanDuration((Now() - stage_began_).count()); }

  const ProbeRequest& request_;
  ProbeReport report_;
  Phase phase_ = Phase::kResolving;
  MonoTime end_{}, stage_began_{}, hello_sent_{};
  std::vector<IpAddress> addresses_;
  size_t next_address_ = 0;
  bool would_accept_ = false;
  bool sent_close_notify_ = false;
  int write_error_ = 0;
  std::optional<CloseInfo> session_end_;
  wire::Profile profile_;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(16 * 1024);

  // Destroyed in the reverse order: everything before the loop, the loop before its pool.
  FdPool fds_{PoolKind::kSpare, kDescriptors};
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<tls::Context> context_;
  std::unique_ptr<net::Resolver> resolver_;
  std::unique_ptr<net::Timer> timer_, ask_timer_;
  std::unique_ptr<Ping> ping_;
  net::Socket socket_;
  net::Registration registration_;
  std::unique_ptr<tls::Channel> channel_;
  std::unique_ptr<wire::Session> session_;
};

absl::Status Prober::Prepare() {
  auto loop = net::EventLoop::Create("probe", RealClock(), NullLog(), fds_);
  if (!loop.ok()) return loop.status();
  loop_ = *std::move(loop);
  auto context = tls::Context::Create(request_.key);
  if (!context.ok()) return context.status();
  context_ = *std::move(context);
  auto resolver = net::MakeAresResolver(*loop_, fds_, std::min(request_.stage, request_.total));
  if (!resolver.ok()) return resolver.status();
  resolver_ = *std::move(resolver);
  timer_ = std::make_unique<net::Timer>(*loop_, [this] { OnTimer(); });
  ping_ = std::make_unique<Ping>(*loop_);
  ask_timer_ = std::make_unique<net::Timer>(*loop_, [this] {
    std::optional<FdTicket> ticket = fds_.TryTake();
    if (report_.remote && ticket) ping_->Start(report_.remote->ip, *std::move(ticket));
  });
  profile_.self = request_.key.id();
  profile_.network = request_.network;
  profile_.genesis = request_.genesis;
  profile_.user_agent = request_.user_agent;
  profile_.times.hello = profile_.times.verdict = request_.stage;
  return absl::OkStatus();
}

ProbeReport Prober::Run() {
  end_ = Now() + request_.total;
  if (absl::Status status = Prepare(); !status.ok()) {
    Fail(absl::IsResourceExhausted(status) ? Reason::kNoFd : Reason::kInternal, Decider::kUs,
         std::string(status.message()));
    return std::move(report_);
  }
  Arm(end_);
  stage_began_ = Now();
  resolver_->Resolve(request_.address.host, [this](absl::StatusOr<std::vector<IpAddress>> found) {
    Resolved(std::move(found));
  });
  loop_->Run();
  ask_timer_->Cancel();
  report_.ping = ping_->result();
  registration_.Reset();
  return std::move(report_);
}

void Prober::Step(Stage stage, bool ok, std::string text) {
  const MonoTime now = Now();
  ProbeStep step{stage, ok, now - stage_began_, std::nullopt, std::move(text)};
  if (stage == Stage::kConnect) step.remote = report_.remote;
  report_.steps.push_back(std::move(step));
  stage_began_ = now;
}

void Prober::Resolved(absl::StatusOr<std::vector<IpAddress>> found) {
  if (phase_ != Phase::kResolving) return;
  if (!found.ok()) {
    report_.out_of_time = absl::IsDeadlineExceeded(found.status());
    ResolveFailed(absl::IsResourceExhausted(found.status()) ? Reason::kNoFd : Reason::kResolve,
                  std::string(found.status().message()));
    return;
  }
  addresses_ = *std::move(found);
  const bool literal = request_.address.literal().has_value();
  std::string text = literal ? "an address already" : "";
  for (size_t i = 0; !literal && i < addresses_.size(); ++i) {
    if (i == kProbeMostAddresses) {
      absl::StrAppend(&text, " and ", addresses_.size() - i, " more, which are not tried");
      addresses_.resize(kProbeMostAddresses);
      break;
    }
    absl::StrAppend(&text, i == 0 ? "" : ", ", addresses_[i].ToString());
  }
  Step(Stage::kResolve, true, std::move(text));
  phase_ = Phase::kConnecting;
  NextAddress();
}

void Prober::ResolveFailed(Reason reason, std::string text) {
  report_.close.stage = Stage::kResolve;
  Step(Stage::kResolve, false);
  Fail(reason, reason == Reason::kNoFd ? Decider::kUs : Decider::kNetwork, std::move(text));
}

void Prober::NextAddress() {
  registration_.Reset();
  socket_.Close();
  report_.remote = Endpoint{addresses_[next_address_++], request_.address.port};
  report_.here = IsOurs(report_.remote->ip);
  std::optional<FdTicket> ticket = fds_.TryTake();
  net::ConnectStart start =
      net::StartConnect(*report_.remote, ticket ? *std::move(ticket) : FdTicket(), true);
  if (start.error != 0) {
    ConnectFailed(net::ReasonFromErrno(start.error, /*connected=*/false), start.error,
                  ErrnoSentence(start.error, start.failed_at_socket ? "socket()" : "connect()"));
    return;
  }
  socket_ = std::move(start.socket);
  auto watched = loop_->Watch(socket_.FdDoNotKeep(), net::Lane::kSession,
                              FairnessGroupOf(report_.remote->ip), this);
  if (!watched.ok()) {
    Fail(Reason::kNoFd, Decider::kUs, std::string(watched.status().message()));
    return;
  }
  registration_ = std::move(*watched);
  Arm(Now() + request_.stage);
  ask_timer_->SetAt(Now() + kAskAfter);
}

void Prober::ConnectFailed(Reason reason, int error, std::string text) {
  report_.error = error;
  ask_timer_->Cancel();
  Step(Stage::kConnect, false, text);
  if (next_address_ < addresses_.size() && Now() < end_) {
    report_.error = 0;
    report_.icmp.reset();
    report_.tcp.reset();
    NextAddress();
    return;
  }
  report_.close.stage = Stage::kConnect;
  const bool ours = reason == Reason::kNoFd || reason == Reason::kNoLocalAddress;
  Fail(reason, ours ? Decider::kUs : Decider::kNetwork, std::move(text));
}

void Prober::TakeIcmp() {
  if (report_.icmp || !socket_) return;
  report_.icmp = net::TakeIcmp(socket_);
  if (report_.icmp) report_.icmp_from_here = IsOurs(report_.icmp->from);
}

void Prober::Connected() {
  ask_timer_->Cancel();
  report_.local = socket_.Local();
  Step(Stage::kConnect, true,
       report_.local ? absl::StrCat("from ", report_.local->ToString()) : "");
  phase_ = Phase::kTls;
  Arm(Now() + request_.stage);
  channel_ = std::make_unique<tls::Channel>(*context_, tls::Role::kDialer);
  Pump();
  Flush();
}

bool Prober::OnReady(uint32_t events) {
  TakeIcmp();
  if (phase_ == Phase::kConnecting) {
    const bool news = (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0;
    int error = report_.icmp ? report_.icmp->error : 0;
    if (error == 0 && news) error = socket_.PendingError();
    if (error != 0) {
      Reason reason = net::ReasonFromErrno(error, /*connected=*/false);
      std::string text = ErrnoSentence(error, "connect()");
      if (report_.icmp) {
        if (report_.icmp->forbidden()) reason = Reason::kFiltered;
        absl::StrAppend(&text, ": ", net::Describe(*report_.icmp), ", from ",
                        report_.icmp->from.ToString());
      }
      ConnectFailed(reason, error, std::move(text));
    } else if ((events & EPOLLOUT) != 0) {
      Connected();
    }
  }
  if (phase_ == Phase::kConnecting || phase_ == Phase::kDone) return false;
  Flush();
  ReadSome();
  Flush();
  if (write_error_ != 0 && (phase_ == Phase::kTls || phase_ == Phase::kSession)) {
    SocketEnded(write_error_);
  }
  return false;
}

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

void Prober::OnTimer() {
  const bool out_of_time = Now() >= end_;
  if (phase_ != Phase::kClosing) report_.out_of_time = out_of_time;
  if (socket_ && phase_ != Phase::kClosing) report_.tcp = ReadTcp(socket_);
  switch (phase_) {
    case Phase::kResolving:
      ResolveFailed(Reason::kResolve, absl::StrCat("no name server answered within ", Waited()));
      return;
    case Phase::kConnecting:
      ConnectFailed(Reason::kConnectTimeout, 0, absl::StrCat("no answer within ", Waited()));
      return;
    case Phase::kTls:
      report_.close.stage = Stage::kTls;
      Step(Stage::kTls, false);
      Fail(Reason::kStageTimeout, Decider::kUs, "the TLS handshake was not finished in time");
      return;
    case Phase::kSession:
      if (out_of_time) {
        session_->Abort(Now(), Reason::kStageTimeout, Decider::kUs, "not finished in time");
      } else {
        session_->Tick(Now());
      }
      AfterSession();
      if (phase_ == Phase::kSession) Arm(session_->NextDeadline());
      return;
    case Phase::kClosing:
      return Finish();
    case Phase::kDone:
      return;
  }
}

void Prober::Fail(Reason reason, Decider decider, std::string text) {
  report_.close.reason = reason;
  report_.close.decider = decider;
  report_.close.text = std::move(text);
  Flush();  // the alert that tells the other side why
  Finish();
}

void Prober::Finish() {
  phase_ = Phase::kDone;
  if (timer_) timer_->Cancel();
  if (loop_) loop_->Stop();
}

}  // namespace

ProbeReport Probe(const ProbeRequest& request) { return Prober(request).Run(); }

}  // namespace helo::tool
