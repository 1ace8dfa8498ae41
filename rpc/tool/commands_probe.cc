// probe: would that node take us, and where does it stop?
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include <nlohmann/json.hpp>

#include "p2p/base/rng.h"
#include "p2p/base/text.h"
#include "p2p/wire/codec.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/json.h"
#include "rpc/tool/probe.h"
#include "rpc/tool/probe_words.h"

namespace helo::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kDefaultNetwork[] = "helo-dev";  // helod's
constexpr Stage kStages[] = {Stage::kResolve, Stage::kConnect, Stage::kTls, Stage::kHello,
                             Stage::kVerdict};

absl::StatusOr<tls::NodeKey> KeyOf(const std::string& path) {
  if (path.empty()) return tls::NodeKey::TryGenerate(SystemRng());
  struct stat facts {};
  const bool directory = stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
  return tls::NodeKey::Load(directory ? path + "/node.key" : path);
}

// "echo/1:2": name, version and number of messages.
absl::StatusOr<wire::Offer> ParseOffer(const std::string& text, uint16_t channel) {
  const std::pair<std::string, std::string> halves = absl::StrSplit(text, absl::MaxSplits('/', 1));
  const std::pair<std::string, std::string> numbers =
      absl::StrSplit(halves.second, absl::MaxSplits(':', 1));
  uint32_t version = 0, messages = 0;
  if (!wire::IsCapabilityName(halves.first) || !absl::SimpleAtoi(numbers.first, &version) ||
      !absl::SimpleAtoi(numbers.second, &messages) || version < 1 || version > 65535 ||
      messages < 1 || messages > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--offer: '", QuoteRemote(text),
                     "' is not NAME/VERSION:MESSAGES, as echo/1:2 (a capability's name, 1 to 16 of "
                     "a-z, 0-9 and '-', the first a letter; its version; and how many kinds of "
                     "messages it has)"));
  }
  wire::Offer offer;
  offer.channel = channel;
  offer.name = halves.first;
  offer.version = static_cast<uint16_t>(version);
  offer.message_count = static_cast<uint16_t>(messages);
  offer.max_message_bytes = 65536;
  return offer;
}

// What a session would leave out without a word (WIRE 4).
absl::Status CheckTogether(const std::vector<wire::Offer>& offers) {
  for (const wire::Offer& one : offers) {
    const auto count = [&](auto is) { return std::count_if(offers.begin(), offers.end(), is); };
    const auto named = [&](const wire::Offer& other) { return other.name == one.name; };
    const auto same = [&](const wire::Offer& other) {
      return named(other) && other.version == one.version;
    };
    if (count(same) > 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("--offer: ", one.name, "/", one.version, " is named twice"));
    }
    if (count(named) > static_cast<ptrdiff_t>(wire::kMaxOffersAFrame)) {
      return absl::InvalidArgumentError(absl::StrCat("--offer: ", one.name, " has more than ",
                                                     wire::kMaxOffersAFrame, " versions"));
    }
  }
  if (offers.size() > wire::kMaxStandingOffers) {
    return absl::InvalidArgumentError(
        absl::StrCat("--offer: at most ", wire::kMaxStandingOffers, " of them"));
  }
  return absl::OkStatus();
}

std::string Setting(const Session& session, const std::optional<std::string>& option,
                    const char* variable, const char* otherwise) {
  if (option) return *option;
  const std::optional<std::string> value = session.env().getenv(variable);
  return value && !value->empty() ? *value : otherwise;  // empty is not set, as helod has it
}

absl::StatusOr<ProbeRequest> MakeRequest(const Session& session, const ProbeOptions& options) {
  const absl::StatusOr<PeerAddress> address = PeerAddress::Parse(options.address);
  if (!address.ok()) return absl::InvalidArgumentError(address.status().message());
  absl::StatusOr<tls::NodeKey> key = KeyOf(options.key);
  if (!key.ok()) return key.status();
  ProbeRequest request{*address,
                       Setting(session, options.network, "HELO_NETWORK", kDefaultNetwork),
                       Bytes(),
                       "helo-probe/" HELO_VERSION,
                       *std::move(key),
                       {},
                       session.globals().timeout};
  if (!wire::IsNetworkName(request.network)) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.network ? "--network: '" : "HELO_NETWORK: '", QuoteRemote(request.network),
        "' is no network name: 1 to 64 of a-z, 0-9, '.', '_' and '-', the first a "
        "letter or digit"));
  }
  const std::string genesis = Setting(session, options.genesis, "HELO_GENESIS", "");
  if (!genesis.empty() &&
      (!FromHex(genesis, request.genesis) || request.genesis.size() > wire::kMaxGenesisBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.genesis ? "--genesis: '" : "HELO_GENESIS: '", QuoteRemote(genesis),
                     "' is not 1 to 64 bytes in hex digits"));
  }
  for (const std::string& text : options.offers) {
    const auto channel = static_cast<uint16_t>(request.offers.size() + 1);
    absl::StatusOr<wire::Offer> offer = ParseOffer(text, channel);
    if (!offer.ok()) return offer.status();
    request.offers.push_back(*std::move(offer));
  }
  if (absl::Status status = CheckTogether(request.offers); !status.ok()) return status;
  return request;
}

std::string OffersOf(const wire::Hello& hello) {
  return absl::StrJoin(hello.offers, " ", [](std::string* out, const wire::Offer& offer) {
    absl::StrAppend(out, QuoteRemote(offer.name), "/", offer.version);
  });
}

// A remote's words are quoted; this node's own sentences hold what they quote already.
std::string CloseText(const ProbeReport& report) {
  return report.close.decider == Decider::kThem ? QuoteRemote(report.close.text)
                                                : report.close.text;
}

std::string StepText(const ProbeStep& step, const ProbeReport& report) {
  if (step.stage == Stage::kConnect && step.remote) {
    return absl::StrCat(step.remote->ToString(),
                        step.text.empty() ? ""
                        : step.ok         ? " "
                                          : ": ",
                        step.text);
  }
  if (step.stage == Stage::kHello && step.ok && report.hello) {
    const std::string offers = OffersOf(*report.hello);
    return absl::StrCat(QuoteRemote(report.hello->user_agent), ", network ",
                        QuoteRemote(report.hello->network), offers.empty() ? "" : ", ", offers);
  }
  if (step.stage == Stage::kVerdict && step.ok) return "ACCEPT";
  if (!step.ok && step.text.empty()) {
    return absl::StrCat(CodeToString(static_cast<uint32_t>(report.close.reason)),
                        report.close.text.empty() ? "" : ": ", CloseText(report));
  }
  return step.text;
}

std::string Skew(const ProbeReport& report) {
  const int64_t us = *report.skew_us;
  return absl::StrCat(us < 0 ? "" : "+", HumanDuration(us * 1000), ", give or take ",
                      HumanDuration(report.hello_rtt.count() / 2));
}

std::string RenderProbe(const ProbeRequest& request, const ProbeReport& report,
                        const ProbeWords& words, const Style& style) {
  Table table({{"STAGE"}, {"TIME", true}, {"RESULT"}});
  for (const ProbeStep& step : report.steps) {
    table.AddRow({std::string(ToString(step.stage)), CompactDuration(step.took),
                  Cell(StepText(step, report), step.ok ? Colour::kNone : Colour::kRed)});
  }
  const Stage last = report.steps.empty() ? Stage::kGate : report.steps.back().stage;
  for (const Stage stage : kStages) {
    if (stage > last) table.AddRow({std::string(ToString(stage)), "-", Cell("-", Colour::kDim)});
  }
  std::string out = absl::StrCat(table.Render(style), "\n");
  if (report.accepted) {
    absl::StrAppend(&out, style.Paint("would be accepted", Colour::kGreen), " as a peer\n");
  } else {
    const std::string label = CodeToString(static_cast<uint32_t>(report.close.reason));
    absl::StrAppend(&out, style.Paint(label, Colour::kRed), " (", words.finding, ") at ",
                    ToAbsl(ToString(report.close.stage)), ", decided by ",
                    ToAbsl(ToString(report.close.decider)));
    if (!report.close.text.empty() && report.close.decider == Decider::kThem) {
      absl::StrAppend(&out, ", \"", QuoteRemote(report.close.text), "\"");
    }
    if (report.close.retry_after_s > 0) {
      absl::StrAppend(&out, ", try again in ", report.close.retry_after_s, " s");
    }
    absl::StrAppend(&out, "\n", Wrap(words.sentence, style.width, "  "));
    absl::StrAppend(&out, "likely cause\n", Wrap(words.cause, style.width, "  "));
    absl::StrAppend(&out, "what to do\n", Wrap(words.remedy, style.width, "  "));
    if (report.out_of_time) {
      absl::StrAppend(&out, "The whole probe had ", HumanDuration(request.total.count()),
                      ": --timeout gives it more.\n");
    }
  }
  if (!report.id) return out;
  Listing listing;
  listing.Add("id", report.id->ToHex());
  if (report.hello) {
    if (report.hello->observed) listing.Add("sees you as", report.hello->observed->ToString());
    if (report.skew_us) listing.Add("its clock", Skew(report));
  }
  if (report.tls_up && !report.certificate_requested) {
    listing.Add("note", "it asked for no certificate, as every node of helo/1 does");
  }
  return absl::StrCat(out, listing.Render(style, "  "));
}

Json SeenToJson(const ProbeReport& report) {
  static constexpr const char* kPing[] = {"not-asked", "may-not-ask", "forbidden", "silent",
                                          "answered"};
  Json seen = {{"errno", report.error == 0 ? Json() : Json(ErrnoName(report.error))},
               {"out_of_time", report.out_of_time},
               {"address_of_this_machine", report.here},
               {"bytes_received", report.bytes_in},
               {"first_bytes", QuoteRemote(AsString(report.first_bytes))},
               {"tls_alert", report.alert},
               {"certificate_requested", report.certificate_requested},
               {"ping", kPing[static_cast<size_t>(report.ping.kind)]},
               {"icmp", Json()},
               {"tcp", Json()}};
  if (report.icmp) {
    seen["icmp"] = {{"from", report.icmp->from.ToString()},
                    {"from_this_machine", report.icmp_from_here},
                    {"type", report.icmp->type},
                    {"code", report.icmp->code},
                    {"words", net::Describe(*report.icmp)}};
  }
  if (report.tcp) {
    seen["tcp"] = {{"timeouts", report.tcp->timeouts},
                   {"resent", report.tcp->resent},
                   {"on_way", report.tcp->on_way},
                   {"unacked", report.tcp->unacked}};
  }
  return seen;
}

Json PeerToJson(const ProbeReport& report) {
  if (!report.id) return {};
  Json peer = {{"id", report.id->ToHex()}};
  if (!report.hello) return peer;
  const wire::Hello& hello = *report.hello;
  Json offers = Json::array();
  for (const wire::Offer& offer : hello.offers) {
    offers.push_back({{"name", QuoteRemote(offer.name)},
                      {"version", offer.version},
                      {"message_count", offer.message_count},
                      {"max_message_bytes", offer.max_message_bytes}});
  }
  peer.update({{"user_agent", QuoteRemote(hello.user_agent)},
               {"network", QuoteRemote(hello.network)},
               {"genesis", ToHex(hello.genesis)},
               {"minor", hello.minor},
               {"features", hello.features},
               {"offers", std::move(offers)},
               {"observed", hello.observed ? Json(hello.observed->ToString()) : Json()},
               {"skew_us", report.skew_us ? Json(*report.skew_us) : Json()}});
  return peer;
}

Json ProbeToJson(const ProbeRequest& request, const ProbeReport& report, const ProbeWords& words) {
  Json steps = Json::array();
  for (const ProbeStep& step : report.steps) {
    steps.push_back({{"stage", std::string(ToString(step.stage))},
                     {"ok", step.ok},
                     {"us", std::chrono::duration<double, std::micro>(step.took).count()},
                     {"remote", step.remote ? Json(step.remote->ToString()) : Json()},
                     {"text", StepText(step, report)}});
  }
  Json close;
  if (!report.accepted) {
    close = {{"code", static_cast<uint32_t>(report.close.reason)},
             {"label", CodeToString(static_cast<uint32_t>(report.close.reason))},
             {"decider", std::string(ToString(report.close.decider))},
             {"stage", std::string(ToString(report.close.stage))},
             {"text", CloseText(report)},
             {"retry_after_s", report.close.retry_after_s},
             {"wire_code", report.close.wire_code}};
  }
  return {{"address", request.address.ToString()},
          {"network", request.network},
          {"as", request.key.id().ToHex()},
          {"accepted", report.accepted},
          {"finding", words.finding},
          {"sentence", words.sentence},
          {"cause", words.cause},
          {"remedy", words.remedy},
          {"close", std::move(close)},
          {"steps", std::move(steps)},
          {"peer", PeerToJson(report)},
          {"seen", SeenToJson(report)}};
}

Exit ExitOfProbe(const ProbeReport& report) {
  if (report.accepted) return Exit::kOk;
  const Reason reason = report.close.reason;
  if (reason == Reason::kConnectTimeout || report.out_of_time || report.names_unanswered ||
      (reason == Reason::kStageTimeout && report.close.decider == Decider::kUs)) {
    return Exit::kTimedOut;
  }
  // A refusal is a node's word: a verdict, or the alert of its gate. A TLS server that fails is
  // not.
  const bool refused =
      report.close.decider == Decider::kThem &&
      (report.tls_up || reason == Reason::kGateNotWelcome || reason == Reason::kGateNoRoom);
  return refused ? Exit::kRefusedByPeer : Exit::kFailed;
}

}  // namespace

Exit ProbePeer(Session& session, const ProbeOptions& options) {
  const absl::StatusOr<ProbeRequest> request = MakeRequest(session, options);
  if (!request.ok()) return session.Fail(request.status());
  const ProbeReport report = Probe(*request);
  const ProbeWords words = ExplainProbe(request->address, report);
  return session.Answer(ExitOfProbe(report),
                        RenderProbe(*request, report, words, session.env().style),
                        ProbeToJson(*request, report, words));
}

}  // namespace helo::tool
