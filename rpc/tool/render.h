// What people see of a node's answers. Messages arrive quoted (rpc/client/quote.h). Pure: text from
// values.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/tool/table.h"

namespace helo::admin::v1 {
class AddPeerResponse;
class Attempt;
class Close;
class Event;
class ListFdsResponse;
class ListPluginsResponse;
class ListSocketsResponse;
class Node;
class Peer;
class Plugin;
}  // namespace helo::admin::v1

namespace helo::tool {

// How to print, and what time it is.
struct View {
  Style style;
  int64_t now_unix_us = 0;
  bool wide = false;
};

std::string RenderNode(const admin::v1::Node& node, const View& view);
std::string RenderFds(const admin::v1::ListFdsResponse& all, const View& view);
std::string RenderSockets(const admin::v1::ListSocketsResponse& all, const View& view);
std::string RenderPlugins(const admin::v1::ListPluginsResponse& all, const View& view);
std::string RenderPlugin(const admin::v1::Plugin& plugin, const View& view);
std::string RenderPeers(const std::vector<admin::v1::Peer>& peers, const View& view);
std::string RenderPeer(const admin::v1::Peer& peer, const View& view);
std::string RenderAttempts(const std::vector<admin::v1::Attempt>& attempts, const View& view);
// One line.
std::string RenderEvent(const admin::v1::Event& event, const View& view);

// "WRONG_NETWORK by them at verdict, "testnet-7"": what happened in half a line.
std::string CloseWords(const admin::v1::Close& close);
// The same and, in full sentences, what it means, its likely cause and what to do.
std::string CloseSentences(const admin::v1::Close& close, const View& view);

// Ascending by "id", "direction", "address", "agent", "age", "rtt", "skew", "in", "out", "last" or
// "fd"; unknown values last. InvalidArgument names the keys.
absl::Status SortPeers(std::vector<admin::v1::Peer>& peers, std::string_view key, bool reverse);

}  // namespace helo::tool
