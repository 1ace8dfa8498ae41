#include "rpc/tool/doctor.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <string_view>

#include "p2p/base/endpoint.h"
#include "p2p/base/text.h"

namespace helo::tool {
namespace {

using Level = Finding::Level;
using Remedies = std::vector<std::pair<std::string, std::string>>;

// With 64 a node works; the pools of a default configuration are 258, and some more it has open
// itself; with 16,700 handshakes get their most (the sum is in helo info --wide).
constexpr uint64_t kLeastFds = 64;
constexpr uint64_t kDefaultFds = 300;
constexpr uint64_t kAllFds = 16'700;
constexpr uint64_t kGoodFds = 65'536;
constexpr uint64_t kUnlimited = uint64_t{1} << 30;
constexpr int64_t kSkewUs = 2'000'000;
constexpr size_t kEnoughPeers = 3;  // that agree: then it is our clock
constexpr uint64_t kLittleSpace = uint64_t{64} << 20;

std::string Amount(uint64_t n) { return n >= kUnlimited ? "unlimited" : absl::StrCat(n); }

Remedies RaiseFds(uint64_t to) {
  return {{"shell", absl::StrCat("ulimit -n ", to, "  # above the hard limit as root only")},
          {"limits.conf", absl::StrCat("USER soft nofile ", to, "\nUSER hard nofile ", to)},
          {"systemd", absl::StrCat("LimitNOFILE=", to)},
          {"compose", absl::StrCat("ulimits: {nofile: {soft: ", to, ", hard: ", to, "}}")}};
}

Remedies SetSysctl(std::string_view name, std::string_view value) {
  const std::string is = absl::StrCat(ToAbsl(name), "=", ToAbsl(value));
  return {{"shell", absl::StrCat("sysctl -w ", is)},
          {"sysctl.d", absl::StrCat("echo '", is, "' >> /etc/sysctl.d/60-helo.conf")},
          {"systemd", absl::StrCat("ExecStartPre=+/sbin/sysctl -w ", is)},
          {"compose", absl::StrCat("sysctls: {", ToAbsl(name), ": ", ToAbsl(value), "}")}};
}

void Fds(const DoctorFacts& facts, std::vector<Finding>& out) {
  const uint64_t most = std::min(facts.fd_hard, facts.nr_open.value_or(facts.fd_hard));
  Finding found{Level::kOk,
                "fd-limit",
                absl::StrCat("soft ", Amount(facts.fd_soft), ", hard ", Amount(facts.fd_hard),
                             facts.fd_soft < std::min(most, kAllFds)
                                 ? "; a node started from here raises the soft one as far as needed"
                                 : ""),
                "",
                {}};
  if (most < kDefaultFds) {
    found.level = Level::kProblem;
    found.means =
        most < kLeastFds
            ? absl::StrCat("A node needs at least ", kLeastFds,
                           " file descriptors and refuses to start with ", most, ".")
            : absl::StrCat("A node with the default limits asks for some ", kDefaultFds, "; with ",
                           most, " it starts, with fewer peers and handshakes.");
    found.remedies = RaiseFds(kGoodFds);
  }
  out.push_back(std::move(found));
  if (facts.files_open && facts.files_most && *facts.files_open >= *facts.files_most / 10 * 9) {
    out.push_back({Level::kProblem, "files-of-machine",
                   absl::StrCat(*facts.files_open, " of ", *facts.files_most,
                                " files are open on the whole machine"),
                   "Soon nobody here gets another descriptor (ENFILE), whatever its own limit.",
                   SetSysctl("fs.file-max", absl::StrCat(*facts.files_most * 4))});
  }
  if (!facts.node) return;
  const RunningNode& node = *facts.node;
  Finding running{
      Level::kOk,
      "fd-of-node",
      node.fd_sentences.empty() ? absl::StrCat("limit ", node.fd_limit) : node.fd_sentences[0],
      "",
      {}};
  if (node.fd_reduced) {
    running.level = Level::kProblem;
    running.means =
        node.fd_sentences.size() > 1 ? node.fd_sentences[1] : "Less than configured fits.";
    running.remedies = RaiseFds(kGoodFds);
  } else if (!node.full_pools.empty()) {
    running.level = Level::kNote;
    running.means = absl::StrCat(
        "Full: ", absl::StrJoin(node.full_pools, ", "),
        ". The next caller there is refused or waits; helo fds shows what holds them.");
  }
  out.push_back(std::move(running));
}

void Backlog(const DoctorFacts& facts, std::vector<Finding>& out) {
  uint64_t asked = kDefaultBacklog;
  std::optional<uint64_t> effective = facts.net.somaxconn;
  if (facts.node && !facts.node->listeners.empty()) {
    asked = facts.node->listeners[0].backlog_asked;
    effective = facts.node->listeners[0].backlog_effective;
  }
  if (effective) {
    Finding found{
        Level::kOk,
        "backlog",
        absl::StrCat("a node asks for an accept queue of ", asked, ", the kernel ",
                     *effective < asked ? absl::StrCat("cuts it to ", *effective) : "grants it"),
        "",
        {}};
    if (*effective < asked) {
      found.level = *effective < 128 ? Level::kProblem : Level::kNote;
      found.means =
          "A burst of callers beyond that is dropped, and each tries again after 1 s "
          "(helo explain backlog).";
      found.remedies = SetSysctl("net.core.somaxconn", absl::StrCat(asked));
      found.remedies.emplace_back("then", "start the node again: the queue is made by listen()");
    }
    out.push_back(std::move(found));
  }
  if (facts.net.listen_overflows) {
    const uint64_t n = *facts.net.listen_overflows;
    out.push_back({n == 0 ? Level::kOk : Level::kNote, "overflows",
                   absl::StrCat(n,
                                " times an accept queue was full, in this network namespace "
                                "since it was made"),
                   n == 0 ? ""
                          : "Some listener here did not accept fast enough once: out of fds, "
                            "stopped or overloaded. Watch whether it still grows.",
                   n == 0 ? Remedies{}
                          : Remedies{{"shell",
                                      "nstat -az TcpExtListenOverflows; ss -ltn  # Recv-Q above "
                                      "Send-Q is a full queue"}}});
  }
  if (facts.abort_on_overflow) {
    const bool on = *facts.abort_on_overflow != 0;
    out.push_back({on ? Level::kNote : Level::kOk, "abort-on-overflow",
                   absl::StrCat("net.ipv4.tcp_abort_on_overflow is ", *facts.abort_on_overflow),
                   on ? "A caller that meets a full accept queue is reset instead of trying again, "
                        "so that short bursts lose connections."
                      : "",
                   on ? SetSysctl("net.ipv4.tcp_abort_on_overflow", "0") : Remedies{}});
  }
}

void Ports(const DoctorFacts& facts, std::vector<Finding>& out) {
  using Kind = DoctorFacts::Port::Kind;
  for (const DoctorFacts::Port& port : facts.ports) {
    if (port.kind == Kind::kFree) {
      out.push_back(
          {Level::kOk, "port", absl::StrCat("a node can listen on ", port.asked), "", {}});
      continue;
    }
    Finding found{Level::kProblem,
                  "port",
                  absl::StrCat("a node cannot listen on ", port.asked),
                  absl::StrCat(port.sentence, "."),
                  {}};
    const std::string start = absl::StrCat("net.ipv4.ip_unprivileged_port_start");
    if (port.kind == Kind::kPrivileged) {
      found.remedies = SetSysctl(start, absl::StrCat(port.port));
      found.remedies[2].second = "AmbientCapabilities=CAP_NET_BIND_SERVICE";
    } else if (port.kind == Kind::kInUse) {
      found.remedies = {{"shell", absl::StrCat("ss -ltnp 'sport = :", port.port,
                                               "'  # who; as root it names every process")},
                        {"helod", "--listen with another port"}};
    } else if (port.kind == Kind::kNoSuchAddress) {
      found.remedies = {{"shell", "ip -brief address"},
                        {"helod", absl::StrCat("--listen :", port.port, "  # every address")}};
    } else if (port.kind == Kind::kNoIpv6) {
      found.remedies = {{"helod", absl::StrCat("--listen tcp4://:", port.port)}};
    }
    out.push_back(std::move(found));
  }
  if (!facts.node) return;
  size_t loopback = 0;
  std::vector<std::string> all;
  for (const RunningNode::Listener& listener : facts.node->listeners) {
    const size_t scheme = listener.local.find("://");
    const std::optional<Endpoint> at = Endpoint::Parse(
        scheme == std::string::npos ? listener.local : listener.local.substr(scheme + 3));
    if (at && at->ip.IsLoopback()) ++loopback;
    all.push_back(listener.local);
    if (listener.starved > 0) {
      out.push_back(
          {Level::kNote, "starved",
           absl::StrCat(listener.local, " went without a descriptor ", listener.starved, " times"),
           "Callers waited in the kernel's queue meanwhile (helo explain EMFILE).",
           RaiseFds(kGoodFds)});
    }
  }
  if (all.empty()) {
    out.push_back({Level::kNote,
                   "reachable",
                   "the node listens nowhere",
                   "Nobody can dial it.",
                   {{"helod", "--listen :4356"}}});
    return;
  }
  const bool alone = loopback == all.size();
  out.push_back({alone ? Level::kNote : Level::kOk, "reachable",
                 absl::StrCat("the node listens on ", absl::StrJoin(all, ", ")),
                 alone ? "That is loopback alone: no other machine can reach it (helo explain "
                         "127.0.0.1). Right for a testnet on one machine, and nowhere else."
                       : "",
                 alone ? Remedies{{"helod", "--listen 0.0.0.0:4356"},
                                  {"config", "listen = 0.0.0.0:4356"},
                                  {"compose", "ports: ['4356:4356']  # and --listen 0.0.0.0:4356"}}
                       : Remedies{}});
}

void TimeWait(const DoctorFacts& facts, std::vector<Finding>& out) {
  if (facts.net.time_wait && facts.port_low && facts.port_high &&
      *facts.port_high >= *facts.port_low) {
    const uint64_t ports = *facts.port_high - *facts.port_low + 1;
    const uint64_t n = *facts.net.time_wait;
    Finding found{Level::kOk,
                  "time-wait",
                  absl::StrCat(n, " ended connections in TIME_WAIT; outgoing ones have ", ports,
                               " local ports (", *facts.port_low, "-", *facts.port_high, ")"),
                  "",
                  {}};
    if (n > ports / 2) {
      found.level = Level::kNote;
      found.means =
          "If most of them go to one address and port, outgoing connections to it fail "
          "with EADDRNOTAVAIL when the ports are used up. Each lasts 60 s, which cannot "
          "be changed (helo explain TIME_WAIT).";
      found.remedies = SetSysctl("net.ipv4.ip_local_port_range", "'10000 65535'");
    }
    out.push_back(std::move(found));
  }
  if (facts.net.orphans && facts.net.max_orphans && *facts.net.max_orphans > 0) {
    const bool many = *facts.net.orphans > *facts.net.max_orphans / 2;
    out.push_back(
        {many ? Level::kNote : Level::kOk, "orphans",
         absl::StrCat(*facts.net.orphans, " of at most ", *facts.net.max_orphans,
                      " sockets that no process holds any more, on the whole machine"),
         many ? "Beyond that the kernel resets connections that were closed and still "
                "have something to send."
              : "",
         many ? SetSysctl("net.ipv4.tcp_max_orphans", absl::StrCat(*facts.net.max_orphans * 2))
              : Remedies{}});
  }
}

void Clock(const DoctorFacts& facts, std::vector<Finding>& out) {
  if (facts.clock_synchronised) {
    const bool good = *facts.clock_synchronised;
    out.push_back(
        {good ? Level::kOk : Level::kNote, "clock",
         good ? "the kernel's clock is synchronised" : "nobody synchronises the kernel's clock",
         good ? ""
              : "Deadlines do not depend on it; times in logs and history do, and the "
                "clock skew shown of each peer. In a virtual machine or container the "
                "host may do it unseen.",
         good ? Remedies{}
              : Remedies{{"shell", "timedatectl set-ntp true"},
                         {"debian", "apt-get install systemd-timesyncd"}}});
  }
  if (!facts.node || facts.node->skews_us.empty()) return;
  std::vector<int64_t> skews = facts.node->skews_us;
  std::sort(skews.begin(), skews.end());
  const int64_t median = skews[skews.size() / 2];
  const bool far = median > kSkewUs || median < -kSkewUs;
  const bool many = skews.size() >= kEnoughPeers;
  out.push_back(
      {!far   ? Level::kOk
       : many ? Level::kProblem
              : Level::kNote,
       "clock-of-peers",
       absl::StrCat("the clocks of ", skews.size(), skews.size() == 1 ? " peer" : " peers",
                    " differ from this one by ", HumanDuration(median * 1000), " in the middle"),
       !far   ? ""
       : many ? "Several agree, so it is this machine's clock that is wrong."
              : "Too few to say whose clock is wrong.",
       far ? Remedies{{"shell", "timedatectl status; date -u"}} : Remedies{}});
}

void Others(const DoctorFacts& facts, std::vector<Finding>& out) {
  out.push_back({facts.ipv6 ? Level::kOk : Level::kNote, "ipv6",
                 facts.ipv6 ? "this machine has IPv6"
                            : "this machine has no IPv6 (/proc/net/if_inet6 is empty)",
                 facts.ipv6 ? ""
                            : "tcp:// listeners take IPv4 alone, tcp6:// ones fail, and peers with "
                              "IPv6 addresses cannot be dialed.",
                 facts.ipv6 ? Remedies{} : SetSysctl("net.ipv6.conf.all.disable_ipv6", "0")});
  if (!facts.data_dir.empty()) {
    const std::string& dir = facts.data_dir;
    if (!facts.data_dir_exists) {
      out.push_back({Level::kNote,
                     "data-dir",
                     absl::StrCat(dir, " does not exist"),
                     "A node makes it when it starts, with a new key.",
                     {}});
    } else if (facts.data_dir_problems.empty()) {
      out.push_back({Level::kOk,
                     "data-dir",
                     absl::StrCat(dir, " is private to uid ", facts.data_dir_uid),
                     "",
                     {}});
    }
    for (const std::string& sentence : facts.data_dir_problems) {
      out.push_back(
          {Level::kProblem,
           "data-dir",
           sentence,
           "A node does not start there: its key is its identity.",
           {{"shell", absl::StrCat("chown -R ", facts.data_dir_uid, " '", dir, "' && chmod 700 '",
                                   dir, "' && chmod 600 '", dir, "/node.key'")},
            {"systemd", "User=helo\nStateDirectory=helo\nStateDirectoryMode=0700"}}});
    }
    if (facts.data_dir_free_bytes && *facts.data_dir_free_bytes < kLittleSpace) {
      out.push_back({Level::kProblem,
                     "disk",
                     absl::StrCat("only ", HumanBytes(*facts.data_dir_free_bytes),
                                  " are free on the disk of ", dir),
                     "The node cannot save what must survive a restart.",
                     {{"shell", absl::StrCat("df -h '", dir, "'")}}});
    }
  }
  if (facts.node_hangs) {
    out.push_back({Level::kProblem,
                   "node",
                   "a node does not answer",
                   facts.no_node,
                   {{"shell", "ps -o pid,stat,cmd -C helod; ss -ltnp"}}});
  } else if (!facts.no_node.empty()) {
    out.push_back({Level::kNote, "node", "a node could not be asked", facts.no_node, {}});
  } else {
    out.push_back({Level::kOk,
                   "node",
                   facts.node ? absl::StrCat("a node runs here, pid ", facts.node->pid)
                              : "no node was found running; the machine alone was looked at",
                   "",
                   {}});
  }
}

}  // namespace

std::vector<Finding> Judge(const DoctorFacts& facts) {
  std::vector<Finding> findings;
  Fds(facts, findings);
  Backlog(facts, findings);
  Ports(facts, findings);
  TimeWait(facts, findings);
  Clock(facts, findings);
  Others(facts, findings);
  return findings;
}

}  // namespace helo::tool
