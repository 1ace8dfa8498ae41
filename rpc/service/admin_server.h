// The admin API's server: the door (our own accept under the admin pool, who calls by uid), the
// guard (token for everybody else) and the service. No gRPC type appears here. Thread: any, Start
// and Stop from one.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/base/log.h"
#include "p2p/net/own_fd.h"
#include "p2p/server/server.h"

namespace helo::plugins {
class PluginHost;
}

namespace helo::rpc {

enum class AdminAuth : uint8_t {
  kUid,    // the node's own uid and root may call, anybody else needs the token
  kToken,  // everybody needs the token
};

struct AdminOptions {
  Endpoint address;  // loopback only; anything else is refused with the remedy (ssh -L)
  AdminAuth auth = AdminAuth::kUid;
  std::string token_path;  // <data dir>/admin.token, written 0600 at Start if absent
  // Long enough for a crowd to wait in order, where a full queue would make the operator's
  // connection wait for a retransmission, short enough to be through in a moment.
  int backlog = 512;
};

// What the service tells of the node beyond what p2p knows.
struct NodeFacts {
  std::string version;
  std::string user_agent;
  std::string network;
  Bytes genesis;
  std::string data_dir;
  WallTime started{};
  // Files that the node holds open all the time, by path, and what for.
  std::vector<std::pair<std::string, std::string>> open_files;
};

// What the calls about plugins work with. The host outlives the admin server, and is shut down
// before that is stopped, so that no call waits for a plugin.
struct AdminPlugins {
  plugins::PluginHost* host = nullptr;  // nullptr: the node has none, and says so
  std::string plugin_dir;
  // The plugin's configuration as it stands on disk now. Called on a thread of its own.
  std::function<absl::StatusOr<std::string>(const std::string& name)> config;
};

struct AdminHooks {  // called on gRPC's threads; must not block for long
  std::function<LogLevel()> log_level;
  std::function<void(LogLevel)> set_log_level;
  std::function<void()> shutdown;  // asks the process to stop; returns at once
  // What the node itself holds open beside its server, for lists of descriptors; may be empty.
  std::function<std::vector<net::OwnFd>()> own_fds;
  AdminPlugins plugins;
};

class AdminServer {
 public:
  // Binds, makes the token, starts serving. Errors are sentences as in net::Listener::Open.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(AdminOptions options, NodeFacts facts,
                                                            AdminHooks hooks, Server& server,
                                                            FdPool& admin_pool, FdPool& files_pool,
                                                            const Clock& clock, LogSink& log);
  ~AdminServer();
  Endpoint address() const;  // with the port that the kernel chose
  // Ends every call and stream; returns within `deadline` whatever callers do.
  void Stop(Duration deadline);

 private:
  struct Impl;
  explicit AdminServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace helo::rpc
