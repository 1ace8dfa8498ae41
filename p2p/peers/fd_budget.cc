#include "p2p/peers/fd_budget.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "p2p/base/text.h"

namespace helo::peers {
namespace {

constexpr int64_t kHandshakesLeast = 64;
constexpr int64_t kHandshakesMost = 4096;
constexpr int kFilesALoop = 4;  // net::EventLoop::kDescriptors
// What the node opens for itself with one loop (18), two for the resolver, two for files that are
// written.
constexpr int kFilesLeast = 22;

using Amounts = std::array<int64_t, kPoolKinds>;
constexpr std::array<PoolKind, kPoolKinds> kInOrder = {
    PoolKind::kInbound, PoolKind::kOutbound, PoolKind::kHandshake, PoolKind::kClosing,
    PoolKind::kAdmin,   PoolKind::kFiles,    PoolKind::kSpare,     PoolKind::kListener};

size_t Index(PoolKind kind) { return static_cast<size_t>(kind); }
int64_t Sum(const Amounts& amounts) {
  return std::accumulate(amounts.begin(), amounts.end(), int64_t{0});
}

// As in "5 handshakes"; ToString's word where that one says it.
std::string PoolWords(PoolKind kind, int64_t n) {
  const auto of = [n](std::string_view one, std::string_view many) {
    return absl::StrCat(n, " ", ToAbsl(n == 1 ? one : many));
  };
  switch (kind) {
    case PoolKind::kListener:
      return of("listener", "listeners");
    case PoolKind::kInbound:
      return of("inbound peer", "inbound peers");
    case PoolKind::kOutbound:
      return of("outbound peer", "outbound peers");
    case PoolKind::kHandshake:
      return of("handshake", "handshakes");
    case PoolKind::kFiles:
      return of("for files and plugins", "for files and plugins");
    default:
      return of(ToString(kind), ToString(kind));
  }
}

Amounts ToAmounts(const FdDemand& demand) {
  Amounts amounts{};
  const auto set = [&](PoolKind kind, int n) { amounts[Index(kind)] = std::max(n, 0); };
  set(PoolKind::kListener, demand.listeners);
  amounts[Index(PoolKind::kInbound)] = int64_t{std::max(demand.inbound, 0)} + demand.trusted;
  set(PoolKind::kOutbound, demand.outbound);
  set(PoolKind::kHandshake, demand.handshakes);
  set(PoolKind::kClosing, demand.closing);
  set(PoolKind::kAdmin, demand.admin + demand.metrics);
  set(PoolKind::kFiles, demand.files + kFilesALoop * (std::max(demand.loops, 1) - 1));
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

std::string SumSentence(const Amounts& pools, int outside, uint64_t limit) {
  std::vector<std::string> parts = {absl::StrCat(outside, " open outside the pools")};
  for (int i = 0; i < kPoolKinds; ++i) {
    parts.push_back(PoolWords(static_cast<PoolKind>(i), pools[static_cast<size_t>(i)]));
  }
  return absl::StrCat("File descriptors: ", absl::StrJoin(parts, " + "), " = ",
                      Sum(pools) + outside, " of ", limit, ".");
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

// Peers that are up, callers of the admin API and open files cost more to lose than an idle place.
Amounts AtLeastUsed(Amounts amounts, const std::array<int, kPoolKinds>& used,
                    const Amounts& asked) {
  for (PoolKind kind :
       {PoolKind::kInbound, PoolKind::kOutbound, PoolKind::kAdmin, PoolKind::kFiles}) {
    const size_t i = Index(kind);
    amounts[i] = std::max(amounts[i], std::min<int64_t>(used[i], asked[i]));
  }
  return amounts;
}

int64_t Room(const FdLimit& limit) {
  return static_cast<int64_t>(std::min(limit.soft, kFdInfinity)) - limit.open_now;
}

Amounts Asked(const FdDemand& demand, int64_t room) {
  Amounts asked = ToAmounts(demand);
  if (demand.handshakes <= 0) {
    const int64_t rest = room - Sum(asked);
    asked[Index(PoolKind::kHandshake)] = std::clamp(rest / 4, kHandshakesLeast, kHandshakesMost);
  }
  return asked;
}

FdPlan MakePlan(const FdDemand& demand, const FdLimit& limit, const Amounts& asked,
                const Amounts& pools) {
  FdPlan plan;
  plan.demand = demand;
  plan.outside = limit.open_now;
  plan.limit = limit.soft;
  plan.total = static_cast<int>(Sum(pools) + limit.open_now);
  plan.reduced = pools != asked;
  plan.sentences.push_back(SumSentence(pools, limit.open_now, limit.soft));
  std::vector<std::string> less;
  for (size_t i = 0; i < kPoolKinds; ++i) {
    plan.pools[i] = static_cast<int>(pools[i]);
    if (pools[i] != asked[i]) {
      less.push_back(
          absl::StrCat(PoolWords(static_cast<PoolKind>(i), pools[i]), " instead of ", asked[i]));
    }
  }
  plan.wanted = static_cast<uint64_t>(Sum(asked) + limit.open_now);
  // Trusted ids and the others share what there is as they share what was asked for.
  const int64_t with_trusted = std::max<int64_t>(asked[Index(PoolKind::kInbound)], 1);
  plan.max_inbound = static_cast<int>(pools[Index(PoolKind::kInbound)] *
                                      std::max(demand.inbound, 0) / with_trusted);
  plan.max_outbound = plan.pools[Index(PoolKind::kOutbound)];
  if (plan.reduced) {
    plan.sentences.push_back(absl::StrCat("That is less than configured, which needs ", plan.wanted,
                                          ": ", absl::StrJoin(less, ", "), "."));
    for (std::string& sentence : HowToRaise(plan.wanted, limit))
      plan.sentences.push_back(std::move(sentence));
  }
  return plan;
}

}  // namespace

uint64_t WantedFds(const FdDemand& demand, int open_now) {
  Amounts asked = ToAmounts(demand);
  // Handshakes get a quarter of the rest, so this is the least rest that gives them their most.
  if (demand.handshakes <= 0) asked[Index(PoolKind::kHandshake)] = 4 * kHandshakesMost;
  return static_cast<uint64_t>(Sum(asked) + std::max(open_now, 0));
}

FdDemand LeastFds(const FdDemand& demand) {
  FdDemand least = demand;
  least.inbound = std::min(demand.inbound, 4);
  least.trusted = std::min(demand.trusted, 1);
  least.outbound = std::min(demand.outbound, 4);
  least.closing = std::min(demand.closing, 4);
  least.admin = std::min(demand.admin, 2);
  least.metrics = std::min(demand.metrics, 2);
  least.files = std::min(demand.files, kFilesLeast);
  least.handshakes = demand.handshakes > 0 ? std::min(demand.handshakes, 4) : 4;
  return least;
}

absl::StatusOr<FdPlan> PlanFds(const FdDemand& demand, const FdLimit& limit,
                               const std::array<int, kPoolKinds>& used) {
  const int64_t room = Room(limit);
  const Amounts asked = Asked(demand, room);
  const Amounts least = ToAmounts(LeastFds(demand));
  if (Sum(least) > room) {
    const uint64_t want = static_cast<uint64_t>(Sum(asked) + limit.open_now);
    std::vector<std::string> sentences = {
        absl::StrCat("The limit of ", limit.soft, " file descriptors (", limit.open_now,
                     " are open) is too low to work with: at least ", Sum(least) + limit.open_now,
                     " are needed, ", want, " for everything that is configured.")};
    for (std::string& sentence : HowToRaise(want, limit)) sentences.push_back(std::move(sentence));
    return absl::FailedPreconditionError(absl::StrJoin(sentences, " "));
  }
  // From rung to rung, as far as the room goes.
  const Amounts busy = AtLeastUsed(least, used, asked);
  const Amounts comfortable = AtLeastUsed(Comfortable(asked), used, asked);
  Amounts pools = least;
  for (const Amounts& rung : {busy, comfortable, asked})
    pools = Share(pools, rung, std::max<int64_t>(room - Sum(pools), 0));
  return MakePlan(demand, limit, asked, pools);
}

FdPlan SqueezeFds(const FdDemand& demand, const FdLimit& limit,
                  const std::array<int, kPoolKinds>& used) {
  if (absl::StatusOr<FdPlan> plan = PlanFds(demand, limit, used); plan.ok())
    return *std::move(plan);
  const int64_t room = Room(limit);
  const Amounts asked = Asked(demand, room);
  const Amounts least = ToAmounts(LeastFds(demand));
  Amounts pools{};  // what is there anyway, and the operator's way in
  for (PoolKind kind : {PoolKind::kListener, PoolKind::kSpare, PoolKind::kAdmin})
    pools[Index(kind)] = least[Index(kind)];
  pools[Index(PoolKind::kFiles)] =
      std::min<int64_t>(least[Index(PoolKind::kFiles)], used[Index(PoolKind::kFiles)]);
  Amounts with_peers = pools;
  for (PoolKind kind : {PoolKind::kInbound, PoolKind::kOutbound})
    with_peers[Index(kind)] = std::min<int64_t>(asked[Index(kind)], used[Index(kind)]);
  Amounts most = with_peers;
  for (size_t i = 0; i < kPoolKinds; ++i) most[i] = std::max(most[i], least[i]);
  for (const Amounts& rung : {with_peers, most})
    pools = Share(pools, rung, std::max<int64_t>(room - Sum(pools), 0));
  FdPlan plan = MakePlan(demand, limit, asked, pools);
  plan.too_low = true;
  plan.sentences.insert(
      plan.sentences.begin() + 1,
      absl::StrCat("That limit is too low to work with: at least ", Sum(least) + limit.open_now,
                   " are needed. The node goes on with as many peers as fit."));
  return plan;
}

}  // namespace helo::peers
