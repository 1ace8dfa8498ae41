// HELLO and VERDICT (WIRE 3), one machine against a remote played by hand. Long: a case each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto_bytes.h"
#include "wire_support.h"

namespace helo::wire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Dialer : public ::testing::Test {
 protected:
  // Up to where the acceptor's HELLO is there and its VERDICT is not.
  void GiveHello(const Hello& hello = CorrectHello()) {
    end.Begin();
    end.Take();
    end.Give(kHello, EncodeHello(hello));
  }
  void GiveHelloAndAccept(const Hello& hello) {
    GiveHello(hello);
    end.Give(kVerdict, AcceptPayload());
  }
  void ExpectClosed(const std::string& event) {
    ASSERT_TRUE(end.sink.closed);
    EXPECT_EQ(end.sink.events.back(), event);
    EXPECT_TRUE(end.session->closing());
    EXPECT_EQ(end.session->NextDeadline(), kNever);
  }
  helo::testing::ManualClock clock;
  End end{Role::kDialer, clock};
};

class Acceptor : public ::testing::Test {
 protected:
  // The refusal of one whose HELLO was received: HELLO and VERDICT together.
  Refusal HelloAndVerdict() {
    const std::vector<RawFrame> frames = end.Take();
    if (frames.size() != 2 || frames[0].type != kHello || frames[1].type != kVerdict) {
      ADD_FAILURE() << "not HELLO and VERDICT: " << ::testing::PrintToString(frames);
      return {};
    }
    EXPECT_TRUE(DecodeHello(frames[0].payload));
    return DecodeVerdict(frames[1].payload).value_or(Refusal{999, "", 0});
  }
  void GiveHello(const Hello& hello = CorrectHello()) {
    end.Begin();
    EXPECT_THAT(end.Take(), IsEmpty());
    end.Give(kHello, EncodeHello(hello));
  }
  void GiveHelloAndAccept(const Hello& hello = CorrectHello()) {
    GiveHello(hello);
    EXPECT_EQ(HelloAndVerdict().code, 0u);
    end.Give(kVerdict, AcceptPayload());
  }
  void ExpectClosed(const std::string& event) {
    ASSERT_TRUE(end.sink.closed);
    EXPECT_EQ(end.sink.events.back(), event);
    EXPECT_EQ(end.session->NextDeadline(), kNever);
  }
  helo::testing::ManualClock clock;
  End end{Role::kAcceptor, clock};
};

// --- the way up

TEST_F(Dialer, SaysHelloFirstAndWhatStandsInIt) {
  end.profile.minor = 3;
  end.profile.genesis = {1, 2};
  end.profile.advertised = {Endpoint::Parse("192.0.2.9:1").value()};
  end.params.observed = Endpoint::Parse("198.51.100.1:2").value();
  end.Begin();
  const std::vector<RawFrame> frames = end.Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, kHello);
  const Hello hello = DecodeHello(frames[0].payload).value();
  EXPECT_EQ(hello.minor, 3u);
  EXPECT_EQ(hello.network, "helo-dev");
  EXPECT_EQ(hello.genesis, (Bytes{1, 2}));
  EXPECT_EQ(hello.user_agent, "dialer/1");
  EXPECT_THAT(hello.offers, ElementsAre(MakeOffer(100, "echo")));
  EXPECT_EQ(hello.advertised, end.profile.advertised);
  EXPECT_EQ(hello.observed, end.params.observed);
  EXPECT_EQ(hello.clock_us, clock.WallNow().time_since_epoch().count());
  EXPECT_EQ(hello.purpose, Purpose::kJoin);
  EXPECT_EQ(hello.features, kFeatureGetPeers);
}

TEST_F(Dialer, IsUpWithItsOwnAcceptAndMaySendRightBehindIt) {
  GiveHello();
  EXPECT_FALSE(end.session->up());
  EXPECT_EQ(end.session->stage(), Stage::kVerdict);
  EXPECT_THAT(end.sink.events, IsEmpty()) << "the HELLO is judged when the VERDICT is there";
  end.sink.then = [&](const std::string& event) {
    if (event.starts_with("hello")) end.session->Decide(clock.Now(), {});
    if (event.starts_with("open")) {
      EXPECT_EQ(end.session->Send(clock.Now(), 1, 2, Filled(3)), SendStatus::kOk);
    }
  };
  end.Give(kVerdict, AcceptPayload());
  EXPECT_THAT(end.sink.Take(), ElementsAre("hello by-hand/1", "up", "open echo/1 as 1"));
  EXPECT_THAT(end.Take(), ElementsAre(RawFrame{0, kVerdict, {}}, RawFrame{7, 2, Filled(3)}));
  EXPECT_EQ(end.session->stage(), Stage::kUp);
  EXPECT_EQ(end.session->remote_hello(), CorrectHello());
}

TEST_F(Dialer, MayDecideLater) {
  end.decision = std::nullopt;
  GiveHelloAndAccept(CorrectHello());
  EXPECT_THAT(end.sink.events, ElementsAre("hello by-hand/1"));
  EXPECT_THAT(end.Take(), IsEmpty());
  end.session->Decide(clock.Now(), {});
  EXPECT_TRUE(end.session->up());
  end.session->Decide(clock.Now(), {Reason::kFull, "", 0});  // too late to change its mind
  EXPECT_TRUE(end.session->up());
}

TEST_F(Dialer, ADecisionWithinAMismatchCountsOnce) {
  end.sink.then = [&](const std::string& event) {
    if (event.starts_with("hello") || event.starts_with("mismatch")) {
      end.session->Decide(clock.Now(), {});
    }
  };
  Hello hello = CorrectHello();
  hello.offers[0].message_count = 9;
  GiveHelloAndAccept(hello);
  EXPECT_THAT(end.sink.events, ElementsAre("hello by-hand/1", "mismatch echo/1 4 9", "up"));
  EXPECT_THAT(end.Take(), ElementsAre(RawFrame{0, kVerdict, {}}));
}

TEST_F(Acceptor, AnswersHelloAndVerdictTogetherAndIsUpWithTheDialersAccept) {
  GiveHello();
  EXPECT_EQ(HelloAndVerdict(), Refusal{});
  EXPECT_FALSE(end.session->up());
  EXPECT_EQ(end.session->stage(), Stage::kVerdict);
  // The dialer's frames may ride right behind its ACCEPT, in one read.
  end.Feed(Encode({0, kVerdict, {}}) + Encode({200, 1, Filled(2)}));
  EXPECT_THAT(end.sink.Take(),
              ElementsAre("hello by-hand/1", "up", "open echo/1 as 1", "message 1/1: 2 5a5a"));
}

TEST_F(Acceptor, ThatIsToldEvictedInOnUpOpensNothing) {
  end.sink.then = [&](const std::string& event) {
    if (event.starts_with("hello")) end.session->Decide(clock.Now(), {});
    if (event == "up") end.session->Close(clock.Now(), Reason::kEvicted);
  };
  GiveHelloAndAccept();
  EXPECT_THAT(end.sink.events, ElementsAre("hello by-hand/1", "up", "closed EVICTED by us at up"));
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 5u);
}

// --- what is refused, and in which frame it is told

struct Case {
  const char* name;
  std::function<void(Profile&, Hello&)> make;
  Reason reason;
};

class Judged : public ::testing::TestWithParam<Case> {
 public:
  static std::vector<Case> Cases() {
    return {
        {"OtherNetwork", [](Profile&, Hello& h) { h.network = "other"; }, Reason::kWrongNetwork},
        {"OtherGenesis",
         [](Profile& p, Hello& h) {
           p.genesis = {1};
           h.genesis = {2};
         },
         Reason::kWrongGenesis},
        {"OldMinor",
         [](Profile& p, Hello& h) {
           p.least_minor = 5;
           h.minor = 4;
         },
         Reason::kMinorTooOld},
        {"NothingSharedThatIsRequired", [](Profile& p, Hello&) { p.required = {"gossip"}; },
         Reason::kNoSharedCapability},
        {"RequiredButOnlyInAnotherVersion",
         [](Profile& p, Hello& h) {
           p.required = {"echo"};
           h.offers[0].version = 2;
         },
         Reason::kNoSharedCapability},
        // Several faults: the first in WIRE 2's order is told.
        {"NetworkBeforeGenesis",
         [](Profile& p, Hello& h) {
           h.network = "other";
           p.genesis = {1};
           h.genesis = {2};
         },
         Reason::kWrongNetwork},
        {"GenesisBeforeMinor",
         [](Profile& p, Hello& h) {
           p.genesis = {1};
           h.genesis = {2};
           p.least_minor = 1;
         },
         Reason::kWrongGenesis},
        {"MinorBeforeCapability",
         [](Profile& p, Hello&) {
           p.least_minor = 1;
           p.required = {"gossip"};
         },
         Reason::kMinorTooOld},
    };
  }
};
INSTANTIATE_TEST_SUITE_P(Hello, Judged, ::testing::ValuesIn(Judged::Cases()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(Judged, ByTheAcceptorWithHelloAndVerdict) {
  helo::testing::ManualClock clock;
  End end(Role::kAcceptor, clock);
  Hello hello = CorrectHello();
  GetParam().make(end.profile, hello);
  end.Begin();
  end.Give(kHello, EncodeHello(hello));
  const std::vector<RawFrame> frames = end.Take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].type, kHello);
  EXPECT_EQ(frames[1].type, kVerdict);
  EXPECT_EQ(DecodeVerdict(frames[1].payload)->code, static_cast<uint32_t>(GetParam().reason));
  ASSERT_TRUE(end.sink.closed);
  EXPECT_EQ(end.sink.closed->reason, GetParam().reason);
  EXPECT_EQ(end.sink.closed->decider, Decider::kUs);
  EXPECT_EQ(end.sink.closed->stage, Stage::kVerdict);
}

TEST_P(Judged, ByTheDialerWithVerdict) {
  helo::testing::ManualClock clock;
  End end(Role::kDialer, clock);
  Hello hello = CorrectHello();
  GetParam().make(end.profile, hello);
  end.Begin();
  end.Take();
  end.Give(kHello, EncodeHello(hello));
  EXPECT_FALSE(end.sink.closed);
  end.Give(kVerdict, AcceptPayload());
  EXPECT_EQ(LastRefusal(end, kVerdict).code, static_cast<uint32_t>(GetParam().reason));
  ASSERT_TRUE(end.sink.closed);
  EXPECT_EQ(end.sink.closed->reason, GetParam().reason);
  EXPECT_EQ(end.sink.closed->decider, Decider::kUs);
}

TEST_F(Acceptor, AGenesisThatOnlyOneSideHasIsNoDifference) {
  end.profile.genesis = {1};
  GiveHelloAndAccept();
  EXPECT_TRUE(end.session->up());
}

TEST_F(Acceptor, OneOfTheRequiredIsEnough) {
  end.profile.required = {"gossip", "echo"};
  GiveHelloAndAccept();
  EXPECT_TRUE(end.session->up());
}

TEST_F(Acceptor, WithoutASharedNameStaysConnectedUnlessOneIsRequired) {
  Hello hello = CorrectHello();
  hello.offers = {MakeOffer(1, "other")};
  GiveHelloAndAccept(hello);
  EXPECT_THAT(end.sink.events, ElementsAre("hello by-hand/1", "up"));
}

TEST_F(Acceptor, TheNodesOwnRefusalTravelsWithTextAndHint) {
  end.decision = wire::Verdict{Reason::kBanned, "dropped by the operator", 600};
  GiveHello();
  EXPECT_EQ(HelloAndVerdict(), (Refusal{4, "dropped by the operator", 600}));
  ExpectClosed("closed BANNED by us at verdict");
  EXPECT_EQ(end.sink.closed->text, "dropped by the operator");
  EXPECT_EQ(end.sink.closed->retry_after_s, 600u);
}

TEST_F(Dialer, TheNodesOwnRefusalGoesInItsVerdict) {
  end.decision = wire::Verdict{Reason::kDuplicate, "", 0};
  GiveHelloAndAccept(CorrectHello());
  EXPECT_EQ(LastRefusal(end, kVerdict).code, 6u);
  ExpectClosed("closed DUPLICATE by us at verdict");
}

TEST_F(Acceptor, AMalformedHelloIsRefusedByHelloAndVerdict) {
  end.Begin();
  end.Give(kHello, {0xff});
  EXPECT_EQ(HelloAndVerdict().code, 30u);
  ExpectClosed("closed MALFORMED by us at verdict");
}

TEST_F(Acceptor, MalformedComesBeforeNetwork) {
  GiveHello([] {
    Hello h = CorrectHello();
    h.network = "other";
    h.user_agent = "";
    return h;
  }());
  EXPECT_EQ(HelloAndVerdict().code, 30u);
}

TEST_F(Dialer, AMalformedHelloWaitsForTheVerdict) {
  end.Begin();
  end.Take();
  end.Give(kHello, {0xff});
  EXPECT_FALSE(end.sink.closed);
  end.Give(kVerdict, AcceptPayload());
  EXPECT_EQ(LastRefusal(end, kVerdict).code, 30u);
  ExpectClosed("closed MALFORMED by us at verdict");
}

TEST_F(Dialer, ARefusingVerdictWinsWhateverTheHello) {
  end.Begin();
  end.Take();
  end.Give(kHello, {0xff});
  end.Give(kVerdict, EncodeRefusal({1, "full", 30}));
  ExpectClosed("closed FULL by them at verdict");
  EXPECT_EQ(end.sink.closed->retry_after_s, 30u);
  EXPECT_THAT(end.Take(), IsEmpty()) << "a refusal is never answered";
}

TEST_F(Dialer, SeesWhoRefusedIt) {
  GiveHello();
  end.Give(kVerdict, EncodeRefusal({2, "", 0}));
  ExpectClosed("closed BUSY by them at verdict");
  EXPECT_EQ(end.session->remote_hello()->user_agent, "by-hand/1");
}

TEST_F(Dialer, LearnsWhyNothingIsShared) {
  Hello hello = CorrectHello();
  hello.offers[0].message_count = 9;
  GiveHello(hello);
  end.Give(kVerdict, EncodeRefusal({12, "", 0}));
  EXPECT_THAT(end.sink.events,
              ElementsAre("mismatch echo/1 4 9", "closed NO_SHARED_CAPABILITY by them at verdict"));
}

TEST_F(Dialer, AnUnknownCodeIsInternalAndShownAsItsNumber) {
  for (const uint32_t code : {9u, 57u, 99u, 101u, 999u, UINT32_MAX}) {
    End other(Role::kDialer, clock);
    other.Begin();
    other.Give(kHello, EncodeHello(CorrectHello()));
    other.Give(kVerdict, EncodeRefusal({code, "", 0}));
    ASSERT_TRUE(other.sink.closed) << code;
    EXPECT_EQ(other.sink.closed->reason, Reason::kInternal) << code;
    EXPECT_EQ(other.sink.closed->wire_code, code);
    EXPECT_EQ(other.sink.closed->decider, Decider::kThem);
  }
}

TEST_F(Dialer, AMalformedVerdictIsRefusedByVerdict) {
  GiveHello();
  end.Give(kVerdict, {0xff});
  EXPECT_EQ(LastRefusal(end, kVerdict).code, 30u);
  ExpectClosed("closed MALFORMED by us at verdict");
}

TEST_F(Acceptor, AMalformedVerdictIsToldByDisconnectBecauseTheOwnVerdictIsOut) {
  GiveHello();
  end.Take();
  end.Give(kVerdict, Text(2, "an ACCEPT\nwith a bad text"));
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 30u);
  ExpectClosed("closed MALFORMED by us at verdict");
}

TEST_F(Acceptor, TheDialersRefusalEndsIt) {
  GiveHello();
  end.Take();
  end.Give(kVerdict, EncodeRefusal({10, "mine is another", 0}));
  ExpectClosed("closed WRONG_NETWORK by them at verdict");
  EXPECT_EQ(end.sink.closed->text, "mine is another");
  EXPECT_THAT(end.Take(), IsEmpty());
}

TEST_F(Dialer, AHelloRefusedOnItsHeaderGetsDisconnect) {
  end.Begin();
  end.Take();
  end.Feed(Bytes{0, 0, 0x40, 1, 0, 0, 0, 1});
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 32u);
  ExpectClosed("closed TOO_LARGE by us at hello");
}

TEST_F(Acceptor, AHelloRefusedOnItsHeaderGetsDisconnect) {
  end.Begin();
  end.Feed(Bytes{0, 0, 0x40, 1, 0, 0, 0, 1});
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 32u);
  ExpectClosed("closed TOO_LARGE by us at hello");
}

// --- the order of frames

TEST_F(Dialer, AVerdictBeforeHelloIsUnexpected) {
  end.Begin();
  end.Take();
  end.Give(kVerdict, AcceptPayload());
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 31u);
  ExpectClosed("closed UNEXPECTED by us at hello");
}

TEST_F(Acceptor, AVerdictBeforeItsOwnIsUnexpected) {
  end.decision = std::nullopt;
  GiveHello();
  end.Give(kVerdict, AcceptPayload());
  EXPECT_EQ(HelloAndVerdict().code, 31u);
  ExpectClosed("closed UNEXPECTED by us at verdict");
}

TEST_F(Acceptor, ASecondHelloIsUnexpectedAtEveryStage) {
  end.decision = std::nullopt;
  GiveHello();
  end.Give(kHello, EncodeHello(CorrectHello()));
  EXPECT_EQ(HelloAndVerdict().code, 31u);

  End decided(Role::kAcceptor, clock);
  decided.Begin();
  decided.Give(kHello, EncodeHello(CorrectHello()));
  decided.Take();
  decided.Give(kHello, EncodeHello(CorrectHello()));
  EXPECT_EQ(LastRefusal(decided, kDisconnect).code, 31u);

  End up(Role::kAcceptor, clock);
  BringUp(up);
  up.Give(kHello, EncodeHello(CorrectHello()));
  EXPECT_EQ(LastRefusal(up, kDisconnect).code, 31u);
}

TEST_F(Dialer, ASecondVerdictIsUnexpected) {
  BringUp(end);
  end.Give(kVerdict, AcceptPayload());
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 31u);
}

TEST_F(Acceptor, BeforeUpNothingElseIsAllowed) {
  const std::vector<RawFrame> early = {{0, kPing, EncodePing({1})},
                                       {0, kPong, EncodePong({1, 0})},
                                       {0, kOffer, EncodeOffers({MakeOffer(9, "x")})},
                                       {0, kWithdraw, EncodeWithdraw({"echo", 0})},
                                       {0, kGetPeers, EncodeGetPeers(1)},
                                       {0, kPeers, {}},
                                       {0, 0, {}},
                                       {0, 10, {}},
                                       {0, 65535, {}},
                                       {200, 0, {}},
                                       {999, 0, {}}};
  for (const RawFrame& frame : early) {
    const std::string shown = ::testing::PrintToString(frame);
    {
      End first(Role::kAcceptor, clock);
      first.Begin();
      first.Give(frame);
      EXPECT_EQ(LastRefusal(first, kDisconnect).code, 31u) << shown;
      EXPECT_EQ(first.sink.closed->stage, Stage::kHello);
    }
    {
      End decided(Role::kAcceptor, clock);
      decided.Begin();
      decided.Give(kHello, EncodeHello(CorrectHello()));
      decided.Take();
      decided.Give(frame);
      EXPECT_EQ(LastRefusal(decided, kDisconnect).code, 31u) << shown;
    }
    {
      End dialer(Role::kDialer, clock);
      dialer.Begin();
      dialer.Give(kHello, EncodeHello(CorrectHello()));
      dialer.Take();
      dialer.Give(frame);
      EXPECT_EQ(LastRefusal(dialer, kVerdict).code, 31u) << shown;
    }
  }
}

TEST_F(Acceptor, SizeIsCheckedBeforeOrder) {
  end.Begin();
  end.Feed(Bytes{0, 0, 0, 65, 0, 0, 0, kPing});
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 32u);
}

TEST_F(Acceptor, OnOtherChannelsOrderIsCheckedBeforeSize) {
  end.Begin();
  end.Feed(Bytes{0xff, 0xff, 0xff, 0xff, 0, 200, 0, 0});
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 31u);
}

// --- identity

TEST_F(Dialer, AnotherKeyThanTheNamedOneIsToldAndGetsNoHello) {
  end.params.expected = IdOf(0x33);
  end.Begin();
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 14u);
  ExpectClosed("closed UNEXPECTED_ID by us at hello");
}

TEST_F(Dialer, TheNamedKeyIsWelcome) {
  end.params.expected = end.params.remote;
  BringUp(end);
}

TEST_F(Dialer, ThatReachesItselfClosesWithSelf) {
  end.params.remote = end.profile.self;
  end.Begin();
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 8u);
  ExpectClosed("closed SELF by us at hello");
}

TEST_F(Acceptor, ThatIsReachedByItselfClosesWithSelf) {
  end.params.remote = end.profile.self;
  end.Begin();
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 8u);
  ExpectClosed("closed SELF by us at hello");
}

// --- probes

TEST_F(Dialer, AProberSaysVerdictProbeAfterAccept) {
  end.params.purpose = Purpose::kProbe;
  end.Begin();
  EXPECT_EQ(DecodeHello(end.Take().at(0).payload)->purpose, Purpose::kProbe);
  end.Give(kHello, EncodeHello(CorrectHello()));
  end.Give(kVerdict, AcceptPayload());
  EXPECT_EQ(LastRefusal(end, kVerdict).code, 15u);
  ExpectClosed("closed PROBE by us at verdict");
}

TEST_F(Dialer, ARefusedProberSendsNothingMore) {
  end.params.purpose = Purpose::kProbe;
  GiveHello();
  end.Give(kVerdict, EncodeRefusal({1, "", 0}));
  ExpectClosed("closed FULL by them at verdict");
  EXPECT_THAT(end.Take(), IsEmpty());
}

TEST_F(Dialer, AnAcceptorThatProbesIsUnexpected) {
  Hello hello = CorrectHello();
  hello.purpose = Purpose::kProbe;
  GiveHelloAndAccept(hello);
  EXPECT_EQ(LastRefusal(end, kVerdict).code, 31u);
}

class ProbedAcceptor : public Acceptor {
 protected:
  void SetUp() override {
    Hello hello = CorrectHello();
    hello.purpose = Purpose::kProbe;
    GiveHello(hello);
    EXPECT_THAT(end.sink.events, ElementsAre("hello by-hand/1 (probe)"));
    EXPECT_EQ(HelloAndVerdict().code, 0u);
  }
};

TEST_F(ProbedAcceptor, EndsWithTheProbersVerdict) {
  end.Give(kVerdict, EncodeRefusal({15, "", 0}));
  ExpectClosed("closed PROBE by them at verdict");
  EXPECT_THAT(end.Take(), IsEmpty());
}

TEST_F(ProbedAcceptor, AnAcceptFromTheProberIsUnexpected) {
  end.Give(kVerdict, AcceptPayload());
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 31u);
  ExpectClosed("closed UNEXPECTED by us at verdict");
}

TEST_F(ProbedAcceptor, AnyOtherRefusalEndsItAsEverywhere) {
  end.Give(kVerdict, EncodeRefusal({10, "", 0}));
  ExpectClosed("closed WRONG_NETWORK by them at verdict");
}

TEST_F(ProbedAcceptor, HasTheSameDeadlineAsForAJoin) {
  end.Pass(seconds(5));
  EXPECT_EQ(LastRefusal(end, kDisconnect).code, 40u);
}

TEST_F(Acceptor, VerdictProbeOnAJoinIsARefusal) {
  GiveHello();
  end.Take();
  end.Give(kVerdict, EncodeRefusal({15, "", 0}));
  ExpectClosed("closed PROBE by them at verdict");
}

TEST_F(Acceptor, AProbeThatWouldBeRefusedIsRefusedAlike) {
  Hello hello = CorrectHello();
  hello.purpose = Purpose::kProbe;
  hello.network = "other";
  GiveHello(hello);
  EXPECT_EQ(HelloAndVerdict().code, 10u);
}

// --- names that come and go before up

TEST_F(Acceptor, ANameOfferedBeforeItsHelloStandsInIt) {
  end.Begin();
  EXPECT_TRUE(end.session->OfferName(clock.Now(), {MakeOffer(201, "gossip")}));
  end.session->WithdrawName(clock.Now(), "echo", 0);
  end.Give(kHello, EncodeHello(CorrectHello()));
  const std::vector<RawFrame> frames = end.Take();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_THAT(DecodeHello(frames[0].payload)->offers, ElementsAre(MakeOffer(201, "gossip")));
}

TEST_F(Dialer, WhatChangesBetweenItsHelloAndUpIsSentFirstThing) {
  Hello remote = CorrectHello();
  remote.offers.push_back(MakeOffer(8, "gossip"));
  end.Begin();
  end.Take();
  end.session->WithdrawName(clock.Now(), "echo", 45);
  EXPECT_TRUE(end.session->OfferName(clock.Now(), {MakeOffer(101, "gossip")}));
  EXPECT_THAT(end.Take(), IsEmpty());
  end.Give(kHello, EncodeHello(remote));
  end.Give(kVerdict, AcceptPayload());
  EXPECT_THAT(
      end.Take(),
      ElementsAre(RawFrame{0, kVerdict, {}}, RawFrame{0, kWithdraw, EncodeWithdraw({"echo", 45})},
                  RawFrame{0, kOffer, EncodeOffers({MakeOffer(101, "gossip")})}));
  EXPECT_THAT(end.sink.events, ElementsAre("hello by-hand/1", "up", "open gossip/1 as 1"));
}

}  // namespace
}  // namespace helo::wire::testing
