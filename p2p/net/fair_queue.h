// Who of the waiting handshakes is served next: the first waiter of the source network (group) that
// used the least CPU of late. Use decays with a half-life, so that nobody pays for ever.
//
// A group's recent use u(t) is kept as one number, the time at which it will have decayed to
// kIdleUse. Exponential decay keeps the order of all groups, so the heap never has to be rebuilt as
// time passes; and a group that waits is overtaken only by those that came before its use had
// decayed, so that a stream of newcomers starves nobody.
//
// Owner: one EventLoop. Thread: the loop's. Holds no descriptor and reads no clock.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <memory>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/net/indexed_heap.h"

namespace helo::net {

class ReadyList;

// Something that waits for its turn; in one list at most.
struct ReadyItem {
  ReadyItem* previous = nullptr;
  ReadyItem* next = nullptr;
  ReadyList* list = nullptr;
};

// First in, first out; removal from the middle is O(1). Owns nothing.
class ReadyList {
 public:
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  void PushBack(ReadyItem* item);
  ReadyItem* PopFront();  // nullptr if empty
  void Remove(ReadyItem* item);

 private:
  ReadyItem* head_ = nullptr;
  ReadyItem* tail_ = nullptr;
  size_t size_ = 0;
};

class FairQueue {
 public:
  static constexpr Duration kHalfLife = std::chrono::milliseconds(500);
  // About one handshake step: a group that used less is as good as idle, and idle groups are served
  // in order of arrival.
  static constexpr Duration kIdleUse = std::chrono::microseconds(200);

  void Push(ReadyItem* item, const Subnet& group, MonoTime now);
  ReadyItem* Pop();  // nullptr if nobody waits
  void Remove(ReadyItem* item);
  void Charge(const Subnet& group, Duration cpu, MonoTime now);

  size_t size() const { return waiting_; }
  // Groups remembered. At most twice those with a waiter or with recent use (of which there cannot
  // be more than the CPU time of a few half-lives divided by kIdleUse), or 1,024.
  size_t groups() const { return groups_.size(); }

 private:
  struct Group : ReadyList {
    MonoTime idle_at{};
    size_t heap_index = SIZE_MAX;
  };
  Group& Find(const Subnet& subnet, MonoTime now);
  void ForgetIdle(MonoTime now);

  absl::flat_hash_map<Subnet, std::unique_ptr<Group>> groups_;
  IndexedHeap<Group, &Group::heap_index> heap_;  // the groups with a waiter
  size_t waiting_ = 0;
  size_t forget_at_ = 1024;
};

}  // namespace helo::net
