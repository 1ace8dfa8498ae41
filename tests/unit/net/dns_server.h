// A name server of a few names, on loopback, over UDP and TCP, for the tests of the resolver. Lives
// on an event loop; made, changed and destroyed on its thread.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "p2p/net/event_loop.h"
#include "tests/unit/net/net_support.h"

namespace helo::net {

class DnsServer {
 public:
  static constexpr int kNoSuchName = 3, kServerFailure = 2, kRefused = 5;

  // Binds `ip`:`port` (0: the kernel chooses); the same port for UDP and TCP.
  DnsServer(EventLoop& loop, const std::string& ip, uint16_t port = 0);
  ~DnsServer();
  uint16_t port() const { return port_; }

  std::map<std::string, std::vector<IpAddress>>
      names;                            // answered; one without an address of the type: no data
  std::map<std::string, int> failures;  // answered with this code
  std::set<std::string> silent;         // not answered
  bool answer_nothing = false;
  bool answer_garbage = false;
  bool ignore_v6 = false;     // queries for IPv6 addresses are not answered
  bool truncate_udp = false;  // "ask again over TCP"
  int lose = 0;               // so many queries are lost first
  int udp_queries = 0, tcp_queries = 0;

 private:
  struct Stream;
  bool OnUdp();
  bool OnListener();
  Bytes Answer(ByteView query, bool udp);

  EventLoop& loop_;
  uint16_t port_ = 0;
  UniqueFd udp_, listener_;
  FunctionWatcher udp_watcher_, listener_watcher_;
  Registration udp_registration_, listener_registration_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace helo::net
