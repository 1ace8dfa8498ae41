// Protobuf by hand, for what a generated encoder would never write.
#pragma once

#include <string_view>

#include "p2p/base/bytes.h"

namespace helo::wire::testing {

inline Bytes Varint(uint64_t value) {
  Bytes out;
  for (; value >= 128; value /= 128) out.push_back(static_cast<uint8_t>(value % 128 + 128));
  out.push_back(static_cast<uint8_t>(value));
  return out;
}
inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
inline Bytes Number(uint32_t field, uint64_t value) {
  return Varint(field << 3 | 0) + Varint(value);
}
inline Bytes Blob(uint32_t field, const Bytes& bytes) {
  return Varint(field << 3 | 2) + Varint(bytes.size()) + bytes;
}
inline Bytes Text(uint32_t field, std::string_view text) {
  return Blob(field, Bytes(text.begin(), text.end()));
}
inline Bytes OfferBytes(uint64_t channel, std::string_view name, uint64_t version, uint64_t count,
                        uint64_t max) {
  return Number(1, channel) + Text(2, name) + Number(3, version) + Number(4, count) +
         Number(5, max);
}
inline Bytes EndpointBytes(const Bytes& ip, uint64_t port) { return Blob(1, ip) + Number(2, port); }

}  // namespace helo::wire::testing
