#include "rpc/client/node_file.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <limits>
#include <vector>

#include <nlohmann/json.hpp>

#include "p2p/base/atomic_file.h"
#include "p2p/base/node_id.h"
#include "p2p/base/text.h"

namespace helo::client {
namespace {

constexpr size_t kMaxNodeFile = 256 * 1024;  // a few hundred listeners

absl::Status NotANodeFile(std::string_view why) {
  return absl::DataLossError(absl::StrCat("it is not one that helod wrote: ", ToAbsl(why)));
}

}  // namespace

absl::StatusOr<NodeFile> ParseNodeFile(std::string_view json) {
  const nlohmann::json root = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return NotANodeFile("no JSON");
  if (!root.is_object()) return NotANodeFile("no JSON object");
  NodeFile file;
  const auto pid = root.find("pid");
  if (pid == root.end() || !pid->is_number_integer()) return NotANodeFile("no field pid");
  file.pid = pid->get<int64_t>();
  if (file.pid <= 0) return NotANodeFile("its pid is not one");
  const auto admin = root.find("admin");
  if (admin == root.end() || !admin->is_string()) return NotANodeFile("no field admin");
  file.admin = admin->get<std::string>();
  const auto id = root.find("id");
  if (id == root.end() || !id->is_string()) return NotANodeFile("no field id");
  file.id = id->get<std::string>();
  if (!NodeId::FromHex(file.id)) return NotANodeFile("its id is not 64 hex digits");
  // The rest is for people; a version that names it otherwise does not make the node unreachable.
  if (const auto listen = root.find("listen"); listen != root.end() && listen->is_array()) {
    for (const auto& address : *listen) {
      if (address.is_string()) file.listen.push_back(address.get<std::string>());
    }
  }
  if (const auto version = root.find("version"); version != root.end() && version->is_string()) {
    file.version = version->get<std::string>();
  }
  return file;
}

absl::StatusOr<NodeFile> ReadNodeFile(const std::string& data_dir) {
  const std::string path = data_dir + "/" + kNodeFileName;
  struct stat facts {};
  if (stat(data_dir.c_str(), &facts) != 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) {
      return absl::NotFoundError(
          absl::StrCat("there is no data directory ", data_dir,
                       ". Check the path, or start a node there: helod --data-dir ", data_dir));
    }
    if (error == EACCES) {
      return absl::PermissionDeniedError(
          absl::StrCat(data_dir, " may not be looked into by uid ", geteuid(),
                       ". Run helo as the user that runs the node (sudo -u USER helo ...), or use "
                       "--admin HOST:PORT with --token-file PATH"));
    }
    return ErrnoStatus(error, absl::StrCat("stat ", data_dir));
  }
  if (!S_ISDIR(facts.st_mode)) {
    return absl::NotFoundError(absl::StrCat(
        data_dir, " is not a directory. --data-dir wants the directory that helod was given"));
  }
  if (access(path.c_str(), R_OK) != 0 && errno == EACCES) {
    return absl::PermissionDeniedError(
        absl::StrCat("the data directory ", data_dir, " belongs to uid ", facts.st_uid, " and uid ",
                     geteuid(), " may not read it. Run helo as its owner (sudo -u '#", facts.st_uid,
                     "' helo ...), or use --admin HOST:PORT with --token-file PATH"));
  }
  absl::StatusOr<std::string> text = ReadWholeFile(path, kMaxNodeFile);
  if (!text.ok()) {
    if (absl::IsNotFound(text.status())) {
      return absl::NotFoundError(absl::StrCat(
          "no node runs in ", data_dir, ": there is no ", kNodeFileName,
          " in it, which helod writes when it is ready. Start it: helod --data-dir ", data_dir));
    }
    return text.status();
  }
  absl::StatusOr<NodeFile> file = ParseNodeFile(*text);
  if (!file.ok()) {
    return absl::DataLossError(absl::StrCat("cannot use ", path, ": ", file.status().message(),
                                            ". Start the node again, or use --admin HOST:PORT"));
  }
  struct stat written {};
  if (stat(path.c_str(), &written) == 0) file->written_s = written.st_mtim.tv_sec;
  return file;
}

bool ProcessExists(int64_t pid) {
  if (pid <= 0 || pid > std::numeric_limits<pid_t>::max()) return false;
  if (kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return false;
  // A zombie, which its parent has not collected yet, still has its number. man 5 proc: "PID (NAME)
  // STATE ...", where NAME may hold anything.
  std::ifstream in(absl::StrCat("/proc/", pid, "/stat"));
  std::string stat_line;
  if (!std::getline(in, stat_line)) return true;  // /proc may be closed to us
  const size_t name_end = stat_line.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= stat_line.size()) return true;
  const char state = stat_line[name_end + 2];
  return state != 'Z' && state != 'X';
}

bool WriterExists(const NodeFile& file) {
  if (!ProcessExists(file.pid)) return false;
  if (file.written_s == 0) return true;
  // man 5 proc: the 22nd field is when it began, in ticks after the boot, which /proc/stat dates.
  std::ifstream in(absl::StrCat("/proc/", file.pid, "/stat"));
  std::string stat_line;
  std::getline(in, stat_line);
  const size_t name_end = stat_line.rfind(')');
  if (name_end == std::string::npos) return true;
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(stat_line).substr(name_end + 1), ' ', absl::SkipEmpty());
  constexpr size_t kStartTime = 22 - 3;  // the first one here is the third
  int64_t ticks = 0;
  if (fields.size() <= kStartTime || !absl::SimpleAtoi(fields[kStartTime], &ticks)) return true;
  std::ifstream system("/proc/stat");
  std::string word;
  int64_t boot_s = 0;
  while (system >> word) {
    if (word == "btime" && system >> boot_s) break;
  }
  constexpr int64_t kSlack = 2;  // both clocks are rounded
  return boot_s == 0 || boot_s + ticks / sysconf(_SC_CLK_TCK) <= file.written_s + kSlack;
}

}  // namespace helo::client
