// Two or three nodes and the connections between them, as a World that the explorer drives: every
// dial, every delivery, every step of a node's control and worker, every cut and (where a test
// wants it) the passing of time is one event.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "p2p/base/testing/manual_clock.h"
#include "tests/sim/explorer.h"
#include "tests/sim/sim_node.h"

namespace helo::sim {

struct Dial {
  size_t from = 0;
  size_t to = 0;
};

enum class CutKind : uint8_t {
  kBoth,          // neither side hears the other any more
  kTowardDialer,  // the dialer hears nothing
  kTowardAcceptor,
};

struct CrossingPlan {
  size_t nodes = 2;  // node 0 has the largest id, so it is the referee of every pair it is in
  std::vector<Dial> standing = {};  // up before the exploration begins
  std::vector<size_t> dead = {};    // which of the standing ones are cut then
  std::vector<Dial> dials = {};     // begin at any time, in any order
  bool two_threads = false;         // a node's control and worker run at any time; else at once
  std::vector<CutKind> cuts = {};   // at most one of these, at any time, on any connection
  int ticks = 0;  // how often time may pass to the next deadline during the exploration
  Duration ticks_at_most = Duration::max();  // and no further than this at a time
  bool ticks_at_any_time =
      false;  // else only when nothing else can happen: no delay is longer than a deadline
  std::vector<peers::TableLimits> limits = {};  // by node; default if absent
  bool redial = false;  // when all is quiet and a pair has no connection left, it dials once more
  bool must_end_connected =
      true;  // every pair among the dials: one connection, the same at both ends
};

class CrossingWorld final : public World {
 public:
  explicit CrossingWorld(const CrossingPlan& plan);
  ~CrossingWorld() override;

  size_t Choices() const override { return events_.size(); }
  void Choose(size_t choice) override;
  std::string Describe(size_t choice) const override;
  std::pair<uint64_t, uint64_t> Digest() const override;
  std::string Check() const override;
  std::string Finish() override;
  std::string DescribeState() const override;

 private:
  enum class Kind : uint8_t { kDial, kDeliver, kControl, kWorker, kCut, kTime };
  struct Event {
    Kind kind;
    size_t index = 0;  // dial, link or node
    int side =
        0;  // of a delivery: 0 toward the dialer, 1 toward the acceptor; of a cut: its CutKind
  };
  struct Chunk {
    Bytes bytes;
    bool end = false;
  };
  struct Link {
    size_t dialer = 0, acceptor = 0;
    std::array<std::deque<Chunk>, 2> toward;  // 0 the dialer, 1 the acceptor
    std::array<bool, 2> cut{};
    bool begun = false;     // dialed
    bool accepted = false;  // the acceptor has begun
  };
  class Port;

  size_t AddLink(const Dial& dial);
  void StartDial(size_t link);
  void Deliver(size_t link, int side);
  void Cut(size_t link, CutKind kind);
  void PassTime();
  MonoTime NextDeadline() const;
  void Run(size_t node);
  void Quiet(MonoTime until);
  void ListEvents();
  bool Deliverable(const Link& link, int side) const {
    return !link.cut[static_cast<size_t>(side)] && !link.toward[static_cast<size_t>(side)].empty();
  }
  void Note(size_t node, uint64_t what);
  std::string CheckPairConnected(size_t a, size_t b) const;

  const CrossingPlan plan_;
  testing::ManualClock clock_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Link> links_;  // connection id = index + 1, at both ends
  std::vector<bool> dialed_;
  bool cut_used_ = false;
  int ticks_used_ = 0;
  std::vector<Event> events_;
  std::vector<uint64_t> histories_;  // by node: what it has seen, in order
};

}  // namespace helo::sim
