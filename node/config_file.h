// The config file's lines: `name = value`. A value may stand in double quotes, where \" and \\ are
// a quote and a backslash; # begins a comment at the start of a line or after a blank outside
// quotes. No sections, no multi-line values. ConfigQuote (p2p/base/text.h) writes a value that way.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace helo::node {

struct ConfigLine {
  int number = 0;  // from 1
  std::string name;
  std::string value;
};

// Malformed lines become sentences in `errors`, with file and line; the others are returned.
std::vector<ConfigLine> ParseConfigText(std::string_view text, std::string_view path,
                                        std::vector<std::string>& errors);
std::vector<ConfigLine> ReadConfigFile(const std::string& path, std::vector<std::string>& errors);

}  // namespace helo::node
