#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "p2p/base/text.h"
#include "rpc/service/api.h"
#include "rpc/service/resolve_id.h"

namespace helo::rpc {
namespace {

constexpr Duration kMostWait = std::chrono::minutes(10);
constexpr Duration kDefaultAway = std::chrono::minutes(10);
constexpr Duration kMostAway = std::chrono::hours(24) * 366;
constexpr size_t kMostText = 256;
constexpr size_t kMostWaits = 1024;

absl::Status CheckText(const std::string& text) {
  if (text.size() > kMostText) {
    return absl::InvalidArgumentError(absl::StrCat(
        "text is ", text.size(), " characters long: at most ", kMostText, " are sent to the peer"));
  }
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; })) {
    return absl::InvalidArgumentError(
        "text holds a character that is not visible ASCII: the peer would refuse it");
  }
  return absl::OkStatus();
}

bool SamePlace(const PeerAddress& a, const PeerAddress& b) {
  return a.host == b.host && a.port == b.port;
}

// Which target is meant by an address as it was added, by an address whose id was left out, or by
// an id.
absl::StatusOr<PeerAddress> FindTarget(const std::string& text, const ServerSnapshot& snapshot) {
  std::vector<const peers::Target*> found;
  if (text.find(':') == std::string::npos) {
    const absl::StatusOr<NodeId> id = ResolveId(text, snapshot);
    if (!id.ok()) return id.status();
    for (const peers::Target& target : snapshot.targets) {
      if (target.known_id == *id || target.address.id == *id) found.push_back(&target);
    }
  } else {
    const absl::StatusOr<PeerAddress> address = PeerAddress::Parse(text);
    if (!address.ok()) return address.status();
    for (const peers::Target& target : snapshot.targets) {
      if (target.address == *address) return *address;
      if (!address->id && SamePlace(target.address, *address)) found.push_back(&target);
    }
    // An address that is not there (yet, in a snapshot of up to 50 ms ago): the server itself knows
    // best.
    if (found.empty()) return *address;
  }
  if (found.empty()) {
    return absl::NotFoundError(absl::StrCat("this node does not dial ", QuoteRemote(text),
                                            "; helo info shows whom it dials"));
  }
  if (found.size() == 1) return found.front()->address;
  std::string names;
  for (const peers::Target* target : found) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", target->address.ToString());
  }
  return absl::FailedPreconditionError(absl::StrCat(
      QuoteRemote(text), " is ambiguous: this node dials ", names, "; name one of these"));
}

}  // namespace

void AdminApi::LogChange(const Caller& caller, std::string_view what, LogFields fields) {
  fields.emplace_back("by_uid", caller.UidText());
  fields.emplace_back("with", caller.by_token ? "token" : "uid");
  fields.emplace_back("from", caller.remote.ToString());
  log_.Info("rpc", what, fields);
}

void AdminApi::AddPeer(const Caller& caller, const proto::AddPeerRequest& request,
                       Reply<proto::AddPeerResponse> reply) {
  const absl::StatusOr<PeerAddress> address = PeerAddress::Parse(request.address());
  if (!address.ok()) return reply.Fail(address.status());
  if (address->id == server_.id()) {
    return reply.Fail(
        absl::InvalidArgumentError("that is this node's own id: a node does not dial itself"));
  }
  const absl::StatusOr<Duration> wait =
      SecondsToDuration(request.wait_seconds(), kMostWait, "wait_seconds");
  if (!wait.ok()) return reply.Fail(wait.status());
  LogChange(caller, "asked to add a peer",
            {{"address", address->ToString()}, {"save", request.save() ? "yes" : "no"}});

  if (*wait == Duration::zero()) return BeginAdd(*address, request.save(), reply);
  WithSnapshot([this, address = *address, save = request.save(), wait = *wait,
                reply](const ServerSnapshot& snapshot) {
    const bool existed = std::any_of(snapshot.targets.begin(), snapshot.targets.end(),
                                     [&](const peers::Target& t) { return t.address == address; });
    BeginAddAndWait(address, save, wait, existed, reply);
  });
}

void AdminApi::BeginAdd(const PeerAddress& address, bool save,
                        const Reply<proto::AddPeerResponse>& reply) {
  server_.AddPeer(address, save, /*wait=*/false,
                  [mailbox = mailbox_, reply](const absl::StatusOr<AddResult>& result) {
                    mailbox->Post([reply, result] {
                      if (!result.ok()) return reply.Fail(result.status());
                      proto::AddPeerResponse response;
                      response.set_existed(result->existed);
                      if (result->id) response.set_id(result->id->ToHex());
                      reply.Ok(std::move(response));
                    });
                  });
}

// What comes first answers: the end of the first try, or the end of the wait.
void AdminApi::BeginAddAndWait(const PeerAddress& address, bool save, Duration wait, bool existed,
                               const Reply<proto::AddPeerResponse>& reply) {
  if (waits_.size() >= kMostWaits) {  // a wait that its caller left stands until its time is up
    return reply.Fail(absl::ResourceExhaustedError(
        absl::StrCat(kMostWaits,
                     " calls wait for a peer already; add it without wait_seconds, and "
                     "see helo history for how the try ends")));
  }
  const uint64_t number = next_wait_++;
  auto expired = [this, number, existed] {
    const auto found = waits_.find(number);
    const Reply<proto::AddPeerResponse> late = found->second.reply;
    proto::AddPeerResponse undecided;
    undecided.set_existed(existed);
    waits_.erase(found);  // and this function with it
    late.Ok(std::move(undecided));
  };
  auto timer = std::make_unique<net::Timer>(loop_, std::move(expired));
  timer->SetAt(loop_.Now() + wait);
  waits_.emplace(number, Wait{std::move(timer), reply});
  server_.AddPeer(
      address, save, /*wait=*/true,
      [this, mailbox = mailbox_, number, reply](const absl::StatusOr<AddResult>& result) {
        mailbox->Post([this, number, reply, result] {
          waits_.erase(number);
          if (!result.ok()) return reply.Fail(result.status());
          proto::AddPeerResponse response;
          response.set_existed(result->existed);
          response.set_decided(true);
          response.set_up(result->up);
          if (result->id) response.set_id(result->id->ToHex());
          if (!result->up) ToProto(result->close, *response.mutable_close());
          reply.Ok(std::move(response));
        });
      });
}

void AdminApi::RemovePeer(const Caller& caller, const proto::RemovePeerRequest& request,
                          Reply<proto::RemovePeerResponse> reply) {
  WithSnapshot([this, caller, request, reply](const ServerSnapshot& snapshot) {
    const absl::StatusOr<PeerAddress> address = FindTarget(request.address(), snapshot);
    if (!address.ok()) return reply.Fail(address.status());
    server_.RemovePeer(*address, request.disconnect(),
                       [this, mailbox = mailbox_, caller, address = *address,
                        disconnect = request.disconnect(), reply](const absl::Status& status) {
                         mailbox->Post([this, caller, address, disconnect, reply, status] {
                           // Removed it is even if that could not be written down.
                           const bool removed = !absl::IsNotFound(status) &&
                                                !absl::IsFailedPrecondition(status) &&
                                                !absl::IsUnavailable(status);
                           if (removed) {
                             LogChange(caller, "peer removed",
                                       {{"address", address.ToString()},
                                        {"disconnect", disconnect ? "yes" : "no"},
                                        {"saved", status.ok() ? "yes" : "no"}});
                           }
                           if (!status.ok()) return reply.Fail(status);
                           reply.Ok({});
                         });
                       });
  });
}

void AdminApi::DropPeer(const Caller& caller, const proto::DropPeerRequest& request,
                        Reply<proto::DropPeerResponse> reply) {
  if (absl::Status status = CheckText(request.text()); !status.ok()) return reply.Fail(status);
  absl::StatusOr<Duration> away = kDefaultAway;
  if (request.has_away_seconds()) {
    away = SecondsToDuration(request.away_seconds(), kMostAway, "away_seconds");
    if (!away.ok()) return reply.Fail(away.status());
  }
  WithSnapshot([this, caller, request, away = *away, reply](const ServerSnapshot& snapshot) {
    const absl::StatusOr<NodeId> id = ResolveId(request.id(), snapshot);
    if (!id.ok()) return reply.Fail(id.status());
    if (*id == server_.id()) {
      return reply.Fail(
          absl::InvalidArgumentError("that is this node's own id; helo shutdown stops a node"));
    }
    server_.DropPeer(
        *id, request.text(), away,
        [this, mailbox = mailbox_, caller, id = *id, text = request.text(), away,
         reply](const absl::StatusOr<DropResult>& result) {
          mailbox->Post([this, caller, id, text, away, reply, result] {
            if (!result.ok()) return reply.Fail(result.status());
            LogChange(caller, "peer dropped",
                      {{"id", id.ToHex()},
                       {"text", text},
                       {"away", HumanDuration(away.count())},
                       {"closed", std::to_string(result->connections_closed)},
                       {"paused", std::to_string(result->targets_paused)}});
            proto::DropPeerResponse response;
            response.set_id(id.ToHex());
            response.set_connections_closed(static_cast<uint32_t>(result->connections_closed));
            response.set_targets_paused(static_cast<uint32_t>(result->targets_paused));
            response.set_away_seconds(std::chrono::duration<double>(away).count());
            reply.Ok(std::move(response));
          });
        });
  });
}

void AdminApi::SetLogLevel(const Caller& caller, const proto::SetLogLevelRequest& request,
                           Reply<proto::SetLogLevelResponse> reply) {
  const absl::StatusOr<LogLevel> level = ParseLogLevel(request.level());
  if (!level.ok()) return reply.Fail(level.status());
  if (!hooks_.log_level || !hooks_.set_log_level) {
    return reply.Fail(absl::UnimplementedError("this process has no log level to set"));
  }
  const std::string previous(ToString(hooks_.log_level()));
  LogFields fields = {{"from_level", previous}, {"to_level", request.level()}};
  // Said while the louder of the two levels holds, or a change to "error" and back would not show.
  const bool louder = *level < hooks_.log_level();
  if (louder) hooks_.set_log_level(*level);
  LogChange(caller, "log level changed", std::move(fields));
  if (!louder) hooks_.set_log_level(*level);
  proto::SetLogLevelResponse response;
  response.set_previous(previous);
  reply.Ok(std::move(response));
}

void AdminApi::Shutdown(const Caller& caller, const proto::ShutdownRequest& /*request*/,
                        Reply<proto::ShutdownResponse> reply) {
  if (!hooks_.shutdown)
    return reply.Fail(absl::UnimplementedError("this process cannot be stopped by a call"));
  LogChange(caller, "asked to shut down", {});
  reply.Ok({});
  hooks_.shutdown();
}

void AdminApi::Stop() {
  const std::map<uint64_t, Wait> waits = std::move(waits_);
  waits_.clear();
  for (const auto& [number, wait] : waits) {
    wait.reply.Fail(absl::UnavailableError("the node is shutting down"));
  }
}

}  // namespace helo::rpc
