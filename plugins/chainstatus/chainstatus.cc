// chainstatus: as Ethereum's Status. When a session opens each side says which chain it is on and
// how far it is; peers of another chain part, politely; a new head is announced to all.
//
// Capability chainstatus/1, two messages of fixed size, numbers big-endian:
//   0 STATUS  genesis 32 bytes, height 8 bytes, head hash 32 bytes   first, once, by each side
//   1 HEAD    height 8 bytes, head hash 32 bytes                     after the own STATUS, any time
//
// What to learn here:
//   - A protocol with an order: what a peer may send depends on what it has sent. HEAD before
//     STATUS, a second STATUS or a wrong size is no accident and is PENALISEd; another genesis is
//     nobody's fault.
//   - State instead of a queue. After AGAIN only the newest head is worth sending: one flag a peer
//     is the whole backlog.
//   - Commands that show what peers said. Their agent strings are quoted, whoever wrote them.
//
// There is no chain behind it: `mine` and `set-head` move the head by hand, and the hash of a block
// that is not given is a stand-in made from genesis and height (no cryptography).
//
// Configuration: genesis = 64 hex digits (all zero), head = height at the start (0).
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <string>

#include "helo/bytes.hpp"
#include "helo/config.hpp"
#include "helo/plugin.hpp"
#include "helo/table.hpp"

namespace {

constexpr uint32_t kStatus = 0, kHead = 1;
constexpr size_t kHashBytes = 32;
using Hash = std::array<uint8_t, kHashBytes>;

Hash ToHash(helo::Bytes bytes) {
  Hash hash{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), hash.size()), hash.begin());
  return hash;
}
std::string Short(helo::Bytes bytes) { return helo::Hex(bytes).substr(0, 10); }

// The same on every node, different for every height and genesis; good for nothing else.
Hash StandIn(const Hash& genesis, uint64_t height) {
  helo::Writer out;
  helo::Reader reader(genesis);
  uint64_t x = height;
  for (int i = 0; i < 4; ++i) {
    x += reader.U64() + 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    x ^= x >> 31;
    out.U64(x);
  }
  return ToHash(out.bytes());
}

class ChainStatus final : public helo::Plugin {
 public:
  static constexpr helo::About kAbout = {
      "org.helo.chainstatus", "1.0.0", "which chain peers are on, and how far", HELO_F_UNLOADABLE};
  static constexpr helo_protocol kProtocols[] = {helo::Protocol(
      "chainstatus", 1, /*message_count=*/2, /*max_message_bytes=*/2 * kHashBytes + 8)};
  enum CommandIndex : uint32_t { kHeads, kSetHead, kMine };
  static constexpr helo_command kCommands[] = {
      helo::Command("heads", "", "this node's head and those of its peers"),
      helo::Command("set-head", "HEIGHT [HASH]", "move this node's head and announce it"),
      helo::Command("mine", "", "one block more, announced")};

  ChainStatus(const helo::Host& host, std::string_view text) : Plugin(host) {
    helo::Config config(text);
    genesis_ = ToHash(config.HexBytes("genesis", kHashBytes));
    height_ = config.Number("head", 0);
    head_ = StandIn(genesis_, height_);
    config.RejectOthers();
  }

  void OnOpen(helo::Session session, const helo::SessionInfo& info) override {
    Peer& peer = peers_.Open(session);
    peer.node = ToHash(info.node_id);
    peer.address = helo::FromC(info.address);
    peer.owes_status = true;
    Pay(session, peer);
  }
  void OnWritable(helo::Session session) override {
    if (Peer* peer = peers_.Find(session)) Pay(session, *peer);
  }
  void OnClose(helo::Session session, int32_t /*reason*/) override { peers_.Close(session); }

  helo::Verdict OnMessage(helo::Session session, uint32_t type, helo::Bytes payload) override {
    Peer* peer = peers_.Find(session);
    if (peer == nullptr) return helo::Verdict::kOk;
    helo::Reader reader(payload);
    const Hash genesis = type == kStatus ? ToHash(reader.Take(kHashBytes)) : genesis_;
    const uint64_t height = reader.U64();
    const Hash head = ToHash(reader.Take(kHashBytes));
    const char* wrong = nullptr;
    if (!reader.Done()) wrong = "a STATUS has 72 bytes and a HEAD has 40";
    if (type == kStatus && peer->known) wrong = "a second STATUS";
    if (type == kHead && !peer->known) wrong = "a HEAD before the STATUS";
    if (wrong != nullptr) {
      host().Penalise(session, wrong);
    } else if (genesis != genesis_) {
      const std::string why = "another chain: your genesis is " + Short(genesis) + "..., ours is " +
                              Short(genesis_) + "...";
      host().Info(peer->address + " is on " + why);
      host().Disconnect(session, why);
    } else {
      peer->known = true;
      peer->height = height;
      peer->head = head;
    }
    return helo::Verdict::kOk;
  }

  void OnCommand(const helo::Call& call, uint32_t command, helo::Arguments arguments) override {
    if (command == kHeads) return void(call.Answer(Heads()));
    uint64_t height = height_ + 1;
    if (command == kMine && height_ == UINT64_MAX)
      return void(call.Refuse("there is no height left"));
    if (command == kSetHead) {
      const std::string_view text = arguments.empty() ? "" : arguments[0];
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), height);
      if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
        return void(call.Refuse(helo::Quote(text) + " is not a height: set-head HEIGHT [HASH]"));
      }
    }
    Hash head = StandIn(genesis_, height);
    if (command == kSetHead && arguments.size() > 1) {
      const auto bytes = helo::Unhex(arguments[1]);
      if (!bytes || bytes->size() != kHashBytes) {
        return void(call.Refuse(helo::Quote(arguments[1]) + " is not a hash of 64 hex digits"));
      }
      head = ToHash(*bytes);
    }
    height_ = height;
    head_ = head;
    for (auto& [session, peer] : peers_) {
      peer.owes_head = true;
      Pay(session, peer);
    }
    call.Answer("the head is " + std::to_string(height_) + " " + Short(head_) + "\n");
  }

 private:
  struct Peer {
    Hash node{}, head{};
    std::string address;
    uint64_t height = 0;
    bool known = false;                           // its STATUS came
    bool owes_status = false, owes_head = false;  // what it has not been told yet
  };

  // Tells the peer what it is owed, as far as it reads.
  void Pay(helo::Session session, Peer& peer) {
    if (peer.owes_status) {
      helo::Writer status;
      status.Add(genesis_).U64(height_).Add(head_);
      if (host().Send(session, kStatus, status.bytes()) == HELO_E_AGAIN) return;
      peer.owes_status = peer.owes_head = false;  // the STATUS has the newest head
    }
    if (peer.owes_head) {
      helo::Writer head;
      head.U64(height_).Add(head_);
      if (host().Send(session, kHead, head.bytes()) == HELO_E_AGAIN) return;
      peer.owes_head = false;
    }
  }

  std::string Heads() const {
    std::map<Hash, std::string> agents;  // empty on a host without helo.peers/1
    host().EachPeer([&](const helo_peer_info& info) {
      agents[ToHash(info.node_id)] = helo::Quote(helo::FromC(info.agent));
    });
    helo::Table table({"NODE", "ADDRESS", ">HEIGHT", "HEAD", "AGENT"});
    table.Add({"this", "-", std::to_string(height_), Short(head_), "-"});
    for (const auto& [session, peer] : peers_) {
      const auto agent = agents.find(peer.node);
      table.Add({Short(peer.node), peer.address, peer.known ? std::to_string(peer.height) : "-",
                 peer.known ? Short(peer.head) : "-", agent == agents.end() ? "-" : agent->second});
    }
    return table.Print();
  }

  Hash genesis_{}, head_{};
  uint64_t height_ = 0;
  helo::SessionMap<Peer> peers_;
};

}  // namespace

HELO_PLUGIN(ChainStatus);
