// Standing sets and open names (WIRE 5): versions, OFFER and WITHDRAW in every order, late frames
// and the caps. Long: a case each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto_bytes.h"
#include "wire_support.h"

namespace helo::wire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Names : public ::testing::Test {
 protected:
  void Up(std::vector<Offer> ours, std::vector<Offer> theirs) {
    end.params.our_offers = std::move(ours);
    Hello remote = CorrectHello();
    remote.offers = std::move(theirs);
    end.Begin();
    end.Give(kHello, EncodeHello(remote));
    end.Give(kVerdict, AcceptPayload());
    ASSERT_TRUE(end.session->up());
    end.Take();
  }
  std::vector<std::string> Events() {
    std::vector<std::string> events = end.sink.Take();
    std::erase_if(events, [](const std::string& e) { return e.starts_with("hello") || e == "up"; });
    return events;
  }
  void ExpectRefused(uint32_t code) { EXPECT_EQ(LastRefusal(end, kDisconnect).code, code); }
  void GiveOffer(const std::vector<Offer>& offers) { end.Give(kOffer, EncodeOffers(offers)); }
  void GiveWithdraw(const std::string& name, uint32_t code = 0) {
    end.Give(kWithdraw, EncodeWithdraw({name, code}));
  }

  helo::testing::ManualClock clock;
  End end{Role::kDialer, clock};
};

TEST_F(Names, OpenAtTheHighestVersionThatBothHave) {
  Up({MakeOffer(1, "echo", 1), MakeOffer(2, "echo", 2), MakeOffer(3, "echo", 4)},
     {MakeOffer(9, "echo", 2, 4, 77), MakeOffer(8, "echo", 1), MakeOffer(7, "echo", 3)});
  EXPECT_THAT(Events(), ElementsAre("open echo/2 as 1"));
  EXPECT_EQ(end.sink.opened[0].max_send_bytes, 77u);
  EXPECT_EQ(end.sink.opened[0].max_receive_bytes, 1024u);
  end.Give({2, 0, {}});
  EXPECT_THAT(Events(), ElementsAre("message 1/0: 0 "));
  end.session->Send(clock.Now(), 1, 0, {});
  EXPECT_THAT(end.Take(), ElementsAre(RawFrame{9, 0, {}}));
  end.Give({1, 0, {}});  // offered, but not the open one
  ExpectRefused(33);
}

TEST_F(Names, AVersionWithAnotherCountOfMessagesIsNotSharedAndToldWhy) {
  Up({MakeOffer(1, "echo", 1, 4), MakeOffer(2, "echo", 2, 4)},
     {MakeOffer(9, "echo", 2, 5), MakeOffer(8, "echo", 1, 4)});
  EXPECT_THAT(Events(), ElementsAre("mismatch echo/2 4 5", "open echo/1 as 1"));
  GiveWithdraw("echo");
  GiveOffer({MakeOffer(10, "echo", 2, 6)});
  EXPECT_THAT(Events(), ElementsAre("close 1 ACCEPT", "mismatch echo/2 4 6"));
}

TEST_F(Names, AreDescribedForPeople) {
  Up({MakeOffer(1, "echo", 1), MakeOffer(2, "echo", 2), MakeOffer(3, "mine", 1)},
     {MakeOffer(9, "echo", 2), MakeOffer(8, "theirs", 7)});
  const Session::Capabilities capabilities = end.session->capabilities();
  EXPECT_THAT(capabilities.shared, ElementsAre("echo/2"));
  EXPECT_THAT(capabilities.only_ours, ElementsAre("echo/1", "mine/1"));
  EXPECT_THAT(capabilities.only_theirs, ElementsAre("theirs/7"));
}

TEST_F(Names, TheirOfferOpensWhatWeAlreadyOffered) {
  Up({MakeOffer(1, "echo")}, {});
  EXPECT_THAT(Events(), IsEmpty());
  GiveOffer({MakeOffer(9, "echo")});
  EXPECT_THAT(Events(), ElementsAre("open echo/1 as 1"));
  EXPECT_THAT(end.Take(), IsEmpty());
}

TEST_F(Names, OurOfferOpensWhatTheyAlreadyOffered) {
  Up({}, {MakeOffer(9, "echo")});
  EXPECT_TRUE(end.session->OfferName(clock.Now(), {MakeOffer(1, "echo"), MakeOffer(2, "echo", 2)}));
  EXPECT_THAT(Events(), ElementsAre("open echo/1 as 1"));
  EXPECT_THAT(end.Take(),
              ElementsAre(RawFrame{0, kOffer,
                                   EncodeOffers({MakeOffer(1, "echo"), MakeOffer(2, "echo", 2)})}));
}

TEST_F(Names, TheirWithdrawClosesOnceWithTheirCodeAndDropsWhatWaits) {
  Up({MakeOffer(1, "echo")}, {MakeOffer(9, "echo")});
  Events();
  end.session->Send(clock.Now(), 1, 0, Filled(5));
  GiveWithdraw("echo", 45);
  EXPECT_THAT(Events(), ElementsAre("close 1 PLUGIN_GONE"));
  EXPECT_THAT(end.Take(), IsEmpty());
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, {}), SendStatus::kGone);
  end.Give({1, 0, {}});  // after the sender's own WITHDRAW
  ExpectRefused(33);
}

TEST_F(Names, OurWithdrawClosesOnceAndSendsNothingMore) {
  Up({MakeOffer(1, "echo")}, {MakeOffer(9, "echo")});
  Events();
  end.session->Send(clock.Now(), 1, 0, Filled(5));
  end.session->WithdrawName(clock.Now(), "echo", 45);
  EXPECT_THAT(Events(), ElementsAre("close 1 PLUGIN_GONE"));
  EXPECT_EQ(end.session->Send(clock.Now(), 1, 0, {}), SendStatus::kGone);
  EXPECT_THAT(end.Take(), ElementsAre(RawFrame{9, 0, Filled(5)},
                                      RawFrame{0, kWithdraw, EncodeWithdraw({"echo", 45})}));
  end.session->WithdrawName(clock.Now(), "echo", 45);
  EXPECT_THAT(end.Take(), IsEmpty()) << "nothing stands any more";
}

TEST_F(Names, BothWithdrawAtOnceAndEachGetsOneClose) {
  Up({MakeOffer(1, "echo")}, {MakeOffer(9, "echo")});
  Events();
  end.session->WithdrawName(clock.Now(), "echo", 0);
  GiveWithdraw("echo");
  EXPECT_THAT(Events(), ElementsAre("close 1 ACCEPT"));
  EXPECT_FALSE(end.sink.closed);
}

TEST_F(Names, ComeBackUnderNewNumbersAndANewOpenId) {
  Up({MakeOffer(1, "echo")}, {MakeOffer(9, "echo")});
  end.session->WithdrawName(clock.Now(), "echo", 0);
  EXPECT_TRUE(end.session->OfferName(clock.Now(), {MakeOffer(2, "echo")}));
  EXPECT_THAT(Events(), ElementsAre("open echo/1 as 1", "close 1 ACCEPT", "open echo/1 as 2"));
  end.Take();
  end.Give({1, 0, {}});  // sent before it saw the WITHDRAW
  end.Give({2, 0, {}});
  EXPECT_THAT(Events(), ElementsAre("message 2/0: 0 "));
  EXPECT_EQ(end.session->stats().late_frames, 1u);
}

TEST_F(Names, AChosenNumberIsNeverUsedBefore) {
  Up({MakeOffer(1, "echo"), MakeOffer(3, "gossip")}, {});
  end.session->WithdrawName(clock.Now(), "echo", 0);
  end.Take();
  EXPECT_TRUE(end.session->OfferName(
      clock.Now(), {MakeOffer(0, "new"), MakeOffer(2, "new", 2), MakeOffer(0, "new", 3)}));
  const std::vector<RawFrame> frames = end.Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_THAT(*DecodeOffers(frames[0].payload),
              ElementsAre(MakeOffer(4, "new"), MakeOffer(2, "new", 2), MakeOffer(5, "new", 3)));
}

TEST_F(Names, WhatMustNotBeOfferedIsNot) {
  Up({MakeOffer(1, "echo"), MakeOffer(2, "gone")}, {});
  end.session->WithdrawName(clock.Now(), "gone", 0);
  end.Take();
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {}));
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(5, "echo", 2)})) << "the name stands";
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(1, "new")})) << "the number stands";
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(2, "new")})) << "the number was used";
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(5, "new"), MakeOffer(6, "other")}));
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(5, "new"), MakeOffer(6, "new")}));
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(5, "new"), MakeOffer(5, "new", 2)}));
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(5, "New")}));
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(5, "new", 0)}));
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(5, "new", 1, 0)}));
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(5, "new", 1, 1, 0)}));
  EXPECT_FALSE(
      end.session->OfferName(clock.Now(), {MakeOffer(5, "new", 1, 1, kMaxMessageBytes + 1)}));
  EXPECT_EQ(end.session->stats().offers_refused, 12u);
  EXPECT_THAT(end.Take(), IsEmpty());
}

// --- what a remote must not do

TEST_F(Names, AnOfferForANameThatStandsIsMalformed) {
  Up({}, {MakeOffer(9, "echo")});
  GiveOffer({MakeOffer(10, "echo", 2)});
  ExpectRefused(30);
}

TEST_F(Names, ANumberUsedAgainIsMalformedEvenAfterItsWithdraw) {
  Up({}, {MakeOffer(9, "echo")});
  GiveWithdraw("echo");
  GiveOffer({MakeOffer(9, "other")});
  ExpectRefused(30);
}

TEST_F(Names, AWithdrawOfWhatDoesNotStandIsMalformed) {
  Up({MakeOffer(1, "echo")}, {MakeOffer(9, "echo")});
  GiveWithdraw("echo");
  EXPECT_FALSE(end.sink.closed);
  GiveWithdraw("echo");
  ExpectRefused(30);
}

TEST_F(Names, MoreThanSixtyFourStandingOffersAreAFlood) {
  std::vector<Offer> theirs;
  for (uint16_t i = 1; i <= 63; ++i) theirs.push_back(MakeOffer(i, "n" + std::to_string(i)));
  Up({}, theirs);
  GiveOffer({MakeOffer(100, "last")});
  EXPECT_FALSE(end.sink.closed);
  GiveWithdraw("last");
  GiveOffer({MakeOffer(101, "two", 1), MakeOffer(102, "two", 2)});
  ExpectRefused(34);
}

TEST_F(Names, TheCapsComeAfterMalformed) {
  std::vector<Offer> theirs;
  for (uint16_t i = 1; i <= 64; ++i) theirs.push_back(MakeOffer(i, "n" + std::to_string(i)));
  Up({}, theirs);
  GiveOffer({MakeOffer(1, "again")});
  ExpectRefused(30);
}

TEST_F(Names, MoreThanAThousandAndTwentyFourNumbersAreAFlood) {
  Up({}, {});
  uint16_t number = 0;
  for (int i = 0; i < 64; ++i) {
    std::vector<Offer> sixteen;
    for (uint16_t v = 1; v <= 16; ++v) sixteen.push_back(MakeOffer(++number, "x", v));
    GiveOffer(sixteen);
    GiveWithdraw("x");
    ASSERT_FALSE(end.sink.closed) << number << " numbers";
    end.Pass(seconds(2));  // within the rate
    end.Take();
  }
  EXPECT_EQ(number, 1024);
  GiveOffer({MakeOffer(1025, "x")});
  ExpectRefused(34);
}

TEST_F(Names, OffersAndWithdrawsShareOneRate) {
  Up({}, {});
  uint16_t number = 0;
  int frames = 0;
  while (!end.sink.closed && frames < 200) {
    if (frames % 2 == 0) {
      GiveOffer({MakeOffer(++number, "x")});
    } else {
      GiveWithdraw("x");
    }
    ++frames;
  }
  EXPECT_EQ(frames, 128);
  ExpectRefused(34);
}

// --- late frames

class Late : public Names {
 protected:
  void SetUp() override {
    Up({MakeOffer(1, "echo", 1, 4, 1000), MakeOffer(2, "echo", 2, 4, 1000)},
       {MakeOffer(9, "echo")});
    Events();
  }
  static constexpr uint64_t kBound = 4 * 1000 + 65536;
};

TEST_F(Late, AreDroppedAndCountedUpToTheirBound) {
  end.session->WithdrawName(clock.Now(), "echo", 0);
  end.Take();
  Events();
  uint64_t bytes = 0;
  while (bytes + 1008 <= kBound) {
    end.Give({1, 999, Filled(1000)});  // the type is not looked at
    bytes += 1008;
  }
  const uint32_t rest = static_cast<uint32_t>(kBound - bytes);
  ASSERT_GE(rest, 8u);
  end.Give({1, 0, Filled(rest - 8)});
  EXPECT_FALSE(end.sink.closed);
  EXPECT_THAT(Events(), IsEmpty());
  EXPECT_EQ(end.session->stats().late_frames, kBound / 1008 + 1);
  end.Give({2, 0, Filled(1000)});  // each channel has its own bound
  EXPECT_FALSE(end.sink.closed);
  end.Feed(EncodeFrameHeader({0, 1, 0}));
  ExpectRefused(34);
}

TEST_F(Late, KeepTheirSizeLimit) {
  end.session->WithdrawName(clock.Now(), "echo", 0);
  end.Take();
  end.Feed(EncodeFrameHeader({1001, 1, 0}));
  ExpectRefused(32);
}

TEST_F(Late, CountOnlyOnceTheRemoteCanKnow) {
  // Our WITHDRAW stands behind a message, and nothing leaves.
  end.session->Send(clock.Now(), 1, 0, Filled(1000));
  end.session->WithdrawName(clock.Now(), "echo", 0);
  for (int i = 0; i < 200; ++i) end.Give({1, 0, Filled(1000)});
  EXPECT_FALSE(end.sink.closed) << "it has done nothing wrong";
  // TLS has it, but the socket does not take it.
  const size_t all = end.session->Pending().size();
  end.session->Sent(clock.Now(), all, all, false);
  for (int i = 0; i < 200; ++i) end.Give({1, 0, Filled(1000)});
  EXPECT_FALSE(end.sink.closed);
  end.session->Sent(clock.Now(), 0, 0, true);
  for (int i = 0; i < 70 && !end.sink.closed; ++i) end.Give({1, 0, Filled(1000)});
  ASSERT_TRUE(end.sink.closed);
  EXPECT_EQ(end.sink.closed->reason, Reason::kFlood);
}

TEST_F(Names, AFrameThatWasBegunBeforeOurWithdrawIsDroppedAtItsEnd) {
  const Bytes frame = Encode({1, 0, Filled(100)});
  End other(Role::kDialer, clock);
  other.params.our_offers = {MakeOffer(1, "echo")};
  BringUp(other);
  other.Feed(ByteView(frame).first(50));
  other.session->WithdrawName(clock.Now(), "echo", 0);
  other.sink.Take();
  other.Feed(ByteView(frame).subspan(50));
  EXPECT_THAT(other.sink.events, IsEmpty());
  EXPECT_EQ(other.session->stats().late_frames, 1u);
  other.Give(kPing, EncodePing({1}));
  EXPECT_FALSE(other.sink.closed) << "the next frame is found where it begins";
}

TEST_F(Late, AWithdrawFromWithinAMessageDropsTheRestOfTheRead) {
  end.sink.on_message = [&](uint32_t, uint16_t, ByteView) {
    end.session->WithdrawName(clock.Now(), "echo", 0);
  };
  end.Feed(Encode({1, 0, Filled(1)}) + Encode({1, 1, Filled(1)}));
  EXPECT_THAT(Events(), ElementsAre("message 1/0: 1 5a", "close 1 ACCEPT"));
  EXPECT_EQ(end.session->stats().late_frames, 1u);
}

// --- our own rate and caps

TEST_F(Names, OurOwnOffersWaitWhenTheRateIsUsedUp) {
  Up({}, {MakeOffer(9, "x")});
  for (int i = 0; i < 40; ++i) {
    EXPECT_TRUE(end.session->OfferName(clock.Now(), {MakeOffer(0, "x")}));
    end.session->WithdrawName(clock.Now(), "x", 0);
  }
  EXPECT_EQ(end.Take().size(), 64u) << "what was not sent in time is not sent at all";
  EXPECT_TRUE(end.session->OfferName(clock.Now(), {MakeOffer(0, "x")}));
  EXPECT_THAT(end.Take(), IsEmpty());
  Events();
  end.PassReading(seconds(40));
  end.Give(4711, {});
  EXPECT_THAT(Events(), IsEmpty());
  end.PassReading(seconds(30));
  EXPECT_THAT(Events(), ElementsAre("open x/1 as 33"));
}

TEST_F(Names, AnOfferThatWaitsOpensNothingBeforeItIsSent) {
  Up({}, {});
  for (int i = 0; i < 32; ++i) {
    end.session->OfferName(clock.Now(), {MakeOffer(0, "x")});
    end.session->WithdrawName(clock.Now(), "x", 0);
  }
  EXPECT_EQ(end.Take().size(), 64u);
  EXPECT_TRUE(end.session->OfferName(clock.Now(), {MakeOffer(0, "echo")}));
  GiveOffer({MakeOffer(9, "echo")});
  EXPECT_THAT(Events(), IsEmpty()) << "the remote does not know our channel yet";
  end.PassReading(seconds(40));
  end.Give(4711, {});
  end.PassReading(seconds(30));
  EXPECT_THAT(Events(), ElementsAre("open echo/1 as 1"));
}

TEST_F(Names, AWithdrawThatWaitsClosesAtOnceAndItsLateFramesAreNobodysFault) {
  Up({MakeOffer(1, "echo")}, {MakeOffer(9, "echo")});
  for (int i = 0; i < 32; ++i) {
    end.session->OfferName(clock.Now(), {MakeOffer(0, "x")});
    end.session->WithdrawName(clock.Now(), "x", 0);
  }
  end.Take();
  Events();
  end.session->WithdrawName(clock.Now(), "echo", 45);
  EXPECT_THAT(Events(), ElementsAre("close 1 PLUGIN_GONE"));
  EXPECT_THAT(end.Take(), IsEmpty());
  for (int i = 0; i < 500; ++i) end.Give({1, 0, Filled(1000)});
  EXPECT_FALSE(end.sink.closed);
  for (int i = 0; i < 70; ++i) {
    end.Pass(seconds(1));
    end.Give(4711, {});
    const std::vector<RawFrame> frames = end.Take();
    if (!frames.empty() && frames[0].type == kWithdraw) return;
  }
  FAIL() << "the WITHDRAW never went out";
}

TEST_F(Names, OurOwnCapsAreKeptAndReported) {
  std::vector<Offer> ours;
  for (uint16_t i = 1; i <= 65; ++i) ours.push_back(MakeOffer(i, "n" + std::to_string(i)));
  Up(ours, {});
  EXPECT_EQ(end.session->stats().offers_refused, 1u);
  EXPECT_FALSE(end.session->OfferName(clock.Now(), {MakeOffer(100, "more")}));
  end.session->WithdrawName(clock.Now(), "n1", 0);
  EXPECT_TRUE(end.session->OfferName(clock.Now(), {MakeOffer(100, "more")}));
}

TEST_F(Names, OurNumbersEndAtAThousandAndTwentyFour) {
  Up({}, {});
  int offered = 0;
  for (int i = 0; i < 2000; ++i) {
    if (!end.session->OfferName(clock.Now(), {MakeOffer(0, "x")})) break;
    end.Pass(seconds(4));
    end.Give(4711, {});
    end.Take();
    end.session->WithdrawName(clock.Now(), "x", 0);
    ++offered;
  }
  EXPECT_EQ(offered, 1024);
  EXPECT_FALSE(end.sink.closed);
}

}  // namespace
}  // namespace helo::wire::testing
