// What the kernel counts for TCP beyond single sockets: how often accept queues ran over, how many
// ended connections keep their port in TIME_WAIT, how many sockets no process holds any more. man 5
// proc. Most counts are of one network namespace (a container has its own), some of the whole
// machine; every field says which, and so must whoever shows it. Reading takes one descriptor for a
// moment. Thread: any.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace helo::net {

// nullopt: this kernel does not tell.
struct NetCounters {
  // Of this process's network namespace, since it was made (/proc/self/net/netstat).
  std::optional<uint64_t> listen_overflows;     // the accept queue of some listener was full
  std::optional<uint64_t> listen_drops;         // SYNs and last ACKs dropped at a listener, for any
                                                // cause; overflows included
  std::optional<uint64_t> syn_queue_drops;      // SYNs dropped since the SYN queue was full
  std::optional<uint64_t> syn_cookies_sent;     // the same, answered by a cookie instead
  std::optional<uint64_t> time_wait_overflows;  // TIME_WAIT cut short, net.ipv4.tcp_max_tw_buckets
  // Of the namespace, now (/proc/self/net/sockstat and sockstat6).
  std::optional<uint64_t> time_wait;   // IPv4 and IPv6 together
  std::optional<uint64_t> tcp_in_use;  // IPv4 sockets
  std::optional<uint64_t> tcp6_in_use;
  // Of the whole machine, now: sockstat repeats these in every namespace.
  std::optional<uint64_t> orphans;           // closed by their process, not yet by the network
  std::optional<uint64_t> tcp_memory_pages;  // of net.ipv4.tcp_mem's pages
  // The limits that go with them (/proc/sys/net); of the namespace, but max_orphans.
  std::optional<uint64_t> max_time_wait;    // net.ipv4.tcp_max_tw_buckets
  std::optional<uint64_t> max_orphans;      // net.ipv4.tcp_max_orphans
  std::optional<uint64_t> somaxconn;        // net.core.somaxconn
  std::optional<uint64_t> max_syn_backlog;  // net.ipv4.tcp_max_syn_backlog
  std::optional<uint64_t> syncookies;  // net.ipv4.tcp_syncookies: 0 never, 1 when full, 2 always
};

// Fails only when neither netstat nor sockstat can be read (no /proc, no descriptor left); what is
// missing beyond that is nullopt.
absl::StatusOr<NetCounters> ReadNetCounters();

// The contents of the files, for tests too. What they do not hold stays as it is in `out`.
void ParseNetstat(std::string_view text, NetCounters& out);   // netstat: a line of names, one of
                                                              // numbers, for each protocol
void ParseSockstat(std::string_view text, NetCounters& out);  // sockstat and sockstat6

}  // namespace helo::net
