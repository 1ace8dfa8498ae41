// Node ids to text and back.
#include "p2p/base/node_id.h"

#include <algorithm>

#include "p2p/base/text.h"

namespace helo {

std::string NodeId::ToHex() const { return helo::ToHex(ByteView(bytes.data(), bytes.size())); }

std::string NodeId::Short() const { return helo::ToHex(ByteView(bytes.data(), 5)); }

std::optional<NodeId> NodeId::FromHex(std::string_view hex) {
  Bytes raw;
  if (hex.size() != 2 * kSize || !helo::FromHex(hex, raw)) return std::nullopt;
  NodeId id;
  std::copy(raw.begin(), raw.end(), id.bytes.begin());
  return id;
}

}  // namespace helo
