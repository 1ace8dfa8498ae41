// libFuzzer: the first byte chooses a decoder, the rest is its payload. What decodes must encode,
// and decode to the same again.
#include <optional>

#include "check.h"
#include "p2p/wire/codec.h"

namespace helo::wire {
namespace {

template <typename Decode, typename Encode>
void RoundTrip(ByteView payload, Decode decode, Encode encode) {
  const auto first = decode(payload);
  if (!first) return;
  const auto second = decode(encode(*first));
  FUZZ_CHECK(second.has_value());
  FUZZ_CHECK(*second == *first);
}

void One(uint8_t which, ByteView payload) {
  switch (which % 9) {
    case 0:
      return RoundTrip(payload, DecodeHello, EncodeHello);
    case 1:
      return RoundTrip(payload, DecodeVerdict, EncodeRefusal);
    case 2:
      return RoundTrip(payload, DecodeDisconnect, EncodeRefusal);
    case 3:
      return RoundTrip(payload, DecodeOffers, EncodeOffers);
    case 4:
      return RoundTrip(payload, DecodeWithdraw, EncodeWithdraw);
    case 5:
      return RoundTrip(payload, DecodePing, EncodePing);
    case 6:
      return RoundTrip(payload, DecodePong, EncodePong);
    case 7:
      return RoundTrip(payload, DecodeGetPeers, EncodeGetPeers);
    default:
      return RoundTrip(payload, DecodePeers, EncodePeers);
  }
}

}  // namespace
}  // namespace helo::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) helo::wire::One(data[0], {data + 1, size - 1});
  return 0;
}
