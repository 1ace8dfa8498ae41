// A strict reader of the little DER (X.690) that a certificate's frame is made of: one-byte tags,
// definite and minimal lengths, nothing else. It copies nothing and looks into nothing it is not
// asked to. Owner: p2p/tls. Thread: any, no state.
#pragma once

#include <cstdint>

#include "p2p/base/bytes.h"

namespace helo::tls {

inline constexpr uint8_t kDerInteger = 0x02;
inline constexpr uint8_t kDerBitString = 0x03;
inline constexpr uint8_t kDerSequence = 0x30;
inline constexpr uint8_t kDerContext0 = 0xa0;

struct DerElement {
  ByteView whole;  // tag, length and body
  ByteView body;
};

// Takes the element at the front of `in`, which must carry `tag`. False, with `in` unchanged, if
// there is none, it does not end inside `in`, or its length is not written as DER demands. Bodies
// above 65,535 bytes are refused.
bool TakeDer(ByteView& in, uint8_t tag, DerElement& out);

}  // namespace helo::tls
