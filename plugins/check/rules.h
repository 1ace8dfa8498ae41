// The rules, the lines of the headers that state them, and what tries each. Private to
// plugins/check.
#pragma once

#include <cstddef>
#include <string_view>

#include "plugins/check/header_text.h"
#include "plugins/check/tracer.h"

namespace helo::plugins {

struct Place {
  const char* header;
  int line;
};
// Where `quote` stands, which must be once. What is not there does not compile. By hand: g++ 12
// with UBSan takes no string_view::find for constant.
consteval Place Find(const char* header, std::string_view text, std::string_view quote) {
  int line = 1, found = 0;
  for (size_t at = 0; at + quote.size() <= text.size(); ++at) {
    size_t same = 0;
    while (same < quote.size() && text[at + same] == quote[same]) ++same;
    if (same == quote.size()) {
      if (found != 0) throw "the header says that twice";
      found = line;
    }
    line += text[at] == '\n' ? 1 : 0;
  }
  if (found == 0) throw "the header does not say that";
  return {header, found};
}
consteval Place PluginH(std::string_view quote) {
  return Find("helo/plugin.h", kPluginHeader, quote);
}
consteval Place ExtensionsH(std::string_view quote) {
  return Find("helo/extensions.h", kExtensionsHeader, quote);
}

struct Rule {
  const char* name;
  const char* says;
  Place place;
  void (*run)(Subject&);  // in a child; nullptr: what the file shows, see file_rules.h
};
extern const Rule kRules[];
extern const size_t kRuleCount;

}  // namespace helo::plugins
