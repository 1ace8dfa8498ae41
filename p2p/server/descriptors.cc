// Whose each descriptor of the server is, asked of the loops that hold them. A number means nothing
// a moment later, so each socket is named by its cookie as well, read by its owner while it is
// surely the owner's.
#include <algorithm>
#include <memory>

#include "p2p/net/fd_table.h"
#include "p2p/server/connection.h"
#include "p2p/server/control.h"
#include "p2p/server/worker.h"

namespace helo {

ListenerSnapshot SnapshotOf(const net::Acceptor& acceptor) {
  const net::Listener& listener = acceptor.listener();
  ListenerSnapshot s;
  s.asked = listener.asked().ToString();
  s.local = listener.local();
  s.fd = listener.socket().FdDoNotKeep();
  s.dual_stack = listener.dual_stack();
  s.backlog_asked = listener.backlog_asked();
  s.backlog_effective = listener.backlog_effective();
  s.stats = acceptor.stats();
  s.cookie = net::SocketCookie(s.fd);
  return s;
}

namespace server {
namespace {

using Descriptors = std::vector<DescriptorSnapshot>;

void Add(const std::vector<net::OwnFd>& own, const DescriptorQuery& query, Descriptors& out) {
  for (const net::OwnFd& fd : own) {
    if (fd.fd <= query.after || fd.fd > query.last) continue;
    DescriptorSnapshot descriptor;
    descriptor.own = fd;
    out.push_back(std::move(descriptor));
  }
}

// The lowest numbers, in order.
void Trim(const DescriptorQuery& query, Descriptors& all) {
  std::sort(all.begin(), all.end(), [](const DescriptorSnapshot& a, const DescriptorSnapshot& b) {
    return a.own.fd < b.own.fd;
  });
  if (all.size() > query.most) all.resize(query.most);
}

}  // namespace

DescriptorSnapshot Connection::Descriptor() const {
  DescriptorSnapshot descriptor;
  descriptor.own.fd = socket_.FdDoNotKeep();
  descriptor.own.cookie = net::SocketCookie(descriptor.own.fd);
  if (const FdPool* pool = socket_.ticket().pool()) descriptor.own.pool = pool->kind();
  descriptor.connection = id_;
  descriptor.direction = direction_;
  descriptor.peer = attempt_.id;
  switch (phase_) {
    case Phase::kWaiting:
      descriptor.own.what = "waits for its first byte";
      break;
    case Phase::kConnecting:
      descriptor.own.what = "connecting";
      break;
    case Phase::kTls:
      descriptor.own.what = "TLS handshake";
      break;
    case Phase::kSession:
      descriptor.own.what = up() ? "peer" : "hello and verdict";
      break;
    case Phase::kClosing:
    case Phase::kLingering:
    case Phase::kGone:
      descriptor.own.what = "closing";
      break;
  }
  return descriptor;
}

std::vector<DescriptorSnapshot> Worker::TakeDescriptors(const DescriptorQuery& query) const {
  Descriptors all;
  Add(loop_->OwnFds(), query, all);
  for (const auto& acceptor : acceptors_) {
    const ListenerSnapshot listener = SnapshotOf(*acceptor);
    Add({{listener.fd, listener.cookie, "listens for peers", PoolKind::kListener}}, query, all);
  }
  // Of many connections only those that may be among the first are described.
  std::vector<std::pair<int, const Connection*>> held;
  held.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) {
    const int fd = connection->FdForShow();
    if (fd > query.after && fd <= query.last) held.emplace_back(fd, connection.get());
  }
  for (const auto& connection : graveyard_) {
    const int fd = connection->FdForShow();
    if (fd > query.after && fd <= query.last) held.emplace_back(fd, connection.get());
  }
  if (held.size() > query.most) {
    std::nth_element(held.begin(), held.begin() + static_cast<ptrdiff_t>(query.most), held.end());
    held.resize(query.most);
  }
  for (const auto& [fd, connection] : held) all.push_back(connection->Descriptor());
  Trim(query, all);
  return all;
}

void Control::FindDescriptors(const DescriptorQuery& query,
                              std::function<void(std::vector<DescriptorSnapshot>)> done) {
  struct Gathering {
    Descriptors all;
    size_t missing = 0;
    std::function<void(std::vector<DescriptorSnapshot>)> done;
  };
  auto gathering = std::make_shared<Gathering>();
  gathering->done = std::move(done);
  const bool posted = Post([this, query, gathering] {
    Add(loop_->OwnFds(), query, gathering->all);
    if (resolver_) Add(resolver_->OwnFds(), query, gathering->all);
    gathering->missing = workers_.size();
    const auto one_came = [query, gathering] {
      if (--gathering->missing > 0) return;
      Trim(query, gathering->all);
      gathering->done(std::move(gathering->all));
    };
    for (Worker* worker : workers_) {
      const bool asked = worker->Post([this, worker, query, gathering, one_came] {
        auto part = std::make_shared<Descriptors>(worker->TakeDescriptors(query));
        Post([gathering, part, one_came] {
          for (DescriptorSnapshot& descriptor : *part) {
            gathering->all.push_back(std::move(descriptor));
          }
          one_came();
        });
      });
      if (!asked) one_came();
    }
  });
  if (!posted) gathering->done({});
}

}  // namespace server
}  // namespace helo
