// The peer table owns admission: slots by direction, one connection a pair (WIRE 6, the referee),
// who is evicted. A pure machine: events in, decisions out. Thread: control's.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/node_id.h"
#include "p2p/base/reasons.h"
#include "p2p/base/rng.h"
#include "p2p/peers/eviction.h"

namespace helo::peers {

struct TableLimits {
  int max_inbound = 64;
  int max_outbound = 16;
};

struct Candidate {
  ConnId conn = 0;
  Direction direction = Direction::kInbound;
  NodeId id;
  Endpoint remote;
  bool trusted = false;  // admitted above the limit, never evicted
  bool is_static = false;
  bool probe = false;  // gets the verdict of a JOIN, changes nothing, reserves nothing (WIRE 3)
};

struct Judgement {
  enum class Kind : uint8_t { kAccept, kRefuse, kChallenge };
  Kind kind = Kind::kAccept;
  Reason reason = Reason::kAccept;
  std::string text;
  uint32_t retry_after_s = 0;
  ConnId challenged = 0;  // kChallenge: ask this one whether it lives, then call ChallengeEnded
};

struct Closing {
  ConnId conn = 0;
  Reason reason = Reason::kReplaced;
  bool operator==(const Closing&) const = default;
};

struct UpResult {
  bool up = true;  // false: the newcomer itself is closed, with `refused`
  Reason refused = Reason::kEvicted;
  std::vector<Closing> close;  // to be closed now: replaced or evicted; already out of the table
};

class PeerTable {
 public:
  PeerTable(const NodeId& self, TableLimits limits, Rng& rng);

  // The remote's HELLO is good: accept, refuse or challenge. Bans and rates are judged before,
  // elsewhere. kAccept reserves the id and a slot until Closed(conn).
  Judgement Judge(const Candidate& candidate, MonoTime now);
  // The challenge that `newcomer` waits for ended. An alive old one means DUPLICATE; dead: the old
  // one is in `close` with REPLACED, and the newcomer is accepted (kAccept).
  struct ChallengeResult {
    Judgement judgement;
    std::vector<Closing> close;
  };
  ChallengeResult ChallengeEnded(ConnId newcomer, bool alive, MonoTime now);
  // The loop could not challenge (rate of WIRE 6): DUPLICATE.
  Judgement ChallengeRefused(ConnId newcomer);
  // Both ACCEPTs are there.
  UpResult Up(ConnId conn, MonoTime now);
  // The close of this connection begins: slot and id are free. Unknown ids are fine. If a newcomer
  // waits for a challenge of it, ChallengeEnded(newcomer, false) is still to be called.
  void Closed(ConnId conn, MonoTime now);

  // Nobody goes at once: see Shrink.
  void SetLimits(TableLimits limits) { limits_ = limits; }
  // So few may be up in this direction from now on, trusted ones included: who is to be closed with
  // EVICTED, out of the table already. The least useful go first, then static ones, trusted last.
  std::vector<Closing> Shrink(Direction direction, int most);
  const TableLimits& limits() const { return limits_; }
  int inbound() const;  // slots reserved or used; trusted ones not counted
  int outbound() const;
  size_t up_count() const { return up_count_; }
  bool Connected(const NodeId& id) const {
    return Find(id).has_value();
  }                                                    // an up connection of this id stands
  std::optional<ConnId> Find(const NodeId& id) const;  // the one that came up last
  // Facts for choosing whom to evict; the loops report them with their peer snapshots.
  // `last_message`: kNever if none.
  void UpdateWorth(ConnId conn, std::optional<Duration> least_rtt, MonoTime last_message);

 private:
  struct Entry {
    Candidate who;
    bool owes_eviction = false;  // accepted above the limit, because somebody could be evicted then
    MonoTime up_since = kNever;
    uint64_t up_order = 0;  // 0: not up
    std::optional<Duration> least_rtt;
    std::optional<MonoTime> last_message;
    bool evictable() const {
      return up_order != 0 && who.direction == Direction::kInbound && !who.trusted &&
             !who.is_static;
    }
  };
  struct Waiting {
    Candidate who;
    ConnId challenged = 0;
  };
  bool WeAreReferee(const NodeId& id) const { return self_ > id; }
  int LimitOf(Direction direction) const {
    return direction == Direction::kInbound ? limits_.max_inbound : limits_.max_outbound;
  }
  Judgement Admit(const Candidate& candidate);
  int Slots(const NodeId& id, Direction direction, int more_pending,
            const std::vector<ConnId>& without) const;
  void CountSlots(const NodeId& id, int sign);
  size_t EvictableOthers(const NodeId& newcomer) const;
  std::optional<ConnId> ChooseVictimFor(const NodeId& newcomer) const;
  std::vector<ConnId> ReplacedBy(const Entry& newcomer) const;
  void Remove(ConnId conn);
  std::optional<uint32_t> NoteFailedChallenge(const NodeId& id, MonoTime now);

  const NodeId self_;
  TableLimits limits_;
  GroupKey group_key_;
  absl::flat_hash_map<ConnId, Entry> entries_;
  absl::flat_hash_map<NodeId, std::vector<ConnId>>
      by_id_;                   // accepted or up, in order of acceptance
  std::array<int, 2> slots_{};  // by Direction
  size_t up_count_ = 0, evictable_ = 0;
  uint64_t last_up_order_ = 0;
  absl::flat_hash_map<ConnId, Waiting> waiting_;
  absl::flat_hash_map<NodeId, ConnId> challenger_;  // who waits for a challenge, by id
  absl::flat_hash_map<NodeId, std::deque<MonoTime>> failed_challenges_;  // within 60 s
  size_t sweep_failed_at_ = 64;
};

}  // namespace helo::peers
