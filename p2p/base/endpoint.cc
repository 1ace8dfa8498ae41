// IP addresses, endpoints and blocks of addresses: bytes, text and sockaddr. The addresses that
// people type, with their sentences for what is wrong, are in address.cc.
#include "p2p/base/endpoint.h"

#include <absl/strings/str_cat.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "p2p/base/address_text.h"
#include "p2p/base/text.h"

namespace helo {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<std::array<uint8_t, 4>> ParseV4(std::string_view text) {
  std::array<uint8_t, 4> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t dot = text.find('.');
    if ((dot == std::string_view::npos) != (i + 1 == bytes.size())) return std::nullopt;
    const std::optional<uint32_t> octet = ParsePlainDecimal(text.substr(0, dot), 255);
    if (!octet) return std::nullopt;
    bytes[i] = static_cast<uint8_t>(*octet);
    if (dot != std::string_view::npos) text.remove_prefix(dot + 1);
  }
  return bytes;
}

// A number, or the name of an interface of this machine. Zero is none.
std::optional<uint32_t> ParseScope(std::string_view text) {
  if (text.empty()) return std::nullopt;
  std::optional<uint32_t> id = ParsePlainDecimal(text, UINT32_MAX);
  if (!id && text.size() < IF_NAMESIZE && text.find('\0') == std::string_view::npos) {
    id = if_nametoindex(std::string(text).c_str());
  }
  return id && *id != 0 ? id : std::nullopt;
}

IpAddress WithPrefix(const IpAddress& ip, int bits) {
  Bytes bytes(ip.bytes().begin(), ip.bytes().end());
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int keep = std::clamp(bits - static_cast<int>(i) * 8, 0, 8);
    bytes[i] = static_cast<uint8_t>(bytes[i] & (0xff00 >> keep));
  }
  // A block cannot become v4-mapped here: the mapped prefix is longer than anything cut off from a
  // plain IPv6 address leaves standing, and mapped addresses do not exist.
  return *IpAddress::FromBytes(bytes);
}

}  // namespace

std::optional<uint32_t> ParsePlainDecimal(std::string_view text, uint32_t max) {
  if (text.empty() || text.size() > 10 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  if (value > max) return std::nullopt;
  return static_cast<uint32_t>(value);
}

IpAddress IpAddress::V4(std::array<uint8_t, 4> bytes) {
  IpAddress ip;
  std::copy(bytes.begin(), bytes.end(), ip.bytes_.begin());
  return ip;
}

IpAddress IpAddress::V6(std::array<uint8_t, 16> bytes) {
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin())) {
    return V4({bytes[12], bytes[13], bytes[14], bytes[15]});
  }
  IpAddress ip;
  ip.v4_ = false;
  ip.bytes_ = bytes;
  return ip;
}

std::optional<IpAddress> IpAddress::FromBytes(ByteView bytes) {
  if (bytes.size() == 4) return V4({bytes[0], bytes[1], bytes[2], bytes[3]});
  if (bytes.size() != 16) return std::nullopt;
  std::array<uint8_t, 16> all{};
  std::copy(bytes.begin(), bytes.end(), all.begin());
  return V6(all);
}

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    const auto bytes = ParseV4(text);
    if (!bytes) return std::nullopt;
    return V4(*bytes);
  }
  std::optional<uint32_t> scope;
  if (const size_t percent = text.find('%'); percent != std::string_view::npos) {
    scope = ParseScope(text.substr(percent + 1));
    if (!scope) return std::nullopt;
    text = text.substr(0, percent);
  }
  std::array<uint8_t, 16> bytes{};
  if (text.find('\0') != std::string_view::npos ||
      inet_pton(AF_INET6, std::string(text).c_str(), bytes.data()) != 1) {
    return std::nullopt;
  }
  IpAddress ip = V6(bytes);
  if (scope && ip.v4_) return std::nullopt;
  ip.scope_id_ = scope.value_or(0);
  return ip;
}

std::string IpAddress::ToString() const {
  if (v4_) return absl::StrCat(bytes_[0], ".", bytes_[1], ".", bytes_[2], ".", bytes_[3]);
  std::array<uint16_t, 8> groups{};
  for (size_t i = 0; i < 8; ++i)
    groups[i] = static_cast<uint16_t>(bytes_[2 * i] << 8 | bytes_[2 * i + 1]);
  // RFC 5952, 4.2: "::" for the longest run of at least two zero groups, the first of equals.
  size_t gap = 8;
  size_t gap_length = 1;
  for (size_t i = 0; i < 8; ++i) {
    size_t end = i;
    while (end < 8 && groups[end] == 0) ++end;
    if (end - i > gap_length) {
      gap = i;
      gap_length = end - i;
    }
    i = std::max(i, end);
  }
  std::string out;
  for (size_t i = 0; i < 8; ++i) {
    if (i == gap) {
      out.append("::");
      i += gap_length - 1;
      continue;
    }
    if (!out.empty() && out.back() != ':') out.push_back(':');
    absl::StrAppend(&out, absl::Hex(groups[i]));
  }
  if (scope_id_ != 0) absl::StrAppend(&out, "%", scope_id_);
  return out;
}

bool IpAddress::IsUnspecified() const {
  return std::all_of(bytes_.begin(), bytes_.end(), [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::IsLoopback() const {
  if (v4_) return bytes_[0] == 127;
  return bytes_[15] == 1 &&
         std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t byte) { return byte == 0; });
}

std::optional<Endpoint> Endpoint::Parse(std::string_view text) {
  const std::optional<HostAndPort> split = SplitHostPort(text);
  if (!split) return std::nullopt;
  const std::optional<IpAddress> ip = IpAddress::Parse(split->host);
  const std::optional<uint32_t> port = ParsePlainDecimal(split->port, 65535);
  if (!ip || !port || split->bracketed != (split->host.find(':') != std::string_view::npos))
    return std::nullopt;
  return Endpoint{*ip, static_cast<uint16_t>(*port)};
}

std::optional<Endpoint> Endpoint::FromSockaddr(const sockaddr_storage& addr) {
  if (addr.ss_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &addr, sizeof(v4));
    std::array<uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
    return Endpoint{IpAddress::V4(bytes), ntohs(v4.sin_port)};
  }
  if (addr.ss_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &addr, sizeof(v6));
    std::array<uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    IpAddress ip = IpAddress::V6(bytes);
    if (!ip.v4_) ip.scope_id_ = v6.sin6_scope_id;
    return Endpoint{ip, ntohs(v6.sin6_port)};
  }
  return std::nullopt;
}

socklen_t Endpoint::ToSockaddr(sockaddr_storage& out, bool as_v6) const {
  out = {};
  if (ip.v4_ && !as_v6) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, ip.bytes_.data(), 4);
    std::memcpy(&out, &v4, sizeof(v4));
    return sizeof(v4);
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  v6.sin6_scope_id = ip.scope_id_;
  if (ip.v4_) {
    std::memcpy(v6.sin6_addr.s6_addr, kMappedPrefix.data(), kMappedPrefix.size());
    std::memcpy(v6.sin6_addr.s6_addr + kMappedPrefix.size(), ip.bytes_.data(), 4);
  } else {
    std::memcpy(v6.sin6_addr.s6_addr, ip.bytes_.data(), 16);
  }
  std::memcpy(&out, &v6, sizeof(v6));
  return sizeof(v6);
}

std::string Endpoint::ToString() const {
  return ip.is_v4() ? absl::StrCat(ip.ToString(), ":", port)
                    : absl::StrCat("[", ip.ToString(), "]:", port);
}

bool Subnet::Contains(const IpAddress& ip) const {
  return ip.is_v4() == base.is_v4() &&
         WithPrefix(ip, prefix_bits).bytes().size() == base.bytes().size() &&
         std::ranges::equal(WithPrefix(ip, prefix_bits).bytes(), base.bytes());
}

std::string Subnet::ToString() const { return absl::StrCat(base.ToString(), "/", prefix_bits); }

absl::StatusOr<Subnet> Subnet::Parse(std::string_view text) {
  const std::string shown = absl::StrCat("\"", QuoteRemote(text), "\"");
  const size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  const std::optional<IpAddress> ip = IpAddress::Parse(host);
  if (!ip || ip->scope_id() != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        shown, " is not a block of addresses: write 10.0.0.0/8, fd00::/8 or a single address"));
  }
  const int bits = ip->is_v4() ? 32 : 128;
  if (slash == std::string_view::npos) return Subnet{*ip, bits};
  // ::ffff:10.0.0.0/104 means 10.0.0.0/8.
  const int mapped = ip->is_v4() && host.find(':') != std::string_view::npos ? 96 : 0;
  const std::optional<uint32_t> written =
      ParsePlainDecimal(text.substr(slash + 1), static_cast<uint32_t>(bits + mapped));
  const int prefix = written ? static_cast<int>(*written) - mapped : -1;
  if (prefix < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(shown, " has no proper length after its slash: a whole number from ", mapped,
                     " to ", bits + mapped, " is needed"));
  }
  const Subnet subnet{WithPrefix(*ip, prefix), prefix};
  if (subnet.base != *ip) {
    return absl::InvalidArgumentError(
        absl::StrCat(shown, " has address bits beyond its length: did you mean ", subnet.ToString(),
                     ", or ", ip->ToString(), "/", bits, "?"));
  }
  return subnet;
}

Subnet SourceOf(const IpAddress& ip) {
  const int bits = ip.is_v4() ? 32 : 64;
  return {WithPrefix(ip, bits), bits};
}

Subnet FairnessGroupOf(const IpAddress& ip) {
  const int bits = ip.is_v4() ? 24 : 48;
  return {WithPrefix(ip, bits), bits};
}

}  // namespace helo
