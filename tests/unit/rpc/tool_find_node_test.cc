// Which node the tool talks to, from flags, environment and helod.json.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "rpc/client/errors.h"
#include "rpc/client/find_node.h"

namespace helo::client {
namespace {

using ::testing::HasSubstr;

constexpr char kId[] = "3f2a000000000000000000000000000000000000000000000000000000000001";

std::string FileText(const std::string& admin, int64_t pid = 1) {
  return "{\"pid\": " + std::to_string(pid) + ", \"id\": \"" + kId +
         "\", \"listen\": [\"0.0.0.0:4356\"], \"admin\": \"" + admin +
         "\", \"version\": \"0.1.0\"}";
}

class FindingANode : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "helo-find-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void WriteFile(const std::string& text) { std::ofstream(dir_ + "/helod.json") << text; }
  absl::StatusOr<NodeTarget> Find(const FindOptions& options = {}) {
    return FindNode(options, [this](const char* name) -> std::optional<std::string> {
      const auto found = environment_.find(name);
      if (found == environment_.end()) return std::nullopt;
      return found->second;
    });
  }
  std::string dir_;
  std::map<std::string, std::string> environment_;
};

TEST_F(FindingANode, EndsAtTheDefaultPort) {
  const absl::StatusOr<NodeTarget> target = Find();
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->admin.ToString(), "127.0.0.1:4357");
  EXPECT_EQ(target->token_path, "");
}

TEST_F(FindingANode, ReadsTheFileInTheDataDirectory) {
  WriteFile(FileText("127.0.0.1:40123", 77));
  const absl::StatusOr<NodeTarget> target = Find({dir_, {}, {}});
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->admin.ToString(), "127.0.0.1:40123");
  EXPECT_EQ(target->token_path, dir_ + "/admin.token");
  ASSERT_TRUE(target->file.has_value());
  EXPECT_EQ(target->file->pid, 77);
  EXPECT_EQ(target->file->id, kId);
}

TEST_F(FindingANode, PrefersFlagsAndThenIgnoresTheEnvironment) {
  WriteFile(FileText("127.0.0.1:40123"));
  environment_ = {{"HELO_DATA_DIR", dir_}, {"HELO_ADMIN", "127.0.0.1:1"}};
  const absl::StatusOr<NodeTarget> target = Find({{}, "127.0.0.1:2", {}});
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->admin.port, 2);
  EXPECT_EQ(target->token_path, "") << "the token of another node must not go there";
}

TEST_F(FindingANode, TakesTheTokenFromADirectoryNamedWithTheAddress) {
  const absl::StatusOr<NodeTarget> target = Find({dir_, "127.0.0.1:2", {}});
  ASSERT_TRUE(target.ok());
  EXPECT_EQ(target->admin.port, 2);
  EXPECT_EQ(target->token_path, dir_ + "/admin.token");
}

TEST_F(FindingANode, UsesTheFileBeforeTheConfiguredAddressInTheEnvironment) {
  // In a container both are set, for helod, and the address may say port 0.
  environment_ = {{"HELO_DATA_DIR", dir_}, {"HELO_ADMIN", "127.0.0.1:0"}};
  EXPECT_EQ(Find().status().code(), absl::StatusCode::kUnavailable) << "not ready yet";
  WriteFile(FileText("127.0.0.1:40123"));
  EXPECT_EQ(Find()->admin.port, 40123);
}

TEST_F(FindingANode, FallsBackToTheAddressInTheEnvironment) {
  environment_ = {{"HELO_DATA_DIR", dir_}, {"HELO_ADMIN", "127.0.0.1:40124"}};
  const absl::StatusOr<NodeTarget> target = Find();
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->admin.port, 40124);
  environment_.erase("HELO_DATA_DIR");
  EXPECT_EQ(Find()->admin.port, 40124);
}

TEST_F(FindingANode, SaysThatNoneRunsInTheDirectory) {
  const absl::StatusOr<NodeTarget> target = Find({dir_, {}, {}});
  EXPECT_EQ(ExitOf(target.status()), Exit::kNodeNotRunning);
  EXPECT_THAT(std::string(target.status().message()), HasSubstr("helod --data-dir " + dir_));
  const absl::StatusOr<NodeTarget> nowhere = Find({dir_ + "/missing", {}, {}});
  EXPECT_EQ(ExitOf(nowhere.status()), Exit::kNodeNotRunning);
  EXPECT_THAT(std::string(nowhere.status().message()), HasSubstr("no data directory"));
}

TEST_F(FindingANode, DoesNotTrustAFileThatHelodDidNotWrite) {
  for (const char* text :
       {"", "{", "[]", "{\"pid\": 1}", "{\"pid\": -4, \"admin\": \"127.0.0.1:1\", \"id\": \"x\"}",
        "{\"pid\": \"1\", \"admin\": 5}"}) {
    WriteFile(text);
    const absl::StatusOr<NodeTarget> target = Find({dir_, {}, {}});
    EXPECT_EQ(target.status().code(), absl::StatusCode::kDataLoss) << text;
    EXPECT_THAT(std::string(target.status().message()), HasSubstr("helod.json"));
  }
  WriteFile(FileText("nonsense"));
  EXPECT_EQ(Find({dir_, {}, {}}).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(FindingANode, RefusesAddressesThatNoNodeCanHave) {
  EXPECT_EQ(ParseAdminAddress("localhost:4357")->ToString(), "127.0.0.1:4357");
  EXPECT_EQ(ParseAdminAddress("[::1]:4357")->ToString(), "[::1]:4357");
  const absl::Status no_port = ParseAdminAddress("127.0.0.1").status();
  EXPECT_THAT(std::string(no_port.message()), HasSubstr("no port"));
  const absl::Status name = ParseAdminAddress("node7.example.org:4357").status();
  EXPECT_THAT(std::string(name.message()), HasSubstr("ssh -L"));
  const absl::Status zero = ParseAdminAddress("127.0.0.1:0").status();
  EXPECT_THAT(std::string(zero.message()), HasSubstr("--data-dir"));
  // Another machine would be sent this one's token in clear.
  const absl::Status elsewhere = ParseAdminAddress("203.0.113.5:22").status();
  EXPECT_THAT(std::string(elsewhere.message()), HasSubstr("ssh -L"));
  WriteFile(FileText("203.0.113.5:22"));
  EXPECT_THAT(std::string(Find({dir_, {}, {}}).status().message()), HasSubstr("loopback"));
  for (const absl::Status& status : {no_port, name, zero, elsewhere})
    EXPECT_EQ(ExitOf(status), Exit::kUsage);
}

TEST(Processes, ThatBeganAfterTheFileWasWrittenDidNotWriteIt) {
  NodeFile file;
  file.pid = getpid();
  EXPECT_TRUE(WriterExists(file));
  file.written_s = time(nullptr);
  EXPECT_TRUE(WriterExists(file));
  file.written_s = 1'000'000'000;  // 2001: the number went to another process since
  EXPECT_FALSE(WriterExists(file));
}

TEST(Processes, AreKnownToTheKernelOrGone) {
  EXPECT_TRUE(ProcessExists(getpid()));
  EXPECT_TRUE(ProcessExists(1)) << "not ours, but there";
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(0);
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(ProcessExists(child)) << "a zombie, as a killed node is until its parent looks";
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_FALSE(ProcessExists(child));
  EXPECT_FALSE(ProcessExists(0));
  EXPECT_FALSE(ProcessExists(int64_t{1} << 40));
}

}  // namespace
}  // namespace helo::client
