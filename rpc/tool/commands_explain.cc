// explain: the reasons of WIRE 9 and the topics of topics.cc.
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

#include "p2p/base/reasons.h"
#include "p2p/base/text.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/json.h"
#include "rpc/tool/topics.h"

namespace helo::tool {
namespace {

using Json = nlohmann::ordered_json;

// Topics that say more on a reason.
std::vector<std::string> TopicsOf(Reason reason) {
  std::vector<std::string> names;
  for (const Topic& topic : Topics()) {
    if (std::find(topic.reasons.begin(), topic.reasons.end(), reason) != topic.reasons.end()) {
      names.emplace_back(topic.name);
    }
  }
  return names;
}

Json ReasonToJson(const ReasonInfo& info) {
  return Json{{"code", static_cast<uint32_t>(info.reason)},   {"label", std::string(info.label)},
              {"fault", std::string(FaultLabel(info.fault))}, {"retryable", info.retryable},
              {"sentence", std::string(info.sentence)},       {"cause", std::string(info.cause)},
              {"remedy", std::string(info.remedy)},           {"topics", TopicsOf(info.reason)}};
}

std::string SeeAlso(const std::vector<std::string>& names) {
  if (names.empty()) return "";
  return absl::StrCat("see also\n  helo explain ", absl::StrJoin(names, ", "), "\n");
}

std::string ExplainReason(const ReasonInfo& info, const Style& style) {
  const auto code = static_cast<uint32_t>(info.reason);
  std::string out = absl::StrCat(
      style.Paint(info.label, Colour::kBold), ", code ", code,
      code < 100 ? ", sent between nodes\n" : ", this node's own finding, never sent\n");
  absl::StrAppend(&out, Wrap(info.sentence, style.width, "  "));
  absl::StrAppend(&out, "likely cause\n", Wrap(info.cause, style.width, "  "));
  absl::StrAppend(&out, "what to do\n", Wrap(info.remedy, style.width, "  "));
  absl::StrAppend(&out, "whose fault\n  ", ToAbsl(FaultLabel(info.fault)), "\n");
  absl::StrAppend(&out, "trying again\n  ",
                  info.retryable ? "makes sense, and the node does so by itself\n"
                                 : "is useless unless something is changed\n");
  return absl::StrCat(out, SeeAlso(TopicsOf(info.reason)));
}

std::vector<std::string> SeeOf(const Topic& topic) {
  std::vector<std::string> names(topic.see.begin(), topic.see.end());
  for (const Reason reason : topic.reasons) names.emplace_back(Label(reason));
  return names;
}

std::string ExplainTopic(const Topic& topic, const Style& style) {
  std::string out = absl::StrCat(style.Paint(topic.title, Colour::kBold), "\n");
  for (const std::string_view paragraph : topic.paragraphs) {
    absl::StrAppend(&out, "\n", Wrap(paragraph, style.width, "  "));
  }
  absl::StrAppend(&out, "\nsee it\n");
  for (const TopicCommand& one : topic.commands) {
    absl::StrAppend(&out, "  ", style.Paint(one.command, Colour::kGreen), "\n",
                    Wrap(one.shows, style.width, "      "));
  }
  return absl::StrCat(out, SeeAlso(SeeOf(topic)));
}

Json TopicToJson(const Topic& topic) {
  Json commands = Json::array();
  for (const TopicCommand& one : topic.commands) {
    commands.push_back({{"command", std::string(one.command)}, {"shows", std::string(one.shows)}});
  }
  return Json{
      {"topic", std::string(topic.name)},
      {"also", std::vector<std::string>(topic.also.begin(), topic.also.end())},
      {"title", std::string(topic.title)},
      {"paragraphs", std::vector<std::string>(topic.paragraphs.begin(), topic.paragraphs.end())},
      {"commands", std::move(commands)},
      {"see", SeeOf(topic)}};
}

Exit ExplainAll(Session& session) {
  const Style& style = session.env().style;
  Table topics({{"TOPIC"}, {"WHAT IT IS", false, 24}, {"ALSO", false, 0, 1}});
  Json topic_list = Json::array();
  for (const Topic& topic : Topics()) {
    topics.AddRow({std::string(topic.name), std::string(topic.title),
                   absl::StrJoin(topic.also, " ",
                                 [](std::string* out, std::string_view name) { *out += name; })});
    topic_list.push_back(TopicToJson(topic));
  }
  Table reasons({{"CODE", true}, {"LABEL"}, {"FAULT", false, 0, 1}, {"MEANING", false, 24}});
  Json reason_list = Json::array();
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    reasons.AddRow({absl::StrCat(static_cast<uint32_t>(info->reason)), std::string(info->label),
                    std::string(FaultLabel(info->fault)), std::string(info->sentence)});
    reason_list.push_back(ReasonToJson(*info));
  }
  return session.Answer(
      Exit::kOk,
      absl::StrCat(topics.Render(style), "\n", reasons.Render(style),
                   "\nhelo explain TOPIC is a short page with the commands that show it live; helo "
                   "explain LABEL\ntells cause and remedy of a reason\n"),
      Json{{"topics", std::move(topic_list)}, {"reasons", std::move(reason_list)}});
}

bool HasLowerCase(const std::string& word) {
  return std::any_of(word.begin(), word.end(),
                     [](char c) { return std::islower(static_cast<unsigned char>(c)) != 0; });
}

}  // namespace

Exit Explain(Session& session, const std::string& word) {
  if (word.empty() || word == "list") return ExplainAll(session);
  uint32_t code = 0;
  const ReasonInfo* info = absl::SimpleAtoi(word, &code) ? FindReason(code) : FindReason(word);
  const Topic* topic = FindTopic(word);
  // "REFUSED" is a reason's label, "refused" the topic that has it among others.
  if (topic != nullptr && (info == nullptr || HasLowerCase(word))) {
    return session.Answer(Exit::kOk, ExplainTopic(*topic, session.env().style),
                          TopicToJson(*topic));
  }
  if (info != nullptr) {
    return session.Answer(Exit::kOk, ExplainReason(*info, session.env().style),
                          ReasonToJson(*info));
  }
  const std::vector<std::string> near = NearestTopics(word);
  return session.Fail(absl::NotFoundError(absl::StrCat(
      "no topic and no reason is called '", QuoteRemote(word), "'. ",
      near.empty() ? "" : absl::StrCat("Did you mean ", absl::StrJoin(near, " or "), "? "),
      "helo explain lists all")));
}

}  // namespace helo::tool
