#include "node/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>

#include <array>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "node/config.h"

namespace helo::node {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<std::pair<std::string, std::string>>;

constexpr std::array<Direction, 2> kDirections = {Direction::kInbound, Direction::kOutbound};

size_t Index(Direction direction) { return static_cast<size_t>(direction); }

class Families {
 public:
  class Family {
   public:
    explicit Family(MetricFamily& family) : family_(family) {}
    Family& Add(double value, const Labels& labels = {}) {
      ClientMetric& metric = family_.metric.emplace_back();
      for (const auto& [name, text] : labels) metric.label.push_back({name, text});
      (family_.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
      return *this;
    }

   private:
    MetricFamily& family_;
  };
  Family Counter(std::string name, std::string help) {
    return Make(MetricType::Counter, std::move(name), std::move(help));
  }
  Family Gauge(std::string name, std::string help) {
    return Make(MetricType::Gauge, std::move(name), std::move(help));
  }
  std::string Text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, all_);
    return std::move(out).str();
  }

 private:
  Family Make(MetricType type, std::string name, std::string help) {
    MetricFamily& family = all_.emplace_back();
    family.name = std::move(name);
    family.help = std::move(help);
    family.type = type;
    return Family(family);  // used up before the next one is made
  }
  std::vector<MetricFamily> all_;
};

Labels Of(Direction direction) { return {{"direction", std::string(ToString(direction))}}; }

void AddPeers(const ServerSnapshot& s, Families& families) {
  std::array<int, 2> up{}, trusted{};
  size_t queued = 0;
  for (const PeerSnapshot& peer : s.peers) {
    ++up[Index(peer.direction)];
    if (peer.trusted) ++trusted[Index(peer.direction)];
    queued += peer.stats.queued_bytes;
  }
  const auto both = [](Families::Family family, const auto& of) {
    for (const Direction direction : kDirections)
      family.Add(static_cast<double>(of(direction)), Of(direction));
  };
  const auto in_or_out = [](auto in, auto out) {
    return [in, out](Direction d) { return d == Direction::kInbound ? in : out; };
  };
  both(families.Gauge("helo_peers", "Peers that are up."),
       [&](Direction d) { return up[Index(d)]; });
  both(families.Gauge("helo_peers_trusted", "Of these, peers named by --trusted."),
       [&](Direction d) { return trusted[Index(d)]; });
  both(families.Gauge("helo_slots_used", "Slots in use or reserved; trusted peers take none."),
       in_or_out(s.inbound, s.outbound));
  both(families.Gauge("helo_slots", "Slots that there are, as file descriptors allow now."),
       in_or_out(s.max_inbound, s.max_outbound));
  both(families.Counter("helo_handshakes_completed_total", "Peers that came up."),
       [&](Direction d) { return s.came_up[Index(d)]; });
  both(families.Counter("helo_received_bytes_total",
                        "Bytes read from peers, TLS and handshakes included, by who dialed."),
       [&](Direction d) { return s.received_bytes[Index(d)]; });
  both(families.Counter("helo_sent_bytes_total",
                        "Bytes written to peers, TLS and handshakes included, by who dialed."),
       [&](Direction d) { return s.sent_bytes[Index(d)]; });
  families.Gauge("helo_queued_bytes", "Bytes that wait to be sent to peers.")
      .Add(static_cast<double>(queued));
  families.Gauge("helo_peers_away", "Ids that the operator dropped and that are kept away.")
      .Add(static_cast<double>(s.away.size()));
  std::map<std::string, int> states = {{"connected", 0}, {"trying", 0}, {"waiting", 0}};
  for (const peers::Target& target : s.targets)
    ++states[target.connected ? "connected" : target.trying ? "trying" : "waiting"];
  auto targets = families.Gauge("helo_dial_targets", "Addresses that this node dials.");
  for (const auto& [state, n] : states) targets.Add(n, {{"state", state}});
}

void AddConnections(const ServerSnapshot& s, Families& families) {
  families.Gauge("helo_handshakes", "Inbound handshakes, waiting or running.").Add(s.handshakes);
  families.Counter("helo_connections_accepted_total", "Connections that reached the gate.")
      .Add(static_cast<double>(s.accepted));
  families
      .Counter("helo_gate_refused_total",
               "Connections refused at the gate, or closed there to "
               "make room.")
      .Add(static_cast<double>(s.gate_refused));
  auto closed = families.Counter("helo_connections_closed_total",
                                 "Attempts and connections that ended, by reason.");
  for (const Direction direction : kDirections) {
    const auto& counts = direction == Direction::kInbound ? s.closed_in : s.closed_out;
    for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
      const auto found = counts.find(info->reason);
      closed.Add(
          found == counts.end() ? 0 : static_cast<double>(found->second),
          {{"reason", std::string(info->label)}, {"direction", std::string(ToString(direction))}});
    }
  }
}

void AddListeners(const ServerSnapshot& s, Families& families) {
  const auto each = [&](Families::Family family, const auto& of) {
    for (const ListenerSnapshot& listener : s.listeners)
      family.Add(static_cast<double>(of(listener)), {{"listener", listener.local.ToString()}});
  };
  using L = ListenerSnapshot;
  each(families.Counter("helo_listener_accepted_total", "Connections accepted."),
       [](const L& l) { return l.stats.accepted; });
  each(families.Counter("helo_listener_aborted_total",
                        "Connections gone before they were "
                        "accepted."),
       [](const L& l) { return l.stats.aborted; });
  each(families.Counter("helo_listener_starved_total",
                        "Times that accepting paused for want of a file descriptor or of memory."),
       [](const L& l) { return l.stats.starved; });
  each(families.Gauge("helo_listener_paused", "1 while accepting is paused for that."),
       [](const L& l) { return l.stats.paused ? 1 : 0; });
  each(families.Gauge("helo_listener_backlog", "The accept queue's length, as the kernel cut it."),
       [](const L& l) { return l.backlog_effective; });
}

void AddFds(const ServerSnapshot& s, Families& families) {
  const auto each = [&](Families::Family family, const auto& of) {
    for (const PoolSnapshot& pool : s.pools)
      family.Add(of(pool), {{"pool", std::string(ToString(pool.kind))}});
  };
  each(families.Gauge("helo_fd_pool_used", "File descriptors in use, by pool."),
       [](const PoolSnapshot& pool) { return pool.used; });
  each(families.Gauge("helo_fd_pool_limit", "How many each pool may use now."),
       [](const PoolSnapshot& pool) { return pool.limit; });
  families.Gauge("helo_fds_open", "File descriptors open, counted in /proc.").Add(s.fds.open_now);
  families.Gauge("helo_fds_foreign", "Of these, opened by a plugin or library while the node runs.")
      .Add(s.fds.foreign);
  families.Gauge("helo_fd_limit", "The limit of file descriptors.")
      .Add(static_cast<double>(s.fds.soft), {{"kind", "soft"}})
      .Add(static_cast<double>(s.fds.hard), {{"kind", "hard"}});
  families
      .Gauge("helo_fds_reduced",
             "1 while file descriptors do not suffice for all that is "
             "configured.")
      .Add(s.fds.reduced ? 1 : 0);
}

void AddPlugins(const std::vector<plugins::PluginStatus>& loaded, Families& families) {
  using P = plugins::PluginStatus;
  const auto each = [&](Families::Family family, const auto& of) {
    for (const P& plugin : loaded) {
      family.Add(static_cast<double>(of(plugin)), {{"plugin", plugin.name}});
    }
  };
  each(families.Gauge("helo_plugin_up", "1 while the plugin runs, 0 in every other state."),
       [](const P& p) { return p.state == plugins::State::kRunning ? 1 : 0; });
  each(families.Gauge("helo_plugin_sessions", "Peers with whom a capability of it is open."),
       [](const P& p) { return p.sessions; });
  each(families.Gauge("helo_plugin_queued_bytes", "What waits for it."),
       [](const P& p) { return p.queued_bytes; });
  const auto both = [&](std::string name, std::string help, const auto& in, const auto& out) {
    Families::Family family = families.Counter(std::move(name), std::move(help));
    for (const P& p : loaded) {
      family.Add(static_cast<double>(in(p)), {{"plugin", p.name}, {"direction", "in"}});
      family.Add(static_cast<double>(out(p)), {{"plugin", p.name}, {"direction", "out"}});
    }
  };
  both(
      "helo_plugin_messages_total", "Messages from peers to it and back.",
      [](const P& p) { return p.counters.messages_in; },
      [](const P& p) { return p.counters.messages_out; });
  both(
      "helo_plugin_bytes_total", "Their bytes.", [](const P& p) { return p.counters.bytes_in; },
      [](const P& p) { return p.counters.bytes_out; });
  each(families.Counter("helo_plugin_pauses_total", "Times that a peer was not read for its sake."),
       [](const P& p) { return p.counters.pauses; });
  each(families.Counter("helo_plugin_slow_total", "Peers closed because it was too slow."),
       [](const P& p) { return p.counters.slow; });
  each(families.Counter("helo_plugin_penalties_total", "Peers closed for breaking its protocol."),
       [](const P& p) { return p.counters.penalties; });
  each(families.Counter("helo_plugin_faults_total", "Times that it failed and was quarantined."),
       [](const P& p) { return p.counters.faults; });
}

void AddProcess(WallTime started, Families& families) {
  families.Gauge("helo_build_info", "Always 1; the version is in the label.")
      .Add(1, {{"version", std::string(Version())}});
  families.Gauge("process_start_time_seconds", "When the node started, in Unix time.")
      .Add(static_cast<double>(started.time_since_epoch().count()) / 1e6);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  families.Counter("process_cpu_seconds_total", "CPU time used, of user and system.")
      .Add(seconds(usage.ru_utime) + seconds(usage.ru_stime));
}

}  // namespace

std::string MetricsText(const ServerSnapshot& snapshot, WallTime started,
                        const std::vector<plugins::PluginStatus>& plugins) {
  Families families;
  AddPeers(snapshot, families);
  AddConnections(snapshot, families);
  AddListeners(snapshot, families);
  AddFds(snapshot, families);
  AddPlugins(plugins, families);
  AddProcess(started, families);
  return families.Text();
}

}  // namespace helo::node
