// Named channels (WIRE 5): frames in and out, names that open and close, our own OFFER and
// WITHDRAW.
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "p2p/wire/session_impl.h"

namespace helo::wire {

using NumberState = Channels::OurNumber::State;

FrameReader::Take Session::Impl::OnNamedHeader(const FrameHeader& header) {
  if (!up()) {
    Fail(Reason::kUnexpected, absl::StrCat("a frame on channel ", header.channel, " before up"));
    return FrameReader::Take::kStop;
  }
  Channels::OurNumber* number = channels_.FindOurs(header.channel);
  if (number != nullptr && number->state == NumberState::kWithdrawn)
    return OnLateHeader(*number, header);
  if (number == nullptr || number->state != NumberState::kOpen ||
      header.type >= number->message_count) {
    Fail(Reason::kUnknownChannel,
         absl::StrCat("channel ", header.channel, ", type ", header.type,
                      number == nullptr                     ? ": never offered"
                      : number->state != NumberState::kOpen ? ": not open"
                                                            : ": no such type"));
    return FrameReader::Take::kStop;
  }
  if (header.length > number->max_message_bytes) {
    Fail(Reason::kTooLarge, absl::StrCat("a message of ", header.length, " bytes on channel ",
                                         header.channel, ", limit ", number->max_message_bytes));
    return FrameReader::Take::kStop;
  }
  return FrameReader::Take::kPayload;
}

FrameReader::Take Session::Impl::OnLateHeader(Channels::OurNumber& number,
                                              const FrameHeader& header) {
  if (header.length > number.max_message_bytes) {
    Fail(Reason::kTooLarge, absl::StrCat("a late message of ", header.length, " bytes on channel ",
                                         header.channel, ", limit ", number.max_message_bytes));
    return FrameReader::Take::kStop;
  }
  ++stats_.late_frames;
  const uint64_t left_us = outbox_.taken() - std::min<uint64_t>(outbox_.taken(), still_queued_);
  if (left_us >= number.withdraw_position) {
    number.late_bytes += kFrameHeaderBytes + header.length;
    if (number.late_bytes > number.LateLimit()) {
      Fail(Reason::kFlood,
           absl::StrCat("too much on channel ", header.channel, " after its WITHDRAW"));
      return FrameReader::Take::kStop;
    }
  }
  return FrameReader::Take::kSkip;
}

void Session::Impl::OnNamedFrame(const FrameHeader& header, ByteView payload) {
  if (skipping_) return;
  Channels::OurNumber* number = channels_.FindOurs(header.channel);
  if (number->state !=
      NumberState::kOpen) {  // we closed the name between this frame's header and its end
    if (number->state == NumberState::kWithdrawn) OnLateHeader(*number, header);
    return;
  }
  const Channels::Open* open = channels_.FindOpen(number->open_id);
  FrameCount& count = stats_.named[open->named_index].in;
  ++count.frames;
  count.bytes += kFrameHeaderBytes + header.length;
  stats_.last_message = now_;
  sink().OnMessage(open->open_id, header.type, payload);
}

SendStatus Session::Impl::Send(MonoTime now, uint32_t open_id, uint16_t type, ByteView payload) {
  if (!up()) return SendStatus::kGone;
  const Channels::Open* open = channels_.FindOpen(open_id);
  if (open == nullptr) return SendStatus::kGone;
  if (type >= open->message_count) return SendStatus::kInvalid;
  if (payload.size() > open->max_send_bytes) return SendStatus::kTooBig;
  // One larger than the whole quota goes out alone.
  const size_t more = kFrameHeaderBytes + payload.size();
  if (queued() > 0 && queued() + more > params_.profile->send_quota_bytes) {
    want_writable_ = true;
    return SendStatus::kAgain;
  }
  now_ = now;
  NoteQueued();
  outbox_.Append(open->their_channel, type, payload);
  FrameCount& count = stats_.named[open->named_index].out;
  ++count.frames;
  count.bytes += kFrameHeaderBytes + payload.size();
  return SendStatus::kOk;
}

uint32_t Session::Impl::NamedIndex(const std::string& name) {
  for (size_t i = 0; i < stats_.named.size(); ++i) {
    if (stats_.named[i].name == name) return static_cast<uint32_t>(i);
  }
  stats_.named.push_back({name, {}, {}});
  return static_cast<uint32_t>(stats_.named.size() - 1);
}

void Session::Impl::OpenName(const std::string& name, bool tell_mismatches) {
  if (!up()) return;
  if (tell_mismatches && channels_.OurSetSent(name)) TellMismatches(name);
  if (closing()) return;
  Channels::Open shared;
  if (!channels_.Shared(name, &shared)) return;
  const Channels::Open* open = channels_.TryOpen(name, NamedIndex(name));
  if (open == nullptr) return;
  sink().OnOpen(OpenChannel{open->open_id, open->name, open->version, open->message_count,
                            open->max_send_bytes, open->max_receive_bytes});
}

void Session::Impl::TellMismatches(const std::string& name) {
  for (const Channels::Mismatch& one : channels_.Mismatches(name)) {
    sink().OnMismatch(one.name, one.version, one.ours, one.theirs);
  }
}

void Session::Impl::TellAllMismatches() {
  std::vector<std::string> names;
  for (const std::vector<Offer>& set : channels_.OurSets()) names.push_back(set[0].name);
  for (const std::string& name : names) TellMismatches(name);
}

bool Session::Impl::OfferName(MonoTime now, const std::vector<Offer>& offers) {
  if (closing()) return false;
  now_ = now;
  if (!channels_.AddOurs(offers)) {
    ++stats_.offers_refused;
    return false;
  }
  if (sent_hello_) {  // else it stands in our HELLO
    offer_queue_.AddOffer(offers[0].name);
    FlushOffers();
  }
  return true;
}

void Session::Impl::WithdrawName(MonoTime now, const std::string& name, uint32_t code) {
  const std::vector<Offer>* set = channels_.OurSet(name);
  if (closing() || set == nullptr) return;
  now_ = now;
  const std::optional<Channels::Open> open = channels_.Close(name);
  if (channels_.OurSetSent(name)) {
    OfferQueue::PendingWithdraw withdraw{code, {}};
    for (const Offer& offer : *set) withdraw.numbers.push_back(offer.channel);
    channels_.RemoveOurs(name);
    offer_queue_.AddWithdraw(name, std::move(withdraw));
  } else {
    channels_.RemoveOurs(name);
    offer_queue_.CancelOffer(name);
  }
  // First the close, which is due whatever becomes of the frame.
  if (open) sink().OnChannelClose(open->open_id, code);
  if (!closing()) FlushOffers();
}

void Session::Impl::FlushOffers() {
  while (up()) {
    const std::optional<OfferQueue::Frame> frame = offer_queue_.Next(now_);
    if (!frame) return;
    if (frame->withdraw) {
      AppendCore(kWithdraw, EncodeWithdraw({frame->name, frame->withdraw->code}));
      channels_.MarkWithdrawn(frame->withdraw->numbers, outbox_.appended());
    } else {
      AppendCore(kOffer, EncodeOffers(*channels_.OurSet(frame->name)));
      channels_.MarkSent(frame->name);
      OpenName(frame->name, /*tell_mismatches=*/true);
    }
  }
}

Session::Capabilities Session::Impl::capabilities() const {
  Capabilities result;
  channels_.Describe(&result.shared, &result.only_ours, &result.only_theirs);
  return result;
}

}  // namespace helo::wire
