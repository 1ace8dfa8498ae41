// A binary heap, earliest key first, whose items know their place in it: one in the middle is moved
// or taken out in O(log n). Items with the same key come out in the order they were put in. Holds
// pointers, owns nothing. Owner: one EventLoop (its timers, its fair queue). Thread: the loop's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "p2p/base/clock.h"

namespace helo::net {

// `kIndex`: the member of T that holds its place; SIZE_MAX while it is not in the heap.
template <typename T, size_t T::*kIndex>
class IndexedHeap {
 public:
  bool empty() const { return entries_.empty(); }
  size_t size() const { return entries_.size(); }
  T* top() const { return entries_.front().item; }
  MonoTime top_key() const { return entries_.front().key; }
  static bool Holds(const T* item) { return item->*kIndex != SIZE_MAX; }

  // Inserts `item`, or moves it behind those that have the same key already.
  void Put(T* item, MonoTime key) {
    if (!Holds(item)) {
      item->*kIndex = entries_.size();
      entries_.push_back({key, 0, item});
    }
    const size_t at = item->*kIndex;
    entries_[at].key = key;
    entries_[at].order = ++puts_;
    Down(Up(at));
  }

  void Remove(T* item) {
    if (!Holds(item)) return;
    const size_t at = item->*kIndex;
    item->*kIndex = SIZE_MAX;
    const Entry last = entries_.back();
    entries_.pop_back();
    if (at == entries_.size()) return;
    Set(at, last);
    Down(Up(at));
  }

 private:
  struct Entry {
    MonoTime key;
    uint64_t order;
    T* item;
    bool Before(const Entry& other) const {
      return key != other.key ? key < other.key : order < other.order;
    }
  };

  void Set(size_t at, const Entry& entry) {
    entries_[at] = entry;
    entry.item->*kIndex = at;
  }
  void Swap(size_t a, size_t b) {
    const Entry entry = entries_[a];
    Set(a, entries_[b]);
    Set(b, entry);
  }
  size_t Up(size_t at) {
    while (at > 0 && entries_[at].Before(entries_[(at - 1) / 2])) {
      Swap(at, (at - 1) / 2);
      at = (at - 1) / 2;
    }
    return at;
  }
  void Down(size_t at) {
    for (;;) {
      size_t first = at;
      for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < entries_.size(); ++child) {
        if (entries_[child].Before(entries_[first])) first = child;
      }
      if (first == at) return;
      Swap(at, first);
      at = first;
    }
  }

  std::vector<Entry> entries_;
  uint64_t puts_ = 0;
};

}  // namespace helo::net
