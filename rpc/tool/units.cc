#include "rpc/tool/units.h"

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include <algorithm>
#include <ctime>
#include <optional>

#include "p2p/base/endpoint.h"
#include "p2p/base/text.h"

namespace helo::tool {
namespace {

constexpr Duration kLongest = std::chrono::hours(100 * 365 * 24);
constexpr size_t kMaxPeerText = 256;
constexpr size_t kLeastPrefix = 4;
constexpr size_t kIdDigits = 64;
constexpr size_t kShortId = 10;

absl::Status DurationError(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("'", QuoteRemote(text), "' is not a duration: ",
                                                 ToAbsl(why), ". Write it like 90s, 10m, 1h30m"));
}

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
  const bool bare = text.find_first_not_of("0123456789.") == std::string_view::npos;
  const std::optional<int64_t> nanoseconds =
      ReadDuration(absl::StrCat(ToAbsl(text), bare ? "s" : ""));
  if (!nanoseconds) {
    return DurationError(text, "a number with its unit is expected (ms, s, m, h or d)");
  }
  if (bare && !bare_seconds && *nanoseconds != 0) {
    return DurationError(text, "it has no unit (ms, s, m, h or d)");
  }
  if (Duration(*nanoseconds) > kLongest) return DurationError(text, "it is more than 100 years");
  return Duration(*nanoseconds);
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
