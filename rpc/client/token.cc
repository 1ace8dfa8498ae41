#include "rpc/client/token.h"

#include <absl/cleanup/cleanup.h>
#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

#include "p2p/base/bytes.h"
#include "p2p/base/text.h"

namespace helo::client {
namespace {

constexpr size_t kMaxToken = 4096;
constexpr std::string_view kListen = "0A";  // TCP_LISTEN, as the kernel prints it

// The kernel prints an address as 32-bit words of host byte order in hex, the port as a number in
// hex.
std::optional<Endpoint> ParseKernelEndpoint(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view host = text.substr(0, colon);
  if (host.size() != 8 && host.size() != 32) return std::nullopt;
  Bytes bytes;
  Bytes port;
  if (!FromHex(host, bytes) || !FromHex(text.substr(colon + 1), port) || port.size() != 2) {
    return std::nullopt;
  }
  for (size_t word = 0; word < bytes.size(); word += 4) {
    const uint32_t printed = uint32_t{bytes[word]} << 24 | uint32_t{bytes[word + 1]} << 16 |
                             uint32_t{bytes[word + 2]} << 8 | uint32_t{bytes[word + 3]};
    std::memcpy(&bytes[word], &printed, sizeof printed);
  }
  const std::optional<IpAddress> ip = IpAddress::FromBytes(bytes);
  if (!ip) return std::nullopt;
  return Endpoint{*ip, static_cast<uint16_t>(port[0] << 8 | port[1])};
}

struct Row {
  std::string_view local, state;
  ListeningSocket socket;
};

// "  0: 0100007F:1105 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 12345 ..."
std::optional<Row> ParseRow(std::string_view line) {
  const std::vector<absl::string_view> fields =
      absl::StrSplit(ToAbsl(line), ' ', absl::SkipEmpty());
  if (fields.size() < 10) return std::nullopt;
  Row row;
  row.local = FromAbsl(fields[1]);
  row.state = FromAbsl(fields[3]);
  if (!absl::SimpleAtoi(fields[7], &row.socket.uid) ||
      !absl::SimpleAtoi(fields[9], &row.socket.inode)) {
    return std::nullopt;
  }
  return row;
}

// An unspecified IPv6 listener may take IPv4 too (dual stack); /proc does not tell, so it counts as
// one that may.
bool MayServe(const Endpoint& listener, const Endpoint& address) {
  if (listener.port != address.port) return false;
  if (listener.ip == address.ip) return true;
  return listener.ip.IsUnspecified() &&
         (listener.ip.is_v4() == address.ip.is_v4() || !listener.ip.is_v4());
}

// Listening sockets come first in the kernel's list; reading on through ten thousand connections
// would cost more than the call that the token is for.
std::string ReadListenerPart(const char* path) {
  std::ifstream in(path);
  std::string text;
  std::string line;
  bool listeners_seen = false;
  while (std::getline(in, line)) {
    const std::optional<Row> row = ParseRow(line);
    const bool listening = row && row->state == kListen;
    if (listeners_seen && !listening) break;
    listeners_seen |= listening;
    if (listening) absl::StrAppend(&text, line, "\n");
  }
  return text;
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
  std::vector<ListeningSocket> exact;
  std::vector<ListeningSocket> wildcard;
  for (const absl::string_view line : absl::StrSplit(ToAbsl(proc_net_tcp), '\n')) {
    const std::optional<Row> row = ParseRow(FromAbsl(line));
    if (!row || row->state != kListen) continue;
    const std::optional<Endpoint> local = ParseKernelEndpoint(row->local);
    if (!local || !MayServe(*local, address)) continue;
    (local->ip == address.ip ? exact : wildcard).push_back(row->socket);
  }
  // The kernel gives a connection to the listener on the very address, if there is one.
  return exact.empty() ? wildcard : exact;
}

std::vector<ListeningSocket> FindListeners(const Endpoint& address) {
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
