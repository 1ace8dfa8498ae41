#include "p2p/net/fd_table.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <memory>

#include "p2p/base/text.h"
#include "p2p/net/socket.h"

namespace helo::net {
namespace {

// A number that changes its socket this often while it is read is left out.
constexpr int kTries = 8;
// One call each: more than this takes longer than an operator waits.
constexpr rlim_t kMostTried = rlim_t{1} << 20;

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// How many are open, without opening anything: what stat says of the directory since Linux 6.2; 0
// before.
size_t HowMany() {
  struct stat info {};
  return ::stat("/proc/self/fd", &info) == 0 ? static_cast<size_t>(info.st_size) : 0;
}

std::vector<int> TryNumbers(int at_least) {
  const size_t open = HowMany();
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  // A limit that was lowered takes no number away, so those above it count too.
  const rlim_t end =
      open > 0 ? kMostTried
               : std::min(kMostTried,
                          std::max(limit.rlim_cur, static_cast<rlim_t>(std::max(at_least, 0))));
  std::vector<int> numbers;
  for (int fd = 0; fd < static_cast<int>(end); ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) numbers.push_back(fd);
    if (open > 0 && numbers.size() >= open) break;
  }
  return numbers;
}

int IntOption(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof(value);
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

std::string ProtocolName(int domain, int type, int protocol) {
  const bool v6 = domain == AF_INET6;
  if (domain == AF_INET || v6) {
    const char* suffix = v6 ? "6" : "";
    switch (protocol) {
      case IPPROTO_TCP:
        return absl::StrCat("tcp", suffix);
      case IPPROTO_UDP:
        return absl::StrCat("udp", suffix);
      default:
        return absl::StrCat(type == SOCK_RAW ? "raw" : "inet", suffix, "/", protocol);
    }
  }
  switch (domain) {
    case AF_UNIX:
      return "unix";
    case AF_NETLINK:
      return "netlink";
    case AF_PACKET:
      return "packet";
    case AF_VSOCK:
      return "vsock";
    default:
      return absl::StrCat("family ", domain);
  }
}

void ReadSocket(FdEntry& entry) {
  const int domain = IntOption(entry.fd, SO_DOMAIN);
  const int protocol = IntOption(entry.fd, SO_PROTOCOL);
  entry.protocol = ProtocolName(domain, IntOption(entry.fd, SO_TYPE), protocol);
  if (domain != AF_INET && domain != AF_INET6) return;
  sockaddr_storage name{};
  socklen_t size = sizeof(name);
  if (::getsockname(entry.fd, reinterpret_cast<sockaddr*>(&name), &size) == 0) {
    entry.local = Endpoint::FromSockaddr(name);
  }
  size = sizeof(name);
  if (::getpeername(entry.fd, reinterpret_cast<sockaddr*>(&name), &size) == 0) {
    entry.remote = Endpoint::FromSockaddr(name);
  }
  if (protocol != IPPROTO_TCP) return;
  tcp_info info{};
  size = sizeof(info);
  if (::getsockopt(entry.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0) {
    entry.tcp_state = std::string(TcpStateName(info.tcpi_state));
  }
}

// nullopt: closed. It may be about two things that had the number one after the other.
std::optional<FdEntry> ReadOnce(int fd) {
  FdEntry entry;
  entry.fd = fd;
  struct stat info {};
  if (::fstat(fd, &info) != 0) return std::nullopt;
  entry.inode = info.st_ino;
  if (S_ISSOCK(info.st_mode)) {  // what the kernel writes there, without asking for it
    entry.link = absl::StrCat("socket:[", entry.inode, "]");
  } else {
    std::array<char, PATH_MAX> link{};
    const ssize_t size =
        ::readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), link.data(), link.size());
    if (size >= 0) entry.link.assign(link.data(), static_cast<size_t>(size));
  }
  entry.kind = ClassifyFd(entry.link, info.st_mode);
  if (entry.kind == FdKind::kSocket) ReadSocket(entry);
  return entry;
}

}  // namespace

std::string_view ToString(FdKind kind) {
  switch (kind) {
    case FdKind::kSocket:
      return "socket";
    case FdKind::kEpoll:
      return "epoll";
    case FdKind::kEventfd:
      return "eventfd";
    case FdKind::kTimerfd:
      return "timerfd";
    case FdKind::kSignalfd:
      return "signalfd";
    case FdKind::kInotify:
      return "inotify";
    case FdKind::kPipe:
      return "pipe";
    case FdKind::kFile:
      return "file";
    case FdKind::kDirectory:
      return "directory";
    case FdKind::kDevice:
      return "device";
    case FdKind::kOther:
      return "other";
  }
  return "other";
}

std::string_view TcpStateName(int state) {
  switch (state) {
    case TCP_ESTABLISHED:
      return "ESTABLISHED";
    case TCP_SYN_SENT:
      return "SYN_SENT";
    case TCP_SYN_RECV:
      return "SYN_RECV";
    case TCP_FIN_WAIT1:
      return "FIN_WAIT1";
    case TCP_FIN_WAIT2:
      return "FIN_WAIT2";
    case TCP_TIME_WAIT:
      return "TIME_WAIT";
    case TCP_CLOSE:
      return "CLOSED";
    case TCP_CLOSE_WAIT:
      return "CLOSE_WAIT";
    case TCP_LAST_ACK:
      return "LAST_ACK";
    case TCP_LISTEN:
      return "LISTEN";
    case TCP_CLOSING:
      return "CLOSING";
    default:
      return "?";
  }
}

uint64_t SocketCookie(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  return ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

FdKind ClassifyFd(std::string_view link, unsigned mode) {
  struct Anonymous {
    std::string_view link;
    FdKind kind;
  };
  // The kernel wrote "inotify" without brackets for years, so both are known.
  static constexpr std::array<Anonymous, 9> kAnonymous{{
      {"anon_inode:[eventpoll]", FdKind::kEpoll},
      {"anon_inode:[eventfd]", FdKind::kEventfd},
      {"anon_inode:[timerfd]", FdKind::kTimerfd},
      {"anon_inode:[signalfd]", FdKind::kSignalfd},
      {"anon_inode:inotify", FdKind::kInotify},
      {"anon_inode:[inotify]", FdKind::kInotify},
      {"anon_inode:eventpoll", FdKind::kEpoll},
      {"anon_inode:eventfd", FdKind::kEventfd},
      {"anon_inode:timerfd", FdKind::kTimerfd},
  }};
  for (const Anonymous& known : kAnonymous) {
    if (link == known.link) return known.kind;
  }
  switch (mode & S_IFMT) {
    case S_IFSOCK:
      return FdKind::kSocket;
    case S_IFIFO:
      return FdKind::kPipe;
    case S_IFREG:
      return FdKind::kFile;
    case S_IFDIR:
      return FdKind::kDirectory;
    case S_IFCHR:
    case S_IFBLK:
      return FdKind::kDevice;
    default:
      return FdKind::kOther;
  }
}

absl::StatusOr<std::vector<int>> ListFds(int at_least) {
  std::vector<int> numbers;
  {
    const std::unique_ptr<DIR, DirCloser> dir(::opendir("/proc/self/fd"));
    if (dir == nullptr) {
      if (errno == EMFILE || errno == ENFILE) return TryNumbers(at_least);
      return ErrnoStatus(errno, "opendir /proc/self/fd");
    }
    const int own = ::dirfd(dir.get());
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir.get());
      if (entry == nullptr && errno != 0) return ErrnoStatus(errno, "read /proc/self/fd");
      if (entry == nullptr) break;
      int fd = -1;
      if (absl::SimpleAtoi(entry->d_name, &fd) && fd != own) numbers.push_back(fd);
    }
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

absl::StatusOr<FdNumbers> ListFdsAfter(int after, size_t most) {
  FdNumbers page;
  page.open = HowMany();
  const UniqueFd dir(page.open == 0 ? -1
                                    : ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // The place of number n in the directory is n + 2, behind "." and "..".
  bool by_place = dir && ::lseek(dir.FdDoNotKeep(), off_t{after} + 3, SEEK_SET) == after + 3;
  int last = after;
  alignas(dirent64) std::array<char, 16384> buffer{};
  while (by_place && page.numbers.size() <= most) {
    const ssize_t size = ::getdents64(dir.FdDoNotKeep(), buffer.data(), buffer.size());
    if (size < 0) return ErrnoStatus(errno, "read /proc/self/fd");
    if (size == 0) break;
    for (ssize_t at = 0; at < size && page.numbers.size() <= most;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      int fd = -1;
      if (!absl::SimpleAtoi(entry->d_name, &fd) || fd == dir.FdDoNotKeep()) continue;
      by_place = by_place && fd > last;
      last = fd;
      page.numbers.push_back(fd);
    }
  }
  if (!by_place) {  // an older kernel, no descriptor left, or another order than Linux has
    absl::StatusOr<std::vector<int>> all = ListFds(after + 1);
    if (!all.ok()) return all.status();
    page.open = all->size();
    page.numbers.assign(std::upper_bound(all->begin(), all->end(), after), all->end());
  }
  page.more = page.numbers.size() > most;
  if (page.more) page.numbers.resize(most);
  return page;
}

std::optional<FdEntry> ReadFd(int fd) {
  for (int i = 0; i < kTries; ++i) {
    const uint64_t before = SocketCookie(fd);
    std::optional<FdEntry> entry = ReadOnce(fd);
    const uint64_t after = SocketCookie(fd);
    if (before != after) continue;
    // Without a cookie it is no socket, and must not have been one in between.
    if (entry && after == 0 && entry->kind == FdKind::kSocket) continue;
    if (entry) entry->cookie = after;
    return entry;
  }
  return std::nullopt;
}

}  // namespace helo::net
