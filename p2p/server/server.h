// The p2p server: ties sockets, TLS, the wire protocol and the peer table together. One control
// thread owns the peer table, bans, dialing and history; network loops own the connections; readers
// get immutable snapshots. Thread: every public function may be called from any thread; callbacks
// come on the control thread unless said otherwise, must be short and must not call back into
// Stop().
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/log.h"
#include "p2p/base/rng.h"
#include "p2p/net/listener.h"
#include "p2p/net/resolver.h"
#include "p2p/peers/attempt_history.h"
#include "p2p/peers/dial_scheduler.h"
#include "p2p/peers/fd_budget.h"
#include "p2p/peers/source_limiter.h"
#include "p2p/server/event_log.h"
#include "p2p/server/handler.h"
#include "p2p/server/snapshot.h"
#include "p2p/tls/node_key.h"
#include "p2p/wire/session.h"

namespace helo {

struct ServerOptions {
  std::vector<ListenAddress> listen;  // none: dials only
  int backlog = 4096;
  int loops = 1;  // network threads
  std::vector<PeerAddress> static_peers;
  std::vector<PeerAddress> saved_peers;  // added by the operator with "save" in an earlier run
  std::vector<NodeId> trusted;           // admitted above the limits, never evicted
  int max_inbound = 64;
  int max_outbound = 16;
  peers::SourceLimits sources;
  peers::DialTimes dial_times;
  Duration connect_timeout = std::chrono::seconds(5);
  Duration tls_timeout = std::chrono::seconds(5);
  Duration resolve_timeout = std::chrono::seconds(5);
  Duration linger =
      std::chrono::seconds(1);  // WIRE 8: how long a closing socket is read and discarded
  wire::Profile profile;        // self, offers' owner set by the server
};

// What the server works with; all outlive it.
struct ServerDeps {
  const Clock* clock = nullptr;
  Rng* rng = nullptr;
  LogSink* log = nullptr;
  peers::FdBudget* fds = nullptr;
  // Called on the control thread every 10 s, upon which the pools follow; empty: they stay as they
  // are.
  std::function<absl::StatusOr<peers::FdLimit>()> read_fds;
  std::vector<Handler*> handlers;
  // Called on the control thread whenever the set of saved peers changes; empty: saving is refused.
  std::function<absl::Status(const std::vector<PeerAddress>&)> save_peers;
  // nullptr: c-ares on the control loop.
  std::function<absl::StatusOr<std::unique_ptr<net::Resolver>>(net::EventLoop&)> make_resolver;
};

struct AddResult {
  peers::TargetId target = 0;
  bool existed = false;
  // With wait: how the first try ended.
  bool up = false;
  std::optional<NodeId> id;
  CloseInfo close;
};

struct DropResult {
  int connections_closed = 0;
  int targets_paused = 0;  // static or added targets that will not be dialed meanwhile
};

class Server {
 public:
  // Binds every listener (a failure names the address and the remedy and leaves nothing behind),
  // makes the threads, does not yet accept or dial.
  static absl::StatusOr<std::unique_ptr<Server>> Create(ServerOptions options,
                                                        const tls::NodeKey& key, ServerDeps deps);
  ~Server();  // Stop() if not done

  void Start();  // accepts and dials
  // DISCONNECT(SHUTTING_DOWN) to every peer, closes everything, joins the threads. Returns within
  // `deadline` plus a scheduling delay, whatever peers, names or handlers do. Idempotent.
  void Stop(Duration deadline = std::chrono::seconds(3));

  const NodeId& id() const;
  std::vector<Endpoint> listening() const;  // with the ports that the kernel chose
  EventLog& events();

  // Immutable, at most 50 ms old; rebuilt only when asked for. The callback comes on the control
  // thread.
  void GetSnapshot(std::function<void(std::shared_ptr<const ServerSnapshot>)> done);
  // The same, blocking; not on the control or a loop thread. nullptr once stopped.
  std::shared_ptr<const ServerSnapshot> Snapshot();

  // The descriptors that the server holds, by number, as each loop says of its own a moment apart.
  // The callback comes on the control thread; with nothing once stopped.
  void FindDescriptors(const DescriptorQuery& query,
                       std::function<void(std::vector<DescriptorSnapshot>)> done);

  // `wait`: `done` is called when the first try is decided; otherwise when the target is known.
  void AddPeer(const PeerAddress& address, bool saved, bool wait,
               std::function<void(absl::StatusOr<AddResult>)> done);
  // Undoes AddPeer: no more dialing; a connection that stands stays unless `disconnect`. NotFound
  // if there is no such target; FailedPrecondition for one from the configuration.
  void RemovePeer(const PeerAddress& address, bool disconnect,
                  std::function<void(absl::Status)> done);
  // Closes the peer with DROPPED and keeps it away, in both directions, for `away` (0: it may come
  // back at once).
  void DropPeer(const NodeId& id, const std::string& text, Duration away,
                std::function<void(absl::StatusOr<DropResult>)> done);
  // What was held against this peer was our own mistake (a plugin that penalised everybody): if we
  // dial it, it is dialed again now. An operator's drop stays.
  void Forgive(const NodeId& id);
  void FindAttempts(const peers::AttemptHistory::Query& query,
                    std::function<void(std::vector<peers::Attempt>)> done);

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace helo
