// Asks a machine whether it is there at all, by one ICMP echo, when one of its ports says nothing.
// Needs net.ipv4.ping_group_range or root; without either there is no answer to that question.
// Thread: the loop's.
#pragma once

#include <cstdint>
#include <optional>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/net/event_loop.h"
#include "p2p/net/socket.h"

namespace helo::tool {

struct PingResult {
  enum class Kind : uint8_t {
    kNotAsked,   // nor if there was no way to send it
    kMayNotAsk,  // neither a ping socket nor a raw one
    kForbidden,  // sending was: a rule of this machine
    kSilent,
    kAnswered,
  };
  Kind kind = Kind::kNotAsked;
  Duration rtt{};
};

class Ping final : private net::Watcher {
 public:
  explicit Ping(net::EventLoop& loop) : loop_(loop) {}
  ~Ping() override = default;
  void Start(const IpAddress& to, FdTicket ticket);  // once
  void Stop();                                       // the result stays
  const PingResult& result() const { return result_; }

 private:
  bool OnReady(uint32_t events) override;
  bool IsAnswer(ByteView packet) const;

  net::EventLoop& loop_;
  net::Socket socket_;  // destroyed after its registration
  net::Registration registration_;
  IpAddress to_;
  bool raw_ = false;
  uint16_t mark_ = 0;
  MonoTime sent_{};
  PingResult result_;
};

}  // namespace helo::tool
