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
// Where `quote` stands, which must be once. What is not there does not compile.
consteval Place Find(const char* header, std::string_view text, std::string_view quote) {
  const size_t at = text.find(quote);
  if (at == std::string_view::npos) throw "the header does not say that";
  if (text.find(quote, at + 1) != std::string_view::npos) throw "the header says that twice";
  int line = 1;
  for (size_t i = 0; i < at; ++i) line += text[i] == '\n' ? 1 : 0;
  return {header, line};
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
