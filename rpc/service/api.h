// What the methods of the admin API do, without gRPC: each takes a request and answers its Reply,
// now or later. Thread: the admin loop's alone; the server's callbacks are brought here by the
// mailbox.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "p2p/server/server.h"
#include "rpc/service/admin_server.h"
#include "rpc/service/convert.h"
#include "rpc/service/door.h"
#include "rpc/service/plugin_desk.h"
#include "rpc/service/reply.h"

namespace helo::rpc {

// What the process holds beside the server's descriptors. What a reading opens for a moment, one
// at a time on the admin loop, is charged to the door's ticket for such moments. Thread: the admin
// loop's.
struct FdSources {
  std::function<std::vector<net::OwnFd>()> own;  // the door's and gRPC's
  std::function<std::optional<ListenerSnapshot>()> listener;
  std::vector<std::pair<std::string, std::string>> files;  // path, what for
};

class AdminApi {
 public:
  AdminApi(NodeFacts facts, AdminHooks hooks, Endpoint admin_address, Server& server,
           net::EventLoop& loop, std::shared_ptr<Mailbox> mailbox, LogSink& log);

  // Reads (api_read.cc).
  void GetNode(const proto::GetNodeRequest& request, Reply<proto::Node> reply);
  void ListPeers(const proto::ListPeersRequest& request, Reply<proto::ListPeersResponse> reply);
  void GetPeer(const proto::GetPeerRequest& request, Reply<proto::Peer> reply);
  void ListAttempts(const proto::ListAttemptsRequest& request,
                    Reply<proto::ListAttemptsResponse> reply);

  // Descriptors and sockets (api_fds.cc).
  void SetFdSources(FdSources sources) { fds_ = std::move(sources); }  // before any call
  void ListFds(const proto::ListFdsRequest& request, Reply<proto::ListFdsResponse> reply);
  void ListSockets(const proto::ListSocketsRequest& request,
                   Reply<proto::ListSocketsResponse> reply);

  // Changes (api_change.cc): each is logged with what and by whom.
  void AddPeer(const Caller& caller, const proto::AddPeerRequest& request,
               Reply<proto::AddPeerResponse> reply);
  void RemovePeer(const Caller& caller, const proto::RemovePeerRequest& request,
                  Reply<proto::RemovePeerResponse> reply);
  void DropPeer(const Caller& caller, const proto::DropPeerRequest& request,
                Reply<proto::DropPeerResponse> reply);
  void SetLogLevel(const Caller& caller, const proto::SetLogLevelRequest& request,
                   Reply<proto::SetLogLevelResponse> reply);
  void Shutdown(const Caller& caller, const proto::ShutdownRequest& request,
                Reply<proto::ShutdownResponse> reply);

  // Plugins (api_plugins.cc).
  void ListPlugins(const proto::ListPluginsRequest& request,
                   Reply<proto::ListPluginsResponse> reply);
  void LoadPlugin(const Caller& caller, const proto::LoadPluginRequest& request,
                  Reply<proto::Plugin> reply);
  void UnloadPlugin(const Caller& caller, const proto::UnloadPluginRequest& request,
                    Reply<proto::UnloadPluginResponse> reply);
  void CallPlugin(const Caller& caller, const proto::CallPluginRequest& request,
                  Reply<proto::CallPluginResponse> reply);

  // Calls that wait are answered UNAVAILABLE.
  void Stop();

 private:
  using Snapshot = std::shared_ptr<const ServerSnapshot>;
  // `then` comes on the admin loop; not at all once the node stops, which its replies notice by
  // themselves.
  void WithSnapshot(std::function<void(const ServerSnapshot&)> then);
  void FindAttempts(const peers::AttemptHistory::Query& query,
                    std::function<void(std::vector<peers::Attempt>)> then);
  void AnswerAttempts(const proto::ListAttemptsRequest& request, std::optional<NodeId> id,
                      std::optional<Direction> direction,
                      const Reply<proto::ListAttemptsResponse>& reply);
  void BeginAdd(const PeerAddress& address, bool save, const Reply<proto::AddPeerResponse>& reply);
  void BeginAddAndWait(const PeerAddress& address, bool save, Duration wait, bool existed,
                       const Reply<proto::AddPeerResponse>& reply);
  struct FdPage;
  void FindDescriptors(const DescriptorQuery& query,
                       std::function<void(std::vector<DescriptorSnapshot>)> then);
  void ReadFds(const std::shared_ptr<FdPage>& page, const Reply<proto::ListFdsResponse>& reply);
  void AnswerFds(const FdPage& page, const std::vector<DescriptorSnapshot>& owners,
                 const Reply<proto::ListFdsResponse>& reply);
  static void AddConnections(std::vector<DescriptorSnapshot> found, size_t most,
                             proto::ListSocketsResponse& page);
  absl::Status CheckPlugins() const;
  template <typename Response>
  void AtDesk(const Reply<Response>& reply, std::function<void()> work);
  void LogChange(const Caller& caller, std::string_view what, LogFields fields);

  const NodeFacts facts_;
  const AdminHooks hooks_;
  const Endpoint admin_address_;
  Server& server_;
  net::EventLoop& loop_;
  const std::shared_ptr<Mailbox> mailbox_;
  LogSink& log_;
  FdSources fds_;
  std::weak_ptr<const ServerSnapshot> listed_;  // what the first page of a list was taken from
  uint64_t next_wait_ = 1;
  struct Wait {
    std::unique_ptr<net::Timer> timer;
    Reply<proto::AddPeerResponse> reply;
  };
  std::map<uint64_t, Wait> waits_;    // of AddPeer
  std::unique_ptr<PluginDesk> desk_;  // if there are plugins; last: its work uses the rest
};

}  // namespace helo::rpc
