#include "rpc/service/token.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "p2p/base/atomic_file.h"
#include "p2p/base/text.h"
#include "p2p/net/socket.h"

namespace helo::rpc {
namespace {

constexpr size_t kLeastChars = 32;  // shorter ones could be guessed
constexpr size_t kMostChars = 512;

absl::Status Unusable(const std::string& path, std::string_view why, std::string_view remedy) {
  return absl::FailedPreconditionError(
      absl::StrCat("admin token ", QuoteRemote(path), ": ", ToAbsl(why), "; ", ToAbsl(remedy)));
}

absl::StatusOr<std::string> ReadToken(const std::string& path, int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "fstat " + QuoteRemote(path));
  if (!S_ISREG(info.st_mode)) {
    return Unusable(path, "is not a regular file", "remove it, and the node makes a new one");
  }
  if (info.st_uid != geteuid()) {
    return Unusable(
        path, absl::StrCat("belongs to uid ", info.st_uid, ", the node runs as uid ", geteuid()),
        "remove it, and the node makes a new one");
  }
  if ((info.st_mode & 077) != 0) {
    return Unusable(path,
                    absl::StrFormat("may be read by others (mode %04o)", info.st_mode & 07777),
                    absl::StrCat("if nobody has seen it: chmod 600 ", QuoteRemote(path),
                                 "; otherwise remove it, and the node makes a new one"));
  }
  std::array<char, kMostChars + 2> buffer{};
  size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t n = read(fd, buffer.data() + size, buffer.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "read " + QuoteRemote(path));
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  std::string token(buffer.data(), size);
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  bool visible = true;
  for (const char c : token) visible = visible && c > ' ' && c <= '~';
  if (!visible || token.size() < kLeastChars || token.size() > kMostChars) {
    return Unusable(
        path,
        absl::StrCat("is not one line of ", kLeastChars, " to ", kMostChars, " visible characters"),
        "remove it, and the node makes a new one");
  }
  return token;
}

}  // namespace

absl::StatusOr<std::string> LoadOrMakeToken(const std::string& path, Rng& rng) {
  if (path.empty()) {
    return absl::InvalidArgumentError("the admin token needs a file: no path was given");
  }
  const net::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (fd) return ReadToken(path, fd.FdDoNotKeep());
  if (errno == ELOOP) {
    return Unusable(path, "is a symbolic link", "remove it, and the node makes a new one");
  }
  if (errno != ENOENT) return ErrnoStatus(errno, "open the admin token " + QuoteRemote(path));
  std::array<uint8_t, 32> random{};
  rng.Fill(random);
  std::string token = ToHex(random);
  if (absl::Status status = WriteFileAtomically(path, token + "\n", 0600); !status.ok())
    return status;
  return token;
}

bool SameSecret(std::string_view shown, std::string_view secret) {
  // volatile: the compiler must not find out that it could stop early.
  volatile uint8_t difference = shown.size() == secret.size() && !secret.empty() ? 0 : 1;
  for (size_t i = 0; i < shown.size(); ++i) {
    const char other = secret.empty() ? '\0' : secret[i % secret.size()];
    difference = difference | static_cast<uint8_t>(shown[i] ^ other);
  }
  return difference == 0;
}

std::string_view BearerToken(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = authorization[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != kScheme[i]) return {};
  }
  authorization.remove_prefix(kScheme.size());
  while (!authorization.empty() && authorization.front() == ' ') authorization.remove_prefix(1);
  while (!authorization.empty() && authorization.back() == ' ') authorization.remove_suffix(1);
  return authorization;
}

}  // namespace helo::rpc
