// The admin token is shown to nobody but a listener of our own uid, root's or the token owner's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "rpc/client/listeners.h"
#include "rpc/client/token.h"
#include "tests/unit/rpc/tool_fake_listener.h"

namespace helo::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kHead[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode\n";
constexpr char kLoopback4357[] =
    "   0: 0100007F:1105 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 "
    "111 1 0 100 0 0 10 0\n";
constexpr char kAny4357[] =
    "   1: 00000000:1105 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 "
    "222 1 0 100 0 0 10 0\n";
constexpr char kOtherPort[] =
    "   2: 0100007F:1104 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1002        0 "
    "333 1 0 100 0 0 10 0\n";
constexpr char kEstablished[] =
    "   3: 0100007F:1105 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1003        0 "
    "444 1 0 20 4 30 10 -1\n";
constexpr char kAny6[] =
    "   0: 00000000000000000000000000000000:1105 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 "
    "00:00000000 00000000  1004        0 555 1 0 100 0 0 10 0\n";
constexpr char kLoopback6[] =
    "   1: 00000000000000000000000001000000:1105 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 "
    "00:00000000 00000000  1005        0 666 1 0 100 0 0 10 0\n";
constexpr char kMapped[] =
    "   2: 0000000000000000FFFF00000100007F:1105 00000000000000000000000000000000:0000 0A "
    "00000000:00000000 "
    "00:00000000 00000000  1006        0 777 1 0 100 0 0 10 0\n";

Endpoint At(std::string_view text) { return Endpoint::Parse(text).value(); }

std::vector<ListeningSocket> Find(std::string_view address, const std::vector<std::string>& lines) {
  std::string text = kHead;
  for (const std::string& line : lines) text += line;
  return ParseListeners(text, At(address));
}

TEST(ListenersOfAPort, AreThoseOnTheVeryAddressIfThereAreAny) {
  EXPECT_THAT(Find("127.0.0.1:4357", {kAny4357, kOtherPort, kLoopback4357, kEstablished}),
              ElementsAre(ListeningSocket{1000, 111}));
  EXPECT_THAT(Find("[::1]:4357", {kAny6, kLoopback6}), ElementsAre(ListeningSocket{1005, 666}));
}

TEST(ListenersOfAPort, OnAllAddressesCountWhenNobodyIsMoreSpecific) {
  EXPECT_THAT(Find("127.0.0.1:4357", {kAny4357, kOtherPort}),
              ElementsAre(ListeningSocket{1001, 222}));
  // A dual-stack socket may take IPv4 too.
  EXPECT_THAT(Find("127.0.0.1:4357", {kAny6}), ElementsAre(ListeningSocket{1004, 555}));
  EXPECT_THAT(Find("[::1]:4357", {kAny4357}), IsEmpty());
}

TEST(ListenersOfAPort, IncludeIpv4AddressesWrittenAsIpv6) {
  EXPECT_THAT(Find("127.0.0.1:4357", {kMapped}), ElementsAre(ListeningSocket{1006, 777}));
}

TEST(ListenersOfAPort, AreNotInventedFromBrokenLines) {
  EXPECT_THAT(Find("127.0.0.1:4357", {"garbage\n", "0: zz:1105 x 0A a b c d e f\n", "\n"}),
              IsEmpty());
}

TEST(ListenersOfAPort, AreFoundInThisKernel) {
  const FakeListener listener(StaySilent);
  const std::vector<ListeningSocket> found = FindListeners(listener.address());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].uid, geteuid());
  const ClosedPort closed;
  EXPECT_THAT(FindListeners(closed.address()), IsEmpty()) << "bound is not listening";
}

// Two ways of asking the kernel; the second is for where sock_diag is forbidden.
TEST(ListenersOfAPort, AreTheSameBySockDiagAndByProc) {
  const FakeListener listener(StaySilent);
  const auto rows = AskForListeners();
  if (!rows) GTEST_SKIP() << "the kernel does not answer sock_diag here";
  std::ifstream file("/proc/net/tcp");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::vector<ListeningSocket> by_proc = ParseListeners(text, listener.address());
  ASSERT_EQ(by_proc.size(), 1u);
  EXPECT_TRUE(std::any_of(rows->begin(), rows->end(), [&](const ProcTcpRow& row) {
    return row.local == listener.address() && row.uid == by_proc[0].uid &&
           row.inode == by_proc[0].inode && row.state == ProcTcpRow::kListen;
  }));
}

constexpr uid_t kMe = 1000;
constexpr uid_t kOther = 1001;
constexpr uid_t kNode = 990;

TEST(ATokenIsShown, ToOurselvesToRootAndToItsOwner) {
  for (const uid_t uid : {kMe, uid_t{0}, kNode}) {
    const std::vector<ListeningSocket> listeners = {{uid, 1}};
    EXPECT_EQ(WhyNotSendToken(listeners, listeners, kMe, kNode), "") << uid;
  }
}

TEST(ATokenIsNotShown, ToAnyOtherUid) {
  const std::vector<ListeningSocket> listeners = {{kOther, 1}};
  EXPECT_THAT(WhyNotSendToken(listeners, listeners, kMe, kNode), HasSubstr("uid 1001"));
}

TEST(ATokenIsNotShown, IfOneOfSeveralListenersIsAStranger) {
  const std::vector<ListeningSocket> listeners = {{kMe, 1}, {kOther, 2}};
  EXPECT_NE(WhyNotSendToken(listeners, listeners, kMe, kNode), "");
}

TEST(ATokenIsNotShown, IfNobodyKnowsWhoListens) {
  EXPECT_NE(WhyNotSendToken({}, {}, kMe, kNode), "");
  EXPECT_NE(WhyNotSendToken({}, {{kMe, 1}}, kMe, kNode), "");
}

TEST(ATokenIsNotShown, IfThePortChangedHandsWhileConnecting) {
  EXPECT_NE(WhyNotSendToken({{kMe, 1}}, {{kMe, 2}}, kMe, kNode), "");
}

class TokenFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "helo-token-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string Write(const std::string& contents) {
    const std::string path = dir_ + "/admin.token";
    std::ofstream(path) << contents;
    return path;
  }
  std::string dir_;
};

TEST_F(TokenFiles, HoldOneLine) {
  const absl::StatusOr<Token> token = ReadToken(Write("0123abcd\n"), true);
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->value, "0123abcd");
  EXPECT_EQ(token->owner, geteuid());
}

TEST_F(TokenFiles, ThatHoldNoTokenAreRefused) {
  for (const std::string& contents :
       {std::string(), std::string("\n"), std::string("two words"), std::string("a\nb"),
        std::string("caf\xc3\xa9"), std::string(5000, 'x')}) {
    EXPECT_EQ(ReadToken(Write(contents), true).status().code(), absl::StatusCode::kDataLoss)
        << contents;
  }
  EXPECT_EQ(ReadToken(dir_ + "/nothing", true).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadToken(dir_, true).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(TokenFiles, ThatAreLinksAreFollowedOnlyWhereTheCallerNamedThem) {
  const std::string link = dir_ + "/link";
  ASSERT_EQ(symlink(Write("0123abcd\n").c_str(), link.c_str()), 0);
  EXPECT_EQ(ReadToken(link, true)->value, "0123abcd");
  const absl::Status status = ReadToken(link, false).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("symbolic link"));
}

TEST_F(TokenFiles, ThatArePipesDoNotHang) {
  const std::string path = dir_ + "/pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(ReadToken(path, true).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace helo::client
