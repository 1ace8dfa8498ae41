// What `helo plugin check` finds: nothing in plugins that keep the rules, and in each that breaks
// one, that one, with the line of the header that states it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "plugins/check/check.h"

namespace helo::plugins {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

CheckReport Check(const std::string& file, CheckOptions options = {}) {
  auto report = CheckPlugin(file, options);
  EXPECT_TRUE(report.ok()) << report.status();
  return report.ok() ? *report : CheckReport{};
}
CheckReport CheckTestPlugin(const std::string& name, CheckOptions options = {}) {
  return Check(std::string(TEST_PLUGINS) + "/" + name + ".so", std::move(options));
}
std::string Everything(const CheckReport& report) {
  std::string text;
  for (const RuleResult& rule : report.rules) {
    text += std::to_string(static_cast<int>(rule.state)) + " " + rule.rule;
    for (const std::string& one : rule.found) text += "\n    " + one;
    text += "\n";
  }
  return text;
}
const RuleResult& Of(const CheckReport& report, const std::string& rule) {
  for (const RuleResult& one : report.rules) {
    if (one.rule == rule) return one;
  }
  ADD_FAILURE() << "there is no rule " << rule;
  static const RuleResult kNone;
  return kNone;
}
std::string LineOf(const RuleResult& rule) {
  std::ifstream file(std::string(HELO_SDK) + "/" + rule.header);
  std::string line;
  for (int i = 0; i < rule.line; ++i) std::getline(file, line);
  return line;
}

class Shipped : public ::testing::TestWithParam<std::string> {};
TEST_P(Shipped, KeepsEveryRule) {
  const CheckReport report = Check(std::string(HELO_PLUGIN_DIR) + "/" + GetParam() + ".so");
  EXPECT_EQ(report.Count(RuleState::kBroken), 0u) << Everything(report);
  EXPECT_EQ(report.Count(RuleState::kSkipped), 0u) << Everything(report);
  // Who builds with a umask of 002 has a folder that a node does not load from.
  for (const RuleResult& rule : report.rules) {
    if (rule.rule == "place") continue;
    EXPECT_EQ(rule.state, RuleState::kOk) << Everything(report);
  }
  EXPECT_EQ(report.version, "1.0.0");
}
INSTANTIATE_TEST_SUITE_P(All, Shipped, ::testing::Values("echo", "gossip", "chainstatus"),
                         [](const auto& test) { return test.param; });

TEST(PluginCheck, APluginThatBreaksNothingIsFoundSo) {
  const CheckReport report = CheckTestPlugin("breaks_none");
  EXPECT_EQ(report.Count(RuleState::kBroken), 0u) << Everything(report);
  EXPECT_EQ(report.id, "com.example.breaks");
  EXPECT_EQ(report.version, "1.0.0");
  EXPECT_THAT(Of(report, "start").found, Contains("commands: well, first"));
}

struct Case {
  const char* plugin;
  const char* rule;    // that is broken
  const char* words;   // in what is said of it
  const char* header;  // in the line that states it
};
void PrintTo(const Case& one, std::ostream* out) { *out << one.plugin; }
class Breaks : public ::testing::TestWithParam<Case> {};

TEST_P(Breaks, IsFoundAndTheLineNamed) {
  const Case& one = GetParam();
  if (kSanitized && std::string(one.rule) == "query") GTEST_SKIP() << "its heap is not counted";
  CheckOptions options;
  options.limit = std::chrono::seconds(kSanitized ? 12 : 4);
  const CheckReport report = CheckTestPlugin(one.plugin, options);
  const RuleResult& rule = Of(report, one.rule);
  EXPECT_EQ(rule.state, RuleState::kBroken) << Everything(report);
  EXPECT_THAT(rule.found, Contains(HasSubstr(one.words))) << Everything(report);
  EXPECT_THAT(LineOf(rule), HasSubstr(one.header)) << rule.header << ":" << rule.line;
}
INSTANTIATE_TEST_SUITE_P(
    All, Breaks,
    ::testing::Values(
        Case{"breaks_query", "query", "another pointer", "Pure:"},
        Case{"breaks_query_major", "query", "asked for ABI 2 it gives NULL", "Pure:"},
        Case{"breaks_start", "start", "it never starts", "(*start)"},
        Case{"breaks_lives", "lives", "crashed (SIGABRT) in start", "create start (open"},
        Case{"breaks_refusal", "refusal", "did not say why", "nothing may be left behind"},
        Case{"breaks_refusal_fd", "refusal", "/dev/null", "nothing may be left behind"},
        Case{"breaks_sizes", "sizes", "in on_message (type 0, 0 bytes)", "types 0 to count-1"},
        Case{"breaks_hang", "sizes", "it did not come back from on_message (type 1", "types 0 to"},
        Case{"breaks_verdict", "sizes", "a verdict that there is not: 17", "types 0 to count-1"},
        Case{"breaks_random", "random", "a peer sent nonsense", "speaks of the peer"},
        Case{"breaks_exception", "random", "an exception left on_message (type 1, ",
             "speaks of the peer"},
        Case{"breaks_exit", "random", "ended with exit code 0 in on_message (type 1,", "speaks of"},
        Case{"breaks_send_type", "random",
             "send of a type that its protocol has not (helo/plugin.h:", "speaks of the peer"},
        Case{"breaks_read_beyond", "lent", "too much was read", "borrowed until the call"},
        Case{"breaks_lent", "lent", "a pointer was kept", "borrowed until the call returns"},
        Case{"breaks_full", "full", "ended with exit code 3", "after AGAIN"},
        Case{"breaks_sessions", "sessions", "crashed (SIGABRT) in on_close", "exactly one close"},
        Case{"breaks_stop", "stop", "stop took ", "join your own threads here: 5 s"},
        Case{"breaks_threads_left", "threads-left", "after destroy there is the thread",
             "the last call into the instance"},
        Case{"breaks_fds_left", "fds-left", "each life leaves open", "the last call into"},
        Case{"breaks_older_host", "older-host", " in start", "test for NULL"},
        Case{"breaks_timers", "timers", "crashed (SIGABRT) in on_timer", "fire on [plugin]"},
        Case{"breaks_never", "commands",
             "never with 0 arguments has no answer after 60 s of the node's clock", "Owes one"},
        Case{"breaks_twice", "commands",
             "twice was answered twice (helo/extensions.h:", "Owes one"},
        Case{"breaks_command", "start", "no name [a-z][a-z0-9-]{0,31}", "(*start)"},
        Case{"breaks_arguments", "commands", "in on_command (first, 0 arguments)", "Owes one"},
        Case{"breaks_unique", "unload", "stays mapped all the same", "vouches for dlclose"},
        Case{"needs", "file", "needs the library libhelo_test_gone.so", "helo_plugin_query("},
        Case{"undefined", "file", "needs the symbol helo_test_nobody_defines_this", "plugin_query"},
        Case{"nosymbol", "file", "does not export helo_plugin_query", "helo_plugin_query("},
        Case{"abi2", "descriptor", "needs ABI 2 and this node speaks ABI 1", "helo_descriptor {"},
        Case{"badcount", "descriptor", "message_count 0", "typedef struct helo_descriptor {"}),
    [](const auto& test) {
      return std::string(test.param.plugin) + "_" + std::to_string(test.index);
    });

TEST(PluginCheck, WarnsOfWhatIsNoBreach) {
  CheckReport report = CheckTestPlugin("breaks_slow");
  EXPECT_EQ(report.Count(RuleState::kBroken), 0u) << Everything(report);
  if (!kSanitized) {
    report = CheckTestPlugin("breaks_memory_left");
    EXPECT_EQ(report.Count(RuleState::kBroken), 0u) << Everything(report);
    EXPECT_EQ(Of(report, "memory-left").state, RuleState::kWarning) << Everything(report);
    EXPECT_THAT(Of(report, "memory-left").found, Contains(HasSubstr("each life leaves about 100")));
  }
  report = CheckTestPlugin("breaks_unique");
  EXPECT_THAT(Of(report, "exports").found, Contains(HasSubstr("GNU_UNIQUE")));
  report = CheckTestPlugin("needs_protobuf");
  EXPECT_EQ(Of(report, "protobuf").state, RuleState::kWarning) << Everything(report);
  EXPECT_THAT(Of(report, "protobuf").found, Contains(HasSubstr("optimize_for = LITE_RUNTIME")));
}

TEST(PluginCheck, ASmallerOlderLayoutIsWell) {
  const CheckReport report = CheckTestPlugin("older");
  EXPECT_EQ(report.Count(RuleState::kBroken), 0u) << Everything(report);
  EXPECT_EQ(report.version, "0.9");
}

TEST(PluginCheck, IsGivenItsConfiguration) {
  CheckOptions options;
  options.config = "greeting = x\n";  // which breaks_none takes none of
  const CheckReport report = CheckTestPlugin("breaks_none", options);
  EXPECT_EQ(Of(report, "start").state, RuleState::kBroken);
  EXPECT_THAT(Of(report, "start").found,
              Contains(AllOf(HasSubstr("it takes no configuration"), HasSubstr("--config"))));
  EXPECT_EQ(Of(report, "lent").state, RuleState::kSkipped);
}

class Files : public ::testing::Test {
 protected:
  Files() {
    std::string name = ::testing::TempDir() + "helo-check-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  ~Files() override { std::filesystem::remove_all(dir_); }
  std::string Copy(const std::string& as) {
    const std::string to = dir_ + "/" + as;
    std::filesystem::copy_file(std::string(TEST_PLUGINS) + "/breaks_none.so", to);
    return to;
  }
  std::string dir_;
};

TEST_F(Files, WhatIsNoPluginIsNotMapped) {
  std::ofstream(dir_ + "/text.so") << "#!/bin/sh\n";
  CheckReport report = Check(dir_ + "/text.so");
  EXPECT_THAT(Of(report, "file").found, Contains(HasSubstr("is no ELF shared object")));
  EXPECT_EQ(report.Count(RuleState::kBroken), 1u) << Everything(report);
  const std::string other = Copy("other.so");
  std::fstream file(other, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(18);  // e_machine
  file.put(40).put(0);
  file.close();
  report = Check(other);
  EXPECT_THAT(Of(report, "file").found, Contains(HasSubstr("was built for arm and this node")));
  EXPECT_FALSE(CheckPlugin(dir_, {}).ok());
  EXPECT_EQ(CheckPlugin(dir_ + "/none.so", {}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Files, ANameThatNoNodeLoadsIsBroken) {
  const CheckReport report = Check(Copy("My.Plugin.so"));
  EXPECT_EQ(Of(report, "name").state, RuleState::kBroken);
  EXPECT_THAT(LineOf(Of(report, "name")), HasSubstr("call a plugin by its file's name"));
  EXPECT_EQ(report.Count(RuleState::kBroken), 1u) << Everything(report);
}

TEST_F(Files, WarnsOfAFileThatOthersCanWrite) {
  const std::string file = Copy("open.so");
  chmod(file.c_str(), 0777);
  const CheckReport report = Check(file);
  EXPECT_EQ(Of(report, "place").state, RuleState::kWarning);
  EXPECT_THAT(Of(report, "place").found, Contains(HasSubstr("chmod go-w")));
}

TEST_F(Files, NothingIsLeftOfTheCheckItself) {
  setenv("TMPDIR", dir_.c_str(), 1);
  CheckTestPlugin("breaks_threads_left");
  unsetenv("TMPDIR");
  EXPECT_TRUE(std::filesystem::is_empty(dir_));
}

}  // namespace
}  // namespace helo::plugins
