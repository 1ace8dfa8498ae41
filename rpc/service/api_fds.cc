// The process's descriptors and sockets: read from the kernel here, on the admin loop, and labelled
// by what their owners say. Between the two reads a number may change hands; so a label sticks only
// to the same socket (its cookie), never to a number alone.
#include <absl/container/flat_hash_map.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <utility>

#include "p2p/base/text.h"
#include "p2p/net/fd_table.h"
#include "p2p/net/net_counters.h"
#include "p2p/net/socket_stats.h"
#include "rpc/service/api.h"

namespace helo::rpc {
namespace {

constexpr uint32_t kMostInPage = 500;
constexpr int kTries = 3;  // at a page in which numbers change hands

absl::StatusOr<int> ParseAfter(const std::string& token) {
  if (token.empty()) return -1;
  int after = 0;
  if (!absl::SimpleAtoi(token, &after) || after < 0) {
    return absl::InvalidArgumentError(
        "page_token is none that this node gave: begin again without one");
  }
  return after;
}

size_t PageSize(uint32_t asked) { return std::min(asked == 0 ? kMostInPage : asked, kMostInPage); }

DescriptorSnapshot Plain(net::OwnFd own) {
  DescriptorSnapshot descriptor;
  descriptor.own = std::move(own);
  return descriptor;
}

bool SameSocket(const net::FdEntry& entry, const DescriptorSnapshot& owner) {
  const bool socket = entry.kind == net::FdKind::kSocket;
  return owner.own.cookie == (socket ? entry.cookie : 0);
}

// What it is by where it is: files and streams that no loop holds.
std::string FileRole(const net::FdEntry& entry,
                     const std::vector<std::pair<std::string, std::string>>& files) {
  for (const auto& [path, role] : files) {
    struct stat info {};
    struct stat open {};
    if (entry.kind == net::FdKind::kFile && ::stat(path.c_str(), &info) == 0 &&
        info.st_ino == entry.inode && ::fstat(entry.fd, &open) == 0 && open.st_dev == info.st_dev &&
        open.st_ino == info.st_ino) {
      return role;
    }
  }
  static constexpr std::array<const char*, 3> kStreams{"standard input", "standard output",
                                                       "standard error"};
  const auto number = static_cast<size_t>(entry.fd);
  return number < kStreams.size() ? kStreams[number] : "";
}

uint32_t HalfOpenOf(const ListenerSnapshot& listener,
                    const absl::flat_hash_map<Endpoint, uint32_t>& half_open) {
  const IpAddress& ip = listener.local.ip;
  uint32_t sum = 0;
  for (const auto& [at, count] : half_open) {
    const bool family = listener.dual_stack || at.ip.is_v4() == ip.is_v4();
    if (at == listener.local || (ip.IsUnspecified() && family)) sum += count;
  }
  return sum;
}

// With SYN cookies the accept queue's limit is the only one; without them the kernel keeps a
// quarter of tcp_max_syn_backlog for addresses that it knows (man 7 tcp).
std::optional<uint32_t> SynLimit(int backlog, const net::NetCounters& counters) {
  if (!counters.syncookies || !counters.max_syn_backlog) return std::nullopt;
  const auto limit = static_cast<uint64_t>(std::max(backlog, 0));
  if (*counters.syncookies > 0) return static_cast<uint32_t>(limit);
  return static_cast<uint32_t>(std::min(limit, *counters.max_syn_backlog * 3 / 4));
}

void AddListener(const ListenerSnapshot& listener, const char* what,
                 const net::NetCounters& counters, proto::ListSocketsResponse& page) {
  const std::optional<net::ListenQueue> queue = net::ReadListenQueue(listener.fd, listener.cookie);
  if (!queue) return;  // closed meanwhile: the node stops
  proto::ListenerSocket& out = *page.add_listeners();
  ToProto(listener, *out.mutable_listener());
  out.set_what(what);
  out.set_accept_queue(queue->length);
  out.set_accept_limit(queue->limit);
  if (queue->drops) out.set_drops(*queue->drops);
  const auto half_open = net::CountHalfOpen(listener.local.port);
  if (half_open.ok()) out.set_syn_queue(HalfOpenOf(listener, *half_open));
  if (const std::optional<uint32_t> limit = SynLimit(listener.backlog_effective, counters)) {
    out.set_syn_limit(*limit);
  }
}

}  // namespace

// One reading of a page, on its way through the loops that own what it lists.
struct AdminApi::FdPage {
  int after = -1;
  size_t most = 0;
  int tries = kTries;
  std::vector<net::FdEntry> entries;
  int last = -1;  // number that was looked at
  bool more = false;
  size_t total = 0;
};

void AdminApi::FindDescriptors(const DescriptorQuery& query,
                               std::function<void(std::vector<DescriptorSnapshot>)> then) {
  server_.FindDescriptors(query, [this, query, mailbox = mailbox_,
                                  then = std::move(then)](std::vector<DescriptorSnapshot> found) {
    auto shared = std::make_shared<std::vector<DescriptorSnapshot>>(std::move(found));
    mailbox->Post([this, query, then, shared] {
      // The admin loop's own, without a detour.
      std::vector<net::OwnFd> own = loop_.OwnFds();
      if (fds_.own) {
        for (net::OwnFd& fd : fds_.own()) own.push_back(std::move(fd));
      }
      for (net::OwnFd& fd : own) {
        if (fd.fd > query.after && fd.fd <= query.last) shared->push_back(Plain(std::move(fd)));
      }
      then(std::move(*shared));
    });
  });
}

void AdminApi::ListFds(const proto::ListFdsRequest& request, Reply<proto::ListFdsResponse> reply) {
  const absl::StatusOr<int> after = ParseAfter(request.page_token());
  if (!after.ok()) return reply.Fail(after.status());
  auto page = std::make_shared<FdPage>();
  page->after = *after;
  page->most = PageSize(request.page_size());
  ReadFds(page, reply);
}

void AdminApi::ReadFds(const std::shared_ptr<FdPage>& page,
                       const Reply<proto::ListFdsResponse>& reply) {
  const absl::StatusOr<net::FdNumbers> read = net::ListFdsAfter(page->after, page->most);
  if (!read.ok()) return reply.Fail(read.status());
  page->entries.clear();
  page->last = read->numbers.empty() ? page->after : read->numbers.back();
  page->total = read->open;
  page->more = read->more;
  for (const int number : read->numbers) {
    if (std::optional<net::FdEntry> entry = net::ReadFd(number)) {
      page->entries.push_back(*std::move(entry));
    }
  }
  if (page->entries.empty()) return AnswerFds(*page, {}, reply);
  DescriptorQuery query;
  query.after = page->after;
  query.last = page->last;
  query.most = SIZE_MAX;
  FindDescriptors(query, [this, page, reply](const std::vector<DescriptorSnapshot>& owners) {
    // Whoever is unlabelled may have changed hands between the two reads: then both are done again.
    const bool all_known =
        std::all_of(page->entries.begin(), page->entries.end(), [&](const net::FdEntry& entry) {
          return entry.kind != net::FdKind::kSocket ||
                 std::any_of(owners.begin(), owners.end(), [&](const DescriptorSnapshot& owner) {
                   return owner.own.fd == entry.fd && SameSocket(entry, owner);
                 });
        });
    if (!all_known && --page->tries > 0) return ReadFds(page, reply);
    AnswerFds(*page, owners, reply);
  });
}

void AdminApi::AnswerFds(const FdPage& page, const std::vector<DescriptorSnapshot>& owners,
                         const Reply<proto::ListFdsResponse>& reply) {
  absl::flat_hash_map<int, std::vector<const DescriptorSnapshot*>> by_number;
  for (const DescriptorSnapshot& owner : owners) by_number[owner.own.fd].push_back(&owner);
  proto::ListFdsResponse response;
  for (const net::FdEntry& entry : page.entries) {
    const DescriptorSnapshot* owner = nullptr;
    for (const DescriptorSnapshot* candidate : by_number[entry.fd]) {
      if (SameSocket(entry, *candidate)) owner = candidate;
    }
    const bool socket = entry.kind == net::FdKind::kSocket;
    // Closed since it was read.
    if (owner == nullptr && socket && net::SocketCookie(entry.fd) != entry.cookie) continue;
    proto::Fd& out = *response.add_fds();
    ToProto(entry, out);
    if (owner != nullptr) {
      ToProto(*owner, out);
    } else if (std::string role = FileRole(entry, fds_.files); !role.empty()) {
      out.set_ours(true);
      out.set_what(std::move(role));
    }
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) response.set_limit(limit.rlim_cur);
  response.set_total(page.total);
  if (page.more) response.set_next_page_token(absl::StrCat(page.last));
  reply.Ok(std::move(response));
}

void AdminApi::ListSockets(const proto::ListSocketsRequest& request,
                           Reply<proto::ListSocketsResponse> reply) {
  const absl::StatusOr<int> after = ParseAfter(request.page_token());
  if (!after.ok()) return reply.Fail(after.status());
  const size_t most = PageSize(request.page_size());
  auto page = std::make_shared<proto::ListSocketsResponse>();
  const auto connections = [this, page, reply, most, from = *after] {
    DescriptorQuery query;
    query.after = from;
    query.most = most + 1;
    FindDescriptors(query, [page, reply, most](std::vector<DescriptorSnapshot> found) {
      AddConnections(std::move(found), most, *page);
      reply.Ok(std::move(*page));
    });
  };
  if (*after >= 0) return connections();
  WithSnapshot([this, page, connections](const ServerSnapshot& snapshot) {
    net::NetCounters counters;
    if (absl::StatusOr<net::NetCounters> read = net::ReadNetCounters(); read.ok()) {
      counters = *read;
    } else {
      page->mutable_network()->set_error(std::string(read.status().message()));
    }
    ToProto(counters, *page->mutable_network());
    for (const ListenerSnapshot& listener : snapshot.listeners) {
      AddListener(listener, "peers", counters, *page);
    }
    const std::optional<ListenerSnapshot> admin =
        fds_.listener ? fds_.listener() : std::optional<ListenerSnapshot>();
    if (admin) AddListener(*admin, "admin", counters, *page);
    connections();
  });
}

// The page ends by number of what was looked at, so it may hold fewer connections than asked for.
void AdminApi::AddConnections(std::vector<DescriptorSnapshot> found, size_t most,
                              proto::ListSocketsResponse& page) {
  std::sort(
      found.begin(), found.end(),
      [](const DescriptorSnapshot& a, const DescriptorSnapshot& b) { return a.own.fd < b.own.fd; });
  if (found.size() > most) {
    found.resize(most);
    page.set_next_page_token(absl::StrCat(found.back().own.fd));
  }
  for (const DescriptorSnapshot& owner : found) {
    const std::optional<net::ConnectionStats> stats =
        net::ReadConnectionStats(owner.own.fd, owner.own.cookie);
    if (!stats) continue;  // a listener, no TCP socket, or closed meanwhile
    const std::optional<net::FdEntry> entry = net::ReadFd(owner.own.fd);
    if (!entry || entry->cookie != owner.own.cookie) continue;
    proto::ConnectionSocket& out = *page.add_connections();
    ToProto(*entry, owner, *stats, out);
  }
}

}  // namespace helo::rpc
