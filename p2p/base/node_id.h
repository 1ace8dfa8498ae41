// A node's identity: its 32-byte Ed25519 public key (WIRE 1). Ordered as unsigned bytes, written as
// 64 lower-case hex digits.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace helo {

struct NodeId {
  static constexpr size_t kSize = 32;
  std::array<uint8_t, kSize> bytes{};

  // std::array compares as unsigned bytes. NOLINTNEXTLINE(modernize-use-nullptr): a false alarm
  auto operator<=>(const NodeId&) const = default;
  std::string ToHex() const;  // 64 digits
  std::string Short() const;  // the first 10 digits, for tables and logs
  // Exactly 64 hex digits, either case; nothing else.
  static std::optional<NodeId> FromHex(std::string_view hex);

  template <typename H>
  friend H AbslHashValue(H h, const NodeId& id) {
    return H::combine(std::move(h), id.bytes);
  }
};

}  // namespace helo
