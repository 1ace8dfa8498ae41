// What a plugin says of itself, judged before the first call into it and copied into our own words.
// Private to plugins/host. Thread: any.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <vector>

#include "helo/extensions.h"
#include "helo/plugin.h"
#include "p2p/server/handler.h"

namespace helo::plugins {

struct Manifest {
  std::string id, version, description;
  uint32_t abi_minor = 0;
  uint32_t flags = 0;
  std::vector<Capability> protocols;  // in the descriptor's order
  bool unloadable() const { return (flags & HELO_F_UNLOADABLE) != 0; }
};

// `name` is the operator's, for the sentence.
absl::StatusOr<Manifest> CheckDescriptor(const helo_descriptor* descriptor,
                                         const std::string& name);

struct CommandInfo {
  std::string name, arguments, summary;
};
// Empty if the plugin serves no commands.
absl::StatusOr<std::vector<CommandInfo>> CheckCommands(const helo_plugin_command* commands);

}  // namespace helo::plugins
