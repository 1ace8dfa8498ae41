// What people type and read: durations, ids, places in the event stream, points in time.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/clock.h"

namespace helo::tool {

// "90s", "10m", "1h30m", "1.5h", "500ms", "2d", "0". A number without a unit is refused, since it
// could be either seconds or minutes, unless `bare_seconds`.
absl::StatusOr<Duration> ParseDuration(std::string_view text, bool bare_seconds = false);

// "BOOT:SEQ", as helo watch prints it.
struct EventPosition {
  uint64_t boot = 0;
  uint64_t sequence = 0;
};
absl::StatusOr<EventPosition> ParseEventPosition(std::string_view text);

// 4 to 64 hex digits, given back in lower case.
absl::StatusOr<std::string> ParseIdPrefix(std::string_view text);

// At most 256 visible ASCII characters (WIRE 4), since the peer drops anything else.
absl::Status CheckPeerText(std::string_view text);

// How many leading digits tell these ids apart: at least 10, so that they look the same from day to
// day.
size_t ShortIdLength(const std::vector<std::string>& ids);

// "helo://ID@host:port" in two; the id is empty if none is named. What is no such address comes
// back whole.
struct SplitAddress {
  std::string id;
  std::string host_port;
};
SplitAddress SplitPeerAddress(const std::string& address);

// For columns: HumanDuration and HumanBytes without blanks, "3m12s", "1.5kB".
std::string CompactDuration(Duration duration);
std::string CompactBytes(uint64_t bytes);

// Local time: "14:02:11" if it was today, else "2024-05-03 14:02:11". With `precise`, milliseconds
// too.
std::string FormatTime(int64_t unix_us, int64_t now_unix_us, bool precise = false);

}  // namespace helo::tool
