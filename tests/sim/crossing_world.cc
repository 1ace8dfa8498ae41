#include "tests/sim/crossing_world.h"

#include <absl/hash/hash.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <span>

#include "p2p/base/text.h"
#include "p2p/wire/frame.h"

namespace helo::sim {
namespace {

using namespace std::chrono_literals;

// A prober of all deadlines of a dead connection: the longest is PING_TIMEOUT.
constexpr Duration kQuiet = 150s;

const char* CutName(CutKind kind) {
  switch (kind) {
    case CutKind::kBoth:
      return "in both directions";
    case CutKind::kTowardDialer:
      return "toward the dialer";
    case CutKind::kTowardAcceptor:
      return "toward the acceptor";
  }
  return "";
}
char Name(size_t node) { return static_cast<char>('A' + node); }

// Mixes in an order-dependent way; equal inputs in equal order give equal results in every run of
// one process.
uint64_t Mix(uint64_t a, uint64_t b) { return absl::HashOf(a, b); }

}  // namespace

class CrossingWorld::Port final : public Wire, public Observer {
 public:
  Port(CrossingWorld& world, size_t node) : world_(world), node_(node) {}
  void OnBytes(ConnId conn, ByteView bytes) override {
    Outgoing(conn).push_back({Bytes(bytes.begin(), bytes.end()), false});
  }
  void OnEnd(ConnId conn) override { Outgoing(conn).push_back({{}, true}); }

 private:
  std::deque<Chunk>& Outgoing(ConnId conn) {
    Link& link = world_.links_.at(conn - 1);
    return link.toward[link.dialer == node_ ? 1 : 0];
  }
  CrossingWorld& world_;
  const size_t node_;
};

CrossingWorld::CrossingWorld(const CrossingPlan& plan)
    : plan_(plan), dialed_(plan.dials.size()), histories_(plan.nodes) {
  for (size_t i = 0; i < plan_.nodes; ++i) {
    Node::Options options;
    options.id.bytes[0] = static_cast<uint8_t>(200 - 10 * i);
    options.seed = i + 1;
    if (i < plan_.limits.size()) options.limits = plan_.limits[i];
    ports_.push_back(std::make_unique<Port>(*this, i));
    nodes_.push_back(std::make_unique<Node>(options, clock_, *ports_[i], *ports_[i]));
  }
  for (const Dial& dial : plan_.standing) {
    StartDial(AddLink(dial));
    Quiet(clock_.Now());
  }
  // Numbered here, so that the number does not depend on the order in which they begin.
  for (const Dial& dial : plan_.dials) AddLink(dial);
  for (size_t link : plan_.dead) Cut(link, CutKind::kBoth);
  cut_used_ = false;
  std::fill(histories_.begin(), histories_.end(), 0);
  ListEvents();
}

CrossingWorld::~CrossingWorld() = default;

void CrossingWorld::ListEvents() {
  events_.clear();
  // What nobody reads any more is no event.
  for (size_t i = 0; i < links_.size(); ++i) {
    Link& link = links_[i];
    if (link.accepted && !nodes_[link.acceptor]->Open(i + 1)) link.toward[1].clear();
    if (link.begun && !nodes_[link.dialer]->Open(i + 1)) link.toward[0].clear();
  }
  for (size_t i = 0; i < plan_.dials.size(); ++i) {
    if (!dialed_[i]) events_.push_back({Kind::kDial, i});
  }
  for (size_t i = 0; i < links_.size(); ++i) {
    for (int side : {0, 1}) {
      if (Deliverable(links_[i], side)) events_.push_back({Kind::kDeliver, i, side});
    }
  }
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i]->has_control_work()) events_.push_back({Kind::kControl, i});
    if (nodes_[i]->has_worker_work()) events_.push_back({Kind::kWorker, i});
  }
  const bool quiet = events_.empty();
  const bool time_may_pass = plan_.ticks_at_any_time ? !quiet : quiet;
  if (ticks_used_ < plan_.ticks && time_may_pass && NextDeadline() != kNever &&
      NextDeadline() - clock_.Now() <= plan_.ticks_at_most)
    events_.push_back({Kind::kTime});
  if (!cut_used_ && !quiet) {
    for (size_t i = 0; i < links_.size(); ++i) {
      const Link& link = links_[i];
      const bool over = !nodes_[link.dialer]->Open(i + 1) && !nodes_[link.acceptor]->Open(i + 1);
      if (!link.begun || over || link.cut[0] || link.cut[1]) continue;
      for (CutKind kind : plan_.cuts) events_.push_back({Kind::kCut, i, static_cast<int>(kind)});
    }
  }
}

void CrossingWorld::Choose(size_t choice) {
  const Event event = events_.at(choice);
  switch (event.kind) {
    case Kind::kDial:
      dialed_[event.index] = true;
      Note(plan_.dials[event.index].from, Mix(1, event.index));
      StartDial(plan_.standing.size() + event.index);
      break;
    case Kind::kDeliver:
      Deliver(event.index, event.side);
      break;
    case Kind::kControl:
      Note(event.index, 2);
      nodes_[event.index]->StepControl();
      break;
    case Kind::kWorker:
      Note(event.index, 3);
      nodes_[event.index]->StepWorker();
      break;
    case Kind::kCut:
      cut_used_ = true;
      Cut(event.index, static_cast<CutKind>(event.side));
      break;
    case Kind::kTime:
      ++ticks_used_;
      PassTime();
      break;
  }
  ListEvents();
}

size_t CrossingWorld::AddLink(const Dial& dial) {
  Link link;
  link.dialer = dial.from;
  link.acceptor = dial.to;
  links_.push_back(std::move(link));
  return links_.size() - 1;
}

void CrossingWorld::StartDial(size_t index) {
  Link& link = links_[index];
  link.begun = true;
  const NodeId& remote = nodes_[link.acceptor]->id();
  const Endpoint at{IpAddress::V4({10, 0, 0, static_cast<uint8_t>(link.acceptor)}), 4356};
  nodes_[link.dialer]->Begin(index + 1, Direction::kOutbound, remote, remote, at);
  Run(link.dialer);
}

void CrossingWorld::Deliver(size_t index, int side) {
  Link& link = links_[index];
  std::deque<Chunk>& queue = link.toward[static_cast<size_t>(side)];
  const Chunk chunk = std::move(queue.front());
  queue.pop_front();
  const size_t node = side == 0 ? link.dialer : link.acceptor;
  Note(node, absl::HashOf(index, chunk.end, chunk.bytes));
  const ConnId conn = index + 1;
  if (side == 1 && !link.accepted) {
    link.accepted = true;
    const Endpoint at{IpAddress::V4({10, 0, 0, static_cast<uint8_t>(link.dialer)}), 50000};
    nodes_[node]->Begin(conn, Direction::kInbound, nodes_[link.dialer]->id(), std::nullopt, at);
  }
  if (chunk.end) {
    nodes_[node]->DeliverEnd(conn);
  } else {
    nodes_[node]->Deliver(conn, chunk.bytes);
  }
  Run(node);
}

void CrossingWorld::Cut(size_t link, CutKind kind) {
  if (kind != CutKind::kTowardAcceptor) links_[link].cut[0] = true;
  if (kind != CutKind::kTowardDialer) links_[link].cut[1] = true;
}

MonoTime CrossingWorld::NextDeadline() const {
  MonoTime next = kNever;
  for (const auto& node : nodes_) next = std::min(next, node->NextDeadline());
  return next;
}

void CrossingWorld::PassTime() {
  clock_.Set(std::max(NextDeadline(), clock_.Now()));
  for (size_t i = 0; i < nodes_.size(); ++i) {
    Note(i, 4);
    nodes_[i]->Tick();
    Run(i);
  }
}

// With one thread a node thinks all the way through; with two the explorer decides when each goes
// on.
void CrossingWorld::Run(size_t node) {
  if (!plan_.two_threads) nodes_[node]->Settle();
}

// Everything that can still happen happens, deliveries before deadlines, until then.
void CrossingWorld::Quiet(MonoTime until) {
  for (;;) {
    bool moved = false;
    for (auto& node : nodes_) {
      moved = moved || node->has_control_work() || node->has_worker_work();
      node->Settle();
    }
    for (size_t i = 0; i < links_.size(); ++i) {
      for (int side : {0, 1}) {
        while (Deliverable(links_[i], side)) {
          Deliver(i, side);
          moved = true;
        }
      }
    }
    if (moved) continue;
    const MonoTime next = NextDeadline();
    if (next > until) break;
    PassTime();
  }
  clock_.Set(std::max(until, clock_.Now()));
}

std::pair<uint64_t, uint64_t> CrossingWorld::Digest() const {
  uint64_t a = 1;
  uint64_t b = 2;
  for (uint64_t history : histories_) {
    a = Mix(a, history);
    b = Mix(history, b);
  }
  for (const Link& link : links_) {
    const uint64_t cut = (link.cut[0] ? 1u : 0u) | (link.cut[1] ? 2u : 0u);
    a = Mix(a, cut);
    b = Mix(cut, b);
  }
  return {a, b};
}

void CrossingWorld::Note(size_t node, uint64_t what) {
  histories_[node] = Mix(histories_[node], what);
}

std::string CrossingWorld::Check() const {
  for (const auto& node : nodes_) {
    for (const auto& other : nodes_) {
      if (other == node) continue;
      const size_t up = node->Up(other->id()).size();
      const bool referee = node->id() > other->id();
      if (referee && up > 1) return "two connections are up at the referee";
      if (up > 2) return "more than two connections are up at the side that is no referee";
    }
    const peers::PeerTable& table = node->table();
    if (table.inbound() > table.limits().max_inbound ||
        table.outbound() > table.limits().max_outbound) {
      return absl::StrCat("more slots are taken than there are: ", node->Describe());
    }
  }
  return "";
}

std::string CrossingWorld::CheckPairConnected(size_t a, size_t b) const {
  const std::vector<ConnId> at_a = nodes_[a]->Up(nodes_[b]->id());
  const std::vector<ConnId> at_b = nodes_[b]->Up(nodes_[a]->id());
  const std::string pair = {Name(a), Name(b)};
  if (at_a.empty() && at_b.empty()) return absl::StrCat("none is left between ", pair);
  if (at_a != at_b || at_a.size() != 1)
    return absl::StrCat("the two ends of ", pair, " do not have the same one connection");
  if (nodes_[a]->table().Find(nodes_[b]->id()) != at_a[0] ||
      nodes_[b]->table().Find(nodes_[a]->id()) != at_a[0]) {
    return "a table does not know what its sessions know";
  }
  return "";
}

std::string CrossingWorld::Finish() {
  const bool time_passes = plan_.redial || plan_.ticks > 0;
  Quiet(clock_.Now() + (time_passes ? kQuiet : 0s));
  if (std::string wrong = Check(); !wrong.empty()) return wrong;
  if (plan_.redial) {
    for (const Dial& dial : plan_.dials) {
      if (nodes_[dial.from]->table().Connected(nodes_[dial.to]->id())) continue;
      StartDial(AddLink(dial));
      Quiet(clock_.Now());
    }
  }
  if (!plan_.must_end_connected) return "";
  for (const Dial& dial : plan_.dials) {
    if (std::string wrong = CheckPairConnected(dial.from, dial.to); !wrong.empty()) return wrong;
  }
  for (const auto& node : nodes_) {
    size_t up = 0;
    for (const auto& other : nodes_) up += node->Up(other->id()).size();
    const peers::PeerTable& table = node->table();
    if (table.up_count() != up || table.inbound() + table.outbound() != static_cast<int>(up))
      return absl::StrCat("slots are still taken that nobody uses: ", node->Describe());
  }
  return "";
}

std::string CrossingWorld::Describe(size_t choice) const {
  const Event& event = events_.at(choice);
  switch (event.kind) {
    case Kind::kDial: {
      const Dial& dial = plan_.dials[event.index];
      return absl::StrCat(std::string(1, Name(dial.from)), " dials ", std::string(1, Name(dial.to)),
                          ": connection ", plan_.standing.size() + event.index + 1);
    }
    case Kind::kDeliver: {
      const Link& link = links_[event.index];
      const Chunk& chunk = link.toward[static_cast<size_t>(event.side)].front();
      const size_t node = event.side == 0 ? link.dialer : link.acceptor;
      std::string what = "the end";
      if (!chunk.end) {
        what = "";
        for (size_t at = 0; at + 8 <= chunk.bytes.size();) {
          const uint8_t* frame = chunk.bytes.data() + at;
          const char* names[] = {"?",    "HELLO", "VERDICT",  "DISCONNECT", "PING",
                                 "PONG", "OFFER", "WITHDRAW", "GET_PEERS",  "PEERS"};
          const size_t length =
              wire::ParseFrameHeader(std::span<const uint8_t, 8>(frame, 8)).length;
          absl::StrAppend(&what, what.empty() ? "" : "+", names[std::min<size_t>(frame[7], 9)]);
          if (frame[7] == 2 || frame[7] == 3)
            absl::StrAppend(&what,
                            length == 0 ? "(ACCEPT)" : absl::StrCat("(code ", frame[9], ")"));
          at += 8 + length;
        }
      }
      return absl::StrCat(std::string(1, Name(node)), " reads on connection ", event.index + 1,
                          ": ", what);
    }
    case Kind::kControl:
      return absl::StrCat(std::string(1, Name(event.index)), "'s control goes on");
    case Kind::kWorker:
      return absl::StrCat(std::string(1, Name(event.index)), "'s worker goes on");
    case Kind::kCut:
      return absl::StrCat("connection ", event.index + 1, " is cut ",
                          CutName(static_cast<CutKind>(event.side)));
    case Kind::kTime:
      return "time passes to the next deadline";
  }
  return "";
}

std::string CrossingWorld::DescribeState() const {
  std::string text;
  for (const auto& node : nodes_)
    absl::StrAppend(&text, text.empty() ? "" : "; ", node->Describe());
  return text;
}

}  // namespace helo::sim
