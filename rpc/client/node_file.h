// helod.json: what a running helod leaves in its data directory so that tools find it (written when
// ready, removed at a clean stop). After a kill it stays behind, so what it says is a hint until
// the node has answered.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace helo::client {

inline constexpr char kNodeFileName[] = "helod.json";
inline constexpr char kTokenFileName[] = "admin.token";

struct NodeFile {
  int64_t pid = 0;
  std::string id;                   // 64 hex digits
  std::vector<std::string> listen;  // bound peer addresses
  std::string admin;                // "127.0.0.1:4357"
  std::string version;
  int64_t written_s = 0;  // when it was, in seconds since 1970; 0: not known
};

absl::StatusOr<NodeFile> ParseNodeFile(std::string_view json);

// NotFound: no such directory, or no node runs in it. PermissionDenied: the directory is another
// user's. DataLoss: the file is not one that helod wrote.
absl::StatusOr<NodeFile> ReadNodeFile(const std::string& data_dir);

// False if the kernel says that there is no such process, or that it has ended already. A process
// in another pid namespace looks the same.
bool ProcessExists(int64_t pid);
// False also if that process began after the file was written: the number went to another one.
bool WriterExists(const NodeFile& file);

}  // namespace helo::client
