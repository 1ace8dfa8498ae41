// What this machine says: limits, /proc, a try at binding, the data directory's permissions.
#include <absl/strings/str_cat.h>
#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "p2p/base/endpoint.h"
#include "p2p/base/log.h"
#include "p2p/base/text.h"
#include "p2p/net/listener.h"
#include "p2p/tls/node_key.h"
#include "rpc/tool/doctor.h"

namespace helo::tool {
namespace {

std::vector<uint64_t> Numbers(const char* path) {
  std::ifstream file(path);
  std::vector<uint64_t> numbers;
  for (uint64_t n = 0; file >> n;) numbers.push_back(n);
  return numbers;
}

std::optional<uint64_t> NumberAt(const char* path, size_t index) {
  const std::vector<uint64_t> numbers = Numbers(path);
  return index < numbers.size() ? std::optional<uint64_t>(numbers[index]) : std::nullopt;
}

DoctorFacts::Port TryPort(const ListenAddress& address) {
  using Kind = DoctorFacts::Port::Kind;
  DoctorFacts::Port port;
  port.asked = address.ToString();
  port.port = address.port;
  FdPool pool(PoolKind::kListener, 1);
  // The three steps that a node takes, and closed again at once.
  const absl::StatusOr<net::Listener> listener =
      net::Listener::Open(address, kDefaultBacklog, *pool.TryTake(), NullLog());
  if (listener.ok()) return port;
  port.sentence = std::string(listener.status().message());
  switch (listener.status().code()) {
    case absl::StatusCode::kAlreadyExists:
      port.kind = Kind::kInUse;
      break;
    case absl::StatusCode::kPermissionDenied:
      port.kind = Kind::kPrivileged;
      break;
    case absl::StatusCode::kInvalidArgument:
      port.kind = Kind::kNoSuchAddress;
      break;
    case absl::StatusCode::kFailedPrecondition:
      port.kind = Kind::kNoIpv6;
      break;
    default:
      port.kind = Kind::kFailed;
      break;
  }
  return port;
}

// By the rules that helod refuses a directory for. Root looks at the directory of a service, whose
// node runs as its owner.
void LookAtDataDir(DoctorFacts& facts) {
  const std::string& dir = facts.data_dir;
  facts.data_dir_uid = geteuid();
  struct stat at {};
  if (stat(dir.c_str(), &at) != 0) {
    if (errno != ENOENT) {
      facts.data_dir_exists = true;
      facts.data_dir_problems.push_back(ErrnoSentence(errno, absl::StrCat("looking at ", dir)));
    }
    return;
  }
  facts.data_dir_exists = true;
  if (!S_ISDIR(at.st_mode)) {
    facts.data_dir_problems.push_back(absl::StrCat(dir, " is not a directory"));
    return;
  }
  if (geteuid() == 0) facts.data_dir_uid = at.st_uid;
  if (at.st_uid != facts.data_dir_uid) {
    facts.data_dir_problems.push_back(absl::StrCat(dir, " belongs to uid ", at.st_uid,
                                                   ", and you are uid ", geteuid(),
                                                   ": a node of yours refuses it"));
  }
  if ((at.st_mode & 022) != 0) {
    facts.data_dir_problems.push_back(absl::StrCat(
        dir, " may be written by others (mode ", absl::Hex(at.st_mode >> 6 & 7),
        absl::Hex(at.st_mode >> 3 & 7), absl::Hex(at.st_mode & 7), "): a node refuses it"));
  }
  if (access(dir.c_str(), W_OK) != 0) {
    facts.data_dir_problems.push_back(ErrnoSentence(errno, absl::StrCat("writing to ", dir)));
  }
  const std::string key = dir + "/node.key";
  if (lstat(key.c_str(), &at) == 0) {
    const absl::StatusOr<tls::NodeKey> loaded = tls::NodeKey::Load(key);
    if (!loaded.ok()) facts.data_dir_problems.emplace_back(loaded.status().message());
  }
  struct statvfs space {};
  if (statvfs(dir.c_str(), &space) == 0) {
    facts.data_dir_free_bytes = uint64_t{space.f_bavail} * space.f_frsize;
  }
}

}  // namespace

absl::StatusOr<DoctorFacts> GatherFacts(const DoctorQuestion& question) {
  DoctorFacts facts;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return ErrnoStatus(errno, "getrlimit RLIMIT_NOFILE");
  }
  facts.fd_soft = limit.rlim_cur;
  facts.fd_hard = limit.rlim_max;
  facts.nr_open = NumberAt("/proc/sys/fs/nr_open", 0);
  facts.files_open = NumberAt("/proc/sys/fs/file-nr", 0);
  facts.files_most = NumberAt("/proc/sys/fs/file-nr", 2);
  // Without /proc there are no counters; the checks that need them say nothing then.
  if (absl::StatusOr<net::NetCounters> net = net::ReadNetCounters(); net.ok()) {
    facts.net = *std::move(net);
  }
  facts.port_low = NumberAt("/proc/sys/net/ipv4/ip_local_port_range", 0);
  facts.port_high = NumberAt("/proc/sys/net/ipv4/ip_local_port_range", 1);
  facts.abort_on_overflow = NumberAt("/proc/sys/net/ipv4/tcp_abort_on_overflow", 0);
  std::ifstream ipv6("/proc/net/if_inet6");
  std::string line;
  facts.ipv6 = static_cast<bool>(std::getline(ipv6, line));

  std::vector<std::string> listen = question.listen;
  if (listen.empty()) listen = {kDefaultListen};
  for (const std::string& text : listen) {
    const absl::StatusOr<ListenAddress> address = ListenAddress::Parse(text);
    if (!address.ok()) return absl::InvalidArgumentError(address.status().message());
    if (question.try_ports) facts.ports.push_back(TryPort(*address));
  }

  timex clock{};  // modes 0: only asks
  const int state = adjtimex(&clock);
  if (state >= 0) {
    facts.clock_synchronised = state != TIME_ERROR && (clock.status & STA_UNSYNC) == 0;
  }
  facts.data_dir = question.data_dir;
  if (!facts.data_dir.empty()) LookAtDataDir(facts);
  return facts;
}

}  // namespace helo::tool
