// fds, sockets.
#include <absl/strings/str_cat.h>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/json.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;
using Json = nlohmann::ordered_json;

constexpr uint32_t kPage = 500;  // the most that a node sends at once

absl::Status InCircles() {
  // A node that names the same place again would keep us here for ever.
  return absl::InternalError("the node's list goes in circles: its page token does not move on");
}

}  // namespace

Exit Fds(Session& session, const FdsOptions& options) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  pb::ListFdsRequest request;
  request.set_page_size(kPage);
  pb::ListFdsResponse all;
  do {
    absl::StatusOr<pb::ListFdsResponse> page = (*client)->ListFds(request);
    if (!page.ok()) return session.Fail(page.status());
    for (pb::Fd& fd : *page->mutable_fds()) *all.add_fds() = std::move(fd);
    all.set_total(page->total());
    all.set_limit(page->limit());
    if (!page->next_page_token().empty() && page->next_page_token() == request.page_token()) {
      return session.Fail(InCircles());
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  if (!session.json()) {
    session.Print(RenderFds(all, session.view(options.wide)));
    return Exit::kOk;
  }
  Json list = Json::array();
  for (const pb::Fd& fd : all.fds()) list.push_back(ToJson(fd));
  return session.Answer(
      Exit::kOk, "",
      Json{{"fds", std::move(list)}, {"total", all.total()}, {"limit", all.limit()}});
}

Exit Sockets(Session& session, const FdsOptions& options) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  pb::ListSocketsRequest request;
  request.set_page_size(kPage);
  pb::ListSocketsResponse all;
  do {
    absl::StatusOr<pb::ListSocketsResponse> page = (*client)->ListSockets(request);
    if (!page.ok()) return session.Fail(page.status());
    if (request.page_token().empty()) {
      *all.mutable_listeners() = page->listeners();
      *all.mutable_network() = page->network();
    }
    for (pb::ConnectionSocket& socket : *page->mutable_connections()) {
      *all.add_connections() = std::move(socket);
    }
    if (!page->next_page_token().empty() && page->next_page_token() == request.page_token()) {
      return session.Fail(InCircles());
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  if (!session.json()) {
    session.Print(RenderSockets(all, session.view(options.wide)));
    return Exit::kOk;
  }
  Json document = ToJson(all);
  document.erase("next_page_token");
  return session.Answer(Exit::kOk, "", document);
}

}  // namespace helo::tool
