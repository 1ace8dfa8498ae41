// The table of descriptors, and what the kernel knows of the sockets among them.
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/text.h"
#include "rpc/tool/render.h"
#include "rpc/tool/units.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;

template <typename Message>
struct ColumnOf {
  Column column;
  bool wide_only;
  std::function<Cell(const Message&)> cell;
};

template <typename Message, typename List>
std::string RenderRows(const List& rows, std::vector<ColumnOf<Message>> all, const View& view) {
  std::vector<Column> columns;
  std::vector<ColumnOf<Message>> used;
  for (ColumnOf<Message>& column : all) {
    if (column.wide_only && !view.wide) continue;
    columns.push_back(column.column);
    used.push_back(std::move(column));
  }
  Table table(std::move(columns));
  for (const Message& row : rows) {
    std::vector<Cell> cells;
    cells.reserve(used.size());
    for (const ColumnOf<Message>& column : used) cells.push_back(column.cell(row));
    table.AddRow(std::move(cells));
  }
  Style style = view.style;
  if (view.wide) style.width = 0;
  return table.Render(style, "", "--wide shows all");
}

std::string Dash(const std::string& text) { return text.empty() ? "-" : text; }

std::string DirectionWord(pb::Direction direction) {
  return direction == pb::INBOUND ? "in" : direction == pb::OUTBOUND ? "out" : "-";
}

template <typename List>
size_t Digits(const List& rows) {
  std::vector<std::string> ids;
  for (const auto& row : rows) {
    if (!row.peer().empty()) ids.push_back(row.peer());
  }
  return ShortIdLength(ids);
}

// A socket's link says no more than its inode; of a file it is the path.
bool LinkTells(const pb::Fd& fd) {
  return fd.kind() != "socket" && fd.link().rfind("anon_inode:", 0) != 0;
}

Cell WhatOf(const pb::Fd& fd) {
  if (!fd.ours()) {
    return {absl::StrCat("not ours (inherited, a library's or a plugin's)",
                         LinkTells(fd) ? absl::StrCat(": ", fd.link()) : ""),
            Colour::kYellow};
  }
  return LinkTells(fd) ? absl::StrCat(fd.what(), ": ", fd.link()) : fd.what();
}

std::vector<ColumnOf<pb::Fd>> FdColumns(size_t digits) {
  return {
      {{"FD", true}, false, [](const pb::Fd& f) { return absl::StrCat(f.fd()); }},
      {{"KIND"},
       false,
       [](const pb::Fd& f) { return f.protocol().empty() ? f.kind() : f.protocol(); }},
      {{"LOCAL"}, false, [](const pb::Fd& f) { return Dash(f.local()); }},
      {{"REMOTE"}, false, [](const pb::Fd& f) { return Dash(f.remote()); }},
      {{"STATE", false, 0, 1}, false, [](const pb::Fd& f) { return Dash(f.tcp_state()); }},
      {{"POOL"}, false, [](const pb::Fd& f) { return Dash(f.pool()); }},
      {{"PEER"}, false, [digits](const pb::Fd& f) { return Dash(f.peer().substr(0, digits)); }},
      {{"DIR"}, false, [](const pb::Fd& f) { return DirectionWord(f.direction()); }},
      {{"CONNECTION", true},
       true,
       [](const pb::Fd& f) { return f.connection() == 0 ? "-" : absl::StrCat(f.connection()); }},
      {{"INODE", true}, true, [](const pb::Fd& f) { return absl::StrCat(f.inode()); }},
      {{"WHAT", false, 12}, false, WhatOf},
  };
}

int LowestFree(const pb::ListFdsResponse& all) {
  int free = 0;
  for (const pb::Fd& fd : all.fds()) {
    if (fd.fd() != free) break;
    ++free;
  }
  return free;
}

std::string NowOf(uint32_t now, uint32_t limit) { return absl::StrCat(now, " of ", limit); }

std::vector<ColumnOf<pb::ListenerSocket>> ListenerColumns() {
  using L = pb::ListenerSocket;
  return {
      {{"LISTENING"}, false, [](const L& l) { return l.listener().local(); }},
      {{"FOR"}, false, [](const L& l) { return l.what(); }},
      {{"FD", true}, false, [](const L& l) { return absl::StrCat(l.listener().fd()); }},
      {{"BACKLOG", true},
       false,
       [](const L& l) {
         const pb::Listener& listener = l.listener();
         return listener.backlog_asked() == listener.backlog_effective()
                    ? absl::StrCat(listener.backlog_effective())
                    : absl::StrCat(listener.backlog_effective(), ", asked ",
                                   listener.backlog_asked());
       }},
      {{"ACCEPT QUEUE", true},
       false,
       [](const L& l) {
         return Cell(NowOf(l.accept_queue(), l.accept_limit()),
                     l.accept_queue() >= l.accept_limit() ? Colour::kRed : Colour::kNone);
       }},
      {{"SYN QUEUE", true},
       false,
       [](const L& l) {
         if (!l.has_syn_queue()) return std::string("-");
         return l.has_syn_limit() ? NowOf(l.syn_queue(), l.syn_limit())
                                  : absl::StrCat(l.syn_queue());
       }},
      {{"DROPS", true},
       false,
       [](const L& l) {
         return Cell(l.has_drops() ? absl::StrCat(l.drops()) : "-",
                     l.drops() > 0 ? Colour::kRed : Colour::kNone);
       }},
      {{"ACCEPTED", true}, false, [](const L& l) { return absl::StrCat(l.listener().accepted()); }},
      {{"NOTE", false, 8},
       false,
       [](const L& l) {
         return l.listener().paused() ? Cell("paused: no fd free", Colour::kRed) : Cell("");
       }},
  };
}

std::string Tell(bool known, uint64_t value, bool limited = false, uint64_t limit = 0) {
  if (!known) return "this kernel does not tell";
  return limited ? absl::StrCat(value, " of ", limit) : absl::StrCat(value);
}

std::string Network(const pb::NetworkCounters& n, const View& view) {
  if (!n.error().empty()) return absl::StrCat("\nthe network's counters: ", n.error(), "\n");
  Listing since;
  since.Add("accept queue overflows", Tell(n.has_listen_overflows(), n.listen_overflows()));
  since.Add("dropped at listeners", Tell(n.has_listen_drops(), n.listen_drops()));
  since.Add("SYN queue full, dropped", Tell(n.has_syn_queue_drops(), n.syn_queue_drops()));
  since.Add("SYN queue full, cookie", Tell(n.has_syn_cookies_sent(), n.syn_cookies_sent()));
  since.Add("TIME_WAIT cut short", Tell(n.has_time_wait_overflows(), n.time_wait_overflows()));
  Listing now;
  now.Add("TIME_WAIT",
          Tell(n.has_time_wait(), n.time_wait(), n.has_max_time_wait(), n.max_time_wait()));
  now.Add("TCP sockets", absl::StrCat(Tell(n.has_tcp_in_use(), n.tcp_in_use()), " IPv4, ",
                                      Tell(n.has_tcp6_in_use(), n.tcp6_in_use()), " IPv6"));
  now.Add("net.core.somaxconn", Tell(n.has_somaxconn(), n.somaxconn()));
  now.Add("tcp_max_syn_backlog", Tell(n.has_max_syn_backlog(), n.max_syn_backlog()));
  Listing machine;
  machine.Add("orphans", Tell(n.has_orphans(), n.orphans(), n.has_max_orphans(), n.max_orphans()));
  machine.Add("TCP memory",
              absl::StrCat(Tell(n.has_tcp_memory_pages(), n.tcp_memory_pages()), " pages"));
  return absl::StrCat(
      "\nTHIS NETWORK NAMESPACE, every program in it, since it was made\n",
      since.Render(view.style, "  "), "\nTHIS NETWORK NAMESPACE, every program in it, now\n",
      now.Render(view.style, "  "), "\nTHE WHOLE MACHINE, now\n", machine.Render(view.style, "  "));
}

std::string Micros(uint32_t us) {
  return us == 0 ? "-" : CompactDuration(std::chrono::microseconds(us));
}

std::vector<ColumnOf<pb::ConnectionSocket>> ConnectionColumns(size_t digits) {
  using C = pb::ConnectionSocket;
  return {
      {{"FD", true}, false, [](const C& c) { return absl::StrCat(c.fd()); }},
      {{"PEER"},
       false,
       [digits](const C& c) { return c.peer().empty() ? c.what() : c.peer().substr(0, digits); }},
      {{"DIR"}, false, [](const C& c) { return DirectionWord(c.direction()); }},
      {{"POOL", false, 0, 2}, false, [](const C& c) { return Dash(c.pool()); }},
      {{"LOCAL"}, true, [](const C& c) { return c.local(); }},
      {{"REMOTE"}, false, [](const C& c) { return Dash(c.remote()); }},
      {{"STATE"}, false, [](const C& c) { return c.tcp_state(); }},
      {{"RTT", true}, false, [](const C& c) { return Micros(c.rtt_us()); }},
      {{"VAR", true, 0, 4}, false, [](const C& c) { return Micros(c.rtt_var_us()); }},
      {{"LEAST", true}, true, [](const C& c) { return Micros(c.min_rtt_us()); }},
      {{"RETRANS", true},
       false,
       [](const C& c) {
         return Cell(absl::StrCat(c.retransmits()),
                     c.timeouts() > 0 ? Colour::kRed : Colour::kNone);
       }},
      {{"UNACKED", true, 0, 3}, false, [](const C& c) { return absl::StrCat(c.unacked()); }},
      {{"LOST", true}, true, [](const C& c) { return absl::StrCat(c.lost()); }},
      {{"RECV-Q", true}, false, [](const C& c) { return CompactBytes(c.receive_queue()); }},
      {{"SEND-Q", true}, false, [](const C& c) { return CompactBytes(c.send_queue()); }},
      {{"UNSENT", true}, true, [](const C& c) { return CompactBytes(c.unsent()); }},
      {{"CWND", true}, true, [](const C& c) { return absl::StrCat(c.cwnd()); }},
      {{"MSS", true}, true, [](const C& c) { return absl::StrCat(c.mss()); }},
      {{"ACKED", true}, true, [](const C& c) { return CompactBytes(c.bytes_acked()); }},
      {{"RECEIVED", true}, true, [](const C& c) { return CompactBytes(c.bytes_received()); }},
      {{"DROPS", true}, true, [](const C& c) { return absl::StrCat(c.drops()); }},
  };
}

}  // namespace

std::string RenderFds(const pb::ListFdsResponse& all, const View& view) {
  const size_t digits = view.wide ? std::string::npos : Digits(all.fds());
  const auto foreign = std::count_if(all.fds().begin(), all.fds().end(),
                                     [](const pb::Fd& fd) { return !fd.ours(); });
  return absl::StrCat(RenderRows<pb::Fd>(all.fds(), FdColumns(digits), view), "\n", all.fds_size(),
                      " open, ", all.limit(), " allowed; ", foreign,
                      " not ours; the next one gets the lowest free number, ", LowestFree(all),
                      "\n");
}

std::string RenderSockets(const pb::ListSocketsResponse& all, const View& view) {
  const size_t digits = view.wide ? std::string::npos : Digits(all.connections());
  const std::string listeners =
      all.listeners().empty()
          ? "listens nowhere\n"
          : RenderRows<pb::ListenerSocket>(all.listeners(), ListenerColumns(), view);
  const std::string connections =
      all.connections().empty()
          ? "no connections\n"
          : RenderRows<pb::ConnectionSocket>(all.connections(), ConnectionColumns(digits), view);
  return absl::StrCat(listeners, Network(all.network(), view), "\n", connections);
}

}  // namespace helo::tool
