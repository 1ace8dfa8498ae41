// What each subcommand does once its arguments are known (cli.cc reads those). Every function
// prints its result and returns the exit code; none throws.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "rpc/client/errors.h"
#include "rpc/tool/session.h"
#include "rpc/tool/units.h"

namespace helo::tool {

using client::Exit;

// The node.
Exit Info(Session& session, bool wide);
Exit Health(Session& session);
Exit SetLogLevel(Session& session, const std::string& level);
Exit Shutdown(Session& session);

// Its descriptors and sockets.
struct FdsOptions {
  bool wide = false;
};
Exit Fds(Session& session, const FdsOptions& options);
Exit Sockets(Session& session, const FdsOptions& options);

// Peers. Direction: "in", "out" or empty for both.
struct PeersOptions {
  std::string sort;  // empty: the node's order, by id
  bool reverse = false;
  std::string filter;
  std::string direction;
  bool wide = false;
};
Exit Peers(Session& session, const PeersOptions& options);
Exit ShowPeer(Session& session, const std::string& id);
struct AddOptions {
  std::string address;
  std::optional<Duration> wait;
  bool save = false;
};
Exit Add(Session& session, const AddOptions& options);
Exit Remove(Session& session, const std::string& address, bool disconnect);
struct DropOptions {
  std::string id;
  std::optional<Duration> away;  // absent: the node's default
  std::string text;
};
Exit Drop(Session& session, const DropOptions& options);

// Plugins.
Exit Plugins(Session& session);
Exit ShowPlugin(Session& session, const std::string& name);
enum class PluginLoad : uint8_t { kLoad, kReload, kRestart };
Exit LoadPlugin(Session& session, const std::string& name, PluginLoad how);
Exit UnloadPlugin(Session& session, const std::string& name, std::optional<Duration> drain);
struct PluginCall {
  std::string name, command;
  std::vector<std::string> arguments;
};
Exit CallPlugin(Session& session, const PluginCall& call);
// Without a node. Exit 1 if a rule is broken.
struct PluginCheck {
  std::string file;
  std::string config;  // a file; empty: the plugin is given none
  uint64_t seed = 1;
};
Exit CheckPluginFile(Session& session, const PluginCheck& check);

// What happened.
struct HistoryOptions {
  std::string id;
  std::string direction;
  std::string filter;
  uint32_t limit = 50;
  bool wide = false;
};
Exit History(Session& session, const HistoryOptions& options);
struct WatchOptions {
  std::optional<EventPosition> since;
  std::optional<Duration> how_long;
};
Exit Watch(Session& session, const WatchOptions& options);

// Without a node.
Exit KeyGen(Session& session, const std::string& path);
Exit ShowId(Session& session, const std::string& path);
Exit Explain(Session& session, const std::string& topic);
Exit Version(Session& session);
// Looks at the node too if one runs. Exit 1 if there is a problem. `listen`: addresses to try;
// empty: helod's default, unless a node runs.
Exit Doctor(Session& session, const std::vector<std::string>& listen);
// Exit 6 if the node there refuses, 7 if it does not answer in time, 1 for what else stops it.
struct ProbeOptions {
  std::string address;
  std::optional<std::string> network;  // else HELO_NETWORK, else helod's default
  std::optional<std::string> genesis;  // hex; else HELO_GENESIS, else none
  std::string key;                     // a key file or data directory; empty: a fresh key
  std::vector<std::string> offers;     // "echo/1:2"
};
Exit ProbePeer(Session& session, const ProbeOptions& options);
// Of a running node what it runs with. Without one, or with arguments for helod, it becomes
// `helod --print-config`, and returns only if that fails.
Exit Config(Session& session, const std::vector<std::string>& helod_arguments);

}  // namespace helo::tool
