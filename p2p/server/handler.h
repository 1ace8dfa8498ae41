// The one door through which messages leave p2p: a Handler gets the sessions of the capabilities it
// names, and talks back through the Messenger. p2p knows no plugin; the plugin host is one more
// Handler.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "p2p/base/bytes.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/node_id.h"
#include "p2p/base/reasons.h"

namespace helo {

// One peer on one open capability. Never reused: a stale one is answered kGone.
using SessionId = uint64_t;

struct Capability {  // exactly one (name, version); list several versions if you speak them
  std::string name;  // [a-z][a-z0-9-]{0,15}
  uint16_t version = 1;
  uint16_t message_count = 1;          // types 0..count-1; any other type never reaches the handler
  uint32_t max_message_bytes = 65536;  // of messages to us
};

struct SessionInfo {
  SessionId session = 0;
  std::string name;
  uint16_t version = 0;
  uint16_t message_count = 0;
  uint32_t max_send_bytes = 0;  // the remote's limit
  NodeId peer;
  Direction direction = Direction::kInbound;
  Endpoint remote;
};

enum class SendResult : uint8_t {
  kOk,
  kAgain,    // this peer's quota is full, nothing was queued; OnWritable follows
  kGone,     // no such session (any more)
  kTooBig,   // above max_send_bytes
  kInvalid,  // type >= message_count
};

// Thread: any, at any time between Handler::Attached and Handler::Detached.
class Messenger {
 public:
  virtual ~Messenger() = default;
  // Copies the payload. From the session's own loop thread it is queued at once, else in order
  // through the loop.
  virtual SendResult Send(SessionId session, uint16_t type, ByteView payload) = 0;
  // The same for one of many in a row, in order with the others: the loop may be left asleep until
  // much waits for it, or until SendAll, which must follow soon.
  virtual SendResult SendLater(SessionId session, uint16_t type, ByteView payload) {
    return Send(session, type, payload);
  }
  virtual void SendAll() {}
  // Closes the peer. `reason` is PLUGIN_POLITE, PLUGIN_VIOLATION, PLUGIN_SLOW or another of WIRE 9
  // with a D.
  virtual void Disconnect(SessionId session, Reason reason, const std::string& text) = 0;
  // Stops or resumes reading the session's peer; pauses are counted, so two handlers may pause one
  // peer.
  virtual void PauseReading(SessionId session, bool paused) = 0;
  // Capabilities that come and go while peers are up (WIRE 5): offered to, or withdrawn from, every
  // peer and later hellos. All versions of one name together.
  virtual void Offer(const std::vector<Capability>& all_versions_of_one_name) = 0;
  virtual void Withdraw(const std::string& name, Reason code) = 0;
};

// All On* calls come on the loop thread of the session's peer: in order for one session, at the
// same time for sessions of different loops. They must not block and must not throw. Exactly one
// OnClose for each OnOpen.
class Handler {
 public:
  virtual ~Handler() = default;
  virtual std::vector<Capability> Capabilities() const = 0;  // offered from the start
  virtual void Attached(Messenger& messenger) = 0;           // before any other call
  virtual void OnOpen(const SessionInfo& info) = 0;
  virtual void OnMessage(SessionId session, uint16_t type,
                         ByteView payload) = 0;  // borrowed for the call
  // Around the OnMessage calls that a loop makes in one go, for whoever wakes a thread once for all
  // of them. What else is called meanwhile may be part of it or not.
  virtual void OnBurst(bool /*begins*/) {}
  virtual void OnWritable(SessionId session) = 0;
  virtual void OnClose(SessionId session,
                       uint32_t code) = 0;  // code as in WIRE 9; 0 = no reason given
  virtual void Detached() = 0;              // the last call; the messenger is gone after it
};

}  // namespace helo
