// The plugin ABI does not move: the layout of every struct and the value of every constant, as C11
// and as C++20 see them, against the list that plugins out there were built with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "helo/extensions.h"
#include "helo/plugin.h"
#include "helo/reasons.h"
#include "tests/unit/plugins/layout_c.h"

namespace {

#define LAYOUT_STRUCT(type) {#type, 0, sizeof(type)},
#define LAYOUT_FIELD(type, field) \
  {#type "." #field, offsetof(type, field), sizeof(std::declval<type>().field)},
#define LAYOUT_CONSTANT(name) {#name, static_cast<size_t>(name), 0},
const layout_line kLayoutOfCpp[] = {
#include "tests/unit/plugins/layout_table.inc"
    {nullptr, 0, 0}};

constexpr char kWhatABreakMeans[] =
    "\nThis is the ABI of plugins that are already built. A changed offset, size or value makes "
    "the "
    "node read garbage from each of them, or crash. Put the old one back: a struct grows only at "
    "its "
    "end, a value is never given another meaning, and what does not fit there is a new extension "
    "id. "
    "A field appended at the end of a struct, or a new constant, is a new line in "
    "layout_lp64.golden "
    "(and HELO_ABI_MINOR + 1). If it must break, HELO_ABI_MAJOR + 1, and every plugin is rebuilt.";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> Print(const layout_line* line) {
  std::vector<std::string> out;
  for (; line->name != nullptr; ++line) {
    std::ostringstream text;
    const std::string name = line->name;
    if (line->size == 0) {
      text << name << " = " << line->offset;
    } else if (name.find('.') != std::string::npos) {
      text << "  " << name << " at " << line->offset << " size " << line->size;
    } else {
      text << name << " size " << line->size;
    }
    out.push_back(text.str());
  }
  return out;
}

TEST(Layout, IsWhatPluginsWereBuiltWith) {
  if (sizeof(void*) != 8 || sizeof(long) != 8) GTEST_SKIP() << "the list is of LP64 machines";
  std::vector<std::string> expected;
  std::istringstream golden(ReadFile(HELO_SOURCE_DIR "/tests/unit/plugins/layout_lp64.golden"));
  for (std::string line; std::getline(golden, line);) {
    if (!line.empty() && line[0] != '#') expected.push_back(line);
  }
  EXPECT_THAT(Print(kLayoutOfCpp), ::testing::ElementsAreArray(expected)) << kWhatABreakMeans;
}

TEST(Layout, IsTheSameInCAndInCpp) { EXPECT_EQ(Print(layout_of_c), Print(kLayoutOfCpp)); }

TEST(Layout, HasNoPaddingInWhichBytesOfNobodyTravel) {
  size_t end = 0, size = 0;
  std::string type;
  for (const layout_line* line = kLayoutOfCpp; line->name != nullptr; ++line) {
    const std::string name = line->name;
    if (const bool field = name.find('.') != std::string::npos; field) {
      EXPECT_EQ(line->offset, end)
          << "padding, or a field that is not in the table, before " << name;
      end = line->offset + line->size;
      continue;
    }
    EXPECT_TRUE(end == 0 || end == size)
        << type << " ends with padding, or with a field not listed";
    type = name, size = line->size, end = 0;
  }
}

// A struct or constant that somebody adds to a header is in the table, or this says so.
TEST(Layout, ListsAllThatTheHeadersDeclare) {
  std::set<std::string> listed;
  for (const layout_line* line = kLayoutOfCpp; line->name != nullptr; ++line) {
    listed.insert(line->name);
  }
  // A #define with a value, an enumerator, or a struct with a body.
  const std::regex declared(
      R"(#define (HELO_[A-Z_]+) +[(0-9]|\b(HELO_[A-Z_]+) = |struct (helo_[a-z_]+) \{)");
  int count = 0;
  for (const char* header : {"plugin.h", "extensions.h"}) {
    const std::string text =
        ReadFile(std::string(HELO_SOURCE_DIR "/plugins/sdk/include/helo/") + header);
    for (std::sregex_iterator it(text.begin(), text.end(), declared), end; it != end; ++it) {
      const std::string name = (*it)[1].str() + (*it)[2].str() + (*it)[3].str();
      EXPECT_TRUE(listed.count(name)) << name << " of " << header << " is not in layout_table.inc";
      ++count;
    }
  }
  EXPECT_GT(count, 25) << "the headers are not written as this test reads them";
}

TEST(Layout, HasSeesWhereAStructOfAnOlderHeaderEnds) {
  helo_descriptor old = {};
  old.get_extension = [](helo_plugin*, const char*) -> const void* { return nullptr; };
  old.struct_size = sizeof(old);
  EXPECT_TRUE(HELO_HAS(&old, helo_descriptor, get_extension));
  old.struct_size = offsetof(helo_descriptor, get_extension);
  EXPECT_FALSE(HELO_HAS(&old, helo_descriptor, get_extension)) << "garbage beyond its end";
  old.struct_size = sizeof(old);
  old.get_extension = nullptr;
  EXPECT_FALSE(HELO_HAS(&old, helo_descriptor, get_extension));
}

// helo/reasons.h is written from the node's table of reasons, and this holds it to that.
TEST(Reasons, OfTheHeaderAreThoseOfTheNode) {
  struct Row {
    int code;
    const char *label, *sentence;
  };
  const Row rows[] = {
#define HELO_REASON(code, enumerator, label, fault, retryable, sentence, ...) \
  {code, label, sentence},
#include "p2p/base/reasons.def"
#undef HELO_REASON
  };
  std::map<int, std::string> node, header;
  for (const Row& row : rows) node[row.code] = std::string(row.label) + ": " + row.sentence;
  const std::string text = ReadFile(HELO_SOURCE_DIR "/plugins/sdk/include/helo/reasons.h");
  const std::regex line(R"(HELO_REASON_([A-Z_]+)\s*=\s*(\d+),?\s*/\*\s*([^*]*[^*\s])\s*\*/)");
  for (std::sregex_iterator it(text.begin(), text.end(), line), end; it != end; ++it) {
    header[std::stoi((*it)[2])] = (*it)[1].str() + ": " + (*it)[3].str();
  }
  EXPECT_EQ(header, node) << "write helo/reasons.h from p2p/base/reasons.def anew";
  EXPECT_EQ(HELO_REASON_PLUGIN_GONE, 45);
}

}  // namespace
