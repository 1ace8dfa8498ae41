#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "p2p/base/text.h"
#include "rpc/service/api.h"
#include "rpc/service/resolve_id.h"

namespace helo::rpc {
namespace {

constexpr uint32_t kMostInPage = 500;
constexpr uint32_t kDefaultAttempts = 100;
// A page stays well below the 4 MiB that clients take by default, whatever its peers say of
// themselves.
constexpr size_t kMostBytesInPage = size_t{2} << 20;
constexpr Duration kListTogether = std::chrono::seconds(5);
constexpr size_t kWholeHistory = size_t{1} << 20;

// The place of a peer in the list: "<64 hex digits>.<connection>".
std::string MakeToken(const proto::Peer& last) {
  return absl::StrCat(last.id(), ".", last.connection());
}

absl::StatusOr<std::pair<NodeId, uint64_t>> ParseToken(const std::string& token) {
  const size_t dot = token.find('.');
  const std::optional<NodeId> id = NodeId::FromHex(token.substr(0, dot));
  uint64_t connection = 0;
  if (!id || dot == std::string::npos || !absl::SimpleAtoi(token.substr(dot + 1), &connection)) {
    return absl::InvalidArgumentError(
        "page_token is none that this node gave: begin again without one");
  }
  return std::make_pair(*id, connection);
}

bool AnyContains(const std::vector<std::string>& names, const std::string& text) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return name.find(text) != std::string::npos; });
}

bool Matches(const PeerSnapshot& peer, const std::optional<Direction>& direction,
             const std::string& filter) {
  if (direction && peer.direction != *direction) return false;
  if (filter.empty()) return true;
  return peer.id.ToHex().find(absl::AsciiStrToLower(filter)) != std::string::npos ||
         peer.remote.ToString().find(filter) != std::string::npos ||
         peer.user_agent.find(filter) != std::string::npos ||
         AnyContains(peer.capabilities.shared, filter) ||
         AnyContains(peer.capabilities.only_ours, filter) ||
         AnyContains(peer.capabilities.only_theirs, filter);
}

}  // namespace

AdminApi::AdminApi(NodeFacts facts, AdminHooks hooks, Endpoint admin_address, Server& server,
                   net::EventLoop& loop, std::shared_ptr<Mailbox> mailbox, LogSink& log)
    : facts_(std::move(facts)),
      hooks_(std::move(hooks)),
      admin_address_(admin_address),
      server_(server),
      loop_(loop),
      mailbox_(std::move(mailbox)),
      log_(log) {
  if (hooks_.plugins.host != nullptr) desk_ = std::make_unique<PluginDesk>();
}

void AdminApi::WithSnapshot(std::function<void(const ServerSnapshot&)> then) {
  server_.GetSnapshot([mailbox = mailbox_, then = std::move(then)](const Snapshot& snapshot) {
    if (snapshot == nullptr) return;
    mailbox->Post([then, snapshot] { then(*snapshot); });
  });
}

void AdminApi::FindAttempts(const peers::AttemptHistory::Query& query,
                            std::function<void(std::vector<peers::Attempt>)> then) {
  server_.FindAttempts(
      query, [mailbox = mailbox_, then = std::move(then)](std::vector<peers::Attempt> attempts) {
        auto shared = std::make_shared<std::vector<peers::Attempt>>(std::move(attempts));
        mailbox->Post([then, shared] { then(std::move(*shared)); });
      });
}

void AdminApi::GetNode(const proto::GetNodeRequest& /*request*/, Reply<proto::Node> reply) {
  WithSnapshot([this, reply](const ServerSnapshot& snapshot) {
    proto::Node node;
    ToProto(snapshot, node);
    node.set_id(server_.id().ToHex());
    node.set_version(facts_.version);
    node.set_user_agent(facts_.user_agent);
    node.set_pid(static_cast<uint32_t>(getpid()));
    node.set_network(facts_.network);
    node.set_genesis(AsString(facts_.genesis));
    node.set_data_dir(facts_.data_dir);
    node.set_boot_id(server_.events().boot_id());
    node.set_started_unix_us(ToUnixMicros(facts_.started));
    node.set_admin_address(admin_address_.ToString());
    if (hooks_.log_level) node.set_log_level(std::string(ToString(hooks_.log_level())));
    reply.Ok(std::move(node));
  });
}

void AdminApi::ListPeers(const proto::ListPeersRequest& request,
                         Reply<proto::ListPeersResponse> reply) {
  const absl::StatusOr<std::optional<Direction>> direction = FromProto(request.direction());
  if (!direction.ok()) return reply.Fail(direction.status());
  std::optional<std::pair<NodeId, uint64_t>> after;
  if (!request.page_token().empty()) {
    const absl::StatusOr<std::pair<NodeId, uint64_t>> parsed = ParseToken(request.page_token());
    if (!parsed.ok()) return reply.Fail(parsed.status());
    after = *parsed;
  }
  const uint32_t asked = request.page_size() == 0 ? kMostInPage : request.page_size();
  const int most = static_cast<int>(std::min(asked, kMostInPage));
  const auto fill = [reply, direction = *direction, after, most,
                     filter = request.filter()](const ServerSnapshot& snapshot) {
    proto::ListPeersResponse page;
    auto peer = snapshot.peers.begin();
    if (after) {
      peer = std::upper_bound(peer, snapshot.peers.end(), *after,
                              [](const std::pair<NodeId, uint64_t>& place, const PeerSnapshot& p) {
                                return place < std::make_pair(p.id, p.connection);
                              });
    }
    size_t bytes = 0;
    for (; peer != snapshot.peers.end(); ++peer) {
      if (!Matches(*peer, direction, filter)) continue;
      if (page.peers_size() >= most || bytes >= kMostBytesInPage) {  // so there is a last one
        page.set_next_page_token(MakeToken(page.peers(page.peers_size() - 1)));
        break;
      }
      proto::Peer& out = *page.add_peers();
      ToProto(*peer, snapshot.taken, out);
      bytes += out.ByteSizeLong();
    }
    const bool all = !direction && filter.empty();
    page.set_total(
        all ? snapshot.peers.size()
            : std::count_if(snapshot.peers.begin(), snapshot.peers.end(),
                            [&](const PeerSnapshot& p) { return Matches(p, direction, filter); }));
    reply.Ok(std::move(page));
  };
  // The pages of one list come from one picture, as long as control still has it: a new one for
  // each would hold the network loop for as long as there are peers, twenty times for 10,000.
  if (const auto listed = after ? listed_.lock() : nullptr;
      listed && loop_.Now() < listed->taken + kListTogether) {
    fill(*listed);
    return;
  }
  server_.GetSnapshot([this, mailbox = mailbox_, fill](const Snapshot& snapshot) {
    if (snapshot == nullptr) return;
    mailbox->Post([this, fill, snapshot] {
      listed_ = snapshot;
      fill(*snapshot);
    });
  });
}

void AdminApi::GetPeer(const proto::GetPeerRequest& request, Reply<proto::Peer> reply) {
  WithSnapshot([reply, text = request.id()](const ServerSnapshot& snapshot) {
    const absl::StatusOr<NodeId> id = ResolveId(text, snapshot);
    if (!id.ok()) return reply.Fail(id.status());
    const auto found =
        std::lower_bound(snapshot.peers.begin(), snapshot.peers.end(), *id,
                         [](const PeerSnapshot& p, const NodeId& wanted) { return p.id < wanted; });
    if (found == snapshot.peers.end() || found->id != *id) {
      return reply.Fail(absl::NotFoundError(absl::StrCat("peer ", id->Short(),
                                                         " is not connected; helo history --id ",
                                                         id->Short(), " tells what became of it")));
    }
    proto::Peer peer;
    ToProto(*found, snapshot.taken, peer);
    reply.Ok(std::move(peer));
  });
}

void AdminApi::ListAttempts(const proto::ListAttemptsRequest& request,
                            Reply<proto::ListAttemptsResponse> reply) {
  const absl::StatusOr<std::optional<Direction>> direction = FromProto(request.direction());
  if (!direction.ok()) return reply.Fail(direction.status());
  if (request.id().empty()) return AnswerAttempts(request, std::nullopt, *direction, reply);
  const absl::StatusOr<std::string> prefix = CheckIdPrefix(request.id());
  if (!prefix.ok()) return reply.Fail(prefix.status());
  if (const std::optional<NodeId> whole = NodeId::FromHex(*prefix)) {
    return AnswerAttempts(request, whole, *direction, reply);
  }
  WithSnapshot([this, request, reply, prefix = *prefix,
                direction = *direction](const ServerSnapshot& snapshot) {
    const std::vector<NodeId> known = FindIds(prefix, snapshot);
    if (!known.empty()) {
      const absl::StatusOr<NodeId> id = ChooseId(prefix, known);
      return id.ok() ? AnswerAttempts(request, *id, direction, reply) : reply.Fail(id.status());
    }
    // A stranger that was refused is known to the history alone.
    peers::AttemptHistory::Query everything;
    everything.most = kWholeHistory;
    FindAttempts(everything, [this, request, reply, prefix,
                              direction](const std::vector<peers::Attempt>& attempts) {
      std::set<NodeId> ids;
      for (const peers::Attempt& attempt : attempts) {
        if (attempt.id && attempt.id->ToHex().starts_with(prefix)) ids.insert(*attempt.id);
      }
      const absl::StatusOr<NodeId> id = ChooseId(prefix, {ids.begin(), ids.end()});
      return id.ok() ? AnswerAttempts(request, *id, direction, reply) : reply.Fail(id.status());
    });
  });
}

void AdminApi::AnswerAttempts(const proto::ListAttemptsRequest& request, std::optional<NodeId> id,
                              std::optional<Direction> direction,
                              const Reply<proto::ListAttemptsResponse>& reply) {
  const uint32_t asked = request.page_size() == 0 ? kDefaultAttempts : request.page_size();
  const size_t most = std::min(asked, kMostInPage);
  peers::AttemptHistory::Query query;
  query.most = most + 1;  // one more tells whether there is another page
  query.before = request.before();
  query.id = id;
  query.direction = direction;
  query.text = request.filter();
  FindAttempts(query, [reply, most](const std::vector<peers::Attempt>& attempts) {
    proto::ListAttemptsResponse page;
    for (size_t i = 0; i < attempts.size() && i < most; ++i) {
      ToProto(attempts[i], *page.add_attempts());
    }
    if (attempts.size() > most) page.set_next_before(attempts[most - 1].sequence);
    reply.Ok(std::move(page));
  });
}

}  // namespace helo::rpc
