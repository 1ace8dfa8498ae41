// echo: the smallest plugin that is of use, and the first to read. A peer's PING is answered by a
// PONG with the same bytes, in order.
//
// Capability echo/1, messages of at most 64 KiB:
//   0 PING   any bytes
//   1 PONG   the bytes of the PING
//
// What to learn here: a plugin is a class; what it speaks is kProtocols; OnMessage judges the peer.
// And the one thing that is not obvious: Send may say AGAIN, when the peer reads more slowly than
// it writes. Then the answers wait here, up to a limit, for OnWritable.
#include <deque>
#include <vector>

#include "helo/plugin.hpp"

namespace {

constexpr uint32_t kPing = 0, kPong = 1;
constexpr size_t kMaxHeldBytes = 1 << 20;
constexpr size_t kCostOfOne = 64;  // of an answer that waits, beside its bytes

class Echo final : public helo::Plugin {
 public:
  static constexpr helo::About kAbout = {"org.helo.echo", "1.0.0", "answers PING with PONG",
                                         HELO_F_UNLOADABLE};
  static constexpr helo_protocol kProtocols[] = {
      helo::Protocol("echo", 1, /*message_count=*/2, /*max_message_bytes=*/65536)};
  using Plugin::Plugin;

  helo::Verdict OnMessage(helo::Session session, uint32_t type, helo::Bytes payload) override {
    if (type != kPing) return helo::Verdict::kOk;  // a PONG to nobody
    Held* held = held_.Find(session);
    if (held == nullptr) {
      if (host().Send(session, kPong, payload) != HELO_E_AGAIN) return helo::Verdict::kOk;
      held = &held_.Open(session);
    }
    held->bytes += payload.size() + kCostOfOne;
    if (held->bytes > kMaxHeldBytes) {
      host().Disconnect(session, "you ping faster than you read the answers");
    } else {
      held->answers.emplace_back(payload.begin(), payload.end());
    }
    return helo::Verdict::kOk;
  }

  void OnWritable(helo::Session session) override {
    Held* held = held_.Find(session);
    if (held == nullptr) return;
    for (; !held->answers.empty(); held->answers.pop_front()) {
      if (host().Send(session, kPong, held->answers.front()) == HELO_E_AGAIN) return;
      held->bytes -= held->answers.front().size() + kCostOfOne;
    }
    held_.Close(session);
  }

  void OnClose(helo::Session session, int32_t /*reason*/) override { held_.Close(session); }

 private:
  struct Held {
    std::deque<std::vector<uint8_t>> answers;
    size_t bytes = 0;
  };
  helo::SessionMap<Held> held_;  // only of peers that are behind
};

}  // namespace

HELO_PLUGIN(Echo);
