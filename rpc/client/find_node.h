// Which node the tool talks to. Flags before environment, and never mixed: with --admin or
// --data-dir given, HELO_ADMIN and HELO_DATA_DIR are not looked at, so that the token of one node
// is not shown to another.
#pragma once

#include <absl/status/statusor.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "p2p/base/endpoint.h"
#include "rpc/client/node_file.h"

namespace helo::client {

inline constexpr char kDefaultAdmin[] = "127.0.0.1:4357";

struct FindOptions {
  std::optional<std::string> data_dir;
  std::optional<std::string> admin;
  std::optional<std::string> token_file;
};

using Getenv = std::function<std::optional<std::string>(const char* name)>;
Getenv ProcessEnvironment();

struct NodeTarget {
  Endpoint admin;
  std::string found_by;    // "--admin", "helod.json in /var/lib/helo", ...: for error sentences
  std::string data_dir;    // empty: not known
  std::string token_path;  // empty: none to send
  bool token_demanded = false;   // --token-file: not being able to read it is an error
  std::optional<NodeFile> file;  // when found by it
};

// InvalidArgument: a malformed address. Otherwise as ReadNodeFile, but with NotFound told as
// Unavailable: not running.
absl::StatusOr<NodeTarget> FindNode(const FindOptions& options, const Getenv& env);

// "HOST:PORT", HOST an IP literal or localhost. Other names are refused: the admin API is never on
// another machine.
absl::StatusOr<Endpoint> ParseAdminAddress(std::string_view text);

}  // namespace helo::client
