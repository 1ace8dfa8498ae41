// What waits for a plugin's thread: events in order, the bytes of messages beside them in chunks.
// Two of these change places, so a message costs a copy of its bytes and, once warm, no allocation.
// Private to plugins/host. Thread: the owner's lock.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "p2p/base/bytes.h"
#include "plugins/host/session.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) static_cast<void>(0)
#endif

namespace helo::plugins {

struct Waiting {
  enum class Kind : uint8_t { kOpen, kMessage, kWritable, kClose, kPosted, kCommand };
  Kind kind = Kind::kMessage;
  uint16_t type = 0;           // of a message
  uint32_t size = 0;           // of a message; the code of a close
  Session* session = nullptr;  // alive from its kOpen to its kClose
  union {
    const uint8_t* data;  // of a message
    uint64_t token;       // of a post or a command
  };
};

class Batch {
 public:
  std::vector<Waiting> events;
  std::vector<std::shared_ptr<Session>> opens;  // one for each kOpen, in order

  // A copy that stays where it is until Clear. Never null.
  const uint8_t* Copy(ByteView bytes) {
    const size_t need = (bytes.size() + 7) & ~size_t{7};
    if (need > left_) NextChunk(need);
    uint8_t* at = next_;
    ASAN_UNPOISON_MEMORY_REGION(at, need);
    if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
    next_ += need;
    left_ -= need;
    return at;
  }
  // What was lent for a call has come back: under ASan, whoever kept it is found out.
  static void LoanEnds(const uint8_t* data, size_t size) {
    ASAN_POISON_MEMORY_REGION(data, size);
    static_cast<void>(data);
    static_cast<void>(size);
  }
  void Clear() {
    events.clear();
    opens.clear();
    if (events.capacity() > kKeepEvents) events = {};
    large_.clear();
    if (chunks_.size() > kKeepChunks) chunks_.resize(kKeepChunks);
    used_ = 0;
    left_ = 0;
  }

 private:
  static constexpr size_t kChunkBytes = 65536, kKeepChunks = 16, kKeepEvents = 16384;
  void NextChunk(size_t need) {
    if (need > kChunkBytes) {
      large_.push_back(std::make_unique_for_overwrite<uint8_t[]>(need));
      next_ = large_.back().get();
      left_ = need;
      return;
    }
    if (used_ == chunks_.size())
      chunks_.push_back(std::make_unique_for_overwrite<uint8_t[]>(kChunkBytes));
    next_ = chunks_[used_++].get();
    left_ = kChunkBytes;
  }
  std::vector<std::unique_ptr<uint8_t[]>> chunks_, large_;
  size_t used_ = 0;
  uint8_t empty_ = 0;
  uint8_t* next_ = &empty_;
  size_t left_ = 0;
};

}  // namespace helo::plugins
