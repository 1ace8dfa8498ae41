// What a watcher is told and when, whatever its lane.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <string>

#include "p2p/net/event_loop.h"
#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

TEST(EventLoopWatchTest, WhatArrivesIsToldWithItsEvents) {
  LoopThread thread;
  SocketPair pair = MakeSocketPair();
  uint32_t events = 0;
  Flag readable, ended;
  FunctionWatcher watcher([&](uint32_t now) {
    events |= now;
    ReadAll(pair.a.FdDoNotKeep());
    if ((now & EPOLLIN) != 0) readable.Set();
    if ((now & EPOLLRDHUP) != 0) ended.Set();
    return false;
  });
  Registration registration;
  thread.On([&] { registration = Watch(thread.loop(), pair.a, Lane::kSession, watcher); });
  thread.PassTurns();
  thread.On([&] {
    EXPECT_EQ(events & (EPOLLIN | EPOLLOUT), uint32_t{EPOLLOUT}) << "writable, nothing to read";
  });
  WriteByte(pair.b);
  ASSERT_TRUE(readable.Wait());
  pair.b.Close();
  ASSERT_TRUE(ended.Wait());
  thread.On([&] { registration.Reset(); });
}

TEST(EventLoopWatchTest, AWatcherThatLeavesDataUnreadIsNotCalledAgainUnlessItAsks) {
  LoopThread thread;
  SocketPair pair = MakeSocketPair();
  int calls = 0, asked = 0;
  FunctionWatcher watcher([&](uint32_t) {
    ++calls;
    return asked-- > 0;
  });
  Registration registration;
  thread.On([&] {
    registration = Watch(thread.loop(), pair.a, Lane::kSession, watcher);
    WriteByte(pair.b);
  });
  thread.PassTurns();
  thread.On([&] {
    EXPECT_EQ(calls, 1);
    asked = 5;
    registration.Kick();
  });
  thread.PassTurns(20);
  thread.On([&] {
    EXPECT_EQ(calls, 1 + 1 + 5) << "one for the kick, one for each time it asked";
    registration.Reset();
  });
}

TEST(EventLoopWatchTest, WhoAsksToBeCalledAgainWaitsForTheOthers) {
  LoopThread thread;
  SocketPair one = MakeSocketPair(), two = MakeSocketPair();
  std::string order;
  int left = 0;
  FunctionWatcher greedy([&](uint32_t) {
    order += 'g';
    return --left > 0;
  });
  FunctionWatcher modest([&](uint32_t) {
    order += 'm';
    return false;
  });
  Registration first, second;
  thread.On([&] {
    first = Watch(thread.loop(), one.a, Lane::kSession, greedy);
    second = Watch(thread.loop(), two.a, Lane::kSession, modest);
  });
  thread.PassTurns();  // what a new registration tells is over
  thread.On([&] {
    order.clear();
    left = 3;
    first.Kick();
    second.Kick();
  });
  thread.PassTurns(10);
  thread.On([&] {
    EXPECT_EQ(order, "gmgg");
    first.Reset();
    second.Reset();
  });
}

TEST(EventLoopWatchTest, APausedWatcherIsNotCalledAndDoesNotWakeTheLoopUntilUnpaused) {
  LoopThread thread;
  SocketPair pair = MakeSocketPair();
  int calls = 0;
  Flag called;
  FunctionWatcher watcher([&](uint32_t) {
    ReadAll(pair.a.FdDoNotKeep());
    ++calls;
    called.Set();
    return false;
  });
  Registration registration;
  thread.On([&] {
    registration = Watch(thread.loop(), pair.a, Lane::kListener, watcher);
    registration.Kick();
    registration.Pause(true);
    registration.Kick();
  });
  thread.PassTurns();
  const uint64_t before = thread.turns();
  for (int i = 0; i < 200; ++i) WriteByte(pair.b);
  thread.On([&] { EXPECT_EQ(calls, 0); });
  EXPECT_LT(thread.turns(), before + 20);
  thread.On([&] { registration.Pause(false); });
  ASSERT_TRUE(called.Wait());
  thread.PassTurns();
  thread.On([&] {
    EXPECT_LE(calls, 2);
    registration.Reset();
  });
}

TEST(EventLoopWatchTest, AWatcherMayEndItsRegistrationOrItselfWhileCalled) {
  LoopThread thread;
  SocketPair one = MakeSocketPair(), two = MakeSocketPair();
  int calls = 0;
  struct Suicidal : Watcher {
    explicit Suicidal(int& calls_in) : calls(calls_in) {}
    bool OnReady(uint32_t) override {
      ++calls;
      registration.Reset();
      delete this;
      return true;  // would be called again if it were there
    }
    int& calls;
    Registration registration;
  };
  Registration registration;
  FunctionWatcher watcher([&](uint32_t) {
    ++calls;
    registration.Reset();
    return true;
  });
  thread.On([&] {
    auto* const suicidal = new Suicidal(calls);
    suicidal->registration = Watch(thread.loop(), one.a, Lane::kSession, *suicidal);
    registration = Watch(thread.loop(), two.a, Lane::kHandshake, watcher);
  });
  thread.PassTurns(10);
  thread.On([&] { EXPECT_EQ(calls, 2); });
}

// The dangerous twin of the story of the numbers (fd_table_test.cc): the event of a closed
// descriptor must not reach whoever got its number.
TEST(EventLoopWatchTest, AnEventForAClosedDescriptorNeverReachesTheOneThatGotItsNumber) {
  for (const Lane lane : {Lane::kSession, Lane::kHandshake, Lane::kListener}) {
    LoopThread thread;
    SocketPair killer_pair = MakeSocketPair(), victim_pair = MakeSocketPair();
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe2(pipe.data(), O_NONBLOCK | O_CLOEXEC), 0);
    UniqueFd quiet(pipe[0]), quiet_end(pipe[1]);
    int victim_calls = 0, heir_calls = 0;
    bool armed = false;
    Registration killer_reg, victim_reg, heir_reg;
    Flag killed;
    UniqueFd heir_fd;
    FunctionWatcher heir([&](uint32_t) {
      ++heir_calls;
      return false;
    });
    FunctionWatcher victim([&](uint32_t) {
      ++victim_calls;
      return false;
    });
    FunctionWatcher killer([&](uint32_t) {
      if (!armed) return false;
      armed = false;
      victim_reg.Reset();
      const int number = victim_pair.a.FdDoNotKeep();
      victim_pair.a.Close();
      heir_fd = UniqueFd(::fcntl(quiet.FdDoNotKeep(), F_DUPFD_CLOEXEC, number));
      EXPECT_EQ(heir_fd.FdDoNotKeep(), number)
          << "the number was not reused, the test shows nothing";
      heir_reg = Watch(thread.loop(), heir_fd, lane, heir);
      killed.Set();
      return false;
    });
    thread.On([&] {
      killer_reg = Watch(thread.loop(), killer_pair.a, lane, killer);
      victim_reg = Watch(thread.loop(), victim_pair.a, lane, victim);
    });
    thread.PassTurns();
    thread.On([&] {
      victim_calls = 0;
      armed = true;
      WriteByte(killer_pair.b);  // both become ready before the loop looks, the killer first
      WriteByte(victim_pair.b);
    });
    ASSERT_TRUE(killed.Wait());
    thread.PassTurns(5);
    thread.On([&] {
      EXPECT_EQ(victim_calls, 0);
      EXPECT_EQ(heir_calls, 0) << "it got the event of the one before";
    });
    EXPECT_GE(thread.loop().stats().stale_events, 1u);
    const char byte = 'x';
    ASSERT_EQ(::write(quiet_end.FdDoNotKeep(), &byte, 1), 1);
    ASSERT_TRUE(Eventually([&] {
      int calls = 0;
      thread.On([&] { calls = heir_calls; });
      return calls == 1;
    })) << "its own event does reach it";
    thread.On([&] {
      heir_reg.Reset();
      killer_reg.Reset();
    });
  }
}

TEST(EventLoopWatchTest, WhatCannotBeWatchedIsAnError) {
  LoopThread thread;
  const UniqueFd file(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  const UniqueFd plain(::open(".", O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  FunctionWatcher watcher([](uint32_t) { return false; });
  thread.On([&] {
    EXPECT_FALSE(thread.loop().Watch(plain.FdDoNotKeep(), Lane::kSession, Subnet(), &watcher).ok());
    // The slot that was meant for it is free for the next.
    SocketPair pair = MakeSocketPair();
    EXPECT_TRUE(thread.loop().Watch(pair.a.FdDoNotKeep(), Lane::kSession, Subnet(), &watcher).ok());
  });
}

TEST(EventLoopWatchTest, AMovedRegistrationStaysTheSameAndTheOldOneIsEmpty) {
  LoopThread thread;
  SocketPair pair = MakeSocketPair();
  FunctionWatcher watcher([](uint32_t) { return false; });
  thread.On([&] {
    Registration one = Watch(thread.loop(), pair.a, Lane::kSession, watcher);
    Registration two = std::move(one);
    // NOLINTBEGIN(bugprone-use-after-move, clang-analyzer-cplusplus.Move): what is left of it is
    // the point
    EXPECT_FALSE(one);
    EXPECT_TRUE(two);
    one.Kick();
    one.Pause(true);
    one.MoveTo(Lane::kHandshake);
    one.Reset();
    // NOLINTEND(bugprone-use-after-move, clang-analyzer-cplusplus.Move)
    two.Kick();
  });
}

}  // namespace
}  // namespace helo::net
