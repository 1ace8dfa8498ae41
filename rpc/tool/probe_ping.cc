#include "rpc/tool/probe_ping.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "p2p/base/rng.h"

namespace helo::tool {
namespace {

constexpr size_t kEchoBytes = 8 + 16;  // header and a payload of zeros

// RFC 1071. The kernel does it for ICMPv6 and for ping sockets.
uint16_t Checksum(ByteView bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) sum += uint32_t{bytes[i]} << 8 | bytes[i + 1];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace

void Ping::Start(const IpAddress& to, FdTicket ticket) {
  to_ = to;
  const int family = to.is_v4() ? AF_INET : AF_INET6;
  const int protocol = to.is_v4() ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  net::UniqueFd fd(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!fd) {
    raw_ = true;
    fd = net::UniqueFd(::socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  }
  result_.kind = PingResult::Kind::kMayNotAsk;
  if (!fd) return;
  socket_ = net::Socket(std::move(fd), std::move(ticket));
  sockaddr_storage address{};
  const socklen_t size = Endpoint{to, 0}.ToSockaddr(address);
  auto watched = loop_.Watch(socket_.FdDoNotKeep(), net::Lane::kSession, Subnet{}, this);
  if (!watched.ok()) return;
  registration_ = std::move(*watched);
  std::array<uint8_t, kEchoBytes> echo{};
  echo[0] = to.is_v4() ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
  mark_ = static_cast<uint16_t>(SystemRng().U64());
  echo[4] = echo[6] = static_cast<uint8_t>(mark_ >> 8);
  echo[5] = echo[7] = static_cast<uint8_t>(mark_);
  const uint16_t sum = Checksum(echo);
  echo[2] = static_cast<uint8_t>(sum >> 8);
  echo[3] = static_cast<uint8_t>(sum);
  sent_ = loop_.Now();
  int error = 0;
  if (::connect(socket_.FdDoNotKeep(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    error = errno;
  } else {
    error = socket_.Send(echo).error;
  }
  if (error != 0) {
    result_.kind = error == EPERM || error == EACCES ? PingResult::Kind::kForbidden
                                                     : PingResult::Kind::kNotAsked;
    Stop();
    return;
  }
  result_.kind = PingResult::Kind::kSilent;
}

void Ping::Stop() {
  registration_.Reset();
  socket_.Close();
}

bool Ping::IsAnswer(ByteView packet) const {
  if (raw_ && to_.is_v4()) {  // behind the IP header
    if (packet.empty()) return false;
    const size_t header = size_t{packet[0] & 15u} * 4;
    if (packet.size() < header) return false;
    packet = packet.subspan(header);
  }
  return packet.size() >= 8 && packet[0] == (to_.is_v4() ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) &&
         (uint32_t{packet[6]} << 8 | packet[7]) == mark_;
}

bool Ping::OnReady(uint32_t /*events*/) {
  std::array<uint8_t, 1500> packet{};
  for (int i = 0; i < 16; ++i) {  // a raw socket sees others' as well
    const net::IoResult read = socket_.Recv(packet);
    if (read.kind != net::IoResult::Kind::kOk) return false;
    if (!IsAnswer(ByteView(packet).first(read.bytes))) continue;
    result_ = {PingResult::Kind::kAnswered, loop_.Now() - sent_};
    Stop();
    return false;
  }
  return true;
}

}  // namespace helo::tool
