// The Messenger: handlers' sessions by number, from any thread to the loop that owns the peer.
// Private to p2p/server.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "p2p/base/mutex.h"
#include "p2p/peers/peer_table.h"
#include "p2p/server/handler.h"
#include "p2p/wire/frame.h"

namespace helo::server {

class Connection;
class Worker;

// One handler's session. `connection` may be touched on the worker's loop only, while `alive`.
struct SessionEntry : std::enable_shared_from_this<SessionEntry> {
  SessionId session = 0;
  Worker* worker = nullptr;
  peers::ConnId conn = 0;
  uint32_t open_id = 0;
  uint16_t message_count = 0;
  uint32_t max_send_bytes = 0;
  Handler* handler = nullptr;
  size_t quota = 0;
  std::atomic<size_t> posted_bytes{0};  // on their way to the loop, frame headers included
  std::atomic<size_t> queued_bytes{0};  // of the whole peer, as the loop last saw it
  std::atomic<bool> wants_writable{false};
  std::atomic<size_t> wanted_bytes{0};   // what the message that was refused last needs room for
  std::atomic<bool> want_paused{false};  // what its handler asked for last
  bool paused = false;                   // what became of it; the loop's
};

inline size_t PostedBytes(size_t payload) { return payload + wire::kFrameHeaderBytes; }

class SessionRegistry {
 public:
  void Add(std::shared_ptr<SessionEntry> entry);
  void Remove(SessionId session);
  void SetWorkers(std::vector<Worker*> workers) {
    workers_ = std::move(workers);
  }  // before any loop runs

  // As in Messenger.
  SendResult Send(SessionId session, uint16_t type, ByteView payload, bool later);
  void SendAll();
  void Disconnect(SessionId session, Reason reason, const std::string& text);
  void PauseReading(SessionId session, bool paused);
  void Offer(const std::vector<Capability>& all_versions_of_one_name, Handler* handler);
  void Withdraw(const std::string& name, Reason code);

 private:
  // Sharded, so that senders of different sessions rarely meet.
  struct Shard {
    Mutex mutex;
    absl::flat_hash_map<SessionId, std::shared_ptr<SessionEntry>> entries ABSL_GUARDED_BY(mutex);
  };
  Shard& shard(SessionId session) { return shards_[session % shards_.size()]; }
  std::shared_ptr<SessionEntry> Find(SessionId session);

  std::array<Shard, 16> shards_;
  std::vector<Worker*> workers_;
};

// One handler's view of the registry: what it offers is served by it.
class HandlerMessenger final : public Messenger {
 public:
  HandlerMessenger(SessionRegistry& registry, Handler& handler)
      : registry_(registry), handler_(handler) {}
  Handler& handler() { return handler_; }
  SendResult Send(SessionId session, uint16_t type, ByteView payload) override {
    return registry_.Send(session, type, payload, /*later=*/false);
  }
  SendResult SendLater(SessionId session, uint16_t type, ByteView payload) override {
    return registry_.Send(session, type, payload, /*later=*/true);
  }
  void SendAll() override { registry_.SendAll(); }
  void Disconnect(SessionId session, Reason reason, const std::string& text) override {
    registry_.Disconnect(session, reason, text);
  }
  void PauseReading(SessionId session, bool paused) override {
    registry_.PauseReading(session, paused);
  }
  void Offer(const std::vector<Capability>& versions) override {
    registry_.Offer(versions, &handler_);
  }
  void Withdraw(const std::string& name, Reason code) override { registry_.Withdraw(name, code); }

 private:
  SessionRegistry& registry_;
  Handler& handler_;
};

}  // namespace helo::server
