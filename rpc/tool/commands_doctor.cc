// doctor: would a node be well here, and is the one that runs?
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/text.h"
#include "rpc/client/quote.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/doctor.h"
#include "rpc/tool/json.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;
using Json = nlohmann::ordered_json;

constexpr int kMostPages = 20;  // of peers, for their clocks: 10,000 are sample enough

RunningNode FromNode(const pb::Node& node) {
  RunningNode running;
  running.pid = node.pid();
  running.fd_limit = node.fd_limit();
  for (const pb::Listener& one : node.listeners()) {
    running.listeners.push_back(
        {one.asked(), one.local(), one.backlog_asked(), one.backlog_effective(), one.starved()});
  }
  running.fd_reduced = node.fd_reduced();
  running.fd_sentences.assign(node.fd_sentences().begin(), node.fd_sentences().end());
  for (const pb::FdPool& pool : node.fd_pools()) {
    // These two are used up in a node that is well.
    if (pool.name() == "listeners" || pool.name() == "spare") continue;
    if (pool.limit() == 0 || pool.used() < pool.limit()) continue;
    running.full_pools.push_back(
        absl::StrCat(pool.name(), " (", pool.used(), " of ", pool.limit(), ")"));
  }
  return running;
}

// The node that the options name, or the default one; that none runs is no error here.
absl::StatusOr<RunningNode> AskNode(const Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  const absl::StatusOr<pb::Node> node = (*client)->GetNode();
  if (!node.ok()) return node.status();
  RunningNode running = FromNode(*node);
  pb::ListPeersRequest request;
  for (int page = 0; page < kMostPages; ++page) {
    const absl::StatusOr<pb::ListPeersResponse> peers = (*client)->ListPeers(request);
    if (!peers.ok()) break;
    for (const pb::Peer& peer : peers->peers()) {
      if (peer.has_skew_us()) running.skews_us.push_back(peer.skew_us());
    }
    if (peers->next_page_token().empty()) break;
    request.set_page_token(peers->next_page_token());
  }
  return running;
}

// Where it could not be asked: that it is another user's or hangs, not that there is none.
bool SeemsToRun(const absl::Status& status) {
  return absl::IsPermissionDenied(status) || absl::IsUnauthenticated(status) ||
         absl::IsDeadlineExceeded(status);
}

const char* LevelWord(Finding::Level level) {
  switch (level) {
    case Finding::Level::kOk:
      return "ok";
    case Finding::Level::kNote:
      return "note";
    case Finding::Level::kProblem:
      return "problem";
  }
  return "";
}

Colour LevelColour(Finding::Level level) {
  switch (level) {
    case Finding::Level::kOk:
      return Colour::kGreen;
    case Finding::Level::kNote:
      return Colour::kYellow;
    case Finding::Level::kProblem:
      return Colour::kRed;
  }
  return Colour::kNone;
}

size_t Count(const std::vector<Finding>& findings, Finding::Level level) {
  return static_cast<size_t>(std::count_if(findings.begin(), findings.end(),
                                           [&](const Finding& one) { return one.level == level; }));
}

std::string Plural(size_t n, const char* word) {
  return absl::StrCat(n, " ", word, n == 1 ? "" : "s");
}

// "ok  fd-limit   soft 1024, ...", the text aligned over all lines.
std::string RenderFact(const Finding& one, size_t widest, const Style& style) {
  const std::string level = LevelWord(one.level);
  const std::string indent(level.size() + widest + 4, ' ');
  std::string text = Wrap(one.says, style.width, indent);
  text.erase(0, indent.size());
  return absl::StrCat(style.Paint(level, LevelColour(one.level)), "  ",
                      style.Paint(one.check, Colour::kBold),
                      std::string(widest - one.check.size() + 2, ' '), text);
}

std::string RenderRemedies(const Finding& one, const Style& style) {
  size_t widest = 0;
  for (const auto& remedy : one.remedies) widest = std::max(widest, remedy.first.size());
  const std::string indent(widest + 6, ' ');
  std::string out;
  for (const auto& remedy : one.remedies) {
    absl::StrAppend(&out, "    ", style.Paint(remedy.first, Colour::kDim),
                    indent.substr(4 + remedy.first.size()),
                    absl::StrReplaceAll(remedy.second, {{"\n", "\n" + indent}}), "\n");
  }
  return out;
}

// What is well first, what is not last: that is where the eye is when the output stops.
std::string RenderDoctor(const std::vector<Finding>& findings, const Style& style) {
  size_t widest = 0;
  for (const Finding& one : findings) {
    if (one.level == Finding::Level::kOk) widest = std::max(widest, one.check.size());
  }
  std::string out;
  for (const Finding& one : findings) {
    if (one.level == Finding::Level::kOk) out += RenderFact(one, widest, style);
  }
  for (const Finding::Level level : {Finding::Level::kNote, Finding::Level::kProblem}) {
    for (const Finding& one : findings) {
      if (one.level != level) continue;
      absl::StrAppend(&out, "\n", RenderFact(one, one.check.size(), style),
                      Wrap(one.means, style.width, "    "), RenderRemedies(one, style));
    }
  }
  return absl::StrCat(out, "\n", Plural(Count(findings, Finding::Level::kProblem), "problem"), ", ",
                      Plural(Count(findings, Finding::Level::kNote), "note"), "\n");
}

Json DoctorToJson(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& one : findings) {
    Json remedies = Json::object();
    for (const auto& [where, what] : one.remedies) remedies[where] = what;
    list.push_back({{"check", one.check},
                    {"level", LevelWord(one.level)},
                    {"says", one.says},
                    {"means", one.means},
                    {"remedies", std::move(remedies)}});
  }
  return {{"problems", Count(findings, Finding::Level::kProblem)},
          {"notes", Count(findings, Finding::Level::kNote)},
          {"findings", std::move(list)}};
}

}  // namespace

Exit Doctor(Session& session, const std::vector<std::string>& listen) {
  const absl::StatusOr<RunningNode> node = AskNode(session);
  if (absl::IsInvalidArgument(node.status())) return session.Fail(node.status());
  DoctorQuestion question;
  question.listen = listen;
  // What a node holds itself would only be found in use.
  question.try_ports = !listen.empty() || !(node.ok() || SeemsToRun(node.status()));
  question.data_dir =
      session.globals().find.data_dir.value_or(session.env().getenv("HELO_DATA_DIR").value_or(""));
  absl::StatusOr<DoctorFacts> facts = GatherFacts(question);
  if (!facts.ok()) return session.Fail(facts.status());
  if (node.ok()) {
    facts->node = *node;
  } else if (!absl::IsUnavailable(node.status()) && !absl::IsNotFound(node.status())) {
    facts->no_node = FromAbsl(node.status().message());
    facts->node_hangs = absl::IsDeadlineExceeded(node.status());
  }
  std::vector<Finding> findings = Judge(*facts);
  for (Finding& one : findings) {  // paths and commands of other processes stand in them
    one.says = client::QuoteText(one.says);
    one.means = client::QuoteText(one.means);
  }
  const bool well = Count(findings, Finding::Level::kProblem) == 0;
  return session.Answer(well ? Exit::kOk : Exit::kFailed,
                        RenderDoctor(findings, session.env().style), DoctorToJson(findings));
}

}  // namespace helo::tool
