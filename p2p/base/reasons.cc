// The table of reasons, generated from reasons.def, and the words for who, when and which way.
#include "p2p/base/reasons.h"

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <iterator>

#include "p2p/base/text.h"

namespace helo {
namespace {

constexpr ReasonInfo kReasons[] = {
#define HELO_REASON(code, enumerator, label, fault, retryable, sentence, cause, remedy) \
  {Reason::enumerator, label, Fault::fault, retryable, sentence, cause, remedy},
#include "p2p/base/reasons.def"
#undef HELO_REASON
};

constexpr bool Ascending() {
  for (size_t i = 1; i < std::size(kReasons); ++i) {
    if (kReasons[i - 1].reason >= kReasons[i].reason) return false;
  }
  return true;
}
static_assert(Ascending(), "reasons.def must be in ascending order of code, each code once");

}  // namespace

const ReasonInfo* begin_reasons() { return std::begin(kReasons); }
const ReasonInfo* end_reasons() { return std::end(kReasons); }

const ReasonInfo* FindReason(uint32_t code) {
  const auto* at = std::lower_bound(std::begin(kReasons), std::end(kReasons), code,
                                    [](const ReasonInfo& info, uint32_t wanted) {
                                      return static_cast<uint32_t>(info.reason) < wanted;
                                    });
  return at != std::end(kReasons) && static_cast<uint32_t>(at->reason) == code ? at : nullptr;
}

const ReasonInfo* FindReason(std::string_view label) {
  for (const ReasonInfo& info : kReasons) {
    if (absl::EqualsIgnoreCase(ToAbsl(info.label), ToAbsl(label))) return &info;
  }
  return nullptr;
}

std::string_view Label(Reason reason) {
  const ReasonInfo* info = FindReason(static_cast<uint32_t>(reason));
  return info != nullptr ? info->label : "UNKNOWN";
}

std::string_view FaultLabel(Fault fault) {
  switch (fault) {
    case Fault::kNobody:
      return "nobody";
    case Fault::kPolicy:
      return "policy";
    case Fault::kIdentity:
      return "identity";
    case Fault::kConfiguration:
      return "configuration";
    case Fault::kRemoteFault:
      return "remote";
    case Fault::kSlowRemote:
      return "slow-remote";
    case Fault::kOurs:
      return "ours";
    case Fault::kNetwork:
      return "network";
  }
  return "unknown";
}

std::string CodeToString(uint32_t code) {
  const ReasonInfo* info = FindReason(code);
  return info != nullptr ? std::string(info->label) : absl::StrCat("code ", code);
}

std::string_view ToString(Decider decider) {
  switch (decider) {
    case Decider::kUs:
      return "us";
    case Decider::kThem:
      return "them";
    case Decider::kNetwork:
      return "network";
  }
  return "unknown";
}

std::string_view ToString(Stage stage) {
  switch (stage) {
    case Stage::kGate:
      return "gate";
    case Stage::kResolve:
      return "resolve";
    case Stage::kConnect:
      return "connect";
    case Stage::kTls:
      return "tls";
    case Stage::kHello:
      return "hello";
    case Stage::kVerdict:
      return "verdict";
    case Stage::kUp:
      return "up";
  }
  return "unknown";
}

std::string_view ToString(Direction direction) {
  return direction == Direction::kInbound ? "in" : "out";
}

}  // namespace helo
