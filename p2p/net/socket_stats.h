// What the kernel knows of one TCP socket: man 7 tcp (TCP_INFO, SIOCINQ, SIOCOUTQ), man 7 socket
// (SO_MEMINFO), man 7 sock_diag. A socket is named by its number and its cookie (fd_table.h): where
// the number belongs to another by now, there is no answer rather than the other's. Thread: any.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "p2p/base/endpoint.h"

namespace helo::net {

struct ConnectionStats {
  std::string tcp_state;
  uint32_t rtt_us = 0, rtt_var_us = 0;              // smoothed, and its mean deviation
  std::optional<uint32_t> min_rtt_us;               // of the last five minutes
  uint32_t retransmits = 0;                         // segments sent again since it began
  uint32_t timeouts = 0;                            // in a row, of what is sent now
  uint32_t unacked = 0, lost = 0;                   // segments
  uint32_t cwnd = 0, mss = 0;                       // segments; bytes
  uint32_t receive_queue = 0;                       // bytes that arrived and were not read
  uint32_t send_queue = 0;                          // bytes written and not acknowledged
  uint32_t unsent = 0;                              // of these, not even sent
  uint32_t last_sent_ms = 0, last_received_ms = 0;  // data; ago
  std::optional<uint64_t> bytes_acked, bytes_received;
  std::optional<uint32_t> drops;  // packets for it that found no room
};

struct ListenQueue {
  uint32_t length = 0;            // connections that stand and wait for accept()
  uint32_t limit = 0;             // as listen() and net.core.somaxconn made it; one more fits
  std::optional<uint32_t> drops;  // SYNs and last ACKs dropped at this socket, for any cause
};

// nullopt: `fd` is not, or not any more, the socket `cookie`, or it is none of that sort.
std::optional<ConnectionStats> ReadConnectionStats(int fd, uint64_t cookie);
std::optional<ListenQueue> ReadListenQueue(int fd, uint64_t cookie);

// Connections of this network namespace that are half open (SYN_RECV) on local port `port`: what
// stands in the SYN queues of its listeners, by local address. Needs one descriptor for a moment.
absl::StatusOr<absl::flat_hash_map<Endpoint, uint32_t>> CountHalfOpen(uint16_t port);

}  // namespace helo::net
