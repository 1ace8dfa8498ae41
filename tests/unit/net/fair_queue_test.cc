#include "p2p/net/fair_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <utility>
#include <vector>

#include "p2p/net/indexed_heap.h"
#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;

struct Waiter : ReadyItem {
  explicit Waiter(int number_in) : number(number_in) {}
  const int number;
};

class FairQueueTest : public ::testing::Test {
 protected:
  int Next() {
    ReadyItem* const item = queue_.Pop();
    return item == nullptr ? -1 : static_cast<Waiter*>(item)->number;
  }
  std::vector<int> Rest() {
    std::vector<int> numbers;
    for (int number = Next(); number >= 0; number = Next()) numbers.push_back(number);
    return numbers;
  }

  FairQueue queue_;
  const Subnet flood_ = Group("198.51.100.0/24");
  const Subnet other_ = Group("203.0.113.0/24");
  MonoTime now_ = MonoTime(std::chrono::hours(1000));
};

TEST_F(FairQueueTest, ANewcomerPassesAGroupThatUsedMuchCpu) {
  std::vector<Waiter> flood{Waiter(0), Waiter(1), Waiter(2)};
  queue_.Charge(flood_, milliseconds(50), now_);
  for (Waiter& waiter : flood) queue_.Push(&waiter, flood_, now_);
  Waiter newcomer(9);
  queue_.Push(&newcomer, other_, now_ + milliseconds(1));
  EXPECT_EQ(queue_.size(), 4u);
  EXPECT_THAT(Rest(), ElementsAre(9, 0, 1, 2));
  EXPECT_EQ(queue_.size(), 0u);
}

TEST_F(FairQueueTest, OfTwoBusyGroupsTheOneThatUsedLessComesFirst) {
  Waiter more(0), less(1);
  queue_.Charge(flood_, milliseconds(50), now_);
  queue_.Charge(other_, milliseconds(49), now_);
  queue_.Push(&more, flood_, now_);
  queue_.Push(&less, other_, now_);
  EXPECT_THAT(Rest(), ElementsAre(1, 0));
}

TEST_F(FairQueueTest, GroupsThatUsedNothingAreServedInOrderOfArrival) {
  std::vector<Waiter> waiters;
  waiters.reserve(5);
  for (int i = 0; i < 5; ++i) waiters.emplace_back(i);
  for (int i = 0; i < 5; ++i) {
    queue_.Push(&waiters[i], Group("10.0." + std::to_string(9 - i) + ".0/24"),
                now_ + microseconds(i));
  }
  EXPECT_THAT(Rest(), ElementsAre(0, 1, 2, 3, 4));
}

TEST_F(FairQueueTest, TwoEquallyBusyGroupsTakeTurns) {
  std::vector<Waiter> waiters;
  waiters.reserve(6);
  for (int i = 0; i < 6; ++i) waiters.emplace_back(i);
  for (int i = 0; i < 3; ++i) {
    queue_.Push(&waiters[i], flood_, now_);
    queue_.Push(&waiters[i + 3], other_, now_);
  }
  std::vector<int> order;
  for (int i = 0; i < 6; ++i) {
    order.push_back(Next());
    now_ += milliseconds(1);
    queue_.Charge(order.back() < 3 ? flood_ : other_, milliseconds(1), now_);
  }
  EXPECT_THAT(order, ElementsAre(0, 3, 1, 4, 2, 5));
}

TEST_F(FairQueueTest, UseHalvesWithTheHalfLife) {
  queue_.Charge(flood_, milliseconds(40), now_);
  now_ += FairQueue::kHalfLife;
  Waiter early(0), late(1);
  // 20 ms are left of the 40.
  queue_.Charge(other_, milliseconds(19), now_);
  queue_.Push(&early, flood_, now_);
  queue_.Push(&late, other_, now_);
  EXPECT_THAT(Rest(), ElementsAre(1, 0));
  queue_.Charge(other_, milliseconds(2), now_);
  queue_.Push(&late, other_, now_);
  queue_.Push(&early, flood_, now_);
  EXPECT_THAT(Rest(), ElementsAre(0, 1));
}

TEST_F(FairQueueTest, AStreamOfNewNetworksDoesNotStarveABusyOne) {
  // The most that one core can have used.
  for (int i = 0; i < 5000; ++i) queue_.Charge(flood_, milliseconds(1), now_ + milliseconds(i));
  now_ += seconds(5);
  Waiter patient(-2);
  queue_.Push(&patient, flood_, now_);
  const MonoTime begin = now_;
  for (uint8_t a = 0;; ++a) {
    for (int b = 0; b < 256; ++b) {
      Waiter newcomer(0);
      queue_.Push(&newcomer, Subnet{IpAddress::V4({10, a, static_cast<uint8_t>(b), 0}), 24}, now_);
      if (queue_.Pop() == &patient) {
        queue_.Pop();
        EXPECT_LT(now_ - begin, seconds(8));
        return;
      }
      now_ += milliseconds(1);
    }
    ASSERT_LT(now_ - begin, seconds(30)) << "it still waits";
  }
}

TEST_F(FairQueueTest, WhoeverLeavesTheQueueIsNotServed) {
  std::vector<Waiter> waiters;
  waiters.reserve(5);
  for (int i = 0; i < 5; ++i) waiters.emplace_back(i);
  for (int i = 0; i < 4; ++i) queue_.Push(&waiters[i], flood_, now_);
  queue_.Push(&waiters[4], other_, now_);
  queue_.Remove(&waiters[0]);
  queue_.Remove(&waiters[2]);
  queue_.Remove(&waiters[4]);
  EXPECT_EQ(queue_.size(), 2u);
  EXPECT_THAT(Rest(), ElementsAre(1, 3));
  queue_.Push(&waiters[2], other_, now_);
  EXPECT_THAT(Rest(), ElementsAre(2));
}

TEST_F(FairQueueTest, NetworksThatAreGoneAreForgotten) {
  for (int i = 0; i < 100'000; ++i) {
    Waiter waiter(i);
    const Subnet group{IpAddress::V4({10, static_cast<uint8_t>(i >> 16),
                                      static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)}),
                       32};
    queue_.Push(&waiter, group, now_);
    ASSERT_EQ(queue_.Pop(), &waiter);
    queue_.Charge(group, microseconds(250), now_);
    now_ += microseconds(250);
    // One core has not the time for more than some 3,600 that used more than nothing of late.
    ASSERT_LE(queue_.groups(), 8'000u);
  }
  Waiter waiter(0);
  now_ += seconds(10);
  for (int i = 0; i < 20'000; ++i) {
    queue_.Push(
        &waiter,
        Subnet{IpAddress::V4({11, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)}), 32},
        now_);
    queue_.Pop();
  }
  EXPECT_LE(queue_.groups(), 1'024u);
}

struct Item {
  int number = 0;
  size_t index = SIZE_MAX;
};

TEST(IndexedHeapTest, AgreesWithAMultimapUnderRandomUse) {
  std::mt19937 random(7);
  std::vector<Item> items(50);
  IndexedHeap<Item, &Item::index> heap;
  std::map<std::pair<MonoTime, int>, Item*> model;  // (key, order of putting)
  std::map<Item*, std::pair<MonoTime, int>> places;
  int puts = 0;
  for (int step = 0; step < 20'000; ++step) {
    Item* const item = &items[random() % items.size()];
    if (random() % 3 != 0) {
      const MonoTime key{Duration(random() % 20)};
      heap.Put(item, key);
      if (places.count(item) != 0) model.erase(places[item]);
      places[item] = {key, ++puts};
      model[places[item]] = item;
    } else {
      heap.Remove(item);
      if (places.count(item) != 0) model.erase(places[item]);
      places.erase(item);
    }
    ASSERT_EQ(heap.size(), model.size());
    if (model.empty()) continue;
    ASSERT_EQ(heap.top(), model.begin()->second) << "step " << step;
    ASSERT_EQ(heap.top_key(), model.begin()->first.first);
  }
}

}  // namespace
}  // namespace helo::net
