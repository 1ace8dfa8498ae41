#include "tests/bench/node_usage.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "p2p/base/text.h"

namespace helo::load {
namespace {

absl::Status CannotSee(const std::string& path) {
  return absl::PermissionDeniedError(
      absl::StrCat(path, " cannot be read: helo-load must run as the node's own user, or as root"));
}

// Exact, unlike statm, whose counters are batched a CPU.
uint64_t ResidentKb(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/smaps_rollup"));
  for (std::string line; std::getline(file, line);) {
    uint64_t kb = 0;
    std::istringstream words(line);
    std::string name;
    if (words >> name >> kb && name == "Rss:") return kb;
  }
  return 0;
}

}  // namespace

absl::StatusOr<Usage> ReadUsage(pid_t pid) {
  Usage usage;
  clockid_t clock{};
  timespec spent{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0) {
    return absl::NotFoundError(absl::StrCat("there is no process ", pid));
  }
  usage.cpu_s = static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;

  const std::string stat_path = absl::StrCat("/proc/", pid, "/stat");
  std::ifstream stat(stat_path);
  std::string text;
  if (!std::getline(stat, text) || text.rfind(')') == std::string::npos)
    return CannotSee(stat_path);
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::vector<std::string> words;
  for (std::string word; fields >> word;) words.push_back(word);
  double user = 0;
  double system = 0;
  if (words.size() > 12 && absl::SimpleAtod(words[11], &user) &&
      absl::SimpleAtod(words[12], &system)) {
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    usage.user_s = user / ticks;
    usage.system_s = system / ticks;
  }

  usage.rss_kb = ResidentKb(pid);
  if (usage.rss_kb == 0) return CannotSee(absl::StrCat("/proc/", pid, "/smaps_rollup"));
  const std::string fd_path = absl::StrCat("/proc/", pid, "/fd");
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(fd_path.c_str()), closedir);
  if (dir == nullptr) return CannotSee(fd_path);
  while (const dirent* entry = readdir(dir.get())) usage.fds += entry->d_name[0] == '.' ? 0 : 1;
  return usage;
}

}  // namespace helo::load
