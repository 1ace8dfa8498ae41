// Frames that wait for TLS, as one run of bytes: appended at the end, taken from the front in any
// portions. What was taken is cut off lazily, so a busy session moves few bytes and allocates
// nothing per frame. Owner: one session. Thread: its loop.
#pragma once

#include <cstdint>

#include "p2p/base/bytes.h"
#include "p2p/wire/frame.h"

namespace helo::wire {

class Outbox {
 public:
  void Append(uint16_t channel, uint16_t type, ByteView payload);
  ByteView pending() const { return ByteView(bytes_).subspan(head_); }
  size_t size() const { return bytes_.size() - head_; }
  // Bytes of frames on channel 0 that are not wholly taken.
  size_t core_size() const { return core_size_; }
  // Stream positions, counted from the session's first byte.
  uint64_t appended() const { return taken_ + dropped_ + size(); }
  uint64_t taken() const { return taken_; }

  void Take(size_t n);  // n <= size()
  // Drop whole frames that nobody took a byte of: all on named channels, or those on one channel. A
  // frame that was begun stays, or the remote could not find the next one. The dropped bytes count
  // as taken once nothing is left, so that no position is passed before its bytes are.
  void DropNamed();
  void DropChannel(uint16_t channel);
  void Clear();
  void Shrink();  // gives unused memory back
  size_t memory() const { return bytes_.capacity(); }

 private:
  template <typename Keep>
  void Filter(Keep keep);
  size_t FrameEnd(size_t begin) const;

  Bytes bytes_;
  size_t head_ = 0;         // first byte not taken
  size_t frame_begin_ = 0;  // first byte of the frame that head_ stands in; == head_ between frames
  size_t core_size_ = 0;
  uint64_t taken_ = 0;
  uint64_t dropped_ = 0;  // not yet in taken_
};

}  // namespace helo::wire
