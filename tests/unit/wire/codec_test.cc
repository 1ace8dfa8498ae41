// The encoding and value rules of WIRE 4, one by one, at their edges.
#include "p2p/wire/codec.h"

#include <gtest/gtest.h>

#include "proto_bytes.h"
#include "wire_support.h"

namespace helo::wire::testing {
namespace {

Bytes BaseHello() { return Text(2, "helo-dev") + Text(4, "by-hand/1"); }
bool HelloStands(const Bytes& more) { return DecodeHello(BaseHello() + more).has_value(); }

TEST(HelloRules, NetworkNames) {
  for (const char* good : {"a", "0", "helo-dev", "a.b_c-d", "9z"})
    EXPECT_TRUE(HelloStands(Text(2, good))) << good;
  EXPECT_TRUE(HelloStands(Text(2, std::string(64, 'a'))));
  for (const char* bad : {"", "-a", ".a", "_a", "A", "a b", "a/b", "\xc3\xa9"})
    EXPECT_FALSE(HelloStands(Text(2, bad))) << bad;
  EXPECT_FALSE(HelloStands(Text(2, std::string(65, 'a'))));
  EXPECT_FALSE(HelloStands(Text(2, std::string_view("a\0", 2))));
  EXPECT_FALSE(DecodeHello(Text(4, "no network")).has_value());
}

TEST(HelloRules, Genesis) {
  EXPECT_TRUE(HelloStands(Blob(3, {})));
  EXPECT_TRUE(HelloStands(Blob(3, Filled(1))));
  EXPECT_TRUE(HelloStands(Blob(3, Filled(64, 0xff))));
  EXPECT_FALSE(HelloStands(Blob(3, Filled(65))));
}

TEST(HelloRules, UserAgents) {
  EXPECT_TRUE(HelloStands(Text(4, " ~")));
  EXPECT_TRUE(HelloStands(Text(4, std::string(128, 'u'))));
  for (const std::string& bad :
       {std::string(), std::string(129, 'u'), std::string("a\x1f"), std::string("a\x7f"),
        std::string("a\n"), std::string("\xc3\xa9"), std::string("\xff")})
    EXPECT_FALSE(HelloStands(Text(4, bad))) << ::testing::PrintToString(bad);
}

TEST(HelloRules, OfferValues) {
  EXPECT_TRUE(HelloStands(Blob(5, OfferBytes(1, "a", 1, 1, 1))));
  EXPECT_TRUE(HelloStands(Blob(5, OfferBytes(65535, "a-0123456789abcd", 65535, 65535, 16777216))));
  EXPECT_FALSE(HelloStands(Blob(5, {})));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(0, "a", 1, 1, 1))));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(65536, "a", 1, 1, 1))));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(1, "a", 0, 1, 1))));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(1, "a", 65536, 1, 1))));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(1, "a", 1, 0, 1))));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(1, "a", 1, 65536, 1))));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(1, "a", 1, 1, 0))));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(1, "a", 1, 1, 16777217))));
  for (const char* bad : {"", "0a", "-a", "A", "a_b", "a.b", "abcdefghijklmnopq"})
    EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(1, bad, 1, 1, 1)))) << bad;
}

TEST(HelloRules, NoTwoOffersOfOneNameAndVersionOrOfOneChannel) {
  const Bytes first = Blob(5, OfferBytes(1, "a", 1, 1, 1));
  EXPECT_TRUE(HelloStands(first + Blob(5, OfferBytes(2, "a", 2, 1, 1)) +
                          Blob(5, OfferBytes(3, "b", 1, 1, 1))));
  EXPECT_FALSE(HelloStands(first + Blob(5, OfferBytes(2, "a", 1, 2, 2))));
  EXPECT_FALSE(HelloStands(first + Blob(5, OfferBytes(1, "b", 1, 1, 1))));
}

TEST(HelloRules, SixtyFourOffersAndNoMore) {
  Bytes offers;
  for (uint32_t i = 1; i <= 64; ++i) offers = offers + Blob(5, OfferBytes(i, "a", i, 1, 1));
  EXPECT_TRUE(HelloStands(offers));
  EXPECT_FALSE(HelloStands(offers + Blob(5, OfferBytes(65, "a", 65, 1, 1))));
}

TEST(HelloRules, EndpointsOfFourOrSixteenBytesNeverMapped) {
  const Bytes v4 = {192, 0, 2, 1};
  const Bytes mapped = Bytes(10, 0) + Bytes{0xff, 0xff, 192, 0, 2, 1};
  for (const uint32_t field : {6u, 7u}) {
    EXPECT_TRUE(HelloStands(Blob(field, EndpointBytes(v4, 1))));
    EXPECT_TRUE(HelloStands(Blob(field, EndpointBytes(Filled(16), 65535))));
    EXPECT_FALSE(HelloStands(Blob(field, EndpointBytes(v4, 0))));
    EXPECT_FALSE(HelloStands(Blob(field, EndpointBytes(v4, 65536))));
    EXPECT_FALSE(HelloStands(Blob(field, EndpointBytes(mapped, 1))));
    EXPECT_FALSE(HelloStands(Blob(field, EndpointBytes({}, 1))));
    EXPECT_FALSE(HelloStands(Blob(field, EndpointBytes(Filled(5), 1))));
    EXPECT_FALSE(HelloStands(Blob(field, EndpointBytes(Filled(17), 1))));
    EXPECT_FALSE(HelloStands(Blob(field, {})));
  }
}

TEST(HelloRules, EightAdvertisedAndNoMore) {
  Bytes endpoints;
  for (uint8_t i = 1; i <= 8; ++i) endpoints = endpoints + Blob(6, EndpointBytes({10, 0, 0, i}, i));
  EXPECT_TRUE(HelloStands(endpoints));
  EXPECT_FALSE(HelloStands(endpoints + Blob(6, EndpointBytes({10, 0, 0, 9}, 9))));
}

TEST(HelloRules, AClockThatMustNotBeUsedIsNone) {
  const auto clock = [](uint64_t raw) {
    return DecodeHello(BaseHello() + Number(8, raw)).value().clock_us;
  };
  EXPECT_EQ(clock(1), 1);
  EXPECT_EQ(clock((uint64_t{1} << 53) - 1), (int64_t{1} << 53) - 1);
  EXPECT_EQ(clock(uint64_t{1} << 53), 0);
  EXPECT_EQ(clock(static_cast<uint64_t>(int64_t{-1})), 0);
}

TEST(HelloRules, AnUnknownPurposeIsMalformedAnUnknownFeatureIsNot) {
  EXPECT_TRUE(HelloStands(Number(9, 0)));
  EXPECT_EQ(DecodeHello(BaseHello() + Number(9, 1)).value().purpose, Purpose::kProbe);
  EXPECT_FALSE(HelloStands(Number(9, 2)));
  EXPECT_FALSE(HelloStands(Number(9, UINT64_MAX)));
  EXPECT_EQ(DecodeHello(BaseHello() + Number(10, UINT64_MAX)).value().features, UINT64_MAX);
}

TEST(Proto3Rules, TheLastOfAScalarWinsAndMessagesMerge) {
  const Hello hello = DecodeHello(BaseHello() + Number(1, 5) + Number(1, 6) +
                                  Blob(7, Blob(1, {192, 0, 2, 1})) + Blob(7, Number(2, 80)))
                          .value();
  EXPECT_EQ(hello.minor, 6u);
  EXPECT_EQ(hello.observed, Endpoint::Parse("192.0.2.1:80"));
}

TEST(Proto3Rules, AWrongWireTypeIsUnknownAndUnknownFieldsAreIgnored) {
  EXPECT_EQ(DecodeHello(BaseHello() + Text(1, "not a number")).value().minor, 0u);
  EXPECT_TRUE(
      HelloStands(Number(2, 3)));  // network as a number: unknown, the string before it stands
  EXPECT_TRUE(HelloStands(Text(99, "from the future") + Number(100, 1)));
}

TEST(Proto3Rules, AUint32IsTruncatedBeforeItsRule) {
  const uint64_t high = uint64_t{1} << 32;
  EXPECT_TRUE(HelloStands(Blob(5, OfferBytes(high + 9, "a", high + 1, high + 1, high + 1))));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(high, "a", 1, 1, 1))));
  EXPECT_EQ(DecodeVerdict(Number(1, high))->code, 0u);
}

TEST(Proto3Rules, WhatIsNoProtobufIsMalformed) {
  for (const Bytes& bad :
       {Bytes{0x08}, Bytes{0x0a, 0x05, 'a'}, Bytes{0x00, 0x00}, Bytes{0xff}, Bytes{0x0c},
        Bytes{0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}}) {
    const std::string shown = ::testing::PrintToString(bad);
    EXPECT_FALSE(HelloStands(bad)) << shown;
    EXPECT_FALSE(DecodeVerdict(bad)) << shown;
    EXPECT_FALSE(DecodeDisconnect(bad)) << shown;
    EXPECT_FALSE(DecodeOffers(bad)) << shown;
    EXPECT_FALSE(DecodeWithdraw(bad)) << shown;
    EXPECT_FALSE(DecodePing(bad)) << shown;
    EXPECT_FALSE(DecodePong(bad)) << shown;
    EXPECT_FALSE(DecodeGetPeers(bad)) << shown;
    EXPECT_FALSE(DecodePeers(bad)) << shown;
  }
}

TEST(Proto3Rules, ARemoteCannotWriteToOurStderr) {
  ::testing::internal::CaptureStderr();
  EXPECT_FALSE(HelloStands(Text(2, "\xff")));
  EXPECT_FALSE(HelloStands(Text(4, "\xff")));
  EXPECT_FALSE(HelloStands(Blob(5, OfferBytes(1, "\xff", 1, 1, 1))));
  EXPECT_FALSE(DecodeOffers(Blob(1, OfferBytes(1, "\xff", 1, 1, 1))));
  EXPECT_FALSE(DecodeWithdraw(Text(1, "\xff")));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(RefusalRules, ARefusalWithABadTextIsARefusalWithoutText) {
  for (const Bytes& text : {Text(2, "line\n"), Text(2, std::string(257, 'x')), Blob(2, {0xff})}) {
    EXPECT_EQ(DecodeVerdict(Number(1, 1) + text + Number(3, 9)), (Refusal{1, "", 9}));
    EXPECT_EQ(DecodeDisconnect(Number(1, 20) + text), (Refusal{20, "", 0}));
    EXPECT_EQ(DecodeDisconnect(text), (Refusal{0, "", 0}));
  }
}

TEST(RefusalRules, AnAcceptWithABadTextIsMalformed) {
  EXPECT_FALSE(DecodeVerdict(Text(2, "line\n")));
  EXPECT_FALSE(DecodeVerdict(Text(2, std::string(257, 'x'))));
  EXPECT_EQ(DecodeVerdict(Text(2, std::string(256, 'x')))->text, std::string(256, 'x'));
}

TEST(OffersRules, OneToSixteenOfOneName) {
  Bytes sixteen;
  for (uint32_t i = 1; i <= 16; ++i) sixteen = sixteen + Blob(1, OfferBytes(i, "a", i, 1, 1));
  EXPECT_FALSE(DecodeOffers({}));
  EXPECT_EQ(DecodeOffers(sixteen)->size(), 16u);
  EXPECT_FALSE(DecodeOffers(sixteen + Blob(1, OfferBytes(17, "a", 17, 1, 1))));
  EXPECT_FALSE(
      DecodeOffers(Blob(1, OfferBytes(1, "a", 1, 1, 1)) + Blob(1, OfferBytes(2, "b", 1, 1, 1))));
  EXPECT_FALSE(
      DecodeOffers(Blob(1, OfferBytes(1, "a", 1, 1, 1)) + Blob(1, OfferBytes(1, "a", 2, 1, 1))));
  EXPECT_FALSE(
      DecodeOffers(Blob(1, OfferBytes(1, "a", 1, 1, 1)) + Blob(1, OfferBytes(2, "a", 1, 1, 1))));
}

TEST(WithdrawRules, AnyCodeButACapabilityName) {
  EXPECT_EQ(DecodeWithdraw(Text(1, "echo") + Number(2, UINT32_MAX)),
            (Withdraw{"echo", UINT32_MAX}));
  EXPECT_FALSE(DecodeWithdraw(Number(2, 1)));
  EXPECT_FALSE(DecodeWithdraw(Text(1, "Echo")));
}

TEST(PeersRules, IdEndpointAndAge) {
  const auto peer = [](size_t id_bytes, uint64_t port, uint64_t age) {
    return Blob(1, Blob(1, Filled(id_bytes)) + Blob(2, EndpointBytes({192, 0, 2, 1}, port)) +
                       Number(3, age));
  };
  EXPECT_EQ(DecodePeers({})->size(), 0u);
  EXPECT_EQ(DecodePeers(peer(32, 1, 86399))->size(), 1u);
  EXPECT_FALSE(DecodePeers(peer(32, 1, 86400)));
  EXPECT_FALSE(DecodePeers(peer(31, 1, 0)));
  EXPECT_FALSE(DecodePeers(peer(33, 1, 0)));
  EXPECT_FALSE(DecodePeers(peer(32, 0, 0)));
  EXPECT_FALSE(DecodePeers(Blob(1, Blob(1, Filled(32)))));
  Bytes hundred;
  for (int i = 0; i < 100; ++i) hundred = hundred + peer(32, 1, 0);
  EXPECT_EQ(DecodePeers(hundred)->size(), 100u);
  EXPECT_FALSE(DecodePeers(hundred + peer(32, 1, 0)));
}

TEST(PeersRules, AHundredOfTheLongestFitTheirFrame) {
  PeerInfo peer;
  peer.endpoint = Endpoint::Parse("[2001:db8::1]:65535").value();
  peer.age_s = kMaxPeerAgeS - 1;
  EXPECT_LE(EncodePeers(std::vector<PeerInfo>(100, peer)).size(), CorePayloadLimit(kPeers));
}

TEST(HelloRules, TheLongestCorrectHelloFitsItsFrame) {
  Hello hello;
  hello.minor = UINT32_MAX;
  hello.network = std::string(64, 'n');
  hello.genesis = Filled(64);
  hello.user_agent = std::string(128, 'u');
  for (uint16_t i = 0; i < 64; ++i)
    hello.offers.push_back(MakeOffer(static_cast<uint16_t>(65535 - i), "abcdefghijklmnop",
                                     static_cast<uint16_t>(65535 - i), 65535, kMaxMessageBytes));
  hello.advertised = std::vector<Endpoint>(8, Endpoint::Parse("[2001:db8::1]:65535").value());
  hello.observed = hello.advertised[0];
  hello.clock_us = (int64_t{1} << 53) - 1;
  hello.features = UINT64_MAX;
  const Bytes payload = EncodeHello(hello);
  EXPECT_LE(payload.size(), CorePayloadLimit(kHello));
  EXPECT_EQ(DecodeHello(payload), hello);
}

}  // namespace
}  // namespace helo::wire::testing
