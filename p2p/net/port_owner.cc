#include "p2p/net/port_owner.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <dirent.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <vector>

#include "p2p/base/proc_tcp.h"
#include "p2p/base/text.h"

namespace helo::net {

namespace {

struct Row : ProcTcpRow {
  bool v6 = false;  // of tcp6
};

void ReadTable(const char* path, bool v6, std::vector<Row>& rows) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (const std::optional<ProcTcpRow> row = ParseProcTcpRow(line)) rows.push_back({*row, v6});
  }
}

// Whether a socket bound as `row` keeps one from being bound to `wanted`. Whether an IPv6 wildcard
// takes IPv4 too is not to be seen in /proc; it is assumed to.
bool InTheWay(const Row& row, const Endpoint& wanted, bool v6, bool dual) {
  if (row.local.port != wanted.port) return false;
  const bool row_any = row.local.ip.IsUnspecified();
  const bool row_v4 = row.local.ip.is_v4() && !row.v6;
  const bool row_mapped =
      row.v6 && row.local.ip.is_v4();  // an IPv4 connection of a dual-stack socket
  if (wanted.ip.IsUnspecified()) {
    if (!v6) return row_v4 || row_mapped || row_any;
    return dual || (row.v6 && !row_mapped);
  }
  return row_any ? (row.v6 || row_v4 == !v6) : row.local.ip == wanted.ip;
}

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// The number of the descriptor of process `pid` ("self" too) that is socket `inode`, or -1.
int FindFd(const std::string& pid, uint64_t inode) {
  const std::string path = absl::StrCat("/proc/", pid, "/fd");
  const std::string wanted = absl::StrCat("socket:[", inode, "]");
  const std::unique_ptr<DIR, DirCloser> dir(::opendir(path.c_str()));
  if (dir == nullptr) return -1;
  while (const dirent* entry = ::readdir(dir.get())) {
    std::array<char, 64> target{};
    const std::string link = absl::StrCat(path, "/", entry->d_name);
    const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
    if (size < 0 || std::string_view(target.data(), static_cast<size_t>(size)) != wanted) continue;
    int fd = -1;
    return absl::SimpleAtoi(entry->d_name, &fd) ? fd : -1;
  }
  return -1;
}

std::string CommandOf(int pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/comm"));
  std::string name;
  std::getline(file, name);
  return QuoteRemote(name);
}

std::string UserName(uint32_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return "";
  }
  return entry.pw_name;
}

void FindProcess(uint64_t inode, PortOwner& owner) {
  owner.fd = FindFd("self", inode);
  if (owner.fd >= 0) {
    owner.ours = true;
    owner.pid = ::getpid();
    owner.command = CommandOf(owner.pid);
    return;
  }
  const std::unique_ptr<DIR, DirCloser> proc(::opendir("/proc"));
  if (proc == nullptr) return;
  while (const dirent* entry = ::readdir(proc.get())) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry->d_name, &pid)) continue;
    if (FindFd(entry->d_name, inode) < 0) continue;
    owner.pid = pid;
    owner.command = CommandOf(pid);
    return;
  }
}

}  // namespace

std::optional<PortOwner> FindPortOwner(const Endpoint& wanted, bool v6, bool dual) {
  std::vector<Row> rows;
  ReadTable("/proc/net/tcp", false, rows);
  ReadTable("/proc/net/tcp6", true, rows);
  const Row* best = nullptr;
  bool port_has_listener = false;
  const auto rank = [](const Row& row) {
    return row.state == ProcTcpRow::kListen ? 0 : row.state == ProcTcpRow::kTimeWait ? 2 : 1;
  };
  for (const Row& row : rows) {
    if (row.state == ProcTcpRow::kListen && row.local.port == wanted.port) port_has_listener = true;
    if (!InTheWay(row, wanted, v6, dual)) continue;
    if (best == nullptr || rank(row) < rank(*best)) best = &row;
  }
  if (best == nullptr) return std::nullopt;

  PortOwner owner;
  owner.kind = best->state == ProcTcpRow::kListen     ? PortOwner::Kind::kListener
               : best->state == ProcTcpRow::kTimeWait ? PortOwner::Kind::kTimeWait
               : port_has_listener                    ? PortOwner::Kind::kConnection
                                                      : PortOwner::Kind::kOutgoing;
  owner.local = best->local;
  owner.remote = best->remote;
  if (owner.kind == PortOwner::Kind::kListener) owner.waiting = best->receive_queue;
  owner.uid = best->uid;
  owner.user = UserName(best->uid);
  if (best->inode != 0) FindProcess(best->inode, owner);
  return owner;
}

std::string Describe(const PortOwner& owner) {
  if (owner.ours) return absl::StrCat("this process (fd ", owner.fd, ")");
  if (owner.pid != 0) return absl::StrCat("process ", owner.pid, " (", owner.command, ")");
  if (!owner.user.empty()) return absl::StrCat("a process of user ", owner.user);
  return absl::StrCat("a process of uid ", owner.uid);
}

}  // namespace helo::net
