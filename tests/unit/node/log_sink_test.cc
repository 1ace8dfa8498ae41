// The log: its lines, its levels, its file, and that it stalls nobody.
#include "node/log_sink.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include <nlohmann/json.hpp>

#include "p2p/base/testing/manual_clock.h"
#include "tests/unit/node/scratch.h"

namespace helo::node {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

const WallTime kTime{std::chrono::microseconds(1'763'836'133'000'042)};

std::string Text(std::string_view message, const LogFields& fields) {
  return FormatLine(LogFormat::kText, kTime, LogLevel::kInfo, "net", message, fields);
}
nlohmann::json Json(std::string_view message, const LogFields& fields) {
  return nlohmann::json::parse(
      FormatLine(LogFormat::kJson, kTime, LogLevel::kWarn, "net", message, fields));
}

TEST(LogLine, TextIsTimeLevelRoomMessageAndFields) {
  EXPECT_EQ(Text("listening",
                 {{"addr", "0.0.0.0:4356"}, {"why", "two words"}, {"empty", ""}, {"eq", "a=b"}}),
            "2025-11-22T18:28:53.000042Z info  net    listening addr=0.0.0.0:4356 why=\"two "
            "words\" empty=\"\" eq=\"a=b\"");
}

TEST(LogLine, WhatARemoteSentCanNeitherBreakTheLineNorSteerATerminal) {
  std::string every;
  for (int i = 0; i < 256; ++i) every.push_back(static_cast<char>(i));
  EXPECT_THAT(Text("m", {{"k", every}}),
              Each(::testing::AllOf(::testing::Ge(' '), ::testing::Le('~'))));
  EXPECT_THAT(Text("m", {{"k", "x\" level=error forged=\""}}),
              HasSubstr("k=\"x\\x22 level=error forged=\\x22\""));
  EXPECT_THAT(Text("m", {{"k", "a\nb"}}), HasSubstr("k=a\\x0ab"));
}

TEST(LogLine, AnApostropheOfOurOwnSentencesStaysReadable) {
  EXPECT_THAT(Text("m", {{"why", "the node's log"}}), HasSubstr("why=\"the node's log\""));
}

TEST(LogLine, JsonIsOneObjectWhateverTheBytes) {
  std::string every;
  for (int i = 0; i < 256; ++i) every.push_back(static_cast<char>(i));
  const nlohmann::json line = Json("it's so", {{"peer", every}, {"level", "mine"}});
  EXPECT_EQ(line["time"], "2025-11-22T18:28:53.000042Z");
  EXPECT_EQ(line["level"], "warn") << "a field cannot pose as one of the line's own";
  EXPECT_EQ(line["level_"], "mine");
  EXPECT_EQ(line["room"], "net");
  EXPECT_EQ(line["message"], "it's so");
  EXPECT_THAT(line["peer"].get<std::string>(), HasSubstr("\\x00\\x01"));
  EXPECT_EQ(
      FormatLine(LogFormat::kJson, kTime, LogLevel::kWarn, "net", "m", {{"k", "a\nb"}}).find('\n'),
      std::string::npos);
}

TEST(LogLine, ATimeBeforeTheEpochIsStillATime) {
  EXPECT_THAT(FormatLine(LogFormat::kText, WallTime(std::chrono::microseconds(-1)), LogLevel::kInfo,
                         "net", "m", {}),
              HasSubstr("1969-12-31T23:59:59.999999Z"));
}

class NodeLogTest : public ::testing::Test {
 protected:
  std::unique_ptr<NodeLog> Open(LogLevel level = LogLevel::kInfo, size_t queue = 8192) {
    auto log = NodeLog::Open(LogFormat::kText, level, path_, clock_, queue);
    EXPECT_TRUE(log.ok()) << log.status();
    return *std::move(log);
  }
  Scratch scratch_;
  const std::string path_ = scratch_.Path("log");
  testing::ManualClock clock_;
};

TEST_F(NodeLogTest, WritesWhatItsLevelAllowsAndTheLevelMayChange) {
  auto log = Open(LogLevel::kWarn);
  log->Info("node", "one");
  log->Warn("node", "two");
  log->SetLevel(LogLevel::kDebug);
  EXPECT_EQ(log->level(), LogLevel::kDebug);
  log->Debug("node", "three");
  log->SetLevel(LogLevel::kOff);
  log->Error("node", "four");
  log.reset();
  const std::string text = Scratch::Read(path_);
  EXPECT_THAT(text, Not(HasSubstr("one")));
  EXPECT_THAT(text, HasSubstr("warn  node   two\n"));
  EXPECT_THAT(text, HasSubstr("debug node   three\n"));
  EXPECT_THAT(text, Not(HasSubstr("four")));
}

TEST_F(NodeLogTest, AppendsToWhatIsThere) {
  scratch_.Write("log", "earlier\n");
  Open()->Info("node", "later");
  EXPECT_THAT(Scratch::Read(path_), ::testing::StartsWith("earlier\n"));
  EXPECT_THAT(Scratch::Read(path_), HasSubstr("later"));
}

TEST_F(NodeLogTest, ReopensAFileThatWasRotatedAway) {
  auto log = Open();
  log->Info("node", "before");
  // The writer is another thread: what it wrote must be in the file before that is renamed.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (Scratch::Read(path_).empty() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  ASSERT_EQ(rename(path_.c_str(), scratch_.Path("log.1").c_str()), 0);
  ASSERT_TRUE(log->Reopen().ok());
  log->Info("node", "after");
  log.reset();
  EXPECT_THAT(Scratch::Read(scratch_.Path("log.1")), HasSubstr("before"));
  EXPECT_THAT(Scratch::Read(path_), HasSubstr("after"));
  EXPECT_THAT(Scratch::Read(path_), Not(HasSubstr("before")));
}

TEST_F(NodeLogTest, KeepsTheOldFileWhenTheNewOneCannotBeOpened) {
  ASSERT_EQ(mkdir(scratch_.Path("d").c_str(), 0700), 0);
  auto opened = NodeLog::Open(LogFormat::kText, LogLevel::kInfo, scratch_.Path("d/log"), clock_);
  ASSERT_TRUE(opened.ok());
  ASSERT_EQ(rename(scratch_.Path("d").c_str(), scratch_.Path("e").c_str()), 0);
  const absl::Status status = (*opened)->Reopen();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(scratch_.Path("d/log")));
  (*opened)->Info("node", "still here");
  opened->reset();
  EXPECT_THAT(Scratch::Read(scratch_.Path("e/log")), HasSubstr("still here"));
}

TEST_F(NodeLogTest, AFileThatCannotBeOpenedIsNamedWithTheRemedy) {
  const auto log = NodeLog::Open(LogFormat::kText, LogLevel::kInfo, "/no/such/dir/log", clock_);
  EXPECT_THAT(std::string(log.status().message()),
              ::testing::AllOf(HasSubstr("/no/such/dir/log"), HasSubstr("--log-file")));
}

TEST_F(NodeLogTest, AReaderThatStoppedHoldsUpNobodyAndTheLossIsTold) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  const int reader =
      open(path_.c_str(), O_RDWR | O_CLOEXEC);  // keeps the pipe open, and reads nothing for now
  ASSERT_GE(reader, 0);
  auto log = Open(LogLevel::kInfo, 16);
  // Far more than a pipe and the queue hold; would the caller wait for the reader, it would wait
  // for ever.
  for (int i = 0; i < 5000; ++i)
    log->Info("node", "a line that is long enough to fill a pipe soon", {{"i", absl::StrCat(i)}});
  std::string text;
  std::thread drain([&] {
    char chunk[65536];
    while (text.find("the last one") == std::string::npos) {
      const ssize_t got = read(reader, chunk, sizeof(chunk));
      if (got <= 0) return;
      text.append(chunk, static_cast<size_t>(got));
    }
  });
  log->Warn("node", "the last one");
  log.reset();
  drain.join();
  close(reader);
  EXPECT_THAT(text, HasSubstr("log lines were lost"));
  EXPECT_THAT(text, HasSubstr("the last one"));
}

}  // namespace
}  // namespace helo::node
