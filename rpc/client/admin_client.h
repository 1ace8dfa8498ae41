// The admin API as its clients call it: every call has a deadline, every failure is a sentence,
// every answer is already quoted (rpc/client/quote.h). One connection, made by Connect; when it is
// cut, calls that change nothing are made again over a new one, the others fail, since nobody knows
// whether they were carried out. Thread: one at a time. The generated messages are only named here;
// who uses them includes admin.pb.h.
#pragma once

#include <absl/status/statusor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "p2p/base/clock.h"
#include "rpc/client/find_node.h"

namespace helo::admin::v1 {
class AddPeerRequest;
class AddPeerResponse;
class DropPeerRequest;
class DropPeerResponse;
class CallPluginRequest;
class CallPluginResponse;
class LoadPluginRequest;
class ListPluginsResponse;
class Plugin;
class UnloadPluginRequest;
class UnloadPluginResponse;
class ListAttemptsRequest;
class ListAttemptsResponse;
class ListFdsRequest;
class ListFdsResponse;
class ListPeersRequest;
class ListPeersResponse;
class ListSocketsRequest;
class ListSocketsResponse;
class Node;
class Peer;
class RemovePeerRequest;
class WatchRequest;
class WatchResponse;
}  // namespace helo::admin::v1

namespace helo::client {

inline constexpr Duration kDefaultTimeout = std::chrono::seconds(10);

// gRPC's own log writes what the other end sent to stderr, as it came. For programs with a
// terminal, once, at start.
void SilenceGrpcLog();

class AdminClient {
 public:
  // Finds out who listens, connects, and decides about the token. A helod.json whose process is
  // gone is checked against the id of who answers, so that a command never reaches another node
  // that took the port over.
  static absl::StatusOr<std::unique_ptr<AdminClient>> Connect(const NodeTarget& target,
                                                              Duration timeout = kDefaultTimeout);
  ~AdminClient();

  absl::StatusOr<admin::v1::Node> GetNode();
  absl::StatusOr<admin::v1::ListPeersResponse> ListPeers(
      const admin::v1::ListPeersRequest& request);
  absl::StatusOr<admin::v1::Peer> GetPeer(const std::string& id);
  // The deadline is the wait that the request asks for, and the timeout on top.
  absl::StatusOr<admin::v1::AddPeerResponse> AddPeer(const admin::v1::AddPeerRequest& request);
  absl::Status RemovePeer(const admin::v1::RemovePeerRequest& request);
  absl::StatusOr<admin::v1::DropPeerResponse> DropPeer(const admin::v1::DropPeerRequest& request);
  absl::StatusOr<admin::v1::ListAttemptsResponse> ListAttempts(
      const admin::v1::ListAttemptsRequest& request);
  absl::StatusOr<admin::v1::ListFdsResponse> ListFds(const admin::v1::ListFdsRequest& request);
  absl::StatusOr<admin::v1::ListSocketsResponse> ListSockets(
      const admin::v1::ListSocketsRequest& request);
  absl::StatusOr<admin::v1::ListPluginsResponse> ListPlugins();
  // A plugin may take some seconds to start and to stop: the timeout comes on top of that.
  absl::StatusOr<admin::v1::Plugin> LoadPlugin(const admin::v1::LoadPluginRequest& request);
  absl::StatusOr<admin::v1::UnloadPluginResponse> UnloadPlugin(
      const admin::v1::UnloadPluginRequest& request);
  // The deadline is the wait that the request asks for, and a little for the way.
  absl::StatusOr<admin::v1::CallPluginResponse> CallPlugin(
      const admin::v1::CallPluginRequest& request);
  // Returns the level that was in force before.
  absl::StatusOr<std::string> SetLogLevel(const std::string& level);
  absl::Status Shutdown();
  // The standard health service: "SERVING", "NOT_SERVING", "UNKNOWN".
  absl::StatusOr<std::string> CheckHealth();

  // Calls `on_message` for each message until it returns false or `how_long` has passed (both OK),
  // or the stream breaks. Without `how_long` there is no deadline.
  absl::Status Watch(const admin::v1::WatchRequest& request, std::optional<Duration> how_long,
                     const std::function<bool(const admin::v1::WatchResponse&)>& on_message);

  const NodeTarget& target() const;

 private:
  struct Impl;
  explicit AdminClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace helo::client
