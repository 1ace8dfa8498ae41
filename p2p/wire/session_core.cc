// What comes in: the checks on a header in WIRE 2's order, and the frames of channel 0 once up.
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "p2p/wire/session_impl.h"

namespace helo::wire {
namespace {

constexpr Duration kLeastPeersInterval = std::chrono::seconds(50);

std::string SizeText(std::string_view what, const FrameHeader& header, uint32_t limit) {
  return absl::StrCat(std::string(what), " of ", header.length, " bytes, limit ", limit);
}

}  // namespace

FrameReader::Take Session::Impl::OnHeader(const FrameHeader& header) {
  const FrameReader::Take take = header.channel == 0 ? OnCoreHeader(header) : OnNamedHeader(header);
  skipping_ = take == FrameReader::Take::kSkip;
  return closing() ? FrameReader::Take::kStop : take;
}

FrameReader::Take Session::Impl::OnCoreHeader(const FrameHeader& header) {
  const uint32_t limit = CorePayloadLimit(header.type);
  if (header.length > limit) {
    Fail(Reason::kTooLarge, SizeText(CoreTypeName(header.type), header, limit));
    return FrameReader::Take::kStop;
  }
  if (!InOrder(header.type)) {
    Fail(Reason::kUnexpected, absl::StrCat(std::string(CoreTypeName(header.type)), " (type ",
                                           header.type, ") is not allowed now"));
    return FrameReader::Take::kStop;
  }
  if (!InRate(header)) {
    if (!closing()) {
      Fail(Reason::kFlood,
           absl::StrCat("too many frames of ", std::string(CoreTypeName(header.type)), " (type ",
                        header.type, ")"));
    }
    return FrameReader::Take::kStop;
  }
  const bool known = header.type >= kHello && header.type <= kPeers;
  return known ? FrameReader::Take::kPayload : FrameReader::Take::kSkip;
}

bool Session::Impl::InOrder(uint16_t type) const {
  switch (type) {
    case kHello:
      return state_ == State::kAwaitHello;
    case kVerdict:
      return state_ == State::kAwaitVerdict || state_ == State::kAwaitAccept;
    case kDisconnect:
      return true;
    case kGetPeers:
      return up() && (params_.profile->features & kFeatureGetPeers) != 0;
    case kPeers:
      return up() && peers_expected_ > 0;
    default:
      return up();
  }
}

bool Session::Impl::InRate(const FrameHeader& header) {
  switch (header.type) {
    case kHello:
    case kVerdict:
    case kDisconnect:
    case kPong:
    case kPeers:
      return true;
    case kPing:
      return pings_.Count(now_);
    case kOffer:
    case kWithdraw:
      return offers_.Count(now_);
    case kGetPeers: {
      const std::optional<MonoTime> last = std::exchange(peers_requested_by_them_, now_);
      return !last || now_ - *last >= kLeastPeersInterval;
    }
    default:
      return unknown_.Count(now_, kFrameHeaderBytes + header.length);
  }
}

void Session::Impl::CountUnknown(uint64_t bytes) {
  if (!unknown_.Count(now_, bytes)) Fail(Reason::kFlood, "too many frames without a use");
}

bool Session::Impl::OnFrame(const FrameHeader& header, ByteView payload) {
  stats_.last_receive = now_;
  if (header.channel != 0) {
    OnNamedFrame(header, payload);
  } else {
    OnCoreFrame(header, payload);
  }
  if (closing()) return false;
  if (up() && keepalive_.NoteReceived(now_)) sink().OnChallenge(true);
  return !closing();
}

void Session::Impl::OnCoreFrame(const FrameHeader& header, ByteView payload) {
  FrameCount& count = stats_.core_in[skipping_ ? 0 : header.type];
  ++count.frames;
  count.bytes += kFrameHeaderBytes + header.length;
  if (skipping_) return;
  switch (header.type) {
    case kHello:
      return OnHelloFrame(payload);
    case kVerdict:
      return OnVerdictFrame(payload);
    case kDisconnect:
      return OnDisconnectFrame(payload);
    case kPing:
      return OnPingFrame(payload);
    case kPong:
      return OnPongFrame(payload);
    case kOffer:
      return OnOfferFrame(payload);
    case kWithdraw:
      return OnWithdrawFrame(payload);
    case kGetPeers:
      if (const std::optional<uint32_t> max = DecodeGetPeers(payload)) {
        ++peers_owed_;
        sink().OnPeersRequested(std::min<uint32_t>(*max, kMaxPeersAFrame));
      } else {
        Fail(Reason::kMalformed, "GET_PEERS breaks the rules of encoding");
      }
      return;
    case kPeers:
      return OnPeersFrame(payload);
    default:
      return;
  }
}

// What cannot be parsed is a DISCONNECT all the same, and is not answered.
void Session::Impl::OnDisconnectFrame(ByteView payload) {
  EndByThem(
      DecodeDisconnect(payload).value_or(Refusal{static_cast<uint32_t>(Reason::kInternal), "", 0}));
}

void Session::Impl::OnPingFrame(ByteView payload) {
  const std::optional<Ping> ping = DecodePing(payload);
  if (!ping) {
    Fail(Reason::kMalformed, "PING breaks the rules of encoding");
    return;
  }
  AppendCore(kPong, EncodePong({ping->nonce, WallMicros()}));
}

void Session::Impl::OnPongFrame(ByteView payload) {
  const std::optional<Pong> pong = DecodePong(payload);
  if (!pong) {
    Fail(Reason::kMalformed, "PONG breaks the rules of encoding");
  } else if (!keepalive_.TakePong(*pong, now_, WallMicros(), stats_)) {
    CountUnknown(kFrameHeaderBytes + payload.size());
  }
}

void Session::Impl::OnOfferFrame(ByteView payload) {
  const std::optional<std::vector<Offer>> offers = DecodeOffers(payload);
  const Channels::Result result =
      offers ? channels_.AddTheirs(*offers) : Channels::Result::kMalformed;
  switch (result) {
    case Channels::Result::kMalformed:
      Fail(Reason::kMalformed, "OFFER breaks the rules of encoding, values or standing sets");
      return;
    case Channels::Result::kFlood:
      Fail(Reason::kFlood, "too many standing offers or channel numbers");
      return;
    case Channels::Result::kOk:
      OpenName((*offers)[0].name, /*tell_mismatches=*/true);
  }
}

void Session::Impl::OnWithdrawFrame(ByteView payload) {
  const std::optional<Withdraw> withdraw = DecodeWithdraw(payload);
  if (!withdraw || !channels_.RemoveTheirs(withdraw->name)) {
    Fail(Reason::kMalformed, "WITHDRAW breaks the rules of encoding or names nothing that stands");
    return;
  }
  if (const std::optional<Channels::Open> open = channels_.Close(withdraw->name)) {
    // What still waits here would be late there, and counts against us.
    outbox_.DropChannel(open->their_channel);
    sink().OnChannelClose(open->open_id, withdraw->code);
    NoteRoom();
  }
}

void Session::Impl::OnPeersFrame(ByteView payload) {
  const std::optional<std::vector<PeerInfo>> peers = DecodePeers(payload);
  if (!peers) {
    Fail(Reason::kMalformed, "PEERS breaks the rules of encoding or values");
    return;
  }
  --peers_expected_;
  sink().OnPeers(*peers);
}

}  // namespace helo::wire
