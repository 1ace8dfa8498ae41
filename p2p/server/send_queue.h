// Messages from other threads on their way to a loop: in order, many of them for one wake-up. Two
// batches change places, so a message costs a copy of its bytes and, once warm, no allocation.
// Bounded by the quotas of the sessions, which count what is in here. Private to p2p/server.
#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "p2p/base/bytes.h"
#include "p2p/base/mutex.h"

namespace helo::server {

struct SessionEntry;

class SendBatch {
 public:
  struct Item {
    SessionEntry* entry = nullptr;
    uint16_t type = 0;
    bool large = false;
    size_t at = 0, size = 0;
  };

  void Append(const std::shared_ptr<SessionEntry>& entry, uint16_t type, ByteView payload) {
    if (entries_.empty() || entries_.back() != entry) entries_.push_back(entry);
    Item item{entry.get(), type, payload.size() >= kLarge, bytes_.size(), payload.size()};
    if (item.large) {
      item.at = large_.size();
      large_.emplace_back(payload.begin(), payload.end());
    } else {
      bytes_.insert(bytes_.end(), payload.begin(), payload.end());
    }
    items_.push_back(item);
    size_ += payload.size() + sizeof(Item);
  }
  const std::vector<Item>& items() const { return items_; }
  ByteView Payload(const Item& item) const {
    return item.large ? ByteView(large_[item.at]) : ByteView(bytes_).subspan(item.at, item.size);
  }
  size_t size() const { return size_; }
  void Clear() {
    Empty(items_, kKeepItems);
    Empty(entries_, kKeepItems);
    Empty(bytes_, kKeepBytes);
    large_.clear();
    size_ = 0;
  }

 private:
  static constexpr size_t kLarge = 16384, kKeepItems = 4096, kKeepBytes = size_t{256} << 10;
  template <typename Vector>
  static void Empty(Vector& vector, size_t keep) {
    vector.clear();
    if (vector.capacity() > keep) vector = Vector();
  }
  std::vector<Item> items_;
  std::vector<std::shared_ptr<SessionEntry>> entries_;  // keeps them alive; one a run
  Bytes bytes_;
  std::vector<Bytes> large_;
  size_t size_ = 0;
};

class SendQueue {
 public:
  enum class Appended : uint8_t { kQueued, kTellLoop, kClosed };
  // Any thread. kTellLoop, to one caller until the loop has come: at once, or with `later` once
  // much waits.
  Appended Append(const std::shared_ptr<SessionEntry>& entry, uint16_t type, ByteView payload,
                  bool later) {
    MutexLock lock(mutex_);
    if (closed_) return Appended::kClosed;
    waiting_.Append(entry, type, payload);
    if (told_) return Appended::kQueued;
    if (later && waiting_.size() < kMuch) {
      untold_.store(true, std::memory_order_relaxed);
      return Appended::kQueued;
    }
    told_ = true;
    untold_.store(false, std::memory_order_relaxed);
    return Appended::kTellLoop;
  }
  // Any thread. True, to one caller: something waits of which the loop has not been told.
  bool TakeUntold() {
    if (!untold_.load(std::memory_order_relaxed)) return false;
    MutexLock lock(mutex_);
    if (!untold_.exchange(false, std::memory_order_relaxed)) return false;
    return !std::exchange(told_, true);
  }
  // Any thread: the loop has ended.
  void Close() {
    MutexLock lock(mutex_);
    closed_ = true;
    waiting_ = SendBatch();
  }
  // The loop's. `empty` is filled, and was empty.
  void Take(SendBatch& empty) {
    MutexLock lock(mutex_);
    std::swap(waiting_, empty);
    told_ = false;
    untold_.store(false, std::memory_order_relaxed);
  }

 private:
  static constexpr size_t kMuch = 65536;
  Mutex mutex_;
  SendBatch waiting_ ABSL_GUARDED_BY(mutex_);
  bool told_ ABSL_GUARDED_BY(mutex_) = false;  // a Take is on its way
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> untold_{false};  // written with mutex_
};

}  // namespace helo::server
