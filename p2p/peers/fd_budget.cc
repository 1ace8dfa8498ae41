#include "p2p/peers/fd_budget.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <dirent.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <memory>
#include <numeric>
#include <utility>

#include "p2p/base/text.h"

namespace helo::peers {
namespace {

constexpr uint64_t kInfinityMeans = uint64_t{1} << 30;
constexpr int64_t kHandshakesLeast = 64;
constexpr int64_t kHandshakesMost = 4096;

using Amounts = std::array<int64_t, kPoolKinds>;
constexpr std::array<PoolKind, kPoolKinds> kInOrder = {
    PoolKind::kInbound, PoolKind::kOutbound, PoolKind::kHandshake, PoolKind::kClosing,
    PoolKind::kAdmin,   PoolKind::kFiles,    PoolKind::kSpare,     PoolKind::kListener};

size_t Index(PoolKind kind) { return static_cast<size_t>(kind); }
int64_t Sum(const Amounts& amounts) {
  return std::accumulate(amounts.begin(), amounts.end(), int64_t{0});
}

std::string_view PoolNoun(PoolKind kind) {
  switch (kind) {
    case PoolKind::kListener:
      return "listeners";
    case PoolKind::kInbound:
      return "inbound peers";
    case PoolKind::kOutbound:
      return "outbound peers";
    case PoolKind::kHandshake:
      return "handshakes";
    case PoolKind::kClosing:
      return "closing";
    case PoolKind::kAdmin:
      return "admin";
    case PoolKind::kFiles:
      return "files and plugins";
    case PoolKind::kSpare:
      return "spare";
  }
  return "";
}

Amounts ToAmounts(const FdDemand& demand) {
  Amounts amounts{};
  const auto set = [&](PoolKind kind, int n) { amounts[Index(kind)] = std::max(n, 0); };
  set(PoolKind::kListener, demand.listeners);
  set(PoolKind::kInbound, demand.inbound);
  set(PoolKind::kOutbound, demand.outbound);
  set(PoolKind::kHandshake, demand.handshakes);
  set(PoolKind::kClosing, demand.closing);
  set(PoolKind::kAdmin, demand.admin);
  set(PoolKind::kFiles, demand.files);
  set(PoolKind::kSpare, demand.spare);
  return amounts;
}

// What is given up first when not everything fits: sockets that wait for a handshake or for their
// last byte cost a caller some time, a peer less is a peer less.
Amounts Comfortable(const Amounts& asked) {
  Amounts amounts = asked;
  const auto cap = [&](PoolKind kind, int64_t n) {
    amounts[Index(kind)] = std::min(amounts[Index(kind)], n);
  };
  cap(PoolKind::kHandshake, 16);
  cap(PoolKind::kClosing, 16);
  cap(PoolKind::kAdmin, 8);
  return amounts;
}

// `from` plus each pool's share of `room`, in proportion to how far it is from `to`; what rounding
// leaves goes to the pools in order of importance.
Amounts Share(const Amounts& from, const Amounts& to, int64_t room) {
  Amounts result = from;
  const int64_t wanted = Sum(to) - Sum(from);
  if (wanted <= 0) return result;
  room = std::min(room, wanted);
  int64_t left = room;
  for (size_t i = 0; i < kPoolKinds; ++i) {
    const int64_t share = (to[i] - from[i]) * room / wanted;
    result[i] += share;
    left -= share;
  }
  for (bool moved = true; left > 0 && moved;) {
    moved = false;
    for (PoolKind kind : kInOrder) {
      const size_t i = Index(kind);
      if (left == 0 || result[i] >= to[i]) continue;
      ++result[i];
      --left;
      moved = true;
    }
  }
  return result;
}

std::string SumSentence(const Amounts& pools, int open_now, uint64_t limit) {
  std::vector<std::string> parts = {absl::StrCat(open_now, " open now")};
  for (int i = 0; i < kPoolKinds; ++i) {
    parts.push_back(absl::StrCat(pools[static_cast<size_t>(i)], " ",
                                 ToAbsl(PoolNoun(static_cast<PoolKind>(i)))));
  }
  return absl::StrCat("File descriptors: ", absl::StrJoin(parts, " + "), " = ",
                      Sum(pools) + open_now, " of ", limit, ".");
}

std::vector<std::string> HowToRaise(uint64_t want, const FdLimit& limit) {
  std::vector<std::string> sentences;
  if (limit.hard > limit.soft) {
    sentences.push_back(absl::StrCat("The hard limit is ", limit.hard, ", so `ulimit -n ",
                                     std::min(want, limit.hard),
                                     "` in the shell that starts the node helps at once."));
  }
  if (limit.hard < want) {
    sentences.push_back(absl::StrCat(
        "The hard limit is ", limit.hard, ". Only root can raise it: as root, `ulimit -n ", want,
        "` before starting the node, or a line `USER hard nofile ", want,
        "` in /etc/security/limits.conf, effective at the next login."));
  }
  sentences.push_back(absl::StrCat(
      "For a systemd service: LimitNOFILE=", want,
      " in its unit. For docker-compose: `ulimits: {nofile: {soft: ", want, ", hard: ", want, "}}`",
      " in the service; for docker run: --ulimit nofile=", want, "."));
  return sentences;
}

// The kernel refuses more than this even where the hard limit is infinite (man 5 proc).
uint64_t NrOpen() {
  std::ifstream file("/proc/sys/fs/nr_open");
  uint64_t most = 0;
  return file >> most ? most : kInfinityMeans;
}

}  // namespace

absl::StatusOr<FdLimit> ReadFdLimit() {
  rlimit raw{};
  if (getrlimit(RLIMIT_NOFILE, &raw) != 0) return ErrnoStatus(errno, "getrlimit RLIMIT_NOFILE");
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir("/proc/self/fd"), closedir);
  if (dir == nullptr) return ErrnoStatus(errno, "opendir /proc/self/fd");
  FdLimit limit;
  limit.soft = std::min<uint64_t>(raw.rlim_cur, kInfinityMeans);
  limit.hard = std::min<uint64_t>(raw.rlim_max, kInfinityMeans);
  while (const dirent* entry = readdir(dir.get())) {
    if (entry->d_name[0] != '.') ++limit.open_now;
  }
  --limit.open_now;  // the directory itself, closed again
  return limit;
}

uint64_t WantedFds(const FdDemand& demand, int open_now) {
  Amounts asked = ToAmounts(demand);
  // Handshakes get a quarter of the rest, so this is the least rest that gives them their most.
  if (demand.handshakes <= 0) asked[Index(PoolKind::kHandshake)] = 4 * kHandshakesMost;
  return static_cast<uint64_t>(Sum(asked) + std::max(open_now, 0));
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

FdDemand LeastFds(const FdDemand& demand) {
  FdDemand least = demand;
  least.inbound = std::min(demand.inbound, 4);
  least.outbound = std::min(demand.outbound, 4);
  least.closing = std::min(demand.closing, 4);
  least.admin = std::min(demand.admin, 2);
  least.files = std::min(demand.files, 16);
  least.handshakes = demand.handshakes > 0 ? std::min(demand.handshakes, 4) : 4;
  return least;
}

absl::StatusOr<FdPlan> PlanFds(const FdDemand& demand, const FdLimit& limit) {
  Amounts asked = ToAmounts(demand);
  const int64_t room = static_cast<int64_t>(std::min(limit.soft, kInfinityMeans)) - limit.open_now;
  if (demand.handshakes <= 0) {
    const int64_t rest = room - Sum(asked);
    asked[Index(PoolKind::kHandshake)] = std::clamp(rest / 4, kHandshakesLeast, kHandshakesMost);
  }
  const Amounts least = ToAmounts(LeastFds(demand));
  const uint64_t want = static_cast<uint64_t>(Sum(asked) + limit.open_now);
  if (Sum(least) > room) {
    std::vector<std::string> sentences = {
        absl::StrCat("The limit of ", limit.soft, " file descriptors (", limit.open_now,
                     " are open) is too low to work with: at least ", Sum(least) + limit.open_now,
                     " are needed, ", want, " for everything that is configured.")};
    for (std::string& sentence : HowToRaise(want, limit)) sentences.push_back(std::move(sentence));
    return absl::FailedPreconditionError(absl::StrJoin(sentences, " "));
  }

  Amounts pools = asked;
  const Amounts comfortable = Comfortable(asked);
  if (Sum(comfortable) > room) {
    pools = Share(least, comfortable, room - Sum(least));
  } else if (Sum(asked) > room) {
    pools = Share(comfortable, asked, room - Sum(comfortable));
  }

  FdPlan plan;
  plan.limit = limit.soft;
  plan.total = static_cast<int>(Sum(pools) + limit.open_now);
  plan.reduced = pools != asked;
  plan.sentences.push_back(SumSentence(pools, limit.open_now, limit.soft));
  std::vector<std::string> less;
  for (int i = 0; i < kPoolKinds; ++i) {
    const size_t at = static_cast<size_t>(i);
    plan.pools[at] = static_cast<int>(pools[at]);
    if (pools[at] == asked[at]) continue;
    less.push_back(absl::StrCat(ToAbsl(PoolNoun(static_cast<PoolKind>(i))), " ", pools[at],
                                " instead of ", asked[at]));
  }
  if (plan.reduced) {
    plan.sentences.push_back(absl::StrCat("That is less than configured, which needs ", want, ": ",
                                          absl::StrJoin(less, ", "), "."));
    for (std::string& sentence : HowToRaise(want, limit))
      plan.sentences.push_back(std::move(sentence));
  }
  return plan;
}

FdBudget::FdBudget(const FdPlan& plan) : plan_(plan) {
  for (int i = 0; i < kPoolKinds; ++i) {
    const size_t at = static_cast<size_t>(i);
    pools_[at] = std::make_unique<FdPool>(static_cast<PoolKind>(i), plan_.pools[at]);
  }
}

}  // namespace helo::peers
