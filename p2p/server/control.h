// The control thread: owns the peer table, bans, dialing and history. Loops talk to it at
// admission, at up, at the end and for a challenge; commands come from the admin API. Private to
// p2p/server. Thread: functions marked [any] post; the rest is control's own. Long: one class.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <array>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "p2p/net/event_loop.h"
#include "p2p/net/resolver.h"
#include "p2p/peers/attempt_history.h"
#include "p2p/peers/ban_list.h"
#include "p2p/peers/dial_scheduler.h"
#include "p2p/peers/peer_table.h"
#include "p2p/server/shared.h"

namespace helo::server {

class Worker;

class Control {
 public:
  static constexpr Duration kFdsEvery = std::chrono::seconds(10);

  // kDead: no answer in time. kGone: it closed by itself, so nobody is replaced. kRefused: it could
  // not be asked (rate of WIRE 6).
  enum class ChallengeOutcome : uint8_t { kAlive, kDead, kGone, kRefused };

  static absl::StatusOr<std::unique_ptr<Control>> Create(Shared& shared);
  ~Control();
  void Launch(std::vector<Worker*> workers);  // starts the thread; before any worker's
  void StartDialing();                        // [any]
  // [any] No more dials; pending names are cancelled; waiting commands are answered.
  void StopDialing();
  void StopAndJoin();                                                         // [any but control]
  bool Post(std::function<void()> fn) { return loop_->Post(std::move(fn)); }  // [any]

  // From the loops, [any].
  void CandidateArrived(CandidateReport report);
  void WentUp(ConnId conn, peers::Attempt so_far);
  // `newcomer` tells this challenge from an earlier one of the same connection.
  void ChallengeEnded(ConnId challenged, ConnId newcomer, ChallengeOutcome outcome);
  void Ended(EndReport report);
  void Refused(std::vector<peers::Attempt> attempts);
  void PeersRequested(size_t worker, ConnId conn, uint32_t max);

  // Commands, [any]; see server.h.
  void FindDescriptors(const DescriptorQuery& query,
                       std::function<void(std::vector<DescriptorSnapshot>)> done);
  void GetSnapshot(std::function<void(std::shared_ptr<const ServerSnapshot>)> done);
  void AddPeer(PeerAddress address, bool saved, bool wait,
               std::function<void(absl::StatusOr<AddResult>)> done);
  void RemovePeer(PeerAddress address, bool disconnect, std::function<void(absl::Status)> done);
  void Forgive(NodeId id);
  void DropPeer(NodeId id, std::string text, Duration away,
                std::function<void(absl::StatusOr<DropResult>)> done);
  void FindAttempts(peers::AttemptHistory::Query query,
                    std::function<void(std::vector<peers::Attempt>)> done);

 private:
  // A connection that control knows: a dial from its start, an inbound one from its candidacy.
  struct Live {
    size_t worker = 0;
    TargetId target = 0;
    Direction direction = Direction::kInbound;
    Endpoint remote;
    std::optional<NodeId> id;
    std::string user_agent;
    bool up = false;
    MonoTime up_since = kNever;
    uint64_t history = 0;  // sequence of its "still up" line
  };
  struct Resolving {
    uint64_t query = 0;
    TargetId target = 0;
    MonoTime began{};
    WallTime began_wall{};
    FdTicket ticket;
  };

  explicit Control(Shared& shared);
  // control.cc: admission and ends
  void OnCandidate(CandidateReport report);
  void Answer(const Live& live, ConnId conn, const peers::Judgement& judgement);
  void OnUp(ConnId conn, peers::Attempt so_far);
  void OnChallengeEnded(ConnId challenged, ConnId newcomer, ChallengeOutcome outcome);
  void OnEnded(EndReport report);
  void CloseConn(ConnId conn, Reason reason, const std::string& text, uint32_t retry_after_s);
  bool IsStatic(const NodeId& id) const;
  void Publish(EventKind kind, const peers::Attempt& attempt);
  void LogEnd(const peers::Attempt& attempt);
  // control_dial.cc
  void DialDue();
  void ArmDial();
  void StartDial(const peers::Target& target);
  void Resolved(uint64_t key, absl::StatusOr<std::vector<IpAddress>> addresses);
  void HandToWorker(const peers::Target& target, std::vector<Endpoint> endpoints, FdTicket ticket,
                    WallTime began, Duration resolving);
  void CancelResolving(TargetId target);  // its slot and ticket are free at once
  void AnswerWaiters(TargetId target, const AddResult& result);
  absl::Status Save();
  // control_commands.cc
  void BuildSnapshot();
  void FinishSnapshot();
  void OnDrop(NodeId id, std::string text, Duration away,
              std::function<void(absl::StatusOr<DropResult>)> done);
  void OnAdd(PeerAddress address, bool saved, bool wait,
             std::function<void(absl::StatusOr<AddResult>)> done);
  void OnRemove(const PeerAddress& address, bool disconnect,
                const std::function<void(absl::Status)>& done);
  void CollectWorth();
  void NoteWorth(const ServerSnapshot& snapshot);
  // control_fds.cc: the descriptors, every 10 s
  void WatchFds();
  void CheckFds();
  void ShrinkToPools();
  void LookAtFds();  // for a snapshot
  absl::StatusOr<peers::FdLimit> ReadFds();
  void TellAboutFds(const peers::FdChange& change);

  Shared& shared_;
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<net::Resolver> resolver_;
  std::vector<Worker*> workers_;
  std::thread thread_;

  peers::PeerTable table_;
  peers::BanList bans_;
  peers::DialScheduler dials_;
  peers::AttemptHistory history_;
  absl::flat_hash_set<NodeId> trusted_;
  absl::flat_hash_map<ConnId, Live> live_;
  absl::flat_hash_map<ConnId, ConnId> challenges_;  // challenged -> newcomer
  absl::flat_hash_map<uint64_t, Resolving> resolving_;
  uint64_t next_resolving_ = 1;
  size_t next_worker_ = 0;
  int outbound_live_ = 0;  // dials and outbound peers, resolving ones included
  bool dialing_ = false;
  std::unique_ptr<net::Timer> dial_timer_;
  std::unique_ptr<net::Timer> worth_timer_;
  std::unique_ptr<net::Timer> fds_timer_;
  MonoTime fds_read_{};
  Duration fds_cost_{};  // of that
  MonoTime fds_due_{};
  uint64_t kernel_soft_ = 0;  // the limit as it was a moment ago
  int foreign_told_ = 0;      // descriptors in the last line about them
  absl::flat_hash_map<TargetId, std::vector<std::function<void(absl::StatusOr<AddResult>)>>>
      waiters_;
  absl::flat_hash_map<Reason, uint64_t> closed_in_, closed_out_;
  std::array<uint64_t, 2> came_up_{};  // by Direction
  std::string end_cause_;  // LogEnd's, kept for its room: most ends are counted and not told

  std::shared_ptr<const ServerSnapshot> snapshot_;
  std::shared_ptr<ServerSnapshot> building_;
  size_t parts_missing_ = 0;
  std::vector<std::function<void(std::shared_ptr<const ServerSnapshot>)>> snapshot_waiters_;
};

}  // namespace helo::server
