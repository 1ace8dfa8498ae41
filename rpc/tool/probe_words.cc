#include "rpc/tool/probe_words.h"

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "p2p/base/text.h"
#include "p2p/net/port_owner.h"

namespace helo::tool {
namespace {

constexpr size_t kShownBytes = 48;
constexpr int kProtocolVersionAlert = 70;  // RFC 8446 6

struct Facts {
  const PeerAddress& asked;
  const ProbeReport& report;
  std::string to;    // "10.0.0.7:4356"
  std::string host;  // "10.0.0.7"
  std::string port;
};

std::string ListCommand(const Facts& f) { return absl::StrCat("ss -ltnp 'sport = :", f.port, "'"); }

// Who listens on that port of this machine, where the address is one of its own.
std::optional<net::PortOwner> LocalListener(const Facts& f, bool any_address) {
  if (!f.report.here || !f.report.remote) return std::nullopt;
  Endpoint at = *f.report.remote;
  if (any_address) at.ip = IpAddress();
  const std::optional<net::PortOwner> owner =
      net::FindPortOwner(at, any_address || !at.ip.is_v4(), any_address);
  if (!owner || owner->kind != net::PortOwner::Kind::kListener) return std::nullopt;
  return owner;
}

ProbeWords ClosedPort(const Facts& f) {
  ProbeWords words{
      "closed-port",
      absl::StrCat("Nothing listens on ", f.to,
                   ": the machine is there and answered by a reset (RST)."),
      "The node is not running, listens on another port, or only on 127.0.0.1 of its "
      "machine.",
      absl::StrCat("On that machine: helo info shows where the node listens, ", ListCommand(f),
                   " who has the port. Start it, or let it listen on "
                   "every address: helod --listen :",
                   f.port, ".")};
  const std::optional<net::PortOwner> other = LocalListener(f, true);
  if (!other) return words;
  const IpAddress& ip = other->local.ip;
  if (ip == f.report.remote->ip) return words;  // it came meanwhile
  Endpoint dial = other->local;
  if (ip.IsUnspecified()) {  // every address of the other family; none to dial
    if (ip.is_v4() == f.report.remote->ip.is_v4()) return words;
    dial.ip = *IpAddress::Parse(ip.is_v4() ? "127.0.0.1" : "::1");
  }
  words.finding = "other-address";
  words.cause = absl::StrCat(net::Describe(*other), " listens on ", other->local.ToString(),
                             ", which does not include ", f.host, ".");
  words.remedy = absl::StrCat("Dial ", dial.ToString(),
                              ", or let it listen on every address: helod --listen :", f.port, ".");
  return words;
}

ProbeWords Icmp(const Facts& f) {
  const net::IcmpError& icmp = *f.report.icmp;
  const std::string who = f.report.icmp_from_here
                              ? absl::StrCat("this machine itself (", icmp.from.ToString(), ")")
                          : icmp.from == f.report.remote->ip
                              ? absl::StrCat(f.host, " itself")
                              : absl::StrCat("a router on the way, ", icmp.from.ToString());
  const std::string said =
      absl::StrCat("Instead of an answer came ", net::Describe(icmp), ", from ", who, ".");
  if (!icmp.forbidden() && f.report.icmp_from_here) {
    return {"no-neighbour", absl::StrCat("Nobody at ", f.host, " can be reached: ", said),
            "Nobody on that network answers for this address (ARP or neighbour discovery): a wrong "
            "address, or a machine that is off.",
            absl::StrCat("ip neigh show ", f.host, " says FAILED; check the address.")};
  }
  if (!icmp.forbidden()) {
    return {"unreachable", said, "There is no way to that address, or its machine is down.",
            absl::StrCat("Check the address, and the way to it: ip route get ", f.host, ".")};
  }
  if (f.report.icmp_from_here) {
    return {"rejected-here", said,
            "A packet filter of this machine has a rule that rejects the connection: a closed port "
            "answers by RST, never by ICMP.",
            "See the rules here: nft list ruleset (or iptables -S), and remove the one that "
            "matches."};
  }
  return {
      "rejected", said,
      "A firewall there has a rule that rejects the connection: a closed port answers by RST, "
      "never by ICMP.",
      absl::StrCat("On ", icmp.from.ToString(),
                   ": nft list ruleset (or iptables -S); let TCP port ", f.port,
                   " in, as by nft insert rule inet filter input tcp dport ", f.port, " accept.")};
}

ProbeWords LocalRefusal(const Facts& f) {
  const std::string see = absl::StrCat("ip route get ", f.host, " names the route");
  switch (f.report.error) {
    case EACCES:
      return {"prohibited-here", "This machine forbids connections to that address (EACCES).",
              "A route of the type prohibit.",
              absl::StrCat(see, "; ip route del prohibit ", f.host, " removes it.")};
    case EINVAL:
      return {"blackhole-here", "This machine throws away what is sent to that address (EINVAL).",
              "A route of the type blackhole.",
              absl::StrCat(see, "; ip route del blackhole ", f.host, " removes it.")};
    case EPERM:
      return {
          "forbidden-here", "This machine forbids the connection (EPERM).",
          "A security policy: a cgroup's BPF program (systemd IPAddressDeny=), SELinux, AppArmor "
          "or a container's rules.",
          "systemctl show UNIT -p IPAddressDeny, aa-status or ausearch -m avc name it."};
    case EHOSTUNREACH:
      return {"no-neighbour", absl::StrCat("Nobody at ", f.host, " can be reached (EHOSTUNREACH)."),
              "A route of the type unreachable, or on a network of this machine nobody has that "
              "address.",
              absl::StrCat(see, "; ip neigh show ", f.host, " says FAILED where nobody answers.")};
    default:
      return {"no-route",
              absl::StrCat("There is no way from here to ", f.host, " (", ErrnoName(f.report.error),
                           ")."),
              f.report.remote && !f.report.remote->ip.is_v4()
                  ? "This machine has no IPv6 route there, or no IPv6 at all."
                  : "No route, or the interface is down.",
              absl::StrCat(see, "; ip route and ip address show what there is.")};
  }
}

// Nothing answered though somebody of this machine listens there.
ProbeWords LocalSilence(const Facts& f, const net::PortOwner& owner) {
  const std::string sentence =
      absl::StrCat("Nothing answered at ", f.to, ", though ", net::Describe(owner),
                   " listens there, on this machine.");
  if (owner.waiting == 0) {
    return {"dropped-here", sentence,
            "Its accept queue is empty, so a packet filter of this machine drops the packets.",
            "See the rules here: nft list ruleset (or iptables -S)."};
  }
  return {"full-backlog", sentence,
          absl::StrCat("Its accept queue is full, ", owner.waiting,
                       owner.waiting == 1 ? " connection waits" : " connections wait",
                       ": it does not accept, and Linux drops what comes then, so that the caller "
                       "tries again."),
          absl::StrCat(ListCommand(f),
                       " shows Recv-Q above Send-Q then. See why the process does "
                       "not accept (out of fds? stopped?): helo explain backlog.")};
}

ProbeWords ConnectTimeout(const Facts& f) {
  const ProbeReport& r = f.report;
  const std::string silence = absl::StrCat("Nothing answered at ", f.to, ".");
  if ((r.tcp && r.tcp->dropped_here()) || r.ping.kind == PingResult::Kind::kForbidden) {
    return {"dropped-here", absl::StrCat("The packets to ", f.to, " do not leave this machine."),
            "A packet filter of this machine drops them on the way out (the kernel tried to send "
            "again and nothing left).",
            "See the rules of the output chain here: nft list ruleset (or iptables -S OUTPUT)."};
  }
  if (r.tcp && r.tcp->waits_for_neighbour()) {
    return {
        "no-neighbour", silence,
        "Nobody on that network answers for this address (ARP or neighbour discovery): a wrong "
        "address, or a machine that is off.",
        absl::StrCat("ip neigh show ", f.host, " says INCOMPLETE or FAILED; check the address.")};
  }
  if (const std::optional<net::PortOwner> owner = LocalListener(f, false)) {
    return LocalSilence(f, *owner);
  }
  if (r.ping.kind == PingResult::Kind::kAnswered) {
    return {"port-silent",
            absl::StrCat("Nothing answered at ", f.to,
                         ", but the machine is up: it answers a ping "
                         "in ",
                         HumanDuration(r.ping.rtt.count()), "."),
            "A firewall there drops packets to this port, or the listener's accept queue is full "
            "(Linux then drops new connections silently; helo explain backlog).",
            absl::StrCat("On that machine: ", ListCommand(f),
                         " (a full queue: Recv-Q above Send-Q) and nft list ruleset.")};
  }
  return {
      "no-answer", silence,
      absl::StrCat(
          "A wrong address, a machine that is down, or a firewall that drops packets",
          r.ping.kind == PingResult::Kind::kSilent ? "; a ping is not answered either." : "."),
      absl::StrCat("Check the address and the way to it (ip route get ", f.host,
                   "); on the other machine that the node runs (helo info) and that its firewall "
                   "lets TCP port ",
                   f.port, " in.")};
}

ProbeWords NoHandshake(const Facts& f) {
  const ProbeReport& r = f.report;
  if (r.tls_up) {
    const uint64_t n = r.bytes_in - r.bytes_before_hello;
    return {n == 0 ? "silent-after-tls" : "trickles",
            n == 0 ? "TLS stands, but no HELLO came."
                   : absl::StrCat("TLS stands, but ", r.hello ? "no VERDICT" : "no whole HELLO",
                                  " came in time: ", n, " bytes did."),
            "A node that is overloaded or suspended, or a service that is not helo.",
            "Try again; on that machine: helo health, and its load."};
  }
  if (r.bytes_in > 0) {
    return {"trickles",
            absl::StrCat("Only ", r.bytes_in, " bytes came, not a whole TLS handshake."),
            "A very slow or overloaded machine or network, or a service that delays on purpose.",
            r.out_of_time ? "Try again with a longer --timeout; look at the other machine's load."
                          : "Look at the other machine's load and the way to it: a node waits no "
                            "longer than this probe did."};
  }
  if (r.tcp && r.tcp->unacked > 0 && r.tcp->timeouts > 0) {
    return {"not-acknowledged",
            absl::StrCat(f.to, " took the connection, but what is sent to it is not acknowledged."),
            "The listener's accept queue was full at the last step (Linux then ignores the "
            "connection without telling), or a firewall lets only the first packets pass.",
            absl::StrCat("On that machine: ", ListCommand(f),
                         " (a full queue: Recv-Q above Send-Q), nstat -az TcpExtListenOverflows.")};
  }
  return {"silent", absl::StrCat(f.to, " took the connection and then said nothing."),
          "Its kernel accepts for a process that does not: one that hangs, is stopped (SIGSTOP) or "
          "is out of fds; or a service that waits for the client to speak its own protocol.",
          absl::StrCat("On that machine: ", ListCommand(f),
                       " names the process and shows connections waiting (Recv-Q); ps -o "
                       "pid,stat,cmd: T is stopped.")};
}

ProbeWords NotTls(const Facts& f) {
  const std::string what = WhatSpeaks(f.report.first_bytes);
  const ByteView shown =
      ByteView(f.report.first_bytes).first(std::min(f.report.first_bytes.size(), kShownBytes));
  ProbeWords words{
      what == "a web server" ? "http" : "not-tls",
      absl::StrCat("What answers at ", f.to, " does not speak TLS",
                   what.empty() ? "" : absl::StrCat(": it is ", what),
                   ". It began: ", QuoteRemote(AsString(shown))),
      "Another service has that port.",
      "Check host and port: peers use 4356 by default; helo info on that machine shows "
      "where its node listens."};
  if (what == "an HTTP/2 server") {
    words.finding = "http2";
    words.cause =
        "gRPC, as the admin port of a node speaks it (4357), which is not for peers; or "
        "another HTTP/2 service.";
  }
  return words;
}

ProbeWords TlsRefused(const Facts& f, const ReasonInfo& info) {
  const ProbeReport& r = f.report;
  ProbeWords words{"tls-not-helo", std::string(info.sentence), std::string(info.cause),
                   std::string(info.remedy)};
  if (r.close.reason == Reason::kTlsAlert) {
    words.sentence = absl::StrCat("TLS was not agreed on: ", r.close.text, ".");
    words.cause = r.alert == kProtocolVersionAlert
                      ? "A TLS server of before 1.3, or one that has no certificate: not a node."
                      : "A TLS server that is not a node: one without an Ed25519 certificate (web "
                        "servers have "
                        "RSA or ECDSA ones), without any, or with other ciphers.";
    words.remedy = absl::StrCat("Check host and port; see what it is: openssl s_client -connect ",
                                f.to, " -brief.");
  } else if (r.close.reason != Reason::kTlsMisuse) {
    words.finding = absl::AsciiStrToLower(absl::StrReplaceAll(ToAbsl(info.label), {{"_", "-"}}));
    words.sentence = absl::StrCat(ToAbsl(info.sentence), " In detail: ", r.close.text, ".");
  }
  return words;
}

ProbeWords Broken(const Facts& f) {
  const ProbeReport& r = f.report;
  const bool reset = r.close.reason == Reason::kReset;
  if (r.tls_up) {
    ProbeWords words{reset ? "reset" : "closed-early",
                     absl::StrCat("TLS stands, and then the other side ",
                                  reset ? "reset" : "closed", " the connection without a word."),
                     "A service that is not helo, or a node that died at this moment.",
                     "Try again; see that machine's log."};
    if (!r.certificate_requested) {
      words.cause =
          "A TLS service that is not helo/1: it did not even ask who calls (no "
          "certificate was requested).";
    }
    return words;
  }
  if (r.bytes_in == 0 && reset) {
    return {"reset", absl::StrCat(f.to, " took the connection and reset it before a byte came."),
            "A full accept queue where net.ipv4.tcp_abort_on_overflow is 1; a process that closes "
            "at once or just ended; or a load balancer or firewall with nothing behind it.",
            absl::StrCat("On that machine: sysctl net.ipv4.tcp_abort_on_overflow, ", ListCommand(f),
                         ", nstat -az TcpExtListenOverflows, and the node's log.")};
  }
  return {reset ? "reset" : "closed-early",
          absl::StrCat(
              f.to, reset ? " reset" : " closed", " the connection ",
              r.bytes_in == 0 ? "before it said anything." : "in the middle of the TLS handshake."),
          "Not a node, or one that has no use for this caller and could not say so.",
          absl::StrCat("Check host and port; on that machine: helo history --direction in, and ",
                       ListCommand(f), ".")};
}

// Refusals over the wire, and what else has its words in reasons.def.
ProbeWords FromTable(const Facts& f, const ReasonInfo& info) {
  const ProbeReport& r = f.report;
  ProbeWords words{absl::AsciiStrToLower(absl::StrReplaceAll(ToAbsl(info.label), {{"_", "-"}})),
                   std::string(info.sentence), std::string(info.cause), std::string(info.remedy)};
  switch (info.reason) {
    case Reason::kWrongNetwork:
      if (r.hello) {
        absl::StrAppend(&words.sentence, " That node is on ", QuoteRemote(r.hello->network), ".");
        words.remedy =
            absl::StrCat("Ask for its network: --network ", QuoteRemote(r.hello->network),
                         "; or connect to nodes of yours.");
      }
      break;
    case Reason::kWrongGenesis:
      if (r.hello) {
        words.remedy = absl::StrCat("That node's is ", ToHex(r.hello->genesis),
                                    "; give both the same --genesis.");
      }
      break;
    case Reason::kNoSharedCapability:
      words.remedy =
          "A probe offers none by itself: name yours with --offer NAME/VERSION:MESSAGES, "
          "as echo/1:2.";
      break;
    case Reason::kUnexpectedId:
      words.finding = "wrong-id";
      if (r.id && f.asked.id) {
        absl::StrAppend(&words.sentence, " Asked for ", f.asked.id->Short(), ", answered by ",
                        r.id->ToHex(), ".");
      }
      break;
    case Reason::kSelf:
      words.cause = "The key given with --key is that node's own.";
      words.remedy = "Leave --key out: a probe makes a key for itself.";
      break;
    default:
      break;
  }
  if (r.close.wire_code != 0) {
    words.sentence = absl::StrCat("It refused with the code ", r.close.wire_code,
                                  ", which this version does not know.");
  }
  return words;
}

}  // namespace

std::string WhatSpeaks(ByteView first_bytes) {
  const std::string text = AsString(first_bytes);
  const auto begins = [&](std::string_view with) { return text.rfind(with, 0) == 0; };
  if (begins("HTTP/") || begins("<")) return "a web server";
  if (begins("SSH-")) return "an SSH server";
  if (begins("220")) return "a mail or FTP server";
  if (begins("-ERR") || begins("+")) return "a Redis or POP3 server";
  // A SETTINGS frame on stream 0 comes first (RFC 9113 3.4).
  if (first_bytes.size() >= 9 && first_bytes[0] == 0 && first_bytes[3] == 4 &&
      first_bytes[5] == 0 && first_bytes[8] == 0) {
    return "an HTTP/2 server";
  }
  return "";
}

ProbeWords ExplainProbe(const PeerAddress& asked, const ProbeReport& report) {
  const Facts f{asked, report, report.remote ? report.remote->ToString() : asked.HostPort(),
                report.remote ? report.remote->ip.ToString() : asked.host,
                absl::StrCat(asked.port)};
  if (report.accepted) {
    return {"accepted", "A node with this key, network and genesis would be accepted.", "", ""};
  }
  const ReasonInfo* info = FindReason(static_cast<uint32_t>(report.close.reason));
  if (report.close.decider == Decider::kThem && report.hello) return FromTable(f, *info);
  switch (report.close.reason) {
    case Reason::kResolve:
      if (report.names_unanswered) {
        return {"name-server-silent", absl::StrCat(report.close.text, "."),
                "The name server is down, or a firewall drops what is sent to it.",
                "See which it is: cat /etc/resolv.conf; give an address instead to leave names out "
                "of it."};
      }
      return {"name-unknown", absl::StrCat(report.close.text, "."), std::string(info->cause),
              absl::StrCat("Check the name: getent hosts ", f.host,
                           "; give an address instead to leave names out of it.")};
    case Reason::kRefused:
    case Reason::kUnreachable:
    case Reason::kFiltered:
      if (report.icmp) return Icmp(f);
      return report.close.reason == Reason::kRefused ? ClosedPort(f) : LocalRefusal(f);
    case Reason::kConnectTimeout:
      return ConnectTimeout(f);
    case Reason::kStageTimeout:
      return report.close.decider == Decider::kUs ? NoHandshake(f) : FromTable(f, *info);
    case Reason::kNotTls:
      return NotTls(f);
    case Reason::kTlsAlert:
    case Reason::kWrongAlpn:
    case Reason::kNoCertificate:
    case Reason::kBadCertificate:
    case Reason::kTlsMisuse:
      return TlsRefused(f, *info);
    case Reason::kReset:
    case Reason::kEofEarly:
      return Broken(f);
    default:
      return FromTable(f, *info);
  }
}

}  // namespace helo::tool
