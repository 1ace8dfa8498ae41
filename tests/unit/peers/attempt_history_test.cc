// What became of every attempt: that the line an operator needs is still there after a flood.
#include "p2p/peers/attempt_history.h"

#include <gtest/gtest.h>

namespace helo::peers {
namespace {

using namespace std::chrono_literals;

NodeId Id(uint8_t n) { return NodeId{{n}}; }

Attempt Refused(std::string_view remote, Reason reason) {
  Attempt attempt;
  attempt.direction = Direction::kInbound;
  attempt.remote = *Endpoint::Parse(remote);
  attempt.close.reason = reason;
  return attempt;
}
Attempt Inbound(std::string_view remote, const NodeId& id) {
  Attempt attempt = Refused(remote, Reason::kTruncated);
  attempt.id = id;
  attempt.was_up = true;
  return attempt;
}
Attempt Outbound(std::string target) {
  Attempt attempt;
  attempt.direction = Direction::kOutbound;
  attempt.target = std::move(target);
  attempt.close.reason = Reason::kRefused;
  return attempt;
}
std::vector<uint64_t> Sequences(const std::vector<Attempt>& attempts) {
  std::vector<uint64_t> sequences;
  sequences.reserve(attempts.size());
  for (const Attempt& attempt : attempts) sequences.push_back(attempt.sequence);
  return sequences;
}

TEST(AttemptHistory, ListsAllRingsTogetherNewestFirst) {
  AttemptHistory history;
  EXPECT_EQ(history.Add(Outbound("a:1")), 1u);
  EXPECT_EQ(history.Add(Inbound("192.0.2.1:5", Id(1))), 2u);
  EXPECT_EQ(history.Add(Refused("192.0.2.2:5", Reason::kFull)), 3u);
  EXPECT_EQ(history.Add(Outbound("b:1")), 4u);
  EXPECT_EQ(Sequences(history.Find({})), (std::vector<uint64_t>{4, 3, 2, 1}));
}

TEST(AttemptHistory, AFloodOfRefusedStrangersPushesOutNothingElse) {
  AttemptHistory history({.outbound = 10, .inbound = 10, .refused = 10});
  history.Add(Outbound("a:1"));
  history.Add(Inbound("192.0.2.1:5", Id(1)));
  for (int i = 0; i < 5000; ++i) {
    Attempt attempt = Refused("11.0.0.1:5", Reason::kFull);
    attempt.remote->ip =
        IpAddress::V4({11, 0, static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)});
    history.Add(attempt);
  }
  const std::vector<Attempt> all = history.Find({});
  ASSERT_EQ(all.size(), 12u);
  EXPECT_EQ(all[10].sequence, 2u);
  EXPECT_EQ(all[11].sequence, 1u);
}

TEST(AttemptHistory, RefusalsOfOneSourceAndReasonAreOneLineWithACount) {
  AttemptHistory history;
  Attempt first = Refused("192.0.2.1:1000", Reason::kFull);
  first.began = WallTime(5s);
  history.Add(first);
  history.Add(Refused("192.0.2.9:1", Reason::kFull));
  history.Add(Refused("192.0.2.1:7", Reason::kBanned));
  Attempt last = Refused("192.0.2.1:1001", Reason::kFull);
  last.began = WallTime(9s);
  last.user_agent = "late/1";
  last.repeats = 3;  // counted at the gate already
  EXPECT_EQ(history.Add(last), 4u);

  const std::vector<Attempt> all = history.Find({});
  ASSERT_EQ(Sequences(all), (std::vector<uint64_t>{4, 3, 2}));
  EXPECT_EQ(all[0].repeats, 4u);
  EXPECT_EQ(all[0].remote->port, 1001);
  EXPECT_EQ(all[0].user_agent, "late/1");
  EXPECT_EQ(all[0].began, WallTime(9s));
  EXPECT_EQ(all[0].first_began, WallTime(5s));
  EXPECT_EQ(all[1].repeats, 1u);
}

TEST(AttemptHistory, AnIpv6SourceIsItsSlash64) {
  AttemptHistory history;
  history.Add(Refused("[2001:db8::1]:1", Reason::kFull));
  history.Add(Refused("[2001:db8::2:3]:1", Reason::kFull));
  history.Add(Refused("[2001:db8:0:1::1]:1", Reason::kFull));
  const std::vector<Attempt> all = history.Find({});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].repeats, 2u);
}

TEST(AttemptHistory, ASourceThatWasPushedOutStartsAnew) {
  AttemptHistory history({.outbound = 2, .inbound = 2, .refused = 2});
  history.Add(Refused("192.0.2.1:1", Reason::kFull));
  history.Add(Refused("192.0.2.2:1", Reason::kFull));
  history.Add(Refused("192.0.2.1:1", Reason::kFull));  // the second is the oldest now
  history.Add(Refused("192.0.2.3:1", Reason::kFull));
  history.Add(Refused("192.0.2.2:1", Reason::kFull));  // pushes out the first
  const std::vector<Attempt> all = history.Find({});
  ASSERT_EQ(Sequences(all), (std::vector<uint64_t>{5, 4}));
  EXPECT_EQ(all[0].repeats, 1u);
}

TEST(AttemptHistory, PagesByTheSequenceBefore) {
  AttemptHistory history;
  for (int i = 0; i < 5; ++i) history.Add(Outbound("a:1"));
  AttemptHistory::Query query;
  query.most = 2;
  EXPECT_EQ(Sequences(history.Find(query)), (std::vector<uint64_t>{5, 4}));
  query.before = 4;
  EXPECT_EQ(Sequences(history.Find(query)), (std::vector<uint64_t>{3, 2}));
  query.before = 2;
  EXPECT_EQ(Sequences(history.Find(query)), (std::vector<uint64_t>{1}));
  query.before = 1;
  EXPECT_TRUE(history.Find(query).empty());
}

TEST(AttemptHistory, FiltersByIdDirectionAndText) {
  AttemptHistory history;
  history.Add(Outbound("node2:4356"));
  history.Add(Inbound("192.0.2.1:5", Id(1)));
  history.Add(Inbound("192.0.2.7:5", Id(2)));
  EXPECT_EQ(Sequences(history.Find({.id = Id(1), .direction = {}, .text = {}})),
            (std::vector<uint64_t>{2}));
  EXPECT_EQ(Sequences(history.Find({.id = {}, .direction = Direction::kOutbound, .text = {}})),
            (std::vector<uint64_t>{1}));
  EXPECT_EQ(Sequences(history.Find({.id = {}, .direction = {}, .text = "192.0.2."})),
            (std::vector<uint64_t>{3, 2}));
  EXPECT_EQ(Sequences(history.Find({.id = {}, .direction = {}, .text = "node2"})),
            (std::vector<uint64_t>{1}));
}

TEST(AttemptHistory, AConnectionThatStandsIsFinishedInItsPlace) {
  AttemptHistory history({.outbound = 2, .inbound = 2, .refused = 2});
  Attempt attempt = Inbound("192.0.2.1:5", Id(1));
  attempt.was_up = false;
  attempt.still_up = true;
  const uint64_t sequence = history.Add(attempt);
  history.Add(Outbound("a:1"));
  attempt.still_up = false;
  attempt.was_up = true;
  attempt.close.reason = Reason::kDropped;
  history.Replace(sequence, attempt);
  const std::vector<Attempt> all = history.Find({});
  ASSERT_EQ(Sequences(all), (std::vector<uint64_t>{2, 1}));
  EXPECT_EQ(all[1].close.reason, Reason::kDropped);
  EXPECT_FALSE(all[1].still_up);

  history.Add(Inbound("192.0.2.1:5", Id(1)));
  history.Add(Inbound("192.0.2.1:5", Id(1)));
  history.Replace(sequence, attempt);  // pushed out meanwhile
  EXPECT_EQ(Sequences(history.Find({})), (std::vector<uint64_t>{4, 3, 2}));
}

}  // namespace
}  // namespace helo::peers
