// What the node knows of itself as Prometheus metrics. Labels come from closed sets (reasons,
// directions, pools, our own listeners, the names of loaded plugins' files); nothing that a remote
// sent is ever in them. Thread: any; pure.
#pragma once

#include <string>
#include <vector>

#include "p2p/server/snapshot.h"
#include "plugins/host/status.h"

namespace helo::node {

// In the text format, version 0.0.4. `started`: of the process.
std::string MetricsText(const ServerSnapshot& snapshot, WallTime started,
                        const std::vector<plugins::PluginStatus>& plugins = {});

}  // namespace helo::node
