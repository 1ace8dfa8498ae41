// The files that helod keeps, and its word to the service manager.
#include "node/node_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include <nlohmann/json.hpp>

#include "node/notify.h"
#include "node/plugin_files.h"
#include "p2p/base/testing/capturing_log.h"
#include "tests/unit/node/scratch.h"

namespace helo::node {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(NodeFile, TellsWhoRunsHereAndWhere) {
  RunningNode node;
  node.pid = 4711;
  node.listen = {*Endpoint::Parse("127.0.0.1:1"), *Endpoint::Parse("[::1]:2")};
  node.admin = *Endpoint::Parse("127.0.0.1:3");
  node.version = "1.2.3";
  const auto json = nlohmann::json::parse(NodeFileJson(node));
  EXPECT_EQ(json["pid"], 4711);
  EXPECT_EQ(json["id"], std::string(64, '0'));
  EXPECT_EQ(json["listen"], nlohmann::json::array({"127.0.0.1:1", "[::1]:2"}));
  EXPECT_EQ(json["admin"], "127.0.0.1:3");
  EXPECT_EQ(json["version"], "1.2.3");
}

TEST(SavedPeers, SurviveARestart) {
  const Scratch scratch;
  testing::CapturingLog log;
  const std::vector<PeerAddress> peers = {
      *PeerAddress::Parse("helo://" + std::string(64, 'a') + "@h.example:1"),
      *PeerAddress::Parse("[::1]:2")};
  EXPECT_THAT(LoadPeers(scratch.Path("p"), log), IsEmpty());
  ASSERT_TRUE(SavePeers(scratch.Path("p"), peers).ok());
  EXPECT_EQ(LoadPeers(scratch.Path("p"), log), peers);
  EXPECT_THAT(log.lines(), IsEmpty());
}

TEST(SavedPeers, AFileThatCannotBeUsedIsSetAsideWithAMessageAndIsNotFatal) {
  for (const char* text : {"", "{\"version\":1,\"pee", "[]", "{}", "{\"peers\":3}", "\xff\xfe"}) {
    const Scratch scratch;
    testing::CapturingLog log;
    scratch.Write("p", text);
    EXPECT_THAT(LoadPeers(scratch.Path("p"), log), IsEmpty()) << text;
    EXPECT_EQ(log.Count("set aside"), 1u) << text;
    EXPECT_EQ(log.Count("p.corrupt-1"), 1u) << text;
    EXPECT_EQ(Scratch::Read(scratch.Path("p.corrupt-1")), text) << "not a byte is lost";
    EXPECT_EQ(access(scratch.Path("p").c_str(), F_OK), -1);
  }
}

TEST(SavedPeers, WhatCanBeReadOfADamagedFileIsUsed) {
  const Scratch scratch;
  testing::CapturingLog log;
  scratch.Write("p",
                R"({"version":1,"peers":["helo://a:1", 7, "helo://999.1.1.1:1", "helo://b:2"]})");
  EXPECT_THAT(LoadPeers(scratch.Path("p"), log), SizeIs(2));
  EXPECT_EQ(log.Count("peers_used=2"), 1u);
  EXPECT_EQ(log.Count("999.1.1.1"), 1u);
}

class Manager {
 public:
  // `name`: a path, or "@..." for the abstract namespace.
  explicit Manager(const std::string& name) : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = 0;
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), length), 0) << name;
  }
  ~Manager() { close(fd_); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;
  std::string Receive() const {
    char text[256];
    const ssize_t got = recv(fd_, text, sizeof(text), MSG_DONTWAIT);
    return got < 0 ? "nothing" : std::string(text, static_cast<size_t>(got));
  }

 private:
  int fd_;
};

TEST(PluginConfig, IsTheSectionElseTheFileAndNeverOneElsewhere) {
  const Scratch scratch;
  const std::string config = scratch.Write("helod.conf", "[plugin gossip]\nrate = 1\n");
  scratch.Write("echo.conf", "a = b\n");
  scratch.Write("gossip.conf", "not = read\n");
  EXPECT_EQ(*ReadPluginConfig(config, scratch.Path("."), "gossip"), "rate = 1\n");
  EXPECT_EQ(*ReadPluginConfig(config, scratch.Path("."), "echo"), "a = b\n");
  EXPECT_EQ(*ReadPluginConfig(config, scratch.Path("."), "chainstatus"), "");
  // A caller's name is judged later, by the host; until then it leads nowhere.
  ASSERT_EQ(mkdir(scratch.Path("data").c_str(), 0700), 0);
  EXPECT_EQ(*ReadPluginConfig(config, scratch.Path("data"), "../echo"), "");
}

TEST(Notify, ReachesAServiceManagerByPathAndByAbstractName) {
  const Scratch scratch;
  for (const std::string& name :
       {scratch.Path("notify"), "@helo-test-" + std::to_string(getpid())}) {
    const Manager manager(name);
    EXPECT_TRUE(NotifyServiceManager(name, "READY=1").ok());
    EXPECT_EQ(manager.Receive(), "READY=1");
  }
}

TEST(Notify, WithoutAManagerItIsSilentAndAWrongOneIsNamed) {
  EXPECT_TRUE(NotifyServiceManager("", "READY=1").ok());
  EXPECT_THAT(std::string(NotifyServiceManager("relative", "READY=1").message()),
              HasSubstr("relative"));
  EXPECT_THAT(std::string(NotifyServiceManager("/no/such/socket", "READY=1").message()),
              HasSubstr("/no/such/socket"));
  EXPECT_FALSE(NotifyServiceManager("/" + std::string(200, 'x'), "READY=1").ok());
}

TEST(Notify, AManagerThatDoesNotReadCannotBlockUs) {
  const Scratch scratch;
  const Manager manager(scratch.Path("notify"));
  absl::Status status;
  for (int i = 0; i < 100'000 && status.ok(); ++i)
    status = NotifyServiceManager(scratch.Path("notify"), "STATUS=x");
  EXPECT_THAT(std::string(status.message()), HasSubstr("EAGAIN"));
}

}  // namespace
}  // namespace helo::node
