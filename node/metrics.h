// What the node knows of itself as Prometheus metrics. Labels come from closed sets (reasons,
// directions, pools, our own listeners); nothing that a remote sent is ever in them. Thread: any;
// pure.
#pragma once

#include <string>

#include "p2p/server/snapshot.h"

namespace helo::node {

// In the text format, version 0.0.4. `started`: of the process.
std::string MetricsText(const ServerSnapshot& snapshot, WallTime started);

}  // namespace helo::node
