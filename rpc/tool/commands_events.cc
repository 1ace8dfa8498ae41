// history, watch.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/json.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;
using Json = nlohmann::ordered_json;

constexpr uint32_t kPage = 500;

std::string GapWords(const pb::Gap& gap) {
  if (gap.other_boot())
    return "-- the node was restarted since: what happened in between is not known --\n";
  return absl::StrCat("-- ", gap.missed(),
                      gap.missed() == 1 ? " event is lost --\n" : " events are lost --\n");
}

}  // namespace

Exit History(Session& session, const HistoryOptions& options) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  std::vector<pb::Attempt> attempts;
  pb::ListAttemptsRequest request;
  request.set_id(options.id);
  request.set_direction(options.direction == "in"    ? pb::INBOUND
                        : options.direction == "out" ? pb::OUTBOUND
                                                     : pb::DIRECTION_UNSPECIFIED);
  request.set_filter(options.filter);
  bool more = false;
  while (attempts.size() < options.limit) {
    request.set_page_size(
        std::min<uint32_t>(kPage, options.limit - static_cast<uint32_t>(attempts.size())));
    absl::StatusOr<pb::ListAttemptsResponse> page = (*client)->ListAttempts(request);
    if (!page.ok()) return session.Fail(page.status());
    for (pb::Attempt& attempt : *page->mutable_attempts()) attempts.push_back(std::move(attempt));
    more = page->next_before() != 0;
    // A node that does not move back would keep us here for ever.
    if (!more || (request.before() != 0 && page->next_before() >= request.before())) break;
    request.set_before(page->next_before());
  }
  if (!session.json()) {
    session.Print(RenderAttempts(attempts, session.view(options.wide)));
    if (more)
      session.Note(absl::StrCat("(the newest ", attempts.size(), "; --limit shows more)\n"));
    return Exit::kOk;
  }
  Json list = Json::array();
  for (const pb::Attempt& attempt : attempts) list.push_back(ToJson(attempt));
  return session.Answer(Exit::kOk, "", Json{{"attempts", std::move(list)}, {"more", more}});
}

Exit Watch(Session& session, const WatchOptions& options) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  // The stream itself may rightly be quiet for hours; this call proves that there is a node behind
  // it.
  const absl::StatusOr<pb::Node> node = (*client)->GetNode();
  if (!node.ok()) return session.Fail(node.status());
  pb::WatchRequest request;
  if (options.since) {
    request.set_boot_id(options.since->boot);
    request.set_after_sequence(options.since->sequence);
  }
  uint64_t last = options.since ? options.since->sequence : 0;
  // Events after those named by --since may still be to come when the watch says it is ready.
  const auto begins_at = [&options](const pb::WatchResponse& message) -> uint64_t {
    if (!options.since) return message.ready().newest_sequence();
    return message.boot_id() == options.since->boot ? options.since->sequence : 0;
  };
  uint64_t boot = node->boot_id();
  const absl::Status status =
      (*client)->Watch(request, options.how_long, [&](const pb::WatchResponse& message) {
        boot = message.boot_id();
        if (message.has_event()) last = message.event().sequence();
        if (message.has_ready()) last = begins_at(message);
        if (session.json()) {
          session.Print(Line(ToJson(message)));
        } else if (message.has_event()) {
          session.Print(RenderEvent(message.event(), session.view()));
        } else if (message.has_gap()) {
          session.Print(GapWords(message.gap()));
        } else if (message.has_ready()) {
          session.Note(absl::StrCat("watching ", node->id().substr(0, 10), ", boot ",
                                    message.boot_id(), ", events after ",
                                    message.ready().newest_sequence(), "; Ctrl-C ends\n"));
        }
        return session.env().out->good();
      });
  if (!session.json())
    session.Note(absl::StrCat("to go on from here: helo watch --since ", boot, ":", last, "\n"));
  return status.ok() ? Exit::kOk : session.Fail(status);
}

}  // namespace helo::tool
