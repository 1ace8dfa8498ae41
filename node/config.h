// Everything about helod that can be set, typed and with its defaults. How each value is written,
// named and explained is in option_table.cc; nothing else fills this. Thread: plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/endpoint.h"
#include "p2p/base/log.h"
#include "p2p/peers/fd_budget.h"
#include "p2p/server/server.h"
#include "rpc/service/admin_server.h"

namespace helo::node {

enum class LogFormat : uint8_t { kText, kJson };

inline constexpr char kDefaultListen[] = "0.0.0.0:4356";
inline constexpr char kDefaultPlugin[] = "echo";
inline constexpr char kDefaultAdmin[] = "127.0.0.1:4357";

struct Config {
  // With DESIGN's defaults where they differ from the rooms' own. `home_data_dir`: see
  // DefaultDataDir.
  explicit Config(std::string home_data_dir);

  std::string data_dir;     // empty: none given and no home to put one in
  std::string config_file;  // empty: none
  ServerOptions server;     // all but saved_peers and profile.self
  peers::FdDemand fds;      // all but listeners, inbound and outbound, which follow from `server`
  Endpoint admin;
  std::optional<Endpoint> metrics;   // none: not served
  std::string plugin_dir;            // where NAME.so is
  std::vector<std::string> plugins;  // loaded at start; by default kDefaultPlugin alone
  rpc::AdminAuth admin_auth = rpc::AdminAuth::kUid;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  std::string log_file;  // empty: stderr
};

// "0.1.0", as CMake knows it.
std::string_view Version();

}  // namespace helo::node
