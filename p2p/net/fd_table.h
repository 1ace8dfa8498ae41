// The descriptors of this process as the kernel has them (man 5 proc, /proc/self/fd). Every read is
// of a moving thing: other threads open and close meanwhile, and a number that was closed goes to
// the next socket. So a descriptor's facts count only if its cookie (the kernel's name of a socket,
// never used twice) was the same before and after, and whoever says whose it is names the cookie
// too. Nothing here duplicates a descriptor, which would keep another's socket open. Thread: any.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/endpoint.h"

namespace helo::net {

enum class FdKind : uint8_t {
  kSocket,
  kEpoll,
  kEventfd,
  kTimerfd,
  kSignalfd,
  kInotify,
  kPipe,
  kFile,
  kDirectory,
  kDevice,
  kOther
};
std::string_view ToString(FdKind kind);  // "socket", "epoll", ...

struct FdEntry {
  int fd = -1;
  FdKind kind = FdKind::kOther;
  std::string link;    // what /proc/self/fd/N points to; bytes, since a path may hold any
  uint64_t inode = 0;  // of what it refers to; anonymous ones (epoll, eventfd) share one
  // Sockets only.
  uint64_t cookie = 0;
  std::string protocol;                   // "tcp", "tcp6", "udp", "udp6", "unix", "netlink", ...
  std::optional<Endpoint> local, remote;  // TCP and UDP; normalised
  std::string tcp_state;                  // "LISTEN", "ESTABLISHED", ...; TCP only
};

// Every open descriptor's number, ascending, without the one that the reading itself takes for a
// moment. Where none is left for that, the numbers are tried one by one; before Linux 6.2 up to the
// soft limit or `at_least`, whichever is more.
absl::StatusOr<std::vector<int>> ListFds(int at_least = 0);
// Of these, the first `most` above `after`, at the price of so many: for lists in pages.
struct FdNumbers {
  std::vector<int> numbers;
  bool more = false;
  size_t open = 0;  // in all
};
absl::StatusOr<FdNumbers> ListFdsAfter(int after, size_t most);
// nullopt: closed, or closed and given away again and again while it was looked at.
std::optional<FdEntry> ReadFd(int fd);

// SO_COOKIE; 0: no socket.
uint64_t SocketCookie(int fd);
std::string_view TcpStateName(int state);  // as ss(8) and the kernel call them; "?" if unknown
// From the text of a link: "socket:[123]", "anon_inode:[eventpoll]", "/var/log/x". `mode` is
// st_mode. For tests too.
FdKind ClassifyFd(std::string_view link, unsigned mode);

}  // namespace helo::net
