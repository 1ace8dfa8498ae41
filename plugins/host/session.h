// One peer on one capability of a plugin, as the host keeps it. Private to plugins/host.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/mutex.h"
#include "p2p/server/handler.h"

namespace helo::plugins {

class PluginRunner;

struct Session {
  Session(const SessionInfo& i, uint32_t protocol_index)
      : info(i), protocol(protocol_index), address(i.remote.ToString()) {}

  const SessionInfo info;
  const uint32_t protocol;  // index into the descriptor's
  const std::string address;
  std::shared_ptr<PluginRunner> runner;  // set before it is shared

  // Messages and bytes that wait for the plugin, in one word: one addition a message and side.
  static constexpr int kMessagesShift = 40;
  static uint64_t Load(size_t bytes) { return (uint64_t{1} << kMessagesShift) | bytes; }
  static uint64_t Messages(uint64_t load) { return load >> kMessagesShift; }
  static uint64_t Bytes(uint64_t load) { return load & ((uint64_t{1} << kMessagesShift) - 1); }
  std::atomic<uint64_t> load{0};

  std::atomic<uint32_t> taken{0};      // messages that left the queue, for the watch
  std::atomic<bool> paused{false};     // its peer is not read; written with the runner's lock
  std::atomic<bool> condemned{false};  // we have closed it: no more messages to the plugin
  std::atomic<bool> closed{false};     // the server has closed it
  bool open_in_plugin = false;         // between on_open and on_close; the plugin's thread's
  // The watch's, with the runner's lock: when `taken` was last seen to grow.
  uint32_t seen_taken = 0;
  MonoTime seen_at{};
};

// Sessions by number, in shards so that loops and senders rarely meet.
class SessionTable {
 public:
  void Add(std::shared_ptr<Session> session) {
    Shard& s = shard(session->info.session);
    MutexLock lock(s.mutex);
    s.sessions[session->info.session] = std::move(session);
  }
  std::shared_ptr<Session> Find(SessionId id) {
    Shard& s = shard(id);
    MutexLock lock(s.mutex);
    auto it = s.sessions.find(id);
    return it == s.sessions.end() ? nullptr : it->second;
  }
  std::shared_ptr<Session> Take(SessionId id) {
    Shard& s = shard(id);
    MutexLock lock(s.mutex);
    auto it = s.sessions.find(id);
    if (it == s.sessions.end()) return nullptr;
    std::shared_ptr<Session> session = std::move(it->second);
    s.sessions.erase(it);
    return session;
  }
  // All that are left, and none afterwards.
  std::vector<std::shared_ptr<Session>> TakeAll() {
    std::vector<std::shared_ptr<Session>> all;
    for (Shard& s : shards_) {
      MutexLock lock(s.mutex);
      for (auto& [id, session] : s.sessions) all.push_back(std::move(session));
      s.sessions.clear();
    }
    return all;
  }

 private:
  struct Shard {
    Mutex mutex;
    absl::flat_hash_map<SessionId, std::shared_ptr<Session>> sessions ABSL_GUARDED_BY(mutex);
  };
  Shard& shard(SessionId id) { return shards_[id % shards_.size()]; }
  std::array<Shard, 16> shards_;
};

}  // namespace helo::plugins
