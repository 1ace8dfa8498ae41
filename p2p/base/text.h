// Text at the edges: quoting what a remote sent, sentences for errno, what people type, and the
// bridge between std::string_view and Debian's absl::string_view, which are different types there.
#pragma once

#include <absl/status/status.h>
#include <absl/strings/string_view.h>

#include <optional>
#include <string>
#include <string_view>

#include "p2p/base/bytes.h"

namespace helo {

inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view FromAbsl(absl::string_view text) { return {text.data(), text.size()}; }

// The one way out for bytes that a remote chose: printable ASCII stays, quotes, backslash and
// everything else is escaped as \xHH, so the result holds no terminal control, no newline and no
// invalid UTF-8. Not put in quotes.
std::string QuoteRemote(std::string_view bytes);

// "accept4 0.0.0.0:4356: too many open files (EMFILE)". `doing` names the call and its object.
std::string ErrnoSentence(int error, std::string_view doing);
absl::Status ErrnoStatus(int error, std::string_view doing);
// "EMFILE"; "errno 4242" if it has no name.
std::string ErrnoName(int error);

bool IsHex(std::string_view text);
std::string ToHex(ByteView bytes);  // lower case
// False (and `out` unspecified) unless `hex` is an even number of hex digits.
bool FromHex(std::string_view hex, Bytes& out);

// "1.5 kB", "3 m 12 s", "0.31 ms": for people, never parsed.
std::string HumanBytes(uint64_t bytes);
std::string HumanDuration(int64_t nanoseconds);

// "500ms", "1m30s", "1.5h" in nanoseconds: units ms, s, m, h and d, each at most once, the largest
// first. nullopt if it is not written like that; cut at 285 years.
std::optional<int64_t> ReadDuration(std::string_view text);
// `value` as it must stand in a config file to be read as itself.
std::string ConfigQuote(std::string_view value);
// How many letters to change, add or take away.
size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace helo
