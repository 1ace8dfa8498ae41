#include "p2p/wire/keepalive.h"

#include <algorithm>
#include <chrono>

namespace helo::wire {
namespace {

constexpr int kIdleJitterPercent = 20;

}  // namespace

void Keepalive::Start(MonoTime now) {
  last_sent_ = last_received_ = now;
  last_ping_ = now + std::min(times_.first_ping, times_.ping_at_least) - times_.ping_at_least;
  idle_ = rng_.Jitter(times_.ping_idle, kIdleJitterPercent);
}

MonoTime Keepalive::NextPing() const {
  return std::min(last_sent_ + idle_, last_ping_ + times_.ping_at_least);
}

Ping Keepalive::MakePing(MonoTime now) {
  last_ping_ = now;
  idle_ = rng_.Jitter(times_.ping_idle, kIdleJitterPercent);
  if (open_pings_.size() == kMaxOpenPings) open_pings_.erase(open_pings_.begin());
  open_pings_.push_back({rng_.U64(), now});
  return Ping{open_pings_.back().nonce};
}

bool Keepalive::TakePong(const Pong& pong, MonoTime now, int64_t wall_us, SessionStats& stats) {
  const auto ping = std::find_if(open_pings_.begin(), open_pings_.end(),
                                 [&](const OpenPing& one) { return one.nonce == pong.nonce; });
  if (ping == open_pings_.end()) return false;
  const Duration rtt = now - ping->sent;
  open_pings_.erase(ping);
  stats.last_rtt = rtt;
  stats.least_rtt = std::min(rtt, stats.least_rtt.value_or(rtt));
  if (pong.clock_us != 0) {
    const int64_t half_us = std::chrono::duration_cast<std::chrono::microseconds>(rtt).count() / 2;
    stats.skew_us = pong.clock_us - (wall_us - half_us);
  }
  return true;
}

void Keepalive::SetPaused(MonoTime now, bool paused) {
  if (paused == paused_) return;
  paused_ = paused;
  if (paused) {
    challenge_excused_ = true;
  } else {
    last_received_ = now;
  }
}

bool Keepalive::BeginChallenge(MonoTime now) {
  if (challenge_deadline_ != kNever || !challenges_.MaySend(now)) return false;
  challenges_.Count(now);
  challenge_excused_ = paused_;
  challenge_deadline_ = paused_ ? now : now + times_.challenge;
  return true;
}

}  // namespace helo::wire
