// Descriptors, sockets and the network's counters as messages.
#include "p2p/net/fd_table.h"
#include "p2p/net/net_counters.h"
#include "p2p/net/socket_stats.h"
#include "rpc/service/convert.h"

namespace helo::rpc {

void ToProto(const net::FdEntry& entry, proto::Fd& out) {
  out.set_fd(entry.fd);
  out.set_kind(std::string(ToString(entry.kind)));
  out.set_protocol(entry.protocol);
  if (entry.local) out.set_local(entry.local->ToString());
  if (entry.remote) out.set_remote(entry.remote->ToString());
  out.set_tcp_state(entry.tcp_state);
  out.set_inode(entry.inode);
  out.set_link(entry.link);
}

void ToProto(const DescriptorSnapshot& owner, proto::Fd& out) {
  out.set_ours(true);
  out.set_what(owner.own.what);
  if (owner.own.pool) out.set_pool(std::string(ToString(*owner.own.pool)));
  if (owner.peer) out.set_peer(owner.peer->ToHex());
  if (owner.direction) out.set_direction(ToProto(*owner.direction));
  out.set_connection(owner.connection);
}

void ToProto(const net::FdEntry& entry, const DescriptorSnapshot& owner,
             const net::ConnectionStats& stats, proto::ConnectionSocket& out) {
  out.set_fd(entry.fd);
  if (entry.local) out.set_local(entry.local->ToString());
  if (entry.remote) out.set_remote(entry.remote->ToString());
  out.set_tcp_state(stats.tcp_state);
  out.set_what(owner.own.what);
  if (owner.own.pool) out.set_pool(std::string(ToString(*owner.own.pool)));
  if (owner.peer) out.set_peer(owner.peer->ToHex());
  if (owner.direction) out.set_direction(ToProto(*owner.direction));
  out.set_connection(owner.connection);
  out.set_rtt_us(stats.rtt_us);
  out.set_rtt_var_us(stats.rtt_var_us);
  if (stats.min_rtt_us) out.set_min_rtt_us(*stats.min_rtt_us);
  out.set_retransmits(stats.retransmits);
  out.set_timeouts(stats.timeouts);
  out.set_unacked(stats.unacked);
  out.set_lost(stats.lost);
  out.set_cwnd(stats.cwnd);
  out.set_mss(stats.mss);
  out.set_receive_queue(stats.receive_queue);
  out.set_send_queue(stats.send_queue);
  out.set_unsent(stats.unsent);
  out.set_last_sent_ms(stats.last_sent_ms);
  out.set_last_received_ms(stats.last_received_ms);
  if (stats.bytes_acked) out.set_bytes_acked(*stats.bytes_acked);
  if (stats.bytes_received) out.set_bytes_received(*stats.bytes_received);
  if (stats.drops) out.set_drops(*stats.drops);
}

void ToProto(const net::NetCounters& counters, proto::NetworkCounters& out) {
  if (counters.listen_overflows) out.set_listen_overflows(*counters.listen_overflows);
  if (counters.listen_drops) out.set_listen_drops(*counters.listen_drops);
  if (counters.syn_queue_drops) out.set_syn_queue_drops(*counters.syn_queue_drops);
  if (counters.syn_cookies_sent) out.set_syn_cookies_sent(*counters.syn_cookies_sent);
  if (counters.time_wait_overflows) out.set_time_wait_overflows(*counters.time_wait_overflows);
  if (counters.time_wait) out.set_time_wait(*counters.time_wait);
  if (counters.max_time_wait) out.set_max_time_wait(*counters.max_time_wait);
  if (counters.tcp_in_use) out.set_tcp_in_use(*counters.tcp_in_use);
  if (counters.tcp6_in_use) out.set_tcp6_in_use(*counters.tcp6_in_use);
  if (counters.somaxconn) out.set_somaxconn(*counters.somaxconn);
  if (counters.max_syn_backlog) out.set_max_syn_backlog(*counters.max_syn_backlog);
  if (counters.syncookies) out.set_syncookies(*counters.syncookies);
  if (counters.orphans) out.set_orphans(*counters.orphans);
  if (counters.max_orphans) out.set_max_orphans(*counters.max_orphans);
  if (counters.tcp_memory_pages) out.set_tcp_memory_pages(*counters.tcp_memory_pages);
}

}  // namespace helo::rpc
