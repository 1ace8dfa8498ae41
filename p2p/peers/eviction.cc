#include "p2p/peers/eviction.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <span>

namespace helo::peers {
namespace {

struct Ranked {
  EvictionCandidate who;
  Subnet group;
  uint64_t group_order = 0;
  size_t seniority_in_group = 0;
};

// Takes the `n` that come first by `first` out of `from`.
void Protect(std::vector<Ranked>& from, size_t n,
             const std::function<bool(const Ranked&, const Ranked&)>& first) {
  n = std::min(n, from.size());
  std::partial_sort(from.begin(), from.begin() + static_cast<ptrdiff_t>(n), from.end(), first);
  from.erase(from.begin(), from.begin() + static_cast<ptrdiff_t>(n));
}

// Earlier up first; the id breaks ties, so that the choice never depends on the order of a hash
// map.
bool Senior(const Ranked& a, const Ranked& b) {
  if (a.who.up_since != b.who.up_since) return a.who.up_since < b.who.up_since;
  return a.who.conn < b.who.conn;
}

// Those of `left`, senior first, that nothing protects.
void TakeOutProtected(std::vector<Ranked>& left) {
  // Different groups before a second one of the same.
  Protect(left, kProtectByGroup, [](const Ranked& a, const Ranked& b) {
    if (a.seniority_in_group != b.seniority_in_group)
      return a.seniority_in_group < b.seniority_in_group;
    if (a.group_order != b.group_order) return a.group_order < b.group_order;
    return Senior(a, b);
  });
  Protect(left, kProtectByRtt, [](const Ranked& a, const Ranked& b) {
    const Duration rtt_a = a.who.least_rtt.value_or(Duration::max());
    const Duration rtt_b = b.who.least_rtt.value_or(Duration::max());
    return rtt_a != rtt_b ? rtt_a < rtt_b : Senior(a, b);
  });
  Protect(left, kProtectByMessage, [](const Ranked& a, const Ranked& b) {
    const MonoTime last_a = a.who.last_message.value_or(MonoTime::min());
    const MonoTime last_b = b.who.last_message.value_or(MonoTime::min());
    return last_a != last_b ? last_a > last_b : Senior(a, b);
  });
  Protect(left, left.size() / 2, Senior);
}

// Up to `n`: each time the youngest of the group that has most left, the younger of two such.
std::vector<ConnId> YoungestOfLargestGroups(std::vector<Ranked> from, size_t n) {
  absl::flat_hash_map<Subnet, std::vector<const Ranked*>> groups;
  std::sort(from.begin(), from.end(), Senior);
  for (const Ranked& peer : from) groups[peer.group].push_back(&peer);
  const auto better = [](const std::vector<const Ranked*>* a, const std::vector<const Ranked*>* b) {
    if (a->size() != b->size()) return a->size() < b->size();
    return Senior(*a->back(), *b->back());
  };
  std::vector<std::vector<const Ranked*>*> heap;
  heap.reserve(groups.size());
  for (auto& [subnet, members] : groups) heap.push_back(&members);
  std::make_heap(heap.begin(), heap.end(), better);
  std::vector<ConnId> victims;
  while (victims.size() < n && !heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), better);
    std::vector<const Ranked*>& members = *heap.back();
    victims.push_back(members.back()->who.conn);
    members.pop_back();
    if (members.empty()) {
      heap.pop_back();
    } else {
      std::push_heap(heap.begin(), heap.end(), better);
    }
  }
  return victims;
}

uint64_t ReadLittleEndian(ByteView bytes) {
  uint64_t word = 0;
  for (size_t i = 0; i < bytes.size(); ++i) word |= uint64_t{bytes[i]} << (8 * i);
  return word;
}

}  // namespace

Subnet NetworkGroupOf(const IpAddress& ip) {
  const ByteView bytes = ip.bytes();
  if (ip.is_v4()) return {IpAddress::V4({bytes[0], bytes[1], 0, 0}), 16};
  std::array<uint8_t, 16> prefix{};
  std::copy_n(bytes.begin(), 4, prefix.begin());
  return {IpAddress::V6(prefix), 32};
}

uint64_t SipHash24(const GroupKey& key, ByteView data) {
  uint64_t v0 = key[0] ^ 0x736f6d6570736575, v1 = key[1] ^ 0x646f72616e646f6d;
  uint64_t v2 = key[0] ^ 0x6c7967656e657261, v3 = key[1] ^ 0x7465646279746573;
  const auto round = [&] {
    v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
  };
  const auto absorb = [&](uint64_t word) {
    v3 ^= word;
    round(), round();
    v0 ^= word;
  };
  const uint64_t length = data.size();
  for (; data.size() >= 8; data = data.subspan(8)) absorb(ReadLittleEndian(data.first(8)));
  absorb(ReadLittleEndian(data) | length << 56);
  v2 ^= 0xff;
  round(), round(), round(), round();
  return v0 ^ v1 ^ v2 ^ v3;
}

namespace {

std::vector<Ranked> Rank(const std::vector<EvictionCandidate>& candidates, const GroupKey& key) {
  std::vector<Ranked> all;
  all.reserve(candidates.size());
  for (const EvictionCandidate& who : candidates) {
    const Subnet group = NetworkGroupOf(who.ip);
    all.push_back({who, group, SipHash24(key, group.base.bytes()), 0});
  }
  std::sort(all.begin(), all.end(), Senior);
  absl::flat_hash_map<Subnet, size_t> seen;
  for (Ranked& peer : all) peer.seniority_in_group = seen[peer.group]++;
  return all;
}

}  // namespace

std::optional<ConnId> ChooseVictim(const std::vector<EvictionCandidate>& candidates,
                                   const GroupKey& key) {
  if (candidates.size() < kLeastEvictable) return std::nullopt;
  return ChooseVictims(candidates, key, 1).front();
}

std::vector<ConnId> ChooseVictims(const std::vector<EvictionCandidate>& candidates,
                                  const GroupKey& key, size_t n) {
  std::vector<Ranked> left = Rank(candidates, key);
  std::vector<ConnId> victims;
  // Rounds, because each takes at most half: who is protected is asked anew among those left.
  while (victims.size() < n && left.size() >= kLeastEvictable) {
    std::vector<Ranked> unprotected = left;
    TakeOutProtected(unprotected);
    const std::vector<ConnId> chosen =
        YoungestOfLargestGroups(std::move(unprotected), n - victims.size());
    victims.insert(victims.end(), chosen.begin(), chosen.end());
    const absl::flat_hash_set<ConnId> gone(chosen.begin(), chosen.end());
    left.erase(std::remove_if(left.begin(), left.end(),
                              [&](const Ranked& peer) { return gone.contains(peer.who.conn); }),
               left.end());
  }
  const std::vector<ConnId> last = YoungestOfLargestGroups(std::move(left), n - victims.size());
  victims.insert(victims.end(), last.begin(), last.end());
  return victims;
}

}  // namespace helo::peers
