#include "p2p/wire/outbox.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace helo::wire {
namespace {

// An emptied buffer up to this size is kept for the next burst, until Shrink.
constexpr size_t kKeepBytes = size_t{256} << 10;

FrameHeader HeaderAt(const Bytes& bytes, size_t at) {
  return ParseFrameHeader(ByteView(bytes).subspan(at).first<kFrameHeaderBytes>());
}

}  // namespace

size_t Outbox::FrameEnd(size_t begin) const {
  return begin + kFrameHeaderBytes + HeaderAt(bytes_, begin).length;
}

void Outbox::Append(uint16_t channel, uint16_t type, ByteView payload) {
  const size_t frame_size = kFrameHeaderBytes + payload.size();
  // Make room at the front instead of growing, once at least half of the buffer is behind us: each
  // byte moves at most once on average.
  if (bytes_.size() + frame_size > bytes_.capacity() && frame_begin_ > bytes_.size() / 2) {
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(frame_begin_));
    head_ -= frame_begin_;
    frame_begin_ = 0;
  }
  if (channel == 0) core_size_ += frame_size;
  AppendFrame(bytes_, channel, type, payload);
}

void Outbox::Take(size_t n) {
  assert(n <= size());
  head_ += n;
  taken_ += n;
  if (head_ == bytes_.size()) {
    taken_ += std::exchange(dropped_, 0);
    bytes_.clear();
    head_ = frame_begin_ = core_size_ = 0;
    if (bytes_.capacity() > kKeepBytes) bytes_.shrink_to_fit();
    return;
  }
  while (head_ - frame_begin_ >= kFrameHeaderBytes) {
    const size_t end = FrameEnd(frame_begin_);
    if (end > head_) break;
    if (HeaderAt(bytes_, frame_begin_).channel == 0) core_size_ -= end - frame_begin_;
    frame_begin_ = end;
  }
}

template <typename Keep>
void Outbox::Filter(Keep keep) {
  if (size() == 0) return;
  const size_t size_before = size();
  size_t in = head_ > frame_begin_ ? FrameEnd(frame_begin_) : frame_begin_;
  size_t out = in;
  while (in < bytes_.size()) {
    const size_t end = FrameEnd(in);
    if (keep(HeaderAt(bytes_, in))) {
      if (out != in) {
        std::copy(bytes_.begin() + static_cast<ptrdiff_t>(in),
                  bytes_.begin() + static_cast<ptrdiff_t>(end),
                  bytes_.begin() + static_cast<ptrdiff_t>(out));
      }
      out += end - in;
    }
    in = end;
  }
  bytes_.resize(out);
  dropped_ += size_before - size();
  if (size() == 0) Take(0);
}

void Outbox::DropNamed() {
  Filter([](const FrameHeader& header) { return header.channel == 0; });
}

void Outbox::DropChannel(uint16_t channel) {
  Filter([channel](const FrameHeader& header) { return header.channel != channel; });
}

void Outbox::Clear() {
  taken_ += size() + std::exchange(dropped_, 0);
  bytes_ = Bytes();
  head_ = frame_begin_ = core_size_ = 0;
}

void Outbox::Shrink() {
  if (head_ == bytes_.size()) {
    bytes_ = Bytes();
    head_ = frame_begin_ = 0;
  }
}

}  // namespace helo::wire
