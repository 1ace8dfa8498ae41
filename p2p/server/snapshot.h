// What readers see: plain values, immutable once published.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <climits>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/base/node_id.h"
#include "p2p/base/reasons.h"
#include "p2p/net/listener.h"
#include "p2p/net/own_fd.h"
#include "p2p/peers/ban_list.h"
#include "p2p/peers/dial_scheduler.h"
#include "p2p/peers/fd_budget.h"
#include "p2p/wire/session.h"

namespace helo {

struct PeerSnapshot {
  uint64_t connection = 0;  // ascending, never reused
  NodeId id;
  Direction direction = Direction::kInbound;
  Endpoint remote;
  Endpoint local;
  int fd = -1;             // the number, for people
  std::string user_agent;  // the remote's bytes
  uint32_t minor = 0;
  bool trusted = false;
  bool is_static = false;
  WallTime up_since{};
  Duration age{};
  wire::Session::Capabilities capabilities;
  wire::SessionStats stats;
  std::optional<Duration> since_message;  // last useful message
  bool reading_paused = false;
  std::string loop;
};

struct PoolSnapshot {
  PoolKind kind = PoolKind::kSpare;
  int used = 0, limit = 0;
};

struct ListenerSnapshot {
  std::string asked;
  Endpoint local;
  int fd = -1;
  bool dual_stack = false;
  int backlog_asked = 0, backlog_effective = 0;
  net::AcceptorStats stats;
  uint64_t cookie = 0;  // with `fd`, names the socket (net/fd_table.h)
};
ListenerSnapshot SnapshotOf(const net::Acceptor& acceptor);  // thread: its loop's

// A descriptor and whose it is, as its owner says.
struct DescriptorSnapshot {
  net::OwnFd own;
  uint64_t connection = 0;     // of a connection, else 0
  std::optional<NodeId> peer;  // as TLS has proved it
  std::optional<Direction> direction;
};

// Asks for those with a number above `after` and up to `last`, at most `most`, the lowest first.
struct DescriptorQuery {
  int after = -1;
  int last = INT_MAX;
  size_t most = 500;
};

struct ServerSnapshot {
  MonoTime taken{};
  WallTime taken_wall{};
  std::vector<PeerSnapshot> peers;  // up ones, by id, then connection
  std::vector<peers::Target> targets;
  std::vector<std::pair<NodeId, peers::Ban>> away;  // dropped ids
  std::vector<PoolSnapshot> pools;
  peers::FdStatus fds;  // at most a second old, the sentences ten
  std::vector<ListenerSnapshot> listeners;
  int inbound = 0, outbound = 0;  // slots in use
  int max_inbound = 0, max_outbound = 0;
  int handshakes = 0;  // waiting or running
  uint64_t accepted = 0, gate_refused = 0;
  std::array<uint64_t, 2> came_up{};                       // by Direction, as the next two
  std::array<uint64_t, 2> received_bytes{}, sent_bytes{};  // of TLS, on every connection ever
  // How many attempts ended with each reason since start, inbound and outbound.
  absl::flat_hash_map<Reason, uint64_t> closed_in, closed_out;
};

}  // namespace helo
