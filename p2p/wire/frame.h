// Frames (WIRE 2): u32 length | u16 channel | u16 type | payload, big-endian, length of the payload
// alone. Pure functions. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "p2p/base/bytes.h"

namespace helo::wire {

inline constexpr size_t kFrameHeaderBytes = 8;

enum CoreType : uint16_t {
  kHello = 1,
  kVerdict = 2,
  kDisconnect = 3,
  kPing = 4,
  kPong = 5,
  kOffer = 6,
  kWithdraw = 7,
  kGetPeers = 8,
  kPeers = 9,
};
std::string_view CoreTypeName(uint16_t type);  // "HELLO"; "unknown" for others

// Payload limit of a frame on channel 0 (the table of WIRE 2).
uint32_t CorePayloadLimit(uint16_t type);

struct FrameHeader {
  uint32_t length = 0;
  uint16_t channel = 0;
  uint16_t type = 0;
  bool operator==(const FrameHeader&) const = default;
};

// Both inline: they run once a message.
inline FrameHeader ParseFrameHeader(std::span<const uint8_t, kFrameHeaderBytes> b) {
  return {static_cast<uint32_t>(b[0]) << 24 | static_cast<uint32_t>(b[1]) << 16 |
              static_cast<uint32_t>(b[2]) << 8 | static_cast<uint32_t>(b[3]),
          static_cast<uint16_t>(b[4] << 8 | b[5]), static_cast<uint16_t>(b[6] << 8 | b[7])};
}
inline std::array<uint8_t, kFrameHeaderBytes> EncodeFrameHeader(const FrameHeader& h) {
  return {static_cast<uint8_t>(h.length >> 24), static_cast<uint8_t>(h.length >> 16),
          static_cast<uint8_t>(h.length >> 8),  static_cast<uint8_t>(h.length),
          static_cast<uint8_t>(h.channel >> 8), static_cast<uint8_t>(h.channel),
          static_cast<uint8_t>(h.type >> 8),    static_cast<uint8_t>(h.type)};
}
void AppendFrame(Bytes& out, uint16_t channel, uint16_t type, ByteView payload);

}  // namespace helo::wire
