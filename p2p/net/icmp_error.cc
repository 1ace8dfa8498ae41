// ICMP errors of a connection attempt, from the socket's error queue. The kernel puts them there at
// once, even those that it would not yet give up for.
#include <absl/strings/str_cat.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "p2p/base/text.h"
#include "p2p/net/socket.h"

namespace helo::net {
namespace {

// RFC 792, RFC 1812 5.2.7.1, RFC 4443 3.1.
std::string_view Meaning(bool v6, uint8_t type, uint8_t code) {
  static constexpr std::array<std::string_view, 16> kV4 = {
      "network unreachable",
      "host unreachable",
      "protocol unreachable",
      "port unreachable",
      "packet too big",
      "source route failed",
      "network unknown",
      "host unknown",
      "host isolated",
      "network administratively prohibited",
      "host administratively prohibited",
      "network unreachable for this service",
      "host unreachable for this service",
      "communication administratively prohibited",
      "host precedence violation",
      "precedence cut-off"};
  static constexpr std::array<std::string_view, 7> kV6 = {"no route to destination",
                                                          "administratively prohibited",
                                                          "beyond scope of source address",
                                                          "address unreachable",
                                                          "port unreachable",
                                                          "source address failed policy",
                                                          "route rejected"};
  if (!v6 && type == ICMP_DEST_UNREACH && code < kV4.size()) return kV4[code];
  if (v6 && type == ICMP6_DST_UNREACH && code < kV6.size()) return kV6[code];
  if (type == (v6 ? ICMP6_TIME_EXCEEDED : ICMP_TIME_EXCEEDED)) return "hop limit exceeded";
  return "an ICMP error";
}

}  // namespace

bool IcmpError::forbidden() const {
  // A host says by RST that a port is closed, so "port unreachable" to a TCP packet is a rule's
  // REJECT.
  if (v6) return type == ICMP6_DST_UNREACH && (code == 1 || code == 4 || code == 5 || code == 6);
  return type == ICMP_DEST_UNREACH &&
         (code == 2 || code == 3 || code == 9 || code == 10 || code == 13);
}

std::string Describe(const IcmpError& icmp) {
  return absl::StrCat(icmp.v6 ? "ICMPv6" : "ICMP", " type ", icmp.type, " code ", icmp.code, ", ",
                      ToAbsl(Meaning(icmp.v6, icmp.type, icmp.code)));
}

// A kernel that keeps none loses the explanation alone.
void Socket::KeepIcmp(bool v4) {
  const int on = 1;
  (void)::setsockopt(FdDoNotKeep(), v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR,
                     &on, sizeof(on));
}

std::optional<IcmpError> TakeIcmp(Socket& socket) {
  std::array<uint8_t, 512> packet{};  // the beginning of what we had sent comes back: not looked at
  alignas(cmsghdr) std::array<uint8_t, 512> control{};
  iovec part{packet.data(), packet.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(socket.FdDoNotKeep(), &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
    return std::nullopt;
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    const bool v4 = header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_RECVERR;
    const bool v6 = header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_RECVERR;
    sock_extended_err error{};
    if ((!v4 && !v6) || header->cmsg_len < CMSG_LEN(sizeof(error))) continue;
    std::memcpy(&error, CMSG_DATA(header), sizeof(error));
    if (error.ee_origin != SO_EE_ORIGIN_ICMP && error.ee_origin != SO_EE_ORIGIN_ICMP6) continue;
    IcmpError icmp;
    icmp.v6 = error.ee_origin == SO_EE_ORIGIN_ICMP6;
    icmp.type = error.ee_type;
    icmp.code = error.ee_code;
    icmp.error = static_cast<int>(error.ee_errno);
    sockaddr_storage from{};  // behind the error, SO_EE_OFFENDER
    const size_t size = header->cmsg_len - CMSG_LEN(sizeof(error));
    std::memcpy(&from, CMSG_DATA(header) + sizeof(error), std::min(size, sizeof(from)));
    if (const std::optional<Endpoint> sender = Endpoint::FromSockaddr(from)) icmp.from = sender->ip;
    return icmp;
  }
  return std::nullopt;
}

}  // namespace helo::net
