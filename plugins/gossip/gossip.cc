// gossip: publish and subscribe by flooding. What one node publishes, every node of the network
// sees once. Each node hands a note that is new to it to all its peers but the one it came from.
//
// Capability gossip/1, one message:
//   0 NOTE   id    16 bytes  random, chosen by the publisher: the same note is known by it
//            hops   1 byte   links that it has travelled, this one included: 1 to 16
//            text   the rest, 1 to 4,096 bytes, any
//
// What to learn here, all of it against a peer that lies:
//   - Bounded memory. The ids that are known are a ring (`remember`), the log is one, too. An id
//     that fell out may come round again: that is why hops end a note's way even so.
//   - Sizes are checked before anything is believed. What no honest node sends is PENALISEd.
//   - A rate for each peer. What is above it is dropped and not remembered, so that another peer's
//     copy gets through; the peer is not blamed, for it may only hand on what others flood.
//   - AGAIN: that peer misses the note, which is counted. Flooding has other ways round, and a
//     queue here would only be slower than they are.
//
// Configuration: rate = notes a second from one peer (100), remember = ids (4096).
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <deque>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "helo/bytes.hpp"
#include "helo/config.hpp"
#include "helo/plugin.hpp"
#include "helo/table.hpp"

namespace {

constexpr uint32_t kNote = 0;
constexpr size_t kIdBytes = 16, kMaxText = 4096, kMaxLog = 256, kLogLines = 20;
constexpr uint8_t kMaxHops = 16;
using Id = std::array<uint8_t, kIdBytes>;
using Seconds = std::chrono::duration<double>;

class Gossip final : public helo::Plugin {
 public:
  static constexpr helo::About kAbout = {
      "org.helo.gossip", "1.0.0", "floods short notes through the network", HELO_F_UNLOADABLE};
  static constexpr helo_protocol kProtocols[] = {
      helo::Protocol("gossip", 1, /*message_count=*/1, kIdBytes + 1 + kMaxText)};
  enum CommandIndex : uint32_t { kPublish, kLog, kStats };
  static constexpr helo_command kCommands[] = {
      helo::Command("publish", "TEXT...", "send a note to every node of the network"),
      helo::Command("log", "[N]", "the last notes seen: when, from whom, over how many links"),
      helo::Command("stats", "", "how many notes came, were new, went on and were missed")};

  Gossip(const helo::Host& host, std::string_view text) : Plugin(host) {
    helo::Config config(text);
    rate_ = static_cast<double>(config.Number("rate", 100, 1, 1'000'000));
    remember_ = config.Number("remember", 4096, 16, 1 << 20);
    config.RejectOthers();
  }

  void OnOpen(helo::Session session, const helo::SessionInfo& info) override {
    peers_.Open(session, helo::Hex(info.node_id).substr(0, 10), Burst(), host().Now());
  }
  void OnClose(helo::Session session, int32_t /*reason*/) override { peers_.Close(session); }

  helo::Verdict OnMessage(helo::Session session, uint32_t /*type*/, helo::Bytes payload) override {
    Peer* peer = peers_.Find(session);
    if (peer == nullptr) return helo::Verdict::kOk;
    ++stats_.received;
    if (!Within(*peer)) {
      ++stats_.too_fast;
      return helo::Verdict::kOk;
    }
    helo::Reader reader(payload);
    const helo::Bytes id_bytes = reader.Take(kIdBytes);
    const uint8_t hops = reader.U8();
    const helo::Bytes text = reader.Rest();
    if (!reader.ok() || hops == 0 || hops > kMaxHops || text.empty()) {
      host().Penalise(session, "a NOTE is 16 bytes of id, 1 to 16 hops and a text");
      return helo::Verdict::kOk;
    }
    Id id;
    std::copy(id_bytes.begin(), id_bytes.end(), id.begin());
    if (!Remember(id)) {
      ++stats_.known;
      return helo::Verdict::kOk;
    }
    Keep(peer->name, hops, helo::AsText(text));
    if (hops < kMaxHops) Flood(id, static_cast<uint8_t>(hops + 1), text, session);
    return helo::Verdict::kOk;
  }

  void OnCommand(const helo::Call& call, uint32_t command, helo::Arguments arguments) override {
    if (command == kPublish) return Publish(call, arguments);
    if (command == kLog) return Log(call, arguments);
    helo::Table table({"WHAT", ">NOTES"});
    const std::pair<const char*, uint64_t> rows[] = {
        {"published here", stats_.published}, {"received", stats_.received},
        {"known already", stats_.known},      {"above a peer's rate", stats_.too_fast},
        {"sent to peers", stats_.sent},       {"missed by a slow peer", stats_.missed},
        {"ids remembered", ring_.size()}};
    for (const auto& [what, count] : rows) table.Add({what, std::to_string(count)});
    call.Answer(table.Print());
  }

 private:
  struct Peer {
    std::string name;
    double tokens;
    std::chrono::nanoseconds refilled;
  };
  struct Seen {
    std::chrono::nanoseconds at;
    std::string from;
    uint8_t hops;
    std::string text;
  };
  struct Stats {
    uint64_t published = 0, received = 0, known = 0, too_fast = 0, sent = 0, missed = 0;
  };

  // A bucket of four seconds' worth: what is left in it is how much may come at once.
  double Burst() const { return 4 * rate_; }
  bool Within(Peer& peer) const {
    const std::chrono::nanoseconds now = host().Now();
    const double refill = std::chrono::duration_cast<Seconds>(now - peer.refilled).count() * rate_;
    peer.refilled = now;
    peer.tokens = std::min(Burst(), peer.tokens + refill);
    if (peer.tokens < 1) return false;
    peer.tokens -= 1;
    return true;
  }

  // False: known already. A set and not a hash table: a peer chooses the ids.
  bool Remember(const Id& id) {
    if (!known_.insert(id).second) return false;
    ring_.push_back(id);
    if (ring_.size() > remember_) {
      known_.erase(ring_.front());
      ring_.pop_front();
    }
    return true;
  }
  void Keep(const std::string& from, uint8_t hops, std::string_view text) {
    seen_.push_back({host().Now(), from, hops, std::string(text)});
    if (seen_.size() > kMaxLog) seen_.pop_front();
  }

  size_t Flood(const Id& id, uint8_t hops, helo::Bytes text, helo::Session except) {
    helo::Writer note;
    note.Add(id).U8(hops).Add(text);
    size_t sent = 0;
    for (const auto& [session, peer] : peers_) {
      if (session == except) continue;
      const helo_status status = host().Send(session, kNote, note.bytes());
      if (status == HELO_OK) ++sent;
      if (status == HELO_E_AGAIN) ++stats_.missed;
    }
    stats_.sent += sent;
    return sent;
  }

  void Publish(const helo::Call& call, helo::Arguments arguments) {
    std::string text;
    for (const std::string_view word : arguments) {
      text += (text.empty() ? "" : " ");
      text += word;
    }
    if (text.empty()) return void(call.Refuse("publish what? publish TEXT..."));
    if (text.size() > kMaxText) {
      return void(call.Refuse("the text has " + std::to_string(text.size()) +
                              " bytes; a note has at most " + std::to_string(kMaxText)));
    }
    if (peers_.empty()) {
      return void(call.Refuse("nothing was published: no peer that has gossip/1 is connected"));
    }
    Id id;
    std::random_device random;
    std::generate(id.begin(), id.end(), [&] { return static_cast<uint8_t>(random()); });
    Remember(id);
    ++stats_.published;
    Keep("here", 0, text);
    const size_t sent = Flood(id, 1, helo::AsBytes(text), /*except=*/0);
    call.Answer("sent to " + std::to_string(sent) + " of " + std::to_string(peers_.size()) +
                " peers\n");
  }

  void Log(const helo::Call& call, helo::Arguments arguments) {
    size_t lines = kLogLines;
    if (!arguments.empty()) {
      const std::string_view text = arguments[0];
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), lines);
      if (error != std::errc() || end != text.data() + text.size() || lines == 0) {
        return void(call.Refuse(helo::Quote(text) + " is not a number of lines"));
      }
    }
    if (seen_.empty()) return void(call.Answer("no note was seen yet\n"));
    helo::Table table({">AGO", "FROM", ">HOPS", "TEXT"});
    const auto first = seen_.end() - static_cast<ptrdiff_t>(std::min(lines, seen_.size()));
    for (auto it = first; it != seen_.end(); ++it) {
      const auto ago = std::chrono::duration_cast<std::chrono::seconds>(host().Now() - it->at);
      table.Add({std::to_string(ago.count()) + "s", it->from, std::to_string(it->hops),
                 helo::Quote(it->text)});
    }
    std::string answer = table.Print();
    // A quoted byte takes up to four: 256 notes of 4,096 hostile bytes are more than an answer may
    // have.
    if (answer.size() > HELO_MAX_ANSWER_BYTES) {
      return void(call.Refuse("that is above 1 MiB; ask for fewer lines: log N"));
    }
    call.Answer(answer);
  }

  double rate_ = 0;
  size_t remember_ = 0;
  helo::SessionMap<Peer> peers_;
  std::set<Id> known_;
  std::deque<Id> ring_;
  std::deque<Seen> seen_;
  Stats stats_;
};

}  // namespace

HELO_PLUGIN(Gossip);
