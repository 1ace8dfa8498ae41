// A worker is one network loop with its thread, its TLS context and the connections that live on
// it, from accept or dial to the last byte. Private to p2p/server. Thread: the loop's own, except
// what says "any thread".
#pragma once

#include <absl/container/flat_hash_map.h>

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "p2p/net/event_loop.h"
#include "p2p/net/listener.h"
#include "p2p/server/send_queue.h"
#include "p2p/server/shared.h"
#include "p2p/tls/channel.h"

namespace helo::server {

class Connection;
class Control;
class SessionRegistry;

class Worker final : public net::AcceptorDelegate {
 public:
  static absl::StatusOr<std::unique_ptr<Worker>> Create(Shared& shared, SessionRegistry& registry,
                                                        size_t index);
  ~Worker() override;  // after Join

  void Launch(Control& control, std::vector<Worker*> all);  // starts the thread
  void Accept(net::Listener listener);                      // any thread, after Launch
  bool Post(std::function<void()> fn) { return loop_->Post(std::move(fn)); }  // any thread
  bool InThread() const { return loop_->InThread(); }
  // Any thread: queues a message for the loop. False: the loop has ended.
  bool Send(const std::shared_ptr<SessionEntry>& entry, uint16_t type, ByteView payload,
            bool later);
  void SendUntold() {  // any thread
    if (sends_.TakeUntold()) PostSends();
  }
  net::EventLoop& loop() { return *loop_; }
  size_t index() const { return index_; }

  // Commands of control, any thread; unknown connections are ignored.
  void Dial(DialJob job, ConnId conn);
  void Decide(ConnId conn, wire::Verdict verdict);
  void HoldForChallenge(ConnId conn);
  void Challenge(ConnId conn, ConnId newcomer);
  void Close(ConnId conn, Reason reason, std::string text, uint32_t retry_after_s);
  void TrimHandshakes();  // the pool's limit fell: the oldest of the biggest source go
  void SendPeers(ConnId conn, std::vector<wire::PeerInfo> peers);
  void Offer(std::vector<Capability> versions, Handler* handler);
  void Withdraw(std::string name, Reason code);
  // Stops accepting, tells every peer SHUTTING_DOWN; `idle` is called on the loop once no
  // connection is left.
  void Drain(std::function<void()> idle);
  void StopAndJoin();  // closes what is left at once

  // For connections.
  Shared& shared() { return shared_; }
  Control& control() { return *control_; }
  SessionRegistry& registry() { return registry_; }
  tls::Context& tls() { return *tls_; }
  std::span<uint8_t> scratch() { return scratch_; }
  std::span<uint8_t> plain_scratch() { return plain_scratch_; }
  const std::vector<Offered>& offers() const { return offers_; }
  Connection* Find(ConnId conn);
  void BeganHandshake(Connection& connection);
  void EndedHandshake(Connection& connection);
  void Remove(Connection& connection);  // destroyed in a coming turn
  void MarkDirty(ConnId conn);          // flush in a coming turn
  void Burst(Handler* handler);         // it gets messages in this turn
  void RestFromAccepting();  // the kernel could not watch what was accepted: all listeners pause
  void CountRefusal(const peers::Attempt& attempt);  // inbound, before control knew it
  std::vector<PeerSnapshot> TakePeers();
  std::vector<ListenerSnapshot> TakeListeners();
  std::vector<DescriptorSnapshot> TakeDescriptors(const DescriptorQuery& query) const;

 private:
  Worker(Shared& shared, SessionRegistry& registry, size_t index);
  // Where the kernel has no descriptors left: the operator's door lives on these.
  static constexpr int kLeftToOthers = 2;
  // AcceptorDelegate
  void OnAccepted(net::Socket socket, const Endpoint& remote, const Endpoint& local) override;
  bool MakeRoom() override;
  int LeaveFree() const override { return kLeftToOthers; }
  void Adopt(net::Socket socket, const Endpoint& remote, const Endpoint& local);
  void RefuseAtGate(net::Socket socket, const Endpoint& remote, Reason reason);
  void FlushDirty();
  bool PostSends();
  void TakeSends();
  void EndBursts();
  template <typename Fn>
  void With(ConnId conn, Fn fn);  // posts fn(connection) if it is still there
  void FlushRefusals();
  void CheckIdle();

  Shared& shared_;
  SessionRegistry& registry_;
  const size_t index_;
  Control* control_ = nullptr;
  std::vector<Worker*> all_;
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<tls::Context> tls_;
  std::vector<uint8_t> scratch_, plain_scratch_;
  std::thread thread_;

  std::vector<std::unique_ptr<net::Acceptor>> acceptors_;
  absl::flat_hash_map<ConnId, std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> graveyard_;
  std::vector<Offered> offers_;
  std::vector<ConnId> dirty_;
  SendQueue sends_;
  SendBatch taken_sends_;
  std::vector<ConnId> sent_to_;   // by the batch that is being taken
  std::vector<Handler*> bursts_;  // handlers that were told of one
  size_t next_worker_ = 0;
  bool draining_ = false;
  bool burying_ = false;
  std::function<void()> idle_;

  // Inbound connections that are not up yet, by network, oldest first; and the networks by how many
  // they hold.
  struct Handshakes {
    std::set<ConnId> conns;  // ids ascend, so the first is the oldest
  };
  absl::flat_hash_map<Subnet, Handshakes> handshakes_;
  std::set<std::pair<size_t, Subnet>> handshakes_by_count_;

  // Refused strangers, aggregated for a moment so that a flood costs control one message.
  absl::flat_hash_map<std::pair<Subnet, Reason>, peers::Attempt> refusals_;
  std::unique_ptr<net::Timer> refusal_timer_;
};

}  // namespace helo::server
