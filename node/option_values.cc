// Values from text, strictly: what is not understood whole is refused.
#include "node/option_values.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <array>
#include <optional>

#include "p2p/base/text.h"

namespace helo::node {
namespace {

struct Unit {
  std::string_view name;
  int64_t factor;
};
constexpr std::array<Unit, 5> kTimeUnits = {{{"d", int64_t{86'400'000'000'000}},
                                             {"h", int64_t{3'600'000'000'000}},
                                             {"m", int64_t{60'000'000'000}},
                                             {"s", int64_t{1'000'000'000}},
                                             {"ms", int64_t{1'000'000}}}};
constexpr std::array<Unit, 3> kByteUnits = {{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

template <typename T, typename Print>
absl::StatusOr<T> Within(std::string_view text, T value, T least, T most, Print print) {
  if (value >= least && value <= most) return value;
  return absl::InvalidArgumentError(
      absl::StrCat(Shown(text), " is out of range: from ", print(least), " to ", print(most)));
}

}  // namespace

std::string Shown(std::string_view text) {
  constexpr size_t kMost = 120;
  return absl::StrCat("\"", QuoteRemote(text.substr(0, kMost)), text.size() > kMost ? "..." : "",
                      "\"");
}

absl::StatusOr<Duration> ParseDuration(std::string_view text, Duration least, Duration most) {
  const std::optional<int64_t> nanoseconds = ReadDuration(text);
  if (!nanoseconds) {
    return absl::InvalidArgumentError(absl::StrCat(Shown(text),
                                                   " is not a time: write a number with its unit, "
                                                   "ms, s, m, h or d, as in 500ms, 5s or 1m30s"));
  }
  return Within(text, Duration(*nanoseconds), least, most, PrintDuration);
}

std::string PrintDuration(Duration value) {
  int64_t rest = value.count();
  if (rest % kTimeUnits.back().factor != 0)
    return absl::StrCat(static_cast<double>(rest) / 1e6, "ms");
  std::string out;
  for (const Unit& unit : kTimeUnits) {
    if (const int64_t n = rest / unit.factor; n != 0) absl::StrAppend(&out, n, ToAbsl(unit.name));
    rest %= unit.factor;
  }
  return out.empty() ? "0s" : out;
}

absl::StatusOr<int64_t> ParseCount(std::string_view text, int64_t least, int64_t most) {
  int64_t value = 0;
  const std::string_view digits = !text.empty() && text[0] == '-' ? text.substr(1) : text;
  const bool plain = !digits.empty() && std::all_of(digits.begin(), digits.end(), IsDigit);
  if (!plain) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(text), " is not a whole number: write one from ", least, " to ", most));
  }
  if (!absl::SimpleAtoi(ToAbsl(text), &value)) value = text[0] == '-' ? least - 1 : most + 1;
  return Within(text, value, least, most, [](int64_t n) { return absl::StrCat(n); });
}

absl::StatusOr<int64_t> ParseBytes(std::string_view text, int64_t least, int64_t most) {
  for (const Unit& unit : kByteUnits) {
    if (text.size() <= unit.name.size() || text.substr(text.size() - unit.name.size()) != unit.name)
      continue;
    const auto count =
        ParseCount(text.substr(0, text.size() - unit.name.size()), 0, most / unit.factor);
    if (!count.ok()) break;
    return Within(text, *count * unit.factor, least, most, PrintBytes);
  }
  const auto count = ParseCount(text, least, most);
  if (count.ok()) return count;
  return absl::InvalidArgumentError(absl::StrCat(Shown(text), " is not a number of bytes from ",
                                                 PrintBytes(least), " to ", PrintBytes(most),
                                                 ": write 65536, 64KiB or 1MiB"));
}

std::string PrintBytes(int64_t value) {
  for (const Unit& unit : kByteUnits) {
    if (value != 0 && value % unit.factor == 0)
      return absl::StrCat(value / unit.factor, ToAbsl(unit.name));
  }
  return absl::StrCat(value);
}

absl::StatusOr<size_t> ParseChoice(std::string_view text,
                                   const std::vector<std::string_view>& choices) {
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == text) return i;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      Shown(text),
      " is none of: ", absl::StrJoin(choices, ", ", [](std::string* out, std::string_view choice) {
        out->append(choice);
      })));
}

std::string_view Nearest(std::string_view text, const std::vector<std::string_view>& words) {
  std::string_view best;
  size_t least = std::min<size_t>(text.size() / 3, 3) + 1;
  for (const std::string_view word : words) {
    const size_t distance = EditDistance(text, word);
    if (distance < least) {
      least = distance;
      best = word;
    }
  }
  if (!best.empty() || text.size() < 3) return best;
  for (const std::string_view word : words) {
    if (word.substr(0, text.size()) == text) return word;
  }
  return best;
}

}  // namespace helo::node
