// A network of whole nodes in one process, on a virtual clock: real sessions, peer tables and dial
// schedulers; links with delay, fragmentation, resets, silent death and partitions; nodes that are
// killed and started again. Everything that happens follows from one seed. Owner: one test. Thread:
// the test's.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "p2p/base/testing/manual_clock.h"
#include "p2p/base/testing/seeded_rng.h"
#include "p2p/peers/dial_scheduler.h"
#include "tests/sim/sim_node.h"

namespace helo::sim {

enum class DownKind : uint8_t {
  kKilled,    // the kernel lives on: resets, and refuses dials
  kPowerOff,  // silence
};

class Network {
 public:
  Network(uint64_t seed, size_t nodes, peers::TableLimits limits = {});
  ~Network();

  // `from` has `to` in its configuration. `named`: with its id.
  void AddTarget(size_t from, size_t to, bool named);
  void Trust(size_t host, size_t trusted);
  void Start(size_t host);
  void Stop(size_t host, DownKind kind);
  void Reset(size_t link);                                           // RST at both ends
  void Kill(size_t link, bool toward_dialer, bool toward_acceptor);  // silently, for ever
  void Partition(const std::vector<bool>& side);  // by host; packets wait and are sent again later
  void Heal();
  void SetDelay(Duration least, Duration most) { delay_ = {least, most}; }

  void RunFor(Duration time);
  // Until `done`, looked at after every event; false if `within` was not enough.
  bool RunUntil(const std::function<bool()>& done, Duration within);

  bool running(size_t host) const { return hosts_[host].node != nullptr; }
  size_t hosts() const { return hosts_.size(); }
  const Node& node(size_t host) const { return *hosts_[host].node; }
  bool Connected(size_t a, size_t b) const { return node(a).table().Connected(IdOf(b)); }
  std::vector<size_t> OpenLinks() const;
  // "" if every two nodes of which one has the other as a target have one connection, the same at
  // both ends.
  std::string WhyNoMesh() const;
  std::set<size_t> UpLinks() const;
  // Nothing that is up has died silently, and no session is open but those that are up.
  bool Settled() const;
  uint64_t CountEnded(Reason reason) const;
  // The first broken rule, with its time; "" if none.
  const std::string& broken() const { return broken_; }
  std::string Log() const;  // the last events, for a failure
  testing::SeededRng& rng() { return rng_; }
  MonoTime Now() const { return clock_.Now(); }
  Duration Since() const { return clock_.Now() - began_; }

 private:
  class Port;
  struct Host {
    std::unique_ptr<Port> port;
    std::unique_ptr<Node> node;
    std::unique_ptr<peers::DialScheduler> dials;
    std::vector<std::pair<size_t, bool>> targets;
    std::vector<size_t> trusted;
    uint64_t life = 0;  // counts starts; an event of an earlier life does nothing
    bool powered = true;
    bool control_scheduled = false, worker_scheduled = false;
    MonoTime tick_at = kNever, dial_at = kNever;
  };
  struct Chunk {
    Bytes bytes;
    bool end = false;
  };
  struct Direction2 {  // one way of a link
    MonoTime last{};   // nothing overtakes
    bool dead = false;
    std::deque<Chunk> parked;  // behind a partition
  };
  struct Link {
    size_t dialer = 0, acceptor = 0;
    uint64_t dialer_life = 0, acceptor_life = 0;
    peers::TargetId target = 0;
    bool accepted = false;
    std::array<Direction2, 2> toward;  // 0 the dialer, 1 the acceptor
  };

  NodeId IdOf(size_t host) const;
  std::optional<size_t> HostOf(const PeerAddress& address) const;
  bool Blocked(size_t a, size_t b) const { return !side_.empty() && side_[a] != side_[b]; }
  Duration RandomDelay();
  void At(MonoTime when, std::function<void()> what);
  void AtLife(size_t host, MonoTime when, std::function<void()> what);
  void Touched(size_t host);
  void ArmDial(size_t host);
  void DialDue(size_t host);
  void Connect(size_t from, const peers::Target& target);
  void DialFailed(size_t from, uint64_t life, peers::TargetId target, Reason reason,
                  Duration after);
  void Send(size_t link, int side, Chunk chunk);
  void Arrive(size_t link, int side, const Chunk& chunk);
  void ResetEnd(size_t link, int side);
  void OnPeerUp(size_t host, ConnId conn, const NodeId& id);
  void OnEnded(size_t host, ConnId conn, const CloseInfo& close, Duration up_for);
  void CheckRules(size_t host);
  void Say(std::string line);

  testing::ManualClock clock_;
  const MonoTime began_ = clock_.Now();
  testing::SeededRng rng_;
  const peers::TableLimits limits_;
  std::vector<Host> hosts_;
  std::vector<Link> links_;  // connection id = index + 1, at both ends
  std::vector<bool> side_;   // empty: no partition
  std::pair<Duration, Duration> delay_{std::chrono::microseconds(100),
                                       std::chrono::milliseconds(30)};
  std::multimap<std::pair<MonoTime, uint64_t>, std::function<void()>> events_;
  uint64_t next_event_ = 0;
  std::map<Reason, uint64_t> ended_;
  std::string broken_;
  std::deque<std::string> log_;
};

}  // namespace helo::sim
