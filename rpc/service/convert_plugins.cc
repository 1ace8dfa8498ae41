// A plugin as a message.
#include <algorithm>

#include "p2p/base/text.h"
#include "plugins/host/status.h"
#include "rpc/service/convert.h"

namespace helo::rpc {
namespace {

// They stand alone, not between quotes: so a quote in them needs no escape.
std::string Shown(const std::string& text) {
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  return plain ? text : QuoteRemote(text);
}

}  // namespace

void ToProto(const plugins::PluginStatus& status, proto::Plugin& out) {
  out.set_name(status.name);
  // The plugin's own words: a proto3 string must be UTF-8, and they end on a terminal.
  out.set_id(Shown(status.id));
  out.set_version(Shown(status.version));
  out.set_description(Shown(status.description));
  out.set_abi_minor(status.abi_minor);
  out.set_state(std::string(plugins::ToString(status.state)));
  out.set_reason(Shown(status.reason));
  for (const Capability& capability : status.protocols) {
    proto::PluginProtocol& protocol = *out.add_protocols();
    protocol.set_name(capability.name);
    protocol.set_version(capability.version);
    protocol.set_message_count(capability.message_count);
    protocol.set_max_message_bytes(capability.max_message_bytes);
  }
  for (const plugins::CommandInfo& info : status.commands) {
    proto::PluginCommand& command = *out.add_commands();
    command.set_name(info.name);
    command.set_arguments(Shown(info.arguments));
    command.set_summary(Shown(info.summary));
  }
  out.set_sessions(static_cast<uint32_t>(status.sessions));
  out.set_paused_sessions(static_cast<uint32_t>(status.paused_sessions));
  out.set_queued_bytes(status.queued_bytes);
  out.set_queued_events(status.queued_events);
  out.set_timers(static_cast<uint32_t>(status.timers));
  const plugins::Counters& counters = status.counters;
  out.set_messages_in(counters.messages_in);
  out.set_messages_out(counters.messages_out);
  out.set_bytes_in(counters.bytes_in);
  out.set_bytes_out(counters.bytes_out);
  out.set_dropped(counters.dropped);
  out.set_refused(counters.refused);
  out.set_pauses(counters.pauses);
  out.set_slow(counters.slow);
  out.set_penalties(counters.penalties);
  out.set_opened(counters.opened);
  out.set_closed(counters.closed);
  out.set_calls(counters.calls);
  out.set_faults(counters.faults);
  out.set_restarts(counters.restarts);
  out.set_log_lines_dropped(counters.log_lines_dropped);
  out.set_longest_us(
      std::chrono::duration_cast<std::chrono::microseconds>(counters.longest).count());
  out.set_file(Shown(status.file));
  out.set_copy(Shown(status.copy));
  out.set_hash(status.hash);
  out.set_unloadable(status.unloadable);
}

}  // namespace helo::rpc
