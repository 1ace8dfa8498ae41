// Many clients on one loop: so many in flight, or so many a second, until enough were there or the
// time is over. Thread: the one that calls Run.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/client.h"

namespace helo::load {

struct CrowdOptions {
  size_t in_flight = 32;    // on their way or leaving at once
  uint64_t count = 0;       // in all; 0: until the time is over
  Duration duration{};      // 0: until `count`. For a crowd that stays: from when all are there
  double rate = 0;          // begun a second; 0: as fast as in_flight allows
  double churn = 0;         // of those that stay, replaced a second
  size_t identities = 256;  // at least as many as are connected at once
  uint64_t seed = 1;
  std::string network = "helo-dev";
  Exit farewell = Exit::kReset;  // of those that stayed, at the end
  std::function<void()> all_there = {};
};

struct Tally {
  uint64_t begun = 0, reached = 0, lost = 0;  // lost: stayed, and were closed before the end
  std::map<Outcome, uint64_t> outcomes;
  std::map<std::string, uint64_t> troubles;  // what those said that did not end well; bounded
  std::vector<double> goal_ms, round_trip_ms;
  double seconds = 0;
  uint64_t pings_answered = 0, pongs_seen = 0;  // of those that stayed
  uint64_t messages = 0;                        // answered or acknowledged, since all were there
};

class Crowd final : private ClientOwner {
 public:
  // `most_fds`: descriptors for its connections.
  static absl::StatusOr<std::unique_ptr<Crowd>> Create(int most_fds);
  ~Crowd() override;

  const ClientTls& tls() const { return *tls_; }
  // `next` says what the n-th client is to do; the identity is added here.
  absl::StatusOr<Tally> Run(CrowdOptions options, std::function<Errand(uint64_t n)> next);
  static void StopFromSignal();  // async-signal-safe: Run returns soon

 private:
  explicit Crowd(int most_fds)
      : files_(PoolKind::kFiles, 16), sockets_(PoolKind::kOutbound, most_fds) {}
  void OnGoal(Client& client, Duration took) override;
  void OnRoundTrip(Duration took) override;
  void OnMessages(uint64_t messages) override { tally_.messages += messages; }
  void OnEnded(Client& client) override;

  absl::Status Prepare();
  bool MayBegin() const;
  void Fill();
  void BeginOne();
  void Beat();
  void Churn(MonoTime now);
  void AllThere();
  void Finish();
  void Count(const Client& client);

  FdPool files_, sockets_;
  std::unique_ptr<ClientTls> tls_;
  std::unique_ptr<net::EventLoop> loop_;
  std::vector<std::unique_ptr<Identity>> identities_;
  std::deque<const Identity*> free_identities_;

  CrowdOptions options_;
  std::function<Errand(uint64_t)> next_;
  Tally tally_;
  absl::flat_hash_map<size_t, std::unique_ptr<Client>> clients_;
  std::deque<size_t> staying_;  // oldest first; some may be gone
  std::vector<std::unique_ptr<Client>> graveyard_;
  std::unique_ptr<net::Timer> beat_;
  size_t next_index_ = 1;
  size_t in_flight_ = 0, there_ = 0;
  bool all_there_ = false, finishing_ = false, filling_ = false;
  MonoTime began_{}, ends_ = kNever, churned_{};
  double owed_ = 0;     // of rate, or of churn: to be begun
  double leaving_ = 0;  // of churn: to leave
};

}  // namespace helo::load
