// A handler of the plain kind, for tests: capability echo/1 of two messages. PING (0) with any
// bytes is answered by PONG (1) with the same bytes, in order. Thread: as helo::Handler.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <deque>
#include <vector>

#include "p2p/base/mutex.h"
#include "p2p/server/handler.h"

namespace helo {

class EchoHandler final : public Handler {
 public:
  static constexpr uint16_t kPing = 0, kPong = 1;
  static constexpr uint32_t kMaxMessageBytes = 65536;

  std::vector<Capability> Capabilities() const override {
    return {{"echo", 1, 2, kMaxMessageBytes}};
  }
  void Attached(Messenger& messenger) override { messenger_ = &messenger; }
  void OnOpen(const SessionInfo& info) override;
  void OnMessage(SessionId session, uint16_t type, ByteView payload) override;
  void OnWritable(SessionId session) override;
  void OnClose(SessionId session, uint32_t code) override;
  void Detached() override { messenger_ = nullptr; }

  uint64_t open_sessions() const { return open_.load(); }
  uint64_t pongs_received() const { return pongs_.load(); }

 private:
  Messenger* messenger_ = nullptr;
  std::atomic<uint64_t> open_{0}, pongs_{0};
  Mutex mutex_;
  // Answers that a peer's full quota holds up. Bounded: reading from that peer stops with the first
  // one, so what follows is at most what had been read already.
  absl::flat_hash_map<SessionId, std::deque<Bytes>> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace helo
