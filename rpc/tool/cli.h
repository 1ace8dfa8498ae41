// The command line of helo: reads arguments, runs one command, returns the exit code.
#pragma once

#include <string>
#include <vector>

#include "rpc/tool/session.h"

namespace helo::tool {

// `arguments` without the program's name.
int Run(const std::vector<std::string>& arguments, const Environment& env);

}  // namespace helo::tool
