// A whole node without sockets, TLS or threads: the real wire::Session and the real PeerTable, tied
// together the way the server ties them. What the server does on two threads happens here in two
// queues, so that a test decides in which order they run: `control` judges, `worker` owns the
// sessions; each posts to the other. Owner: one simulated world. Thread: the test's.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/node_id.h"
#include "p2p/base/testing/seeded_rng.h"
#include "p2p/peers/peer_table.h"
#include "p2p/wire/session.h"

namespace helo::sim {

using peers::ConnId;

// What a node does to the world around it. Called from within its steps.
class Wire {
 public:
  virtual ~Wire() = default;
  virtual void OnBytes(ConnId conn, ByteView bytes) = 0;
  virtual void OnEnd(ConnId conn) = 0;  // close_notify and FIN, behind the bytes
};
// What control learns; for tests that dial again.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnPeerUp(ConnId /*conn*/, const NodeId& /*id*/) {}
  virtual void OnEnded(ConnId /*conn*/, const CloseInfo& /*close*/, Duration /*up_for*/) {}
};

class Node {
 public:
  struct Options {
    NodeId id;
    peers::TableLimits limits;
    uint64_t seed = 1;
    wire::Times times;
  };
  Node(const Options& options, const Clock& clock, Wire& wire, Observer& observer);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // A connection whose TLS is done. The dialer's HELLO leaves at once.
  void Begin(ConnId conn, Direction direction, const NodeId& remote,
             const std::optional<NodeId>& expected, const Endpoint& at);
  void Deliver(ConnId conn, ByteView bytes);
  void DeliverEnd(ConnId conn);
  void Reset(ConnId conn);  // RST
  void Tick();              // every session whose deadline has come
  MonoTime NextDeadline() const;

  bool has_control_work() const { return !control_.empty(); }
  bool has_worker_work() const { return !worker_.empty(); }
  void StepControl();
  void StepWorker();
  void Settle();  // both, until nothing is left

  const NodeId& id() const { return options_.id; }
  const peers::PeerTable& table() const { return table_; }
  void Trust(const NodeId& id) { trusted_.push_back(id); }
  // Sessions that are up and not closing.
  std::vector<ConnId> Up(const NodeId& remote) const;
  size_t up_inbound() const;
  bool Open(ConnId conn) const;
  std::string Describe() const;

 private:
  class Conn;
  enum class Challenge { kAlive, kDead, kRefused };

  void PostControl(std::function<void()> step) { control_.push_back(std::move(step)); }
  void PostWorker(std::function<void()> step) { worker_.push_back(std::move(step)); }
  Conn* Find(ConnId conn);
  void Flush(Conn& conn);
  // Control.
  void OnCandidate(const peers::Candidate& candidate);
  void Answer(ConnId conn, const peers::Judgement& judgement);
  void OnChallengeEnded(ConnId challenged, Challenge outcome);
  void OnUp(ConnId conn, const NodeId& id);
  void OnEnded(ConnId conn, const CloseInfo& close, Duration up_for);
  void Close(ConnId conn, Reason reason);

  const Options options_;
  const Clock& clock_;
  Wire& wire_;
  Observer& observer_;
  testing::SeededRng rng_;
  wire::Profile profile_;
  peers::PeerTable table_;
  std::vector<NodeId> trusted_;
  std::map<ConnId, std::unique_ptr<Conn>> conns_;  // until their end was reported
  std::map<ConnId, ConnId> challenges_;            // challenged to newcomer
  std::deque<std::function<void()>> control_, worker_;
};

}  // namespace helo::sim
