// Serves GET /metrics to callers of this machine: one request a connection, one answer, closed. A
// listener of ours with a loop and a thread of its own, so that no scraper touches a network loop,
// and with a few descriptors of the admin pool that are set aside at the start, so that no number
// of callers can keep the operator out. Thread: Start and Stop from one.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/statusor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/base/log.h"
#include "p2p/base/mutex.h"
#include "p2p/net/event_loop.h"
#include "p2p/net/listener.h"
#include "p2p/net/own_fd.h"

namespace helo::node {

// What one asks of the admin pool: the listener and this many callers at once.
inline constexpr int kMetricsCallers = 4;

class MetricsServer final : private net::AcceptorDelegate {
 public:
  // Makes the text, on this server's loop; empty when there is nothing to tell (any more).
  using Render = std::function<std::string()>;
  using Answer = std::function<void(Render)>;  // to be called on any thread, once
  // Must not block; called on this server's loop.
  using Collect = std::function<void(Answer)>;
  struct Times {
    Duration request = std::chrono::seconds(5);  // from accept to the end of the answer
    Duration linger = std::chrono::seconds(1);   // until the caller has closed too
  };

  // InvalidArgument for an address that is not a loopback one; else as net::Listener::Open.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const Endpoint& address,
                                                              Collect collect, FdPool& admin,
                                                              FdPool& files, const Clock& clock,
                                                              LogSink& log, Times times);
  ~MetricsServer() override;                              // Stop() if not done
  void Stop();                                            // at once
  const Endpoint& address() const { return address_; }    // with the port that the kernel chose
  int callers_at_most() const { return share_.limit(); }  // [any]
  int callers() const { return share_.used(); }           // [any]
  std::vector<net::OwnFd> OwnFds() const;                 // [any]

 private:
  class Caller;
  MetricsServer(Collect collect, const Clock& clock, int callers, Times times);
  // AcceptorDelegate
  void OnAccepted(net::Socket socket, const Endpoint& remote, const Endpoint& local) override;
  bool MakeRoom() override;
  void Ask(uint64_t caller);

  const Collect collect_;
  const Clock& clock_;
  const Times times_;
  std::vector<FdTicket> reserved_;  // of the admin pool; callers live under `share_`
  FdPool share_;
  Endpoint address_;
  std::shared_ptr<net::EventLoop> loop_;
  std::unique_ptr<net::Acceptor> acceptor_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Caller>> callers_;
  std::vector<net::OwnFd> standing_;  // the listener's and the loop's; not changed once it runs
  mutable Mutex shown_mutex_;
  absl::flat_hash_map<uint64_t, net::OwnFd> shown_ ABSL_GUARDED_BY(shown_mutex_);  // of callers
  uint64_t next_caller_ = 1;  // ascending, so the least is the oldest
  std::thread thread_;
};

}  // namespace helo::node
