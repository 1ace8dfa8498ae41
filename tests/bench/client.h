// One connection of the load generator: as far as its Goal, then what its Exit says. Thread: the
// Crowd's loop.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "p2p/net/event_loop.h"
#include "p2p/net/socket.h"
#include "p2p/wire/session.h"
#include "tests/bench/client_tls.h"

namespace helo::load {

enum class Goal : uint8_t {
  kConnect,     // TCP stands
  kSend,        // the prepared bytes are sent (a recorded first flight, garbage) and answered
  kTcpPayload,  // `payload` bytes there and back over bare TCP
  kTls,         // the handshake is done
  kTlsPayload,  // and `payload` bytes there and back
  kUp,          // HELLO, VERDICT: a peer
};

enum class Exit : uint8_t {
  kReset,       // RST at once
  kFin,         // close(2) at once
  kGoodbye,     // DISCONNECT, close_notify, FIN, and wait for theirs
  kWaitForEnd,  // say no more, until the other side closes
  kViolate,     // a frame on a channel that nobody offered: they close
  kStay,        // idle, pings answered, until told
  kPing,        // round trips: echo/1, or bytes over bare TLS or TCP
  kMessages,    // as many messages as `window` lets be unanswered: echo/1, or the same bytes bare
};

// Messages that nobody answers are acknowledged after this many bytes: by the PONG to an empty PING
// that follows them, or by one byte of helo-bare --sink.
inline constexpr size_t kAcknowledgedBytes = 65536;

struct Errand {
  Goal goal = Goal::kUp;
  Exit exit = Exit::kReset;
  Endpoint target = {};
  std::optional<IpAddress> source = {};
  const Identity* identity = nullptr;      // without one, no certificate
  const wire::Profile* profile = nullptr;  // instead of the identity's
  std::string alpn = "helo/1";
  Bytes bytes = {};              // of kSend
  bool await_answer = true;      // of kSend
  size_t payload = 100;          // of the payload goals, kPing and kMessages
  size_t window = 0;             // of kMessages: bytes that are on their way, headers included
  bool one_way = false;          // of kMessages: PONGs, which the node takes without an answer
  bool refuse = false;           // answers the acceptor's HELLO with a refusing VERDICT
  bool refused_is_well = false;  // to be refused is what it is for
  bool without_certificate = false;
  bool malformed_hello = false;  // sends a HELLO that cannot be parsed
  Duration ping_pause = std::chrono::microseconds(500);
  Duration patience = std::chrono::seconds(20);  // for goal and for exit, each
};

enum class Outcome : uint8_t { kOpen, kDone, kRefused, kReset, kTimeout, kNoSocket, kBroken };

class Client;

class ClientOwner {
 public:
  virtual ~ClientOwner() = default;
  virtual void OnGoal(Client& client, Duration took) = 0;
  virtual void OnRoundTrip(Duration took) = 0;
  virtual void OnMessages(uint64_t messages) = 0;  // answered, or acknowledged
  virtual void OnEnded(Client& client) = 0;        // destroy it; nothing else will be called
};

class Client final : public net::Watcher, private wire::SessionSink {
 public:
  Client(net::EventLoop& loop, FdPool& pool, const ClientTls& tls, ClientOwner& owner,
         Errand errand);
  ~Client() override;
  void Begin();          // may end at once
  void Leave(Exit how);  // of one that stays

  const Errand& errand() const { return errand_; }
  bool reached() const { return reached_; }
  Outcome outcome() const { return outcome_; }
  const std::string& detail() const { return detail_; }
  const wire::SessionStats* stats() const { return session_ ? &session_->stats() : nullptr; }
  size_t index = 0;  // the owner's

 private:
  bool OnReady(uint32_t events) override;
  void OnHello(const wire::Hello& hello) override;
  void OnUp() override;
  void OnOpen(const wire::OpenChannel& channel) override;
  void OnMessage(uint32_t open_id, uint16_t type, ByteView payload) override;
  void OnWritable() override {}
  void OnChannelClose(uint32_t /*open_id*/, uint32_t /*code*/) override {}
  void OnChallenge(bool /*alive*/) override {}
  void OnPeersRequested(uint32_t /*max*/) override {}
  void OnPeers(const std::vector<wire::PeerInfo>& /*peers*/) override {}
  void OnMismatch(const std::string& /*name*/, uint16_t /*version*/, uint16_t /*ours*/,
                  uint16_t /*theirs*/) override {}
  void OnClose(const CloseInfo& close) override;

  bool Open();
  void Connected();
  void HandshakeStep();
  void ReadAll();
  void Take(ByteView bytes);
  void Flush();
  bool Write(ByteView bytes);  // of small things, at once or broken
  void Reached();
  void LeaveNow();
  void Ping();
  void Pour();  // as many messages as the window has room for
  void Answered(uint64_t bytes);
  size_t FrameBytes() const;
  void OnTimer();
  void Arm();
  void End(Outcome outcome, std::string detail = {});
  bool Settle();  // true: it ended, and is gone

  net::EventLoop& loop_;
  FdPool& pool_;
  const ClientTls& tls_;
  ClientOwner& owner_;
  Errand errand_;
  bool connected_ = false, handshaken_ = false, reached_ = false, ended_ = false, told_ = false;
  bool said_goodbye_ = false, up_ = false;
  Outcome outcome_ = Outcome::kOpen;
  std::string detail_;
  MonoTime began_{}, deadline_ = kNever, pinged_{}, next_ping_ = kNever;
  size_t received_ = 0;
  uint32_t echo_ = 0;  // open id
  uint64_t on_their_way_ = 0,
           unmarked_ = 0;       // of kMessages: bytes not answered; since the last mark
  uint64_t answered_ = 0;       // bytes of a message that is not wholly answered
  std::deque<uint64_t> marks_;  // bytes in front of each mark
  Bytes payload_, poured_;      // one message; bare bytes that are not written yet
  net::Socket socket_;
  Ssl ssl_;  // before the socket is closed
  net::Registration registration_;
  net::Timer timer_;
  std::unique_ptr<wire::Session> session_;
};

}  // namespace helo::load
