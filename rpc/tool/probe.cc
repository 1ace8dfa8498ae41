// The driver of a probe: one socket, one TLS channel, one wire session, on one event loop that runs
// until the report is there.
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

#include "rpc/tool/probe_impl.h"

namespace helo::tool {
namespace {

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

}  // namespace

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
    report_.close.stage = Stage::kResolve;
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
  if (ping_) report_.ping = ping_->result();
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
    report_.names_unanswered = absl::IsDeadlineExceeded(found.status());
    report_.out_of_time = Now() >= end_;
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
  ping_ = std::make_unique<Ping>(*loop_);  // what one address answered says nothing of the next
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

void Prober::OnTimer() {
  const bool out_of_time = Now() >= end_;
  if (phase_ != Phase::kClosing) report_.out_of_time = out_of_time;
  if (socket_ && phase_ != Phase::kClosing) report_.tcp = ReadTcp(socket_);
  switch (phase_) {
    case Phase::kResolving:
      report_.names_unanswered = true;
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

ProbeReport Probe(const ProbeRequest& request) { return Prober(request).Run(); }

}  // namespace helo::tool
