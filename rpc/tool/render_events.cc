// What happened: attempts, events, and why a connection ended.
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <array>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/reasons.h"
#include "p2p/base/text.h"
#include "rpc/tool/render.h"
#include "rpc/tool/units.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;

constexpr size_t kEventIdDigits = 10;
constexpr std::array<const char*, 7> kStages = {"gate",  "resolve", "connect", "tls",
                                                "hello", "verdict", "up"};

std::string DirectionWord(pb::Direction direction) {
  return direction == pb::INBOUND ? "in" : direction == pb::OUTBOUND ? "out" : "-";
}

std::string OrDash(const std::string& text) { return text.empty() ? "-" : text; }

// As far as up; the time spent up is a peer's age, not an attempt's effort.
int64_t HandshakeMicros(const pb::Attempt& attempt) {
  int64_t sum = 0;
  for (const auto& [stage, us] : attempt.spent_us()) {
    if (stage != "up") sum += us;
  }
  return sum;
}

std::string StageTimes(const pb::Attempt& attempt) {
  std::vector<std::string> parts;
  for (const char* stage : kStages) {
    const auto spent = attempt.spent_us().find(stage);
    if (spent == attempt.spent_us().end()) continue;
    parts.push_back(
        absl::StrCat(stage, " ", CompactDuration(std::chrono::microseconds(spent->second))));
  }
  return parts.empty() ? "-" : absl::StrJoin(parts, ", ");
}

Cell Outcome(const pb::Attempt& attempt) {
  if (attempt.still_up()) return Cell("up", Colour::kGreen);
  const std::string label = OrDash(attempt.close().label());
  if (attempt.was_up()) return Cell(absl::StrCat("was up, ", label), Colour::kYellow);
  return Cell(label, Colour::kRed);
}

Colour EventColour(const std::string& kind) {
  if (kind == "peer-up") return Colour::kGreen;
  if (kind == "attempt-failed" || kind == "refused") return Colour::kRed;
  if (kind == "peer-closed" || kind == "dropped") return Colour::kYellow;
  return Colour::kNone;
}

}  // namespace

std::string CloseWords(const pb::Close& close) {
  std::string words = close.label().empty() ? CodeToString(close.code()) : close.label();
  if (close.wire_code() != 0) absl::StrAppend(&words, " (sent as code ", close.wire_code(), ")");
  if (!close.decider().empty()) absl::StrAppend(&words, " by ", close.decider());
  if (!close.stage().empty())
    absl::StrAppend(&words, close.stage() == "up" ? " while " : " at ", close.stage());
  if (!close.text().empty()) absl::StrAppend(&words, ", \"", close.text(), "\"");
  if (close.retry_after_s() > 0) {
    absl::StrAppend(
        &words, ", retry after ",
        HumanDuration(
            std::chrono::nanoseconds(std::chrono::seconds(close.retry_after_s())).count()));
  }
  return words;
}

std::string CloseSentences(const pb::Close& close, const View& view) {
  std::string out = absl::StrCat(CloseWords(close), "\n");
  const ReasonInfo* info = FindReason(close.code());
  if (info == nullptr) return out;
  absl::StrAppend(&out,
                  Wrap(absl::StrCat(ToAbsl(info->sentence), " Likely cause: ", ToAbsl(info->cause)),
                       view.style.width, "  "));
  absl::StrAppend(&out,
                  Wrap(absl::StrCat("What to do: ", ToAbsl(info->remedy)), view.style.width, "  "));
  return out;
}

std::string RenderAttempts(const std::vector<pb::Attempt>& attempts, const View& view) {
  if (attempts.empty()) return "no attempts\n";
  std::vector<std::string> ids;
  for (const pb::Attempt& attempt : attempts) {
    if (!attempt.id().empty()) ids.push_back(attempt.id());
  }
  const size_t digits = ShortIdLength(ids);
  std::vector<Column> columns = {{"BEGAN"},
                                 {"DIR"},
                                 {"ADDRESS", false, 16},
                                 {"ID", false, 0, 3},
                                 {"RESULT"},
                                 {"STAGE", false, 0, 2},
                                 {"BY", false, 0, 1},
                                 {"TOOK", true, 0, 4},
                                 {"TIMES", true, 0, 5},
                                 {"TEXT", false, 8, 6}};
  if (view.wide) {
    columns.push_back({"AGENT"});
    columns.push_back({"STAGES"});
    columns.push_back({"NUMBER", true});
  }
  Table table(std::move(columns));
  for (const pb::Attempt& attempt : attempts) {
    const std::string address = attempt.remote().empty() ? attempt.target() : attempt.remote();
    const bool closed = !attempt.still_up();
    std::vector<Cell> row = {FormatTime(attempt.began_unix_us(), view.now_unix_us),
                             DirectionWord(attempt.direction()),
                             OrDash(address),
                             OrDash(attempt.id().substr(0, digits)),
                             Outcome(attempt),
                             OrDash(attempt.stage()),
                             closed ? OrDash(attempt.close().decider()) : "-",
                             CompactDuration(std::chrono::microseconds(HandshakeMicros(attempt))),
                             absl::StrCat(std::max<uint64_t>(1, attempt.repeats())),
                             closed ? OrDash(attempt.close().text()) : "-"};
    if (view.wide) {
      row.emplace_back(OrDash(attempt.user_agent()));
      row.emplace_back(StageTimes(attempt));
      row.emplace_back(absl::StrCat(attempt.sequence()));
    }
    table.AddRow(std::move(row));
  }
  Style style = view.style;
  if (view.wide) style.width = 0;
  return table.Render(style, "", "--wide shows all");
}

std::string RenderEvent(const pb::Event& event, const View& view) {
  // One line at a time, so the widths are fixed: long enough for an IPv4 address and port.
  const auto padded = [](std::string text, size_t width) {
    if (text.empty()) text.push_back('-');
    text.append(width - std::min(width, text.size()), ' ');
    return text + "  ";
  };
  const SplitAddress target = SplitPeerAddress(event.target());
  const std::string& id = event.id().empty() ? target.id : event.id();
  const std::string& address = event.remote().empty() ? target.host_port : event.remote();
  std::string line = absl::StrCat(
      absl::StrFormat("%5d  ", event.sequence()),
      FormatTime(event.when_unix_us(), view.now_unix_us, /*precise=*/true), "  ",
      view.style.Paint(padded(event.kind(), 14), EventColour(event.kind())),
      padded(id.substr(0, kEventIdDigits), kEventIdDigits),
      padded(event.direction() == pb::DIRECTION_UNSPECIFIED ? "" : DirectionWord(event.direction()),
             3),
      padded(address, 21));
  if (target.host_port != address && !target.host_port.empty())
    absl::StrAppend(&line, target.host_port, "  ");
  if (event.has_close()) {
    pb::Close close = event.close();
    if (event.kind() == "dropped") close.clear_stage();  // concerns an id, not a connection
    absl::StrAppend(&line, CloseWords(close), "  ");
  }
  absl::StrAppend(&line, event.text());
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace helo::tool
