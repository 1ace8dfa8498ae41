// Peers: the table, and one in full.
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <google/protobuf/repeated_field.h>

#include <algorithm>
#include <array>
#include <functional>
#include <limits>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/text.h"
#include "rpc/tool/render.h"
#include "rpc/tool/units.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;
using Names = google::protobuf::RepeatedPtrField<std::string>;

std::string DirectionWord(pb::Direction direction) {
  switch (direction) {
    case pb::INBOUND:
      return "in";
    case pb::OUTBOUND:
      return "out";
    default:
      return "?";
  }
}

Duration Micros(int64_t us) { return std::chrono::microseconds(us); }
Duration Millis(int64_t ms) { return std::chrono::milliseconds(ms); }

std::string Skew(const pb::Peer& peer) {
  if (!peer.has_skew_us()) return "-";
  return absl::StrCat(peer.skew_us() < 0 ? "" : "+", CompactDuration(Micros(peer.skew_us())));
}

std::string Join(const Names& names) { return names.empty() ? "-" : absl::StrJoin(names, ","); }

std::string Flags(const pb::Peer& peer) {
  std::vector<std::string> flags;
  if (peer.trusted()) flags.push_back("trusted");
  if (peer.from_configuration()) flags.push_back("static");
  if (peer.reading_paused()) flags.push_back("paused");
  return flags.empty() ? "-" : absl::StrJoin(flags, ",");
}

struct PeerColumn {
  Column column;
  bool wide_only;
  std::function<std::string(const pb::Peer&)> text;
  std::function<std::string(const pb::Peer&)> brief = nullptr;  // where the text has no room
};

std::vector<PeerColumn> PeerColumns(size_t id_digits) {
  return {
      {{"ID"}, false, [id_digits](const pb::Peer& p) { return p.id().substr(0, id_digits); }},
      {{"DIR"}, false, [](const pb::Peer& p) { return DirectionWord(p.direction()); }},
      {{"ADDRESS"}, false, [](const pb::Peer& p) { return p.remote(); }},
      {{"LOCAL"}, true, [](const pb::Peer& p) { return p.local(); }},
      {{"AGENT", false, 8}, false, [](const pb::Peer& p) { return p.user_agent(); }},
      {{"SHARED", false, 8, 2},
       false,
       [](const pb::Peer& p) { return Join(p.shared()); },
       [](const pb::Peer& p) { return absl::StrCat(p.shared_size(), " names"); }},
      {{"ONLY OURS"}, true, [](const pb::Peer& p) { return Join(p.only_ours()); }},
      {{"ONLY THEIRS"}, true, [](const pb::Peer& p) { return Join(p.only_theirs()); }},
      {{"AGE", true}, false, [](const pb::Peer& p) { return CompactDuration(Millis(p.age_ms())); }},
      {{"RTT", true},
       false,
       [](const pb::Peer& p) {
         return p.has_rtt_us() ? CompactDuration(Micros(p.rtt_us())) : "-";
       }},
      {{"SKEW", true, 0, 4}, false, Skew},
      {{"IN", true}, false, [](const pb::Peer& p) { return CompactBytes(p.bytes_in()); }},
      {{"OUT", true, 0, 1}, false, [](const pb::Peer& p) { return CompactBytes(p.bytes_out()); }},
      {{"QUEUED", true}, true, [](const pb::Peer& p) { return CompactBytes(p.queued_bytes()); }},
      {{"LAST MSG", true, 0, 3},
       false,
       [](const pb::Peer& p) {
         return p.has_last_message_ms() ? CompactDuration(Millis(p.last_message_ms())) : "-";
       }},
      {{"FD", true, 0, 5}, false, [](const pb::Peer& p) { return absl::StrCat(p.fd()); }},
      {{"CONNECTION", true}, true, [](const pb::Peer& p) { return absl::StrCat(p.connection()); }},
      {{"FLAGS"}, true, Flags},
  };
}

using Less = std::function<bool(const pb::Peer&, const pb::Peer&)>;

template <typename Key>
Less By(Key key) {
  return [key](const pb::Peer& a, const pb::Peer& b) { return key(a) < key(b); };
}

constexpr int64_t kUnknownLast = std::numeric_limits<int64_t>::max();

struct SortKey {
  std::string_view name;
  Less less;
};

const std::array<SortKey, 11>& SortKeys() {
  static const auto* keys = new std::array<SortKey, 11>{{
      {"id", By([](const pb::Peer& p) { return p.id(); })},
      {"direction", By([](const pb::Peer& p) { return static_cast<int>(p.direction()); })},
      {"address", By([](const pb::Peer& p) { return p.remote(); })},
      {"agent", By([](const pb::Peer& p) { return p.user_agent(); })},
      {"age", By([](const pb::Peer& p) { return p.age_ms(); })},
      {"rtt", By([](const pb::Peer& p) { return p.has_rtt_us() ? p.rtt_us() : kUnknownLast; })},
      {"skew", By([](const pb::Peer& p) { return p.has_skew_us() ? p.skew_us() : kUnknownLast; })},
      {"in", By([](const pb::Peer& p) { return p.bytes_in(); })},
      {"out", By([](const pb::Peer& p) { return p.bytes_out(); })},
      {"last", By([](const pb::Peer& p) {
         return p.has_last_message_ms() ? p.last_message_ms() : kUnknownLast;
       })},
      {"fd", By([](const pb::Peer& p) { return p.fd(); })},
  }};
  return *keys;
}

}  // namespace

absl::Status SortPeers(std::vector<pb::Peer>& peers, std::string_view key, bool reverse) {
  const auto& keys = SortKeys();
  const auto* found =
      std::find_if(keys.begin(), keys.end(), [key](const SortKey& k) { return k.name == key; });
  if (found == keys.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--sort: '", QuoteRemote(key), "' is not a column. They are: ",
        absl::StrJoin(keys, ", ",
                      [](std::string* out, const SortKey& k) { out->append(k.name); })));
  }
  std::stable_sort(peers.begin(), peers.end(), [&](const pb::Peer& a, const pb::Peer& b) {
    return reverse ? found->less(b, a) : found->less(a, b);
  });
  return absl::OkStatus();
}

std::string RenderPeers(const std::vector<pb::Peer>& peers, const View& view) {
  if (peers.empty()) return "no peers\n";
  std::vector<std::string> ids;
  ids.reserve(peers.size());
  for (const pb::Peer& peer : peers) ids.push_back(peer.id());
  std::vector<Column> columns;
  std::vector<PeerColumn> used;
  for (PeerColumn& column : PeerColumns(ShortIdLength(ids))) {
    if (column.wide_only && !view.wide) continue;
    columns.push_back(column.column);
    used.push_back(std::move(column));
  }
  Table table(std::move(columns));
  for (const pb::Peer& peer : peers) {
    std::vector<Cell> row;
    row.reserve(used.size());
    for (const PeerColumn& column : used) {
      row.emplace_back(column.text(peer));
      if (column.brief) row.back().brief = column.brief(peer);
    }
    table.AddRow(std::move(row));
  }
  Style style = view.style;
  if (view.wide) style.width = 0;
  return table.Render(style, "", "--wide shows all");
}

std::string RenderPeer(const pb::Peer& peer, const View& view) {
  Listing facts;
  facts.Add("id", peer.id());
  facts.Add("direction",
            absl::StrCat(DirectionWord(peer.direction()), ", connection ", peer.connection()));
  facts.Add("address", absl::StrCat(peer.remote(), " (here ", peer.local(), ")"));
  facts.Add("user agent", absl::StrCat(peer.user_agent(), ", minor version ", peer.minor()));
  facts.Add("capabilities",
            absl::StrCat("shared ", Join(peer.shared()), "; only ours ", Join(peer.only_ours()),
                         "; only theirs ", Join(peer.only_theirs())));
  facts.Add("up", absl::StrCat(HumanDuration(Millis(peer.age_ms()).count()), ", since ",
                               FormatTime(peer.up_since_unix_us(), view.now_unix_us)));
  facts.Add(
      "round trip",
      peer.has_rtt_us()
          ? absl::StrCat(
                HumanDuration(Micros(peer.rtt_us()).count()),
                peer.has_least_rtt_us()
                    ? absl::StrCat(", least ", HumanDuration(Micros(peer.least_rtt_us()).count()))
                    : "")
          : "not measured yet");
  facts.Add("clock skew", peer.has_skew_us() ? Skew(peer) : "not measured yet");
  facts.Add("received", HumanBytes(peer.bytes_in()));
  facts.Add("sent", absl::StrCat(HumanBytes(peer.bytes_out()), ", ",
                                 HumanBytes(peer.queued_bytes()), " waiting to be sent"));
  facts.Add("last message",
            peer.has_last_message_ms()
                ? absl::StrCat(HumanDuration(Millis(peer.last_message_ms()).count()), " ago")
                : "none yet");
  facts.Add("last frame",
            peer.has_last_receive_ms()
                ? absl::StrCat(HumanDuration(Millis(peer.last_receive_ms()).count()), " ago")
                : "none yet");
  if (peer.late_frames() > 0) facts.Add("late frames", absl::StrCat(peer.late_frames()));
  facts.Add("fd", absl::StrCat(peer.fd(), peer.loop().empty() ? "" : ", loop ", peer.loop()));
  facts.Add("flags", Flags(peer));
  std::string out = facts.Render(view.style);
  if (!peer.frames().empty()) {
    Table frames(
        {{"FRAMES"}, {"IN", true}, {"BYTES IN", true}, {"OUT", true}, {"BYTES OUT", true}});
    for (const pb::FrameCount& count : peer.frames()) {
      frames.AddRow({count.name(), absl::StrCat(count.frames_in()), CompactBytes(count.bytes_in()),
                     absl::StrCat(count.frames_out()), CompactBytes(count.bytes_out())});
    }
    absl::StrAppend(&out, "\n", frames.Render(view.style));
  }
  return out;
}

}  // namespace helo::tool
