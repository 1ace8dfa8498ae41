#include "p2p/server/event_log.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace helo {
namespace {

TEST(EventLog, AReaderGetsEverythingAfterWhereItStopped) {
  EventLog log(7, 8);
  for (int i = 0; i < 3; ++i) log.Append({});
  EXPECT_EQ(log.ReadAfter(0, 10).events.size(), 3u);
  const EventLog::Batch batch = log.ReadAfter(1, 1);
  ASSERT_EQ(batch.events.size(), 1u);
  EXPECT_EQ(batch.events[0].sequence, 2u);
  EXPECT_EQ(batch.missed, 0u);
  EXPECT_TRUE(log.ReadAfter(3, 10).events.empty());
  EXPECT_EQ(log.newest(), 3u);
}

TEST(EventLog, ASlowReaderIsToldHowManyItMissed) {
  EventLog log(7, 4);
  for (int i = 0; i < 10; ++i) log.Append({});
  const EventLog::Batch batch = log.ReadAfter(2, 10);
  EXPECT_EQ(batch.missed, 4u);  // 3, 4, 5, 6
  ASSERT_EQ(batch.events.size(), 4u);
  EXPECT_EQ(batch.events.front().sequence, 7u);
}

TEST(EventLog, AFloodOfRefusalsPushesNothingElseOut) {
  EventLog log(7, 4, 3);
  Event refused;
  refused.kind = EventKind::kRefused;
  log.Append({});                                    // 1
  for (int i = 0; i < 50; ++i) log.Append(refused);  // 2 to 51
  log.Append({});                                    // 52
  const EventLog::Batch batch = log.ReadAfter(0, 10);
  std::vector<uint64_t> sequences;
  for (const Event& event : batch.events) sequences.push_back(event.sequence);
  EXPECT_EQ(sequences, (std::vector<uint64_t>{1, 49, 50, 51, 52}));
  EXPECT_EQ(batch.missed, 47u);
  const EventLog::Batch first = log.ReadAfter(0, 1);
  ASSERT_EQ(first.events.size(), 1u);
  EXPECT_EQ(first.missed, 0u);
  EXPECT_EQ(log.ReadAfter(1, 1).missed, 47u) << "told with the first one after the hole";
}

TEST(EventLog, ASequenceFromTheFutureYieldsNothing) {
  EventLog log(7, 4);
  log.Append({});
  EXPECT_TRUE(log.ReadAfter(99, 10).events.empty());
  EXPECT_TRUE(log.ReadAfter(UINT64_MAX, 10).events.empty());
}

TEST(EventLog, SubscribersAreWokenUntilTheyLeave) {
  EventLog log(7);
  int woken = 0;
  const int handle = log.Subscribe([&] { ++woken; });
  log.Append({});
  log.Unsubscribe(handle);
  log.Append({});
  EXPECT_EQ(woken, 1);
}

TEST(EventLog, ASubscriberThatIsSlowHoldsUpNobodyElseAndIsDoneWhenItHasLeft) {
  EventLog log(7);
  std::atomic<bool> inside{false}, may_end{false}, ended{false};
  const int slow = log.Subscribe([&] {
    if (inside.exchange(true)) return;
    while (!may_end.load()) std::this_thread::yield();
    ended.store(true);
  });
  std::thread first([&] { log.Append({}); });
  while (!inside.load()) std::this_thread::yield();
  log.Append({});
  int woken = 0;
  log.Subscribe([&] { ++woken; });
  log.Append({});
  EXPECT_EQ(woken, 1);
  EXPECT_FALSE(ended.load());
  std::thread later([&] { may_end.store(true); });
  log.Unsubscribe(slow);
  EXPECT_TRUE(ended.load());
  first.join();
  later.join();
}

}  // namespace
}  // namespace helo
