#include "plugins/check/file_rules.h"

#include <absl/strings/str_cat.h>

#include <algorithm>

#include "p2p/base/text.h"
#include "plugins/host/file_check.h"

namespace helo::plugins {
namespace {

// "a, b, c and 4 more", quoted: a file may call its symbols anything.
std::string Some(const std::vector<std::string>& names) {
  constexpr size_t kMost = 4;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ", ", QuoteRemote(names[i].substr(0, 80)));
  }
  if (names.size() > kMost) absl::StrAppend(&text, " and ", names.size() - kMost, " more");
  return text;
}

// A sanitizer's runtime must be there from a program's start on.
bool ThisProgramHasOne() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#else
  return false;
#endif
}

}  // namespace

void Broken(RuleResult& result, std::string words) {
  result.state = RuleState::kBroken;
  result.found.push_back(std::move(words));
}
void Warn(RuleResult& result, std::string words) {
  if (result.state != RuleState::kBroken) result.state = RuleState::kWarning;
  result.found.push_back(std::move(words));
}

void JudgeName(const std::string& name, RuleResult& result) {
  if (IsPluginName(name)) return;
  Broken(result,
         absl::StrCat("\"", QuoteRemote(name),
                      "\" is no name that a node loads: it is [a-z][a-z0-9_-]*, at most 64, "
                      "and the file's is that with .so"));
}

void JudgePlace(const std::string& path, RuleResult& result) {
  if (const absl::Status status = CheckPath(path); !status.ok()) {
    Warn(result, absl::StrCat("a node of this user would not load it from here: ",
                              ToAbsl(QuoteRemote(FromAbsl(status.message())))));
  }
}

void JudgeNeeds(const ElfFacts& facts, const std::string& name, RuleResult& result) {
  if (ThisProgramHasOne()) return;
  for (const std::string& library : facts.needed) {
    for (const char* runtime : {"libasan", "libtsan", "libubsan", "liblsan"}) {
      if (library.rfind(runtime, 0) != 0) continue;
      Broken(result, absl::StrCat(name, ".so was built with a sanitizer (", QuoteRemote(library),
                                  ") and a node is not: run its tests with it, and check a build "
                                  "without"));
    }
  }
}

void JudgeExports(const ElfFacts& facts, RuleResult& result) {
  std::vector<std::string> others = facts.exports;
  others.erase(std::remove(others.begin(), others.end(), "helo_plugin_query"), others.end());
  if (!others.empty()) {
    Warn(result, absl::StrCat("it also exports ", Some(others),
                              ": another library's symbol of that name may be taken for it; build "
                              "with helo_add_plugin(), or hide them with -fvisibility=hidden and a "
                              "version script"));
  }
  if (!facts.unique.empty()) {
    Warn(result, absl::StrCat(Some(facts.unique), facts.unique.size() == 1 ? " is" : " are",
                              " GNU_UNIQUE, which keeps the library mapped for ever; build with "
                              "-fno-gnu-unique"));
  }
}

void JudgeProtobuf(const ElfFacts& facts, RuleResult& result) {
  const auto full = std::find_if(facts.needed.begin(), facts.needed.end(), [](const auto& library) {
    return library.rfind("libprotobuf.so", 0) == 0;
  });
  if (facts.generated_protobuf) {
    Warn(result,
         "it registers generated descriptors of .proto files: a second file of the same name in "
         "the process, another plugin's or a reloaded one's, ends the node; generate with "
         "option optimize_for = LITE_RUNTIME");
  } else if (full != facts.needed.end()) {
    Warn(result, absl::StrCat("it needs ", QuoteRemote(*full),
                              ", which the node has too and which keeps one registry for all; link "
                              "libprotobuf-lite and generate with optimize_for = LITE_RUNTIME"));
  }
}

}  // namespace helo::plugins
