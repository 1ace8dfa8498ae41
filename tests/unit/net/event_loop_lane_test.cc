// Who is served before whom: sessions, listeners and handshakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/net/event_loop.h"
#include "tests/unit/net/net_support.h"

namespace helo::net {
namespace {

using std::chrono::microseconds;

void BurnCpu(Duration cpu) {
  timespec spent{};
  const auto read = [&spent] {
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
  };
  const auto until = read() + cpu;
  while (read() < until) {
  }
}

class EventLoopLaneTest : public ::testing::Test {
 protected:
  // A watcher in the handshake lane with a socket of its own.
  struct Party {
    SocketPair pair = MakeSocketPair();
    std::unique_ptr<FunctionWatcher> watcher;
    Registration registration;
  };
  Party& Add(Lane lane, const std::string& group, std::function<bool(uint32_t)> fn) {
    parties_.push_back(std::make_unique<Party>());
    Party& party = *parties_.back();
    party.watcher = std::make_unique<FunctionWatcher>(std::move(fn));
    party.registration = Watch(thread_.loop(), party.pair.a, lane, *party.watcher, group);
    return party;
  }
  // To stand behind what the watchers of a test refer to: ends them before that goes.
  struct Ending {
    explicit Ending(EventLoopLaneTest& test_in) : test(test_in) {}
    ~Ending() {
      test.thread_.On([this] { test.parties_.clear(); });
      test.thread_.On([] {});  // what the last step posted, behind the first of these, has run too
    }
    EventLoopLaneTest& test;
  };

  LoopThread thread_;
  std::vector<std::unique_ptr<Party>> parties_;
};

TEST_F(EventLoopLaneTest, ASessionIsServedBetweenAnyTwoHandshakeSteps) {
  std::string order;
  int steps = 0;
  Flag done;
  Party* session = nullptr;
  const Ending ending(*this);
  thread_.On([&] {
    session = &Add(Lane::kSession, "192.0.2.0/24", [&](uint32_t events) {
      ReadAll(session->pair.a.FdDoNotKeep());
      if ((events & EPOLLIN) != 0) order += 's';
      return false;
    });
  });
  thread_.PassTurns();
  thread_.On([&] {
    for (int i = 0; i < 10; ++i) {
      Add(Lane::kHandshake, "192.0.2.0/24", [&](uint32_t) {
        order += 'H';
        WriteByte(session->pair.b);  // a message of an established peer comes in during the step
        if (++steps == 20) done.Set();
        return steps < 20;
      });
    }
  });
  ASSERT_TRUE(done.Wait());
  thread_.PassTurns();
  thread_.On([&] {
    for (size_t i = 0; i + 1 < order.size(); i += 2) ASSERT_EQ(order.substr(i, 2), "Hs") << order;
    EXPECT_GE(order.size(), 40u);
  });
}

TEST_F(EventLoopLaneTest, APostIsServedBetweenAnyTwoHandshakeStepsToo) {
  std::string order;
  int steps = 0;
  Flag done;
  const Ending ending(*this);
  thread_.On([&] {
    for (int i = 0; i < 10; ++i) {
      Add(Lane::kHandshake, "192.0.2.0/24", [&](uint32_t) {
        order += 'H';
        thread_.loop().Post([&] { order += 'p'; });
        if (++steps == 20) done.Set();
        return steps < 20;
      });
    }
  });
  ASSERT_TRUE(done.Wait());
  thread_.On([&] {
    for (size_t i = 0; i + 1 < order.size(); i += 2) ASSERT_EQ(order.substr(i, 2), "Hp") << order;
  });
}

TEST_F(EventLoopLaneTest, AtMostFourHandshakeStepsAreTakenATurn) {
  std::map<uint64_t, int> steps_of_turn;
  int steps = 0;
  Flag done;
  const Ending ending(*this);
  thread_.On([&] {
    for (int i = 0; i < 20; ++i) {
      Add(Lane::kHandshake, "192.0.2.0/24", [&](uint32_t) {
        ++steps_of_turn[thread_.turns()];
        if (++steps == 60) done.Set();
        return steps < 60;
      });
    }
  });
  ASSERT_TRUE(done.Wait());
  thread_.On([&] {
    for (const auto& turn : steps_of_turn) EXPECT_LE(turn.second, 4);
    EXPECT_GE(steps_of_turn.size(), 15u);
  });
  EXPECT_GE(thread_.loop().stats().handshake_steps, 60u);
}

TEST_F(EventLoopLaneTest, ANewcomersHandshakePassesAFloodFromOneNetwork) {
  int flood_steps = 0, steps_when_ready = 0;
  std::optional<int> waited;
  Flag done;
  Party* newcomer = nullptr;
  bool listening = false;
  const Ending ending(*this);
  thread_.On([&] {
    newcomer = &Add(Lane::kHandshake, "203.0.113.0/24", [&](uint32_t events) {
      if (!listening || (events & EPOLLIN) == 0) return false;
      waited = flood_steps - steps_when_ready;
      done.Set();
      return false;
    });
  });
  thread_.PassTurns();
  thread_.On([&] {
    for (int i = 0; i < 200; ++i) {
      Add(Lane::kHandshake, "198.51.100.0/24", [&](uint32_t) {
        BurnCpu(microseconds(50));
        if (++flood_steps == 100) {
          listening = true;
          steps_when_ready = flood_steps;
          WriteByte(newcomer->pair.b);
        }
        return flood_steps < 2000;
      });
    }
  });
  ASSERT_TRUE(done.Wait());
  thread_.On([&] {
    ASSERT_TRUE(waited.has_value());
    EXPECT_LE(*waited, 3) << "steps of the flood that came before it: the rest of that turn";
  });
}

TEST_F(EventLoopLaneTest, OfTwoFloodsTheCheaperOneGetsMoreStepsButBothGetTheSameCpu) {
  Duration dear{}, cheap{};
  int dear_steps = 0, cheap_steps = 0;
  Flag done;
  const Ending ending(*this);
  thread_.On([&] {
    for (int i = 0; i < 20; ++i) {
      Add(Lane::kHandshake, "198.51.100.0/24", [&](uint32_t) {
        BurnCpu(microseconds(400));
        dear += microseconds(400);
        ++dear_steps;
        return !done.Wait(Duration::zero());
      });
      Add(Lane::kHandshake, "203.0.113.0/24", [&](uint32_t) {
        BurnCpu(microseconds(100));
        cheap += microseconds(100);
        if (++cheap_steps == 400) done.Set();
        return cheap_steps < 400;
      });
    }
  });
  ASSERT_TRUE(done.Wait());
  thread_.On([&] {
    EXPECT_GT(cheap_steps, 2 * dear_steps);
    EXPECT_GT(dear, cheap / 2);
    EXPECT_LT(dear, cheap * 2);
  });
}

TEST_F(EventLoopLaneTest, AListenerIsCalledEveryTurnDuringAFloodAndSessionsBetweenItsCalls) {
  std::string order;
  int calls = 0;
  uint64_t begin = 0, end = 0;
  Flag done;
  Party* session = nullptr;
  const Ending ending(*this);
  thread_.On([&] {
    session = &Add(Lane::kSession, "192.0.2.0/24", [&](uint32_t events) {
      ReadAll(session->pair.a.FdDoNotKeep());
      if ((events & EPOLLIN) != 0) order += 's';
      return false;
    });
  });
  thread_.PassTurns();
  thread_.On([&] {
    for (int i = 0; i < 50; ++i) {
      Add(Lane::kHandshake, "198.51.100.0/24",
          [&](uint32_t) { return !done.Wait(Duration::zero()); });
    }
    Add(Lane::kListener, "192.0.2.0/24", [&](uint32_t) {
      if (calls == 0) begin = thread_.turns();
      order += 'L';
      WriteByte(session->pair.b);
      end = thread_.turns();
      if (++calls == 40) done.Set();
      return calls < 40;
    });
  });
  ASSERT_TRUE(done.Wait());
  thread_.On([&] {
    EXPECT_EQ(end - begin + 1, 10u) << "four calls a turn, every turn";
    for (size_t i = 0; i + 1 < order.size(); i += 2) ASSERT_EQ(order.substr(i, 2), "Ls") << order;
  });
}

TEST_F(EventLoopLaneTest, AHandshakeThatBecameASessionIsServedInItsNewLane) {
  Party* party = nullptr;
  bool moved = false;
  int in_session = 0, left = 3;
  Flag got, asked;
  const Ending ending(*this);
  thread_.On([&] {
    party = &Add(Lane::kHandshake, "198.51.100.0/24", [&](uint32_t events) {
      ReadAll(party->pair.a.FdDoNotKeep());
      if (!moved) {
        moved = true;
        party->registration.MoveTo(Lane::kSession);
        return true;  // work left: to be called again, in the new lane
      }
      if (thread_.loop().stats().session_calls > 0) ++in_session;
      if ((events & EPOLLIN) != 0) got.Set();
      if (--left == 0) asked.Set();
      return left > 0;
    });
  });
  ASSERT_TRUE(asked.Wait());
  WriteByte(party->pair.b);
  ASSERT_TRUE(got.Wait());
  thread_.On([&] { EXPECT_GE(in_session, 3); });
  EXPECT_GE(thread_.loop().stats().session_calls, 4u);
  EXPECT_EQ(thread_.loop().stats().handshake_steps, 1u);
}

TEST_F(EventLoopLaneTest, WaitingHandshakesThatEndLeaveTheQueue) {
  int called = 0;
  Flag looked;
  const Ending ending(*this);
  thread_.On([&] {
    Party& first = Add(Lane::kHandshake, "192.0.2.0/24", [&](uint32_t) {
      for (size_t i = 1; i < parties_.size(); ++i) parties_[i]->registration.Reset();
      looked.Set();
      return false;
    });
    for (int i = 0; i < 50; ++i) {
      Add(Lane::kHandshake, "192.0.2.0/24", [&](uint32_t) {
        ++called;
        return false;
      }).registration.Kick();
    }
    // Behind the others in the queue of their network: everybody else of it is called before.
    first.registration.Kick();
  });
  ASSERT_TRUE(looked.Wait());
  thread_.PassTurns(10);
  thread_.On([&] { EXPECT_LE(called, 50); });
  EXPECT_EQ(thread_.loop().stats().handshakes_queued, 0u);
}

}  // namespace
}  // namespace helo::net
