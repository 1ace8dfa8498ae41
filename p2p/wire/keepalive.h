// Liveness of a session that is up (WIRE 6 and 7): when to send a PING, which PONG answers one, RTT
// and clock skew, how long silence may last, and the referee's challenge. Owner: one session.
// Thread: its loop. Time comes in by argument.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/rng.h"
#include "p2p/wire/messages.h"
#include "p2p/wire/rate_window.h"
#include "p2p/wire/session.h"

namespace helo::wire {

class Keepalive {
 public:
  Keepalive(const Times& times, Rng& rng) : times_(times), rng_(rng) {}

  void Start(MonoTime now);
  void NoteSent(MonoTime now) { last_sent_ = now; }
  // A complete frame came. True: it ended a challenge (alive).
  bool NoteReceived(MonoTime now) {
    last_received_ = now;
    return EndChallenge();
  }

  MonoTime NextPing() const;
  Ping MakePing(MonoTime now);
  // False: the nonce answers no open PING.
  bool TakePong(const Pong& pong, MonoTime now, int64_t wall_us, SessionStats& stats);

  // Silence counts from here on; kNever while reading is paused.
  MonoTime SilenceDeadline() const {
    return paused_ ? kNever : last_received_ + times_.ping_timeout;
  }
  bool paused() const { return paused_; }
  void SetPaused(MonoTime now, bool paused);

  // May a challenge begin? If so the caller sends MakePing. False: one runs, or 5 began within 10
  // s.
  bool BeginChallenge(MonoTime now);
  MonoTime ChallengeDeadline() const { return challenge_deadline_; }
  // Who is not read cannot prove that it lives: then silence until the deadline is no proof of
  // death.
  bool ChallengeExcused() const { return challenge_excused_; }
  bool EndChallenge() { return std::exchange(challenge_deadline_, kNever) != kNever; }

 private:
  struct OpenPing {
    uint64_t nonce;
    MonoTime sent;
  };
  // A remote that answers no PING but sends other frames lives, yet must not grow this list.
  static constexpr size_t kMaxOpenPings = 16;

  const Times& times_;
  Rng& rng_;
  MonoTime last_sent_{};
  MonoTime last_received_{};
  MonoTime last_ping_{};
  Duration idle_{};  // ping_idle, jittered anew after every PING
  MonoTime challenge_deadline_ = kNever;
  bool challenge_excused_ = false;
  RateWindow challenges_{5, std::chrono::seconds(10)};
  std::vector<OpenPing> open_pings_;
  bool paused_ = false;
};

}  // namespace helo::wire
