// A plugin's timers of one shot, by token. Private to plugins/host. Thread: the owner's lock.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <optional>
#include <set>
#include <utility>

namespace helo::plugins {

class Timers {
 public:
  using Nanoseconds = int64_t;  // of the steady clock
  size_t size() const { return by_token_.size(); }
  bool Has(uint64_t token) const { return by_token_.contains(token); }
  Nanoseconds first() const { return order_.empty() ? INT64_MAX : order_.begin()->first; }

  void Set(uint64_t token, Nanoseconds when) {
    Cancel(token);
    by_token_[token] = {when, ++sequence_};
    order_.insert({when, {sequence_, token}});
  }
  bool Cancel(uint64_t token) {
    auto it = by_token_.find(token);
    if (it == by_token_.end()) return false;
    order_.erase({it->second.first, {it->second.second, token}});
    by_token_.erase(it);
    return true;
  }
  // The one that is due first, taken out; those due at the same time in the order of their Set.
  std::optional<uint64_t> TakeDue(Nanoseconds now) {
    if (first() > now) return std::nullopt;
    const uint64_t token = order_.begin()->second.second;
    Cancel(token);
    return token;
  }
  void Clear() {
    by_token_.clear();
    order_.clear();
  }

 private:
  uint64_t sequence_ = 0;
  absl::flat_hash_map<uint64_t, std::pair<Nanoseconds, uint64_t>> by_token_;
  std::set<std::pair<Nanoseconds, std::pair<uint64_t, uint64_t>>> order_;
};

}  // namespace helo::plugins
