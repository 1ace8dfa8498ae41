// The inside of Session: its state, and the handler of FrameReader. Sources by what they do:
// session.cc (life and output), session_handshake.cc (HELLO and VERDICT), session_core.cc (frames
// on channel 0 once up, and the order of checks), session_names.cc (named channels),
// session_close.cc (every end). Thread: the loop of the connection. Long: one class.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/wire/channels.h"
#include "p2p/wire/codec.h"
#include "p2p/wire/frame_reader.h"
#include "p2p/wire/keepalive.h"
#include "p2p/wire/offer_queue.h"
#include "p2p/wire/outbox.h"
#include "p2p/wire/rate_window.h"
#include "p2p/wire/session.h"

namespace helo::wire {

class Session::Impl {
 public:
  explicit Impl(Params params);

  void Start(MonoTime now);
  void Receive(MonoTime now, ByteView plain);
  void ReceiveEof(MonoTime now, bool close_notify);
  void Tick(MonoTime now);
  MonoTime NextDeadline() const;

  void Decide(MonoTime now, const Verdict& verdict);
  void HoldForChallenge(MonoTime now);
  bool Challenge(MonoTime now);
  void Close(MonoTime now, Reason reason, std::string text, uint32_t retry_after_s);
  void Abort(MonoTime now, Reason reason, Decider decider, std::string text);
  void OnKeyUpdates(MonoTime now, uint32_t count, uint64_t records_received);

  SendStatus Send(MonoTime now, uint32_t open_id, uint16_t type, ByteView payload);
  bool OfferName(MonoTime now, const std::vector<Offer>& offers);
  void WithdrawName(MonoTime now, const std::string& name, uint32_t code);
  bool RequestPeers(MonoTime now, uint32_t max);
  void SendPeers(MonoTime now, const std::vector<PeerInfo>& peers);
  void SetReadingPaused(MonoTime now, bool paused);
  bool reading_paused() const { return keepalive_.paused(); }

  ByteView Pending() const { return outbox_.pending(); }
  void Sent(MonoTime now, size_t n, size_t still_queued, bool progressed);

  bool up() const { return state_ == State::kUp; }
  bool closing() const { return state_ == State::kClosed; }
  Stage stage() const;
  const std::optional<Hello>& remote_hello() const { return remote_hello_; }
  const SessionStats& stats() const;
  Capabilities capabilities() const;

  // For FrameReader.
  FrameReader::Take OnHeader(const FrameHeader& header);
  bool OnFrame(const FrameHeader& header, ByteView payload);

 private:
  enum class State : uint8_t {
    kNew,            // before Start
    kAwaitHello,     // dialer: own HELLO sent; acceptor: nothing sent
    kAwaitVerdict,   // dialer: HELLO came, VERDICT has not
    kAwaitDecision,  // OnHello was called
    kDeciding,       // inside Decide
    kAwaitAccept,    // acceptor: HELLO and ACCEPT sent
    kUp,
    kClosed,
  };

  bool is_dialer() const { return params_.role == Role::kDialer; }
  const Times& times() const { return params_.profile->times; }
  SessionSink& sink() { return *params_.sink; }
  int64_t WallMicros() const;
  size_t queued() const { return outbox_.size() + still_queued_; }

  // Output.
  void AppendCore(uint16_t type, ByteView payload);
  void NoteQueued();
  void NoteRoom();
  void AppendHello();
  void AppendRefusal(uint16_t type, uint32_t code, const std::string& text, uint32_t retry_after_s);
  void SendPing();

  // Checks on a header, in WIRE 2's order.
  FrameReader::Take OnCoreHeader(const FrameHeader& header);
  FrameReader::Take OnNamedHeader(const FrameHeader& header);
  bool InOrder(uint16_t type) const;
  bool InRate(const FrameHeader& header);
  FrameReader::Take OnLateHeader(Channels::OurNumber& number, const FrameHeader& header);

  // Complete frames on channel 0.
  void OnCoreFrame(const FrameHeader& header, ByteView payload);
  void OnHelloFrame(ByteView payload);
  void OnVerdictFrame(ByteView payload);
  void OnAcceptorsVerdict(const Refusal& verdict);
  void OnDialersVerdict(const Refusal& verdict);
  void JudgeHello();
  void OnDisconnectFrame(ByteView payload);
  void OnPingFrame(ByteView payload);
  void OnPongFrame(ByteView payload);
  void OnOfferFrame(ByteView payload);
  void OnWithdrawFrame(ByteView payload);
  void OnPeersFrame(ByteView payload);
  void CountUnknown(uint64_t bytes);

  void OnNamedFrame(const FrameHeader& header, ByteView payload);
  void GoUp();
  void OpenName(const std::string& name, bool tell_mismatches);
  void TellMismatches(const std::string& name);
  void TellAllMismatches();
  bool SharesRequired() const;
  void FlushOffers();
  uint32_t NamedIndex(const std::string& name);

  // The ends. `Fail` is ours, `EndByThem` what the remote told us, `Finish` what all ends share.
  void Fail(Reason reason, std::string text);
  void EndByUs(Reason reason, std::string text, uint32_t retry_after_s);
  void EndByThem(const Refusal& refusal);
  void Finish(CloseInfo close);
  void FinishByNetwork(Reason reason, std::string text);
  void TickStages();
  void TickUp();

  Params params_;
  MonoTime now_{};
  State state_ = State::kNew;
  bool got_hello_ = false;  // complete, acceptable or not
  bool was_up_ = false;
  bool sent_hello_ = false;
  bool sent_verdict_ = false;
  bool started_ = false;
  bool want_writable_ = false;
  bool in_receive_ = false;  // the reader's payload may be borrowed by the sink
  bool skipping_ = false;    // the frame that is being read was judged at its header and is dropped

  // Deadlines; kNever where none runs.
  MonoTime hello_deadline_ = kNever;
  MonoTime verdict_deadline_ = kNever;
  MonoTime up_deadline_ = kNever;
  MonoTime held_since_ = kNever;
  MonoTime stalled_since_{};  // meaningful while queued() > 0

  FrameReader reader_;
  Outbox outbox_;
  size_t still_queued_ = 0;
  std::optional<Hello> remote_hello_;
  Channels channels_;
  OfferQueue offer_queue_;
  Keepalive keepalive_;

  // Rates of what we receive.
  RateWindow pings_{10, std::chrono::seconds(10)};
  RateWindow offers_{64, std::chrono::minutes(1)};
  RateWindow key_updates_{4, std::chrono::minutes(1)};
  ByteWindow unknown_{65536, std::chrono::minutes(1)};
  uint64_t key_update_credit_used_ = 0;
  std::optional<MonoTime> peers_requested_by_them_;
  std::optional<MonoTime> peers_requested_by_us_;
  uint32_t peers_owed_ = 0;      // GET_PEERS that we have not answered
  uint32_t peers_expected_ = 0;  // GET_PEERS that they have not answered

  mutable SessionStats stats_;
};

}  // namespace helo::wire
