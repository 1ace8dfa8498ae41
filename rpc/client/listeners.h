// The listening sockets of this network namespace, asked of the kernel over sock_diag (man 7
// sock_diag). Reading /proc/net/tcp for them costs milliseconds on a machine with memory enough for
// a large table of connections, since the kernel walks all of it for whoever reads past the
// listeners.
#pragma once

#include <optional>
#include <vector>

#include "p2p/base/proc_tcp.h"

namespace helo::client {

// Thread: any. nullopt: the kernel did not answer (forbidden, or built without inet_diag).
std::optional<std::vector<ProcTcpRow>> AskForListeners();

}  // namespace helo::client
