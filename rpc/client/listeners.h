// The listening sockets of this network namespace, asked of the kernel over sock_diag (man 7
// sock_diag). Reading /proc/net/tcp for them costs milliseconds on a machine with memory enough for
// a large table of connections, since the kernel walks all of it for whoever reads past the
// listeners.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "p2p/base/endpoint.h"

namespace helo::client {

struct ListeningRow {
  Endpoint local;
  uid_t uid = 0;
  uint64_t inode = 0;
};

// Thread: any. nullopt: the kernel did not answer (forbidden, or built without inet_diag).
std::optional<std::vector<ListeningRow>> AskForListeners();

}  // namespace helo::client
