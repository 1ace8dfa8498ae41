// The pages of helo explain: each has commands, each command of helo named there exists, every
// reference leads somewhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include "rpc/tool/topics.h"
#include "tests/unit/rpc/tool_fake_node.h"

namespace helo::tool {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kOk = 0, kNotFound = 5;

std::vector<std::string> Words(std::string_view command) {
  std::istringstream in{std::string(command)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

TEST(Topics, EveryOneHasATitleWordsAndACommand) {
  // What a person may type besides helo's own.
  const std::set<std::string> known = {"helo", "helod", "ss",     "ls",     "lsof",
                                       "ip",   "nstat", "sysctl", "ulimit", "prlimit"};
  for (const Topic& topic : Topics()) {
    EXPECT_FALSE(topic.title.empty()) << topic.name;
    EXPECT_FALSE(topic.paragraphs.empty()) << topic.name;
    ASSERT_FALSE(topic.commands.empty()) << topic.name;
    for (const TopicCommand& one : topic.commands) {
      EXPECT_FALSE(one.shows.empty()) << one.command;
      EXPECT_THAT(known, Contains(Words(one.command).at(0))) << one.command;
    }
  }
}

bool HasCommand(const std::string& name) {
  return RunHelo({name, "--help"}).out.find("Usage: helo " + name) != std::string::npos;
}

TEST(Topics, EveryCommandOfHeloThatIsNamedExistsWithItsOptions) {
  // These two come with one change; a tool with neither is from before it.
  const bool from_before = !HasCommand("fds") && !HasCommand("sockets");
  int named = 0, excused = 0;
  for (const Topic& topic : Topics()) {
    for (const TopicCommand& one : topic.commands) {
      const std::vector<std::string> words = Words(one.command);
      if (words.at(0) != "helo") continue;
      ++named;
      if (from_before && (words.at(1) == "fds" || words.at(1) == "sockets")) {
        ++excused;
        continue;
      }
      ASSERT_TRUE(HasCommand(words.at(1))) << one.command;
      const std::string all = RunHelo({words[1], "--help"}).out + RunHelo({"--help"}).out;
      for (const std::string& word : words) {
        if (word.rfind("--", 0) != 0) continue;
        EXPECT_NE(all.find(word), std::string::npos) << one.command;
      }
    }
  }
  EXPECT_GT(named, 12);
  if (excused > 0) GTEST_SKIP() << "this tool has no helo fds and helo sockets yet";
}

TEST(Topics, NamesAreUniqueAndReferencesLeadSomewhere) {
  std::set<std::string> names;
  for (const Topic& topic : Topics()) {
    EXPECT_TRUE(names.emplace(topic.name).second) << topic.name;
    EXPECT_EQ(FindTopic(topic.name), &topic);
    for (const std::string_view also : topic.also) EXPECT_EQ(FindTopic(also), &topic) << also;
    for (const std::string_view see : topic.see) {
      ASSERT_NE(FindTopic(see), nullptr) << topic.name << " -> " << see;
      EXPECT_EQ(FindTopic(see)->name, see);
      EXPECT_NE(FindTopic(see), &topic);
    }
  }
}

TEST(Topics, TheOnesThatALearnerAsksForAreThere) {
  for (const char* word : {"fd", "socket", "bind", "listen", "backlog", "refused", "timed out",
                           "EMFILE", "emfile", "TIME_WAIT", "time-wait", "0.0.0.0", "127.0.0.1",
                           "tcp", "tcp4", "tcp6", "close", "leaks"}) {
    const ToolRun run = RunHelo({"explain", word});
    EXPECT_EQ(run.exit, kOk) << run.err;
    EXPECT_THAT(run.out, HasSubstr("see it")) << word;
    EXPECT_TRUE(json::parse(RunHelo({"explain", word, "--json"}).out).contains("commands")) << word;
  }
}

TEST(Topics, TellATopicFromTheReasonOfTheSameName) {
  EXPECT_THAT(RunHelo({"explain", "refused"}).out, HasSubstr("Refused against timed out"));
  const std::string reason = RunHelo({"explain", "REFUSED"}).out;
  EXPECT_THAT(reason, HasSubstr("code 101"));
  EXPECT_THAT(reason, HasSubstr("helo explain refused"));
  EXPECT_THAT(RunHelo({"explain", "full"}).out, HasSubstr("FULL, code 1"));
}

TEST(Topics, AreListedWithTheCodes) {
  const std::string list = RunHelo({"explain"}).out;
  EXPECT_EQ(list, RunHelo({"explain", "list"}).out);
  for (const Topic& topic : Topics()) EXPECT_THAT(list, HasSubstr(std::string(topic.title)));
  EXPECT_THAT(list, HasSubstr("WRONG_NETWORK"));
}

TEST(Topics, NearMissesAreNamed) {
  EXPECT_THAT(NearestTopics("bcklog"), ElementsAre("backlog"));
  EXPECT_THAT(NearestTopics("TIMEWAIT"), Contains("TIME_WAIT"));
  EXPECT_THAT(NearestTopics("wrongnetwork"), Contains("WRONG_NETWORK"));
  EXPECT_THAT(NearestTopics("xyzzy"), IsEmpty());
  EXPECT_THAT(NearestTopics(std::string(100000, 'x')), IsEmpty());
  const ToolRun run = RunHelo({"explain", "bcklog"});
  EXPECT_EQ(run.exit, kNotFound);
  EXPECT_THAT(run.err, HasSubstr("Did you mean backlog?"));
  EXPECT_THAT(RunHelo({"explain", "\x1b[2J"}).err, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace helo::tool
