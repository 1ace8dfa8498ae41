// What a person types for an id: all 64 hex digits, or a prefix of at least four that only one id
// known to this node has. Thread: any.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/node_id.h"
#include "p2p/server/snapshot.h"

namespace helo::rpc {

inline constexpr size_t kLeastIdDigits = 4;

// Lower case; InvalidArgument unless 4 to 64 hex digits.
absl::StatusOr<std::string> CheckIdPrefix(std::string_view text);

// The different ids among peers, targets and those kept away that begin with `prefix` (as
// CheckIdPrefix gives it), in ascending order.
std::vector<NodeId> FindIds(std::string_view prefix, const ServerSnapshot& snapshot);

// All 64 digits name their id whether it is known or not. Else NotFound or FailedPrecondition
// ("ambiguous", with the candidates).
absl::StatusOr<NodeId> ResolveId(std::string_view text, const ServerSnapshot& snapshot);
absl::StatusOr<NodeId> ChooseId(std::string_view prefix, const std::vector<NodeId>& candidates);

}  // namespace helo::rpc
