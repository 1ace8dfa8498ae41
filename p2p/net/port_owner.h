// Who has a TCP port of this machine, as far as /proc lets us see (man 5 proc, /proc/net/tcp). Only
// asked after a bind failed, so its cost (reading two files and, with the right to, every process's
// descriptors) does not matter. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "p2p/base/endpoint.h"

namespace helo::net {

struct PortOwner {
  enum class Kind : uint8_t {
    kListener,    // listens there
    kOutgoing,    // a connection made from here uses the port as its local one
    kConnection,  // a connection that a listener of that port had accepted
    kTimeWait,    // an ended connection of which the kernel still keeps the port
  };
  Kind kind = Kind::kListener;
  Endpoint local;
  Endpoint remote;       // not with kListener
  uint32_t waiting = 0;  // with kListener: connections that wait to be accepted
  bool ours = false;     // a descriptor of this process
  int fd = -1;           // its number, if ours
  int pid = 0;           // 0: not visible to us
  std::string command;
  uint32_t uid = 0;
  std::string user;  // empty if the uid has no name
};

// Who stands in the way of binding `wanted` (its address may be unspecified) on its port; of
// several, a listener before a connection. `v6`: the socket is an IPv6 one; `dual`: it takes IPv4
// as well. nullopt: nobody that /proc shows.
std::optional<PortOwner> FindPortOwner(const Endpoint& wanted, bool v6, bool dual);

// "process 4242 (nginx)", "a process of user alice", "this process (fd 7)".
std::string Describe(const PortOwner& owner);

}  // namespace helo::net
