// What the kernel grants this process and what it has open. man 2 getrlimit, man 5 proc. Thread:
// any, one at a time for each FdReader.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <memory>

#include "p2p/base/fd_ticket.h"

namespace helo::peers {

inline constexpr uint64_t kFdInfinity = uint64_t{1} << 30;  // what RLIM_INFINITY is cut to

struct FdLimit {
  uint64_t soft = 0, hard = 0;
  int open_now = 0;  // /proc/self/fd
};
absl::StatusOr<FdLimit> ReadFdLimit();
// Raises the soft limit toward the hard one as far as `want`, never lowers it; returns what holds
// afterwards. That it cannot be raised is no error here: PlanFds says what fits.
absl::StatusOr<FdLimit> RaiseFdLimit(uint64_t want);

// Reads again and again from one directory that stays open, so that it works when not one more
// descriptor is to be had, which is when it matters.
class FdReader {
 public:
  // Since Linux 6.2 the directory's size is the count: a microsecond, where reading 10,000 names
  // takes some 50 ms. `by_name`: read them all the same, as on an older kernel.
  static absl::StatusOr<std::unique_ptr<FdReader>> Open(FdTicket ticket, bool by_name = false);
  ~FdReader();
  FdReader(const FdReader&) = delete;
  FdReader& operator=(const FdReader&) = delete;
  absl::StatusOr<FdLimit>
  Read();  // open_now counts the reader's own descriptor, which has a ticket
  int FdForShow() const;

 private:
  struct Directory;
  explicit FdReader(std::unique_ptr<Directory> directory);
  std::unique_ptr<Directory> directory_;
};

}  // namespace helo::peers
