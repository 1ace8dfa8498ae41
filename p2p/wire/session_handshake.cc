// HELLO and VERDICT (WIRE 3): who sends what when, and what is checked before the node itself is
// asked.
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <utility>

#include "p2p/wire/session_impl.h"

namespace helo::wire {

void Session::Impl::AppendHello() {
  const Profile& profile = *params_.profile;
  Hello hello;
  hello.minor = profile.minor;
  hello.network = profile.network;
  hello.genesis = profile.genesis;
  hello.user_agent = profile.user_agent;
  hello.advertised = profile.advertised;
  hello.observed = params_.observed;
  hello.clock_us = WallMicros();
  hello.purpose = params_.purpose;
  hello.features = profile.features;
  for (const std::vector<Offer>& set : channels_.OurSets()) {
    hello.offers.insert(hello.offers.end(), set.begin(), set.end());
    channels_.MarkSent(set[0].name);
  }
  AppendCore(kHello, EncodeHello(hello));
  sent_hello_ = true;
}

void Session::Impl::AppendRefusal(uint16_t type, uint32_t code, const std::string& text,
                                  uint32_t retry_after_s) {
  AppendCore(type, EncodeRefusal({code, text, retry_after_s}));
  if (type == kVerdict) sent_verdict_ = true;
}

void Session::Impl::OnHelloFrame(ByteView payload) {
  got_hello_ = true;
  hello_deadline_ = kNever;
  remote_hello_ = DecodeHello(payload);
  // The decoded offers keep every rule that AddTheirs checks.
  if (remote_hello_) channels_.AddTheirs(remote_hello_->offers);
  if (is_dialer()) {
    state_ = State::kAwaitVerdict;
    verdict_deadline_ = now_ + times().verdict;
  } else {
    JudgeHello();
  }
}

// In WIRE 2's order. Identity and room are the node's to judge, behind OnHello; capability follows
// in Decide.
void Session::Impl::JudgeHello() {
  const Profile& profile = *params_.profile;
  if (!remote_hello_) {
    Fail(Reason::kMalformed, "HELLO breaks the rules of encoding or values");
    return;
  }
  const Hello& hello = *remote_hello_;
  if (is_dialer() && hello.purpose == Purpose::kProbe) {
    Fail(Reason::kUnexpected, "an acceptor's HELLO with purpose PROBE");
  } else if (hello.network != profile.network) {
    Fail(Reason::kWrongNetwork, absl::StrCat("this node is on ", profile.network));
  } else if (!hello.genesis.empty() && !profile.genesis.empty() &&
             hello.genesis != profile.genesis) {
    Fail(Reason::kWrongGenesis, "the genesis values differ");
  } else if (hello.minor < profile.least_minor) {
    Fail(Reason::kMinorTooOld,
         absl::StrCat("minor ", profile.least_minor, " or newer is required"));
  } else {
    state_ = State::kAwaitDecision;
    sink().OnHello(hello);
  }
}

void Session::Impl::OnVerdictFrame(ByteView payload) {
  const std::optional<Refusal> verdict = DecodeVerdict(payload);
  if (!verdict) {
    Fail(Reason::kMalformed, "VERDICT breaks the rules of encoding or values");
  } else if (is_dialer()) {
    OnAcceptorsVerdict(*verdict);
  } else {
    OnDialersVerdict(*verdict);
  }
}

// A refusal wins, whatever the HELLO.
void Session::Impl::OnAcceptorsVerdict(const Refusal& verdict) {
  if (verdict.code == 0) {
    JudgeHello();
    return;
  }
  if (verdict.code == static_cast<uint32_t>(Reason::kNoSharedCapability)) TellAllMismatches();
  EndByThem(verdict);
}

void Session::Impl::OnDialersVerdict(const Refusal& verdict) {
  if (verdict.code != 0) {
    EndByThem(verdict);
  } else if (remote_hello_->purpose == Purpose::kProbe) {
    Fail(Reason::kUnexpected, "ACCEPT from a prober");
  } else {
    verdict_deadline_ = up_deadline_ = kNever;
    GoUp();
  }
}

void Session::Impl::HoldForChallenge(MonoTime now) {
  if (state_ == State::kAwaitDecision && held_since_ == kNever) held_since_ = now;
}

void Session::Impl::Decide(MonoTime now, const Verdict& verdict) {
  if (state_ != State::kAwaitDecision) return;
  now_ = now;
  if (held_since_ != kNever) {
    const Duration held = now - std::exchange(held_since_, kNever);
    if (verdict_deadline_ != kNever) verdict_deadline_ += held;
    if (up_deadline_ != kNever) up_deadline_ += held;
  }
  if (verdict.reason != Reason::kAccept) {
    EndByUs(verdict.reason, verdict.text, verdict.retry_after_s);
    return;
  }
  state_ = State::kDeciding;  // a Decide from within OnMismatch comes too late
  TellAllMismatches();
  if (closing()) return;
  if (!SharesRequired()) {
    Fail(Reason::kNoSharedCapability, absl::StrCat("one of these is required: ",
                                                   absl::StrJoin(params_.profile->required, ", ")));
    return;
  }
  if (!is_dialer()) {
    AppendHello();
    AppendRefusal(kVerdict, 0, "", 0);
    state_ = State::kAwaitAccept;
    verdict_deadline_ = now + times().verdict;
  } else if (params_.purpose == Purpose::kProbe) {
    EndByUs(Reason::kProbe, "", 0);
  } else {
    AppendRefusal(kVerdict, 0, "", 0);
    verdict_deadline_ = kNever;
    GoUp();
  }
}

bool Session::Impl::SharesRequired() const {
  const std::vector<std::string>& required = params_.profile->required;
  Channels::Open open;
  return required.empty() ||
         std::any_of(required.begin(), required.end(),
                     [&](const std::string& name) { return channels_.Shared(name, &open); });
}

void Session::Impl::GoUp() {
  state_ = State::kUp;
  was_up_ = true;
  stats_.up_since = now_;
  keepalive_.Start(now_);
  sink().OnUp();
  // What changed since our HELLO goes out before anything opens.
  if (!closing()) FlushOffers();
  std::vector<std::string> names;
  for (const std::vector<Offer>& set : channels_.OurSets()) names.push_back(set[0].name);
  for (const std::string& name : names) {
    if (closing()) return;
    OpenName(name, /*tell_mismatches=*/false);
  }
}

}  // namespace helo::wire
