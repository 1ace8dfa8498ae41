// One connection's protocol, from "TLS is done" to the last byte, as a machine without socket,
// clock or thread (WIRE 2 to 9). Bytes, time and the node's own decisions go in; bytes, calls of
// the sink and the next deadline come out. Long: the contract of one class and its sink.
//
//   dialer    kHello -> (HELLO, VERDICT seen; OnHello; Decide) -> kVerdict/kUp -> kUp -> kClosing
//   acceptor  kHello -> (HELLO seen; OnHello; Decide) -> kVerdict -> kUp -> kClosing
//
// Every function with `now` may call the sink, which may call Send, Close and the getters, but not
// destroy the session. `now` never goes back. After OnClose only output remains: send it, then
// close_notify.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/bytes.h"
#include "p2p/base/clock.h"
#include "p2p/base/reasons.h"
#include "p2p/base/rng.h"
#include "p2p/wire/messages.h"

namespace helo::wire {

enum class Role : uint8_t { kDialer, kAcceptor };

// WIRE 7, all of it configurable for tests.
struct Times {
  Duration hello = std::chrono::seconds(5);
  Duration verdict = std::chrono::seconds(5);
  Duration accept_to_up = std::chrono::seconds(10);
  Duration not_reading = std::chrono::seconds(20);
  Duration ping_idle = std::chrono::seconds(15);  // +- 20 %
  Duration ping_at_least = std::chrono::seconds(30);
  Duration first_ping = std::chrono::seconds(30);  // after up; a node that shows RTTs wants it soon
  Duration ping_timeout = std::chrono::seconds(45);
  Duration challenge = std::chrono::seconds(2);
};

// What this node says of itself; shared by its sessions, immutable.
struct Profile {
  NodeId self;
  uint32_t minor = 0;
  uint32_t least_minor = 0;
  std::string network = "helo-dev";
  Bytes genesis;
  std::string user_agent;
  std::vector<Endpoint> advertised;
  uint64_t features = 0;
  std::vector<std::string> required;  // capability names; none shared = NO_SHARED_CAPABILITY
  Times times;
  size_t send_quota_bytes = 1 << 20;  // queued and unsent, beyond which Send says kAgain
};

// An open name (WIRE 5) at the version both sides chose.
struct OpenChannel {
  uint32_t open_id = 0;  // unique in the session, never reused
  std::string name;
  uint16_t version = 0;
  uint16_t message_count = 0;
  uint32_t max_send_bytes = 0;     // the remote's limit
  uint32_t max_receive_bytes = 0;  // ours
};

class SessionSink {
 public:
  virtual ~SessionSink() = default;
  // The remote's HELLO stood every check of this room. Answer with Session::Decide, now or later.
  virtual void OnHello(const Hello& hello) = 0;
  virtual void OnUp() = 0;
  virtual void OnOpen(const OpenChannel& channel) = 0;
  virtual void OnMessage(uint32_t open_id, uint16_t type,
                         ByteView payload) = 0;  // borrowed for the call
  virtual void OnWritable() = 0;  // after kAgain: the queue is below half of its quota again
  virtual void OnChannelClose(uint32_t open_id,
                              uint32_t code) = 0;  // exactly one for each OnOpen, before OnClose
  virtual void OnChallenge(bool alive) = 0;
  virtual void OnPeersRequested(uint32_t max) = 0;
  virtual void OnPeers(const std::vector<PeerInfo>& peers) = 0;
  virtual void OnMismatch(const std::string& name, uint16_t version, uint16_t ours,
                          uint16_t theirs) = 0;
  virtual void OnClose(const CloseInfo& close) = 0;  // exactly once
};

enum class SendStatus : uint8_t { kOk, kAgain, kGone, kTooBig, kInvalid };

struct Verdict {
  Reason reason = Reason::kAccept;
  std::string text;
  uint32_t retry_after_s = 0;
};

struct FrameCount {
  uint64_t frames = 0;
  uint64_t bytes = 0;  // headers included
};

// Of one session; plain numbers, copied for lists.
struct SessionStats {
  std::array<FrameCount, 10> core_in, core_out;  // by CoreType; 0 = unknown types
  struct Named {
    std::string name;
    FrameCount in, out;
  };
  std::vector<Named> named;  // by capability name, in order of first use
  uint64_t late_frames = 0;  // to withdrawn channels, dropped
  uint32_t offers_refused =
      0;  // names of ours that this connection could not offer: OfferName was false
  std::optional<Duration> last_rtt, least_rtt;
  std::optional<int64_t> skew_us;  // theirs minus ours
  MonoTime up_since = kNever;
  MonoTime last_receive = kNever;
  MonoTime last_message = kNever;  // last useful message: on a named channel
  size_t queued_bytes = 0;
};

class Session {
 public:
  // `started`: when the connection was accepted (acceptor: accept-to-up counts from it) or TLS
  // began (dialer). `expected`: the id the dialer named. `our_offers`: standing at hello.
  // `observed`: the remote's address as we see it. `wall_us` gives Hello.clock_us and
  // Pong.clock_us. Profile, rng, sink, clock outlive the session.
  struct Params {
    const Profile* profile = nullptr;
    Role role = Role::kDialer;
    Purpose purpose = Purpose::kJoin;
    NodeId remote;
    std::optional<NodeId> expected;
    std::optional<Endpoint> observed;
    std::vector<Offer> our_offers;
    MonoTime started{};
    const Clock* clock = nullptr;  // for WallNow() alone
    Rng* rng = nullptr;
    SessionSink* sink = nullptr;
  };
  explicit Session(Params params);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void Start(MonoTime now);                    // TLS is up. SELF and UNEXPECTED_ID end here
  void Receive(MonoTime now, ByteView plain);  // decrypted bytes, any fragmentation; takes all
  void ReceiveEof(MonoTime now, bool close_notify);  // their close_notify, or a FIN without one
  void Tick(MonoTime now);
  MonoTime NextDeadline() const;

  // The verdict on the remote's HELLO. Reason::kAccept or a refusal; a probe's ACCEPT reserves
  // nothing.
  void Decide(MonoTime now, const Verdict& verdict);
  // This newcomer waits for a challenge of another connection: its deadlines stand still until
  // Decide.
  void HoldForChallenge(MonoTime now);
  // Ask this (up) session whether it lives: PING, then exactly one OnChallenge, within
  // Times::challenge. False: over the rate of challenges (5 in 10 s), one is under way, or not up.
  // A peer that we do not read counts as alive; a close in the meantime is OnChallenge(false), then
  // OnClose.
  bool Challenge(MonoTime now);
  // DISCONNECT (or the refusing VERDICT) with this reason. No-op once closing. `text`: bytes
  // outside 0x20..0x7e are sent as '?', and at most 256 of them. A reason that is local only (100
  // and above) is INTERNAL to the remote.
  void Close(MonoTime now, Reason reason, std::string text = {}, uint32_t retry_after_s = 0);
  // The connection broke or TLS failed below us: no frame can be sent any more.
  void Abort(MonoTime now, Reason reason, Decider decider, std::string text = {});
  void OnKeyUpdates(MonoTime now, uint32_t count,
                    uint64_t records_received);  // FLOOD beyond WIRE 1's rate
  void OnTlsMisuse(MonoTime now);

  SendStatus Send(MonoTime now, uint32_t open_id, uint16_t type, ByteView payload);
  // A channel of 0 (here and in Params::our_offers): the session chooses a number. False, and
  // nothing is offered: the name has a standing set, a value is out of range, a number was used
  // before, or the caps of WIRE 5 are reached (64 standing offers, 1,024 numbers a connection).
  // Frames beyond 64 a minute wait for their turn.
  bool OfferName(MonoTime now, const std::vector<Offer>& all_versions_of_one_name);
  void WithdrawName(MonoTime now, const std::string& name, uint32_t code);
  bool RequestPeers(MonoTime now, uint32_t max);  // false if the remote answers none, or too soon
  void SendPeers(MonoTime now, const std::vector<PeerInfo>& peers);
  // We stop, or resume, reading this peer: their silence does not count meanwhile; our pings go on.
  void SetReadingPaused(MonoTime now, bool paused);
  bool reading_paused() const;

  // Output. `Pending` is what waits for TLS; `Sent` says n of it were taken, `still_queued` bytes
  // are below (in TLS or socket buffers), `progressed` that the socket took some since the last
  // call.
  ByteView Pending() const;
  void Sent(MonoTime now, size_t n, size_t still_queued, bool progressed);

  bool up() const;
  bool closing() const;
  Stage stage()
      const;  // kTls before Start, then kHello, kVerdict, kUp; keeps its last value when closing
  const std::optional<Hello>& remote_hello() const;
  const SessionStats& stats() const;
  // Capabilities by name: shared (open), only ours, only theirs; for people.
  struct Capabilities {
    std::vector<std::string> shared, only_ours, only_theirs;  // "echo/1"
  };
  Capabilities capabilities() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace helo::wire
