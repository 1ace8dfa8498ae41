#include "p2p/net/fair_queue.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cmath>
#include <utility>

namespace helo::net {

void ReadyList::PushBack(ReadyItem* item) {
  assert(item->list == nullptr);
  item->list = this;
  item->previous = tail_;
  item->next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = item;
  tail_ = item;
  ++size_;
}

ReadyItem* ReadyList::PopFront() {
  ReadyItem* const item = head_;
  if (item != nullptr) Remove(item);
  return item;
}

void ReadyList::Remove(ReadyItem* item) {
  assert(item->list == this);
  (item->previous != nullptr ? item->previous->next : head_) = item->next;
  (item->next != nullptr ? item->next->previous : tail_) = item->previous;
  *item = ReadyItem();
  --size_;
}

void FairQueue::Push(ReadyItem* item, const Subnet& group, MonoTime now) {
  Group& waiters = Find(group, now);
  waiters.PushBack(item);
  ++waiting_;
  if (!heap_.Holds(&waiters)) heap_.Put(&waiters, std::max(now, waiters.idle_at));
}

ReadyItem* FairQueue::Pop() {
  if (heap_.empty()) return nullptr;
  Group* const group = heap_.top();
  ReadyItem* const item = group->PopFront();
  --waiting_;
  if (group->empty()) heap_.Remove(group);
  return item;
}

void FairQueue::Remove(ReadyItem* item) {
  auto* const group = static_cast<Group*>(item->list);
  group->Remove(item);
  --waiting_;
  if (group->empty()) heap_.Remove(group);
}

void FairQueue::Charge(const Subnet& group, Duration cpu, MonoTime now) {
  using Real = std::chrono::duration<double, Duration::period>;
  Group& payer = Find(group, now);
  const double use =
      Real(kIdleUse).count() * std::exp2(Real(payer.idle_at - now) / Real(kHalfLife)) +
      Real(std::max(cpu, Duration(1))).count();
  payer.idle_at = now + std::chrono::duration_cast<Duration>(
                            Real(kHalfLife) * std::log2(use / Real(kIdleUse).count()));
  if (heap_.Holds(&payer)) heap_.Put(&payer, std::max(now, payer.idle_at));
}

FairQueue::Group& FairQueue::Find(const Subnet& subnet, MonoTime now) {
  auto it = groups_.find(subnet);
  if (it == groups_.end()) {
    if (groups_.size() >= forget_at_) ForgetIdle(now);
    it = groups_.emplace(subnet, std::make_unique<Group>()).first;
    it->second->idle_at = now - 64 * kHalfLife;  // nothing used, within what a double can tell
  }
  return *it->second;
}

void FairQueue::ForgetIdle(MonoTime now) {
  absl::erase_if(groups_, [now](const auto& entry) {
    return entry.second->empty() && entry.second->idle_at <= now;
  });
  forget_at_ = std::max<size_t>(1024, 2 * groups_.size());
}

}  // namespace helo::net
