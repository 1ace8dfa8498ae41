// Who makes room when inbound is full (DESIGN 6): the least useful peer that nothing protects. An
// attacker would have to win on every one of these grounds at once to push out all honest peers: it
// cannot choose which network groups our key favours, be nearer than the nearest, send more useful
// messages than the busiest, and have been here longer. Pure functions, no state. Owner: PeerTable.
// Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "p2p/base/bytes.h"
#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"

namespace helo::peers {

using ConnId = uint64_t;  // never reused

using GroupKey = std::array<uint64_t, 2>;

// How many are protected on each ground, before half of the rest is by uptime.
inline constexpr size_t kProtectByGroup = 4;
inline constexpr size_t kProtectByRtt = 8;
inline constexpr size_t kProtectByMessage = 4;
// With fewer that could be evicted than this, all of them are protected, and a full table answers
// FULL.
inline constexpr size_t kLeastEvictable = kProtectByGroup + kProtectByRtt + kProtectByMessage + 1;

struct EvictionCandidate {
  ConnId conn = 0;
  IpAddress ip;
  MonoTime up_since{};
  std::optional<Duration> least_rtt;
  std::optional<MonoTime> last_message;
};

// nullopt if every one is protected, which is so exactly when there are fewer than kLeastEvictable.
std::optional<ConnId> ChooseVictim(const std::vector<EvictionCandidate>& candidates,
                                   const GroupKey& key);

// For when so many must go, whoever they are (the limit of descriptors fell): all that is said
// above holds among those who are left each time, and at last protects nobody. At most `n`, the
// first to go first.
std::vector<ConnId> ChooseVictims(const std::vector<EvictionCandidate>& candidates,
                                  const GroupKey& key, size_t n);

// What one operator of a network can easily have many addresses of: IPv4 /16, IPv6 /32.
Subnet NetworkGroupOf(const IpAddress& ip);

// SipHash-2-4 (Aumasson, Bernstein 2012): the order of groups that nobody without the key can
// predict.
uint64_t SipHash24(const GroupKey& key, ByteView data);

}  // namespace helo::peers
