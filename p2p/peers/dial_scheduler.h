// Whom to dial and when: static peers are never given up; backoff 1 s doubling to 60 s +- 50 %,
// reset after 60 s up; the waits of WIRE 9 by reason; retry_after honoured only from the expected
// id over TLS and clamped (WIRE 7). A pure machine. Thread: control's.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/reasons.h"
#include "p2p/base/rng.h"

namespace helo::peers {

using TargetId = uint64_t;

struct DialTimes {
  Duration backoff_first = std::chrono::seconds(1);
  Duration backoff_most = std::chrono::seconds(60);
  int jitter_percent = 50;
  Duration reset_after_up = std::chrono::seconds(60);
};

enum class TargetKind : uint8_t {
  kStatic,
  kAdded
};  // from the configuration; from the operator, until restart or saved

struct Target {
  TargetId id = 0;
  PeerAddress address;
  TargetKind kind = TargetKind::kStatic;
  bool saved = false;              // an added one that survives a restart
  std::optional<NodeId> known_id;  // named, or learnt at the last time up
  MonoTime next_try{};             // kNever while trying or connected
  MonoTime paused_until{};         // dropped by the operator
  MonoTime forgiven_until{};       // a penalty that has not closed it yet is none
  int failures = 0;                // in a row
  bool trying = false;
  bool connected = false;
  bool deferred = false;          // its peer is connected otherwise
  std::optional<CloseInfo> last;  // how the last try or connection ended
};

// What became of one try, or of the connection it made.
struct DialOutcome {
  CloseInfo close;
  Duration up_for{};  // 0: never up
  bool over_tls_from_expected_id = false;
  // Who answered, proven over TLS. With DUPLICATE and REPLACED it tells whose connection to wait
  // for.
  std::optional<NodeId> proven_id;
};

class DialScheduler {
 public:
  DialScheduler(DialTimes times, Rng& rng);

  // AlreadyExists semantics: returns the existing target if host, port and id are the same.
  TargetId Add(const PeerAddress& address, TargetKind kind, bool saved, MonoTime now);
  bool Remove(TargetId id);
  void Unsave(TargetId id);  // it could not be written down
  std::optional<TargetId> FindByAddress(const PeerAddress& address) const;
  std::vector<TargetId> FindById(const NodeId& id) const;
  const Target* Get(TargetId id) const;
  std::vector<Target> All() const;  // by id

  // Targets whose time has come, at most `slots`, oldest due first; each is marked trying. A target
  // whose known id is in use (`connected`) is left alone until that ends: PeerEnded says so, and it
  // is looked at again every 30 s besides. Without a free slot, wait for one instead of NextDue.
  template <typename IsConnected>
  std::vector<Target> Due(MonoTime now, int slots, IsConnected is_connected) {
    std::vector<Target> due;
    for (TargetId id : DueIds(now)) {
      if (static_cast<int>(due.size()) >= slots) break;
      Target& target = targets_.at(id);
      if (target.known_id && is_connected(*target.known_id)) {
        Defer(target, now);
        continue;
      }
      target.trying = true;
      target.next_try = kNever;
      due.push_back(target);
    }
    return due;
  }
  MonoTime NextDue() const;
  // The operator wants a try now: an end to backoff, pause and to having been forgotten (SELF).
  void TryNow(TargetId id, MonoTime now);
  // What this node held against the target was its own mistake: an end to backoff, but not to an
  // operator's pause. So it is if the penalty has yet to close the connection.
  void Forgive(TargetId id, MonoTime now);
  void Connected(TargetId id, const NodeId& node);
  // The try, or the connection it made, ended. SELF: the address is ours; it is forgotten (kept in
  // the list, not dialed).
  void Ended(TargetId id, const DialOutcome& outcome, MonoTime now);
  // The last connection of this id, whoever dialed it, ended: targets that stood back for it try
  // after their backoff.
  void PeerEnded(const NodeId& node, MonoTime now);
  // The operator dropped this peer: no try before `until`. An earlier time than the one set before
  // lifts the pause.
  void Pause(TargetId id, MonoTime until);
  // A try could not begin for want of our own resources (NO_FD, NO_SLOT): soon again.
  void Postpone(TargetId id, MonoTime now);

 private:
  std::vector<TargetId> DueIds(MonoTime now) const;
  void Defer(Target& target, MonoTime now);
  // nullopt: never again by itself.
  std::optional<Duration> WaitFor(Target& target, const DialOutcome& outcome);
  Duration Backoff(const Target& target);
  const DialTimes times_;
  Rng& rng_;
  TargetId next_ = 1;
  absl::flat_hash_map<TargetId, Target> targets_;
};

}  // namespace helo::peers
