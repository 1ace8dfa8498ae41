#include "p2p/peers/attempt_history.h"

#include <algorithm>
#include <utility>

namespace helo::peers {
namespace {

void Append(std::deque<Attempt>& ring, size_t size, Attempt attempt) {
  if (size == 0) return;
  while (ring.size() >= size) ring.pop_front();
  ring.push_back(std::move(attempt));
}

bool Matches(const AttemptHistory::Query& query, const Attempt& attempt) {
  if (query.before != 0 && attempt.sequence >= query.before) return false;
  if (query.id && attempt.id != query.id) return false;
  if (query.direction && attempt.direction != *query.direction) return false;
  if (query.text.empty() || attempt.target.find(query.text) != std::string::npos) return true;
  return attempt.remote && attempt.remote->ToString().find(query.text) != std::string::npos;
}

}  // namespace

uint64_t AttemptHistory::Add(Attempt attempt) {
  const uint64_t sequence = next_++;
  attempt.sequence = sequence;
  attempt.first_began = attempt.began;
  if (attempt.direction == Direction::kOutbound) {
    Append(outbound_, sizes_.outbound, std::move(attempt));
  } else if (attempt.was_up || attempt.still_up) {
    Append(inbound_, sizes_.inbound, std::move(attempt));
  } else {
    AddRefused(std::move(attempt));
  }
  return sequence;
}

void AttemptHistory::Replace(uint64_t sequence, Attempt attempt) {
  std::deque<Attempt>& ring = attempt.direction == Direction::kOutbound ? outbound_ : inbound_;
  const auto at = std::lower_bound(ring.begin(), ring.end(), sequence,
                                   [](const Attempt& a, uint64_t s) { return a.sequence < s; });
  if (at == ring.end() || at->sequence != sequence) return;
  attempt.sequence = sequence;
  attempt.first_began = attempt.began;
  *at = std::move(attempt);
}

AttemptHistory::Source AttemptHistory::SourceOfRefusal(const Attempt& attempt) {
  return {attempt.remote ? SourceOf(attempt.remote->ip) : Subnet{}, attempt.close.reason};
}

void AttemptHistory::AddRefused(Attempt attempt) {
  if (sizes_.refused == 0) return;
  const Source source = SourceOfRefusal(attempt);
  if (const auto it = by_source_.find(source); it != by_source_.end()) {
    attempt.repeats += it->second->repeats;
    attempt.first_began = it->second->first_began;
    *it->second = std::move(attempt);
    refused_.splice(refused_.end(), refused_, it->second);
    return;
  }
  while (refused_.size() >= sizes_.refused) {
    by_source_.erase(SourceOfRefusal(refused_.front()));
    refused_.pop_front();
  }
  refused_.push_back(std::move(attempt));
  by_source_.emplace(source, std::prev(refused_.end()));
}

std::vector<Attempt> AttemptHistory::Find(const Query& query) const {
  // Each ring ascends by sequence, so the newest of all is the newest of three ends.
  auto out = outbound_.rbegin();
  auto in = inbound_.rbegin();
  auto refused = refused_.rbegin();
  std::vector<Attempt> found;
  while (found.size() < query.most) {
    const Attempt* newest = nullptr;
    const auto consider = [&newest](const Attempt& attempt) {
      if (newest == nullptr || attempt.sequence > newest->sequence) newest = &attempt;
    };
    if (out != outbound_.rend()) consider(*out);
    if (in != inbound_.rend()) consider(*in);
    if (refused != refused_.rend()) consider(*refused);
    if (newest == nullptr) break;
    if (out != outbound_.rend() && newest == &*out) {
      ++out;
    } else if (in != inbound_.rend() && newest == &*in) {
      ++in;
    } else {
      ++refused;
    }
    if (Matches(query, *newest)) found.push_back(*newest);
  }
  return found;
}

}  // namespace helo::peers
