// Listening sockets: socket(), bind() and listen() as three visible steps, each with its own
// sentence when it fails, and an accept loop that neither dies nor spins. man 7 ip, man 7 ipv6, man
// 2 listen, man 2 accept4. Thread: the loop's, except Open (any).
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/base/log.h"
#include "p2p/net/event_loop.h"
#include "p2p/net/socket.h"

namespace helo::net {

// A bound, listening socket. SO_REUSEADDR is set (a restart in TIME_WAIT works), SO_REUSEPORT is
// not (it hides a second node on the same port).
class Listener {
 public:
  // Debug-logs each step with its fd and result. Errors are sentences with the remedy:
  // AlreadyExists (port in use, by whom), PermissionDenied (privileged port), InvalidArgument
  // (address not on this host), FailedPrecondition (no IPv6), ResourceExhausted (no descriptor).
  static absl::StatusOr<Listener> Open(const ListenAddress& address, int backlog, FdTicket ticket,
                                       LogSink& log);

  const ListenAddress& asked() const { return asked_; }
  const Endpoint& local() const { return local_; }       // with the port that the kernel chose
  bool dual_stack() const { return dual_stack_; }        // accepts IPv4 and IPv6
  bool ipv4_fallback() const { return ipv4_fallback_; }  // tcp:// on a host without IPv6
  int backlog_asked() const { return backlog_asked_; }
  int backlog_effective() const { return backlog_effective_; }  // after net.core.somaxconn
  Socket& socket() { return socket_; }
  const Socket& socket() const { return socket_; }

 private:
  ListenAddress asked_;
  Endpoint local_;
  bool dual_stack_ = false;
  bool ipv4_fallback_ = false;
  int backlog_asked_ = 0;
  int backlog_effective_ = 0;
  Socket socket_;
};

class AcceptorDelegate {
 public:
  virtual ~AcceptorDelegate() = default;
  // A connection with its ticket. `remote` is normalised.
  virtual void OnAccepted(Socket socket, const Endpoint& remote, const Endpoint& local) = 0;
  // The pool is full and somebody waits: make room by closing a connection of less worth. False:
  // nothing to give.
  virtual bool MakeRoom() = 0;
  // The kernel has no descriptor left although the pool has (the limit was lowered, or others took
  // them). True: one that was held in reserve for this moment was given up, so try again at once.
  virtual bool GiveUpReserve() { return false; }
  // So many descriptors must be free before accepting goes on once the kernel had none left: what
  // others of this process (the operator's door) live on. Not looked at as long as all is well.
  virtual int LeaveFree() const { return 0; }
};

struct AcceptorStats {
  uint64_t accepted = 0;
  uint64_t aborted =
      0;  // ECONNABORTED, EPROTO and kin, or the peer gone before its address could be read
  uint64_t starved = 0;  // times accepting was paused for want of a ticket or a descriptor
  int last_errno = 0;    // of the last starvation; 0 = no ticket
  bool paused = false;   // now
};

// Accepts at most 32 a turn. Without a ticket it stops polling (the kernel's queue fills) and
// resumes the moment a ticket comes back; on EMFILE, ENFILE, ENOBUFS or ENOMEM it pauses for 10 ms,
// doubling to 1 s, and resumes at once when a ticket comes back. A queue that gives nothing but
// lost connections is left alone for as long. One log line a cause per 10 s.
class Acceptor : private Watcher {
 public:
  // `pool` gives the tickets and must outlive the acceptor; several acceptors may share it.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Start(EventLoop& loop, Listener listener,
                                                         FdPool& pool, AcceptorDelegate& delegate,
                                                         LogSink& log);
  ~Acceptor() override;
  const Listener& listener() const { return listener_; }
  AcceptorStats stats() const;  // any thread
  // What was accepted could not be served for want of the kernel's memory: no more for 10 ms,
  // doubling to 1 s as long as that is so. Those who are closed come again at once, and each costs.
  void Rest(int error);

 private:
  Acceptor(EventLoop& loop, Listener listener, FdPool& pool, AcceptorDelegate& delegate,
           LogSink& log);
  bool OnReady(uint32_t events) override;
  struct Impl;
  Listener listener_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace helo::net
