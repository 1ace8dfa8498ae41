// What helod says of its options: --help, --print-config, --example-config. Thread: any; pure.
#pragma once

#include <string>

#include "node/options.h"

namespace helo::node {

std::string HelpText();
// A config file that gives the same values, with the source of each behind it.
std::string PrintConfig(const Options& options);
// {"version", "options": [{"name", "values", "repeatable", "source", "where", "environment",
// "default"}]}. Also what a running node keeps in its data directory (node_files.h).
std::string PrintConfigJson(const Options& options);
// Every option with its sentence, commented out at its default: the example that is installed.
std::string ExampleConfig();

}  // namespace helo::node
