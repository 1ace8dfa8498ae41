// The addresses that people type: where to listen and whom to dial. Whatever is wrong is said in a
// sentence with a form that would be right. A host whose last label is numeric is an IPv4 literal
// and nothing else: "1.2.3" and "017.0.0.1" mean different machines to different resolvers, so no
// resolver is asked.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "p2p/base/address_text.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/text.h"

namespace helo {
namespace {

std::string Shown(std::string_view text) {
  constexpr size_t kMost = 300;
  return absl::StrCat("\"", QuoteRemote(text.substr(0, kMost)), text.size() > kMost ? "..." : "",
                      "\"");
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Would some resolver read the last label as a number? "7", "0x7f", also before a final dot.
bool LastLabelIsNumeric(std::string_view host) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  std::string_view label = host.substr(host.rfind('.') + 1);
  if (label.empty()) return false;
  if (label.size() >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X')) {
    label.remove_prefix(2);
    return label.empty() || IsHex(label);
  }
  return std::all_of(label.begin(), label.end(), IsDigit);
}

absl::Status CheckName(std::string_view host) {
  const auto refuse = [&](std::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(host), " is not a host name: ", ToAbsl(why)));
  };
  if (host.size() > 253) return refuse("it is longer than 253 characters");
  size_t label = 0;
  for (size_t i = 0; i < host.size(); ++i) {
    const char c = host[i];
    if (c == '.') {
      if (label == 0) return refuse("it has an empty part between its dots");
      label = 0;
      continue;
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !IsDigit(c) && c != '-' && c != '_') {
      return refuse("only letters, digits, hyphen, underscore and dot may stand in it");
    }
    if (++label > 63) return refuse("a part between its dots is longer than 63 characters");
  }
  return absl::OkStatus();
}

// The literal that `host` is; nullopt if it is a name, which is then a well-formed one.
absl::StatusOr<std::optional<IpAddress>> JudgeHost(const HostAndPort& at) {
  const std::optional<IpAddress> ip = IpAddress::Parse(at.host);
  const bool colons = at.host.find(':') != std::string_view::npos;
  if (at.bracketed) {
    if (ip && colons) return ip;
    return absl::InvalidArgumentError(absl::StrCat(
        "[", QuoteRemote(at.host), "] is not an IPv6 address",
        at.host.find('%') != std::string_view::npos ? " on an interface of this machine" : "",
        ": only such a one stands in brackets, as in [2001:db8::1]:4356 or [fe80::1%eth0]:4356"));
  }
  if (colons) {
    return absl::InvalidArgumentError(absl::StrCat(
        Shown(at.host),
        " has colons: an IPv6 address must stand in brackets, as in [2001:db8::1]:4356"));
  }
  if (ip) return ip;
  if (LastLabelIsNumeric(at.host)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(at.host),
                     " ends in a number, so it must be an IPv4 address, but it is none: write four "
                     "decimal numbers from 0 to "
                     "255 without leading zeros, as in 192.0.2.1"));
  }
  if (absl::Status status = CheckName(at.host); !status.ok()) return status;
  return std::optional<IpAddress>();
}

absl::StatusOr<uint16_t> JudgePort(std::string_view port, uint32_t least) {
  const std::optional<uint32_t> value = ParsePlainDecimal(port, 65535);
  if (!value || *value < least) {
    return absl::InvalidArgumentError(absl::StrCat(
        Shown(port), " is not a port: a whole number from ", least, " to 65535 is needed"));
  }
  return static_cast<uint16_t>(*value);
}

absl::Status Within(std::string_view what, std::string_view text, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(ToAbsl(what), " ", Shown(text), ": ", status.message()));
}

}  // namespace

std::optional<HostAndPort> SplitHostPort(std::string_view text) {
  if (!text.empty() && text[0] == '[') {
    const size_t close = text.find(']');
    if (close == std::string_view::npos || close + 1 >= text.size() || text[close + 1] != ':')
      return std::nullopt;
    return HostAndPort{text.substr(1, close - 1), text.substr(close + 2), true};
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  return HostAndPort{text.substr(0, colon), text.substr(colon + 1), false};
}

absl::StatusOr<ListenAddress> ListenAddress::Parse(std::string_view text) {
  const auto refuse = [&](const absl::Status& status) {
    return Within("listen address", text, status);
  };
  ListenAddress out;
  std::string_view rest = text;
  if (const size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    const std::string_view name = text.substr(0, scheme);
    if (name == "tcp4") {
      out.family = Family::kV4;
    } else if (name == "tcp6") {
      out.family = Family::kV6;
    } else if (name != "tcp") {
      return refuse(absl::InvalidArgumentError(absl::StrCat(
          Shown(name), " is not a transport: use tcp://, tcp4:// or tcp6://, or none of them")));
    }
    rest = text.substr(scheme + 3);
  }
  const std::optional<HostAndPort> at = SplitHostPort(rest);
  if (!at) {
    return refuse(
        absl::InvalidArgumentError("it has no port: write HOST:PORT, as in 0.0.0.0:4356, :4356 "
                                   "(every address) or [::1]:4356"));
  }
  const absl::StatusOr<uint16_t> port = JudgePort(at->port, 0);
  if (!port.ok()) return refuse(port.status());
  out.port = *port;
  if (at->host.empty() && !at->bracketed) return out;
  const absl::StatusOr<std::optional<IpAddress>> ip = JudgeHost(*at);
  if (!ip.ok()) return refuse(ip.status());
  if (!ip->has_value()) {
    return refuse(absl::InvalidArgumentError(absl::StrCat(
        Shown(at->host),
        " is a name, and a listener needs an address of this machine: write 127.0.0.1 or [::1] for "
        "localhost, or leave the host empty for every address")));
  }
  out.ip = *ip;
  if ((out.family == Family::kV4 && !out.ip->is_v4()) ||
      (out.family == Family::kV6 && out.ip->is_v4())) {
    return refuse(absl::InvalidArgumentError(
        absl::StrCat(out.ip->ToString(), " is an IPv", out.ip->is_v4() ? 4 : 6,
                     " address and the transport asks for IPv", out.ip->is_v4() ? 6 : 4,
                     ": use tcp:// or change one of them")));
  }
  return out;
}

std::string ListenAddress::ToString() const {
  const char* scheme = family == Family::kAny ? "tcp" : family == Family::kV4 ? "tcp4" : "tcp6";
  return ip ? absl::StrCat(scheme, "://", Endpoint{*ip, port}.ToString())
            : absl::StrCat(scheme, "://:", port);
}

absl::StatusOr<PeerAddress> PeerAddress::Parse(std::string_view text) {
  const auto refuse = [&](const absl::Status& status) {
    return Within("peer address", text, status);
  };
  PeerAddress out;
  std::string_view rest = text;
  if (const size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    if (text.substr(0, scheme) != "helo") {
      return refuse(absl::InvalidArgumentError(
          absl::StrCat(Shown(text.substr(0, scheme)),
                       " is not the scheme of a peer: write helo://ID@HOST:PORT")));
    }
    rest = text.substr(scheme + 3);
  }
  if (const size_t sign = rest.find('@'); sign != std::string_view::npos) {
    out.id = NodeId::FromHex(rest.substr(0, sign));
    if (!out.id) {
      return refuse(absl::InvalidArgumentError(absl::StrCat(
          Shown(rest.substr(0, sign)),
          " is not a node id: 64 hex digits are needed, as `helo id` prints them on that node")));
    }
    rest = rest.substr(sign + 1);
  }
  const std::optional<HostAndPort> at = SplitHostPort(rest);
  if (!at) {
    return refuse(
        absl::InvalidArgumentError("it has no port: write HOST:PORT, as in node1.example.org:4356, "
                                   "192.0.2.1:4356 or [2001:db8::1]:4356"));
  }
  const absl::StatusOr<uint16_t> port = JudgePort(at->port, 1);
  if (!port.ok()) return refuse(port.status());
  if (at->host.empty()) return refuse(absl::InvalidArgumentError("it has no host before the port"));
  const absl::StatusOr<std::optional<IpAddress>> ip = JudgeHost(*at);
  if (!ip.ok()) return refuse(ip.status());
  if (ip->has_value() && (*ip)->IsUnspecified()) {
    return refuse(absl::InvalidArgumentError(absl::StrCat(
        (*ip)->ToString(),
        " means every address of this machine and cannot be dialed: name the peer's own address")));
  }
  out.host = std::string(at->host);
  out.port = *port;
  return out;
}

std::string PeerAddress::HostPort() const {
  const std::optional<IpAddress> ip = literal();
  return ip ? Endpoint{*ip, port}.ToString() : absl::StrCat(host, ":", port);
}

std::string PeerAddress::ToString() const {
  return absl::StrCat("helo://", id ? id->ToHex() + "@" : "", HostPort());
}

}  // namespace helo
