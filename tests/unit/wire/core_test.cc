// The frames of channel 0 once up: PING, GET_PEERS, unknown types, their rates, and what is
// counted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto_bytes.h"
#include "wire_support.h"

namespace helo::wire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Up : public ::testing::Test {
 protected:
  void SetUp() override { BringUp(end); }
  void ExpectRefused(Reason reason) {
    EXPECT_EQ(LastRefusal(end, kDisconnect).code, static_cast<uint32_t>(reason));
    ASSERT_TRUE(end.sink.closed);
    EXPECT_EQ(end.sink.closed->reason, reason);
    EXPECT_EQ(end.sink.closed->decider, Decider::kUs);
    EXPECT_EQ(end.sink.closed->stage, Stage::kUp);
  }
  helo::testing::ManualClock clock;
  End end{Role::kAcceptor, clock};
};

TEST_F(Up, EachPingIsAnsweredOnceWithItsNonceAndOurClock) {
  end.Give(kPing, EncodePing({77}));
  end.Give(kPing, EncodePing({78}));
  const int64_t now_us = clock.WallNow().time_since_epoch().count();
  EXPECT_THAT(end.Take(), ElementsAre(RawFrame{0, kPong, EncodePong({77, now_us})},
                                      RawFrame{0, kPong, EncodePong({78, now_us})}));
}

TEST_F(Up, APingOfEveryRateThatIsAllowedIsAnswered) {
  for (int burst = 0; burst < 20; ++burst) {
    for (uint64_t i = 0; i < 10; ++i) end.Give(kPing, EncodePing({i}));
    EXPECT_EQ(end.Take().size(), 10u);
    clock.Advance(seconds(10));
  }
}

TEST_F(Up, TheTwentiethPingInTenSecondsIsAFlood) {
  for (uint64_t i = 0; i < 19; ++i) end.Give(kPing, EncodePing({i}));
  EXPECT_EQ(end.Take().size(), 19u);
  clock.Advance(seconds(10) - milliseconds(1));
  end.Give(kPing, EncodePing({99}));
  ExpectRefused(Reason::kFlood);
}

TEST_F(Up, RateComesBeforeEncoding) {
  for (uint64_t i = 0; i < 19; ++i) end.Give(kPing, EncodePing({i}));
  end.Take();
  end.Give(kPing, {0xff});
  ExpectRefused(Reason::kFlood);
}

TEST_F(Up, ARefusalOnTheHeaderDoesNotWaitForThePayload) {
  end.Feed(Bytes{0, 0, 0, 65, 0, 0, 0, kPing});
  ExpectRefused(Reason::kTooLarge);
}

TEST_F(Up, EveryCoreFrameHasItsLimit) {
  for (const uint16_t type : {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 10, 4711}) {
    End other(Role::kDialer, clock);
    BringUp(other);
    const std::array<uint8_t, 8> header = EncodeFrameHeader({CorePayloadLimit(type) + 1, 0, type});
    other.Feed(header);
    EXPECT_EQ(LastRefusal(other, kDisconnect).code, 32u) << type;
    EXPECT_EQ(other.session->stats().core_in[0].frames, 0u);
  }
}

TEST_F(Up, MalformedPayloadsAreToldSo) {
  for (const uint16_t type : {uint16_t{kPing}, uint16_t{kPong}, uint16_t{kOffer},
                              uint16_t{kWithdraw}, uint16_t{kGetPeers}}) {
    End other(Role::kDialer, clock);
    BringUp(other);
    other.Give(type, {0xff});
    EXPECT_EQ(LastRefusal(other, kDisconnect).code, 30u) << CoreTypeName(type);
    EXPECT_EQ(other.sink.events.back(), "closed MALFORMED by us at up");
  }
}

TEST_F(Up, UnknownTypesAreSkippedAndCounted) {
  end.Give(0, Filled(10));
  end.Give(10, {});
  end.Give(65535, Filled(1024));
  EXPECT_THAT(end.sink.events, IsEmpty());
  EXPECT_EQ(end.session->stats().core_in[0].frames, 3u);
  EXPECT_EQ(end.session->stats().core_in[0].bytes, 3u * 8 + 1034);
  end.Give(kPing, EncodePing({1}));
  EXPECT_EQ(end.Take().size(), 1u);
}

TEST_F(Up, SixtyFourKibOfUnknownFramesAMinuteAreToleratedForEver) {
  for (int minute = 0; minute < 5; ++minute) {
    for (int i = 0; i < 64; ++i) end.Give(4711, Filled(1016));
    EXPECT_FALSE(end.sink.closed) << "minute " << minute;
    end.Give(kPing, EncodePing({1}));
    clock.Advance(seconds(60));
  }
}

TEST_F(Up, TwiceThatWithinAMinuteIsAFlood) {
  for (int i = 0; i < 128 && !end.sink.closed; ++i) {
    end.Give(4711, Filled(1016));
    clock.Advance(milliseconds(400));
  }
  ExpectRefused(Reason::kFlood);
}

TEST_F(Up, EmptyUnknownFramesCountByTheirHeaders) {
  int frames = 0;
  while (!end.sink.closed && frames < 20'000) {
    end.Give(4711, {});
    ++frames;
  }
  ExpectRefused(Reason::kFlood);
  EXPECT_GT(frames, 65536 / 8);
  EXPECT_LE(frames, 2 * 65536 / 8);
}

TEST_F(Up, APongThatAnswersNothingCountsAsUnknown) {
  const RawFrame pong{0, kPong, EncodePong({4711, 0})};
  const size_t in_64_kib = 65536 / Encode(pong).size();
  for (size_t i = 0; i < in_64_kib; ++i) end.Give(pong);
  EXPECT_FALSE(end.sink.closed);
  for (size_t i = 0; i < in_64_kib && !end.sink.closed; ++i) end.Give(pong);
  ExpectRefused(Reason::kFlood);
}

TEST_F(Up, OurPingIsAnsweredAndGivesRttAndSkew) {
  end.Pass(seconds(18));
  const std::vector<RawFrame> frames = end.Take();
  ASSERT_EQ(frames.size(), 1u);
  ASSERT_EQ(frames[0].type, kPing);
  const uint64_t nonce = DecodePing(frames[0].payload)->nonce;
  clock.Advance(milliseconds(30));
  const int64_t theirs = clock.WallNow().time_since_epoch().count() + 5000;
  clock.Advance(milliseconds(30));
  end.Give(kPong, EncodePong({nonce, theirs}));
  const SessionStats& stats = end.session->stats();
  const Duration rtt = *stats.last_rtt;
  EXPECT_GE(rtt, milliseconds(60));
  EXPECT_EQ(stats.least_rtt, rtt);
  const int64_t half_us = rtt.count() / 1000 / 2;
  EXPECT_EQ(stats.skew_us, theirs - (clock.WallNow().time_since_epoch().count() - half_us));
  end.Give(kPong, EncodePong({nonce, theirs + 1}));  // answers nothing any more
  EXPECT_EQ(stats.skew_us, theirs - (clock.WallNow().time_since_epoch().count() - half_us));
}

TEST_F(Up, AClockThatMustNotBeUsedGivesRttButNoSkew) {
  end.Pass(seconds(18));
  const uint64_t nonce = DecodePing(end.Take().at(0).payload)->nonce;
  end.Give(kPong, EncodePong({nonce, int64_t{1} << 53}));
  EXPECT_TRUE(end.session->stats().last_rtt);
  EXPECT_FALSE(end.session->stats().skew_us);
}

// --- GET_PEERS and PEERS

TEST_F(Up, PeersAreAskedForAndGiven) {
  end.Give(kGetPeers, EncodeGetPeers(5));
  EXPECT_THAT(end.sink.Take(), ElementsAre("get peers 5"));
  PeerInfo peer;
  peer.endpoint = Endpoint::Parse("192.0.2.1:1").value();
  end.session->SendPeers(clock.Now(), {peer});
  EXPECT_THAT(end.Take(), ElementsAre(RawFrame{0, kPeers, EncodePeers({peer})}));
  end.session->SendPeers(clock.Now(), {peer});
  EXPECT_THAT(end.Take(), IsEmpty()) << "PEERS only as an answer";
}

TEST_F(Up, NoMoreThanAHundredPeersAreAskedForOrGiven) {
  end.Give(kGetPeers, EncodeGetPeers(UINT32_MAX));
  EXPECT_THAT(end.sink.Take(), ElementsAre("get peers 100"));
  PeerInfo peer;
  peer.endpoint = Endpoint::Parse("192.0.2.1:1").value();
  end.session->SendPeers(clock.Now(), std::vector<PeerInfo>(300, peer));
  EXPECT_EQ(DecodePeers(end.Take().at(0).payload)->size(), 100u);
}

TEST_F(Up, TwoGetPeersLessThanFiftySecondsApartAreAFlood) {
  end.Give(kGetPeers, EncodeGetPeers(5));
  clock.Advance(seconds(50));
  end.Give(kGetPeers, EncodeGetPeers(5));
  EXPECT_FALSE(end.sink.closed);
  clock.Advance(seconds(50) - milliseconds(1));
  end.Give(kGetPeers, EncodeGetPeers(5));
  ExpectRefused(Reason::kFlood);
}

TEST(GetPeers, ToANodeThatAnswersNoneIsUnexpected) {
  helo::testing::ManualClock clock;
  End end(Role::kAcceptor, clock);
  end.profile.features = 0;
  BringUp(end);
  end.Give(kGetPeers, EncodeGetPeers(5));
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 31u);
}

TEST_F(Up, PeersThatNobodyAskedForAreUnexpected) {
  end.Give(kPeers, EncodePeers({}));
  ExpectRefused(Reason::kUnexpected);
}

TEST_F(Up, WeAskOnceAMinuteAndTakeOneAnswer) {
  EXPECT_TRUE(end.session->RequestPeers(clock.Now(), 10));
  EXPECT_FALSE(end.session->RequestPeers(clock.Now(), 10));
  EXPECT_THAT(end.Take(), ElementsAre(RawFrame{0, kGetPeers, EncodeGetPeers(10)}));
  PeerInfo peer;
  peer.endpoint = Endpoint::Parse("192.0.2.1:1").value();
  end.Give(kPeers, EncodePeers({peer}));
  EXPECT_THAT(end.sink.Take(), ElementsAre("peers 1"));
  EXPECT_THAT(end.sink.peers, ElementsAre(peer));
  clock.Advance(seconds(60));
  EXPECT_TRUE(end.session->RequestPeers(clock.Now(), 10));
  end.Take();
  end.Give(kPeers, {0xff});
  ExpectRefused(Reason::kMalformed);
}

TEST_F(Up, ASecondAnswerToOneGetPeersIsUnexpected) {
  EXPECT_TRUE(end.session->RequestPeers(clock.Now(), 10));
  end.Take();
  end.Give(kPeers, EncodePeers({}));
  EXPECT_FALSE(end.sink.closed);
  end.Give(kPeers, EncodePeers({}));
  ExpectRefused(Reason::kUnexpected);
}

TEST(GetPeers, IsNotSentToOneThatAnswersNone) {
  helo::testing::ManualClock clock;
  End end(Role::kAcceptor, clock);
  Hello remote = CorrectHello();
  remote.features = 2;
  BringUp(end, remote);
  EXPECT_FALSE(end.session->RequestPeers(clock.Now(), 10));
  EXPECT_THAT(end.Take(), IsEmpty());
}

// --- messages

TEST_F(Up, MessagesAreHandedOverAndSentUnderTheReceiversChannel) {
  end.Give({200, 3, Filled(1024)});
  EXPECT_THAT(end.sink.Take(), ElementsAre("message 1/3: 1024 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"));
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 3, Filled(1024)), SendStatus::kOk);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, {}), SendStatus::kOk);
  EXPECT_THAT(end.Take(), ElementsAre(RawFrame{7, 3, Filled(1024)}, RawFrame{7, 0, {}}));
  const SessionStats& stats = end.session->stats();
  ASSERT_EQ(stats.named.size(), 1u);
  EXPECT_EQ(stats.named[0].name, "echo");
  EXPECT_EQ(stats.named[0].in.frames, 1u);
  EXPECT_EQ(stats.named[0].in.bytes, 1032u);
  EXPECT_EQ(stats.named[0].out.frames, 2u);
  EXPECT_EQ(stats.named[0].out.bytes, 1040u);
  EXPECT_EQ(stats.last_message, clock.Now());
}

TEST_F(Up, WhatCannotBeSentIsSaidAndNotQueued) {
  EXPECT_EQ(end.session->Send(clock.Now(), 2, 0, {}), SendStatus::kGone);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 4, {}), SendStatus::kInvalid);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, Filled(1025)), SendStatus::kTooBig);
  EXPECT_THAT(end.Take(), IsEmpty());
  end.session->Close(clock.Now(), Reason::kDropped);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, {}), SendStatus::kGone);
}

TEST_F(Up, UnknownChannelsAndTypesBeforeTheirSize) {
  const RawFrame bad[] = {{201, 0, {}}, {7, 0, {}}, {200, 4, {}}, {65535, 0, {}}};
  for (const RawFrame& frame : bad) {
    for (const uint32_t length : {0u, UINT32_MAX}) {
      End other(Role::kAcceptor, clock);
      BringUp(other);
      other.Feed(EncodeFrameHeader({length, frame.channel, frame.type}));
      EXPECT_EQ(LastRefusal(other, kDisconnect).code, 33u) << ::testing::PrintToString(frame);
    }
  }
}

TEST_F(Up, AMessageAboveOurLimitIsRefusedOnItsHeader) {
  end.Feed(EncodeFrameHeader({1025, 200, 0}));
  ExpectRefused(Reason::kTooLarge);
}

TEST(SendQuota, SaysAgainAboveItAndWritableBelowHalf) {
  helo::testing::ManualClock clock;
  End end(Role::kDialer, clock);
  end.profile.send_quota_bytes = 4000;
  BringUp(end);
  int sent = 0;
  while (end.session->Send(clock.Now(), 1, 0, Filled(992)) == SendStatus::kOk) ++sent;
  EXPECT_EQ(sent, 4);
  EXPECT_EQ(end.session->stats().queued_bytes, 4000u);
  // TLS takes all, but the socket below still holds half of it.
  end.session->Sent(clock.Now(), 4000, 2000, true);
  EXPECT_THAT(end.sink.events, IsEmpty());
  EXPECT_EQ(end.session->stats().queued_bytes, 2000u);
  end.session->Sent(clock.Now(), 0, 1999, true);
  EXPECT_THAT(end.sink.Take(), ElementsAre("writable"));
  end.session->Sent(clock.Now(), 0, 0, true);
  EXPECT_THAT(end.sink.events, IsEmpty()) << "once for each AGAIN";
}

TEST(SendQuota, IsNotExceededByTheLastMessageEither) {
  helo::testing::ManualClock clock;
  End end(Role::kDialer, clock);
  end.profile.send_quota_bytes = 1000;
  BringUp(end);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, Filled(492)), SendStatus::kOk);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, Filled(600)), SendStatus::kAgain);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, Filled(492)), SendStatus::kOk);
}

TEST(SendQuota, HoldsNoPongBack) {
  helo::testing::ManualClock clock;
  End end(Role::kDialer, clock);
  end.profile.send_quota_bytes = 1000;
  BringUp(end);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, Filled(1000)), SendStatus::kOk);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, {}), SendStatus::kAgain);
  end.Give(kPing, EncodePing({1}));
  EXPECT_EQ(end.Take().size(), 2u);
}

TEST(SendQuota, RoomMadeByTheRemotesWithdrawIsToldToTheOthers) {
  helo::testing::ManualClock clock;
  End end(Role::kDialer, clock);
  end.profile.send_quota_bytes = 1000;
  end.params.our_offers.push_back(MakeOffer(101, "gossip"));
  Hello remote = CorrectHello();
  remote.offers.push_back(MakeOffer(8, "gossip"));
  BringUp(end, remote);
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, Filled(1000)), SendStatus::kOk);
  EXPECT_EQ(end.session->Send(clock.Now(), 2, 0, {}), SendStatus::kAgain);
  end.Give(kWithdraw, EncodeWithdraw({"echo", 0}));
  EXPECT_THAT(end.sink.Take(), ElementsAre("close 1 ACCEPT", "writable"));
  EXPECT_EQ(end.session->Send(clock.Now(), 2, 0, {}), SendStatus::kOk);
  EXPECT_THAT(end.Take(), ElementsAre(RawFrame{8, 0, {}}));
}

TEST_F(Up, ARemoteThatAsksWithoutEverReadingIsNotAnsweredForEver) {
  // It lets a byte through now and then, so that bytes do make progress, and pings as fast as it
  // may.
  uint64_t nonce = 0;
  for (int i = 0; i < 40'000 && !end.sink.closed; ++i) {
    for (int k = 0; k < 19; ++k) end.Give(kPing, EncodePing({++nonce}));
    end.session->Sent(clock.Now(), 1, 0, true);
    clock.Advance(seconds(10));
  }
  ASSERT_TRUE(end.sink.closed);
  EXPECT_EQ(end.sink.closed->reason, Reason::kNotReading);
  EXPECT_LT(end.session->stats().queued_bytes, size_t{1} << 20);
}

// --- TLS below

TEST_F(Up, KeyUpdatesAtTheAllowedRateAreTolerated) {
  for (int minute = 0; minute < 10; ++minute) {
    end.session->OnKeyUpdates(clock.Now(), 4, 0);
    clock.Advance(seconds(60));
  }
  EXPECT_FALSE(end.sink.closed);
}

TEST_F(Up, TwiceTheRateOfKeyUpdatesIsAFlood) {
  end.session->OnKeyUpdates(clock.Now(), 7, 0);
  EXPECT_FALSE(end.sink.closed);
  end.session->OnKeyUpdates(clock.Now(), 1, 0);
  ExpectRefused(Reason::kFlood);
}

TEST_F(Up, EveryMillionRecordsAllowOneMoreKeyUpdate) {
  end.session->OnKeyUpdates(clock.Now(), 7 + 3, uint64_t{3} << 20);
  EXPECT_FALSE(end.sink.closed);
  end.session->OnKeyUpdates(clock.Now(), 1, (uint64_t{4} << 20) - 1);
  ExpectRefused(Reason::kFlood);
}

TEST_F(Up, TlsMisuseIsTold) {
  end.session->OnTlsMisuse(clock.Now());
  ExpectRefused(Reason::kTlsMisuse);
}

}  // namespace
}  // namespace helo::wire::testing
