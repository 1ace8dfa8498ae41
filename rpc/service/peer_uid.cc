#include "rpc/service/peer_uid.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "p2p/base/proc_tcp.h"

namespace helo::rpc {
namespace {

// The kernel answers a sock_diag question while it is being sent; the wait is for form's sake.
constexpr int kNetlinkWaitMs = 100;

void CopyAddress(const IpAddress& ip, __be32 (&out)[4]) {
  std::memset(out, 0, sizeof out);
  std::memcpy(out, ip.bytes().data(), ip.bytes().size());
}

struct CloseFile {
  void operator()(FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, CloseFile>;

// nullopt where every uid of the machine is mapped to itself.
std::optional<uid_t> FindOverflowUid() {
  const File map(std::fopen("/proc/self/uid_map", "re"));
  if (!map) return std::nullopt;
  unsigned inside = 0;
  unsigned outside = 0;
  unsigned count = 0;
  if (std::fscanf(map.get(), "%u %u %u", &inside, &outside, &count) == 3 && inside == 0 &&
      count == 4294967295U) {
    return std::nullopt;
  }
  unsigned overflow = 65534;
  const File file(std::fopen("/proc/sys/kernel/overflowuid", "re"));
  if (file && std::fscanf(file.get(), "%u", &overflow) != 1) overflow = 65534;
  return overflow;
}

}  // namespace

PeerUid::PeerUid(FdPool& files) : files_(files), overflow_uid_(FindOverflowUid()) {
  std::optional<FdTicket> ticket = files.TryTake();
  if (!ticket) return;
  net::UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return;
  netlink_ = std::move(fd);
  ticket_ = *std::move(ticket);
}

PeerUid::Answer PeerUid::AskNetlink(const Endpoint& caller, const Endpoint& us, Holder& holder) {
  if (!netlink_) return Answer::kNoAnswer;
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask{};
  ask.header.nlmsg_len = sizeof ask;
  ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  ask.header.nlmsg_flags = NLM_F_REQUEST;
  ask.header.nlmsg_seq = ++sequence_;
  ask.request.sdiag_family = caller.ip.is_v4() ? AF_INET : AF_INET6;
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = ~0U;
  ask.request.id.idiag_sport = htons(caller.port);
  ask.request.id.idiag_dport = htons(us.port);
  CopyAddress(caller.ip, ask.request.id.idiag_src);
  CopyAddress(us.ip, ask.request.id.idiag_dst);
  ask.request.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  ask.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  const int fd = netlink_.FdDoNotKeep();
  if (send(fd, &ask, sizeof ask, 0) != static_cast<ssize_t>(sizeof ask)) return Answer::kNoAnswer;

  alignas(nlmsghdr) char buffer[8192];
  for (;;) {
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      pollfd readable{fd, POLLIN, 0};
      if (poll(&readable, 1, kNetlinkWaitMs) <= 0) return Answer::kNoAnswer;
      continue;
    }
    if (n < 0) return Answer::kNoAnswer;
    auto left = static_cast<size_t>(n);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_seq != sequence_) continue;  // late answer to an earlier question
      if (message->nlmsg_type == NLMSG_ERROR) {
        if (message->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return Answer::kNoAnswer;
        const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(message));
        // ENOENT also means that the kernel lacks tcp_diag, so it counts only once a socket has
        // been found.
        const bool absent = error->error == -ENOENT && netlink_answers_;
        return absent ? Answer::kNotHeld : Answer::kNoAnswer;
      }
      if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
          message->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) {
        return Answer::kNoAnswer;
      }
      netlink_answers_ = true;
      const auto* found = static_cast<const inet_diag_msg*>(NLMSG_DATA(message));
      // A listener matches where there is no such connection.
      if (found->idiag_state != TCP_ESTABLISHED || found->idiag_inode == 0 ||
          found->id.idiag_sport != htons(caller.port) || found->id.idiag_dport != htons(us.port)) {
        return Answer::kNotHeld;
      }
      holder = {found->idiag_uid, found->idiag_inode};
      return Answer::kHeld;
    }
  }
}

std::optional<PeerUid::Holder> PeerUid::AskProc(const Endpoint& caller, const Endpoint& us) {
  const std::optional<FdTicket> ticket = files_.TryTake();
  if (!ticket) return std::nullopt;
  // A client's IPv6 socket that talks to an IPv4 address stands in tcp6, as ::ffff:a.b.c.d.
  for (const char* path : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    const File file(std::fopen(path, "re"));
    if (!file) continue;
    char line[512];
    while (std::fgets(line, sizeof line, file.get()) != nullptr) {
      const std::optional<ProcTcpRow> row = ParseProcTcpRow(line);
      if (row && row->state == ProcTcpRow::kEstablished && row->inode != 0 &&
          row->local == caller && row->remote == us) {
        return Holder{row->uid, row->inode};
      }
    }
  }
  return std::nullopt;
}

std::optional<uid_t> PeerUid::Believable(uid_t uid) const {
  return uid == overflow_uid_ ? std::nullopt : std::optional<uid_t>(uid);
}

std::optional<uid_t> PeerUid::FindByNetlink(const Endpoint& caller, const Endpoint& us) {
  Holder first;
  Holder second;
  if (AskNetlink(caller, us, first) != Answer::kHeld) return std::nullopt;
  if (AskNetlink(caller, us, second) != Answer::kHeld || first != second) return std::nullopt;
  return Believable(first.uid);
}

std::optional<uid_t> PeerUid::FindInProc(const Endpoint& caller, const Endpoint& us) {
  const std::optional<Holder> first = AskProc(caller, us);
  if (!first || AskProc(caller, us) != first) return std::nullopt;
  return Believable(first->uid);
}

std::optional<uid_t> PeerUid::Find(const Endpoint& caller, const Endpoint& us) {
  Holder first;
  switch (AskNetlink(caller, us, first)) {
    case Answer::kHeld: {
      Holder second;
      if (AskNetlink(caller, us, second) != Answer::kHeld || first != second) return std::nullopt;
      return Believable(first.uid);
    }
    case Answer::kNotHeld:
      return std::nullopt;
    case Answer::kNoAnswer:
      break;
  }
  return FindInProc(caller, us);
}

}  // namespace helo::rpc
