// helo plugin check: its exit code, what a person reads and what a script does. What it finds is
// tested in tests/unit/plugins/check.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/rpc/tool_fake_node.h"

namespace helo {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr int kOk = 0, kFailed = 1, kUsage = 2, kNotFound = 5;
const std::string kEcho = std::string(HELO_PLUGIN_DIR) + "/echo.so";
const std::string kBroken = std::string(TEST_PLUGINS) + "/breaks_refusal.so";

TEST(ThePluginCheck, NeedsNoNodeAndNamesTheLineOfEachRule) {
  const ToolRun run = RunHelo({"plugin", "check", kEcho});
  EXPECT_EQ(run.exit, kOk) << run.out << run.err;
  EXPECT_THAT(run.out,
              AllOf(ContainsRegex("ok +stop returns within 5 s +.helo/plugin.h:[0-9]+."),
                    HasSubstr("org.helo.echo 1.0.0, speaks echo/1"), HasSubstr(" 0 broken\n")));
}

TEST(ThePluginCheck, SaysWhichRuleIsBrokenAndFails) {
  const ToolRun run = RunHelo({"plugin", "check", kBroken});
  EXPECT_EQ(run.exit, kFailed) << run.out;
  EXPECT_THAT(run.out,
              AllOf(ContainsRegex("BROKEN +a create that fails says why .*helo/plugin.h:[0-9]+"),
                    HasSubstr("did not say why"), HasSubstr(" 1 broken\n")));
}

TEST(ThePluginCheck, AsJson) {
  const ToolRun run = RunHelo({"plugin", "check", kBroken, "--json"});
  EXPECT_EQ(run.exit, kFailed);
  const json report = json::parse(run.out);
  EXPECT_EQ(report["id"], "com.example.breaks");
  EXPECT_EQ(report["broken"], 1);
  for (const json& rule : report["rules"]) {
    EXPECT_EQ(rule["state"] == "BROKEN", rule["rule"] == "refusal") << rule;
    EXPECT_GT(rule["line"], 0);
  }
}

TEST(ThePluginCheck, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(RunHelo({"plugin", "check", "/nowhere/x.so"}).exit, kNotFound);
  EXPECT_EQ(RunHelo({"plugin", "check", kEcho, "--config", "/nowhere/x.conf"}).exit, kNotFound);
  EXPECT_EQ(RunHelo({"plugin", "check"}).exit, kUsage);
  EXPECT_EQ(RunHelo({"plugin", "check", kEcho, "--seed", "x"}).exit, kUsage);
}

}  // namespace
}  // namespace helo
