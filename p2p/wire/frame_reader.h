// Cuts a stream of decrypted bytes into frames. Complete frames are handed over in place, without a
// copy; only the beginning of an unfinished one is kept. The handler judges a header before a byte
// of its payload is kept, and memory grows with what came, never with what a header claims. Owner:
// one session. Thread: its loop.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "p2p/base/bytes.h"
#include "p2p/wire/frame.h"

namespace helo::wire {

class FrameReader {
 public:
  enum class Take : uint8_t { kPayload, kSkip, kStop };

  // Handler:
  //   Take OnHeader(const FrameHeader&)                  kSkip: count the payload's bytes away;
  //   kStop: read no more bool OnFrame(const FrameHeader&, ByteView payload)  payload empty if
  //   skipped; false: read no more
  // Neither may call Feed, Clear or Shrink.
  template <typename Handler>
  void Feed(ByteView in, Handler& handler);

  void Clear() {
    payload_ = Bytes();
    header_have_ = 0;
    in_payload_ = false;
  }
  void Shrink() {
    if (!in_payload_) payload_ = Bytes();
  }
  size_t memory() const { return payload_.capacity(); }

 private:
  // A kept buffer beyond this goes back to the allocator after its frame.
  static constexpr size_t kKeepBytes = size_t{256} << 10;
  static constexpr size_t kLeastGrowth = 512;

  bool TakeHeader(ByteView& in);
  void Keep(ByteView part);

  std::array<uint8_t, kFrameHeaderBytes> header_bytes_{};
  FrameHeader header_;
  uint32_t left_ = 0;  // payload bytes to come
  uint8_t header_have_ = 0;
  bool in_payload_ = false;
  bool skipping_ = false;
  Bytes payload_;  // of the unfinished frame
};

inline bool FrameReader::TakeHeader(ByteView& in) {
  if (header_have_ == 0 && in.size() >= kFrameHeaderBytes) {
    header_ = ParseFrameHeader(in.first<kFrameHeaderBytes>());
    in = in.subspan(kFrameHeaderBytes);
    return true;
  }
  const size_t n = std::min(in.size(), kFrameHeaderBytes - header_have_);
  std::copy_n(in.begin(), n, header_bytes_.begin() + header_have_);
  header_have_ = static_cast<uint8_t>(header_have_ + n);
  in = in.subspan(n);
  if (header_have_ < kFrameHeaderBytes) return false;
  header_ = ParseFrameHeader(header_bytes_);
  header_have_ = 0;
  return true;
}

inline void FrameReader::Keep(ByteView part) {
  const size_t need = payload_.size() + part.size();
  if (need > payload_.capacity()) {
    payload_.reserve(std::min<size_t>(header_.length, std::max(2 * need, kLeastGrowth)));
  }
  payload_.insert(payload_.end(), part.begin(), part.end());
}

template <typename Handler>
void FrameReader::Feed(ByteView in, Handler& handler) {
  while (true) {
    if (!in_payload_) {
      if (in.empty() || !TakeHeader(in)) return;
      const Take take = handler.OnHeader(header_);
      if (take == Take::kStop) return;
      if (take == Take::kPayload && in.size() >= header_.length) {
        const ByteView payload = in.first(header_.length);
        in = in.subspan(header_.length);
        if (!handler.OnFrame(header_, payload)) return;
        continue;
      }
      in_payload_ = true;
      skipping_ = take == Take::kSkip;
      left_ = header_.length;
    }
    const size_t n = std::min<size_t>(left_, in.size());
    if (!skipping_) Keep(in.first(n));
    left_ -= static_cast<uint32_t>(n);
    in = in.subspan(n);
    if (left_ > 0) return;
    in_payload_ = false;
    const bool go_on = handler.OnFrame(header_, payload_);
    payload_.clear();
    if (payload_.capacity() > kKeepBytes) payload_ = Bytes();
    if (!go_on) return;
  }
}

}  // namespace helo::wire
