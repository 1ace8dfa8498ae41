// What the tests of the wire room share: a session with a sink that writes down what it is told, a
// remote that is played by hand with raw frames, and two sessions joined by queues that deliver in
// random portions.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "p2p/base/testing/manual_clock.h"
#include "p2p/base/testing/seeded_rng.h"
#include "p2p/wire/codec.h"
#include "p2p/wire/frame.h"
#include "p2p/wire/session.h"

namespace helo::wire {

// For gtest's messages.
void PrintTo(const Offer& offer, std::ostream* out);
void PrintTo(const Refusal& refusal, std::ostream* out);

}  // namespace helo::wire

namespace helo::wire::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

NodeId IdOf(uint8_t fill);
Offer MakeOffer(uint16_t channel, std::string name, uint16_t version = 1,
                uint16_t message_count = 4, uint32_t max_message_bytes = 1024);
Bytes Filled(size_t n, uint8_t with = 0x5a);

struct RawFrame {
  uint16_t channel = 0;
  uint16_t type = 0;
  Bytes payload;
  bool operator==(const RawFrame&) const = default;
};
void PrintTo(const RawFrame& frame, std::ostream* out);
Bytes Encode(const RawFrame& frame);
// All of `stream` must be whole frames.
std::vector<RawFrame> SplitFrames(ByteView stream);

class RecordingSink final : public SessionSink {
 public:
  void OnHello(const Hello& hello) override;
  void OnUp() override;
  void OnOpen(const OpenChannel& channel) override;
  void OnMessage(uint32_t open_id, uint16_t type, ByteView payload) override;
  void OnWritable() override;
  void OnChannelClose(uint32_t open_id, uint32_t code) override;
  void OnChallenge(bool alive) override;
  void OnPeersRequested(uint32_t max) override;
  void OnPeers(const std::vector<PeerInfo>& peers) override;
  void OnMismatch(const std::string& name, uint16_t version, uint16_t ours,
                  uint16_t theirs) override;
  void OnClose(const CloseInfo& close) override;

  std::vector<std::string> Take() { return std::exchange(events, {}); }

  std::vector<std::string> events;  // "up", "open echo/1 as 1", "message 1/0: ...", in order
  std::vector<OpenChannel> opened;  // every one, in order
  std::vector<PeerInfo> peers;
  std::optional<CloseInfo> closed;
  bool write_messages_down = true;  // off for many messages: count alone
  uint64_t messages = 0;
  std::function<void(const std::string& event)> then;  // called after every event
  std::function<void(uint32_t open_id, uint16_t type, ByteView payload)> on_message;

 private:
  void Note(std::string event);
  std::vector<uint32_t> open_;  // OnOpen without OnChannelClose
};

// One node's end of a connection. Decides ACCEPT by itself unless told otherwise.
struct End {
  explicit End(Role role, helo::testing::ManualClock& the_clock);

  void Begin();  // makes the session and starts it
  void Feed(ByteView bytes) { session->Receive(clock.Now(), bytes); }
  void Give(const RawFrame& frame) { Feed(Encode(frame)); }
  void Give(uint16_t type, const Bytes& payload) { Give(RawFrame{0, type, payload}); }
  Bytes TakeBytes(size_t most = SIZE_MAX);
  std::vector<RawFrame> Take() { return SplitFrames(TakeBytes()); }
  // Lets time pass to `by` from now, ticking at every deadline on the way.
  void Pass(Duration by);
  // The same, with a remote that reads all the time and says nothing.
  std::vector<RawFrame> PassReading(Duration by);

  helo::testing::ManualClock& clock;
  helo::testing::SeededRng rng;
  Profile profile;
  Session::Params params;
  RecordingSink sink;
  std::unique_ptr<Session> session;
  std::optional<wire::Verdict> decision = wire::Verdict{};  // nullopt: the test decides itself
};

// What a correct remote on the same network would say.
Hello CorrectHello();
Bytes AcceptPayload();
// Plays the remote up to "up" and forgets what was sent and told on the way.
void BringUp(End& end, const Hello& remote = CorrectHello());
// The only frame that is waiting, which must be this refusal.
Refusal LastRefusal(End& end, uint16_t type);

// Two correct ends and the bytes in flight between them.
struct Pair {
  explicit Pair(uint64_t seed);
  void Begin();
  // Moves everything to and fro, in random portions, until nothing moves.
  void Pump();
  // One random portion in one random direction. False: nothing is left to move.
  bool Step();

  helo::testing::ManualClock clock;
  helo::testing::SeededRng rng;
  End dialer{Role::kDialer, clock};
  End acceptor{Role::kAcceptor, clock};
  Bytes to_dialer;
  Bytes to_acceptor;
};

}  // namespace helo::wire::testing
