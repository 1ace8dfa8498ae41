// What an owner says of a descriptor that it holds, so that a person can be shown whose it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "p2p/base/fd_ticket.h"

namespace helo::net {

struct OwnFd {
  int fd = -1;
  uint64_t cookie = 0;  // of a socket (fd_table.h): the number alone may be another's by now
  std::string what;     // "name lookup", "loop net-0: epoll of sessions"
  std::optional<PoolKind> pool;  // that its ticket is of
};

}  // namespace helo::net
