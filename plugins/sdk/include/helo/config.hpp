// helo/config.hpp: a plugin's settings, lines of `name = value`, as in the node's own file: a value
// may stand in double quotes, where \" and \\ are a quote and a backslash; # begins a comment at
// the start of a line or after a blank outside quotes. What is wrong is thrown as a ConfigError, a
// sentence for the operator: let it leave the plugin's constructor.
//
//   helo::Config config(text);
//   limit_ = config.Number("limit", /*otherwise=*/100, /*least=*/1, /*most=*/1000);
//   config.RejectOthers();
#ifndef HELO_CONFIG_HPP_
#define HELO_CONFIG_HPP_

#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "helo/bytes.hpp"

namespace helo {
inline namespace sdk {

class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Config {
 public:
  explicit Config(std::string_view text) {
    size_t number = 0;
    while (!text.empty()) {
      const size_t end = text.find('\n');
      ReadLine(text.substr(0, end), ++number);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
  }

  // nullopt: not set. A name that is asked for is a name that there is (RejectOthers).
  std::optional<std::string> Text(std::string_view name) {
    known_.emplace(name);
    const auto it = lines_.find(name);
    if (it == lines_.end()) return std::nullopt;
    return it->second.value;
  }
  uint64_t Number(std::string_view name, uint64_t otherwise, uint64_t least = 0,
                  uint64_t most = UINT64_MAX) {
    const std::optional<std::string> text = Text(name);
    if (!text) return otherwise;
    uint64_t value = 0;
    const char* const end = text->data() + text->size();
    const auto [stopped, error] = std::from_chars(text->data(), end, value);
    if (error != std::errc() || stopped != end || value < least || value > most) {
      Refuse(name, "a number from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return value;
  }
  bool Flag(std::string_view name, bool otherwise) {
    const std::optional<std::string> text = Text(name);
    if (!text) return otherwise;
    if (*text != "true" && *text != "false") Refuse(name, "true or false");
    return *text == "true";
  }
  // Exactly `size` bytes, as hex digits; empty if not set.
  std::vector<uint8_t> HexBytes(std::string_view name, size_t size) {
    const std::optional<std::string> text = Text(name);
    if (!text) return {};
    std::optional<std::vector<uint8_t>> bytes = Unhex(*text);
    if (!bytes || bytes->size() != size) Refuse(name, std::to_string(2 * size) + " hex digits");
    return *std::move(bytes);
  }
  // Throws if there is a line whose name nobody has asked for: a typing error, most likely.
  void RejectOthers() const {
    for (const auto& [name, line] : lines_) {
      if (known_.count(name) != 0) continue;
      std::string names;
      for (const std::string& known : known_) names += (names.empty() ? "" : ", ") + known;
      Throw(line.number, "there is no setting " + Quote(name) +
                             (names.empty() ? "; there are none" : "; there are: " + names));
    }
  }

 private:
  struct Line {
    std::string value;
    size_t number;
  };

  static bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
  static std::string_view Trim(std::string_view text) {
    while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
    while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
    return text;
  }
  [[noreturn]] static void Throw(size_t line, const std::string& why) {
    throw ConfigError("line " + std::to_string(line) + " of its configuration: " + why);
  }
  [[noreturn]] void Refuse(std::string_view name, const std::string& wanted) const {
    const Line& line = lines_.find(name)->second;
    Throw(line.number, std::string(name) + " is " + Quote(line.value) + "; it must be " + wanted);
  }

  void ReadLine(std::string_view line, size_t number) {
    line = Trim(line);
    if (line.empty() || line[0] == '#') return;
    const size_t equals = line.find('=');
    const std::string_view name = Trim(line.substr(0, equals));
    if (equals == std::string_view::npos || name.empty()) {
      Throw(number, Quote(line) + " is not of the form name = value");
    }
    const std::string value = Value(Trim(line.substr(equals + 1)), number);
    if (!lines_.try_emplace(std::string(name), Line{value, number}).second) {
      Throw(number, Quote(name) + " is set twice");
    }
  }
  static std::string Value(std::string_view text, size_t number) {
    std::string out;
    if (!text.empty() && text[0] == '"') {
      for (size_t i = 1; i < text.size(); ++i) {
        if (text[i] == '"') {
          const std::string_view after = Trim(text.substr(i + 1));
          if (!after.empty() && after[0] != '#') Throw(number, "something stands after the quotes");
          return out;
        }
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        out.push_back(text[i]);
      }
      Throw(number, "the quotes are not closed");
    }
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '#' && (i == 0 || IsBlank(text[i - 1])))
        return std::string(Trim(text.substr(0, i)));
    }
    return std::string(text);
  }

  std::map<std::string, Line, std::less<>> lines_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace sdk
}  // namespace helo

#endif
