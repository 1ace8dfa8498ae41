// peers, peer, add, remove, drop.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/reasons.h"
#include "p2p/base/text.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/json.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;
using Json = nlohmann::ordered_json;

constexpr uint32_t kPage = 500;  // the most that a node sends at once

pb::Direction DirectionOf(const std::string& word) {
  return word == "in" ? pb::INBOUND : word == "out" ? pb::OUTBOUND : pb::DIRECTION_UNSPECIFIED;
}

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// How a first try that failed ends the tool.
Exit ExitOfClose(const pb::Close& close) {
  if (close.decider() == ToString(Decider::kThem)) return Exit::kRefusedByPeer;
  const bool timed_out = close.code() == static_cast<uint32_t>(Reason::kConnectTimeout) ||
                         close.code() == static_cast<uint32_t>(Reason::kStageTimeout);
  return timed_out ? Exit::kTimedOut : Exit::kFailed;
}

}  // namespace

Exit Peers(Session& session, const PeersOptions& options) {
  std::vector<pb::Peer> peers;
  if (!options.sort.empty()) {  // a wrong key is told before a node is asked
    if (absl::Status status = SortPeers(peers, options.sort, options.reverse); !status.ok())
      return session.Fail(status);
  }
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  pb::ListPeersRequest request;
  request.set_page_size(kPage);
  request.set_direction(DirectionOf(options.direction));
  request.set_filter(options.filter);
  do {
    absl::StatusOr<pb::ListPeersResponse> page = (*client)->ListPeers(request);
    if (!page.ok()) return session.Fail(page.status());
    for (pb::Peer& peer : *page->mutable_peers()) peers.push_back(std::move(peer));
    // A node that names the same place again would keep us here for ever.
    if (!page->next_page_token().empty() && page->next_page_token() == request.page_token()) {
      return session.Fail(absl::InternalError(
          "the node lists its peers in circles: its page token does not move on"));
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  if (!options.sort.empty()) {
    if (absl::Status status = SortPeers(peers, options.sort, options.reverse); !status.ok())
      return session.Fail(status);
  } else if (options.reverse) {
    std::reverse(peers.begin(), peers.end());
  }
  if (!session.json()) {
    session.Print(RenderPeers(peers, session.view(options.wide)));
    return Exit::kOk;
  }
  Json list = Json::array();
  for (const pb::Peer& peer : peers) list.push_back(ToJson(peer));
  const size_t total = list.size();
  return session.Answer(Exit::kOk, "", Json{{"peers", std::move(list)}, {"total", total}});
}

Exit ShowPeer(Session& session, const std::string& id) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  const absl::StatusOr<pb::Peer> peer = (*client)->GetPeer(id);
  if (!peer.ok()) return session.Fail(peer.status());
  return session.Answer(Exit::kOk, RenderPeer(*peer, session.view()), ToJson(*peer));
}

Exit Add(Session& session, const AddOptions& options) {
  const absl::StatusOr<PeerAddress> address = PeerAddress::Parse(options.address);
  if (!address.ok()) return session.Fail(absl::InvalidArgumentError(address.status().message()));
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  pb::AddPeerRequest request;
  request.set_address(address->ToString());
  request.set_wait_seconds(options.wait ? Seconds(*options.wait) : 0);
  request.set_save(options.save);
  const absl::StatusOr<pb::AddPeerResponse> response = (*client)->AddPeer(request);
  if (!response.ok()) return session.Fail(response.status());
  Exit exit = Exit::kOk;
  std::string text = absl::StrCat(
      request.address(), response->existed() ? " is dialed already" : " is dialed from now on",
      response->existed() ? ""
      : options.save      ? ", across restarts"
                          : ", until the node restarts");
  if (response->decided() && response->up()) {
    absl::StrAppend(&text, "\nconnected to ", response->id(), "\n");
  } else if (response->decided()) {
    exit = ExitOfClose(response->close());
    absl::StrAppend(&text,
                    "\nthe first try failed: ", CloseSentences(response->close(), session.view()));
    absl::StrAppend(&text, "It is tried again by itself; helo remove ends that.\n");
  } else if (options.wait && *options.wait > Duration::zero()) {
    exit = Exit::kTimedOut;
    absl::StrAppend(&text, "\nnothing is decided after ", HumanDuration(options.wait->count()),
                    ": the node goes on trying, see helo history\n");
  } else {
    absl::StrAppend(&text, "\n");
  }
  return session.Answer(exit, text, ToJson(*response));
}

Exit Remove(Session& session, const std::string& address, bool disconnect) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  pb::RemovePeerRequest request;
  request.set_address(address);
  request.set_disconnect(disconnect);
  if (absl::Status status = (*client)->RemovePeer(request); !status.ok())
    return session.Fail(status);
  const std::string quoted = QuoteRemote(address);
  return session.Answer(Exit::kOk,
                        absl::StrCat(quoted, " is not dialed any more",
                                     disconnect ? ", and its connection is closed\n"
                                                : "; a connection that stands stays\n"),
                        Json{{"removed", quoted}, {"disconnected", disconnect}});
}

Exit Drop(Session& session, const DropOptions& options) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  pb::DropPeerRequest request;
  request.set_id(options.id);
  request.set_text(options.text);
  if (options.away) request.set_away_seconds(Seconds(*options.away));
  const absl::StatusOr<pb::DropPeerResponse> response = (*client)->DropPeer(request);
  if (!response.ok()) return session.Fail(response.status());
  std::string text = absl::StrCat(
      "dropped ", response->id(), ": ", response->connections_closed(),
      response->connections_closed() == 1 ? " connection closed, " : " connections closed, ");
  if (response->away_seconds() > 0) {
    const auto away = std::chrono::duration_cast<Duration>(
        std::chrono::duration<double>(response->away_seconds()));
    absl::StrAppend(&text, "and it may not come back for ", HumanDuration(away.count()),
                    ", in or out\n");
  } else {
    absl::StrAppend(&text, "and it may come back at once\n");
  }
  if (response->targets_paused() > 0) {
    absl::StrAppend(&text, "This node dials it by itself (", response->targets_paused(),
                    response->targets_paused() == 1 ? " address" : " addresses",
                    "): that rests meanwhile, and goes on afterwards. helo remove ends it.\n");
  }
  return session.Answer(Exit::kOk, text, ToJson(*response));
}

}  // namespace helo::tool
