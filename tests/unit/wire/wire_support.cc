#include "wire_support.h"

#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "p2p/base/text.h"

namespace helo::wire {

void PrintTo(const Offer& offer, std::ostream* out) {
  *out << offer.name << "/" << offer.version << " on " << offer.channel << ", "
       << offer.message_count << " types of " << offer.max_message_bytes;
}

void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << CodeToString(refusal.code) << " \"" << refusal.text << "\" " << refusal.retry_after_s
       << " s";
}

}  // namespace helo::wire

namespace helo::wire::testing {

NodeId IdOf(uint8_t fill) {
  NodeId id;
  id.bytes.fill(fill);
  return id;
}

Offer MakeOffer(uint16_t channel, std::string name, uint16_t version, uint16_t message_count,
                uint32_t max_message_bytes) {
  return Offer{channel, std::move(name), version, message_count, max_message_bytes};
}

Bytes Filled(size_t n, uint8_t with) { return Bytes(n, with); }

void PrintTo(const RawFrame& frame, std::ostream* out) {
  *out << "channel " << frame.channel << " type " << frame.type << " ("
       << (frame.channel == 0 ? CoreTypeName(frame.type) : "message") << ") "
       << frame.payload.size() << " bytes "
       << ToHex(ByteView(frame.payload).first(std::min<size_t>(frame.payload.size(), 64)));
}

Bytes Encode(const RawFrame& frame) {
  Bytes out;
  AppendFrame(out, frame.channel, frame.type, frame.payload);
  return out;
}

std::vector<RawFrame> SplitFrames(ByteView stream) {
  std::vector<RawFrame> frames;
  while (!stream.empty()) {
    if (stream.size() < kFrameHeaderBytes) {
      ADD_FAILURE() << "half a header at the end";
      break;
    }
    const FrameHeader header = ParseFrameHeader(stream.first<kFrameHeaderBytes>());
    stream = stream.subspan(kFrameHeaderBytes);
    if (stream.size() < header.length) {
      ADD_FAILURE() << "half a frame at the end";
      break;
    }
    const ByteView payload = stream.first(header.length);
    frames.push_back({header.channel, header.type, Bytes(payload.begin(), payload.end())});
    stream = stream.subspan(header.length);
  }
  return frames;
}

void RecordingSink::Note(std::string event) {
  EXPECT_FALSE(closed) << event << " came after OnClose";
  events.push_back(event);
  if (then) then(event);
}

void RecordingSink::OnHello(const Hello& hello) {
  Note(
      absl::StrCat("hello ", hello.user_agent, hello.purpose == Purpose::kProbe ? " (probe)" : ""));
}
void RecordingSink::OnUp() { Note("up"); }
void RecordingSink::OnOpen(const OpenChannel& channel) {
  for (const OpenChannel& before : opened) EXPECT_NE(before.open_id, channel.open_id);
  opened.push_back(channel);
  open_.push_back(channel.open_id);
  Note(absl::StrCat("open ", channel.name, "/", channel.version, " as ", channel.open_id));
}
void RecordingSink::OnMessage(uint32_t open_id, uint16_t type, ByteView payload) {
  ++messages;
  EXPECT_TRUE(std::find(open_.begin(), open_.end(), open_id) != open_.end())
      << "a message of a channel that is not open";
  if (write_messages_down) {
    const ByteView shown = payload.first(std::min<size_t>(payload.size(), 16));
    Note(absl::StrCat("message ", open_id, "/", type, ": ", payload.size(), " ", ToHex(shown)));
  }
  if (on_message) on_message(open_id, type, payload);
}
void RecordingSink::OnWritable() { Note("writable"); }
void RecordingSink::OnChannelClose(uint32_t open_id, uint32_t code) {
  EXPECT_EQ(std::erase(open_, open_id), 1u) << "closed twice or never opened";
  Note(absl::StrCat("close ", open_id, " ", CodeToString(code)));
}
void RecordingSink::OnChallenge(bool alive) { Note(alive ? "alive" : "dead"); }
void RecordingSink::OnPeersRequested(uint32_t max) { Note(absl::StrCat("get peers ", max)); }
void RecordingSink::OnPeers(const std::vector<PeerInfo>& list) {
  peers = list;
  Note(absl::StrCat("peers ", list.size()));
}
void RecordingSink::OnMismatch(const std::string& name, uint16_t version, uint16_t ours,
                               uint16_t theirs) {
  Note(absl::StrCat("mismatch ", name, "/", version, " ", ours, " ", theirs));
}
void RecordingSink::OnClose(const CloseInfo& close) {
  EXPECT_TRUE(open_.empty()) << "OnClose before OnChannelClose";
  Note(absl::StrCat(
      "closed ",
      close.wire_code != 0 ? CodeToString(close.wire_code) : std::string(Label(close.reason)),
      " by ", std::string(ToString(close.decider)), " at ", std::string(ToString(close.stage))));
  closed = close;
}

End::End(Role role, helo::testing::ManualClock& the_clock)
    : clock(the_clock), rng(role == Role::kDialer ? 11 : 22) {
  profile.self = IdOf(role == Role::kDialer ? 0x11 : 0x22);
  profile.minor = 0;
  profile.user_agent = role == Role::kDialer ? "dialer/1" : "acceptor/1";
  profile.features = kFeatureGetPeers;
  params.role = role;
  params.remote = IdOf(role == Role::kDialer ? 0x22 : 0x11);
  params.our_offers = {MakeOffer(role == Role::kDialer ? 100 : 200, "echo")};
  sink.then = [this](const std::string& event) {
    if (event.starts_with("hello ") && decision) session->Decide(clock.Now(), *decision);
  };
}

void End::Begin() {
  params.profile = &profile;
  params.started = clock.Now();
  params.clock = &clock;
  params.rng = &rng;
  params.sink = &sink;
  session = std::make_unique<Session>(params);
  session->Start(clock.Now());
}

Bytes End::TakeBytes(size_t most) {
  const ByteView pending = session->Pending();
  const size_t n = std::min(most, pending.size());
  Bytes bytes(pending.begin(), pending.begin() + static_cast<ptrdiff_t>(n));
  session->Sent(clock.Now(), n, 0, n > 0);
  return bytes;
}

void End::Pass(Duration by) {
  const MonoTime until = clock.Now() + by;
  while (session->NextDeadline() <= until) {
    const MonoTime deadline = session->NextDeadline();
    if (deadline > clock.Now()) clock.Advance(deadline - clock.Now());
    session->Tick(clock.Now());
    if (session->NextDeadline() <= clock.Now()) {
      ADD_FAILURE() << "Tick left a deadline behind that is due: the loop would spin";
      break;
    }
  }
  if (until > clock.Now()) clock.Advance(until - clock.Now());
}

std::vector<RawFrame> End::PassReading(Duration by) {
  Bytes out;
  const MonoTime until = clock.Now() + by;
  do {
    Pass(std::min<Duration>(seconds(1), until - clock.Now()));
    const Bytes part = TakeBytes();
    out.insert(out.end(), part.begin(), part.end());
  } while (clock.Now() < until);
  return SplitFrames(out);
}

Hello CorrectHello() {
  Hello hello;
  hello.network = "helo-dev";
  hello.user_agent = "by-hand/1";
  hello.offers = {MakeOffer(7, "echo")};
  hello.features = kFeatureGetPeers;
  return hello;
}

Bytes AcceptPayload() { return EncodeRefusal({0, "", 0}); }

void BringUp(End& end, const Hello& remote) {
  end.Begin();
  end.Give(kHello, EncodeHello(remote));
  end.Give(kVerdict, AcceptPayload());
  ASSERT_TRUE(end.session->up()) << ::testing::PrintToString(end.sink.events);
  end.TakeBytes();
  end.sink.Take();
}

Refusal LastRefusal(End& end, uint16_t type) {
  const std::vector<RawFrame> frames = end.Take();
  if (frames.size() != 1 || frames[0].channel != 0 || frames[0].type != type) {
    ADD_FAILURE() << "not one " << CoreTypeName(type) << ": " << ::testing::PrintToString(frames);
    return {};
  }
  const std::optional<Refusal> refusal =
      type == kVerdict ? DecodeVerdict(frames[0].payload) : DecodeDisconnect(frames[0].payload);
  EXPECT_TRUE(refusal.has_value());
  return refusal.value_or(Refusal{});
}

Pair::Pair(uint64_t seed) : rng(seed) {}

void Pair::Begin() {
  dialer.Begin();
  acceptor.Begin();
}

bool Pair::Step() {
  const auto take_some = [&](Bytes& from, End& to) {
    if (from.empty()) return false;
    const size_t n = 1 + static_cast<size_t>(rng.Below(
                             std::min<uint64_t>(from.size(), rng.Below(4) == 0 ? 3 : from.size())));
    const Bytes part(from.begin(), from.begin() + static_cast<ptrdiff_t>(n));
    from.erase(from.begin(), from.begin() + static_cast<ptrdiff_t>(n));
    to.Feed(part);
    return true;
  };
  const auto put_some = [&](End& from, Bytes& to) {
    if (from.session->Pending().empty()) return false;
    const Bytes part =
        from.TakeBytes(1 + static_cast<size_t>(rng.Below(from.session->Pending().size())));
    to.insert(to.end(), part.begin(), part.end());
    return true;
  };
  const std::function<bool()> moves[] = {[&] { return put_some(dialer, to_acceptor); },
                                         [&] { return put_some(acceptor, to_dialer); },
                                         [&] { return take_some(to_acceptor, acceptor); },
                                         [&] { return take_some(to_dialer, dialer); }};
  const size_t first = static_cast<size_t>(rng.Below(4));
  for (size_t i = 0; i < 4; ++i) {
    if (moves[(first + i) % 4]()) return true;
  }
  return false;
}

void Pair::Pump() {
  while (Step()) {
  }
}

}  // namespace helo::wire::testing
