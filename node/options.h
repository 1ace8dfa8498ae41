// From command line, environment and config file to one Config, remembering where each value came
// from. Precedence in that order. Everything wrong is found in one go, each error naming the option
// and where it stands. Thread: any; pure but for reading the config file.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "node/config.h"

namespace helo::node {

enum class Action : uint8_t { kRun, kHelp, kVersion, kCheckConfig, kPrintConfig, kExampleConfig };
enum class Origin : uint8_t { kDefault, kFile, kEnvironment, kCommandLine };
std::string_view ToString(Origin origin);  // "default", "file", "environment", "command line"

struct Setting {  // one option as it took effect
  std::string_view name;
  std::vector<std::string> values;  // none: an empty list
  Origin origin = Origin::kDefault;
  std::string where;  // "/etc/helo/helod.conf:12", "HELO_LISTEN"; empty for the others
};

struct Options {
  explicit Options(std::string home_data_dir) : config(std::move(home_data_dir)) {}
  Config config;
  Action action = Action::kRun;
  bool json = false;                // with kPrintConfig
  std::vector<Setting> settings;    // every option, in the table's order
  std::vector<std::string> errors;  // sentences; with any of them the rest is not to be used
};

using Environment = std::map<std::string, std::string>;
Environment ReadEnvironment();  // all of it; man 7 environ

// $XDG_DATA_HOME/helo, else ~/.helo, else empty.
std::string DefaultDataDir(const Environment& environment);

// `arguments` without the program's name.
Options ParseOptions(const std::vector<std::string>& arguments, const Environment& environment);

}  // namespace helo::node
