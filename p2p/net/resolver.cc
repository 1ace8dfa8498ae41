// Queries and their deadlines; the talking to name servers is in ares_channel.h. Results are
// delivered from the loop, so that no callback comes from within Resolve or from within c-ares.
// Thread: the loop's.
#include "p2p/net/resolver.h"

#include <absl/container/flat_hash_map.h>
#include <absl/strings/str_cat.h>
#include <ares.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <list>
#include <optional>
#include <utility>

#include "p2p/base/text.h"
#include "p2p/net/ares_channel.h"

namespace helo::net {

namespace {

// Whether DNS may be asked for it. "10", "1.2.3" and "999.0.0.1" look like IPv4 addresses and are
// none.
bool CanBeHostName(std::string_view host) {
  if (host.size() > 253) return false;
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);  // the root
  const size_t dot = host.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? host : host.substr(dot + 1);
  return !last.empty() &&
         !std::all_of(last.begin(), last.end(), [](char c) { return c >= '0' && c <= '9'; });
}

class AresResolver : public Resolver, public AresOwner {
 public:
  AresResolver(EventLoop& loop, FdPool& files, AresOptions options)
      : loop_(loop), files_(files), options_(std::move(options)) {}
  ~AresResolver() override {
    // While the rest stands: from here their unfinished calls come back to OnResult.
    channels_.clear();
  }

  absl::Status Renew();  // a new current channel
  uint64_t Resolve(const std::string& host, Callback done) override;
  void Cancel(uint64_t query) override;
  std::vector<OwnFd> OwnFds() const override {
    std::vector<OwnFd> fds;
    for (const auto& channel : channels_) channel->AddOwnFds(fds);
    return fds;
  }

 private:
  struct Query {
    std::string host;
    Callback done;
    AresChannel* channel = nullptr;  // while c-ares works on it
    std::unique_ptr<Timer> deadline;
  };
  using Result = absl::StatusOr<std::vector<IpAddress>>;

  void OnResult(uint64_t query, int status, const ares_addrinfo* found) override;
  void OnIdle(AresChannel* channel) override;
  void Decide(uint64_t id, Result result);
  void Deliver(uint64_t id, Result result);
  void OnDeadline(uint64_t id);
  absl::Status Failure(const Query& query, int status) const;

  EventLoop& loop_;
  FdPool& files_;
  const AresOptions options_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Query>> queries_;
  uint64_t next_id_ = 1;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::list<std::unique_ptr<AresChannel>> channels_;  // the last is the current one
};

absl::Status AresResolver::Renew() {
  auto channel = std::make_unique<AresChannel>(*this, loop_, files_, StampOf(options_.resolv_conf));
  absl::Status status = channel->Init(options_);
  if (!status.ok()) return status;
  AresChannel* const before = channels_.empty() ? nullptr : channels_.back().get();
  channels_.push_back(std::move(channel));
  if (before != nullptr && before->idle()) OnIdle(before);
  return status;
}

void AresResolver::OnIdle(AresChannel* channel) {
  if (channel == channels_.back().get()) return;
  channels_.remove_if([channel](const auto& it) { return it.get() == channel; });
}

uint64_t AresResolver::Resolve(const std::string& host, Callback done) {
  const uint64_t id = next_id_++;
  Query& query = *queries_.emplace(id, std::make_unique<Query>()).first->second;
  query.host = host;
  query.done = std::move(done);
  if (const std::optional<IpAddress> literal = IpAddress::Parse(host)) {
    Decide(id, std::vector<IpAddress>{*literal});
    return id;
  }
  if (!CanBeHostName(host)) {
    Decide(id, absl::NotFoundError(absl::StrCat("\"", QuoteRemote(host.substr(0, 253)),
                                                "\" is neither a host name nor an IP address")));
    return id;
  }
  if (channels_.back()->stamp() != StampOf(options_.resolv_conf)) {
    // Failing that, the settings of before are better than none; the next query tries again.
    (void)Renew();
  }
  query.deadline = std::make_unique<Timer>(loop_, [this, id] { OnDeadline(id); });
  query.deadline->SetAt(loop_.Now() + options_.timeout);
  query.channel = channels_.back().get();
  query.channel->Start(id, host);
  return id;
}

void AresResolver::Cancel(uint64_t query) {
  const auto it = queries_.find(query);
  if (it == queries_.end()) return;
  AresChannel* const channel = it->second->channel;
  queries_.erase(it);
  if (channel == nullptr) return;
  channel->Unwant();
  channel->Settle();
}

void AresResolver::OnDeadline(uint64_t id) {
  const auto it = queries_.find(id);
  if (it == queries_.end()) return;
  Query& query = *it->second;
  absl::Status failure = Failure(query, ARES_ETIMEOUT);
  AresChannel* const channel = std::exchange(query.channel, nullptr);
  Decide(id, std::move(failure));
  if (channel == nullptr) return;
  channel->Unwant();
  channel->Settle();
}

void AresResolver::OnResult(uint64_t id, int status, const ares_addrinfo* found) {
  const auto it = queries_.find(id);
  if (it == queries_.end() || it->second->channel == nullptr) return;  // not wanted any more
  Query& query = *it->second;
  std::vector<IpAddress> addresses;
  for (const ares_addrinfo_node* node = found != nullptr ? found->nodes : nullptr; node != nullptr;
       node = node->ai_next) {
    sockaddr_storage address{};
    if (node->ai_addr == nullptr || node->ai_addrlen > sizeof(address)) continue;
    std::memcpy(&address, node->ai_addr, node->ai_addrlen);
    const std::optional<Endpoint> endpoint = Endpoint::FromSockaddr(address);
    if (!endpoint) continue;
    if (std::find(addresses.begin(), addresses.end(), endpoint->ip) == addresses.end()) {
      addresses.push_back(endpoint->ip);
    }
  }
  Result result = std::move(addresses);
  if (status != ARES_SUCCESS) {
    result = Failure(query, status);
  } else if (result->empty()) {
    result = Failure(query, ARES_ENODATA);
  }
  query.channel->Unwant();
  query.channel = nullptr;
  Decide(id, std::move(result));
}

absl::Status AresResolver::Failure(const Query& query, int status) const {
  const std::string host = absl::StrCat("\"", QuoteRemote(query.host), "\"");
  const AresChannel& channel = query.channel != nullptr ? *query.channel : *channels_.back();
  if (status != ARES_ENOTFOUND && status != ARES_ENODATA && channel.socket_error() != 0) {
    return absl::ResourceExhaustedError(
        channel.socket_error() == AresChannel::kNoTicket
            ? absl::StrCat("no descriptor is left to ask for ", host,
                           ": the pool \"files\" is at its limit of ", files_.limit())
            : ErrnoSentence(channel.socket_error(),
                            absl::StrCat("making a socket to ask for ", host)));
  }
  const std::string asked = channel.servers().empty() ? "none is set" : channel.servers();
  switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
      return absl::NotFoundError(absl::StrCat("no address is known for the host name ", host,
                                              " (name servers: ", asked,
                                              "); check its spelling: getent hosts NAME"));
    case ARES_EBADNAME:
      return absl::NotFoundError(absl::StrCat(host, " is not a host name that DNS can hold"));
    case ARES_ETIMEOUT:
      return absl::DeadlineExceededError(absl::StrCat("no name server answered in time for ", host,
                                                      " (name servers: ", asked, "); see ",
                                                      options_.resolv_conf));
    case ARES_ENOMEM:
      return absl::ResourceExhaustedError(absl::StrCat("no memory to look up ", host));
    default:
      return absl::UnavailableError(
          absl::StrCat("the look-up of ", host, " failed: ", ares_strerror(status),
                       " (name servers: ", asked, "); see ", options_.resolv_conf));
  }
}

// Delivered from the loop, so that no callback comes from within Resolve or from within c-ares.
void AresResolver::Decide(uint64_t id, Result result) {
  queries_.find(id)->second->deadline.reset();
  loop_.Post([this, alive = std::weak_ptr<bool>(alive_), id, result = std::move(result)]() mutable {
    if (!alive.expired()) Deliver(id, std::move(result));
  });
}

void AresResolver::Deliver(uint64_t id, Result result) {
  const auto it = queries_.find(id);
  if (it == queries_.end()) return;  // cancelled
  const Callback done = std::move(it->second->done);
  queries_.erase(it);
  done(std::move(result));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Resolver>> MakeAresResolver(EventLoop& loop, FdPool& files,
                                                           Duration timeout) {
  AresOptions options;
  options.timeout = timeout;
  return MakeAresResolver(loop, files, options);
}

absl::StatusOr<std::unique_ptr<Resolver>> MakeAresResolver(EventLoop& loop, FdPool& files,
                                                           const AresOptions& options) {
  auto resolver = std::make_unique<AresResolver>(loop, files, options);
  absl::Status status = resolver->Renew();
  if (!status.ok()) return status;
  return resolver;
}

}  // namespace helo::net
