// Quoting, hex, errno sentences, figures for people and what they type.
#include "p2p/base/text.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

namespace helo {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Three significant digits: "3.14", "31.4", "314".
std::string ThreeDigits(double value) {
  if (value < 9.995) return absl::StrFormat("%.2f", value);
  if (value < 99.95) return absl::StrFormat("%.1f", value);
  return absl::StrFormat("%.0f", value);
}

struct TimeUnit {
  std::string_view name;
  double nanoseconds;
};
constexpr std::array<TimeUnit, 5> kTimeUnits = {
    {{"d", 86'400e9}, {"h", 3'600e9}, {"m", 60e9}, {"s", 1e9}, {"ms", 1e6}}};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsFigure(char c) { return IsDigit(c) || c == '.'; }
bool IsBlank(char c) { return c == ' ' || c == '\t'; }

// Cuts off the front of `text` what is, or is not, part of a figure.
std::string_view Cut(std::string_view& text, bool figure) {
  size_t n = 0;
  while (n < text.size() && IsFigure(text[n]) == figure) ++n;
  const std::string_view front = text.substr(0, n);
  text.remove_prefix(n);
  return front;
}

}  // namespace

std::string QuoteRemote(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x20 && byte <= 0x7e && c != '"' && c != '\'' && c != '\\') {
      out.push_back(c);
    } else {
      out.append("\\x");
      out.push_back(kHexDigits[byte >> 4]);
      out.push_back(kHexDigits[byte & 15]);
    }
  }
  return out;
}

std::string ErrnoName(int error) {
  const char* name = strerrorname_np(error);
  return name != nullptr && error != 0 ? std::string(name) : absl::StrCat("errno ", error);
}

std::string ErrnoSentence(int error, std::string_view doing) {
  const char* text = strerrordesc_np(error);
  std::string words = text != nullptr ? text : "unknown error";
  // "Too many open files" goes on in the middle of a sentence; "RFS specific error" stays as it is.
  if (words.size() > 1 && std::islower(static_cast<unsigned char>(words[1])) != 0) {
    words[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(words[0])));
  }
  return absl::StrCat(ToAbsl(doing), ": ", words, " (", ErrnoName(error), ")");
}

absl::Status ErrnoStatus(int error, std::string_view doing) {
  const absl::StatusCode code =
      error == 0 ? absl::StatusCode::kInternal : absl::ErrnoToStatusCode(error);
  return absl::Status(code, ErrnoSentence(error, doing));
}

bool IsHex(std::string_view text) {
  for (const char c : text) {
    if (HexValue(c) < 0) return false;
  }
  return !text.empty();
}

std::string ToHex(ByteView bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    out.push_back(kHexDigits[byte >> 4]);
    out.push_back(kHexDigits[byte & 15]);
  }
  return out;
}

bool FromHex(std::string_view hex, Bytes& out) {
  if (hex.size() % 2 != 0) return false;
  out.clear();
  out.reserve(hex.size() / 2);
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = HexValue(hex[i]);
    const int low = HexValue(hex[i + 1]);
    if (high < 0 || low < 0) return false;
    out.push_back(static_cast<uint8_t>(high << 4 | low));
  }
  return true;
}

std::string HumanBytes(uint64_t bytes) {
  if (bytes < 1000) return absl::StrCat(bytes, " B");
  constexpr const char* kUnits[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  return value < 99.95 ? absl::StrFormat("%.1f %s", value, kUnits[unit])
                       : absl::StrFormat("%.0f %s", value, kUnits[unit]);
}

std::string HumanDuration(int64_t nanoseconds) {
  if (nanoseconds < 0) {
    const uint64_t magnitude = uint64_t{0} - static_cast<uint64_t>(nanoseconds);
    return "-" + HumanDuration(static_cast<int64_t>(std::min(magnitude, uint64_t{INT64_MAX})));
  }
  const auto ns = static_cast<double>(nanoseconds);
  if (nanoseconds < 1000) return absl::StrCat(nanoseconds, " ns");
  if (ns < 99.95e3) return absl::StrCat(ThreeDigits(ns / 1e3), " us");
  if (ns < 999.5e6) return absl::StrCat(ThreeDigits(ns / 1e6), " ms");
  if (ns < 59.95e9) return absl::StrCat(ThreeDigits(ns / 1e9), " s");
  const int64_t seconds = (nanoseconds / 1'000'000 + 500) / 1000;
  const int64_t minutes = seconds / 60;
  const int64_t hours = minutes / 60;
  if (hours == 0) return absl::StrCat(minutes, " m ", seconds % 60, " s");
  if (hours < 24) return absl::StrCat(hours, " h ", minutes % 60, " m");
  return absl::StrCat(hours / 24, " d ", hours % 24, " h");
}

std::optional<int64_t> ReadDuration(std::string_view text) {
  double total = 0;
  const auto* unit = kTimeUnits.begin();
  do {
    const std::string_view figure = Cut(text, true);
    const std::string_view name = Cut(text, false);
    double value = 0;
    if (figure.empty() || !IsDigit(figure.front()) || !IsDigit(figure.back()) ||
        !absl::SimpleAtod(ToAbsl(figure), &value)) {
      return std::nullopt;
    }
    unit = std::find_if(unit, kTimeUnits.end(), [&](const TimeUnit& u) { return u.name == name; });
    if (unit == kTimeUnits.end()) return std::nullopt;
    total += value * unit++->nanoseconds;
  } while (!text.empty());
  return static_cast<int64_t>(std::min(total, 9e18) + 0.5);
}

std::string ConfigQuote(std::string_view value) {
  bool plain =
      !value.empty() && value[0] != '"' && !IsBlank(value.front()) && !IsBlank(value.back());
  for (size_t i = 0; i < value.size(); ++i) {
    plain = plain && !(value[i] == '#' && (i == 0 || IsBlank(value[i - 1])));
  }
  if (plain) return std::string(value);
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out + "\"";
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

}  // namespace helo
