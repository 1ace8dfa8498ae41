#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "p2p/base/testing/seeded_rng.h"
#include "p2p/wire/frame.h"
#include "rpc/service/convert.h"
#include "rpc/service/door.h"
#include "rpc/service/guard.h"
#include "rpc/service/resolve_id.h"
#include "rpc/service/token.h"
#include "tests/unit/rpc/service_support.h"

namespace helo::rpc {
namespace {

using ::helo::testing::SeededRng;
using ::helo::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class TokenFile : public ::testing::Test {
 protected:
  void Write(const std::string& text, mode_t mode) {
    std::ofstream(path_) << text;
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }
  TempDir dir_;
  std::string path_ = dir_.path() + "/admin.token";
  SeededRng rng_;
};

TEST_F(TokenFile, IsMadeOnceForItsOwnerAloneAndReadAgain) {
  const auto made = LoadOrMakeToken(path_, rng_);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->size(), 64);
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  const auto read = LoadOrMakeToken(path_, rng_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, *made);
}

TEST_F(TokenFile, OfTheOperatorsOwnMakingIsTaken) {
  Write("an-operator-chose-this-long-secret-0123\n", 0400);
  const auto read = LoadOrMakeToken(path_, rng_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, "an-operator-chose-this-long-secret-0123");
}

TEST_F(TokenFile, ThatOthersMayReadIsRefusedWithTheRemedy) {
  Write(std::string(64, 'a') + "\n", 0640);
  const auto read = LoadOrMakeToken(path_, rng_);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("chmod 600"));
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("0640"));
}

TEST_F(TokenFile, ThatIsShortEmptyOrNotTextIsRefusedAndKept) {
  for (const std::string& text :
       {std::string("short\n"), std::string(), std::string(40, '\x01'), std::string(600, 'a'),
        std::string("two words are not one token, whatever the length")}) {
    Write(text, 0600);
    EXPECT_FALSE(LoadOrMakeToken(path_, rng_).ok()) << text;
    std::ifstream file(path_);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), text);
  }
}

TEST_F(TokenFile, ThatIsALinkIsRefused) {
  ASSERT_EQ(symlink("/dev/null", path_.c_str()), 0);
  EXPECT_FALSE(LoadOrMakeToken(path_, rng_).ok());
}

TEST(Token, IsTheSameOnlyIfItIsTheSame) {
  const std::string secret(64, 'x');
  EXPECT_TRUE(SameSecret(secret, secret));
  EXPECT_FALSE(SameSecret("", secret));
  EXPECT_FALSE(SameSecret(secret.substr(1), secret));
  EXPECT_FALSE(SameSecret(secret + "x", secret));
  EXPECT_FALSE(SameSecret(secret + secret, secret));
  EXPECT_FALSE(SameSecret("", ""));
  for (size_t i = 0; i < secret.size(); ++i) {
    std::string other = secret;
    other[i] = 'y';
    EXPECT_FALSE(SameSecret(other, secret)) << i;
  }
}

TEST(Token, StandsBehindBearer) {
  EXPECT_EQ(BearerToken("Bearer abc"), "abc");
  EXPECT_EQ(BearerToken("bEARER   abc "), "abc");
  EXPECT_EQ(BearerToken("Basic abc"), "");
  EXPECT_EQ(BearerToken("Bearer"), "");
  EXPECT_EQ(BearerToken("abc"), "");
}

TEST(Guard, LeavesReflectionAndHealthToEverybodyAndNothingElse) {
  EXPECT_TRUE(NeedsNoToken("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"));
  EXPECT_TRUE(NeedsNoToken("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"));
  EXPECT_TRUE(NeedsNoToken("/grpc.health.v1.Health/Check"));
  EXPECT_FALSE(NeedsNoToken("/helo.admin.v1.Admin/GetNode"));
  EXPECT_FALSE(NeedsNoToken("/helo.admin.v1.Admin/grpc.health.v1.Health"));
  EXPECT_FALSE(NeedsNoToken(""));
}

TEST(GrpcPeer, IsReadInEveryFormItHas) {
  EXPECT_EQ(ParseGrpcPeer("ipv4:127.0.0.1:4000"), Endpoint::Parse("127.0.0.1:4000"));
  EXPECT_EQ(ParseGrpcPeer("ipv6:[::1]:4000"), Endpoint::Parse("[::1]:4000"));
  EXPECT_EQ(ParseGrpcPeer("ipv6:%5B::1%5D:4000"), Endpoint::Parse("[::1]:4000"));
  EXPECT_EQ(ParseGrpcPeer("unix:/tmp/socket"), std::nullopt);
  EXPECT_EQ(ParseGrpcPeer(""), std::nullopt);
}

NodeId Id(std::string digits) {
  digits.resize(64, '0');
  return *NodeId::FromHex(digits);
}

ServerSnapshot SnapshotOf(const std::vector<std::string>& peers) {
  ServerSnapshot snapshot;
  for (const std::string& digits : peers) {
    PeerSnapshot peer;
    peer.id = Id(digits);
    snapshot.peers.push_back(peer);
  }
  return snapshot;
}

TEST(IdPrefix, FindsTheOneIdThatBeginsSo) {
  const ServerSnapshot snapshot = SnapshotOf({"1111", "abcd1", "abcd2", "ffff"});
  EXPECT_EQ(*ResolveId("1111", snapshot), Id("1111"));
  EXPECT_EQ(*ResolveId("ABCD1", snapshot), Id("abcd1"));
  EXPECT_EQ(*ResolveId("ffff0", snapshot), Id("ffff"));
  EXPECT_EQ(ResolveId("2222", snapshot).status().code(), absl::StatusCode::kNotFound);
}

TEST(IdPrefix, ThatFitsSeveralNamesThemSoThatTheyCanBeToldApart) {
  const auto id = ResolveId("abcd", SnapshotOf({"abcd000000000001", "abcd000000000002", "abce"}));
  EXPECT_EQ(id.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(id.status().message()), HasSubstr("ambiguous"));
  EXPECT_THAT(std::string(id.status().message()), HasSubstr("abcd000000000001"));
  EXPECT_THAT(std::string(id.status().message()), HasSubstr("abcd000000000002"));
}

TEST(IdPrefix, TwoConnectionsOfOnePeerAreNotAmbiguous) {
  EXPECT_EQ(*ResolveId("abcd", SnapshotOf({"abcd", "abcd"})), Id("abcd"));
}

TEST(IdPrefix, AlsoKnowsTargetsAndThoseKeptAway) {
  ServerSnapshot snapshot;
  peers::Target named;
  named.address.id = Id("aaaa1");
  peers::Target learnt;
  learnt.known_id = Id("bbbb1");
  snapshot.targets = {named, learnt};
  snapshot.away.emplace_back(Id("cccc1"), peers::Ban{});
  EXPECT_EQ(*ResolveId("aaaa", snapshot), Id("aaaa1"));
  EXPECT_EQ(*ResolveId("bbbb", snapshot), Id("bbbb1"));
  EXPECT_EQ(*ResolveId("cccc", snapshot), Id("cccc1"));
}

TEST(IdPrefix, IsFourTo64HexDigits) {
  const ServerSnapshot nobody;
  for (const std::string& text :
       {std::string(), std::string("abc"), std::string("wxyz"), std::string(65, 'a')}) {
    EXPECT_EQ(ResolveId(text, nobody).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_EQ(*ResolveId(Id("1234").ToHex(), nobody), Id("1234")) << "a whole id need not be known";
}

TEST(Convert, TakesSecondsOnlyWithinTheirBounds) {
  const Duration most = std::chrono::seconds(10);
  EXPECT_EQ(*SecondsToDuration(0.25, most, "x"), std::chrono::milliseconds(250));
  EXPECT_EQ(*SecondsToDuration(10, most, "x"), most);
  for (const double bad : {-0.001, 10.001, std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    EXPECT_FALSE(SecondsToDuration(bad, most, "x").ok()) << bad;
  }
}

TEST(Convert, RemoteBytesStayAsTheyAre) {
  PeerSnapshot peer;
  peer.user_agent = std::string("\xff\x1b[31m\0x", 8);
  proto::Peer out;
  ToProto(peer, MonoTime{}, out);
  EXPECT_EQ(out.user_agent(), peer.user_agent);
  CloseInfo close;
  close.text = "\xfe\n";
  proto::Close out_close;
  ToProto(close, out_close);
  EXPECT_EQ(out_close.text(), "\xfe\n");
}

TEST(Convert, SaysNothingOfWhatWasNotMeasured) {
  proto::Peer out;
  ToProto(PeerSnapshot{}, MonoTime{}, out);
  EXPECT_FALSE(out.has_rtt_us());
  EXPECT_FALSE(out.has_skew_us());
  EXPECT_FALSE(out.has_last_message_ms());
  EXPECT_FALSE(out.has_last_receive_ms());
  EXPECT_THAT(out.frames(), IsEmpty());
}

TEST(Convert, CountsFramesByNameAndBytesInAll) {
  PeerSnapshot peer;
  peer.stats.core_in[wire::kPing] = {2, 32};
  peer.stats.core_out[wire::kPong] = {2, 48};
  peer.stats.named.push_back({"echo", {1, 10}, {3, 30}});
  proto::Peer out;
  ToProto(peer, MonoTime{}, out);
  ASSERT_EQ(out.frames_size(), 3);
  EXPECT_EQ(out.frames(0).name(), "PING");
  EXPECT_EQ(out.frames(1).name(), "PONG");
  EXPECT_EQ(out.frames(2).name(), "echo");
  EXPECT_EQ(out.bytes_in(), 42U);
  EXPECT_EQ(out.bytes_out(), 78U);
}

TEST(Convert, ATargetWithoutANextTrySaysSo) {
  const MonoTime now{std::chrono::seconds(100)};
  peers::Target target;
  target.next_try = kNever;
  proto::Target out;
  ToProto(target, now, out);
  EXPECT_EQ(out.next_try_ms(), -1);
  target.next_try = now + std::chrono::milliseconds(1500);
  ToProto(target, now, out);
  EXPECT_EQ(out.next_try_ms(), 1500);
  target.next_try = now - std::chrono::seconds(1);
  ToProto(target, now, out);
  EXPECT_EQ(out.next_try_ms(), 0) << "due";
}

TEST(Convert, LogLevelsAreNamedInTheError) {
  EXPECT_EQ(*ParseLogLevel("debug"), LogLevel::kDebug);
  const auto bad = ParseLogLevel("loud\n");
  EXPECT_THAT(std::string(bad.status().message()),
              HasSubstr("trace, debug, info, warn, error, off"));
  EXPECT_THAT(std::string(bad.status().message()), Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace helo::rpc
