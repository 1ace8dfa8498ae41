// Who is connected, as helo.peers/1 tells a plugin: filled in by whoever owns the server.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "p2p/base/node_id.h"

namespace helo::plugins {

struct Peer {
  NodeId id;
  bool inbound = false;
  std::string address;
  std::string agent;  // the remote's bytes
  uint64_t age_ms = 0;
  uint64_t rtt_us = 0;  // 0: none yet
};
using Peers = std::shared_ptr<const std::vector<Peer>>;

// Asks for a list that may be 50 ms old. Must not block; `done` may come on any thread, once, late
// or never (nullptr: there is none), and touches nothing that can be gone.
using AskPeers = std::function<void(std::function<void(Peers)> done)>;

}  // namespace helo::plugins
