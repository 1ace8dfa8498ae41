// Whole-file writes that survive a crash, and the directory that belongs to one process.
#include "p2p/base/atomic_file.h"

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "p2p/base/text.h"

namespace helo {
namespace {

class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  ~OwnedFd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

constexpr char kTemporary[] = ".tmp-";
constexpr char kLockName[] = "LOCK";

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status SyncDirectory(const std::string& dir) {
  const int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("open directory ", dir));
  const OwnedFd owned(fd);
  // Some file systems cannot sync a directory and say EINVAL: they order renames themselves.
  if (fsync(fd) != 0 && errno != EINVAL)
    return ErrnoStatus(errno, absl::StrCat("fsync directory ", dir));
  return absl::OkStatus();
}

absl::Status WriteAll(int fd, std::string_view contents, const std::string& path) {
  while (!contents.empty()) {
    const ssize_t wrote = write(fd, contents.data(), contents.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return ErrnoStatus(errno, absl::StrCat("write ", path));
    contents.remove_prefix(static_cast<size_t>(wrote));
  }
  return absl::OkStatus();
}

bool AllDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Is `name` one that WriteFileAtomically makes up: something.tmp-PID-N?
bool IsTemporaryName(std::string_view name) {
  const size_t at = name.rfind(kTemporary);
  if (at == std::string_view::npos || at == 0) return false;
  const std::string_view tail = name.substr(at + sizeof(kTemporary) - 1);
  const size_t dash = tail.find('-');
  return dash != std::string_view::npos && AllDigits(tail.substr(0, dash)) &&
         AllDigits(tail.substr(dash + 1));
}

// What an earlier process left when it was killed in the middle of a write. Only with the lock
// held.
void RemoveTemporaries(int dir_fd) {
  const int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  DIR* dir = fdopendir(fd);
  if (dir == nullptr) {
    close(fd);
    return;
  }
  while (const dirent* entry = readdir(dir)) {
    if (IsTemporaryName(entry->d_name)) unlinkat(dir_fd, entry->d_name, 0);
  }
  closedir(dir);
}

absl::Status MakeDirectories(const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      // A parent that exists but may not be written says EROFS or EACCES for a name that is there
      // already.
      const int error = errno;
      struct stat info {};
      if (stat(part.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
        const absl::Status status =
            ErrnoStatus(error, absl::StrCat("create data directory ", part));
        return absl::Status(
            status.code(),
            absl::StrCat(status.message(),
                         "; create it yourself with mode 0700 or give another --data-dir"));
      }
    }
    if (slash == std::string::npos) return absl::OkStatus();
  }
}

absl::Status CheckOwner(int dir_fd, const std::string& path) {
  struct stat info {};
  if (fstat(dir_fd, &info) != 0)
    return ErrnoStatus(errno, absl::StrCat("stat data directory ", path));
  if (info.st_uid != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrFormat("data directory %s belongs to uid %d and this process runs as uid %d, so "
                        "the key in it would not be "
                        "ours alone; run as that user, or: chown -R %d %s",
                        path, info.st_uid, geteuid(), geteuid(), path));
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "data directory %s may be written by others (mode %04o), who could replace the node's key; "
        "run: chmod 700 %s",
        path, info.st_mode & 07777U, path));
  }
  return absl::OkStatus();
}

// "pid 1234", as the holder of the lock wrote it.
std::string HolderOf(int lock_fd) {
  char text[32];
  const ssize_t got = pread(lock_fd, text, sizeof(text), 0);
  std::string_view pid(text, got > 0 ? static_cast<size_t>(got) : 0);
  while (!pid.empty() && pid.back() == '\n') pid.remove_suffix(1);
  return AllDigits(pid) ? absl::StrCat("the process with pid ", ToAbsl(pid)) : "another process";
}

}  // namespace

absl::Status WriteFileAtomically(const std::string& path, std::string_view contents,
                                 unsigned mode) {
  static std::atomic<uint64_t> counter{0};
  const std::string temporary = absl::StrCat(path, kTemporary, getpid(), "-", counter.fetch_add(1));
  const int fd =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("create ", temporary));
  OwnedFd owned(fd);
  absl::Cleanup remove = [&] { unlink(temporary.c_str()); };
  // The umask may have taken bits away that the caller asked for.
  if (fchmod(fd, mode) != 0) return ErrnoStatus(errno, absl::StrCat("chmod ", temporary));
  if (absl::Status status = WriteAll(fd, contents, temporary); !status.ok()) return status;
  if (fsync(fd) != 0) return ErrnoStatus(errno, absl::StrCat("fsync ", temporary));
  if (close(owned.Release()) != 0 && errno != EINTR)
    return ErrnoStatus(errno, absl::StrCat("close ", temporary));
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("rename ", temporary, " to ", path));
  }
  std::move(remove).Cancel();
  return SyncDirectory(DirectoryOf(path));
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t max_bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("open ", path));
  const OwnedFd owned(fd);
  std::string contents;
  char chunk[16384];
  for (;;) {
    const ssize_t got = read(fd, chunk, sizeof(chunk));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, absl::StrCat("read ", path));
    if (got == 0) return contents;
    contents.append(chunk, static_cast<size_t>(got));
    if (contents.size() > max_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(
          path, " is larger than the ", HumanBytes(max_bytes), " that such a file may have"));
    }
  }
}

absl::StatusOr<std::string> SetAside(const std::string& path) {
  for (uint64_t n = 1;; ++n) {
    const std::string aside = absl::StrCat(path, ".corrupt-", n);
    if (renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, aside.c_str(), RENAME_NOREPLACE) != 0) {
      if (errno == EEXIST) continue;
      if (errno != EINVAL && errno != ENOSYS)
        return ErrnoStatus(errno, absl::StrCat("rename ", path, " to ", aside));
      // A file system without RENAME_NOREPLACE: the data directory is ours alone, so looking first
      // will do.
      struct stat info {};
      if (lstat(aside.c_str(), &info) == 0) continue;
      if (rename(path.c_str(), aside.c_str()) != 0) {
        return ErrnoStatus(errno, absl::StrCat("rename ", path, " to ", aside));
      }
    }
    if (absl::Status status = SyncDirectory(DirectoryOf(path)); !status.ok()) return status;
    return aside;
  }
}

absl::StatusOr<DataDir> DataDir::Open(const std::string& path) {
  if (path.empty())
    return absl::InvalidArgumentError("the data directory's name is empty; give --data-dir DIR");
  std::string dir = path;
  if (dir[0] != '/') {
    // Absolute, so that every message and file names it the same whatever the working directory
    // becomes.
    char* cwd = getcwd(nullptr, 0);
    if (cwd == nullptr)
      return ErrnoStatus(errno, absl::StrCat("find the directory that ", path, " is relative to"));
    dir = absl::StrCat(cwd, "/", path);
    free(cwd);
  }
  while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
  if (absl::Status status = MakeDirectories(dir); !status.ok()) return status;

  const int dir_fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) return ErrnoStatus(errno, absl::StrCat("open data directory ", dir));
  const OwnedFd owned_dir(dir_fd);
  if (absl::Status status = CheckOwner(dir_fd, dir); !status.ok()) return status;

  const int lock_fd = openat(dir_fd, kLockName, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (lock_fd < 0) return ErrnoStatus(errno, absl::StrCat("open ", dir, "/", kLockName));
  OwnedFd owned_lock(lock_fd);
  if (flock(lock_fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, absl::StrCat("lock ", dir, "/", kLockName));
    return absl::FailedPreconditionError(
        absl::StrCat("data directory ", dir, " is in use by ", HolderOf(lock_fd),
                     "; stop that one, or give this one another --data-dir"));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(lock_fd, 0) != 0)
    return ErrnoStatus(errno, absl::StrCat("truncate ", dir, "/", kLockName));
  if (absl::Status status = WriteAll(lock_fd, pid, absl::StrCat(dir, "/", kLockName)); !status.ok())
    return status;
  RemoveTemporaries(dir_fd);
  return DataDir(std::move(dir), owned_lock.Release());
}

DataDir::DataDir(DataDir&& other) noexcept
    : path_(std::move(other.path_)), lock_fd_(std::exchange(other.lock_fd_, -1)) {}

DataDir::~DataDir() {
  if (lock_fd_ < 0) return;
  // A later refusal must not name a pid that is gone. If it fails, it only names that pid.
  if (ftruncate(lock_fd_, 0) != 0) errno = 0;
  close(lock_fd_);
}

}  // namespace helo
