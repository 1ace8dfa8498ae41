// One datagram to the service manager.
#include "node/notify.h"

#include <absl/strings/str_cat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "p2p/base/text.h"

namespace helo::node {

absl::Status NotifyServiceManager(const std::string& socket_name, std::string_view state) {
  if (socket_name.empty()) return absl::OkStatus();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if ((socket_name[0] != '/' && socket_name[0] != '@') ||
      socket_name.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("NOTIFY_SOCKET is \"", QuoteRemote(socket_name),
                                                   "\", which is neither a path nor @NAME"));
  }
  std::memcpy(address.sun_path, socket_name.data(), socket_name.size());
  if (socket_name[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_name.size());
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return ErrnoStatus(errno, "socket for NOTIFY_SOCKET");
  const ssize_t sent = sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address), length);
  const int error = errno;
  close(fd);
  if (sent == static_cast<ssize_t>(state.size())) return absl::OkStatus();
  return ErrnoStatus(error, absl::StrCat("send to NOTIFY_SOCKET ", QuoteRemote(socket_name)));
}

}  // namespace helo::node
