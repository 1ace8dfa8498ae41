// Every end of a session (WIRE 8 and 9): the last frame, and the one CloseInfo.
#include <algorithm>
#include <string_view>
#include <utility>

#include "p2p/wire/session_impl.h"

namespace helo::wire {
namespace {

constexpr uint32_t kLastWireCode = 99;
constexpr uint64_t kRecordsPerKeyUpdate = uint64_t{1} << 20;

uint32_t CodeOf(Reason reason) { return static_cast<uint32_t>(reason); }

// What the remote gets to read keeps WIRE 4's rule whatever an operator or a plugin wrote.
std::string VisibleText(std::string text) {
  text.resize(std::min(text.size(), kMaxRefusalText));
  for (char& c : text) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return text;
}

}  // namespace

void Session::Impl::Close(MonoTime now, Reason reason, std::string text, uint32_t retry_after_s) {
  if (closing()) return;
  now_ = now;
  EndByUs(reason, std::move(text), retry_after_s);
}

void Session::Impl::Abort(MonoTime now, Reason reason, Decider decider, std::string text) {
  if (closing()) return;
  now_ = now;
  outbox_.Clear();
  CloseInfo close;
  close.reason = reason;
  close.decider = decider;
  close.text = std::move(text);
  Finish(std::move(close));
}

void Session::Impl::ReceiveEof(MonoTime now, bool close_notify) {
  if (closing()) return;
  now_ = now;
  FinishByNetwork(
      up() ? Reason::kTruncated : Reason::kEofEarly,
      close_notify ? "close_notify without DISCONNECT" : "end of stream without close_notify");
}

void Session::Impl::OnKeyUpdates(MonoTime now, uint32_t count, uint64_t records_received) {
  for (uint32_t i = 0; i < count && !closing(); ++i) {
    now_ = now;
    if (key_updates_.Count(now)) continue;
    if (key_update_credit_used_ < records_received / kRecordsPerKeyUpdate) {
      ++key_update_credit_used_;
      continue;
    }
    Fail(Reason::kFlood, "too many KeyUpdates");
  }
}

void Session::Impl::Fail(Reason reason, std::string text) { EndByUs(reason, std::move(text), 0); }

void Session::Impl::EndByUs(Reason reason, std::string text, uint32_t retry_after_s) {
  if (closing()) return;
  CloseInfo close;
  close.reason = reason == Reason::kAccept ? Reason::kInternal : reason;  // 0 would read as welcome
  close.decider = Decider::kUs;
  close.text = VisibleText(std::move(text));
  close.retry_after_s = retry_after_s;
  state_ = State::kClosed;
  outbox_.DropNamed();
  if (started_) {
    const bool sendable = CodeOf(close.reason) <= kLastWireCode;
    const bool by_verdict = got_hello_ && !sent_verdict_;
    uint32_t code = CodeOf(sendable ? close.reason : Reason::kInternal);
    // INTERNAL is no word of a VERDICT (WIRE 9): the nearest that says come again.
    if (by_verdict && code == CodeOf(Reason::kInternal)) code = CodeOf(Reason::kBusy);
    if (by_verdict && !sent_hello_) AppendHello();
    AppendRefusal(by_verdict ? kVerdict : kDisconnect, code, close.text, retry_after_s);
  }
  Finish(std::move(close));
}

void Session::Impl::EndByThem(const Refusal& refusal) {
  outbox_.Clear();
  CloseInfo close;
  const bool known =
      refusal.code != 0 && refusal.code <= kLastWireCode && FindReason(refusal.code) != nullptr;
  close.reason = known ? static_cast<Reason>(refusal.code) : Reason::kInternal;
  close.wire_code = known ? 0 : refusal.code;
  close.decider = Decider::kThem;
  close.text = refusal.text;
  close.retry_after_s = refusal.retry_after_s;
  Finish(std::move(close));
}

void Session::Impl::FinishByNetwork(Reason reason, std::string text) {
  outbox_.Clear();
  CloseInfo close;
  close.reason = reason;
  close.decider = Decider::kNetwork;
  close.text = std::move(text);
  Finish(std::move(close));
}

void Session::Impl::Finish(CloseInfo close) {
  state_ = State::kClosed;
  close.stage = stage();
  if (!in_receive_) reader_.Clear();
  if (keepalive_.EndChallenge()) sink().OnChallenge(false);
  const uint32_t code = close.wire_code != 0 ? close.wire_code : CodeOf(close.reason);
  const std::vector<Channels::Open> opens = channels_.opens();
  for (const Channels::Open& open : opens) {
    channels_.Close(open.name);
    sink().OnChannelClose(open.open_id, code);
  }
  sink().OnClose(close);
}

}  // namespace helo::wire
