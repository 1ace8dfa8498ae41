// Long: links, faults and nodes of one simulation share its state.
#include "tests/sim/network.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include <algorithm>

#include "p2p/base/text.h"

namespace helo::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration kConnectTimeout = 5s;
constexpr size_t kLogLines = 400;

}  // namespace

class Network::Port final : public Wire, public Observer {
 public:
  Port(Network& network, size_t host) : network_(network), host_(host) {}
  void OnBytes(ConnId conn, ByteView bytes) override {
    const int side = Side(conn);
    // As TCP likes it: in pieces that have nothing to do with frames.
    while (!bytes.empty()) {
      const size_t n =
          network_.rng_.Below(3) == 0 ? 1 + network_.rng_.Below(bytes.size()) : bytes.size();
      network_.Send(conn - 1, side,
                    {Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n)), false});
      bytes = bytes.subspan(n);
    }
  }
  void OnEnd(ConnId conn) override { network_.Send(conn - 1, Side(conn), {{}, true}); }
  void OnPeerUp(ConnId conn, const NodeId& id) override { network_.OnPeerUp(host_, conn, id); }
  void OnEnded(ConnId conn, const CloseInfo& close, Duration up_for) override {
    network_.OnEnded(host_, conn, close, up_for);
  }

 private:
  int Side(ConnId conn) const { return network_.links_.at(conn - 1).dialer == host_ ? 1 : 0; }
  Network& network_;
  const size_t host_;
};

Network::Network(uint64_t seed, size_t nodes, peers::TableLimits limits)
    : rng_(seed), limits_(limits), hosts_(nodes) {
  for (size_t i = 0; i < nodes; ++i) hosts_[i].port = std::make_unique<Port>(*this, i);
}
Network::~Network() = default;

// Not in the order of the hosts, so that the referee is now the one, now the other.
NodeId Network::IdOf(size_t host) const {
  NodeId id;
  id.bytes[0] = static_cast<uint8_t>(host * 151 + 17);
  id.bytes[31] = static_cast<uint8_t>(host);
  return id;
}

std::optional<size_t> Network::HostOf(const PeerAddress& address) const {
  const auto ip = address.literal();
  if (!ip) return std::nullopt;
  return size_t{ip->bytes()[2]} << 8 | ip->bytes()[3];
}

void Network::At(MonoTime when, std::function<void()> what) {
  events_.emplace(std::pair(when, next_event_++), std::move(what));
}

void Network::AtLife(size_t host, MonoTime when, std::function<void()> what) {
  At(when, [this, host, life = hosts_[host].life, what = std::move(what)] {
    if (hosts_[host].life == life && hosts_[host].node != nullptr) what();
  });
}

Duration Network::RandomDelay() {
  const uint64_t width = static_cast<uint64_t>((delay_.second - delay_.first).count());
  return delay_.first + Duration(rng_.Below(width + 1));
}

void Network::Say(std::string line) {
  log_.push_back(
      absl::StrFormat("%10.3f s  %s", std::chrono::duration<double>(Since()).count(), line));
  if (log_.size() > kLogLines) log_.pop_front();
}

// --- hosts

void Network::AddTarget(size_t from, size_t to, bool named) {
  hosts_[from].targets.emplace_back(to, named);
}
void Network::Trust(size_t host, size_t trusted) { hosts_[host].trusted.push_back(trusted); }

void Network::Start(size_t index) {
  Host& host = hosts_[index];
  if (host.node != nullptr) return;
  ++host.life;
  host.powered = true;
  host.control_scheduled = host.worker_scheduled = false;
  host.tick_at = host.dial_at = kNever;
  Node::Options options;
  options.id = IdOf(index);
  options.limits = limits_;
  options.seed = rng_.U64();
  host.node = std::make_unique<Node>(options, clock_, *host.port, *host.port);
  for (size_t trusted : host.trusted) host.node->Trust(IdOf(trusted));
  host.dials = std::make_unique<peers::DialScheduler>(peers::DialTimes{}, rng_);
  for (const auto& [to, named] : host.targets) {
    PeerAddress address;
    address.host = absl::StrCat("10.0.", to >> 8, ".", to & 0xff);
    address.port = 4356;
    if (named) address.id = IdOf(to);
    host.dials->Add(address, peers::TargetKind::kStatic, false, clock_.Now());
  }
  Say(absl::StrCat("host ", index, " starts"));
  ArmDial(index);
}

void Network::Stop(size_t index, DownKind kind) {
  Host& host = hosts_[index];
  if (host.node == nullptr) return;
  Say(absl::StrCat("host ", index, kind == DownKind::kKilled ? " is killed" : " loses power"));
  ++host.life;
  host.powered = kind == DownKind::kKilled;
  host.node.reset();
  host.dials.reset();
  if (kind == DownKind::kPowerOff) return;
  for (size_t i = 0; i < links_.size(); ++i) {
    Link& link = links_[i];
    if (link.dialer == index) ResetEnd(i, 1);
    if (link.acceptor == index) ResetEnd(i, 0);
  }
}

void Network::Touched(size_t index) {
  Host& host = hosts_[index];
  if (host.node == nullptr) return;
  CheckRules(index);
  if (host.node->has_control_work() && !host.control_scheduled) {
    host.control_scheduled = true;
    AtLife(index, clock_.Now() + Duration(rng_.Below(1'000'000)), [this, index] {
      hosts_[index].control_scheduled = false;
      if (hosts_[index].node->has_control_work()) hosts_[index].node->StepControl();
      Touched(index);
    });
  }
  if (host.node->has_worker_work() && !host.worker_scheduled) {
    host.worker_scheduled = true;
    AtLife(index, clock_.Now() + Duration(rng_.Below(1'000'000)), [this, index] {
      hosts_[index].worker_scheduled = false;
      if (hosts_[index].node->has_worker_work()) hosts_[index].node->StepWorker();
      Touched(index);
    });
  }
  const MonoTime deadline = host.node->NextDeadline();
  if (deadline < host.tick_at) {
    host.tick_at = deadline;
    AtLife(index, std::max(deadline, clock_.Now()), [this, index, deadline] {
      if (hosts_[index].tick_at == deadline) hosts_[index].tick_at = kNever;
      hosts_[index].node->Tick();
      Touched(index);
    });
  }
}

// --- dialing, as the server's control does it

void Network::ArmDial(size_t index) {
  Host& host = hosts_[index];
  const MonoTime due = host.dials->NextDue();
  if (due >= host.dial_at) return;
  host.dial_at = due;
  AtLife(index, std::max(due, clock_.Now()), [this, index, due] {
    if (hosts_[index].dial_at == due) hosts_[index].dial_at = kNever;
    DialDue(index);
  });
}

void Network::DialDue(size_t index) {
  Host& host = hosts_[index];
  for (const peers::Target& target : host.dials->Due(clock_.Now(), 1000, [&](const NodeId& id) {
         return host.node->table().Connected(id);
       })) {
    Connect(index, target);
  }
  ArmDial(index);
}

void Network::DialFailed(size_t from, uint64_t life, peers::TargetId target, Reason reason,
                         Duration after) {
  At(clock_.Now() + after, [this, from, life, target, reason] {
    Host& host = hosts_[from];
    if (host.life != life || host.node == nullptr) return;
    peers::DialOutcome outcome;
    outcome.close.reason = reason;
    outcome.close.decider = Decider::kNetwork;
    host.dials->Ended(target, outcome, clock_.Now());
    ++ended_[reason];
    ArmDial(from);
  });
}

void Network::Connect(size_t from, const peers::Target& target) {
  const size_t to = HostOf(target.address).value();
  const uint64_t life = hosts_[from].life;
  if (Blocked(from, to) || !hosts_[to].powered) {
    DialFailed(from, life, target.id, Reason::kConnectTimeout, kConnectTimeout);
    return;
  }
  const Duration there = RandomDelay();
  if (hosts_[to].node == nullptr) {
    DialFailed(from, life, target.id, Reason::kRefused, 2 * there);
    return;
  }
  Link link;
  link.dialer = from;
  link.acceptor = to;
  link.dialer_life = life;
  link.acceptor_life = hosts_[to].life;
  link.target = target.id;
  links_.push_back(std::move(link));
  const size_t index = links_.size() - 1;
  // TCP and TLS: two round trips until the dialer's HELLO leaves.
  AtLife(from, clock_.Now() + 4 * there, [this, index, named = target.address.id] {
    const Link& made = links_[index];
    Say(absl::StrCat("host ", made.dialer, " dials ", made.acceptor, ": link ", index));
    const Endpoint at{IpAddress::V4({10, 0, static_cast<uint8_t>(made.acceptor >> 8),
                                     static_cast<uint8_t>(made.acceptor)}),
                      4356};
    hosts_[made.dialer].node->Begin(index + 1, Direction::kOutbound, IdOf(made.acceptor), named,
                                    at);
    Touched(made.dialer);
  });
}

// --- links

void Network::Send(size_t index, int side, Chunk chunk) {
  Link& link = links_[index];
  Direction2& way = link.toward[static_cast<size_t>(side)];
  if (way.dead) return;
  if (Blocked(link.dialer, link.acceptor) || !way.parked.empty()) {
    way.parked.push_back(std::move(chunk));
    return;
  }
  way.last = std::max(way.last, clock_.Now() + RandomDelay());
  At(way.last, [this, index, side, chunk = std::move(chunk)] { Arrive(index, side, chunk); });
}

void Network::Arrive(size_t index, int side, const Chunk& chunk) {
  Link& link = links_[index];
  if (link.toward[static_cast<size_t>(side)].dead) return;
  const size_t to = side == 0 ? link.dialer : link.acceptor;
  const uint64_t life = side == 0 ? link.dialer_life : link.acceptor_life;
  Host& host = hosts_[to];
  if (!host.powered) return;
  if (host.node == nullptr || host.life != life) {  // whoever that was for is gone
    ResetEnd(index, 1 - side);
    return;
  }
  const ConnId conn = index + 1;
  if (side == 1 && !link.accepted) {
    link.accepted = true;
    const Endpoint at{IpAddress::V4({10, static_cast<uint8_t>(1 + link.dialer), 0, 1}), 50000};
    host.node->Begin(conn, Direction::kInbound, IdOf(link.dialer), std::nullopt, at);
  }
  if (chunk.end) {
    host.node->DeliverEnd(conn);
  } else {
    host.node->Deliver(conn, chunk.bytes);
  }
  Touched(to);
}

// An RST travels to one end.
void Network::ResetEnd(size_t index, int side) {
  Link& link = links_[index];
  Direction2& way = link.toward[static_cast<size_t>(side)];
  if (way.dead || Blocked(link.dialer, link.acceptor)) return;
  way.last = std::max(way.last, clock_.Now() + RandomDelay());
  At(way.last, [this, index, side] {
    Link& reset = links_[index];
    const size_t to = side == 0 ? reset.dialer : reset.acceptor;
    const uint64_t life = side == 0 ? reset.dialer_life : reset.acceptor_life;
    if (hosts_[to].node == nullptr || hosts_[to].life != life) return;
    hosts_[to].node->Reset(index + 1);
    Touched(to);
  });
}

void Network::Reset(size_t index) {
  Say(absl::StrCat("link ", index, " is reset"));
  ResetEnd(index, 0);
  ResetEnd(index, 1);
}

void Network::Kill(size_t index, bool toward_dialer, bool toward_acceptor) {
  Say(absl::StrCat("link ", index, " dies silently", toward_dialer ? ", toward the dialer" : "",
                   toward_acceptor ? ", toward the acceptor" : ""));
  links_[index].toward[0].dead |= toward_dialer;
  links_[index].toward[1].dead |= toward_acceptor;
}

void Network::Partition(const std::vector<bool>& side) {
  std::string text = "partition:";
  for (bool one : side) text += one ? " 1" : " 0";
  Say(std::move(text));
  side_ = side;
}

void Network::Heal() {
  Say("the partition heals");
  side_.clear();
  for (size_t i = 0; i < links_.size(); ++i) {
    for (int side : {0, 1}) {
      Direction2& way = links_[i].toward[static_cast<size_t>(side)];
      std::deque<Chunk> parked = std::exchange(way.parked, {});
      if (!parked.empty())
        way.last = clock_.Now() + Duration(rng_.Below(5'000'000'000));  // sent again
      for (Chunk& chunk : parked) Send(i, side, std::move(chunk));
    }
  }
}

// --- what control learns

void Network::OnPeerUp(size_t index, ConnId conn, const NodeId& id) {
  Host& host = hosts_[index];
  const Link& link = links_[conn - 1];
  Say(absl::StrCat("host ", index, ": link ", conn - 1, " is up"));
  if (link.dialer == index) host.dials->Connected(link.target, id);
}

void Network::OnEnded(size_t index, ConnId conn, const CloseInfo& close, Duration up_for) {
  Host& host = hosts_[index];
  const Link& link = links_[conn - 1];
  ++ended_[close.reason];
  Say(absl::StrCat("host ", index, ": link ", conn - 1, " ended: ", ToAbsl(Label(close.reason)),
                   " by ", ToAbsl(ToString(close.decider))));
  const bool dialer = link.dialer == index;
  const NodeId remote = IdOf(dialer ? link.acceptor : link.dialer);
  if (dialer) {
    const peers::Target* target = host.dials->Get(link.target);
    peers::DialOutcome outcome;
    outcome.close = close;
    outcome.up_for = up_for;
    outcome.proven_id = remote;
    outcome.over_tls_from_expected_id = target != nullptr && target->address.id == remote;
    host.dials->Ended(link.target, outcome, clock_.Now());
  }
  if (!host.node->table().Connected(remote)) host.dials->PeerEnded(remote, clock_.Now());
  ArmDial(index);
}

// --- what tests look at

void Network::CheckRules(size_t index) {
  if (!broken_.empty()) return;
  const Node& self = *hosts_[index].node;
  for (size_t other = 0; other < hosts_.size(); ++other) {
    const NodeId id = IdOf(other);
    const size_t up = self.Up(id).size();
    if (up <= 1) continue;
    if (self.id() > id)
      broken_ = absl::StrCat("two connections are up at the referee, host ", index);
    if (up > 2) broken_ = absl::StrCat("three connections of one peer are up at host ", index);
  }
  const peers::PeerTable& table = self.table();
  if (table.outbound() > table.limits().max_outbound)
    broken_ = absl::StrCat("more outbound peers than slots at host ", index);
  if (!broken_.empty()) Say(broken_);
}

std::vector<size_t> Network::OpenLinks() const {
  std::vector<size_t> open;
  for (size_t i = 0; i < links_.size(); ++i) {
    const Link& link = links_[i];
    const auto open_at = [&](size_t host, uint64_t life) {
      return hosts_[host].node != nullptr && hosts_[host].life == life &&
             hosts_[host].node->Open(i + 1);
    };
    if (open_at(link.dialer, link.dialer_life) || open_at(link.acceptor, link.acceptor_life))
      open.push_back(i);
  }
  return open;
}

std::set<size_t> Network::UpLinks() const {
  std::set<size_t> up;
  for (const Host& host : hosts_) {
    if (host.node == nullptr) continue;
    for (size_t other = 0; other < hosts_.size(); ++other) {
      for (ConnId conn : host.node->Up(IdOf(other))) up.insert(conn - 1);
    }
  }
  return up;
}

std::string Network::WhyNoMesh() const {
  for (size_t from = 0; from < hosts_.size(); ++from) {
    for (const auto& [to, named] : hosts_[from].targets) {
      if (!running(from) || !running(to))
        return absl::StrCat("host ", from, " or ", to, " is down");
      const std::vector<ConnId> here = node(from).Up(IdOf(to));
      const std::vector<ConnId> there = node(to).Up(IdOf(from));
      if (here.size() != 1 || here != there) {
        return absl::StrCat("hosts ", from, " and ", to, " have ", here.size(), " and ",
                            there.size(), " connections up, or not the same");
      }
    }
  }
  return "";
}

bool Network::Settled() const {
  const std::set<size_t> up = UpLinks();
  for (size_t link : OpenLinks()) {
    if (!up.contains(link) || links_[link].toward[0].dead || links_[link].toward[1].dead)
      return false;
  }
  return true;
}

uint64_t Network::CountEnded(Reason reason) const {
  const auto it = ended_.find(reason);
  return it == ended_.end() ? 0 : it->second;
}

std::string Network::Log() const {
  std::string text;
  for (const std::string& line : log_) absl::StrAppend(&text, line, "\n");
  return text;
}

void Network::RunFor(Duration time) {
  const MonoTime until = clock_.Now() + time;
  RunUntil([] { return false; }, time);
  clock_.Set(until);
}

bool Network::RunUntil(const std::function<bool()>& done, Duration within) {
  const MonoTime until = clock_.Now() + within;
  while (!done()) {
    const auto next = events_.begin();
    if (next == events_.end() || next->first.first > until) return false;
    clock_.Set(std::max(clock_.Now(), next->first.first));
    const std::function<void()> event = std::move(next->second);
    events_.erase(next);
    event();
  }
  return true;
}

}  // namespace helo::sim
