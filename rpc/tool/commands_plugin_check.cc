// plugin check: a built plugin against every rule of its contract. Needs no node.
#include <absl/strings/str_cat.h>

#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>

#include "p2p/base/text.h"
#include "plugins/check/check.h"
#include "rpc/client/quote.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/json.h"

namespace helo::tool {
namespace {

using Json = nlohmann::ordered_json;
using plugins::CheckReport;
using plugins::RuleResult;
using plugins::RuleState;

struct Word {
  const char* text;
  Colour colour;
};
Word WordOf(RuleState state) {
  switch (state) {
    case RuleState::kOk:
      return {"ok", Colour::kGreen};
    case RuleState::kWarning:
      return {"warning", Colour::kYellow};
    case RuleState::kBroken:
      return {"BROKEN", Colour::kRed};
    case RuleState::kSkipped:
      return {"skipped", Colour::kDim};
  }
  return {"", Colour::kNone};
}

std::string Pad(const std::string& text, size_t width) {
  return text + std::string(width > text.size() ? width - text.size() : 0, ' ');
}

// "BROKEN   stop returns within 5 s   (helo/plugin.h:180)", and what was found below it.
std::string Render(const CheckReport& report, const Style& style) {
  constexpr size_t kState = 9;
  size_t widest = 0;
  for (const RuleResult& rule : report.rules) widest = std::max(widest, rule.says.size());
  std::string out;
  bool skipped = false;
  for (const RuleResult& rule : report.rules) {
    if (rule.state == RuleState::kSkipped) {
      if (std::exchange(skipped, true)) continue;
      absl::StrAppend(&out, style.Paint(Pad("skipped", kState), Colour::kDim),
                      report.Count(RuleState::kSkipped), " rules, ",
                      rule.found.empty() ? "" : rule.found.front(), "\n");
      continue;
    }
    const Word word = WordOf(rule.state);
    absl::StrAppend(&out, style.Paint(Pad(word.text, kState), word.colour), Pad(rule.says, widest),
                    "  (", rule.header, ":", rule.line, ")\n");
    for (const std::string& one : rule.found) {
      absl::StrAppend(&out, Wrap(one, style.width, std::string(kState + 2, ' ')));
    }
  }
  const size_t broken = report.Count(RuleState::kBroken);
  const size_t warnings = report.Count(RuleState::kWarning);
  absl::StrAppend(&out, "\n", QuoteRemote(report.file), ": ", report.Count(RuleState::kOk), " ok, ",
                  warnings, warnings == 1 ? " warning, " : " warnings, ", broken, " broken\n");
  return out;
}

Json ToJson(const CheckReport& report) {
  Json rules = Json::array();
  for (const RuleResult& rule : report.rules) {
    rules.push_back(Json{{"state", WordOf(rule.state).text},
                         {"rule", rule.rule},
                         {"says", rule.says},
                         {"header", rule.header},
                         {"line", rule.line},
                         {"found", rule.found}});
  }
  return Json{{"file", QuoteRemote(report.file)},
              {"id", report.id},
              {"version", report.version},
              {"ok", report.Count(RuleState::kOk)},
              {"warnings", report.Count(RuleState::kWarning)},
              {"broken", report.Count(RuleState::kBroken)},
              {"skipped", report.Count(RuleState::kSkipped)},
              {"rules", rules}};
}

}  // namespace

Exit CheckPluginFile(Session& session, const PluginCheck& check) {
  plugins::CheckOptions options;
  options.seed = check.seed;
  if (!check.config.empty()) {
    std::ifstream file(check.config, std::ios::binary);
    options.config.assign(std::istreambuf_iterator<char>(file), {});
    if (!file.is_open()) {
      return session.Fail(
          absl::NotFoundError(absl::StrCat("the configuration ", check.config, " cannot be read")));
    }
  }
  const absl::StatusOr<CheckReport> report = plugins::CheckPlugin(check.file, options);
  if (!report.ok()) return session.Fail(report.status());
  return session.Answer(report->Count(RuleState::kBroken) == 0 ? Exit::kOk : Exit::kFailed,
                        Render(*report, session.view().style), ToJson(*report));
}

}  // namespace helo::tool
