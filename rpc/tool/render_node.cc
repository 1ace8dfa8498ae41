// The node itself.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/text.h"
#include "rpc/tool/render.h"
#include "rpc/tool/units.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;

std::string InMillis(int64_t ms) { return CompactDuration(std::chrono::milliseconds(ms)); }

std::string TargetState(const pb::Target& target) {
  if (target.connected()) return "connected";
  if (target.trying()) return "trying";
  if (target.paused_ms() > 0) return absl::StrCat("rests for ", InMillis(target.paused_ms()));
  if (target.next_try_ms() < 0) return "no try planned";
  return absl::StrCat("next try in ", InMillis(target.next_try_ms()));
}

Colour TargetColour(const pb::Target& target) {
  return target.connected()      ? Colour::kGreen
         : target.failures() > 0 ? Colour::kRed
                                 : Colour::kYellow;
}

std::string Listeners(const pb::Node& node, const View& view) {
  Table table({{"LISTENING"},
               {"ASKED FOR", false, 0, 1},
               {"FD", true},
               {"BACKLOG", true},
               {"ACCEPTED", true},
               {"NOTE", false, 8}});
  for (const pb::Listener& listener : node.listeners()) {
    const std::string backlog =
        listener.backlog_asked() == listener.backlog_effective()
            ? absl::StrCat(listener.backlog_effective())
            : absl::StrCat(listener.backlog_effective(), " of ", listener.backlog_asked());
    std::string note = listener.dual_stack() ? "IPv4 and IPv6" : "";
    if (listener.paused()) absl::StrAppend(&note, note.empty() ? "" : ", ", "paused: no fd free");
    if (listener.aborted() > 0)
      absl::StrAppend(&note, note.empty() ? "" : ", ", listener.aborted(), " gone before accept");
    if (listener.starved() > 0)
      absl::StrAppend(&note, note.empty() ? "" : ", ", listener.starved(), " times without fd");
    table.AddRow({listener.local(), listener.asked(), absl::StrCat(listener.fd()), backlog,
                  absl::StrCat(listener.accepted()),
                  Cell(note, listener.paused() ? Colour::kRed : Colour::kNone)});
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Render(view.style));
}

std::string Pools(const pb::Node& node, const View& view) {
  Table table({{"FD POOL"}, {"USED", true}, {"LIMIT", true}});
  uint64_t sum = node.fd_outside();
  for (const pb::FdPool& pool : node.fd_pools()) {
    // Every listener has its ticket from the start: that pool is always full.
    const bool full = pool.limit() > 0 && pool.used() >= pool.limit() && pool.name() != "listeners";
    table.AddRow({pool.name(), Cell(absl::StrCat(pool.used()), full ? Colour::kRed : Colour::kNone),
                  absl::StrCat(pool.limit())});
    sum += pool.limit();
  }
  if (table.empty()) return "";
  table.AddRow({"outside", absl::StrCat(node.fd_outside()), absl::StrCat(node.fd_outside())});
  table.AddRow({"sum", absl::StrCat(node.fd_open()), absl::StrCat(sum)});
  const std::string_view note =
      node.fd_reduced() ? "less than configured fits the limit: helo info --wide says what to do\n"
                        : "";
  return absl::StrCat("\n", table.Render(view.style), ToAbsl(note));
}

std::string Targets(const pb::Node& node, const View& view) {
  std::vector<SplitAddress> addresses;
  std::vector<std::string> ids;
  for (const pb::Target& target : node.targets()) {
    SplitAddress address = SplitPeerAddress(target.address());
    if (address.id.empty()) address.id = target.known_id();
    if (!address.id.empty()) ids.push_back(address.id);
    addresses.push_back(std::move(address));
  }
  const size_t digits = view.wide ? std::string::npos : ShortIdLength(ids);
  Table table({{"DIALS", false, 16},
               {"ID"},
               {"FROM"},
               {"STATE"},
               {"FAILED", true, 0, 1},
               {"LAST", false, 12}});
  for (int i = 0; i < node.targets_size(); ++i) {
    const pb::Target& target = node.targets(i);
    const SplitAddress& address = addresses[static_cast<size_t>(i)];
    table.AddRow({address.host_port, address.id.empty() ? "-" : address.id.substr(0, digits),
                  target.from_configuration() ? "config"
                  : target.saved()            ? "saved"
                                              : "added",
                  Cell(TargetState(target), TargetColour(target)), absl::StrCat(target.failures()),
                  target.has_last() ? CloseWords(target.last()) : "-"});
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Render(view.style, "", "--json shows all"));
}

std::string AwayPeers(const pb::Node& node, const View& view) {
  Table table({{"KEPT AWAY"}, {"STILL FOR", true}, {"TEXT", false, 8}});
  for (const pb::Away& away : node.away()) {
    table.AddRow(
        {away.id(), InMillis(away.remaining_ms()), away.text().empty() ? "-" : away.text()});
  }
  return table.empty() ? "" : absl::StrCat("\n", table.Render(view.style));
}

std::string Closes(const pb::Node& node, const View& view) {
  Table table({{"ENDED WITH"}, {"DIR"}, {"TIMES", true}});
  for (const pb::ReasonCount& count : node.closed_inbound())
    table.AddRow({count.label(), "in", absl::StrCat(count.count())});
  for (const pb::ReasonCount& count : node.closed_outbound())
    table.AddRow({count.label(), "out", absl::StrCat(count.count())});
  return table.empty()
             ? ""
             : absl::StrCat("\n", table.Render(view.style), "what one means: helo explain LABEL\n");
}

}  // namespace

std::string RenderNode(const pb::Node& node, const View& view) {
  Listing facts;
  facts.Add("id", node.id());
  facts.Add("version", absl::StrCat(node.version(), ", announced as ", node.user_agent()));
  facts.Add("network",
            absl::StrCat(node.network(),
                         node.genesis().empty()
                             ? ", no genesis set"
                             : absl::StrCat(", genesis ", ToHex(AsBytes(node.genesis())))));
  const int64_t up_us = view.now_unix_us - node.started_unix_us();
  facts.Add("up", absl::StrCat(HumanDuration(std::max<int64_t>(0, up_us) * 1000), ", since ",
                               FormatTime(node.started_unix_us(), view.now_unix_us), ", pid ",
                               node.pid()));
  facts.Add("data", node.data_dir().empty() ? "none" : node.data_dir());
  facts.Add("admin", absl::StrCat(node.admin_address(), ", boot ", node.boot_id()));
  facts.Add("log level", node.log_level());
  facts.Add("peers", absl::StrCat(node.inbound(), " of ", node.max_inbound(), " in, ",
                                  node.outbound(), " of ", node.max_outbound(), " out, ",
                                  node.handshakes(), " shaking hands"));
  facts.Add("accepted",
            absl::StrCat(node.accepted(), ", ", node.gate_refused(), " refused at the gate"));
  facts.Add("fds", absl::StrCat(node.fd_open(), " open of ", node.fd_limit(), ", hard limit ",
                                node.fd_hard_limit(), ", ", node.fd_foreign(), " foreign"));
  std::string out = facts.Render(view.style);
  if (view.wide) {
    for (const std::string& sentence : node.fd_sentences())
      absl::StrAppend(&out, Wrap(sentence, view.style.width, "  "));
  }
  absl::StrAppend(&out, Listeners(node, view), Pools(node, view), Targets(node, view));
  absl::StrAppend(&out, AwayPeers(node, view), Closes(node, view));
  return out;
}

}  // namespace helo::tool
