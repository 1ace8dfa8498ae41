// Short names for the two shapes of raw bytes that every room passes around.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace helo {

using Bytes = std::vector<uint8_t>;  // owned
// Borrowed for the call, unless a contract says otherwise.
using ByteView = std::span<const uint8_t>;

inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string AsString(ByteView bytes) { return std::string(bytes.begin(), bytes.end()); }

}  // namespace helo
