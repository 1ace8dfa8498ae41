#include "p2p/net/net_counters.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>

#include <array>
#include <string>
#include <vector>

#include "p2p/base/atomic_file.h"
#include "p2p/base/text.h"

namespace helo::net {
namespace {

constexpr size_t kMostBytes = size_t{1} << 20;  // such a file has a few kilobytes

using Field = std::optional<uint64_t> NetCounters::*;

struct Name {
  std::string_view name;
  Field field;
};

constexpr std::array<Name, 5> kTcpExt{{
    {"ListenOverflows", &NetCounters::listen_overflows},
    {"ListenDrops", &NetCounters::listen_drops},
    {"TCPReqQFullDrop", &NetCounters::syn_queue_drops},
    {"SyncookiesSent", &NetCounters::syn_cookies_sent},
    {"TCPTimeWaitOverflow", &NetCounters::time_wait_overflows},
}};

constexpr std::array<Name, 4> kTcp{{
    {"inuse", &NetCounters::tcp_in_use},
    {"orphan", &NetCounters::orphans},
    {"tw", &NetCounters::time_wait},
    {"mem", &NetCounters::tcp_memory_pages},
}};

constexpr std::array<Name, 1> kTcp6{{{"inuse", &NetCounters::tcp6_in_use}}};

struct Setting {
  const char* path;
  Field field;
};

constexpr std::array<Setting, 5> kSettings{{
    {"/proc/sys/net/ipv4/tcp_max_tw_buckets", &NetCounters::max_time_wait},
    {"/proc/sys/net/ipv4/tcp_max_orphans", &NetCounters::max_orphans},
    {"/proc/sys/net/core/somaxconn", &NetCounters::somaxconn},
    {"/proc/sys/net/ipv4/tcp_max_syn_backlog", &NetCounters::max_syn_backlog},
    {"/proc/sys/net/ipv4/tcp_syncookies", &NetCounters::syncookies},
}};

using Words = std::vector<absl::string_view>;

Words Split(absl::string_view line) {
  return absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
}

template <typename Names>
void Take(const Names& names, absl::string_view name, absl::string_view value, NetCounters& out) {
  for (const Name& known : names) {
    uint64_t number = 0;
    if (ToAbsl(known.name) == name && absl::SimpleAtoi(value, &number)) out.*known.field = number;
  }
}

}  // namespace

void ParseNetstat(std::string_view text, NetCounters& out) {
  const std::vector<absl::string_view> lines = absl::StrSplit(ToAbsl(text), '\n');
  for (size_t i = 0; i + 1 < lines.size(); i += 2) {
    const Words names = Split(lines[i]);
    const Words values = Split(lines[i + 1]);
    if (names.empty() || names[0] != "TcpExt:" || values.empty() || values[0] != names[0]) continue;
    for (size_t k = 1; k < names.size() && k < values.size(); ++k) {
      Take(kTcpExt, names[k], values[k], out);
    }
  }
}

void ParseSockstat(std::string_view text, NetCounters& out) {
  for (const absl::string_view line : absl::StrSplit(ToAbsl(text), '\n')) {
    const Words words = Split(line);
    for (size_t k = 1; k + 1 < words.size(); k += 2) {
      if (words[0] == "TCP:") Take(kTcp, words[k], words[k + 1], out);
      if (words[0] == "TCP6:") Take(kTcp6, words[k], words[k + 1], out);
    }
  }
}

absl::StatusOr<NetCounters> ReadNetCounters() {
  NetCounters counters;
  const absl::StatusOr<std::string> netstat = ReadWholeFile("/proc/self/net/netstat", kMostBytes);
  const absl::StatusOr<std::string> sockstat = ReadWholeFile("/proc/self/net/sockstat", kMostBytes);
  if (!netstat.ok() && !sockstat.ok()) return netstat.status();
  if (netstat.ok()) ParseNetstat(*netstat, counters);
  if (sockstat.ok()) ParseSockstat(*sockstat, counters);
  // Absent where the kernel has no IPv6.
  const absl::StatusOr<std::string> sockstat6 =
      ReadWholeFile("/proc/self/net/sockstat6", kMostBytes);
  if (sockstat6.ok()) ParseSockstat(*sockstat6, counters);
  for (const Setting& setting : kSettings) {
    const absl::StatusOr<std::string> text = ReadWholeFile(setting.path, kMostBytes);
    uint64_t number = 0;
    if (text.ok() && absl::SimpleAtoi(*text, &number)) counters.*setting.field = number;
  }
  return counters;
}

}  // namespace helo::net
