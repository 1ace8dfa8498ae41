// Addresses. An IPv4-mapped IPv6 address does not exist inside the node: it is turned into IPv4
// here, at parse and at accept, and nowhere else. Parsing never asks DNS.
#pragma once

#include <absl/status/statusor.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "p2p/base/bytes.h"
#include "p2p/base/node_id.h"

namespace helo {

class IpAddress {
 public:
  IpAddress() = default;  // 0.0.0.0
  static IpAddress V4(std::array<uint8_t, 4> bytes);
  static IpAddress V6(std::array<uint8_t, 16> bytes);  // normalises v4-mapped to V4
  // 4 or 16 bytes in network order; anything else is nullopt.
  static std::optional<IpAddress> FromBytes(ByteView bytes);
  // Dotted quad of four plain decimals ("017.0.0.1" is refused), or RFC 4291 text without brackets,
  // with an optional %scope (kept as scope id).
  static std::optional<IpAddress> Parse(std::string_view text);

  bool is_v4() const { return v4_; }
  ByteView bytes() const { return {bytes_.data(), v4_ ? size_t{4} : size_t{16}}; }
  uint32_t scope_id() const { return scope_id_; }
  std::string ToString() const;  // RFC 5952, no brackets
  bool IsUnspecified() const;
  bool IsLoopback() const;
  auto operator<=>(const IpAddress&) const = default;  // NOLINT(modernize-use-nullptr): false alarm

  template <typename H>
  friend H AbslHashValue(H h, const IpAddress& a) {
    return H::combine(std::move(h), a.v4_, a.bytes_, a.scope_id_);
  }

 private:
  friend struct Endpoint;
  bool v4_ = true;
  std::array<uint8_t, 16> bytes_{};
  uint32_t scope_id_ = 0;
};

// An address and a port: one end of a TCP connection.
struct Endpoint {
  IpAddress ip;
  uint16_t port = 0;

  // "1.2.3.4:80" or "[::1]:80".
  static std::optional<Endpoint> Parse(std::string_view text);
  static std::optional<Endpoint> FromSockaddr(const sockaddr_storage& addr);  // normalised
  // Fills `out` and returns its length. `as_v6`: write IPv4 as ::ffff:a.b.c.d, for a dual-stack
  // socket.
  socklen_t ToSockaddr(sockaddr_storage& out, bool as_v6 = false) const;
  std::string ToString() const;
  auto operator<=>(const Endpoint&) const = default;  // NOLINT(modernize-use-nullptr): false alarm

  template <typename H>
  friend H AbslHashValue(H h, const Endpoint& e) {
    return H::combine(std::move(h), e.ip, e.port);
  }
};

// An address block, "10.0.0.0/8" or "fd00::/8"; a bare address is its own block.
struct Subnet {
  IpAddress base;
  int prefix_bits = 32;

  static absl::StatusOr<Subnet> Parse(std::string_view text);
  bool Contains(const IpAddress& ip) const;
  std::string ToString() const;
  auto operator<=>(const Subnet&) const = default;  // NOLINT(modernize-use-nullptr): false alarm

  template <typename H>
  friend H AbslHashValue(H h, const Subnet& s) {
    return H::combine(std::move(h), s.base, s.prefix_bits);
  }
};

// The block a source is counted under: the IPv4 address itself or the IPv6 /64 (DESIGN 6).
Subnet SourceOf(const IpAddress& ip);
// The block that the fair queue of handshakes shares CPU by: IPv4 /24, IPv6 /48.
Subnet FairnessGroupOf(const IpAddress& ip);

// Where to listen: "[tcp|tcp4|tcp6://]HOST:PORT"; an empty host means every address, tcp:// (the
// default) on an empty host means one dual-stack socket. A HOST is an IP literal here; a last label
// that is numeric makes it an IPv4 literal, which must then be four plain decimal octets. Names are
// refused: a listener is local.
struct ListenAddress {
  enum class Family { kAny, kV4, kV6 };
  Family family = Family::kAny;
  std::optional<IpAddress> ip;  // nullopt: all addresses of the family
  uint16_t port = 0;            // 0: the kernel chooses

  static absl::StatusOr<ListenAddress> Parse(std::string_view text);
  std::string ToString() const;
  bool operator==(const ListenAddress&) const = default;
};

// Whom to dial: "helo://[<id>@]HOST:PORT", the scheme optional. HOST is an IP literal or a DNS name
// (at most 253 characters of letters, digits, '-', '_' and '.'), which is resolved anew at every
// try.
struct PeerAddress {
  std::optional<NodeId> id;
  std::string host;  // as written, without brackets
  uint16_t port = 0;

  static absl::StatusOr<PeerAddress> Parse(std::string_view text);
  std::optional<IpAddress> literal() const { return IpAddress::Parse(host); }
  std::string HostPort() const;  // brackets where needed
  std::string ToString() const;  // canonical helo:// form
  bool operator==(const PeerAddress&) const = default;
};

}  // namespace helo
