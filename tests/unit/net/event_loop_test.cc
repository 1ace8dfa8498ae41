#include "p2p/net/event_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using ::testing::ElementsAre;

// ---- posting

TEST(EventLoopPostTest, PostsRunInOrderOnTheLoopsThread) {
  LoopThread thread;
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(thread.loop().Post([&order, &thread, i] {
      EXPECT_TRUE(thread.loop().InThread());
      order.push_back(i);
    }));
  }
  thread.On([] {});
  EXPECT_FALSE(thread.loop().InThread());
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(EventLoopPostTest, APostFromTheLoopRunsLaterNotWithin) {
  LoopThread thread;
  std::vector<std::string> order;
  Flag done;
  thread.loop().Post([&] {
    thread.loop().Post([&] {
      order.emplace_back("inner");
      done.Set();
    });
    order.emplace_back("outer");
  });
  ASSERT_TRUE(done.Wait());
  EXPECT_THAT(order, ElementsAre("outer", "inner"));
}

TEST(EventLoopPostTest, WhatComesAfterTheSessionsComesInTheSameTurn) {
  FdPool files(PoolKind::kFiles, 16);
  auto loop = EventLoop::Create("after", RealClock(), NullLog(), files);
  ASSERT_TRUE(loop.ok());
  std::vector<std::string> order;
  bool due = false;
  (*loop)->AfterSessions([&] {
    if (std::exchange(due, false)) order.emplace_back("after");
  });
  for (int i = 0; i < 2; ++i) {
    (*loop)->Post([&] {
      due = true;
      order.emplace_back("posted");
    });
  }
  (*loop)->Stop();
  (*loop)->Run();
  EXPECT_THAT(order, ElementsAre("posted", "posted", "after"));
}

TEST(EventLoopPostTest, EverythingPostedBeforeStopRunsAndNothingAfter) {
  LoopThread thread;
  int ran = 0;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(thread.loop().Post([&ran] { ++ran; }));
  thread.Stop();
  EXPECT_EQ(ran, 1000);
  auto held = std::make_shared<int>(0);
  EXPECT_FALSE(thread.loop().Post([&ran, held] { ++ran; }));
  EXPECT_EQ(held.use_count(), 1) << "the refused function was not destroyed";
  EXPECT_EQ(ran, 1000);
}

TEST(EventLoopPostTest, APostThatStopsTheLoopIsTheLastTurn) {
  LoopThread thread;
  Flag stopped;
  bool late = true;
  thread.loop().Post([&] {
    thread.loop().Stop();
    late = thread.loop().Post([] {});
    stopped.Set();
  });
  ASSERT_TRUE(stopped.Wait());
  thread.Stop();
  EXPECT_FALSE(late);
}

TEST(EventLoopPostTest, StopBeforeRunRunsWhatWasPostedAndReturns) {
  FdPool files(PoolKind::kFiles, 8);
  auto loop = EventLoop::Create("test", RealClock(), NullLog(), files);
  ASSERT_TRUE(loop.ok());
  int ran = 0;
  ASSERT_TRUE((*loop)->Post([&ran] { ++ran; }));
  (*loop)->Stop();
  (*loop)->Run();
  EXPECT_EQ(ran, 1);
}

TEST(EventLoopPostTest, PostsThatNeverRanAreDestroyedWithTheLoopWhileItStillStands) {
  FdPool files(PoolKind::kFiles, 8);
  auto loop = EventLoop::Create("test", RealClock(), NullLog(), files);
  ASSERT_TRUE(loop.ok());
  // A timer needs its loop to be destroyed.
  auto timer = std::make_shared<Timer>(**loop, [] {});
  timer->SetAt((*loop)->Now() + hours(1));
  const std::weak_ptr<Timer> seen = timer;
  ASSERT_TRUE((*loop)->Post([held = std::move(timer)] {}));
  EXPECT_FALSE(seen.expired());
  loop->reset();
  EXPECT_TRUE(seen.expired());
}

TEST(EventLoopPostTest, PostsOfManyThreadsAllRunEachThreadsInOrder) {
  constexpr int kThreads = 4, kEach = 2000;
  LoopThread thread;
  std::map<int, std::vector<int>> seen;
  std::vector<std::thread> posters;
  posters.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    posters.emplace_back([&thread, &seen, t] {
      for (int i = 0; i < kEach; ++i) thread.loop().Post([&seen, t, i] { seen[t].push_back(i); });
    });
  }
  for (std::thread& poster : posters) poster.join();
  thread.On([] {});
  for (int t = 0; t < kThreads; ++t) {
    ASSERT_EQ(seen[t].size(), static_cast<size_t>(kEach));
    EXPECT_TRUE(std::is_sorted(seen[t].begin(), seen[t].end()));
  }
  EXPECT_EQ(thread.loop().stats().posted, uint64_t{kThreads * kEach + 1});
}

TEST(EventLoopPostTest, ASleepingLoopIsWokenEachTime) {
  LoopThread thread;  // no timer: it sleeps without end
  for (int i = 0; i < 2000; ++i) thread.On([] {});
}

TEST(EventLoopPostTest, AnIdleLoopSleeps) {
  LoopThread thread;
  thread.On([] {});
  const uint64_t before = thread.turns();
  Flag never;
  EXPECT_FALSE(never.Wait(milliseconds(100)));
  EXPECT_LE(thread.turns(), before + 2);
}

// ---- timers

TEST(EventLoopTimerTest, TimersFireInOrderOfTimeAndOfArming) {
  StandingClock clock;
  LoopThread thread(clock);
  std::vector<int> order;
  std::vector<std::unique_ptr<Timer>> timers;
  thread.On([&] {
    for (int i = 0; i < 5; ++i)
      timers.push_back(std::make_unique<Timer>(thread.loop(), [&order, i] { order.push_back(i); }));
    const MonoTime base = clock.Now();
    timers[0]->SetAt(base + milliseconds(30));
    timers[1]->SetAt(base + milliseconds(10));
    timers[2]->SetAt(base + milliseconds(20));
    timers[3]->SetAt(base + milliseconds(10));
    timers[4]->SetAt(base + milliseconds(40));
    timers[4]->Cancel();
    EXPECT_EQ(timers[1]->when(), base + milliseconds(10));
    EXPECT_EQ(timers[4]->when(), kNever);
  });
  thread.PassTurns();
  EXPECT_THAT(order, ElementsAre()) << "fired before its time";
  clock.Advance(milliseconds(20));
  thread.PassTurns();
  EXPECT_THAT(order, ElementsAre(1, 3, 2));
  clock.Advance(hours(1));
  thread.PassTurns();
  EXPECT_THAT(order, ElementsAre(1, 3, 2, 0));
  thread.On([&] {
    EXPECT_EQ(timers[0]->when(), kNever);
    timers.clear();
  });
}

TEST(EventLoopTimerTest, ATimerWakesTheSleepingLoopByItself) {
  LoopThread thread;
  Flag fired;
  std::unique_ptr<Timer> timer;
  const MonoTime begin = RealClock().Now();
  MonoTime end{};
  thread.On([&] {
    timer = std::make_unique<Timer>(thread.loop(), [&] {
      end = RealClock().Now();
      fired.Set();
    });
    timer->SetAt(begin + milliseconds(30));
  });
  ASSERT_TRUE(fired.Wait());
  EXPECT_GE(end - begin, milliseconds(30));
  thread.On([&] { timer.reset(); });
}

TEST(EventLoopTimerTest, ATimerMayRearmItselfInItsFunction) {
  LoopThread thread;
  Flag done;
  int fired = 0;
  std::unique_ptr<Timer> timer;
  thread.On([&] {
    timer = std::make_unique<Timer>(thread.loop(), [&] {
      if (++fired == 3) {
        done.Set();
      } else {
        timer->SetAt(thread.loop().Now() + milliseconds(1));
      }
    });
    timer->SetAt(thread.loop().Now());
  });
  ASSERT_TRUE(done.Wait());
  thread.On([&] { timer.reset(); });
  EXPECT_EQ(fired, 3);
}

TEST(EventLoopTimerTest, ATimerThatAlwaysRearmsItselfForNowDoesNotHoldTheLoop) {
  StandingClock clock;
  LoopThread thread(clock);
  int fired = 0;
  std::unique_ptr<Timer> timer;
  thread.On([&] {
    timer = std::make_unique<Timer>(thread.loop(), [&] {
      ++fired;
      timer->SetAt(clock.Now());
    });
    timer->SetAt(clock.Now());
  });
  thread.PassTurns(10);  // would never return
  for (int i = 2; i < 10; ++i) {
    clock.Advance(microseconds(1));
    thread.PassTurns();
    thread.On([&] { EXPECT_EQ(fired, i) << "once each time that the clock moved"; });
  }
  thread.On([&] { timer.reset(); });
}

TEST(EventLoopTimerTest, ATimerMayDestroyItselfAndOthersInItsFunction) {
  StandingClock clock;
  LoopThread thread(clock);
  std::unique_ptr<Timer> first, second, third;
  std::string fired;
  thread.On([&] {
    // The captured string lives in the function that is destroyed while it runs.
    first = std::make_unique<Timer>(thread.loop(), [&, name = std::string(100, 'a')] {
      second.reset();
      first.reset();
      fired += name;
    });
    second = std::make_unique<Timer>(thread.loop(), [&] { fired += "second"; });
    third = std::make_unique<Timer>(thread.loop(), [&] { fired += "third"; });
    first->SetAt(clock.Now());
    second->SetAt(clock.Now());
    third->SetAt(clock.Now());
  });
  thread.PassTurns();
  EXPECT_EQ(fired, std::string(100, 'a') + "third");
  thread.On([&] { third.reset(); });
}

// ---- descriptors

TEST(EventLoopCreateTest, TakesItsTicketsAndGivesThemBack) {
  FdPool files(PoolKind::kFiles, EventLoop::kDescriptors);
  auto loop = EventLoop::Create("test", RealClock(), NullLog(), files);
  ASSERT_TRUE(loop.ok());
  EXPECT_EQ(files.used(), EventLoop::kDescriptors);
  loop->reset();
  EXPECT_EQ(files.used(), 0);
}

TEST(EventLoopCreateTest, WithoutTicketsOrDescriptorsItSaysSoAndLeavesNothingBehind) {
  FdPool few(PoolKind::kFiles, EventLoop::kDescriptors - 1);
  auto loop = EventLoop::Create("test", RealClock(), NullLog(), few);
  EXPECT_EQ(loop.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(loop.status().message()), ::testing::HasSubstr("ulimit -n"));
  EXPECT_EQ(few.used(), 0);

  FdPool files(PoolKind::kFiles, 8);
  NoDescriptors exhausted(/*spare=*/2);
  exhausted.FreeOne();
  exhausted.FreeOne();
  loop = EventLoop::Create("test", RealClock(), NullLog(), files);
  EXPECT_EQ(loop.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(loop.status().message()), ::testing::HasSubstr("EMFILE"));
  EXPECT_EQ(files.used(), 0);
}

}  // namespace
}  // namespace helo::net
