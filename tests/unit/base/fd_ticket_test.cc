// Tickets: never more than the limit, never one lost, nobody who was refused forgotten.
#include "p2p/base/fd_ticket.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "p2p/base/mutex.h"

namespace helo {
namespace {

using namespace std::chrono_literals;

TEST(FdPool, HandsOutItsLimitAndNoMore) {
  FdPool pool(PoolKind::kInbound, 2);
  auto a = pool.TryTake();
  auto b = pool.TryTake();
  EXPECT_TRUE(a && b);
  EXPECT_FALSE(pool.TryTake());
  b.reset();
  EXPECT_EQ(pool.used(), 1);
  EXPECT_TRUE(pool.TryTake());
}

TEST(FdPool, ATicketThatMovedIsReturnedOnce) {
  FdPool pool(PoolKind::kInbound, 2);
  {
    FdTicket a = *pool.TryTake();
    FdTicket b = std::move(a);
    FdTicket c;
    c = std::move(b);
    EXPECT_TRUE(c);
    EXPECT_EQ(pool.used(), 1);
    c.Release();
    EXPECT_EQ(pool.used(), 0);
    c.Release();
  }
  EXPECT_EQ(pool.used(), 0);
}

TEST(FdPool, TellsOnceWhenThereIsRoomAgain) {
  FdPool pool(PoolKind::kHandshake, 2);
  int told = 0;
  pool.AddOnRoom([&] { ++told; });
  auto a = pool.TryTake();
  auto b = pool.TryTake();
  EXPECT_EQ(told, 0);
  a.reset();
  EXPECT_EQ(told, 1);
  b.reset();
  EXPECT_EQ(told, 1) << "there was room already";
}

TEST(FdPool, RaisingTheLimitTellsAndLoweringTakesNothingAway) {
  FdPool pool(PoolKind::kInbound, 2);
  int told = 0;
  pool.AddOnRoom([&] { ++told; });
  auto a = pool.TryTake();
  auto b = pool.TryTake();
  pool.SetLimit(3);
  EXPECT_EQ(told, 1);
  pool.SetLimit(1);
  EXPECT_EQ(told, 1);
  EXPECT_EQ(pool.used(), 2);
  a.reset();
  EXPECT_EQ(told, 1) << "one of one is in use: no room yet";
  EXPECT_FALSE(pool.TryTake());
  b.reset();
  EXPECT_EQ(told, 2);
  EXPECT_TRUE(pool.TryTake());
}

TEST(FdTicket, AHandshakeBecomesAPeerEvenAboveTheLimitAndItsPoolHearsOfTheRoom) {
  FdPool handshakes(PoolKind::kHandshake, 1);
  FdPool inbound(PoolKind::kInbound, 1);
  int told = 0;
  handshakes.AddOnRoom([&] { ++told; });
  auto peer = inbound.TryTake();
  FdTicket newcomer = *handshakes.TryTake();
  EXPECT_FALSE(newcomer.TryMoveTo(inbound));
  EXPECT_EQ(newcomer.pool(), &handshakes);
  newcomer.MoveTo(inbound);
  EXPECT_EQ(inbound.used(), 2);
  EXPECT_EQ(handshakes.used(), 0);
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(inbound.TryTake());
  peer.reset();
  EXPECT_FALSE(inbound.TryTake()) << "one is still there, and one is the limit";
  newcomer.Release();
  EXPECT_TRUE(inbound.TryTake());
}

TEST(FdTicket, MovingToItsOwnPoolChangesNothing) {
  FdPool pool(PoolKind::kInbound, 1);
  FdTicket ticket = *pool.TryTake();
  ticket.MoveTo(pool);
  EXPECT_TRUE(ticket.TryMoveTo(pool));
  EXPECT_EQ(pool.used(), 1);
}

TEST(FdPool, AFunctionMayRemoveItselfAndOthersAreStillCalled) {
  FdPool pool(PoolKind::kAdmin, 1);
  int first = 0, second = 0;
  int handle = 0;
  handle = pool.AddOnRoom([&] {
    ++first;
    pool.RemoveOnRoom(handle);
  });
  pool.AddOnRoom([&] { ++second; });
  for (int i = 0; i < 3; ++i) pool.TryTake().reset();
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 3);
}

TEST(FdPool, AfterRemoveTheFunctionIsNotRunningAndWillNotRun) {
  FdPool pool(PoolKind::kAdmin, 1);
  Mutex mutex;
  CondVar changed;
  bool inside = false, let_go = false;
  std::atomic<bool> alive{true}, ran_dead{false};
  const int handle = pool.AddOnRoom([&] {
    MutexLock lock(mutex);
    inside = true;
    changed.NotifyAll();
    while (!let_go) changed.Wait(mutex);
    if (!alive) ran_dead = true;
  });
  std::thread returner([&] { pool.TryTake().reset(); });
  {
    MutexLock lock(mutex);
    while (!inside) changed.Wait(mutex);
  }
  std::thread remover([&] {
    pool.RemoveOnRoom(handle);
    alive = false;
  });
  {
    MutexLock lock(mutex);
    let_go = true;
    changed.NotifyAll();
  }
  remover.join();
  returner.join();
  pool.TryTake().reset();
  EXPECT_FALSE(ran_dead);
}

// Threads take and return while others wait for room as a listener does: refused, they stop until
// they are told. If a wake-up were ever lost, a waiter would sit out its deadline.
TEST(FdPool, NobodyWhoWasRefusedIsForgottenUnderContention) {
  constexpr int kLimit = 3;
  constexpr int kThreads = 6;
  constexpr int kRounds = 4000;
  FdPool pool(PoolKind::kHandshake, kLimit);
  std::atomic<int> held{0}, most{0};
  std::atomic<int> starved{0};
  Mutex mutex;
  CondVar room;
  uint64_t told = 0;
  pool.AddOnRoom([&] {
    MutexLock lock(mutex);
    ++told;
    room.NotifyAll();
  });
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        std::optional<FdTicket> ticket;
        const auto deadline = std::chrono::steady_clock::now() + 20s;
        for (;;) {
          uint64_t before;
          {
            MutexLock lock(mutex);
            before = told;
          }
          ticket = pool.TryTake();
          if (ticket) break;
          MutexLock lock(mutex);
          bool in_time = true;
          while (told == before && in_time) in_time = room.WaitUntil(mutex, deadline);
          if (!in_time) {
            ++starved;
            return;
          }
        }
        const int now = ++held;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        --held;
      }
    });
  }
  std::thread resizer([&] {
    for (int i = 0; i < 2000; ++i) pool.SetLimit(1 + i % kLimit);
    pool.SetLimit(kLimit);
  });
  for (std::thread& thread : threads) thread.join();
  resizer.join();
  EXPECT_EQ(starved, 0);
  EXPECT_LE(most, kLimit);
  EXPECT_EQ(pool.used(), 0);
}

TEST(FdPool, EveryKindHasItsOwnName) {
  std::set<std::string_view> names;
  for (int i = 0; i < kPoolKinds; ++i) names.insert(ToString(static_cast<PoolKind>(i)));
  EXPECT_EQ(names.size(), static_cast<size_t>(kPoolKinds));
  EXPECT_EQ(names.count("unknown"), 0u);
}

}  // namespace
}  // namespace helo
