#include "p2p/net/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>

namespace helo::net {

void UniqueFd::Close() {
  const int fd = std::exchange(fd_, -1);
  if (fd < 0) return;
  const int saved = errno;
  // Not repeated after EINTR: Linux has released the number by then (man 2 close).
  [[maybe_unused]] const int result = ::close(fd);
  assert(result == 0 || errno != EBADF);
  errno = saved;
}

namespace {

IoResult FromReturn(ssize_t result) {
  if (result >= 0) return {IoResult::Kind::kOk, static_cast<size_t>(result), 0};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {IoResult::Kind::kWouldBlock, 0, 0};
  return {IoResult::Kind::kError, 0, errno};
}

}  // namespace

IoResult Socket::Recv(std::span<uint8_t> out) {
  if (out.empty()) return {};
  ssize_t result = 0;
  do {
    result = ::recv(fd_.FdDoNotKeep(), out.data(), out.size(), 0);
  } while (result < 0 && errno == EINTR);
  if (result == 0) return {IoResult::Kind::kEof, 0, 0};
  return FromReturn(result);
}

IoResult Socket::Send(ByteView bytes) {
  if (bytes.empty()) return {};
  ssize_t result = 0;
  do {
    result = ::send(fd_.FdDoNotKeep(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  } while (result < 0 && errno == EINTR);
  return FromReturn(result);
}

int Socket::ShutdownWrite() { return ::shutdown(fd_.FdDoNotKeep(), SHUT_WR) == 0 ? 0 : errno; }

// The two options below only tune a connection: on one that the remote has reset already they fail,
// and the next read tells why.
void Socket::SetNoDelay() {
  const int on = 1;
  (void)::setsockopt(fd_.FdDoNotKeep(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void Socket::ResetOnClose() {
  const linger now{1, 0};
  (void)::setsockopt(fd_.FdDoNotKeep(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

int Socket::PendingError() const {
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(fd_.FdDoNotKeep(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

std::optional<Endpoint> Socket::Local() const {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getsockname(fd_.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return std::nullopt;
  }
  return Endpoint::FromSockaddr(address);
}

std::optional<Endpoint> Socket::Remote() const {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getpeername(fd_.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return std::nullopt;
  }
  return Endpoint::FromSockaddr(address);
}

ConnectStart StartConnect(const Endpoint& remote, FdTicket ticket, bool keep_icmp) {
  ConnectStart start;
  const int family = remote.ip.is_v4() ? AF_INET : AF_INET6;
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) {
    start.error = errno;
    start.failed_at_socket = true;
    return start;
  }
  Socket socket(std::move(fd), std::move(ticket));
  socket.SetNoDelay();
  if (keep_icmp) socket.KeepIcmp(remote.ip.is_v4());
  sockaddr_storage address{};
  const socklen_t size = remote.ToSockaddr(address);
  // Interrupted by a signal, the attempt goes on by itself (man 2 connect).
  if (::connect(socket.FdDoNotKeep(), reinterpret_cast<const sockaddr*>(&address), size) != 0 &&
      errno != EINPROGRESS && errno != EINTR) {
    start.error = errno;
    return start;
  }
  start.socket = std::move(socket);
  return start;
}

Reason ReasonFromErrno(int error, bool connected) {
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return Reason::kNoFd;
    case EACCES:
    case EPERM:
      return Reason::kFiltered;
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTUNREACH:
    case EHOSTDOWN:
      return Reason::kUnreachable;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
      return Reason::kReset;
    default:
      break;
  }
  if (connected) return Reason::kReset;
  switch (error) {
    case ECONNREFUSED:
      return Reason::kRefused;
    case ETIMEDOUT:
      return Reason::kConnectTimeout;
    case EADDRNOTAVAIL:  // no free port, or none of our addresses reaches there
    case EADDRINUSE:
    case EAGAIN:
    case EAFNOSUPPORT:  // a kernel without IPv6
      return Reason::kNoLocalAddress;
    default:
      return Reason::kUnreachable;
  }
}

}  // namespace helo::net
