// A whole conversation in which every byte is altered once, or after which the stream ends: the
// session must come to a proper end or go on, with one reason, whatever was hit.
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto_bytes.h"
#include "wire_support.h"

namespace helo::wire::testing {
namespace {

using ::testing::ElementsAre;

// What a remote says in a rich life: it comes up, talks, asks, offers, withdraws and leaves.
Bytes Conversation(Role victim, bool with_end) {
  Hello hello = CorrectHello();
  hello.genesis = {1, 2, 3};
  hello.offers.push_back(MakeOffer(8, "gossip", 2));
  hello.advertised = {Endpoint::Parse("192.0.2.1:1").value(),
                      Endpoint::Parse("[2001:db8::1]:2").value()};
  hello.observed = Endpoint::Parse("198.51.100.1:3").value();
  hello.clock_us = 1700000000000000;
  const uint16_t channel = victim == Role::kDialer ? 100 : 200;
  Bytes out = Encode({0, kHello, EncodeHello(hello)}) + Encode({0, kVerdict, AcceptPayload()});
  out = out + Encode({channel, 0, Filled(40)}) + Encode({0, kPing, EncodePing({5})});
  out = out + Encode({0, 4711, Filled(9)}) + Encode({0, kPong, EncodePong({6, 7})});
  out =
      out + Encode({0, kOffer, EncodeOffers({MakeOffer(30, "chain"), MakeOffer(31, "chain", 2)})});
  out = out + Encode({0, kGetPeers, EncodeGetPeers(3)}) +
        Encode({0, kWithdraw, EncodeWithdraw({"gossip", 45})});
  out = out + Encode({channel, 3, {}});
  if (with_end) out = out + Encode({0, kDisconnect, EncodeRefusal({20, "bye", 5})});
  return out;
}

// What holds for every session that was given hostile bytes and then silence.
void ExpectProperEnd(End& end, bool may_live) {
  const std::vector<RawFrame> frames = end.PassReading(seconds(46));
  if (!end.sink.closed) {
    ADD_FAILURE() << "neither closed by what came nor by the silence after it";
    return;
  }
  const CloseInfo& close = *end.sink.closed;
  if (!may_live) {
    EXPECT_EQ(close.decider, Decider::kNetwork);
  }
  if (close.decider != Decider::kUs) {
    for (const RawFrame& frame : frames)
      EXPECT_NE(frame.type, kDisconnect) << "they are not answered";
    return;
  }
  ASSERT_FALSE(frames.empty());
  const RawFrame& last = frames.back();
  EXPECT_TRUE(last.channel == 0 && (last.type == kDisconnect || last.type == kVerdict))
      << ::testing::PrintToString(last);
  const std::optional<Refusal> refusal = DecodeDisconnect(last.payload);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code, static_cast<uint32_t>(close.reason));
}

TEST(Altered, TheUnalteredConversationIsUnderstood) {
  helo::testing::ManualClock clock;
  End end(Role::kAcceptor, clock);
  end.params.our_offers.push_back(MakeOffer(201, "gossip", 2));
  end.Begin();
  end.Feed(Conversation(Role::kAcceptor, true));
  EXPECT_THAT(end.sink.events,
              ElementsAre("hello by-hand/1", "up", "open echo/1 as 1", "open gossip/2 as 2",
                          "message 1/0: 40 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a", "get peers 3",
                          "close 2 PLUGIN_GONE", "message 1/3: 0 ", "close 1 SHUTTING_DOWN",
                          "closed SHUTTING_DOWN by them at up"));
}

TEST(Altered, AByteAtEveryOffsetOfAWholeConversation) {
  size_t runs = 0, refused = 0;
  for (const Role role : {Role::kDialer, Role::kAcceptor}) {
    for (const bool with_end : {false, true}) {
      const Bytes good = Conversation(role, with_end);
      for (size_t offset = 0; offset < good.size(); ++offset) {
        for (const uint8_t mask : {0x01, 0x02, 0x08, 0x40, 0x80, 0xff}) {
          SCOPED_TRACE(absl::StrCat("offset ", offset, " of ", good.size(), ", mask ", mask,
                                    role == Role::kDialer ? ", dialer" : ", acceptor"));
          helo::testing::ManualClock clock;
          End end(role, clock);
          end.params.our_offers.push_back(MakeOffer(5, "gossip", 2));
          end.profile.genesis = {1, 2, 3};
          end.Begin();
          Bytes bad = good;
          bad[offset] ^= mask;
          end.Feed(bad);
          ++runs;
          refused += end.sink.closed && end.sink.closed->decider == Decider::kUs ? 1 : 0;
          ExpectProperEnd(end, /*may_live=*/true);
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
  EXPECT_GT(refused, runs / 4) << "the alterations must matter for this test to say anything";
}

TEST(Altered, TheStreamEndsAtEveryOffset) {
  for (const Role role : {Role::kDialer, Role::kAcceptor}) {
    const Bytes good = Conversation(role, false);
    for (size_t length = 0; length <= good.size(); ++length) {
      SCOPED_TRACE(absl::StrCat("after ", length, " bytes of ", good.size()));
      helo::testing::ManualClock clock;
      End end(role, clock);
      end.Begin();
      end.Feed(ByteView(good).first(length));
      end.session->ReceiveEof(clock.Now(), length % 2 == 0);
      ASSERT_TRUE(end.sink.closed);
      EXPECT_EQ(end.sink.closed->reason,
                end.sink.closed->stage == Stage::kUp ? Reason::kTruncated : Reason::kEofEarly);
      ExpectProperEnd(end, /*may_live=*/false);
    }
  }
}

TEST(Altered, TheStreamStallsAtEveryOffset) {
  for (const Role role : {Role::kDialer, Role::kAcceptor}) {
    const Bytes good = Conversation(role, false);
    for (size_t length = 0; length <= good.size(); ++length) {
      SCOPED_TRACE(absl::StrCat("after ", length, " bytes of ", good.size()));
      helo::testing::ManualClock clock;
      End end(role, clock);
      end.Begin();
      end.Feed(ByteView(good).first(length));
      ExpectProperEnd(end, /*may_live=*/true);
      EXPECT_EQ(end.sink.closed->reason, end.sink.closed->stage == Stage::kUp
                                             ? Reason::kPingTimeout
                                             : Reason::kStageTimeout);
    }
  }
}

}  // namespace
}  // namespace helo::wire::testing
