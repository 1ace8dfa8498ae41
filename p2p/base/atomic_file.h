// Files that must survive. Written whole to a temporary file in the same directory, fsync'ed,
// renamed, and the directory fsync'ed; so a reader sees the old file or the new one. man 2 rename,
// man 2 fsync.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "p2p/base/bytes.h"

namespace helo {

// `mode`: 0600 for secrets. The file is created with that mode before a byte is written.
absl::Status WriteFileAtomically(const std::string& path, std::string_view contents, unsigned mode);
// NotFound if absent; ResourceExhausted if larger than `max_bytes`.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t max_bytes);
// Renames a file that cannot be used to `path`.corrupt-N (N counts up, nothing is overwritten);
// returns the new name.
absl::StatusOr<std::string> SetAside(const std::string& path);

// A directory that only this process uses. Created 0700 with its parents; one that is owned by
// another uid, or that others may write, is refused with the remedy; the lock is flock(2) on
// `dir`/LOCK, and the refusal of a second process names the pid of the first. Unlocked when
// destroyed.
class DataDir {
 public:
  static absl::StatusOr<DataDir> Open(const std::string& path);
  DataDir(DataDir&& other) noexcept;
  DataDir& operator=(DataDir&&) = delete;
  ~DataDir();
  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  DataDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}
  std::string path_;
  int lock_fd_;
};

}  // namespace helo
