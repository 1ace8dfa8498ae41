#include "tests/bench/crowd.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <utility>

namespace helo::load {
namespace {

constexpr Duration kBeat = std::chrono::milliseconds(1);
constexpr Duration kSlowBeat = std::chrono::milliseconds(20);
constexpr size_t kMostTroubles = 20;
constexpr size_t kMostSamples = 4'000'000;

std::atomic<bool> stop_asked{false};

bool Stays(Exit exit) {
  return exit == Exit::kStay || exit == Exit::kPing || exit == Exit::kMessages;
}

double Ms(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }
double Seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

void Crowd::StopFromSignal() { stop_asked.store(true, std::memory_order_relaxed); }

absl::StatusOr<std::unique_ptr<Crowd>> Crowd::Create(int most_fds) {
  std::unique_ptr<Crowd> crowd(new Crowd(most_fds));
  auto tls = ClientTls::Create();
  if (!tls.ok()) return tls.status();
  crowd->tls_ = std::move(*tls);
  return crowd;
}

Crowd::~Crowd() {
  clients_.clear();
  graveyard_.clear();
  beat_.reset();
}

absl::Status Crowd::Prepare() {
  auto loop = net::EventLoop::Create("load", RealClock(), NullLog(), files_);
  if (!loop.ok()) return loop.status();
  loop_ = std::move(*loop);
  while (identities_.size() < options_.identities) {
    auto identity = MakeIdentity(options_.seed, identities_.size());
    if (!identity.ok()) return identity.status();
    identities_.push_back(std::move(*identity));
  }
  free_identities_.clear();
  for (const auto& identity : identities_) {
    identity->profile.network = options_.network;
    free_identities_.push_back(identity.get());
  }
  return absl::OkStatus();
}

absl::StatusOr<Tally> Crowd::Run(CrowdOptions options, std::function<Errand(uint64_t n)> next) {
  options_ = std::move(options);
  next_ = std::move(next);
  tally_ = Tally();
  in_flight_ = there_ = 0;
  all_there_ = finishing_ = filling_ = false;
  owed_ = leaving_ = 0;
  staying_.clear();
  if (absl::Status status = Prepare(); !status.ok()) return status;
  began_ = loop_->Now();
  churned_ = began_;
  const bool counts_from_now = options_.duration > Duration{} && !options_.all_there;
  ends_ = counts_from_now ? began_ + options_.duration : kNever;
  beat_ = std::make_unique<net::Timer>(*loop_, [this] { Beat(); });
  loop_->Post([this] { Beat(); });
  loop_->Run();
  for (const auto& [index, client] : clients_) Count(*client);
  tally_.seconds = Seconds(
      (all_there_ && ends_ != kNever ? std::min(ends_, loop_->Now()) : loop_->Now()) - began_);
  clients_.clear();
  graveyard_.clear();
  beat_.reset();
  loop_.reset();
  return std::move(tally_);
}

bool Crowd::MayBegin() const {
  if (finishing_ || in_flight_ >= options_.in_flight) return false;
  if (options_.count > 0 && tally_.begun >= options_.count && !all_there_) return false;
  if (all_there_ || options_.rate > 0) return owed_ >= 1;
  return true;
}

void Crowd::Fill() {
  if (std::exchange(filling_, true)) return;  // a client may end while it begins
  while (MayBegin()) {
    if (owed_ >= 1) owed_ -= 1;
    BeginOne();
  }
  filling_ = false;
  const bool enough = options_.count > 0 && tally_.begun >= options_.count;
  if (!enough || in_flight_ > 0 || all_there_) return;
  if (there_ > 0) {
    AllThere();
  } else {
    Finish();
  }
}

void Crowd::BeginOne() {
  Errand errand = next_(tally_.begun++);
  if (!free_identities_.empty()) {
    errand.identity = free_identities_.front();
    free_identities_.pop_front();
  }
  auto client = std::make_unique<Client>(*loop_, sockets_, *tls_, static_cast<ClientOwner&>(*this),
                                         std::move(errand));
  client->index = next_index_++;
  Client& begun = *client;
  clients_.emplace(begun.index, std::move(client));
  ++in_flight_;
  begun.Begin();
}

void Crowd::OnGoal(Client& client, Duration took) {
  ++tally_.reached;
  if (tally_.goal_ms.size() < kMostSamples) tally_.goal_ms.push_back(Ms(took));
  const Exit exit = client.errand().exit;
  if (!Stays(exit)) return;
  --in_flight_;
  ++there_;
  staying_.push_back(client.index);
  if (!all_there_ && options_.count > 0 && tally_.begun >= options_.count && in_flight_ == 0)
    AllThere();
}

void Crowd::AllThere() {
  all_there_ = true;
  began_ = churned_ = loop_->Now();
  owed_ = leaving_ = 0;
  tally_.messages = 0;
  ends_ = began_ + options_.duration;
  if (options_.all_there) options_.all_there();
}

void Crowd::OnRoundTrip(Duration took) {
  if (tally_.round_trip_ms.size() < kMostSamples) tally_.round_trip_ms.push_back(Ms(took));
}

void Crowd::Count(const Client& client) {
  if (const wire::SessionStats* stats = client.stats()) {
    tally_.pings_answered += stats->core_out[5].frames;
    tally_.pongs_seen += stats->core_in[5].frames;
  }
}

void Crowd::OnEnded(Client& client) {
  Count(client);
  ++tally_.outcomes[client.outcome()];
  if (client.outcome() != Outcome::kDone &&
      (tally_.troubles.size() < kMostTroubles || tally_.troubles.contains(client.detail()))) {
    ++tally_.troubles[client.detail()];
  }
  const Exit exit = client.errand().exit;
  if (Stays(exit) && client.reached()) {
    --there_;
    if (!finishing_) ++tally_.lost;
  } else {
    --in_flight_;
  }
  if (client.errand().identity != nullptr) free_identities_.push_back(client.errand().identity);
  auto it = clients_.find(client.index);
  graveyard_.push_back(std::move(it->second));
  clients_.erase(it);
  loop_->Post([this] {
    graveyard_.clear();
    Fill();
  });
}

void Crowd::Churn(MonoTime now) {
  const double due = Seconds(now - churned_) * options_.churn;
  churned_ = now;
  owed_ += due;
  leaving_ += due;
  // As many leave as will come; of those that come some may have to wait for their turn.
  while (leaving_ >= 1 && !staying_.empty()) {
    const auto it = clients_.find(staying_.front());
    staying_.pop_front();
    if (it == clients_.end()) continue;
    leaving_ -= 1;
    --there_;
    ++in_flight_;
    it->second->Leave(options_.farewell);
  }
}

void Crowd::Beat() {
  const MonoTime now = loop_->Now();
  if (stop_asked.load(std::memory_order_relaxed) || now >= ends_) {
    Finish();
    return;
  }
  if (all_there_) {
    if (options_.churn > 0) Churn(now);
  } else if (options_.rate > 0) {
    const double due = Seconds(now - churned_) * options_.rate;
    churned_ = now;
    // What could not be begun in time is not made up for in one go.
    owed_ = std::min(owed_ + due, std::max(1.0, options_.rate / 10));
  }
  Fill();
  if (finishing_) return;
  const bool fast = options_.rate > 0 || options_.churn > 0;
  beat_->SetAt(std::min(now + (fast ? kBeat : kSlowBeat), ends_));
}

void Crowd::Finish() {
  if (std::exchange(finishing_, true)) return;
  loop_->Stop();
}

}  // namespace helo::load
