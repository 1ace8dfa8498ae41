// Every message against bytes that were written by hand from protobuf's encoding rules
// (golden/*.hex), both ways. They must never change: an old node has them in memory.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "p2p/base/text.h"
#include "wire_support.h"

namespace helo::wire::testing {
namespace {

Bytes Golden(const std::string& name) {
  std::ifstream file(std::string(HELO_GOLDEN_DIR) + "/" + name + ".hex");
  EXPECT_TRUE(file) << name;
  std::string hex;
  for (std::string line; std::getline(file, line);) {
    for (const char c : line.substr(0, line.find('#'))) {
      if (c != ' ') hex.push_back(c);
    }
  }
  Bytes bytes;
  EXPECT_TRUE(FromHex(hex, bytes)) << name;
  return bytes;
}

// The payload of a file that must hold exactly one frame of that type.
Bytes GoldenPayload(const std::string& name, uint16_t type) {
  const std::vector<RawFrame> frames = SplitFrames(Golden(name));
  EXPECT_EQ(frames.size(), 1u) << name;
  if (frames.size() != 1) return {};
  EXPECT_EQ(frames[0].channel, 0) << name;
  EXPECT_EQ(frames[0].type, type) << name;
  return frames[0].payload;
}

Endpoint At(const char* text) { return Endpoint::Parse(text).value(); }

Hello FullHello() {
  Hello hello;
  hello.minor = 1;
  hello.network = "helo-dev";
  hello.genesis = {0xde, 0xad, 0xbe, 0xef};
  hello.user_agent = "helo/0.1";
  hello.offers = {MakeOffer(7, "echo", 1, 2, 65536), MakeOffer(300, "gossip", 2, 5, 16777216)};
  hello.advertised = {At("192.0.2.1:4356"), At("[2001:db8::1]:4356")};
  hello.observed = At("198.51.100.7:50000");
  hello.clock_us = 1700000000123456;
  hello.purpose = Purpose::kProbe;
  hello.features = 1;
  return hello;
}

TEST(GoldenBytes, HelloWithEveryField) {
  EXPECT_EQ(DecodeHello(GoldenPayload("hello", kHello)), FullHello());
  EXPECT_EQ(EncodeHello(FullHello()), GoldenPayload("hello", kHello));
}

TEST(GoldenBytes, TheLeastHello) {
  Hello hello;
  hello.network = "x";
  hello.user_agent = "a";
  EXPECT_EQ(DecodeHello(GoldenPayload("hello_least", kHello)), hello);
  EXPECT_EQ(EncodeHello(hello), GoldenPayload("hello_least", kHello));
}

TEST(GoldenBytes, Verdicts) {
  EXPECT_EQ(DecodeVerdict(GoldenPayload("verdict_accept", kVerdict)), Refusal{});
  EXPECT_EQ(EncodeRefusal({}), GoldenPayload("verdict_accept", kVerdict));
  const Refusal full{1, "full", 30};
  EXPECT_EQ(DecodeVerdict(GoldenPayload("verdict_full", kVerdict)), full);
  EXPECT_EQ(EncodeRefusal(full), GoldenPayload("verdict_full", kVerdict));
}

TEST(GoldenBytes, Disconnect) {
  const Refusal bye{20, "bye", 0};
  EXPECT_EQ(DecodeDisconnect(GoldenPayload("disconnect", kDisconnect)), bye);
  EXPECT_EQ(EncodeRefusal(bye), GoldenPayload("disconnect", kDisconnect));
}

TEST(GoldenBytes, PingAndPong) {
  const Ping ping{0x0123456789abcdef};
  EXPECT_EQ(DecodePing(GoldenPayload("ping", kPing)), ping);
  EXPECT_EQ(EncodePing(ping), GoldenPayload("ping", kPing));
  const Pong pong{0x0123456789abcdef, 1700000000123456};
  EXPECT_EQ(DecodePong(GoldenPayload("pong", kPong)), pong);
  EXPECT_EQ(EncodePong(pong), GoldenPayload("pong", kPong));
}

TEST(GoldenBytes, OfferAndWithdraw) {
  const std::vector<Offer> offers = {MakeOffer(7, "echo", 1, 2, 65536),
                                     MakeOffer(8, "echo", 2, 3, 1024)};
  EXPECT_EQ(DecodeOffers(GoldenPayload("offer", kOffer)), offers);
  EXPECT_EQ(EncodeOffers(offers), GoldenPayload("offer", kOffer));
  const Withdraw withdraw{"echo", 45};
  EXPECT_EQ(DecodeWithdraw(GoldenPayload("withdraw", kWithdraw)), withdraw);
  EXPECT_EQ(EncodeWithdraw(withdraw), GoldenPayload("withdraw", kWithdraw));
}

TEST(GoldenBytes, GetPeersAndPeers) {
  EXPECT_EQ(DecodeGetPeers(GoldenPayload("get_peers", kGetPeers)), 100u);
  EXPECT_EQ(EncodeGetPeers(100), GoldenPayload("get_peers", kGetPeers));
  PeerInfo peer;
  for (size_t i = 0; i < NodeId::kSize; ++i) peer.node_id.bytes[i] = static_cast<uint8_t>(i);
  peer.endpoint = At("192.0.2.1:4356");
  peer.age_s = 59;
  EXPECT_EQ(DecodePeers(GoldenPayload("peers", kPeers)), std::vector<PeerInfo>{peer});
  EXPECT_EQ(EncodePeers({peer}), GoldenPayload("peers", kPeers));
}

TEST(GoldenBytes, AMessageOnANamedChannel) {
  const RawFrame message{300, 5, {'h', 'i'}};
  EXPECT_EQ(SplitFrames(Golden("message")), std::vector<RawFrame>{message});
  EXPECT_EQ(Encode(message), Golden("message"));
}

TEST(GoldenBytes, EveryCoreTypeHasAVector) {
  std::set<uint16_t> types;
  for (const auto& entry : std::filesystem::directory_iterator(HELO_GOLDEN_DIR)) {
    for (const RawFrame& frame : SplitFrames(Golden(entry.path().stem().string()))) {
      if (frame.channel == 0) types.insert(frame.type);
    }
  }
  EXPECT_EQ(types, (std::set<uint16_t>{1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

}  // namespace
}  // namespace helo::wire::testing
