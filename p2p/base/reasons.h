// Why a connection was refused or ended. One table, reasons.def, generates this enum, every
// sentence that a person reads, metric labels and the docs page; the numbers are WIRE 9's and are
// never reused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace helo {

enum class Reason : uint16_t {
#define HELO_REASON(code, enumerator, label, fault, retryable, sentence, cause, remedy) \
  enumerator = code,
#include "p2p/base/reasons.def"
#undef HELO_REASON
};

// Whose doing it is. Only kRemoteFault is ever scored against a peer.
enum class Fault : uint8_t {
  kNobody,
  kPolicy,
  kIdentity,
  kConfiguration,
  kRemoteFault,
  kSlowRemote,
  kOurs,
  kNetwork
};

struct ReasonInfo {
  Reason reason;
  std::string_view label;  // "RATE_LIMITED"
  Fault fault;
  bool retryable;             // does trying again later, with nothing changed, make sense
  std::string_view sentence;  // what happened
  std::string_view cause;     // the likely cause
  std::string_view remedy;    // what to do, with a command where there is one
};

// Every known reason in ascending order of code.
const ReasonInfo* begin_reasons();
const ReasonInfo* end_reasons();
const ReasonInfo* FindReason(uint32_t code);           // nullptr if unknown
const ReasonInfo* FindReason(std::string_view label);  // any case; nullptr if unknown
std::string_view Label(Reason reason);
std::string_view FaultLabel(Fault fault);
// "FULL" or, for a code this version does not know, "code 57".
std::string CodeToString(uint32_t code);

enum class Decider : uint8_t { kUs, kThem, kNetwork };
std::string_view ToString(Decider decider);  // "us", "them", "network"

// How far an attempt got (DESIGN 2).
enum class Stage : uint8_t { kGate, kResolve, kConnect, kTls, kHello, kVerdict, kUp };
std::string_view ToString(Stage stage);  // "gate" ... "up"

enum class Direction : uint8_t { kInbound, kOutbound };
std::string_view ToString(Direction direction);  // "in", "out"

// One end of one connection, told once.
struct CloseInfo {
  Reason reason = Reason::kInternal;
  uint32_t wire_code =
      0;  // the number the remote sent where it is not `reason`'s own (unknown codes), else 0
  Decider decider = Decider::kUs;
  Stage stage = Stage::kGate;
  std::string text;            // the remote's or ours; remote bytes, quote on every way out
  uint32_t retry_after_s = 0;  // as received or as sent; 0 = no hint
};

}  // namespace helo
