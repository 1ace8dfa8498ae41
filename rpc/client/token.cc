#include "rpc/client/token.h"

#include <absl/cleanup/cleanup.h>
#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <optional>

#include "p2p/base/proc_tcp.h"
#include "p2p/base/text.h"
#include "rpc/client/listeners.h"

namespace helo::client {
namespace {

constexpr size_t kMaxToken = 4096;

std::optional<ProcTcpRow> ParseListener(std::string_view line) {
  const std::optional<ProcTcpRow> row = ParseProcTcpRow(line);
  return row && row->state == ProcTcpRow::kListen ? row : std::nullopt;
}

// An unspecified IPv6 listener may take IPv4 too (dual stack); /proc does not tell, so it counts as
// one that may.
bool MayServe(const Endpoint& listener, const Endpoint& address) {
  if (listener.port != address.port) return false;
  if (listener.ip == address.ip) return true;
  return listener.ip.IsUnspecified() &&
         (listener.ip.is_v4() == address.ip.is_v4() || !listener.ip.is_v4());
}

std::vector<ProcTcpRow> ListenersOf(std::string_view proc_net_tcp) {
  std::vector<ProcTcpRow> rows;
  for (const absl::string_view line : absl::StrSplit(ToAbsl(proc_net_tcp), '\n')) {
    if (const auto row = ParseListener(FromAbsl(line))) rows.push_back(*row);
  }
  return rows;
}

// Listening sockets come first in the kernel's list; reading on through ten thousand connections
// would cost more than the call that the token is for.
std::string ReadListenerPart(const char* path) {
  std::ifstream in(path);
  std::string text;
  std::string line;
  bool listeners_seen = false;
  while (std::getline(in, line)) {
    const bool listening = ParseListener(line).has_value();
    if (listeners_seen && !listening) break;
    listeners_seen |= listening;
    if (listening) absl::StrAppend(&text, line, "\n");
  }
  return text;
}

// The kernel gives a connection to the listener on the very address, if there is one.
std::vector<ListeningSocket> ThoseThatMayServe(const std::vector<ProcTcpRow>& listeners,
                                               const Endpoint& address) {
  std::vector<ListeningSocket> exact;
  std::vector<ListeningSocket> wildcard;
  for (const ProcTcpRow& row : listeners) {
    if (!MayServe(row.local, address)) continue;
    (row.local.ip == address.ip ? exact : wildcard).push_back({row.uid, row.inode});
  }
  return exact.empty() ? wildcard : exact;
}

}  // namespace

absl::StatusOr<Token> ReadToken(const std::string& path, bool follow) {
  const int fd =
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follow ? 0 : O_NOFOLLOW));
  if (fd < 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) {
      return absl::NotFoundError(absl::StrCat("there is no token file ", path));
    }
    if (error == EACCES) {
      return absl::PermissionDeniedError(
          absl::StrCat("uid ", geteuid(), " may not read the token file ", path));
    }
    if (error == ELOOP && !follow) {
      return absl::DataLossError(absl::StrCat(
          path, " is a symbolic link, which is followed only where --token-file names it"));
    }
    return ErrnoStatus(error, absl::StrCat("open ", path));
  }
  const auto closer = absl::MakeCleanup([fd] { close(fd); });
  struct stat facts {};
  if (fstat(fd, &facts) != 0) return ErrnoStatus(errno, absl::StrCat("fstat ", path));
  if (!S_ISREG(facts.st_mode)) {
    return absl::DataLossError(absl::StrCat(path, " is not a regular file and holds no token"));
  }
  std::array<char, kMaxToken + 1> buffer;
  const ssize_t got = read(fd, buffer.data(), buffer.size());
  if (got < 0) return ErrnoStatus(errno, absl::StrCat("read ", path));
  const absl::string_view value =
      absl::StripAsciiWhitespace({buffer.data(), static_cast<size_t>(got)});
  const bool visible = std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (value.empty() || !visible || value.size() > kMaxToken) {
    return absl::DataLossError(absl::StrCat(
        path, " holds no token: one line of visible characters is expected. helod writes ",
        "admin.token in its data directory when it starts"));
  }
  return Token{std::string(value), facts.st_uid};
}

std::vector<ListeningSocket> ParseListeners(std::string_view proc_net_tcp,
                                            const Endpoint& address) {
  return ThoseThatMayServe(ListenersOf(proc_net_tcp), address);
}

std::vector<ListeningSocket> FindListeners(const Endpoint& address) {
  if (const auto rows = AskForListeners()) return ThoseThatMayServe(*rows, address);
  return ParseListeners(
      absl::StrCat(ReadListenerPart("/proc/net/tcp"), ReadListenerPart("/proc/net/tcp6")), address);
}

std::string WhyNotSendToken(const std::vector<ListeningSocket>& before,
                            const std::vector<ListeningSocket>& after, uid_t own_uid,
                            uid_t token_owner) {
  if (before.empty() || after.empty()) {
    return "the process that listens there is not on this machine, or not visible from here";
  }
  if (before != after) return "another process took the port over while the connection was made";
  for (const ListeningSocket& socket : after) {
    if (socket.uid != own_uid && socket.uid != 0 && socket.uid != token_owner) {
      return absl::StrCat("the process that listens there belongs to ", UserName(socket.uid),
                          ", who is neither you, nor root, nor the token's owner");
    }
  }
  return "";
}

std::string UserName(uid_t uid) {
  std::array<char, 4096> buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return absl::StrCat("uid ", uid, " (", QuoteRemote(found->pw_name), ")");
  }
  return absl::StrCat("uid ", uid);
}

}  // namespace helo::client
