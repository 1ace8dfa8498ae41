#include "rpc/tool/topics.h"

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>

#include <algorithm>
#include <utility>

#include "p2p/base/text.h"

namespace helo::tool {
namespace {

std::vector<Topic> DescriptorTopics() {
  return {
      {"fd",
       {"fds", "descriptor", "file-descriptor"},
       "File descriptors: the numbers by which a process holds what the kernel gave it",
       {"A file descriptor is an index into a table that the kernel keeps for each process. Behind "
        "a number may stand a file, a pipe, a listening socket, or one TCP connection: a node with "
        "50 peers has at least 50 fds.",
        "0, 1 and 2 are stdin, stdout and stderr. A new fd always gets the lowest free number. So "
        "if a listener is n, peer A gets n+1 and peer B n+2; when A leaves, the next caller C gets "
        "n+1 again. The number is the same, the connection is not: whoever still means A by it "
        "would write to C. helo's sockets own their numbers, and events carry a generation, so a "
        "stale one finds nobody.",
        "Two limits apply to each process: the soft one counts, and the process may raise it up to "
        "the hard one, as helod does when it starts. It then deals the fds out in pools, so that "
        "callers, peers, files and the operator cannot take each other's."},
       {{"helo fds", "the table as the kernel has it: number, kind, addresses, whose it is"},
        {"helo info --wide", "the sum of the node's fds, and each pool"},
        {"ls -l /proc/$(pgrep -xo helod)/fd", "the same table, unexplained"},
        {"ulimit -n", "the soft limit that your shell hands on"}},
       {Reason::kNoFd},
       {"EMFILE", "leaks", "socket"}},
      {"EMFILE",
       {"enfile", "too-many-open-files", "nofile"},
       "EMFILE: too many open files",
       {"The process has as many fds as its soft limit allows, and the kernel makes no more: not "
        "for accept, not for a file, not for a name look-up. ENFILE is the same for the whole "
        "machine (fs.file-max).",
        "For a server it is treacherous. A connection that cannot be accepted stays in the queue, "
        "so epoll says at once that there is something to accept: a naive loop spins at 100 % CPU, "
        "another one dies of the error for ever. helod stops asking the listener, resumes the "
        "moment an fd comes back, and by a growing pause for what it cannot see. The kernel's "
        "queue fills meanwhile, and callers wait.",
        "To have more: ulimit -n 65536 in the shell that starts the node, a line `USER hard nofile "
        "65536` in /etc/security/limits.conf, LimitNOFILE=65536 in a systemd unit, `ulimits: "
        "{nofile: {soft: 65536, hard: 65536}}` in a compose file. But see first what holds them: a "
        "limit that must be raised again and again is a leak."},
       {{"helo fds", "what holds them now"},
        {"helo info", "used and limit of each pool, and how often a listener went without fd"},
        {"helo doctor", "what a node would get here, and how to raise it"},
        {"prlimit --nofile --pid $(pgrep -xo helod)", "soft and hard limit of the running node"}},
       {Reason::kNoFd, Reason::kBusy},
       {"fd", "leaks", "backlog"}},
      {"leaks",
       {"leak", "close-wait", "close_wait"},
       "Leaks: fds that nobody closes",
       {"An fd that a program forgot stays open until the process ends. Nothing complains, until "
        "EMFILE does, hours later and in another place. The signs: the number of open fds only "
        "ever grows, or connections sit in CLOSE_WAIT, which means that the other side has closed, "
        "the kernel knows, and this program has not called close().",
        "helo makes leaks hard to write: each socket owns its number together with a ticket of its "
        "pool, and giving up the one gives back the other. What libraries open beside that is "
        "counted as foreign and shown."},
       {{"helo fds", "every open fd and whose it is; foreign ones stand in no pool"},
        {"ss -tnp state close-wait", "connections that their program should have closed"},
        {"lsof -p $(pgrep -xo helod)", "what else it holds"}},
       {},
       {"fd", "close", "EMFILE"}},
  };
}

std::vector<Topic> SocketTopics() {
  return {
      {"socket",
       {"sockets"},
       "socket(): one end of a connection, before it is connected to anything",
       {"socket() makes an endpoint and gives it an fd. It has a family (AF_INET for IPv4, "
        "AF_INET6 "
        "for IPv6) and a kind (SOCK_STREAM: TCP), and as yet neither address nor partner. A server "
        "goes on with bind, listen and accept; a client with connect.",
        "One listening socket stays what it is for ever; each accepted connection is a socket, and "
        "an fd, of its own. A TCP connection is told from every other by four values: its two "
        "addresses and its two ports. That is why one port serves thousands of peers.",
        "It fails with EMFILE or ENFILE (no fd left), ENOBUFS or ENOMEM (no memory), EAFNOSUPPORT "
        "(no IPv6 here), EACCES or EPERM (a policy)."},
       {{"helo sockets", "the node's listeners and connections with their queues and round trips"},
        {"helo fds", "the same by fd"},
        {"ss -tnp", "every TCP connection of this machine"},
        {"helod -v", "prints socket, bind and listen as three steps, each with fd and result"}},
       {},
       {"bind", "listen", "fd"}},
      {"bind",
       {"port", "eaddrinuse", "eacces", "eaddrnotavail"},
       "bind(): giving a socket its address and port",
       {"bind() says which local address and port a socket has. Nobody can connect yet: that takes "
        "listen(). Port 0 lets the kernel choose a free one.",
        "EADDRINUSE: another socket has it, mostly a listener, perhaps an outgoing connection that "
        "the kernel gave this port from net.ipv4.ip_local_port_range. helod names who. EACCES: "
        "ports below net.ipv4.ip_unprivileged_port_start (1024) need a privilege. EADDRNOTAVAIL: "
        "no "
        "interface of this machine has that address.",
        "SO_REUSEADDR, which helod sets, allows a bind while old connections of that port are in "
        "TIME_WAIT, so a restart works at once. SO_REUSEPORT would let two nodes share the port "
        "without a word, each getting half of the callers; helod does not set it."},
       {{"helo info", "where the node listens, as asked for and as the kernel bound it"},
        {"ss -ltnp", "who listens where on this machine"},
        {"helo doctor", "whether a node could bind here, and who is in the way"},
        {"sysctl net.ipv4.ip_local_port_range net.ipv4.ip_unprivileged_port_start",
         "the ports of outgoing connections; the first that needs no privilege"}},
       {Reason::kNoLocalAddress},
       {"listen", "TIME_WAIT", "0.0.0.0"}},
      {"listen",
       {"accept", "accept4"},
       "listen() and accept(): from a bound socket to connections",
       {"listen() turns a bound socket into a listener. From then on the kernel answers SYNs by "
        "itself: it completes the three-way handshake without asking the program, and puts the "
        "finished connection into the listener's accept queue. accept() takes one out and gives it "
        "an fd. So a client may believe that it is connected to a program which has not looked.",
        "A process that is stopped or hangs therefore still 'answers' on TCP; what is missing is "
        "the first byte. helo probe tells that apart: connect ok, TLS silent."},
       {{"helo info", "each listener: fd, backlog, accepted, and how often it went without fd"},
        {"ss -ltn", "listeners: Recv-Q is the accept queue now, Send-Q its limit"},
        {"helo probe 127.0.0.1:4356", "each stage of a connection with its time"}},
       {Reason::kStageTimeout},
       {"backlog", "bind", "refused"}},
      {"backlog",
       {"accept-queue", "somaxconn", "syn-queue", "tcp_abort_on_overflow"},
       "The backlog: how many finished connections may wait for accept()",
       {"The number given to listen() is the length of the accept queue, cut to "
        "net.core.somaxconn without a word. Linux takes one more than that. Half-open handshakes "
        "wait elsewhere, in the SYN queue.",
        "When the accept queue is full, Linux drops what comes: a new SYN is not answered, and the "
        "caller, who cannot tell it from a lost packet, tries again after 1 s, 2 s, 4 s. So an "
        "overloaded server looks like a slow or dead one: a timeout, not a refusal. That is on "
        "purpose, since the next try may find room. With net.ipv4.tcp_abort_on_overflow=1 a "
        "connection that finds the queue full at its last step is reset instead.",
        "A queue that stays full means that the program does not accept: it is out of fds, too "
        "busy, or stopped. A longer queue only hides that. It helps against short bursts."},
       {{"helo sockets", "accept queue now and its limit, drops per listener, overflows"},
        {"ss -ltn", "Recv-Q: waiting now; Send-Q: the limit; Recv-Q above Send-Q: full"},
        {"nstat -az TcpExtListenOverflows TcpExtListenDrops",
         "how often it was full, in this network namespace"},
        {"sysctl net.core.somaxconn net.ipv4.tcp_abort_on_overflow", "the two settings"}},
       {Reason::kConnectTimeout},
       {"listen", "refused", "EMFILE"}},
  };
}

std::vector<Topic> AddressTopics() {
  return {
      {"refused",
       {"timed-out", "timeout", "rst", "econnrefused", "etimedout", "reset"},
       "Refused against timed out: somebody said no, or nobody said anything",
       {"Connection refused (ECONNREFUSED): the other machine is up and its kernel answered the "
        "SYN "
        "with RST, since nothing listens on that port. It comes within one round trip. Start the "
        "node, or correct the port.",
        "Timed out (ETIMEDOUT): nothing came back. A machine that is down, a wrong address, a "
        "firewall that drops, or a full accept queue. It takes seconds, because each SYN is tried "
        "again in case it was lost.",
        "Between the two: a firewall that rejects sends ICMP, and a router without a way there "
        "does (EHOSTUNREACH, ENETUNREACH); an accepted connection that dies is a reset "
        "(ECONNRESET), one that is closed without a word an end of file. helo probe keeps the ICMP "
        "and says who sent it; it pings a machine that is silent."},
       {{"helo probe 127.0.0.1:1", "refused, at once"},
        {"helo probe 192.0.2.1:4356 --timeout 3s", "an address reserved for examples: silence"},
        {"helo history --direction out", "how the node's own attempts ended"}},
       {Reason::kRefused, Reason::kConnectTimeout, Reason::kUnreachable, Reason::kFiltered,
        Reason::kReset},
       {"backlog", "listen", "0.0.0.0"}},
      {"TIME_WAIT",
       {"time-wait", "timewait", "tcp_fin_timeout", "2msl"},
       "TIME_WAIT: the last 60 seconds of a connection",
       {"Whoever closes a TCP connection first keeps its two addresses and ports reserved for a "
        "while, so that a late packet of the old connection cannot fall into a new one, and so "
        "that "
        "a lost last ACK can be sent again. On Linux that is 60 s, a constant of the kernel: "
        "net.ipv4.tcp_fin_timeout does not change it (that one is for FIN_WAIT2, where the other "
        "side has not closed yet).",
        "It costs some 200 bytes of kernel memory and no fd: close() has given the fd back. "
        "Thousands are normal on a busy server. They do harm in two cases only. A restart: bind() "
        "fails with EADDRINUSE where SO_REUSEADDR is missing; helod sets it. Many short outgoing "
        "connections to one address and port: the local ports run out (EADDRNOTAVAIL); widen "
        "net.ipv4.ip_local_port_range, keep connections open, or let the other side close first."},
       {{"helo doctor", "how many there are, against the local ports"},
        {"ss -tan state time-wait", "each of them with what is left of the 60 s: add -o"},
        {"helo sockets", "their count in this network namespace"},
        {"sysctl net.ipv4.ip_local_port_range net.ipv4.tcp_max_tw_buckets",
         "the ports they compete for; how many may exist"}},
       {Reason::kNoLocalAddress},
       {"close", "bind"}},
      {"0.0.0.0",
       {"127.0.0.1", "localhost", "loopback", "any", "::", "::1"},
       "0.0.0.0 and 127.0.0.1: every address, and the one that never leaves the machine",
       {"To listen on 0.0.0.0 (or ::) means: on every address of this machine, loopback included, "
        "and addresses it gets later. It is no address to dial: peers need a real one.",
        "127.0.0.1 (and ::1) is loopback: packets to it never leave the machine. A node that "
        "listens there alone can be reached by local processes only, and from elsewhere everything "
        "looks refused. The admin API is there on purpose; peers want 0.0.0.0 or the machine's own "
        "address.",
        "In a container 127.0.0.1 is the container's own: a published port reaches a process that "
        "listens on 0.0.0.0 inside."},
       {{"helo info", "where the node listens"},
        {"helo doctor", "says if it listens on loopback alone"},
        {"ss -ltn", "Local Address: 0.0.0.0, [::] or * is every address"},
        {"ip -brief address", "the addresses of this machine"}},
       {Reason::kRefused},
       {"tcp", "bind", "refused"}},
      {"tcp",
       {"tcp4", "tcp6", "ipv6", "dual-stack", "v6only"},
       "tcp, tcp4 and tcp6: which family a listener serves",
       {"tcp4://:4356 is one IPv4 socket (0.0.0.0). tcp6://:4356 is one IPv6 socket that takes "
        "IPv6 "
        "alone. tcp://:4356 is one IPv6 socket that takes both: IPV6_V6ONLY is set to 0 in so many "
        "words, since the default differs between systems (net.ipv6.bindv6only).",
        "A dual-stack socket sees an IPv4 caller as ::ffff:a.b.c.d, an IPv4-mapped address. helo "
        "turns it back into a.b.c.d at accept, so that bans, limits and lists know one name for "
        "one "
        "caller.",
        "Where there is no IPv6 (/proc/net/if_inet6 is empty), tcp:// means IPv4 alone and helod "
        "says so; tcp6:// fails with the remedy."},
       {{"helo info", "each listener, with 'IPv4 and IPv6' where it is dual-stack"},
        {"ss -ltn", "*:4356 is dual-stack, 0.0.0.0:4356 IPv4, [::]:4356 IPv6 alone"},
        {"helo doctor", "whether this machine has IPv6"},
        {"helod --listen tcp6://:4356 --check-config", "checks an address without starting"}},
       {Reason::kNoLocalAddress, Reason::kUnreachable},
       {"0.0.0.0", "bind"}},
      {"close",
       {"shutdown", "fin", "close_notify", "half-close"},
       "close(): how a connection ends",
       {"close() gives the fd back; when it was the last one of that socket, the kernel sends FIN: "
        "'I say nothing more'. Each direction ends by itself, and a connection is over when both "
        "have. shutdown(SHUT_WR) sends the FIN and keeps the fd to read on. If unread bytes are "
        "waiting at close(), Linux sends RST instead, and what we had just sent may be lost with "
        "it.",
        "So a polite end takes steps: helo sends DISCONNECT with a reason, TLS's close_notify, "
        "shutdown, reads until the other side's end for at most 1 s or 64 KiB, then closes. Such a "
        "socket waits in a pool of its own (closing) and takes no peer's place.",
        "A FIN without close_notify may be an attacker's: TLS cannot tell whether something was "
        "cut "
        "off, and the history says TRUNCATED. A process that is killed has its fds closed by the "
        "kernel, which looks the same."},
       {{"helo history", "how each connection ended, and who decided"},
        {"helo info", "the pool of closing sockets"},
        {"ss -tano state fin-wait-2", "closed here, not yet there"},
        {"helo watch", "ends as they happen"}},
       {Reason::kReset, Reason::kTruncated, Reason::kEofEarly},
       {"TIME_WAIT", "leaks"}},
  };
}

std::string Plain(std::string_view word) {
  std::string plain = absl::AsciiStrToLower(ToAbsl(word));
  std::replace(plain.begin(), plain.end(), '-', '_');
  std::replace(plain.begin(), plain.end(), ' ', '_');
  return plain;
}

}  // namespace

const std::vector<Topic>& Topics() {
  static const std::vector<Topic> topics = [] {
    std::vector<Topic> all = DescriptorTopics();
    for (Topic& topic : SocketTopics()) all.push_back(std::move(topic));
    for (Topic& topic : AddressTopics()) all.push_back(std::move(topic));
    return all;
  }();
  return topics;
}

const Topic* FindTopic(std::string_view name) {
  const std::string wanted = Plain(name);
  for (const Topic& topic : Topics()) {
    if (Plain(topic.name) == wanted) return &topic;
    for (const std::string_view also : topic.also) {
      if (Plain(also) == wanted) return &topic;
    }
  }
  return nullptr;
}

std::vector<std::string> NearestTopics(std::string_view word) {
  constexpr size_t kLongest = 64;  // nothing here is as long, and the work grows with it
  const std::string wanted = Plain(word.substr(0, kLongest));
  std::vector<std::pair<size_t, std::string>> near;
  const auto consider = [&](std::string_view name, std::string_view shown) {
    const std::string plain = Plain(name);
    const bool part = wanted.size() >= 3 && (plain.find(wanted) != std::string::npos ||
                                             wanted.find(plain) != std::string::npos);
    const size_t distance = part && plain.size() >= 3 ? 1 : EditDistance(wanted, plain);
    // Farther than a third of its letters is another word.
    if (distance > std::max<size_t>(1, wanted.size() / 3)) return;
    const bool known =
        std::any_of(near.begin(), near.end(), [&](const auto& one) { return one.second == shown; });
    if (!known) near.emplace_back(distance, shown);
  };
  for (const Topic& topic : Topics()) {
    consider(topic.name, topic.name);
    for (const std::string_view also : topic.also) consider(also, topic.name);
  }
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    consider(info->label, info->label);
  }
  std::stable_sort(near.begin(), near.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (const auto& [distance, name] : near) {
    if (names.size() < 3) names.push_back(name);
  }
  return names;
}

}  // namespace helo::tool
