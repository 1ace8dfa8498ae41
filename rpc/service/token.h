// The admin token: what a caller shows who is neither the node's own uid nor root. One line of text
// in a file that its owner alone may read. Thread: any.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>

#include "p2p/base/rng.h"

namespace helo::rpc {

// Reads the token, or makes one of 256 random bits (0600, written atomically) where there is no
// file. A file that others may read, that belongs to somebody else or that holds no token is
// refused with the remedy, never overwritten.
absl::StatusOr<std::string> LoadOrMakeToken(const std::string& path, Rng& rng);

// Takes the same time for every `shown` of one length, wherever it differs.
bool SameSecret(std::string_view shown, std::string_view secret);

// What follows "Bearer " (in any case), or nothing.
std::string_view BearerToken(std::string_view authorization);

}  // namespace helo::rpc
