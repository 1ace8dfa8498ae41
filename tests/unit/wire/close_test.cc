// Every end (WIRE 8 and 9): which frame tells it, what is dropped, and what the CloseInfo says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto_bytes.h"
#include "wire_support.h"

namespace helo::wire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Close : public ::testing::Test {
 protected:
  helo::testing::ManualClock clock;
  End end{Role::kAcceptor, clock};
};

TEST_F(Close, ByUsDropsQueuedMessagesAndTellsWhy) {
  BringUp(end);
  end.session->Send(clock.Now(), 1, 0, Filled(100));
  end.Give(kPing, EncodePing({1}));
  end.session->Send(clock.Now(), 1, 0, Filled(100));
  end.session->Close(clock.Now(), Reason::kDropped, "by the operator", 600);
  const std::vector<RawFrame> frames = end.Take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].type, kPong);
  EXPECT_EQ(DecodeDisconnect(frames[1].payload), (Refusal{21, "by the operator", 600}));
  EXPECT_THAT(end.sink.events, ElementsAre("close 1 DROPPED", "closed DROPPED by us at up"));
  EXPECT_EQ(end.sink.closed->text, "by the operator");
  EXPECT_EQ(end.sink.closed->retry_after_s, 600u);
}

TEST_F(Close, ByUsFinishesTheFrameThatWasBegun) {
  BringUp(end);
  end.session->Send(clock.Now(), 1, 0, Filled(100));
  end.session->Send(clock.Now(), 1, 0, Filled(100));
  Bytes out = end.TakeBytes(30);
  end.session->Close(clock.Now(), Reason::kShuttingDown);
  out = out + end.TakeBytes();
  const std::vector<RawFrame> frames = SplitFrames(out);
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0], (RawFrame{7, 0, Filled(100)}));
  EXPECT_EQ(frames[1].type, kDisconnect);
}

TEST_F(Close, OnlyTheFirstCounts) {
  BringUp(end);
  end.session->Close(clock.Now(), Reason::kDropped);
  end.session->Close(clock.Now(), Reason::kShuttingDown);
  end.session->Abort(clock.Now(), Reason::kReset, Decider::kNetwork);
  end.session->ReceiveEof(clock.Now(), true);
  end.session->Tick(clock.Now() + seconds(1000));
  end.Give(kDisconnect, EncodeRefusal({20, "", 0}));
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 21u);
  EXPECT_EQ(end.sink.events.back(), "closed DROPPED by us at up");
}

TEST_F(Close, WhatComesAfterItIsIgnored) {
  BringUp(end);
  end.session->Close(clock.Now(), Reason::kDropped);
  end.Take();
  for (int i = 0; i < 100; ++i) end.Give(kPing, Bytes{0xff});
  EXPECT_THAT(end.Take(), IsEmpty());
  EXPECT_EQ(end.session->NextDeadline(), kNever);
  EXPECT_TRUE(end.session->closing());
  EXPECT_FALSE(end.session->up());
  EXPECT_EQ(end.session->stage(), Stage::kUp);
}

TEST_F(Close, FromWithinAMessageStopsTheReadThere) {
  BringUp(end);
  end.sink.on_message = [&](uint32_t, uint16_t, ByteView payload) {
    end.session->Close(clock.Now(), Reason::kPluginViolation, "not like that");
    EXPECT_EQ(payload[0], 0x5a) << "the payload stays readable for the whole call";
    EXPECT_EQ(payload.back(), 0x5a);
  };
  const Bytes both = Encode({200, 0, Filled(500)}) + Encode({200, 1, Filled(1)});
  end.Feed(ByteView(both).first(100));
  end.Feed(ByteView(both).subspan(100));
  EXPECT_EQ(end.sink.messages, 1u);
  EXPECT_EQ(LastRefusal(end, kDisconnect), (Refusal{35, "not like that", 0}));
}

TEST_F(Close, TheTextIsMadeFitForTheWire) {
  BringUp(end);
  end.session->Close(clock.Now(), Reason::kDropped,
                     std::string("tab\tand \xc3\xa9 ") + std::string(400, 'x'));
  EXPECT_EQ(LastRefusal(end, kDisconnect).text, "tab?and ?? " + std::string(256 - 11, 'x'));
}

TEST_F(Close, AReasonThatIsOnlyOursIsInternalToTheRemote) {
  BringUp(end);
  end.session->Close(clock.Now(), Reason::kCancelled);
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 44u);
  EXPECT_EQ(end.sink.closed->reason, Reason::kCancelled);
}

TEST_F(Close, BeforeTlsIsUpThereIsNobodyToTell) {
  end.params.profile = &end.profile;
  end.params.clock = &clock;
  end.params.rng = &end.rng;
  end.params.sink = &end.sink;
  end.session = std::make_unique<Session>(end.params);
  EXPECT_EQ(end.session->NextDeadline(), kNever);
  end.session->Close(clock.Now(), Reason::kCancelled);
  EXPECT_THAT(end.Take(), IsEmpty());
  EXPECT_EQ(end.sink.events.back(), "closed CANCELLED by us at tls");
}

TEST_F(Close, ADecisionAfterItIsTooLate) {
  end.decision = std::nullopt;
  end.Begin();
  end.Give(kHello, EncodeHello(CorrectHello()));
  end.Give(kDisconnect, EncodeRefusal({20, "", 0}));
  end.session->Decide(clock.Now(), {});
  EXPECT_THAT(end.Take(), IsEmpty());
  EXPECT_EQ(end.sink.events.back(), "closed SHUTTING_DOWN by them at verdict");
}

// --- by them

TEST_F(Close, ByThemIsNeverAnswered) {
  BringUp(end);
  end.session->Send(clock.Now(), 1, 0, Filled(100));
  end.Give(kDisconnect, EncodeRefusal({21, "go away", 60}));
  EXPECT_THAT(end.Take(), IsEmpty());
  EXPECT_THAT(end.sink.events, ElementsAre("close 1 DROPPED", "closed DROPPED by them at up"));
  EXPECT_EQ(end.sink.closed->text, "go away");
  EXPECT_EQ(end.sink.closed->retry_after_s, 60u);
  EXPECT_EQ(end.sink.closed->wire_code, 0u);
}

TEST_F(Close, ByThemIsUnderstoodAtEveryStage) {
  for (const Role role : {Role::kDialer, Role::kAcceptor}) {
    for (int stage = 0; stage < 4; ++stage) {
      End other(role, clock);
      if (stage == 1) other.decision = std::nullopt;
      other.Begin();
      if (stage > 0) other.Give(kHello, EncodeHello(CorrectHello()));
      if (stage > 2) other.Give(kVerdict, AcceptPayload());
      other.TakeBytes();
      other.Give(kDisconnect, EncodeRefusal({43, "", 0}));
      ASSERT_TRUE(other.sink.closed);
      EXPECT_EQ(other.sink.closed->reason, Reason::kPluginSlow);
      EXPECT_EQ(other.sink.closed->decider, Decider::kThem);
      EXPECT_EQ(other.sink.closed->stage, stage == 0   ? Stage::kHello
                                          : stage == 3 ? Stage::kUp
                                                       : Stage::kVerdict);
      EXPECT_THAT(other.Take(), IsEmpty());
    }
  }
}

TEST_F(Close, AnUnparsableDisconnectIsInternalAndNotAnswered) {
  BringUp(end);
  end.Give(kDisconnect, {0xff});
  EXPECT_THAT(end.Take(), IsEmpty());
  EXPECT_EQ(end.sink.events.back(), "closed INTERNAL by them at up");
  EXPECT_EQ(end.sink.closed->wire_code, 0u);
}

TEST_F(Close, UnknownCodesAreInternalWithTheirNumber) {
  for (const uint32_t code : {9u, 16u, 46u, 99u, 100u, 107u, 123u, UINT32_MAX}) {
    End other(Role::kDialer, clock);
    BringUp(other);
    other.Give(kDisconnect, EncodeRefusal({code, "", 0}));
    EXPECT_EQ(other.sink.closed->reason, Reason::kInternal);
    EXPECT_EQ(other.sink.closed->wire_code, code);
    EXPECT_EQ(other.sink.closed->decider, Decider::kThem);
    EXPECT_EQ(other.sink.events[0], "close 1 " + CodeToString(code));
  }
}

TEST_F(Close, DisconnectZeroIsInternal) {
  BringUp(end);
  end.Give(kDisconnect, {});
  EXPECT_EQ(end.sink.events.back(), "closed INTERNAL by them at up");
}

TEST_F(Close, KnownCodesKeepTheirMeaning) {
  for (const uint32_t code : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 14u, 20u, 22u, 30u, 36u, 40u, 45u}) {
    End other(Role::kDialer, clock);
    BringUp(other);
    other.Give(kDisconnect, EncodeRefusal({code, "", 0}));
    EXPECT_EQ(static_cast<uint32_t>(other.sink.closed->reason), code);
    EXPECT_EQ(other.sink.closed->wire_code, 0u);
  }
}

// --- by the network

TEST_F(Close, AnEndOfStreamBeforeUpIsEofEarly) {
  for (const bool close_notify : {false, true}) {
    for (const Role role : {Role::kDialer, Role::kAcceptor}) {
      End other(role, clock);
      other.Begin();
      other.session->ReceiveEof(clock.Now(), close_notify);
      EXPECT_EQ(other.sink.events.back(), "closed EOF_EARLY by network at hello");
      EXPECT_THAT(other.Take(), IsEmpty());
      End later(role, clock);
      later.Begin();
      later.Give(kHello, EncodeHello(CorrectHello()));
      later.session->ReceiveEof(clock.Now(), close_notify);
      EXPECT_EQ(later.sink.events.back(), "closed EOF_EARLY by network at verdict");
    }
  }
}

TEST_F(Close, AnEndOfStreamOnceUpIsTruncated) {
  for (const bool close_notify : {false, true}) {
    End other(Role::kDialer, clock);
    BringUp(other);
    other.session->Send(clock.Now(), 1, 0, {});
    other.session->ReceiveEof(clock.Now(), close_notify);
    EXPECT_THAT(other.sink.events,
                ElementsAre("close 1 TRUNCATED", "closed TRUNCATED by network at up"));
    EXPECT_THAT(other.Take(), IsEmpty());
  }
}

TEST_F(Close, ABrokenConnectionSendsNothing) {
  BringUp(end);
  end.session->Send(clock.Now(), 1, 0, {});
  end.session->Abort(clock.Now(), Reason::kReset, Decider::kNetwork,
                     "recv: connection reset by peer");
  EXPECT_THAT(end.Take(), IsEmpty());
  EXPECT_EQ(end.sink.events.back(), "closed RESET by network at up");
  EXPECT_EQ(end.sink.closed->text, "recv: connection reset by peer");
}

}  // namespace
}  // namespace helo::wire::testing
