// Lines, quotes and comments of the config file.
#include "node/config_file.h"

#include <absl/status/statusor.h>
#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>

#include "node/option_values.h"
#include "p2p/base/atomic_file.h"
#include "p2p/base/text.h"

namespace helo::node {
namespace {

constexpr size_t kMaxFile = 1 << 20;

std::string_view Strip(std::string_view text) {
  return FromAbsl(absl::StripAsciiWhitespace(ToAbsl(text)));
}
bool IsBlank(char c) { return c == ' ' || c == '\t'; }

// `rest` stands behind the opening quote.
absl::StatusOr<std::string> Quoted(std::string_view rest) {
  std::string value;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '"') {
      const std::string_view tail = Strip(rest.substr(i + 1));
      if (tail.empty() || tail[0] == '#') return value;
      return absl::InvalidArgumentError(
          absl::StrCat("something stands behind the closing quote: ", Shown(tail)));
    }
    if (rest[i] == '\\') {
      ++i;
      if (i == rest.size() || (rest[i] != '"' && rest[i] != '\\')) {
        return absl::InvalidArgumentError(
            "a backslash in quotes stands before a quote or a backslash only: write \\\\");
      }
    }
    value.push_back(rest[i]);
  }
  return absl::InvalidArgumentError("the closing quote is missing");
}

absl::StatusOr<std::string> Value(std::string_view text) {
  if (!text.empty() && text[0] == '"') return Quoted(text.substr(1));
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '#' && (i == 0 || IsBlank(text[i - 1]))) {
      text = Strip(text.substr(0, i));
      break;
    }
  }
  if (text.empty())
    return absl::InvalidArgumentError("its value is missing; for an empty one write \"\"");
  return std::string(text);
}

// "gossip" of "[plugin gossip]", empty if the line is no such heading.
std::string_view SectionName(std::string_view line) {
  line = Strip(line);
  constexpr std::string_view kBegin = "[plugin ";
  if (line.substr(0, kBegin.size()) != kBegin || line.back() != ']') return {};
  return Strip(line.substr(kBegin.size(), line.size() - kBegin.size() - 1));
}

// The line at the front, without its end, which is taken from `text`.
std::string_view TakeLine(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

}  // namespace

std::optional<std::string> PluginSection(std::string_view text, std::string_view name) {
  std::optional<std::string> section;
  bool inside = false;
  while (!text.empty()) {
    const std::string_view line = TakeLine(text);
    if (const std::string_view heading = SectionName(line); !heading.empty()) {
      inside = heading == name;
      if (inside && !section) section.emplace();
    } else if (inside) {
      section->append(line);
      section->push_back('\n');
    }
  }
  return section;
}

std::vector<ConfigLine> ParseConfigText(std::string_view text, std::string_view path,
                                        std::vector<std::string>& errors) {
  std::vector<ConfigLine> lines;
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = Strip(TakeLine(text));
    if (line.empty() || line[0] == '#') continue;
    if (!SectionName(line).empty()) break;  // from here on, all is plugins'
    const std::string where = absl::StrCat(ToAbsl(path), ":", number);
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) {
      errors.push_back(absl::StrCat("line ", Shown(line), " at ", where,
                                    line[0] == '['
                                        ? " is a section, and the only ones are [plugin NAME]"
                                        : " is not of the form `name = value`"));
      continue;
    }
    std::string name(Strip(line.substr(0, equals)));
    auto value = Value(Strip(line.substr(equals + 1)));
    if (!value.ok()) {
      errors.push_back(
          absl::StrCat("option ", Shown(name), " at ", where, ": ", value.status().message()));
      continue;
    }
    lines.push_back({number, std::move(name), *std::move(value)});
  }
  return lines;
}

std::vector<ConfigLine> ReadConfigFile(const std::string& path, std::vector<std::string>& errors) {
  const auto text = ReadWholeFile(path, kMaxFile);
  if (!text.ok()) {
    errors.push_back(
        absl::StrCat("option --config: the file cannot be read: ", text.status().message()));
    return {};
  }
  return ParseConfigText(*text, path, errors);
}

}  // namespace helo::node
