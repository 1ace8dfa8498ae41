// One connection on its loop, from accept or dial to the last byte: socket, TLS channel and wire
// session together. Private to p2p/server. Thread: the worker's loop.
//
//   inbound   kWaiting (no SSL object) -> kTls -> kSession -> kClosing -> kLingering -> gone
//   outbound  kConnecting (each address in turn) -> kTls -> kSession -> ...
//   Whatever fails goes to kClosing if something may still be sent, else it is gone at once.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/net/event_loop.h"
#include "p2p/server/session_registry.h"
#include "p2p/server/shared.h"
#include "p2p/tls/channel.h"
#include "p2p/wire/session.h"

namespace helo::server {

class Worker;

class Connection final : public net::Watcher, private wire::SessionSink {
 public:
  Connection(Worker& worker, ConnId id, net::Socket socket, const Endpoint& remote,
             const Endpoint& local);                   // inbound
  Connection(Worker& worker, ConnId id, DialJob job);  // outbound
  ~Connection() override;

  void Begin();  // may end, and be removed, at once

  ConnId id() const { return id_; }
  const Endpoint& remote() const { return remote_; }
  MonoTime accepted() const { return accepted_; }
  bool up() const { return phase_ == Phase::kSession && session_ && session_->up(); }

  // Commands.
  void Decide(const wire::Verdict& verdict);
  void HoldForChallenge();
  void Challenge(ConnId newcomer);
  void Close(Reason reason, const std::string& text, uint32_t retry_after_s);
  void
  MakeRoom();      // not up yet: refused, in the words of its stage, for those who wait at the door
  void Abandon();  // the node stops now: handlers get their close, nothing more is sent
  SendResult Send(SessionEntry& entry, uint16_t type, ByteView payload);
  void SendPosted(SessionEntry& entry, uint16_t type, ByteView payload);  // the caller flushes
  void TellWritable();  // to whoever was told kAgain, once the queue is below half of its quota
  void PauseReading(SessionEntry& entry);
  void SendPeers(const std::vector<wire::PeerInfo>& peers);
  void Offer(const std::vector<Capability>& versions);
  void Withdraw(const std::string& name, Reason code);
  void Flush();
  bool SetDirty() { return !in_ready_ && !std::exchange(dirty_, true); }
  PeerSnapshot Snapshot() const;
  int FdForShow() const { return socket_.FdDoNotKeep(); }  // -1: none (now)
  DescriptorSnapshot Descriptor() const;

 private:
  enum class Phase : uint8_t { kWaiting, kConnecting, kTls, kSession, kClosing, kLingering, kGone };

  bool OnReady(uint32_t events) override;
  // SessionSink
  void OnHello(const wire::Hello& hello) override;
  void OnUp() override;
  void OnOpen(const wire::OpenChannel& channel) override;
  void OnMessage(uint32_t open_id, uint16_t type, ByteView payload) override;
  void OnWritable() override;
  void OnChannelClose(uint32_t open_id, uint32_t code) override;
  void OnChallenge(bool alive) override;
  void OnPeersRequested(uint32_t max) override;
  void OnPeers(const std::vector<wire::PeerInfo>& peers) override;
  void OnMismatch(const std::string& name, uint16_t version, uint16_t ours,
                  uint16_t theirs) override;
  void OnClose(const CloseInfo& close) override;

  bool TryNextAddress();  // false: none left, ended
  void Connected();
  void BeginTls(tls::Role role);
  void Pump();  // what TLS has for us
  void TlsUp();
  void TlsFailed();  // below a session
  bool ReadSome();   // true: stopped before EAGAIN
  void SocketEnded(int error, bool eof);
  void PumpOutput();
  void End(CloseInfo close);  // the first time anything decides the end
  void TellEnd();
  void AfterSession();  // acts on a session's OnClose once its call has returned
  void ContinueClosing();
  bool Discard();
  void Vanish();
  void Arm();
  void OnTimer();
  void Enter(Stage stage);
  void Uncount();
  void ApplyPause();
  wire::Offer Number(
      const Capability& capability);  // under the next channel number of this connection
  SessionEntry* FindOpen(uint32_t open_id);

  Worker& worker_;
  Shared& shared_;
  const ConnId id_;
  const Direction direction_;
  Phase phase_;
  Stage stage_;
  bool ended_ = false;           // End was called
  bool session_closed_ = false;  // OnClose came, AfterSession is due
  bool write_broken_ = false;
  bool end_announced_ = false;       // by an event, ever: the socket has an end to read
  bool short_read_is_last_ = false;  // of the event that is being served
  bool judged_ = false;              // control was asked
  bool decided_ = false;             // and has answered
  bool counted_ = false;  // as an inbound handshake: at its source, at its worker, in sum
  bool sent_close_notify_ = false;
  bool dirty_ = false;
  bool in_ready_ = false;  // OnReady flushes at its end by itself
  int write_errno_ = 0;
  ConnId challenger_ = 0;  // for whom this one is asked whether it lives
  uint16_t next_channel_ = 1;
  int pauses_ = 0;
  size_t next_endpoint_ = 0;
  size_t discarded_ = 0;

  net::Socket socket_;
  net::Registration registration_;
  net::Timer timer_;
  MonoTime deadline_ = kNever;  // of the phase; a session has its own
  MonoTime accepted_{};
  MonoTime stage_entered_{};
  MonoTime up_since_ = kNever;
  MonoTime ended_at_ = kNever;
  Endpoint remote_, local_;
  DialJob job_;
  peers::Attempt attempt_;
  CloseInfo close_;
  std::unique_ptr<tls::Channel> channel_;
  std::unique_ptr<wire::Session> session_;
  std::vector<std::shared_ptr<SessionEntry>> opens_;
  struct PostedMessage {
    std::shared_ptr<SessionEntry> entry;
    uint16_t type;
    Bytes payload;
  };
  // Accepted from other threads, not yet taken by the session. Mostly empty, and then a list costs
  // nothing, where a deque keeps half a kilobyte.
  std::list<PostedMessage> backlog_;
};

}  // namespace helo::server
