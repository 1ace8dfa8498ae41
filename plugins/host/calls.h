// Commands that wait for a plugin's answer. Private to plugins/host but for Answer and CallDone.
// Thread: the owner's lock.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace helo::plugins {

struct Answer {
  bool failed = false;  // as the plugin says
  std::string text;
};
// Called once, on any thread, the plugin's own too: must be short and must not call the host. Not
// OK: there is no such plugin or command, it is gone, or the deadline has passed.
using CallDone = std::function<void(absl::StatusOr<Answer>)>;

struct PendingCall {
  uint32_t command = 0;
  std::vector<std::string> args;
  std::chrono::steady_clock::time_point deadline;
  CallDone done;
};

class CallTable {
 public:
  size_t size() const { return calls_.size(); }
  uint64_t Add(PendingCall call) {
    calls_[++last_] = std::make_shared<PendingCall>(std::move(call));
    return last_;
  }
  std::shared_ptr<PendingCall> Find(uint64_t number) const {
    auto it = calls_.find(number);
    return it == calls_.end() ? nullptr : it->second;
  }
  std::shared_ptr<PendingCall> Take(uint64_t number) {
    auto it = calls_.find(number);
    if (it == calls_.end()) return nullptr;
    std::shared_ptr<PendingCall> call = std::move(it->second);
    calls_.erase(it);
    return call;
  }
  // Those whose deadline has passed; all with time_point::max().
  std::vector<std::shared_ptr<PendingCall>> TakeDue(std::chrono::steady_clock::time_point now) {
    std::vector<std::shared_ptr<PendingCall>> due;
    for (auto it = calls_.begin(); it != calls_.end();) {
      if (it->second->deadline <= now) {
        due.push_back(std::move(it->second));
        calls_.erase(it++);
      } else {
        ++it;
      }
    }
    return due;
  }
  std::chrono::steady_clock::time_point first() const {
    auto first = std::chrono::steady_clock::time_point::max();
    for (const auto& [number, call] : calls_) first = std::min(first, call->deadline);
    return first;
  }

 private:
  uint64_t last_ = 0;
  absl::flat_hash_map<uint64_t, std::shared_ptr<PendingCall>> calls_;
};

}  // namespace helo::plugins
