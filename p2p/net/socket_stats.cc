#include "p2p/net/socket_stats.h"

// Not netinet/tcp.h: it has an older tcp_info and cannot be included beside this one.
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "p2p/base/text.h"
#include "p2p/net/fd_table.h"
#include "p2p/net/socket.h"

namespace helo::net {
namespace {

constexpr uint8_t kListen = 10;  // TCP_LISTEN and TCP_SYN_RECV of netinet/tcp.h
constexpr uint8_t kSynRecv = 3;
constexpr int kNetlinkWaitMs = 1000;  // the kernel answers at once; the wait is for form's sake
constexpr size_t kNetlinkBuffer = size_t{64} << 10;

// TCP_INFO as far as this kernel fills it; `size` says how far.
struct Info {
  tcp_info tcp{};
  socklen_t size = sizeof(tcp_info);
  template <typename T>
  bool Has(const T& field) const {
    const auto offset = reinterpret_cast<const char*>(&field) - reinterpret_cast<const char*>(&tcp);
    return size >= static_cast<size_t>(offset) + sizeof(field);
  }
};

std::optional<Info> ReadInfo(int fd) {
  Info info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info.tcp, &info.size) != 0) return std::nullopt;
  return info;
}

std::optional<uint32_t> Drops(int fd) {
  std::array<uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t size = sizeof(memory);
  if (::getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory.data(), &size) != 0 ||
      size < (SK_MEMINFO_DROPS + 1) * sizeof(uint32_t)) {
    return std::nullopt;
  }
  return memory[SK_MEMINFO_DROPS];
}

uint32_t Queue(int fd, unsigned long what) {
  int bytes = 0;
  return ::ioctl(fd, what, &bytes) == 0 && bytes > 0 ? static_cast<uint32_t>(bytes) : 0;
}

std::optional<ConnectionStats> ReadConnection(int fd) {
  const std::optional<Info> info = ReadInfo(fd);
  if (!info || info->tcp.tcpi_state == kListen) return std::nullopt;
  const tcp_info& tcp = info->tcp;
  ConnectionStats stats;
  stats.tcp_state = std::string(TcpStateName(tcp.tcpi_state));
  stats.rtt_us = tcp.tcpi_rtt;
  stats.rtt_var_us = tcp.tcpi_rttvar;
  // The kernel's "not measured yet" is all ones.
  if (info->Has(tcp.tcpi_min_rtt) && tcp.tcpi_min_rtt != UINT32_MAX) {
    stats.min_rtt_us = tcp.tcpi_min_rtt;
  }
  stats.retransmits = tcp.tcpi_total_retrans;
  stats.timeouts = tcp.tcpi_retransmits;
  stats.unacked = tcp.tcpi_unacked;
  stats.lost = tcp.tcpi_lost;
  stats.cwnd = tcp.tcpi_snd_cwnd;
  stats.mss = tcp.tcpi_snd_mss;
  stats.last_sent_ms = tcp.tcpi_last_data_sent;
  stats.last_received_ms = tcp.tcpi_last_data_recv;
  if (info->Has(tcp.tcpi_bytes_received)) {
    stats.bytes_acked = tcp.tcpi_bytes_acked;
    stats.bytes_received = tcp.tcpi_bytes_received;
  }
  stats.receive_queue = Queue(fd, SIOCINQ);
  stats.send_queue = Queue(fd, SIOCOUTQ);
  stats.unsent = Queue(fd, SIOCOUTQNSD);
  stats.drops = Drops(fd);
  return stats;
}

std::optional<ListenQueue> ReadListener(int fd) {
  const std::optional<Info> info = ReadInfo(fd);
  if (!info || info->tcp.tcpi_state != kListen) return std::nullopt;
  // Of a listening socket these two fields tell the accept queue.
  return ListenQueue{info->tcp.tcpi_unacked, info->tcp.tcpi_sacked, Drops(fd)};
}

// Between two looks at the cookie it was the same socket all along: a socket that lost its number
// does not get it back.
template <typename Read>
auto IfStill(int fd, uint64_t cookie, Read read) -> decltype(read(fd)) {
  if (cookie == 0 || SocketCookie(fd) != cookie) return std::nullopt;
  auto result = read(fd);
  if (SocketCookie(fd) != cookie) return std::nullopt;
  return result;
}

absl::Status AskForHalfOpen(int fd, int family, uint16_t port) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask{};
  ask.header.nlmsg_len = sizeof(ask);
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.request.sdiag_family = static_cast<uint8_t>(family);
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = 1U << kSynRecv;
  ask.request.id.idiag_sport = htons(port);
  if (::send(fd, &ask, sizeof(ask), 0) != static_cast<ssize_t>(sizeof(ask))) {
    return ErrnoStatus(errno, "ask sock_diag for half-open connections");
  }
  return absl::OkStatus();
}

enum class Seen : uint8_t { kMore, kAll };

absl::StatusOr<Seen> Count(std::span<const char> answer, uint16_t port,
                           absl::flat_hash_map<Endpoint, uint32_t>& counts) {
  auto left = answer.size();
  for (const auto* message = reinterpret_cast<const nlmsghdr*>(answer.data());
       NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
    if (message->nlmsg_type == NLMSG_DONE) return Seen::kAll;
    if (message->nlmsg_type == NLMSG_ERROR) {
      if (message->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) {
        return absl::InternalError("sock_diag answered with half an error");
      }
      nlmsgerr error{};
      std::memcpy(&error, NLMSG_DATA(message), sizeof(error));
      return ErrnoStatus(-error.error, "sock_diag, half-open connections");
    }
    if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        message->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) {
      continue;
    }
    inet_diag_msg found{};
    std::memcpy(&found, NLMSG_DATA(message), sizeof(found));
    if (found.id.idiag_sport != htons(port)) continue;
    const auto* bytes = reinterpret_cast<const uint8_t*>(found.id.idiag_src);
    const std::optional<IpAddress> ip =
        IpAddress::FromBytes({bytes, found.idiag_family == AF_INET ? size_t{4} : size_t{16}});
    if (ip) ++counts[Endpoint{*ip, port}];
  }
  return Seen::kMore;
}

}  // namespace

std::optional<ConnectionStats> ReadConnectionStats(int fd, uint64_t cookie) {
  return IfStill(fd, cookie, ReadConnection);
}

std::optional<ListenQueue> ReadListenQueue(int fd, uint64_t cookie) {
  return IfStill(fd, cookie, ReadListener);
}

absl::StatusOr<absl::flat_hash_map<Endpoint, uint32_t>> CountHalfOpen(uint16_t port) {
  const UniqueFd netlink(
      ::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return ErrnoStatus(errno, "socket() for sock_diag");
  const int fd = netlink.FdDoNotKeep();
  absl::flat_hash_map<Endpoint, uint32_t> counts;
  alignas(nlmsghdr) std::array<char, kNetlinkBuffer> buffer{};
  for (const int family : {AF_INET, AF_INET6}) {
    if (absl::Status asked = AskForHalfOpen(fd, family, port); !asked.ok()) return asked;
    for (bool more = true; more;) {
      const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {
        pollfd readable{fd, POLLIN, 0};
        if (::poll(&readable, 1, kNetlinkWaitMs) > 0) continue;
        return absl::DeadlineExceededError("sock_diag did not answer");
      }
      if (n < 0) return ErrnoStatus(errno, "read the answer of sock_diag");
      const absl::StatusOr<Seen> seen =
          Count({buffer.data(), static_cast<size_t>(n)}, port, counts);
      if (!seen.ok()) {
        // A kernel without IPv6 has nobody to answer for it.
        if (family == AF_INET6) break;
        return seen.status();
      }
      more = *seen == Seen::kMore;
    }
  }
  return counts;
}

}  // namespace helo::net
