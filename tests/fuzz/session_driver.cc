// Long: one step for each thing that can happen to a session, and the checks after each.
#include "session_driver.h"

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "p2p/base/testing/manual_clock.h"
#include "p2p/base/testing/seeded_rng.h"
#include "p2p/wire/codec.h"
#include "p2p/wire/frame.h"
#include "p2p/wire/session.h"

namespace helo::wire::fuzz {
namespace {

constexpr const char* kNames[] = {"echo", "gossip", "chain", "x"};

// The input, read from the front; zeros once it is used up.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(data, size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t U8() {
    if (rest_.empty()) return 0;
    const uint8_t value = rest_[0];
    rest_ = rest_.subspan(1);
    return value;
  }
  uint16_t U16() {
    const uint8_t high = U8();
    return static_cast<uint16_t>(high << 8 | U8());
  }
  uint32_t U32() {
    const uint32_t high = U16();
    return high << 16 | U16();
  }
  Bytes Take(size_t n) {
    const ByteView part = rest_.first(std::min(n, rest_.size()));
    rest_ = rest_.subspan(part.size());
    return {part.begin(), part.end()};
  }

 private:
  ByteView rest_;
};

NodeId IdOf(uint8_t fill) {
  NodeId id;
  id.bytes.fill(fill);
  return id;
}

class Driver final : public SessionSink {
 public:
  Driver(const uint8_t* data, size_t size) : in_(data, size) {
    const uint8_t mode = in_.U8();
    role_ = (mode & 1) != 0 ? Role::kDialer : Role::kAcceptor;
    decide_later_ = (mode & 2) != 0;
    reentrant_ = (mode & 4) != 0;
    profile_.self = IdOf(1);
    profile_.user_agent = "fuzz/1";
    profile_.features = (mode & 8) != 0 ? kFeatureGetPeers : 0;
    profile_.send_quota_bytes = kQuota;
    if ((mode & 16) != 0) profile_.required = {"echo"};
    const bool by_itself = (mode & 192) != 0;  // most runs begin when the session is up
    Session::Params params;
    params.profile = &profile_;
    params.role = role_;
    params.purpose = !by_itself && (mode & 32) != 0 ? Purpose::kProbe : Purpose::kJoin;
    params.remote = IdOf(2);
    params.our_offers = {OfferOf(100, "echo", 1), OfferOf(101, "echo", 2),
                         OfferOf(102, "gossip", 1)};
    params.started = clock_.Now();
    params.clock = &clock_;
    params.rng = &rng_;
    params.sink = this;
    session_ = std::make_unique<Session>(std::move(params));
    if (by_itself) Handshake();
  }

  DriveResult Run() {
    Begin();
    while (!in_.empty()) {
      Step();
      Check();
    }
    Finish();
    result_.was_up = was_up_;
    result_.closed = closed_;
    return result_;
  }

  // --- the sink
  void OnHello(const Hello& hello) override {
    Event();
    FUZZ_CHECK(!told_hello_);
    told_hello_ = true;
    FUZZ_CHECK(IsNetworkName(hello.network));
    if (!decide_later_) Decide();
    Reenter();
  }
  void OnUp() override {
    Event();
    FUZZ_CHECK(told_hello_ && !was_up_);
    was_up_ = true;
    Reenter();
  }
  void OnOpen(const OpenChannel& channel) override {
    Event();
    FUZZ_CHECK(was_up_);
    FUZZ_CHECK(channel.open_id > last_open_id_);
    last_open_id_ = channel.open_id;
    open_.insert(channel.open_id);
    FUZZ_CHECK(channel.message_count > 0 && channel.max_send_bytes > 0 &&
               channel.max_receive_bytes > 0);
    Reenter();
  }
  void OnMessage(uint32_t open_id, uint16_t type, ByteView payload) override {
    Event();
    FUZZ_CHECK(open_.count(open_id) == 1);
    FUZZ_CHECK(type < kCount && payload.size() <= kMaxBytes);
    uint32_t sum = 0;  // reads every byte, so that a view of freed memory is seen
    for (const uint8_t byte : payload) sum += byte;
    Reenter();
    for (const uint8_t byte : payload) sum -= byte;
    FUZZ_CHECK(sum == 0);
    ++result_.messages;
  }
  void OnWritable() override {
    Event();
    FUZZ_CHECK(was_up_);
    Reenter();
  }
  void OnChannelClose(uint32_t open_id, uint32_t) override {
    Event();
    FUZZ_CHECK(open_.erase(open_id) == 1);
    Reenter();
  }
  void OnChallenge(bool) override {
    Event();
    FUZZ_CHECK(challenged_);
    challenged_ = false;
    Reenter();
  }
  void OnPeersRequested(uint32_t max) override {
    Event();
    FUZZ_CHECK(max <= kMaxPeersAFrame && profile_.features == kFeatureGetPeers);
    Reenter();
  }
  void OnPeers(const std::vector<PeerInfo>& peers) override {
    Event();
    FUZZ_CHECK(peers.size() <= kMaxPeersAFrame);
    Reenter();
  }
  void OnMismatch(const std::string& name, uint16_t, uint16_t ours, uint16_t theirs) override {
    Event();
    FUZZ_CHECK(IsCapabilityName(name) && ours != theirs);
    Reenter();
  }
  void OnClose(const CloseInfo& close) override {
    Event();
    FUZZ_CHECK(!challenged_);
    FUZZ_CHECK(open_.empty());
    closed_ = true;
    close_ = close;
    result_.close_code = static_cast<uint32_t>(close.reason);
    FUZZ_CHECK(IsVisibleText(close.text, kMaxRefusalText));
    if (close.decider == Decider::kUs) {
      FUZZ_CHECK(!session_->Pending().empty() || begun_ == false);
    } else {
      FUZZ_CHECK(session_->Pending().empty());
      cut_ = true;
    }
  }

 private:
  static constexpr size_t kQuota = 4096;
  static constexpr uint16_t kCount = 4;
  static constexpr uint32_t kMaxBytes = 3000;

  static Offer OfferOf(uint16_t channel, std::string name, uint16_t version,
                       uint16_t count = kCount) {
    return Offer{channel, std::move(name), version, count, kMaxBytes};
  }

  MonoTime Now() const { return clock_.Now(); }

  void Event() { FUZZ_CHECK(!closed_); }

  // Calls that the sink may make.
  void Reenter() {
    if (!reentrant_ || in_.empty() || depth_ > 3) return;
    ++depth_;
    const uint8_t what = in_.U8();
    if (what < 160) Call(what);
    --depth_;
  }

  void Begin() {
    if (std::exchange(begun_, true)) return;
    session_->Start(Now());
  }

  Hello RemoteHello() {
    Hello hello;
    hello.network = profile_.network;
    hello.user_agent = "remote/1";
    hello.features = kFeatureGetPeers;
    hello.offers = {OfferOf(7, "echo", 1), OfferOf(8, "echo", 2, 5), OfferOf(9, "gossip", 1)};
    return hello;
  }

  void Handshake() {
    Begin();
    GiveFrame(0, kHello, EncodeHello(RemoteHello()));
    if (role_ == Role::kAcceptor && decide_later_) Decide();
    GiveFrame(0, kVerdict, {});
    if (role_ == Role::kDialer && decide_later_) Decide();
  }

  void Decide() { session_->Decide(Now(), Verdict{}); }

  void GiveFrame(uint16_t channel, uint16_t type, ByteView payload) {
    Bytes frame;
    AppendFrame(frame, channel, type, payload);
    Feed(frame);
  }

  // In one piece or in two.
  void Feed(ByteView bytes) {
    const size_t cut = split_ ? std::min<size_t>(bytes.size(), 1 + in_.U8()) : bytes.size();
    session_->Receive(Now(), bytes.first(cut));
    if (cut < bytes.size()) session_->Receive(Now(), bytes.subspan(cut));
  }

  // What ends most sessions at once is done seldom, or the rest would never be reached.
  bool Seldom() { return in_.U8() % 32 == 1; }

  // 100 and 102 are open once up; numbers that the session chose begin at 1.
  uint16_t PickChannel() {
    const uint8_t pick = in_.U8();
    if (pick % 16 == 15) return Seldom() ? in_.U16() : 101;
    return pick % 2 == 0 ? 100 : 102;
  }

  void Step() {
    const uint8_t op = in_.U8();
    if (op >= 96) {
      Call(op);
      return;
    }
    switch (op % 16) {
      case 0:
        if (!was_up_ || Seldom()) GiveFrame(0, kHello, EncodeHello(RemoteHello()));
        break;
      case 1:
        if (!was_up_ || Seldom()) GiveFrame(0, kVerdict, {});
        break;
      case 2: {
        const uint16_t type = Seldom() ? in_.U8() % 12 : 12;
        const Bytes payload = in_.Take(in_.U8());
        GiveFrame(0, type, payload);
        break;
      }
      case 3: {
        const uint16_t channel = PickChannel();
        const uint8_t type = in_.U8() % 4;
        GiveFrame(channel, type, Bytes(in_.U16() % (Seldom() ? 4000 : kMaxBytes), 0x33));
        break;
      }
      case 4:
        if (Seldom()) Feed(in_.Take(in_.U8()));
        break;
      case 5: {
        if (!Seldom()) break;
        const uint32_t length = in_.U32();
        const uint16_t channel = PickChannel();
        Feed(EncodeFrameHeader({length, channel, in_.U8()}));
        break;
      }
      case 6: {
        const char* name = kNames[in_.U8() % 4];
        if (standing_.count(name) == 1 && !Seldom()) break;
        std::vector<Offer> offers;
        const uint8_t count = 1 + in_.U8() % 3;
        for (uint8_t version = 1; version <= count; ++version) {
          const uint16_t messages = in_.U8() % 8 == 0 ? 5 : kCount;
          offers.push_back(OfferOf(next_number_++, name, version, messages));
        }
        standing_.insert(name);
        GiveFrame(0, kOffer, EncodeOffers(offers));
        break;
      }
      case 7: {
        const char* name = kNames[in_.U8() % 4];
        if (standing_.erase(name) == 1 || Seldom()) {
          GiveFrame(0, kWithdraw, EncodeWithdraw({name, in_.U8()}));
        }
        break;
      }
      case 8:
        GiveFrame(0, kPing, EncodePing({in_.U8()}));
        break;
      case 9:
        GiveFrame(0, kPong, EncodePong({last_nonce_, in_.U8()}));
        break;
      case 10:
        if (profile_.features != 0 || Seldom()) GiveFrame(0, kGetPeers, EncodeGetPeers(in_.U8()));
        break;
      case 11:
        if (Seldom()) GiveFrame(0, kPeers, {});
        break;
      case 12:
        if (Seldom()) {
          const uint16_t type = in_.U8() % 2 == 0 ? kDisconnect : kVerdict;
          GiveFrame(0, type, EncodeRefusal({in_.U8(), "", in_.U8()}));
        }
        break;
      case 13:
        Pass(std::chrono::milliseconds(in_.U16() % 8192));
        break;
      case 14:
        split_ = !split_;
        break;
      case 15:
        TakeOutput(in_.U16(), in_.U8());
        break;
    }
  }

  void Call(uint8_t op) {
    const std::string name = kNames[in_.U8() % 4];
    switch (op % 20) {
      case 0:
      case 1:
      case 2: {
        const uint32_t open_id = open_.empty() ? in_.U8() : *open_.rbegin() - in_.U8() % 2;
        const uint8_t type = in_.U8() % 5;
        const SendStatus status =
            session_->Send(Now(), open_id, type, Bytes(in_.U16() % 3500, 0x44));
        FUZZ_CHECK(status != SendStatus::kOk ||
                   (session_->up() && open_.count(open_id) == 1 && type < kCount));
        break;
      }
      case 3:
      case 4:
        session_->OfferName(Now(), {OfferOf(0, name, 1), OfferOf(0, name, 2)});
        break;
      case 5:
        session_->WithdrawName(Now(), name, in_.U8());
        break;
      case 6:
        // Set first: a full queue may end the session inside the call.
        if (!challenged_) {
          challenged_ = true;
          if (!session_->Challenge(Now())) challenged_ = false;
        }
        break;
      case 7:
        if (session_->closing()) break;
        session_->SetReadingPaused(Now(), !session_->reading_paused());
        break;
      case 8:
        session_->RequestPeers(Now(), 7);
        break;
      case 9:
        session_->SendPeers(Now(), {});
        break;
      case 10:
        session_->OnKeyUpdates(Now(), in_.U8() % 4, uint64_t{in_.U8()} << 20);
        break;
      case 11:
        Decide();
        break;
      case 12:
        session_->HoldForChallenge(Now());
        break;
      case 13:
        if (in_.U8() % 8 == 0) session_->Decide(Now(), {Reason::kFull, "full", 3});
        break;
      case 14:
        if (in_.U8() % 8 == 0)
          session_->Close(Now(), static_cast<Reason>(in_.U8()), std::string(300, '\n'), 9);
        break;
      case 15:
        if (in_.U8() % 16 == 0) session_->ReceiveEof(Now(), in_.U8() % 2 == 0);
        break;
      case 16:
        if (in_.U8() % 16 == 0) session_->Abort(Now(), Reason::kReset, Decider::kNetwork, "reset");
        break;
      case 17:
        session_->capabilities();
        break;
      default:
        if (depth_ == 0) TakeOutput(65535, 0);
    }
  }

  void Pass(Duration by) {
    const MonoTime until = Now() + by;
    while (session_->NextDeadline() <= until) {
      const MonoTime deadline = session_->NextDeadline();
      if (deadline > Now()) clock_.Advance(deadline - Now());
      session_->Tick(Now());
      FUZZ_CHECK(session_->NextDeadline() > Now());
    }
    if (until > Now()) clock_.Advance(until - Now());
  }

  void TakeOutput(size_t most, uint8_t below) {
    const ByteView pending = session_->Pending();
    const size_t n = std::min(most, pending.size());
    output_.insert(output_.end(), pending.begin(), pending.begin() + static_cast<ptrdiff_t>(n));
    session_->Sent(Now(), n, below, n > 0);
    ParseOutput();
  }

  // Whole frames leave `output_`; the beginning of one stays.
  void ParseOutput() {
    size_t at = 0;
    while (output_.size() - at >= kFrameHeaderBytes) {
      const FrameHeader header =
          ParseFrameHeader(ByteView(output_).subspan(at).first<kFrameHeaderBytes>());
      if (output_.size() - at - kFrameHeaderBytes < header.length) break;
      const ByteView payload = ByteView(output_).subspan(at + kFrameHeaderBytes, header.length);
      CheckSent(header, payload);
      at += kFrameHeaderBytes + header.length;
    }
    output_.erase(output_.begin(), output_.begin() + static_cast<ptrdiff_t>(at));
  }

  // What every frame of ours owes to WIRE 2 to 4.
  void CheckSent(const FrameHeader& header, ByteView payload) {
    FUZZ_CHECK(!sent_last_);
    if (header.channel != 0) {
      FUZZ_CHECK(was_up_);
      return;
    }
    FUZZ_CHECK(header.length <= CorePayloadLimit(header.type));
    switch (header.type) {
      case kHello:
        FUZZ_CHECK(DecodeHello(payload).has_value());
        FUZZ_CHECK(!std::exchange(sent_hello_, true));
        break;
      case kVerdict: {
        const std::optional<Refusal> verdict = DecodeVerdict(payload);
        FUZZ_CHECK(verdict && sent_hello_ && !std::exchange(sent_verdict_, true));
        sent_last_ = verdict->code != 0;
        break;
      }
      case kDisconnect:
        FUZZ_CHECK(DecodeDisconnect(payload).has_value());
        FUZZ_CHECK(DecodeDisconnect(payload)->code != 0);
        sent_last_ = true;
        break;
      case kPing:
        last_nonce_ = DecodePing(payload).value().nonce;
        FUZZ_CHECK(was_up_);
        break;
      case kPong:
        FUZZ_CHECK(DecodePong(payload).has_value() && was_up_);
        break;
      case kOffer:
        FUZZ_CHECK(DecodeOffers(payload).has_value() && was_up_);
        break;
      case kWithdraw:
        FUZZ_CHECK(DecodeWithdraw(payload).has_value() && was_up_);
        break;
      default:
        FUZZ_CHECK(header.type == kGetPeers || header.type == kPeers);
    }
  }

  void Check() {
    const SessionStats& stats = session_->stats();
    FUZZ_CHECK(stats.queued_bytes <= (size_t{1} << 20));
    FUZZ_CHECK(session_->closing() == closed_);
    FUZZ_CHECK(!session_->up() || was_up_);
    if (closed_) FUZZ_CHECK(session_->NextDeadline() == kNever);
  }

  // Silence, and a remote that reads: the session must have ended after it.
  void Finish() {
    session_->SetReadingPaused(Now(), false);
    for (int second = 0; second < 60; ++second) {
      TakeOutput(SIZE_MAX, 0);
      Pass(std::chrono::seconds(1));
      if (decide_later_ && !closed_) Decide();
    }
    TakeOutput(SIZE_MAX, 0);
    FUZZ_CHECK(closed_);
    FUZZ_CHECK(cut_ || output_.empty());
    FUZZ_CHECK(cut_ || sent_last_);
  }

  helo::testing::ManualClock clock_;
  helo::testing::SeededRng rng_{7};
  Profile profile_;
  Role role_ = Role::kDialer;
  bool decide_later_ = false;
  bool reentrant_ = false;
  bool split_ = false;
  std::unique_ptr<Session> session_;
  Input in_;

  bool begun_ = false, told_hello_ = false, was_up_ = false, closed_ = false, challenged_ = false;
  bool cut_ =
      false;  // ended by them or the network: what waited was dropped, perhaps within a frame
  bool sent_hello_ = false, sent_verdict_ = false, sent_last_ = false;
  CloseInfo close_;
  std::set<uint32_t> open_;
  std::set<std::string> standing_ = {"echo", "gossip"};  // of the remote's, if it is up
  uint32_t last_open_id_ = 0;
  uint16_t next_number_ = 20;
  uint64_t last_nonce_ = 0;
  int depth_ = 0;
  Bytes output_;
  DriveResult result_;
};

}  // namespace

DriveResult DriveSession(const uint8_t* data, size_t size) { return Driver(data, size).Run(); }

}  // namespace helo::wire::fuzz
