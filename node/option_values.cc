// Values from text, strictly: what is not understood whole is refused.
#include "node/option_values.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <array>
#include <numeric>

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

// Cuts the characters that satisfy `is` off the front of `text`.
template <typename Is>
std::string_view TakeWhile(std::string_view& text, Is is) {
  size_t n = 0;
  while (n < text.size() && is(text[n])) ++n;
  const std::string_view taken = text.substr(0, n);
  text.remove_prefix(n);
  return taken;
}

template <typename T, typename Print>
absl::StatusOr<T> Within(std::string_view text, T value, T least, T most, Print print) {
  if (value >= least && value <= most) return value;
  return absl::InvalidArgumentError(
      absl::StrCat(Shown(text), " is out of range: from ", print(least), " to ", print(most)));
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string Shown(std::string_view text) {
  constexpr size_t kMost = 120;
  return absl::StrCat("\"", QuoteRemote(text.substr(0, kMost)), text.size() > kMost ? "..." : "",
                      "\"");
}

absl::StatusOr<Duration> ParseDuration(std::string_view text, Duration least, Duration most) {
  const auto refuse = [&] {
    return absl::InvalidArgumentError(absl::StrCat(Shown(text),
                                                   " is not a time: write a number with its unit, "
                                                   "ms, s, m, h or d, as in 500ms, 5s or 1m30s"));
  };
  std::string_view rest = text;
  double total = 0;
  size_t next_unit = 0;  // units go down: "1m30s", not "30s1m"
  do {
    const std::string_view figure = TakeWhile(rest, [](char c) { return IsDigit(c) || c == '.'; });
    const std::string_view name = TakeWhile(rest, [](char c) { return !IsDigit(c) && c != '.'; });
    double value = 0;
    if (figure.empty() || !IsDigit(figure.front()) || !IsDigit(figure.back()) ||
        !absl::SimpleAtod(ToAbsl(figure), &value)) {
      return refuse();
    }
    const auto* const unit = std::find_if(kTimeUnits.begin() + next_unit, kTimeUnits.end(),
                                          [&](const Unit& u) { return u.name == name; });
    if (unit == kTimeUnits.end()) return refuse();
    next_unit = static_cast<size_t>(unit - kTimeUnits.begin()) + 1;
    total += value * static_cast<double>(unit->factor);
  } while (!rest.empty());
  total = std::min(total, 9e18);  // 285 years, which int64_t still holds
  return Within(text, Duration(static_cast<int64_t>(total + 0.5)), least, most, PrintDuration);
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
