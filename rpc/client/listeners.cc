#include "rpc/client/listeners.h"

#include <absl/cleanup/cleanup.h>
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>

namespace helo::client {
namespace {

constexpr timeval kWait = {.tv_sec = 1, .tv_usec = 0};  // the kernel answers at once

bool Ask(int fd, int family) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  ask.request.sdiag_family = static_cast<uint8_t>(family);
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = 1U << TCP_LISTEN;
  return send(fd, &ask, sizeof ask, 0) == static_cast<ssize_t>(sizeof ask);
}

ProcTcpRow RowOf(const inet_diag_msg& message) {
  ProcTcpRow row;
  std::array<uint8_t, 16> address{};
  std::memcpy(address.data(), message.id.idiag_src, address.size());
  const size_t size = message.idiag_family == AF_INET ? 4 : 16;
  if (const auto ip = IpAddress::FromBytes(std::span(address).first(size))) row.local.ip = *ip;
  row.local.port = ntohs(message.id.idiag_sport);
  row.state = ProcTcpRow::kListen;
  row.uid = message.idiag_uid;
  row.inode = message.idiag_inode;
  return row;
}

// False: the kernel gave an error, or not the whole answer.
bool ReadAnswer(int fd, std::vector<ProcTcpRow>& rows) {
  alignas(nlmsghdr) std::array<char, 32768> buffer;  // NOLINT: filled by the kernel
  for (;;) {
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), MSG_TRUNC);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || static_cast<size_t>(got) > buffer.size()) return false;
    auto left = static_cast<size_t>(got);
    for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data());
         NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return true;
      if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY) return false;
      if (header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return false;
      rows.push_back(RowOf(*static_cast<const inet_diag_msg*>(NLMSG_DATA(header))));
    }
  }
}

}  // namespace

std::optional<std::vector<ProcTcpRow>> AskForListeners() {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) return std::nullopt;
  const auto closer = absl::MakeCleanup([fd] { close(fd); });
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kWait, sizeof kWait);
  std::vector<ProcTcpRow> rows;
  for (const int family : {AF_INET, AF_INET6}) {
    if (!Ask(fd, family) || !ReadAnswer(fd, rows)) return std::nullopt;
  }
  return rows;
}

}  // namespace helo::client
