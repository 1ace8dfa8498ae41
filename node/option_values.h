// How single values are written: durations, counts, choices. Each parser's error is the part of a
// sentence after "option x: ", saying what would be right.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/clock.h"

namespace helo::node {

// "5s", "500ms", "1m30s", "1.5h"; units ms, s, m, h, d. A unit is required, because "5" has been
// read as milliseconds before.
absl::StatusOr<Duration> ParseDuration(std::string_view text, Duration least, Duration most);
std::string PrintDuration(Duration value);  // parses to itself

absl::StatusOr<int64_t> ParseCount(std::string_view text, int64_t least, int64_t most);
// A count of bytes: "65536", "64KiB", "1MiB".
absl::StatusOr<int64_t> ParseBytes(std::string_view text, int64_t least, int64_t most);
std::string PrintBytes(int64_t value);

// The index in `choices`.
absl::StatusOr<size_t> ParseChoice(std::string_view text,
                                   const std::vector<std::string_view>& choices);

// Quoted for an error sentence, cut if very long.
std::string Shown(std::string_view text);
// The word of `words` that a person who typed `text` most likely meant; empty if none is near.
std::string_view Nearest(std::string_view text, const std::vector<std::string_view>& words);

}  // namespace helo::node
