// The door of the admin API: binds 127.0.0.1 (or ::1) under the admin pool, accepts by itself,
// finds out who calls, and hands each connection to gRPC: to the open acceptor for the node's own
// uid and root, to the guarded one for everybody else. gRPC closes the descriptors; the door gets
// their tickets back by looking (the number is no longer that socket's), and makes room when the
// pool is full. Everything that leans on how gRPC 1.51 behaves stands in door.cc;
// tests/unit/rpc/service_door_test.cc fails loudly where a newer one behaves otherwise.
// Thread: the loop's, except what says "any thread".
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/base/log.h"
#include "p2p/base/mutex.h"
#include "p2p/net/event_loop.h"
#include "p2p/net/listener.h"
#include "p2p/server/snapshot.h"
#include "rpc/service/peer_uid.h"

namespace grpc {
class AuthMetadataProcessor;
class ServerBuilder;
namespace experimental {
class ExternalConnectionAcceptor;
}
}  // namespace grpc

namespace helo::rpc {

// Who made a call, as the door knows it.
struct Caller {
  uint64_t connection = 0;  // 0: not known to the door
  std::optional<uid_t> uid;
  bool by_token = false;  // came through the guarded acceptor
  Endpoint remote;
  std::string UidText() const;  // "1000" or "unknown"
};

class Door final : public net::AcceptorDelegate {
 public:
  // Binds. Any thread. InvalidArgument, naming ssh -L, for an address that is not a loopback one;
  // else as net::Listener::Open.
  static absl::StatusOr<std::unique_ptr<Door>> Open(const Endpoint& address, int backlog,
                                                    bool token_for_all, FdPool& admin,
                                                    FdPool& files, const Clock& clock,
                                                    LogSink& log);
  ~Door() override;  // after Close

  // Before the server is built. Any thread. Callers of the guarded acceptor are judged by `guard`.
  void AddAcceptors(grpc::ServerBuilder& builder,
                    const std::shared_ptr<grpc::AuthMetadataProcessor>& guard);
  absl::Status Start(net::EventLoop& loop);  // accepts from now on
  void StopAccepting();  // and closes the listening socket; the connections go on
  void WhenEmpty(
      std::function<void()> empty);  // calls it, from the loop, once every ticket is back
  void Close();                      // leaves the loop

  // Listener, connections, and what asks whose they are. Thread: the loop's.
  std::vector<net::OwnFd> OwnFds() const;
  std::optional<ListenerSnapshot> listener() const;

  const Endpoint& address() const { return address_; }  // any thread

  // Any thread. A connection with a call in flight is never closed to make room. `peer` is
  // ServerContext::peer().
  Caller CallBegan(std::string_view peer);
  void CallEnded(uint64_t connection);

  struct Stats {
    size_t open = 0, guarded = 0;  // now
    uint64_t accepted = 0;
    uint64_t closed_for_room = 0;
  };
  Stats stats() const;  // any thread

 private:
  struct Connection {
    int fd = -1;  // gRPC's by now: only a number to look at
    uint64_t cookie = 0;
    FdTicket ticket;
    Endpoint remote;
    std::optional<uid_t> uid;
    bool guarded = false;
    MonoTime accepted{};
    int calls = 0;
    bool closing = false;
  };
  Door(bool token_for_all, FdPool& admin, FdPool& files, const Clock& clock, LogSink& log);
  void OnAccepted(net::Socket socket, const Endpoint& remote, const Endpoint& local) override;
  bool MakeRoom() override;
  bool GiveUpReserve() override;
  void RefillReserve();
  struct Choice {
    std::optional<uint64_t> victim;
    bool silent = false;    // it never said a word
    bool some_new = false;  // others were left alone because they had no time to begin a call yet
  };
  Choice ChooseVictim() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool ShutDown(const Connection& connection);
  bool MayEnterFreely(std::optional<uid_t> uid) const;
  bool Sweep();  // true: tickets came back
  void ArmSweep();

  const bool token_for_all_;
  const uid_t own_uid_;
  FdPool& admin_;
  const Clock& clock_;
  LogSink& log_;
  LogLimiter limiter_;
  PeerUid uids_;
  // Descriptors of /dev/null, given up where the kernel has none left: so the operator gets in, and
  // ShutDown has one for its moment, even when the limit was lowered below what the pools hold.
  std::vector<FdTicket> reserve_tickets_;
  std::vector<net::UniqueFd> reserve_;
  Endpoint address_;
  std::optional<net::Listener> listener_;  // until Start
  std::unique_ptr<net::Acceptor> acceptor_;
  std::unique_ptr<net::Timer> sweep_;
  Duration sweep_wait_{};
  std::function<void()> when_empty_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> open_, guarded_;

  mutable Mutex mutex_;
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Connection> connections_ ABSL_GUARDED_BY(mutex_);  // by age
  absl::flat_hash_map<Endpoint, uint64_t> by_remote_ ABSL_GUARDED_BY(mutex_);
  Stats stats_ ABSL_GUARDED_BY(mutex_);
};

// "ipv4:127.0.0.1:4000", "ipv6:[::1]:4000", the latter with %5B and %5D too. For tests.
std::optional<Endpoint> ParseGrpcPeer(std::string_view peer);

}  // namespace helo::rpc
