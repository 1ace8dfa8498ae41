#include "p2p/peers/fd_limit.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include "p2p/base/text.h"

namespace helo::peers {

struct FdReader::Directory {
  DIR* dir = nullptr;
  bool by_name = false;
  FdTicket ticket;
  ~Directory() { closedir(dir); }
};

namespace {

// The kernel refuses more than this even where the hard limit is infinite (man 5 proc).
uint64_t NrOpen() {
  std::ifstream file("/proc/sys/fs/nr_open");
  uint64_t most = 0;
  return file >> most ? most : kFdInfinity;
}

}  // namespace

int FdReader::FdForShow() const { return dirfd(directory_->dir); }

absl::StatusOr<std::unique_ptr<FdReader>> FdReader::Open(FdTicket ticket, bool by_name) {
  DIR* const dir = opendir("/proc/self/fd");
  if (dir == nullptr) return ErrnoStatus(errno, "opendir /proc/self/fd");
  auto directory = std::make_unique<Directory>();
  directory->dir = dir;
  directory->by_name = by_name;
  directory->ticket = std::move(ticket);
  return std::unique_ptr<FdReader>(new FdReader(std::move(directory)));
}

FdReader::FdReader(std::unique_ptr<Directory> directory) : directory_(std::move(directory)) {}
FdReader::~FdReader() = default;

absl::StatusOr<FdLimit> FdReader::Read() {
  rlimit raw{};
  if (getrlimit(RLIMIT_NOFILE, &raw) != 0) return ErrnoStatus(errno, "getrlimit RLIMIT_NOFILE");
  FdLimit limit;
  limit.soft = std::min<uint64_t>(raw.rlim_cur, kFdInfinity);
  limit.hard = std::min<uint64_t>(raw.rlim_max, kFdInfinity);
  struct stat size {};
  if (!directory_->by_name && fstat(dirfd(directory_->dir), &size) == 0 && size.st_size > 0) {
    limit.open_now = static_cast<int>(size.st_size);
    return limit;
  }
  rewinddir(directory_->dir);
  errno = 0;
  while (const dirent* entry = readdir(directory_->dir)) {
    if (entry->d_name[0] != '.') ++limit.open_now;
  }
  if (errno != 0) return ErrnoStatus(errno, "readdir /proc/self/fd");
  return limit;
}

absl::StatusOr<FdLimit> ReadFdLimit() {
  auto reader = FdReader::Open({});
  if (!reader.ok()) return reader.status();
  absl::StatusOr<FdLimit> limit = (*reader)->Read();
  if (limit.ok()) --limit->open_now;  // the directory itself, closed again
  return limit;
}

absl::StatusOr<FdLimit> RaiseFdLimit(uint64_t want) {
  rlimit raw{};
  if (getrlimit(RLIMIT_NOFILE, &raw) != 0) return ErrnoStatus(errno, "getrlimit RLIMIT_NOFILE");
  const rlim_t now = raw.rlim_cur;
  for (const uint64_t ask : {want, std::min(want, NrOpen())}) {
    raw.rlim_cur = std::min<rlim_t>(ask, raw.rlim_max);
    if (raw.rlim_cur <= now || setrlimit(RLIMIT_NOFILE, &raw) == 0) break;
  }
  return ReadFdLimit();
}

}  // namespace helo::peers
