#include "rpc/service/resolve_id.h"

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "p2p/base/text.h"

namespace helo::rpc {
namespace {

constexpr size_t kIdDigits = NodeId::kSize * 2;
constexpr size_t kMostNamed = 8;

// The lowest id that begins with these digits.
NodeId LowestWith(std::string_view prefix) {
  std::string digits(prefix);
  digits.resize(kIdDigits, '0');
  return *NodeId::FromHex(digits);
}

bool BeginsWith(const NodeId& id, std::string_view prefix) {
  for (size_t i = 0; i < prefix.size(); ++i) {
    const int nibble = i % 2 == 0 ? id.bytes[i / 2] >> 4 : id.bytes[i / 2] & 15;
    if ("0123456789abcdef"[nibble] != prefix[i]) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::string> CheckIdPrefix(std::string_view text) {
  if (text.size() < kLeastIdDigits || text.size() > kIdDigits || !IsHex(text)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", QuoteRemote(text.substr(0, 2 * kIdDigits)), "\" is not an id: give ",
                     kLeastIdDigits, " to ", kIdDigits, " hex digits, as helo peers shows them"));
  }
  return absl::AsciiStrToLower(ToAbsl(text));
}

std::vector<NodeId> FindIds(std::string_view prefix, const ServerSnapshot& snapshot) {
  std::vector<NodeId> found;
  const NodeId lowest = LowestWith(prefix);
  auto peer = std::lower_bound(snapshot.peers.begin(), snapshot.peers.end(), lowest,
                               [](const PeerSnapshot& p, const NodeId& id) { return p.id < id; });
  for (; peer != snapshot.peers.end() && BeginsWith(peer->id, prefix); ++peer) {
    if (found.empty() || found.back() != peer->id) found.push_back(peer->id);
  }
  for (const peers::Target& target : snapshot.targets) {
    for (const std::optional<NodeId>& id : {target.known_id, target.address.id}) {
      if (id && BeginsWith(*id, prefix)) found.push_back(*id);
    }
  }
  for (const auto& [id, ban] : snapshot.away) {
    if (BeginsWith(id, prefix)) found.push_back(id);
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

absl::StatusOr<NodeId> ChooseId(std::string_view prefix, const std::vector<NodeId>& candidates) {
  if (candidates.size() == 1) return candidates.front();
  if (candidates.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no id that begins with ", ToAbsl(prefix),
                     " is known to this node; helo peers and helo info show those that are"));
  }
  std::string names;
  for (size_t i = 0; i < candidates.size() && i < kMostNamed; ++i) {
    // As many digits as it takes to tell it from its neighbours, and never fewer than people are
    // used to.
    const std::string hex = candidates[i].ToHex();
    size_t digits = std::max(candidates[i].Short().size(), prefix.size());
    for (const size_t other : {i - 1, i + 1}) {
      if (other >= candidates.size()) continue;
      const std::string neighbour = candidates[other].ToHex();
      const auto differ = std::mismatch(hex.begin(), hex.end(), neighbour.begin());
      digits = std::max(digits, static_cast<size_t>(differ.first - hex.begin()) + 1);
    }
    absl::StrAppend(&names, i == 0 ? "" : ", ", hex.substr(0, digits));
  }
  if (candidates.size() > kMostNamed) {
    absl::StrAppend(&names, " and ", candidates.size() - kMostNamed, " more");
  }
  return absl::FailedPreconditionError(
      absl::StrCat("id ", ToAbsl(prefix), " is ambiguous: it fits ", names, "; give more digits"));
}

absl::StatusOr<NodeId> ResolveId(std::string_view text, const ServerSnapshot& snapshot) {
  absl::StatusOr<std::string> prefix = CheckIdPrefix(text);
  if (!prefix.ok()) return prefix.status();
  if (prefix->size() == kIdDigits) return *NodeId::FromHex(*prefix);
  return ChooseId(*prefix, FindIds(*prefix, snapshot));
}

}  // namespace helo::rpc
