#include "plugins/host/file_check.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "p2p/base/text.h"

namespace helo::plugins {
namespace {

constexpr size_t kMaxFileBytes = size_t{512} << 20;
#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
constexpr char kMachineName[] = "x86-64";
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
constexpr char kMachineName[] = "aarch64";
#elif defined(__riscv)
constexpr uint16_t kMachine = EM_RISCV;
constexpr char kMachineName[] = "riscv";
#else
#error "name this machine's ELF number here"
#endif

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

bool OwnerIsFit(uid_t uid) { return uid == 0 || uid == geteuid(); }

absl::Status CheckOne(const std::string& path, const struct stat& info, bool next_is_fit) {
  if (!OwnerIsFit(info.st_uid)) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "%s belongs to uid %d, who could change what this node (uid %d) runs; run: chown %d %s",
        path, info.st_uid, geteuid(), geteuid(), path));
  }
  // A link has no mode of its own: who may change it is said by its owner and its directory.
  if (S_ISLNK(info.st_mode) || (info.st_mode & (S_IWGRP | S_IWOTH)) == 0) return absl::OkStatus();
  if (S_ISDIR(info.st_mode) && (info.st_mode & S_ISVTX) != 0 && next_is_fit)
    return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrFormat(
      "%s may be written by others (mode %04o), who could change what this node runs; run: chmod "
      "go-w %s",
      path, info.st_mode & 07777U, path));
}

absl::StatusOr<std::string> RealPath(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return ErrnoStatus(errno, absl::StrCat("resolve ", path));
  std::string result(resolved);
  free(resolved);
  return result;
}

const char* MachineName(uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "x86-64";
    case EM_386:
      return "i386";
    case EM_AARCH64:
      return "aarch64";
    case EM_ARM:
      return "arm";
    case EM_RISCV:
      return "riscv";
    default:
      return "another machine";
  }
}

}  // namespace

bool IsPluginName(std::string_view name) {
  if (name.empty() || name.size() > 64 || name[0] < 'a' || name[0] > 'z') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

absl::Status CheckPath(const std::string& path) {
  // From the file up, so that each directory knows whether what follows it is fit.
  bool next_is_fit = false;
  for (std::string part = path;;) {
    struct stat info {};
    if (lstat(part.c_str(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("stat ", part));
    if (absl::Status status = CheckOne(part, info, next_is_fit); !status.ok()) return status;
    next_is_fit = OwnerIsFit(info.st_uid);
    if (part == "/") return absl::OkStatus();
    const size_t slash = part.rfind('/');
    part = slash == 0 || slash == std::string::npos ? "/" : part.substr(0, slash);
  }
}

std::string NamesIn(const std::string& dir) {
  std::vector<std::string> names;
  if (DIR* listing = opendir(dir.c_str())) {
    while (const dirent* entry = readdir(listing)) {
      const std::string_view file = entry->d_name;
      if (file.size() <= 3 || file.substr(file.size() - 3) != ".so") continue;
      const std::string_view name = file.substr(0, file.size() - 3);
      if (IsPluginName(name)) names.emplace_back(name);
    }
    closedir(listing);
  }
  std::sort(names.begin(), names.end());
  if (names.size() > 20) {
    names.resize(20);
    names.emplace_back("...");
  }
  return names.empty() ? "no plugin" : absl::StrJoin(names, ", ");
}

absl::StatusOr<FileRead> ReadPluginFile(const std::string& dir, const std::string& name) {
  auto real_dir = RealPath(dir);
  if (!real_dir.ok()) {
    return absl::NotFoundError(absl::StrCat("the plugin directory ", dir, " cannot be read (",
                                            real_dir.status().message(),
                                            "); create it, or give another --plugin-dir"));
  }
  const std::string asked = absl::StrCat(*real_dir, "/", name, ".so");
  auto path = RealPath(asked);
  if (!path.ok()) {
    return absl::NotFoundError(
        absl::StrCat("there is no ", asked, "; ", *real_dir, " has ", NamesIn(*real_dir),
                     ": copy the plugin there, or give another --plugin-dir"));
  }
  if (absl::Status status = CheckPath(asked); !status.ok()) return status;
  if (*path != asked) {  // NAME.so is a link
    if (absl::Status status = CheckPath(*path); !status.ok()) return status;
  }
  const Fd fd(open(path->c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(errno, absl::StrCat("open ", *path));
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("stat ", *path));
  // Once more on the descriptor: what is read is what was judged.
  if (absl::Status status = CheckOne(*path, info, false); !status.ok()) return status;
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat(*path, " is not a regular file; put the plugin's .so there"));
  }
  if (static_cast<uint64_t>(info.st_size) > kMaxFileBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat(*path, " has ", HumanBytes(static_cast<uint64_t>(info.st_size)),
                     ", and a plugin may have ", HumanBytes(kMaxFileBytes), "; strip it"));
  }
  FileRead result;
  result.path = *path;
  result.contents.resize(static_cast<size_t>(info.st_size));
  size_t have = 0;
  while (have < result.contents.size()) {
    const ssize_t got =
        read(fd.get(), result.contents.data() + have, result.contents.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, absl::StrCat("read ", *path));
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  result.contents.resize(have);
  return result;
}

absl::Status CheckElf(ByteView contents, std::string_view name) {
  const absl::string_view shown = ToAbsl(name);
  Elf64_Ehdr header{};
  if (contents.size() < EI_NIDENT || std::memcmp(contents.data(), ELFMAG, SELFMAG) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        shown, " is not a plugin: it is no ELF shared object; build it with helo_add_plugin()"));
  }
  if (contents[EI_CLASS] != ELFCLASS64 || contents[EI_DATA] != ELFDATA2LSB ||
      contents.size() < sizeof(header)) {
    return absl::FailedPreconditionError(
        absl::StrCat(shown, " was built for another kind of machine and this node runs on ",
                     kMachineName, "; build it there"));
  }
  std::memcpy(&header, contents.data(), sizeof(header));
  if (header.e_machine != kMachine) {
    return absl::FailedPreconditionError(
        absl::StrCat(shown, " was built for ", MachineName(header.e_machine),
                     " and this node runs on ", kMachineName, "; build it for this machine"));
  }
  if (header.e_type != ET_DYN) {
    return absl::FailedPreconditionError(
        absl::StrCat(shown, " is an ELF file but no shared object; link it with -shared"));
  }
  const absl::Status cut = absl::FailedPreconditionError(
      absl::StrCat(shown, " is cut short: it has ", contents.size(),
                   " bytes and its headers name more; copy it again, whole"));
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff > contents.size() ||
      size_t{header.e_phnum} * sizeof(Elf64_Phdr) > contents.size() - header.e_phoff)
    return cut;
  for (size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, contents.data() + header.e_phoff + i * sizeof(segment), sizeof(segment));
    if (segment.p_type != PT_LOAD) continue;
    if (segment.p_filesz > contents.size() || segment.p_offset > contents.size() - segment.p_filesz)
      return cut;
  }
  return absl::OkStatus();
}

std::string Sha256Hex(ByteView contents) {
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (EVP_Digest(contents.data(), contents.size(), digest, &length, EVP_sha256(), nullptr) != 1)
    return {};
  return ToHex({digest, length});
}

}  // namespace helo::plugins
