#include "p2p/peers/peer_table.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <cassert>

namespace helo::peers {
namespace {

// WIRE 6.
constexpr Duration kChallengeWindow = std::chrono::seconds(60);
constexpr size_t kFailedChallengesInWindow = 3;

Judgement Refuse(Reason reason, std::string text, uint32_t retry_after_s = 0) {
  return {Judgement::Kind::kRefuse, reason, std::move(text), retry_after_s, 0};
}
Judgement Duplicate() {
  return Refuse(Reason::kDuplicate, "a connection between these two nodes already stands");
}
size_t Index(Direction direction) { return static_cast<size_t>(direction); }

}  // namespace

PeerTable::PeerTable(const NodeId& self, TableLimits limits, Rng& rng)
    : self_(self), limits_(limits), group_key_{rng.U64(), rng.U64()} {}

Judgement PeerTable::Judge(const Candidate& candidate, MonoTime now) {
  assert(!entries_.contains(candidate.conn) && !waiting_.contains(candidate.conn));
  static_cast<void>(now);
  if (candidate.id == self_) return Refuse(Reason::kSelf, "this is the node itself");
  if (WeAreReferee(candidate.id)) {
    if (challenger_.contains(candidate.id)) return Duplicate();
    if (const auto it = by_id_.find(candidate.id); it != by_id_.end()) {
      const Entry& old = entries_.at(it->second.back());
      if (old.up_order == 0 || candidate.probe) return Duplicate();
      waiting_.emplace(candidate.conn, Waiting{candidate, old.who.conn});
      challenger_.emplace(candidate.id, candidate.conn);
      Judgement challenge;
      challenge.kind = Judgement::Kind::kChallenge;
      challenge.challenged = old.who.conn;
      return challenge;
    }
  }
  return Admit(candidate);
}

PeerTable::ChallengeResult PeerTable::ChallengeEnded(ConnId newcomer, bool alive, MonoTime now) {
  const auto it = waiting_.find(newcomer);
  if (it == waiting_.end()) return {Duplicate(), {}};
  const Waiting waiting = it->second;
  waiting_.erase(it);
  challenger_.erase(waiting.who.id);
  // It went by itself meanwhile: nothing stands in the newcomer's way, and nobody is replaced.
  if (!entries_.contains(waiting.challenged)) return {Admit(waiting.who), {}};
  if (alive) return {Duplicate(), {}};
  if (const auto left_s = NoteFailedChallenge(waiting.who.id, now)) {
    return {Refuse(Reason::kRateLimited, "this peer's connection was replaced too often", *left_s),
            {}};
  }
  Remove(waiting.challenged);
  return {Admit(waiting.who), {{waiting.challenged, Reason::kReplaced}}};
}

Judgement PeerTable::ChallengeRefused(ConnId newcomer) {
  const auto it = waiting_.find(newcomer);
  if (it == waiting_.end()) return Duplicate();
  const Waiting waiting = it->second;
  waiting_.erase(it);
  challenger_.erase(waiting.who.id);
  return entries_.contains(waiting.challenged) ? Duplicate() : Admit(waiting.who);
}

// The room for one whose id stands in nobody's way.
Judgement PeerTable::Admit(const Candidate& candidate) {
  const Direction direction = candidate.direction;
  const bool is_inbound = direction == Direction::kInbound;
  const int limit = LimitOf(direction);
  bool owes_eviction = false;
  if (!candidate.trusted) {
    const int now_held = Slots(candidate.id, direction, 0, {});
    const int then_held = Slots(candidate.id, direction, 1, {});
    const int then_used = slots_[Index(direction)] - now_held + then_held;
    if (then_used > limit && then_held > now_held) {
      if (!is_inbound || EvictableOthers(candidate.id) < kLeastEvictable) {
        return Refuse(Reason::kFull,
                      absl::StrCat("no free slot for an", is_inbound ? " inbound" : " outbound",
                                   " peer: all ", std::max(limit, 0), " are taken"));
      }
      owes_eviction = true;
    }
  }
  if (candidate.probe) return {};
  CountSlots(candidate.id, -1);
  Entry& entry = entries_[candidate.conn];
  entry.who = candidate;
  entry.owes_eviction = owes_eviction;
  by_id_[candidate.id].push_back(candidate.conn);
  CountSlots(candidate.id, +1);
  return {};
}

UpResult PeerTable::Up(ConnId conn, MonoTime now) {
  UpResult result;
  const auto it = entries_.find(conn);
  if (it == entries_.end()) {
    result.up = false;
    result.refused = Reason::kCancelled;
    return result;
  }
  Entry& entry = it->second;
  if (entry.up_order != 0) return result;
  const NodeId id = entry.who.id;
  const Direction direction = entry.who.direction;
  const int held_before = Slots(id, direction, 0, {});
  CountSlots(id, -1);
  entry.up_since = now;
  entry.up_order = ++last_up_order_;
  CountSlots(id, +1);
  ++up_count_;
  if (entry.evictable()) ++evictable_;

  const std::vector<ConnId> replaced = ReplacedBy(entry);
  const int held = Slots(id, direction, 0, replaced);
  const int used = slots_[Index(direction)] - Slots(id, direction, 0, {}) + held;
  // Two up at once hold two slots, of which only one was reserved.
  const bool must_find_room = entry.owes_eviction || held > held_before;
  entry.owes_eviction = false;
  if (must_find_room && used > LimitOf(direction)) {
    const std::optional<ConnId> victim =
        direction == Direction::kInbound ? ChooseVictimFor(id) : std::nullopt;
    if (!victim) {
      Remove(conn);
      result.up = false;
      return result;
    }
    Remove(*victim);
    result.close.push_back({*victim, Reason::kEvicted});
  }
  for (ConnId old : replaced) {
    Remove(old);
    result.close.push_back({old, Reason::kReplaced});
  }
  return result;
}

std::vector<Closing> PeerTable::Shrink(Direction direction, int most) {
  std::array<std::vector<EvictionCandidate>, 3> up;  // in the order in which they go
  size_t count = 0;
  for (const auto& [conn, entry] : entries_) {
    if (entry.up_order == 0 || entry.who.direction != direction) continue;
    up[entry.who.trusted     ? 2
       : entry.who.is_static ? 1
                             : 0]
        .push_back(
            {conn, entry.who.remote.ip, entry.up_since, entry.least_rtt, entry.last_message});
    ++count;
  }
  const size_t may_stay = static_cast<size_t>(std::max(most, 0));
  std::vector<Closing> close;
  for (const std::vector<EvictionCandidate>& group : up) {
    if (count - close.size() <= may_stay) break;
    for (ConnId conn : ChooseVictims(group, group_key_, count - close.size() - may_stay))
      close.push_back({conn, Reason::kEvicted});
  }
  for (const Closing& closing : close) Remove(closing.conn);
  return close;
}

// At the side that is not the referee, a second connection that comes up closes the older ones that
// are up; older means accepted before it. Those that are not up are the referee's to answer. If the
// later accepted one came up first, the referee has closed one of the two and its word is on the
// way, so both stay until it comes; but never more than two.
std::vector<ConnId> PeerTable::ReplacedBy(const Entry& newcomer) const {
  std::vector<ConnId> replaced;
  if (WeAreReferee(newcomer.who.id)) return replaced;
  const std::vector<ConnId>& same_id = by_id_.at(newcomer.who.id);
  const Entry* later = nullptr;
  bool before_newcomer = true;
  for (ConnId conn : same_id) {
    const Entry& entry = entries_.at(conn);
    if (conn == newcomer.who.conn) {
      before_newcomer = false;
    } else if (entry.up_order == 0) {
      continue;
    } else if (before_newcomer) {
      replaced.push_back(conn);
    } else {
      if (later != nullptr) replaced.push_back(later->who.conn);
      later = &entry;
    }
  }
  return replaced;
}

void PeerTable::Closed(ConnId conn, MonoTime now) {
  static_cast<void>(now);
  if (const auto it = waiting_.find(conn); it != waiting_.end()) {
    challenger_.erase(it->second.who.id);
    waiting_.erase(it);
  }
  Remove(conn);
}

void PeerTable::Remove(ConnId conn) {
  const auto it = entries_.find(conn);
  if (it == entries_.end()) return;
  const NodeId id = it->second.who.id;
  CountSlots(id, -1);
  if (it->second.up_order != 0) --up_count_;
  if (it->second.evictable()) --evictable_;
  entries_.erase(it);
  std::vector<ConnId>& same_id = by_id_.at(id);
  same_id.erase(std::find(same_id.begin(), same_id.end(), conn));
  if (same_id.empty()) {
    by_id_.erase(id);
  } else {
    CountSlots(id, +1);
  }
}

int PeerTable::inbound() const { return slots_[Index(Direction::kInbound)]; }
int PeerTable::outbound() const { return slots_[Index(Direction::kOutbound)]; }

std::optional<ConnId> PeerTable::Find(const NodeId& id) const {
  const auto it = by_id_.find(id);
  if (it == by_id_.end()) return std::nullopt;
  const Entry* last = nullptr;
  for (ConnId conn : it->second) {
    const Entry& entry = entries_.at(conn);
    if (entry.up_order > (last == nullptr ? 0 : last->up_order)) last = &entry;
  }
  if (last == nullptr) return std::nullopt;
  return last->who.conn;
}

void PeerTable::UpdateWorth(ConnId conn, std::optional<Duration> least_rtt, MonoTime last_message) {
  const auto it = entries_.find(conn);
  if (it == entries_.end()) return;
  it->second.least_rtt = least_rtt;
  it->second.last_message =
      last_message == kNever ? std::nullopt : std::optional<MonoTime>(last_message);
}

// How many slots of a direction an id holds. Where a second connection is only being judged it
// shares the slot of the first, whose place it may take; a third one and a second that is really up
// count.
int PeerTable::Slots(const NodeId& id, Direction direction, int more_pending,
                     const std::vector<ConnId>& without) const {
  int up = 0;
  int pending = more_pending;
  if (const auto it = by_id_.find(id); it != by_id_.end()) {
    for (ConnId conn : it->second) {
      const Entry& entry = entries_.at(conn);
      if (entry.who.direction != direction || entry.who.trusted) continue;
      if (std::find(without.begin(), without.end(), conn) != without.end()) continue;
      ++(entry.up_order != 0 ? up : pending);
    }
  }
  return std::max({up, std::min(up + pending, 1), up + pending - 1});
}

void PeerTable::CountSlots(const NodeId& id, int sign) {
  for (Direction direction : {Direction::kInbound, Direction::kOutbound})
    slots_[Index(direction)] += sign * Slots(id, direction, 0, {});
}

size_t PeerTable::EvictableOthers(const NodeId& newcomer) const {
  size_t own = 0;
  if (const auto it = by_id_.find(newcomer); it != by_id_.end()) {
    for (ConnId conn : it->second) own += entries_.at(conn).evictable() ? 1 : 0;
  }
  return evictable_ - own;
}

std::optional<ConnId> PeerTable::ChooseVictimFor(const NodeId& newcomer) const {
  if (EvictableOthers(newcomer) < kLeastEvictable) return std::nullopt;
  std::vector<EvictionCandidate> candidates;
  candidates.reserve(evictable_);
  for (const auto& [conn, entry] : entries_) {
    if (!entry.evictable() || entry.who.id == newcomer) continue;
    candidates.push_back(
        {conn, entry.who.remote.ip, entry.up_since, entry.least_rtt, entry.last_message});
  }
  return ChooseVictim(candidates, group_key_);
}

// nullopt: noted. Otherwise three newcomers' challenges failed already within the window, and so
// many seconds are left of it.
std::optional<uint32_t> PeerTable::NoteFailedChallenge(const NodeId& id, MonoTime now) {
  const auto over = [now](const std::deque<MonoTime>& times, size_t i) {
    return times[i] + kChallengeWindow <= now;
  };
  if (failed_challenges_.size() >= sweep_failed_at_) {
    absl::erase_if(failed_challenges_,
                   [&](const auto& item) { return over(item.second, item.second.size() - 1); });
    sweep_failed_at_ = std::max<size_t>(64, 2 * failed_challenges_.size());
  }
  std::deque<MonoTime>& failed = failed_challenges_[id];
  while (!failed.empty() && over(failed, 0)) failed.pop_front();
  if (failed.size() < kFailedChallengesInWindow) {
    failed.push_back(now);
    return std::nullopt;
  }
  const Duration left = failed.front() + kChallengeWindow - now;
  return static_cast<uint32_t>(std::chrono::ceil<std::chrono::seconds>(left).count());
}

}  // namespace helo::peers
