// Where plugins and their configurations are. Thread: any.
#pragma once

#include <absl/status/statusor.h>

#include <string>

namespace helo::node {

// The program's own ../lib/helo/plugins, both where it is installed and where it is built. Empty if
// the program's place cannot be told.
std::string DefaultPluginDir();

// What the plugin is given, read anew at each call: the section [plugin NAME] of the config file
// (`config_file` may be empty), else NAME.conf in the data directory, else nothing.
absl::StatusOr<std::string> ReadPluginConfig(const std::string& config_file,
                                             const std::string& data_dir, const std::string& name);

}  // namespace helo::node
