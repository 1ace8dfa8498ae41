// The admin token and to whom it may be shown: only to a listener that belongs to our own uid, to
// root or to the owner of the token file. Anybody may bind the port of a node that is down and wait
// for a token to come by. Linux: /proc/net/tcp, /proc/net/tcp6 (man 5 proc).
#pragma once

#include <absl/status/statusor.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/base/endpoint.h"

namespace helo::client {

struct Token {
  std::string value;
  uid_t owner = 0;  // of the file
};

// NotFound, PermissionDenied, or DataLoss if it does not hold one line of visible ASCII.
// `follow`: also where `path` is a symbolic link. Only for a path that the caller was told: in
// somebody's data directory a link could name a token of another node, to be sent to a listener of
// that somebody's choice.
absl::StatusOr<Token> ReadToken(const std::string& path, bool follow);

struct ListeningSocket {
  uid_t uid = 0;
  uint64_t inode = 0;
  bool operator==(const ListeningSocket&) const = default;
};

// The listening sockets in the text of /proc/net/tcp and tcp6 that may serve a connection to
// `address`: those bound to it or, if there are none, to all addresses.
std::vector<ListeningSocket> ParseListeners(std::string_view proc_net_tcp, const Endpoint& address);
// The same from the kernel.
std::vector<ListeningSocket> FindListeners(const Endpoint& address);

// Empty: it may be sent. Otherwise why not, as half a sentence. `before` and `after` are the
// listeners as they stood before and after the connection was made: if they differ, nobody knows
// who accepted it.
std::string WhyNotSendToken(const std::vector<ListeningSocket>& before,
                            const std::vector<ListeningSocket>& after, uid_t own_uid,
                            uid_t token_owner);

// "uid 1000 (alice)".
std::string UserName(uid_t uid);

}  // namespace helo::client
