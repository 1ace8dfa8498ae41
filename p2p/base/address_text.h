// How address text is cut up; shared by endpoint.cc and address.cc, of no use elsewhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace helo {

// Digits without sign and without leading zeros, at most `max`.
std::optional<uint32_t> ParsePlainDecimal(std::string_view text, uint32_t max);

struct HostAndPort {
  std::string_view host;  // without brackets
  std::string_view port;
  bool bracketed = false;
};
// At "]:" or at the last colon; nullopt where there is none. Judges neither half.
std::optional<HostAndPort> SplitHostPort(std::string_view text);

}  // namespace helo
