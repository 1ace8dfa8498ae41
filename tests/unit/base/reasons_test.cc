// The table of reasons against the list of codes that the world may already know, and against WIRE
// 9's groups.
#include "p2p/base/reasons.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace helo {
namespace {

TEST(Reasons, NoCodeThatWasEverGivenOutChangesItsMeaning) {
  std::ifstream golden(HELO_REASONS_GOLDEN);
  ASSERT_TRUE(golden.is_open()) << HELO_REASONS_GOLDEN;
  std::vector<std::string> expected;
  for (std::string line; std::getline(golden, line);) {
    if (!line.empty() && line[0] != '#') expected.push_back(line);
  }
  std::vector<std::string> actual;
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    std::ostringstream line;
    line << static_cast<int>(info->reason) << ' ' << info->label << ' ' << FaultLabel(info->fault);
    actual.push_back(line.str());
  }
  EXPECT_THAT(actual, ::testing::ElementsAreArray(expected))
      << "a new reason needs a new line in reasons.golden; an old line must stay as it is";
}

TEST(Reasons, EveryOneTellsWhatHappenedWhyAndWhatToDo) {
  std::set<std::string_view> labels;
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    EXPECT_TRUE(labels.insert(info->label).second) << info->label << " twice";
    EXPECT_THAT(std::string(info->sentence), ::testing::EndsWith(".")) << info->label;
    EXPECT_THAT(std::string(info->cause), ::testing::EndsWith(".")) << info->label;
    EXPECT_FALSE(info->remedy.empty()) << info->label;
  }
}

TEST(Reasons, OnlyTheSevenFaultsOfTheRemoteAreEverScored) {
  std::vector<int> scored;
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    if (info->fault == Fault::kRemoteFault) scored.push_back(static_cast<int>(info->reason));
  }
  EXPECT_THAT(scored, ::testing::ElementsAre(30, 31, 32, 33, 34, 35, 36));
}

TEST(Reasons, AreFoundByCodeAndByLabelInAnyCase) {
  ASSERT_NE(FindReason(1u), nullptr);
  EXPECT_EQ(FindReason(1u)->reason, Reason::kFull);
  ASSERT_NE(FindReason("wrong_network"), nullptr);
  EXPECT_EQ(FindReason("wrong_network")->reason, Reason::kWrongNetwork);
  EXPECT_EQ(FindReason("Wrong_Network"), FindReason(10u));
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    EXPECT_EQ(FindReason(static_cast<uint32_t>(info->reason)), info);
    EXPECT_EQ(FindReason(info->label), info);
    EXPECT_EQ(Label(info->reason), info->label);
  }
  EXPECT_EQ(FindReason(9u), nullptr);
  EXPECT_EQ(FindReason(UINT32_MAX), nullptr);
  EXPECT_EQ(FindReason(65536u + 1), nullptr) << "a code is not cut to 16 bits";
  EXPECT_EQ(FindReason(""), nullptr);
}

TEST(Reasons, ACodeThatThisVersionDoesNotKnowIsShownAsANumber) {
  EXPECT_EQ(CodeToString(1), "FULL");
  EXPECT_EQ(CodeToString(57), "code 57");
  EXPECT_EQ(CodeToString(UINT32_MAX), "code 4294967295");
}

TEST(Reasons, StagesDecidersAndDirectionsHaveTheWordsOfTheDesign) {
  EXPECT_EQ(ToString(Stage::kGate), "gate");
  EXPECT_EQ(ToString(Stage::kUp), "up");
  EXPECT_EQ(ToString(Decider::kUs), "us");
  EXPECT_EQ(ToString(Decider::kThem), "them");
  EXPECT_EQ(ToString(Decider::kNetwork), "network");
  EXPECT_EQ(ToString(Direction::kInbound), "in");
  EXPECT_EQ(ToString(Direction::kOutbound), "out");
}

}  // namespace
}  // namespace helo
