// Name resolution behind an interface: c-ares in the node, a table in tests.
#pragma once

#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/net/event_loop.h"

namespace helo::net {

class Resolver {
 public:
  using Callback = std::function<void(absl::StatusOr<std::vector<IpAddress>>)>;
  virtual ~Resolver() = default;  // pending callbacks are not called any more
  // Thread: the owner loop's. The callback comes on the same thread, never from within Resolve,
  // exactly once unless cancelled; on success the list is not empty, without duplicates, in the
  // order to try (RFC 6724). A literal is answered as itself. Errors are sentences that name the
  // host: NotFound, DeadlineExceeded, Unavailable, ResourceExhausted.
  virtual uint64_t Resolve(const std::string& host, Callback done) = 0;
  virtual void Cancel(uint64_t query) = 0;
  // The sockets that it holds now. Thread: the owner loop's.
  virtual std::vector<OwnFd> OwnFds() const { return {}; }
};

// c-ares on `loop`; its sockets take tickets from `files`. /etc/hosts and resolv.conf are honoured,
// re-read when they change; at most `timeout` a query in all, so that a dead name server holds
// nothing up.
absl::StatusOr<std::unique_ptr<Resolver>> MakeAresResolver(EventLoop& loop, FdPool& files,
                                                           Duration timeout);

struct AresOptions {
  Duration timeout = std::chrono::seconds(5);
  std::string resolv_conf = "/etc/resolv.conf";
  uint16_t port = 53;  // of every name server in it
};
absl::StatusOr<std::unique_ptr<Resolver>> MakeAresResolver(EventLoop& loop, FdPool& files,
                                                           const AresOptions& options);

}  // namespace helo::net
