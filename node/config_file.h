// The config file's lines: `name = value`. A value may stand in double quotes, where \" and \\ are
// a quote and a backslash; # begins a comment at the start of a line or after a blank outside
// quotes. No multi-line values. ConfigQuote (p2p/base/text.h) writes a value that way. The options
// may be followed by sections, `[plugin NAME]` and the lines below it: those are the plugin's, in
// whatever form it wants, up to the next such line.
#pragma once

#include <optional>
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
// The lines of [plugin NAME] as they stand there; nullopt if there is no such section.
std::optional<std::string> PluginSection(std::string_view text, std::string_view name);

}  // namespace helo::node
