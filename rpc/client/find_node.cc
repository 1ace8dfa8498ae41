#include "rpc/client/find_node.h"

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <cstdlib>

#include "p2p/base/text.h"

namespace helo::client {
namespace {

absl::Status AdminAddressError(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", QuoteRemote(text), "' is not an admin address: ", ToAbsl(why)));
}

absl::StatusOr<NodeTarget> AtAddress(std::string_view address, std::string_view found_by) {
  absl::StatusOr<Endpoint> endpoint = ParseAdminAddress(address);
  if (!endpoint.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToAbsl(found_by), ": ", endpoint.status().message()));
  }
  NodeTarget target;
  target.admin = *endpoint;
  target.found_by = found_by;
  return target;
}

absl::StatusOr<NodeTarget> InDirectory(const std::string& data_dir) {
  absl::StatusOr<NodeFile> file = ReadNodeFile(data_dir);
  if (!file.ok()) {
    if (absl::IsNotFound(file.status())) return absl::UnavailableError(file.status().message());
    return file.status();
  }
  const std::string found_by = absl::StrCat(kNodeFileName, " in ", data_dir);
  absl::StatusOr<NodeTarget> target = AtAddress(file->admin, found_by);
  if (!target.ok()) return absl::DataLossError(target.status().message());
  target->file = *std::move(file);
  return target;
}

absl::StatusOr<NodeTarget> Choose(const FindOptions& options, const Getenv& env) {
  if (options.admin) {
    absl::StatusOr<NodeTarget> target = AtAddress(*options.admin, "--admin");
    if (target.ok() && options.data_dir) target->data_dir = *options.data_dir;
    return target;
  }
  if (options.data_dir) {
    absl::StatusOr<NodeTarget> target = InDirectory(*options.data_dir);
    if (target.ok()) target->data_dir = *options.data_dir;
    return target;
  }
  // The same two variables configure helod, where HELO_ADMIN may well say port 0: the file knows
  // the real one.
  const std::optional<std::string> env_dir = env("HELO_DATA_DIR");
  const std::optional<std::string> env_admin = env("HELO_ADMIN");
  if (env_dir && !env_dir->empty()) {
    absl::StatusOr<NodeTarget> target = InDirectory(*env_dir);
    if (!target.ok() && absl::IsUnavailable(target.status()) && env_admin && !env_admin->empty() &&
        !absl::EndsWith(*env_admin, ":0")) {
      target = AtAddress(*env_admin, "HELO_ADMIN");
    }
    if (target.ok()) target->data_dir = *env_dir;
    return target;
  }
  if (env_admin && !env_admin->empty()) return AtAddress(*env_admin, "HELO_ADMIN");
  return AtAddress(kDefaultAdmin, "the default admin address");
}

}  // namespace

Getenv ProcessEnvironment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

absl::StatusOr<Endpoint> ParseAdminAddress(std::string_view text) {
  std::string address(text);
  if (absl::StartsWithIgnoreCase(address, "localhost:")) {
    address = absl::StrCat("127.0.0.1", address.substr(sizeof("localhost") - 1));
  }
  const std::optional<Endpoint> endpoint = Endpoint::Parse(address);
  if (!endpoint) {
    if (address.find(':') == std::string::npos) {
      return AdminAddressError(text, "no port. Write HOST:PORT, like 127.0.0.1:4357");
    }
    return AdminAddressError(
        text,
        "write an IP address and a port, like 127.0.0.1:4357 or [::1]:4357. A node's admin API is "
        "only "
        "reachable on its own machine; for one elsewhere: ssh -L 4357:127.0.0.1:4357 HOST, then "
        "--admin 127.0.0.1:4357");
  }
  if (!endpoint->ip.IsLoopback()) {
    return AdminAddressError(
        text,
        "that is no address of this machine's loopback, and a node's admin API is only reachable "
        "on its own machine. For one elsewhere: ssh -L 4357:127.0.0.1:4357 HOST, then --admin "
        "127.0.0.1:4357");
  }
  if (endpoint->port == 0) {
    return AdminAddressError(
        text,
        "port 0 means \"any\" and can only be listened on. Use --data-dir: helod.json in it "
        "names the real port");
  }
  return *endpoint;
}

absl::StatusOr<NodeTarget> FindNode(const FindOptions& options, const Getenv& env) {
  absl::StatusOr<NodeTarget> target = Choose(options, env);
  if (!target.ok()) return target;
  if (options.token_file) {
    target->token_path = *options.token_file;
    target->token_demanded = true;
  } else if (!target->data_dir.empty()) {
    target->token_path = absl::StrCat(target->data_dir, "/", kTokenFileName);
  }
  return target;
}

}  // namespace helo::client
