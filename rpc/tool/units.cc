#include "rpc/tool/units.h"

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include "p2p/base/endpoint.h"
#include "p2p/base/text.h"

namespace helo::tool {
namespace {

constexpr double kLongestSeconds = 100.0 * 365 * 86400;  // well inside what a Duration holds
constexpr size_t kMaxPeerText = 256;
constexpr size_t kLeastPrefix = 4;
constexpr size_t kIdDigits = 64;
constexpr size_t kShortId = 10;

struct Unit {
  std::string_view name;
  double seconds;
};
constexpr std::array<Unit, 5> kUnits = {
    {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}};

absl::Status DurationError(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("'", QuoteRemote(text), "' is not a duration: ",
                                                 ToAbsl(why), ". Write it like 90s, 10m, 1h30m"));
}

bool IsNumberPart(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '.'; }

std::tm LocalTime(int64_t unix_us) {
  const auto seconds = static_cast<std::time_t>(unix_us / 1'000'000);
  std::tm local{};
  localtime_r(&seconds, &local);
  return local;
}

std::string WithoutBlanks(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text;
}

}  // namespace

absl::StatusOr<Duration> ParseDuration(std::string_view text, bool bare_seconds) {
  if (text.empty()) return DurationError(text, "it is empty");
  double seconds = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t digits = static_cast<size_t>(
        std::find_if_not(rest.begin(), rest.end(), IsNumberPart) - rest.begin());
    double number = 0;
    if (digits == 0 || !absl::SimpleAtod(ToAbsl(rest.substr(0, digits)), &number)) {
      return DurationError(text, "a number is expected");
    }
    const bool whole = digits == text.size();
    rest.remove_prefix(digits);
    const size_t letters =
        static_cast<size_t>(std::find_if(rest.begin(), rest.end(), IsNumberPart) - rest.begin());
    const std::string_view name = rest.substr(0, letters);
    rest.remove_prefix(letters);
    if (whole && (number == 0 || bare_seconds)) {
      seconds = number;
      break;
    }
    if (name.empty()) return DurationError(text, "it has no unit (ms, s, m, h or d)");
    const auto* unit = std::find_if(kUnits.begin(), kUnits.end(),
                                    [name](const Unit& u) { return u.name == name; });
    if (unit == kUnits.end()) return DurationError(text, "the units are ms, s, m, h and d");
    seconds += number * unit->seconds;
  }
  if (seconds > kLongestSeconds) return DurationError(text, "it is more than 100 years");
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

absl::StatusOr<EventPosition> ParseEventPosition(std::string_view text) {
  EventPosition position;
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos ||
      !absl::SimpleAtoi(ToAbsl(text.substr(0, colon)), &position.boot) ||
      !absl::SimpleAtoi(ToAbsl(text.substr(colon + 1)), &position.sequence) || position.boot == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", QuoteRemote(text), "' is not a place in the event stream: write BOOT:SEQ, ",
        "two numbers, as helo watch prints them when it ends"));
  }
  return position;
}

absl::StatusOr<std::string> ParseIdPrefix(std::string_view text) {
  if (!IsHex(text) || text.size() < kLeastPrefix || text.size() > kIdDigits) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", QuoteRemote(text), "' is not a node id: write ", kLeastPrefix, " to ",
                     kIdDigits, " hex digits, the beginning of an id from helo peers"));
  }
  return absl::AsciiStrToLower(ToAbsl(text));
}

absl::Status CheckPeerText(std::string_view text) {
  const bool visible =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
  if (!visible || text.size() > kMaxPeerText) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text for the peer must be at most ", kMaxPeerText,
                     " visible ASCII characters: the protocol carries nothing else"));
  }
  return absl::OkStatus();
}

size_t ShortIdLength(const std::vector<std::string>& ids) {
  std::vector<std::string_view> sorted(ids.begin(), ids.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  size_t length = kShortId;
  for (size_t i = 1; i < sorted.size(); ++i) {
    const auto [end, unused] = std::mismatch(sorted[i - 1].begin(), sorted[i - 1].end(),
                                             sorted[i].begin(), sorted[i].end());
    length = std::max(length, static_cast<size_t>(end - sorted[i - 1].begin()) + 1);
  }
  return length;
}

SplitAddress SplitPeerAddress(const std::string& address) {
  const absl::StatusOr<PeerAddress> parsed = PeerAddress::Parse(address);
  if (!parsed.ok()) return {"", address};
  return {parsed->id ? parsed->id->ToHex() : "", parsed->HostPort()};
}

std::string CompactDuration(Duration duration) {
  return WithoutBlanks(HumanDuration(duration.count()));
}

std::string CompactBytes(uint64_t bytes) { return WithoutBlanks(HumanBytes(bytes)); }

std::string FormatTime(int64_t unix_us, int64_t now_unix_us, bool precise) {
  if (unix_us <= 0) return "-";
  const std::tm then = LocalTime(unix_us);
  const std::tm now = LocalTime(now_unix_us);
  std::string out;
  if (then.tm_year != now.tm_year || then.tm_yday != now.tm_yday) {
    out = absl::StrFormat("%04d-%02d-%02d ", then.tm_year + 1900, then.tm_mon + 1, then.tm_mday);
  }
  absl::StrAppendFormat(&out, "%02d:%02d:%02d", then.tm_hour, then.tm_min, then.tm_sec);
  if (precise) absl::StrAppendFormat(&out, ".%03d", unix_us / 1000 % 1000);
  return out;
}

}  // namespace helo::tool
