// Every time of WIRE 7 on a clock that only the test moves, and the challenge of WIRE 6.
// Long: a case each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire_support.h"

namespace helo::wire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr Duration kInstant = milliseconds(1);

class Timed : public ::testing::Test {
 protected:
  void ExpectClosed(End& end, const std::string& event) {
    ASSERT_TRUE(end.sink.closed) << ::testing::PrintToString(end.sink.events);
    EXPECT_EQ(end.sink.events.back(), event);
  }
  // Takes what waits, so that NOT_READING has no part in it, and answers every PING.
  void KeepTalking(End& end, Duration by) {
    const MonoTime until = clock.Now() + by;
    while (clock.Now() < until) {
      end.Pass(std::min<Duration>(seconds(1), until - clock.Now()));
      for (const RawFrame& frame : end.Take()) {
        if (frame.type == kPing) end.Give(kPong, EncodePong({DecodePing(frame.payload)->nonce, 0}));
      }
    }
  }
  helo::testing::ManualClock clock;
  End dialer{Role::kDialer, clock};
  End acceptor{Role::kAcceptor, clock};
};

TEST_F(Timed, HelloMustBeWholeFiveSecondsAfterTls) {
  for (End* end : {&dialer, &acceptor}) {
    end->Begin();
    end->Take();
    Hello long_one = CorrectHello();
    long_one.user_agent = std::string(128, 'u');
    const Bytes hello = Encode({0, kHello, EncodeHello(long_one)});
    // A trickle does not extend it.
    for (int i = 0; i < 49; ++i) {
      end->Feed(ByteView(hello).subspan(static_cast<size_t>(i), 1));
      end->Pass(milliseconds(100));
    }
    EXPECT_FALSE(end->sink.closed);
    end->Pass(milliseconds(100) - kInstant);
    EXPECT_FALSE(end->sink.closed);
    end->Pass(kInstant);
    EXPECT_EQ(LastRefusal(*end, kDisconnect).code, 40u);
    ExpectClosed(*end, "closed STAGE_TIMEOUT by us at hello");
  }
}

TEST_F(Timed, TheAcceptorWaitsFiveSecondsForTheVerdictFromItsAccept) {
  acceptor.decision = std::nullopt;
  acceptor.Begin();
  acceptor.Give(kHello, EncodeHello(CorrectHello()));
  acceptor.Pass(seconds(4));  // the node takes its time: not the dialer's fault
  acceptor.session->Decide(clock.Now(), {});
  acceptor.Take();
  acceptor.Pass(seconds(5) - kInstant);
  EXPECT_FALSE(acceptor.sink.closed);
  acceptor.Pass(kInstant);
  EXPECT_EQ(LastRefusal(acceptor, kDisconnect).code, 40u);
  ExpectClosed(acceptor, "closed STAGE_TIMEOUT by us at verdict");
}

TEST_F(Timed, TheDialerWaitsFiveSecondsForTheVerdictFromTheAcceptorsHello) {
  dialer.Begin();
  dialer.Take();
  dialer.Pass(seconds(4));
  dialer.Give(kHello, EncodeHello(CorrectHello()));
  dialer.Pass(seconds(5) - kInstant);
  EXPECT_FALSE(dialer.sink.closed);
  dialer.Pass(kInstant);
  EXPECT_EQ(LastRefusal(dialer, kVerdict).code, 40u)
      << "it has a HELLO and has not sent its VERDICT";
  ExpectClosed(dialer, "closed STAGE_TIMEOUT by us at verdict");
}

TEST_F(Timed, AcceptToUpIsTenSecondsInAll) {
  const MonoTime accepted = clock.Now();
  clock.Advance(seconds(4));  // TLS
  acceptor.Begin();
  acceptor.params.started = accepted;
  acceptor.session = std::make_unique<Session>(acceptor.params);
  acceptor.session->Start(clock.Now());
  acceptor.Pass(seconds(2));
  acceptor.Give(kHello, EncodeHello(CorrectHello()));
  acceptor.Take();
  acceptor.Pass(seconds(4) - kInstant);  // only 4 of the verdict's 5 seconds
  EXPECT_FALSE(acceptor.sink.closed);
  acceptor.Pass(kInstant);
  EXPECT_EQ(clock.Now() - accepted, seconds(10));
  EXPECT_EQ(LastRefusal(acceptor, kDisconnect).code, 40u);
}

TEST_F(Timed, ADecisionThatNeverComesIsToldWithHelloAndVerdict) {
  acceptor.decision = std::nullopt;
  acceptor.Begin();
  acceptor.Give(kHello, EncodeHello(CorrectHello()));
  acceptor.Pass(seconds(10));
  const std::vector<RawFrame> frames = acceptor.Take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].type, kHello);
  EXPECT_EQ(DecodeVerdict(frames[1].payload)->code, 40u);
}

TEST_F(Timed, AChallengeOfAnotherConnectionCountsInNoDeadline) {
  for (End* end : {&dialer, &acceptor}) {
    end->decision = std::nullopt;
    end->Begin();
    end->Take();
    end->Give(kHello, EncodeHello(CorrectHello()));
    if (end == &dialer) end->Give(kVerdict, AcceptPayload());
    end->Pass(seconds(4));
    end->session->HoldForChallenge(clock.Now());
    end->session->HoldForChallenge(clock.Now() + seconds(1));  // said twice is said once
    EXPECT_EQ(end->session->NextDeadline(), kNever);
    end->Pass(seconds(30));
    EXPECT_FALSE(end->sink.closed);
  }
  acceptor.session->Decide(clock.Now(), {});
  acceptor.Take();
  acceptor.Pass(seconds(5) - kInstant);  // of accept-to-up 6 s are left, of the verdict 5
  EXPECT_FALSE(acceptor.sink.closed);
  acceptor.Pass(kInstant);
  ExpectClosed(acceptor, "closed STAGE_TIMEOUT by us at verdict");
  dialer.session->Decide(clock.Now(), {});
  EXPECT_TRUE(dialer.session->up());
}

TEST_F(Timed, TheHeldTimeIsAddedToAcceptToUpAndNothingElse) {
  acceptor.decision = std::nullopt;
  acceptor.Begin();
  acceptor.Give(kHello, EncodeHello(CorrectHello()));
  acceptor.Pass(seconds(8));
  acceptor.session->HoldForChallenge(clock.Now());
  acceptor.Pass(seconds(2));
  acceptor.session->Decide(clock.Now(), {});
  acceptor.Take();
  acceptor.Pass(seconds(2) - kInstant);
  EXPECT_FALSE(acceptor.sink.closed);
  acceptor.Pass(kInstant);
  ExpectClosed(acceptor, "closed STAGE_TIMEOUT by us at verdict");
}

// --- keepalive

TEST_F(Timed, PingsWhenNothingWasSentForFifteenSecondsGiveOrTakeAFifth) {
  BringUp(dialer);
  MonoTime last = clock.Now();
  Duration least = seconds(1000), most{};
  for (int i = 0; i < 200; ++i) {
    while (dialer.session->Pending().empty()) {
      clock.Advance(dialer.session->NextDeadline() - clock.Now());
      dialer.session->Tick(clock.Now());
      ASSERT_FALSE(dialer.sink.closed);
    }
    least = std::min(least, clock.Now() - last);
    most = std::max(most, clock.Now() - last);
    last = clock.Now();
    const std::vector<RawFrame> frames = dialer.Take();
    ASSERT_EQ(frames.size(), 1u);
    ASSERT_EQ(frames[0].type, kPing);
    dialer.Give(kPong, EncodePong({DecodePing(frames[0].payload)->nonce, 0}));
  }
  EXPECT_GE(least, seconds(12));
  EXPECT_LE(most, seconds(18));
  EXPECT_LT(least, seconds(13)) << "it is jittered";
  EXPECT_GT(most, seconds(17));
}

TEST_F(Timed, ABusySenderStillPingsEveryThirtySeconds) {
  BringUp(dialer);
  int pings = 0;
  for (int second = 0; second < 120; ++second) {
    dialer.session->Send(clock.Now(), 1, 0, {});
    dialer.Give({100, 0, {}});
    dialer.Pass(seconds(1));
    for (const RawFrame& frame : dialer.Take())
      pings += frame.channel == 0 && frame.type == kPing ? 1 : 0;
  }
  EXPECT_EQ(pings, 4);
}

TEST_F(Timed, TheFirstPingComesAsSoonAsTheNodeWants) {
  dialer.profile.times.first_ping = seconds(1);
  BringUp(dialer);
  dialer.Take();
  dialer.Pass(seconds(1) - kInstant);
  EXPECT_TRUE(dialer.Take().empty());
  dialer.Pass(kInstant);
  const std::vector<RawFrame> frames = dialer.Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, kPing);
}

TEST_F(Timed, FortyFiveSecondsOfSilenceAreAPingTimeout) {
  BringUp(dialer);
  dialer.PassReading(seconds(40));
  dialer.Give({100, 0, {}});
  dialer.PassReading(seconds(45) - kInstant);
  EXPECT_FALSE(dialer.sink.closed);
  dialer.Pass(kInstant);
  EXPECT_EQ(LastRefusal(dialer, kDisconnect).code, 41u);
  ExpectClosed(dialer, "closed PING_TIMEOUT by us at up");
}

TEST_F(Timed, HalfAFrameIsSilence) {
  BringUp(dialer);
  const Bytes frame = Encode({100, 0, Filled(100)});
  for (int second = 0; second < 44; ++second) {
    dialer.Feed(ByteView(frame).subspan(static_cast<size_t>(second), 1));
    dialer.Pass(seconds(1));
    dialer.Take();
  }
  dialer.Pass(seconds(1));
  ExpectClosed(dialer, "closed PING_TIMEOUT by us at up");
}

TEST_F(Timed, WhileWeDoNotReadPingsGoOnAndSilenceStandsStill) {
  BringUp(dialer);
  dialer.Pass(seconds(10));
  dialer.session->SetReadingPaused(clock.Now(), true);
  EXPECT_TRUE(dialer.session->reading_paused());
  int pings = 0;
  for (int second = 0; second < 600; ++second) {
    dialer.Pass(seconds(1));
    pings += static_cast<int>(dialer.Take().size());
  }
  EXPECT_GE(pings, 600 / 18);
  EXPECT_FALSE(dialer.sink.closed);
  dialer.session->SetReadingPaused(clock.Now(), false);
  for (int second = 0; second < 44; ++second) {
    dialer.Pass(seconds(1));
    dialer.Take();
  }
  EXPECT_FALSE(dialer.sink.closed) << "fresh 45 s after the resume";
  dialer.Pass(seconds(1));
  ExpectClosed(dialer, "closed PING_TIMEOUT by us at up");
}

// --- a remote that does not read

TEST_F(Timed, TwentySecondsWithoutProgressAreNotReading) {
  BringUp(dialer);
  dialer.session->Send(clock.Now(), 1, 0, Filled(100));
  dialer.session->Sent(clock.Now(), 50, 50, true);
  dialer.Pass(seconds(19));
  dialer.session->Sent(clock.Now(), 0, 49, true);  // one byte went: progress
  KeepTalking(dialer, Duration(0));
  dialer.session->Sent(clock.Now(), 58, 107, false);  // TLS took it, the socket did not
  dialer.Give({100, 0, {}});
  dialer.Pass(seconds(20) - kInstant);
  EXPECT_FALSE(dialer.sink.closed);
  dialer.Pass(kInstant);
  ExpectClosed(dialer, "closed NOT_READING by us at up");
}

TEST_F(Timed, WhatOnlyMovesIntoTlsIsNoProgress) {
  BringUp(dialer);
  dialer.session->Send(clock.Now(), 1, 0, Filled(100));
  dialer.Pass(seconds(10));
  dialer.session->Sent(clock.Now(), 108, 130, false);
  dialer.Pass(seconds(10) - kInstant);
  EXPECT_FALSE(dialer.sink.closed);
  dialer.Pass(kInstant);
  ExpectClosed(dialer, "closed NOT_READING by us at up");
}

TEST_F(Timed, AnEmptyQueueNeedsNoProgress) {
  BringUp(dialer);
  dialer.session->Send(clock.Now(), 1, 0, Filled(100));
  dialer.Take();
  KeepTalking(dialer, seconds(300));
  EXPECT_FALSE(dialer.sink.closed);
  // The 20 s begin with the first byte that waits, not with the last that went.
  dialer.session->Send(clock.Now(), 1, 0, Filled(100));
  dialer.Pass(seconds(20) - kInstant);
  EXPECT_FALSE(dialer.sink.closed);
  dialer.Pass(kInstant);
  ExpectClosed(dialer, "closed NOT_READING by us at up");
}

TEST_F(Timed, MoreBytesInTheQueueAreNoProgress) {
  BringUp(dialer);
  for (int second = 0; second < 19; ++second) {
    dialer.session->Send(clock.Now(), 1, 0, Filled(10));
    dialer.Give({100, 0, {}});
    dialer.Pass(seconds(1));
  }
  EXPECT_FALSE(dialer.sink.closed);
  dialer.Pass(seconds(1));
  ExpectClosed(dialer, "closed NOT_READING by us at up");
}

// --- the referee's challenge

class Challenged : public Timed {
 protected:
  void SetUp() override {
    BringUp(dialer);
    dialer.Pass(seconds(1));
  }
};

TEST_F(Challenged, AnyFrameIsAlive) {
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
  const std::vector<RawFrame> frames = dialer.Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, kPing);
  dialer.Pass(seconds(2) - kInstant);
  EXPECT_THAT(dialer.sink.events, IsEmpty());
  dialer.Give(4711, {});
  EXPECT_THAT(dialer.sink.Take(), ElementsAre("alive"));
  dialer.Give(kPong, EncodePong({DecodePing(frames[0].payload)->nonce, 0}));
  dialer.Pass(seconds(3));
  EXPECT_THAT(dialer.sink.events, IsEmpty()) << "told once";
}

TEST_F(Challenged, TwoSecondsOfSilenceAreDead) {
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
  dialer.Take();
  dialer.Pass(seconds(2));
  EXPECT_THAT(dialer.sink.Take(), ElementsAre("dead"));
  EXPECT_TRUE(dialer.session->up()) << "what follows is the node's to do";
  dialer.session->Close(clock.Now(), Reason::kReplaced);
  EXPECT_EQ(LastRefusal(dialer, kDisconnect).code, 7u);
}

TEST_F(Challenged, HalfAFrameIsDead) {
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
  dialer.Feed(ByteView(Encode({100, 0, Filled(10)})).first(17));
  dialer.Pass(seconds(2));
  EXPECT_THAT(dialer.sink.Take(), ElementsAre("dead"));
}

TEST_F(Challenged, OneAtATime) {
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
  EXPECT_FALSE(dialer.session->Challenge(clock.Now()));
  dialer.Give(4711, {});
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
}

TEST_F(Challenged, AtMostFiveInTenSeconds) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
    dialer.Give(4711, {});
    dialer.Pass(seconds(1));
  }
  EXPECT_FALSE(dialer.session->Challenge(clock.Now()));
  dialer.Pass(seconds(5));
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
  EXPECT_FALSE(dialer.session->Challenge(clock.Now()));
}

TEST_F(Challenged, ACloseInTheMeantimeIsDead) {
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
  dialer.Give(kDisconnect, EncodeRefusal({20, "", 0}));
  EXPECT_THAT(dialer.sink.Take(),
              ElementsAre("dead", "close 1 SHUTTING_DOWN", "closed SHUTTING_DOWN by them at up"));
}

TEST_F(Challenged, WhoWeDoNotReadCountsAsAlive) {
  dialer.session->SetReadingPaused(clock.Now(), true);
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
  EXPECT_THAT(dialer.sink.events, IsEmpty()) << "not inside the call";
  dialer.Pass(Duration(0));
  EXPECT_THAT(dialer.sink.Take(), ElementsAre("alive"));
  dialer.session->SetReadingPaused(clock.Now(), false);
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
  dialer.Pass(seconds(1));
  dialer.session->SetReadingPaused(clock.Now(), true);
  dialer.session->SetReadingPaused(clock.Now(), false);
  dialer.Pass(seconds(1));
  EXPECT_THAT(dialer.sink.Take(), ElementsAre("alive"));
}

TEST_F(Challenged, ANextOneBegunInTheAnswerLeavesNoDeadlineBehindThatIsDue) {
  dialer.session->SetReadingPaused(clock.Now(), true);
  dialer.sink.then = [&](const std::string& event) {
    if (event == "alive") dialer.session->Challenge(clock.Now());
  };
  EXPECT_TRUE(dialer.session->Challenge(clock.Now()));
  dialer.Pass(Duration(0));
  EXPECT_EQ(dialer.sink.events, std::vector<std::string>(5, "alive"));
}

TEST_F(Challenged, OnlyOneThatIsUpCanBeAsked) {
  acceptor.Begin();
  EXPECT_FALSE(acceptor.session->Challenge(clock.Now()));
  dialer.session->Close(clock.Now(), Reason::kDropped);
  EXPECT_FALSE(dialer.session->Challenge(clock.Now()));
}

}  // namespace
}  // namespace helo::wire::testing
