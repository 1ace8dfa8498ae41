// File descriptors and sockets with owners. A Socket owns its descriptor and the ticket of the fd
// budget that allows it, so that closing gives both back (DESIGN "File descriptors"). Every socket
// is born SOCK_NONBLOCK|SOCK_CLOEXEC. Thread: the owner's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "p2p/base/bytes.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/base/reasons.h"

namespace helo::net {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Close(); }

  explicit operator bool() const { return fd_ >= 0; }
  // Ugly on purpose: a number outside its owner is how a stale fd reaches a stranger's socket. Only
  // for the system call at hand, or to show it to a person.
  int FdDoNotKeep() const { return fd_; }
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Close();

 private:
  int fd_ = -1;
};

// What one non-blocking read or write did.
struct IoResult {
  enum class Kind : uint8_t { kOk, kWouldBlock, kEof, kError };
  Kind kind = Kind::kOk;
  size_t bytes = 0;
  int error = 0;  // errno, with kError
};

class Socket {
 public:
  Socket() = default;
  Socket(UniqueFd fd, FdTicket ticket) : ticket_(std::move(ticket)), fd_(std::move(fd)) {}
  Socket(Socket&& other) noexcept = default;
  Socket& operator=(Socket&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::move(other.fd_);
      ticket_ = std::move(other.ticket_);
    }
    return *this;
  }

  explicit operator bool() const { return static_cast<bool>(fd_); }
  int FdDoNotKeep() const { return fd_.FdDoNotKeep(); }
  FdTicket& ticket() { return ticket_; }
  const FdTicket& ticket() const { return ticket_; }
  // For a library that takes the descriptor over; the ticket stays here until it is moved out too.
  [[nodiscard]] UniqueFd TakeFd() { return std::move(fd_); }
  void Close() {
    fd_.Close();
    ticket_.Release();
  }

  IoResult Recv(std::span<uint8_t> out);  // EINTR is retried inside
  IoResult Send(ByteView bytes);          // MSG_NOSIGNAL; may be partial
  int ShutdownWrite();                    // 0 or errno
  void SetNoDelay();
  void KeepIcmp(bool v4);                 // before connect, for TakeIcmp()
  void ResetOnClose();                    // SO_LINGER 0: close sends RST, no TIME_WAIT
  int PendingError() const;               // SO_ERROR, clears it
  std::optional<Endpoint> Local() const;  // nullopt if the peer is gone already
  std::optional<Endpoint> Remote() const;

 private:
  FdTicket ticket_;
  UniqueFd fd_;  // after the ticket, so that it is closed before the ticket goes back
};

// Begins a non-blocking connect. On success the socket becomes writable when the connection stands
// or failed; PendingError() then tells. `error` is 0 or the errno of socket() or connect().
struct ConnectStart {
  Socket socket;
  int error = 0;
  bool failed_at_socket = false;  // no descriptor (EMFILE and kin): ours, not the remote's
};
// `keep_icmp`: what routers and firewalls say is kept for TakeIcmp(), for an attempt that is made
// to be explained. Not for a connection that is to last: such news would then end it.
ConnectStart StartConnect(const Endpoint& remote, FdTicket ticket, bool keep_icmp = false);

// An ICMP error that came for a connection attempt, which errno tells a part of: a firewall's
// "administratively prohibited" and a missing route are one EHOSTUNREACH.
struct IcmpError {
  IpAddress from;  // the router, firewall or host that sent it
  bool v6 = false;
  uint8_t type = 0, code = 0;
  int error = 0;           // the errno that the kernel makes of it
  bool forbidden() const;  // by a rule of somebody's: what firewalls answer when told to reject
};
// "ICMP type 3 code 13, communication administratively prohibited"
std::string Describe(const IcmpError& icmp);
// The first that waits; nullopt if none does. man 7 ip, IP_RECVERR.
std::optional<IcmpError> TakeIcmp(Socket& socket);

// errno of connect, recv or send as a reason of WIRE 9: REFUSED, CONNECT_TIMEOUT, UNREACHABLE,
// FILTERED, RESET, NO_LOCAL_ADDRESS, NO_FD; RESET for what is left once connected, UNREACHABLE
// before.
Reason ReasonFromErrno(int error, bool connected);

}  // namespace helo::net
