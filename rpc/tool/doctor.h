// helo doctor: this machine as a node would meet it. Facts are gathered in doctor_facts.cc and
// judged in doctor.cc, which is pure. Thread: the caller's.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "p2p/net/net_counters.h"

namespace helo::tool {

// A node that runs here, as far as it tells.
struct RunningNode {
  struct Listener {
    std::string asked, local;
    uint32_t backlog_asked = 0, backlog_effective = 0;
    uint64_t starved = 0;  // times it went without fd
  };
  uint64_t pid = 0;
  std::vector<Listener> listeners;
  uint64_t fd_limit = 0;
  bool fd_reduced = false;                // less than configured fits
  std::vector<std::string> fd_sentences;  // the sum first; if reduced, then what does not fit
  std::vector<std::string> full_pools;    // "inbound (64 of 64)"
  std::vector<int64_t> skews_us;          // of its peers: theirs minus ours
};

struct DoctorFacts {
  uint64_t fd_soft = 0, fd_hard = 0;
  std::optional<uint64_t> nr_open;                 // fs.nr_open: beyond it no limit can be raised
  std::optional<uint64_t> files_open, files_most;  // fs.file-nr, of the whole machine

  net::NetCounters net;
  std::optional<uint64_t> port_low, port_high;  // net.ipv4.ip_local_port_range
  std::optional<uint64_t> abort_on_overflow;
  bool ipv6 = false;

  struct Port {  // a place to listen on
    enum class Kind : uint8_t { kFree, kInUse, kPrivileged, kNoSuchAddress, kNoIpv6, kFailed };
    std::string asked;
    uint16_t port = 0;
    Kind kind = Kind::kFree;
    std::string sentence;  // p2p/net's, if it is not free
  };
  std::vector<Port> ports;  // empty: not looked at, a node has them

  std::optional<bool> clock_synchronised;

  std::string data_dir;  // empty: none was named
  bool data_dir_exists = false;
  uint32_t data_dir_uid = 0;                   // whose it has to be
  std::vector<std::string> data_dir_problems;  // sentences
  std::optional<uint64_t> data_dir_free_bytes;

  std::optional<RunningNode> node;
  std::string no_node;      // why it was not asked, if one seems to run
  bool node_hangs = false;  // and that is because it did not answer in time
};

struct Finding {
  enum class Level : uint8_t { kOk, kNote, kProblem };
  Level level = Level::kOk;
  std::string check;  // "fd-limit": for scripts; stable
  std::string says;   // the fact
  std::string means;  // what follows from it; empty with kOk
  // Where ("shell", "limits.conf", "sysctl.d", "systemd", "compose", ...) and what to write there.
  std::vector<std::pair<std::string, std::string>> remedies;
};

struct DoctorQuestion {
  std::vector<std::string> listen;  // addresses to try; empty: helod's default
  bool try_ports = true;
  std::string data_dir;
};
// InvalidArgument for an address that is none.
absl::StatusOr<DoctorFacts> GatherFacts(const DoctorQuestion& question);

// What a node without options asks for.
inline constexpr uint32_t kDefaultBacklog = 4096;
inline constexpr char kDefaultListen[] = "0.0.0.0:4356";

std::vector<Finding> Judge(const DoctorFacts& facts);

}  // namespace helo::tool
