// THE table of helod's options. The command line, the environment, the config file, --help,
// --print-config and the example config are all read off it. Thread: immutable after first use.
#pragma once

#include <absl/status/status.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "node/config.h"

namespace helo::node {

struct OptionSpec {
  std::string_view name;     // "max-inbound": --max-inbound, HELO_MAX_INBOUND, max-inbound = ...
  std::string_view metavar;  // "N"
  std::string_view group;    // heading in --help; options of a group stand together
  std::string help = {};     // sentences, unwrapped
  bool repeatable = false;   // may stand several times, or as a list with commas; "none" empties it
  bool in_file = true;       // false: makes no sense in a config file
  std::string example = {};  // for the example config; empty: the default
  // Forgets what is there, for a source of higher precedence (repeatable ones).
  std::function<void(Config&)> clear = {};
  // The error is the end of a sentence that begins with the option and where it stands.
  std::function<absl::Status(Config&, std::string_view value)> set = {};
  // As the config file would write it; parses to itself. Empty for an empty list.
  std::function<std::vector<std::string>(const Config&)> get = {};
};

const std::vector<OptionSpec>& OptionTable();
const OptionSpec* FindOption(std::string_view name);
std::string EnvironmentName(const OptionSpec& spec);  // "HELO_MAX_INBOUND"

// What no single option can know of itself, as sentences that name the options.
std::vector<std::string> CheckTogether(const Config& config);

}  // namespace helo::node
