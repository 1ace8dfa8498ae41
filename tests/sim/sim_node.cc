#include "tests/sim/sim_node.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "p2p/base/text.h"

namespace helo::sim {

using peers::Judgement;

class Node::Conn final : public wire::SessionSink {
 public:
  Conn(Node& node, ConnId id, Direction direction, const NodeId& remote,
       const std::optional<NodeId>& expected, const Endpoint& at)
      : node_(node), id_(id), direction_(direction), remote_(remote), at_(at) {
    wire::Session::Params params;
    params.profile = &node.profile_;
    params.role = direction == Direction::kOutbound ? wire::Role::kDialer : wire::Role::kAcceptor;
    params.remote = remote;
    params.expected = expected;
    params.started = node.clock_.Now();
    params.clock = &node.clock_;
    params.rng = &node.rng_;
    params.sink = this;
    session_ = std::make_unique<wire::Session>(std::move(params));
  }

  wire::Session& session() { return *session_; }
  const wire::Session& session() const { return *session_; }
  ConnId id() const { return id_; }
  Direction direction() const { return direction_; }
  const NodeId& remote() const { return remote_; }
  bool ended = false;  // OnEnd was told

  void OnHello(const wire::Hello& hello) override {
    peers::Candidate candidate;
    candidate.conn = id_;
    candidate.direction = direction_;
    candidate.id = remote_;
    candidate.remote = at_;
    candidate.probe = hello.purpose == wire::Purpose::kProbe;
    node_.PostControl([node = &node_, candidate] { node->OnCandidate(candidate); });
  }
  void OnUp() override {
    up_since_ = node_.clock_.Now();
    node_.PostControl([node = &node_, conn = id_, id = remote_] { node->OnUp(conn, id); });
  }
  void OnChallenge(bool alive) override {
    const Challenge outcome = alive ? Challenge::kAlive : Challenge::kDead;
    node_.PostControl(
        [node = &node_, conn = id_, outcome] { node->OnChallengeEnded(conn, outcome); });
  }
  void OnClose(const CloseInfo& close) override {
    const Duration up_for = up_since_ == kNever ? Duration{} : node_.clock_.Now() - up_since_;
    node_.PostControl(
        [node = &node_, conn = id_, close, up_for] { node->OnEnded(conn, close, up_for); });
  }
  void OnOpen(const wire::OpenChannel&) override {}
  void OnMessage(uint32_t, uint16_t, ByteView) override {}
  void OnWritable() override {}
  void OnChannelClose(uint32_t, uint32_t) override {}
  void OnPeersRequested(uint32_t) override {}
  void OnPeers(const std::vector<wire::PeerInfo>&) override {}
  void OnMismatch(const std::string&, uint16_t, uint16_t, uint16_t) override {}

 private:
  Node& node_;
  const ConnId id_;
  const Direction direction_;
  const NodeId remote_;
  const Endpoint at_;
  MonoTime up_since_ = kNever;
  std::unique_ptr<wire::Session> session_;
};

Node::Node(const Options& options, const Clock& clock, Wire& wire, Observer& observer)
    : options_(options),
      clock_(clock),
      wire_(wire),
      observer_(observer),
      rng_(options_.seed),
      table_(options_.id, options_.limits, rng_) {
  profile_.self = options_.id;
  profile_.user_agent = "sim/1";
  profile_.times = options_.times;
}
Node::~Node() = default;

// --- the worker's part

Node::Conn* Node::Find(ConnId conn) {
  const auto it = conns_.find(conn);
  return it == conns_.end() ? nullptr : it->second.get();
}

void Node::Begin(ConnId conn, Direction direction, const NodeId& remote,
                 const std::optional<NodeId>& expected, const Endpoint& at) {
  auto& slot = conns_[conn];
  assert(slot == nullptr);
  slot = std::make_unique<Conn>(*this, conn, direction, remote, expected, at);
  slot->session().Start(clock_.Now());
  Flush(*slot);
}

void Node::Deliver(ConnId conn, ByteView bytes) {
  Conn* found = Find(conn);
  if (found == nullptr || found->session().closing()) return;
  found->session().Receive(clock_.Now(), bytes);
  Flush(*found);
}

void Node::DeliverEnd(ConnId conn) {
  Conn* found = Find(conn);
  if (found == nullptr) return;
  found->session().ReceiveEof(clock_.Now(), /*close_notify=*/true);
  Flush(*found);
}

void Node::Reset(ConnId conn) {
  Conn* found = Find(conn);
  if (found == nullptr) return;
  found->ended = true;  // nobody is there to read an end
  found->session().Abort(clock_.Now(), Reason::kReset, Decider::kNetwork);
}

void Node::Tick() {
  std::vector<ConnId> due;
  for (const auto& [id, conn] : conns_) {
    if (conn->session().NextDeadline() <= clock_.Now()) due.push_back(id);
  }
  for (ConnId id : due) {
    Conn* conn = Find(id);
    conn->session().Tick(clock_.Now());
    Flush(*conn);
  }
}

MonoTime Node::NextDeadline() const {
  MonoTime next = kNever;
  for (const auto& [id, conn] : conns_) next = std::min(next, conn->session().NextDeadline());
  return next;
}

void Node::Flush(Conn& conn) {
  if (conn.ended) return;
  wire::Session& session = conn.session();
  if (const ByteView pending = session.Pending(); !pending.empty()) {
    wire_.OnBytes(conn.id(), pending);
    session.Sent(clock_.Now(), pending.size(), 0, true);
  }
  if (session.closing()) {
    conn.ended = true;
    wire_.OnEnd(conn.id());
  }
}

void Node::StepWorker() {
  auto step = std::move(worker_.front());
  worker_.pop_front();
  step();
}

void Node::StepControl() {
  auto step = std::move(control_.front());
  control_.pop_front();
  step();
}

void Node::Settle() {
  while (has_control_work() || has_worker_work()) {
    while (has_control_work()) StepControl();
    while (has_worker_work()) StepWorker();
  }
}

// --- control's part

void Node::OnCandidate(const peers::Candidate& from) {
  peers::Candidate candidate = from;
  candidate.trusted = std::find(trusted_.begin(), trusted_.end(), candidate.id) != trusted_.end();
  Answer(candidate.conn, table_.Judge(candidate, clock_.Now()));
}

void Node::Answer(ConnId conn, const Judgement& judgement) {
  if (judgement.kind == Judgement::Kind::kChallenge) {
    challenges_[judgement.challenged] = conn;
    PostWorker([this, conn, old = judgement.challenged] {
      if (Conn* newcomer = Find(conn)) newcomer->session().HoldForChallenge(clock_.Now());
      Conn* challenged = Find(old);
      if (challenged == nullptr || challenged->session().closing()) {
        PostControl([this, old] { OnChallengeEnded(old, Challenge::kDead); });
      } else if (challenged->session().Challenge(clock_.Now())) {
        Flush(*challenged);
      } else {
        PostControl([this, old] { OnChallengeEnded(old, Challenge::kRefused); });
      }
    });
    return;
  }
  wire::Verdict verdict;
  if (judgement.kind == Judgement::Kind::kRefuse)
    verdict = {judgement.reason, judgement.text, judgement.retry_after_s};
  PostWorker([this, conn, verdict] {
    Conn* found = Find(conn);
    if (found == nullptr) return;
    found->session().Decide(clock_.Now(), verdict);
    Flush(*found);
  });
}

void Node::OnChallengeEnded(ConnId challenged, Challenge outcome) {
  const auto it = challenges_.find(challenged);
  if (it == challenges_.end()) return;
  const ConnId newcomer = it->second;
  challenges_.erase(it);
  if (outcome == Challenge::kRefused) {
    Answer(newcomer, table_.ChallengeRefused(newcomer));
    return;
  }
  const auto result = table_.ChallengeEnded(newcomer, outcome == Challenge::kAlive, clock_.Now());
  for (const peers::Closing& closing : result.close) Close(closing.conn, closing.reason);
  Answer(newcomer, result.judgement);
}

void Node::OnUp(ConnId conn, const NodeId& id) {
  const peers::UpResult result = table_.Up(conn, clock_.Now());
  for (const peers::Closing& closing : result.close) Close(closing.conn, closing.reason);
  if (!result.up) {
    Close(conn, result.refused);
    return;
  }
  observer_.OnPeerUp(conn, id);
}

void Node::OnEnded(ConnId conn, const CloseInfo& close, Duration up_for) {
  table_.Closed(conn, clock_.Now());
  conns_.erase(conn);
  OnChallengeEnded(conn, Challenge::kDead);
  observer_.OnEnded(conn, close, up_for);
}

void Node::Close(ConnId conn, Reason reason) {
  PostWorker([this, conn, reason] {
    Conn* found = Find(conn);
    if (found == nullptr) return;
    found->session().Close(clock_.Now(), reason);
    Flush(*found);
  });
}

// --- what tests look at

std::vector<ConnId> Node::Up(const NodeId& remote) const {
  std::vector<ConnId> up;
  for (const auto& [id, conn] : conns_) {
    if (conn->remote() == remote && conn->session().up()) up.push_back(id);
  }
  return up;
}

size_t Node::up_inbound() const {
  return static_cast<size_t>(std::count_if(conns_.begin(), conns_.end(), [](const auto& item) {
    return item.second->direction() == Direction::kInbound && item.second->session().up();
  }));
}

bool Node::Open(ConnId conn) const {
  const auto it = conns_.find(conn);
  return it != conns_.end() && !it->second->session().closing();
}

std::string Node::Describe() const {
  std::string text = absl::StrCat(options_.id.Short(), ":");
  for (const auto& [id, conn] : conns_) {
    absl::StrAppend(&text, " [", id, " ", ToAbsl(ToString(conn->direction())), " ",
                    conn->remote().Short(), " ",
                    conn->session().closing() ? "closing"
                    : conn->session().up()    ? "up"
                                              : ToAbsl(ToString(conn->session().stage())),
                    "]");
  }
  return text;
}

}  // namespace helo::sim
