// What a plugin holds of the node: helo_host and the extensions' tables. A context is never freed,
// because a thread that the plugin forgot may use it for ever; cut off, it answers STOPPING.
// Private to plugins/host.
#pragma once

#include "helo/extensions.h"
#include "plugins/host/links.h"
#include "plugins/host/session.h"

namespace helo::plugins {
class PluginRunner;
}

struct helo_host_ctx {
  helo::plugins::Gate<helo::plugins::PluginRunner> runner;
  helo_host host{};
};

namespace helo::plugins {

helo_host_ctx* NewHostContext();  // its runner is not open yet

void FillInfo(const Session& session, helo_session_info& info);  // borrows from `session`

}  // namespace helo::plugins
