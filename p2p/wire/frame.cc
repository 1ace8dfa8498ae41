#include "p2p/wire/frame.h"

#include <array>

namespace helo::wire {
namespace {

struct CoreRow {
  std::string_view name;
  uint32_t payload_limit;
};
// The table of WIRE 2, by type. Type 0 is no message: it falls under "other", as does everything
// above 9.
constexpr std::array<CoreRow, 10> kCoreRows = {{
    {"unknown", 1024},
    {"HELLO", 16384},
    {"VERDICT", 1024},
    {"DISCONNECT", 1024},
    {"PING", 64},
    {"PONG", 64},
    {"OFFER", 4096},
    {"WITHDRAW", 64},
    {"GET_PEERS", 64},
    {"PEERS", 16384},
}};

const CoreRow& RowOf(uint16_t type) { return kCoreRows[type < kCoreRows.size() ? type : 0]; }

}  // namespace

std::string_view CoreTypeName(uint16_t type) { return RowOf(type).name; }

uint32_t CorePayloadLimit(uint16_t type) { return RowOf(type).payload_limit; }

void AppendFrame(Bytes& out, uint16_t channel, uint16_t type, ByteView payload) {
  const std::array<uint8_t, kFrameHeaderBytes> header =
      EncodeFrameHeader({static_cast<uint32_t>(payload.size()), channel, type});
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), payload.begin(), payload.end());
}

}  // namespace helo::wire
