// The list of plugins, and one in full.
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <string>
#include <vector>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/text.h"
#include "rpc/tool/render.h"
#include "rpc/tool/units.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;

Colour ColourOf(const std::string& state) {
  if (state == "running") return Colour::kGreen;
  if (state == "quarantined" || state == "abandoned") return Colour::kRed;
  return Colour::kYellow;
}

std::string Protocols(const pb::Plugin& plugin) {
  std::vector<std::string> names;
  for (const pb::PluginProtocol& protocol : plugin.protocols()) {
    names.push_back(absl::StrCat(protocol.name(), "/", protocol.version()));
  }
  return names.empty() ? "-" : absl::StrJoin(names, " ");
}

std::string Count(uint64_t number) { return absl::StrCat(number); }

}  // namespace

std::string RenderPlugins(const pb::ListPluginsResponse& all, const View& view) {
  if (all.plugins().empty()) {
    return absl::StrCat("no plugin is loaded; helo plugin load NAME takes NAME.so from ",
                        all.plugin_dir(), "\n");
  }
  Table table({{.title = "NAME"},
               {.title = "VERSION", .dispensable = 3},
               {.title = "STATE"},
               {.title = "CAPABILITIES", .least = 8},
               {.title = "SESSIONS", .right = true},
               {.title = "IN", .right = true},
               {.title = "OUT", .right = true},
               {.title = "QUEUED", .right = true, .dispensable = 1},
               {.title = "PAUSES", .right = true, .dispensable = 2},
               {.title = "FAULTS", .right = true, .dispensable = 4}});
  std::string reasons;
  for (const pb::Plugin& plugin : all.plugins()) {
    table.AddRow({plugin.name(),
                  plugin.version(),
                  {plugin.state(), ColourOf(plugin.state())},
                  Protocols(plugin),
                  Count(plugin.sessions()),
                  Count(plugin.messages_in()),
                  Count(plugin.messages_out()),
                  HumanBytes(plugin.queued_bytes()),
                  Count(plugin.pauses()),
                  Count(plugin.faults())});
    if (!plugin.reason().empty()) {
      absl::StrAppend(&reasons, plugin.name(), " is ", plugin.state(), ": ", plugin.reason(), "\n");
      if (plugin.state() == "quarantined") {
        absl::StrAppend(&reasons, "  helo plugin restart ", plugin.name(),
                        " starts it again; reload ", plugin.name(),
                        " takes its file and configuration as they are now\n");
      }
    }
  }
  return table.Render(view.style, "", "helo plugin show NAME shows all") +
         (reasons.empty() ? "" : "\n" + reasons);
}

std::string RenderPlugin(const pb::Plugin& plugin, const View& view) {
  Listing listing;
  listing.Add("name", plugin.name());
  listing.Add("id", absl::StrCat(plugin.id(), " ", plugin.version()));
  if (!plugin.description().empty()) listing.Add("what", plugin.description());
  listing.Add("state", view.style.Paint(plugin.state(), ColourOf(plugin.state())));
  if (!plugin.reason().empty()) listing.Add("reason", plugin.reason());
  listing.Add("file", plugin.file());
  listing.Add("mapped", plugin.copy());
  listing.Add("sha256", plugin.hash());
  listing.Add("unloading", plugin.unloadable() ? "the author vouches that its code can be unmapped"
                                               : "its code stays mapped when it is unloaded");
  for (const pb::PluginProtocol& protocol : plugin.protocols()) {
    listing.Add("capability", absl::StrCat(protocol.name(), "/", protocol.version(), ", ",
                                           protocol.message_count(),
                                           protocol.message_count() == 1 ? " message" : " messages",
                                           " of up to ", HumanBytes(protocol.max_message_bytes())));
  }
  for (const pb::PluginCommand& command : plugin.commands()) {
    listing.Add("command", absl::StrCat(command.name(), command.arguments().empty() ? "" : " ",
                                        command.arguments(), ": ", command.summary()));
  }
  listing.Add("sessions", absl::StrCat(plugin.sessions(), " open, ", plugin.paused_sessions(),
                                       " of these not read because it is behind; ", plugin.opened(),
                                       " opened, ", plugin.closed(), " closed"));
  listing.Add("messages", absl::StrCat(plugin.messages_in(), " in (", HumanBytes(plugin.bytes_in()),
                                       "), ", plugin.messages_out(), " out (",
                                       HumanBytes(plugin.bytes_out()), "), ", plugin.dropped(),
                                       " too late, ", plugin.refused(), " sends refused as full"));
  listing.Add("waiting",
              absl::StrCat(HumanBytes(plugin.queued_bytes()), " in ", plugin.queued_events(),
                           " events, ", plugin.timers(), " timers"));
  listing.Add("peers closed", absl::StrCat(plugin.penalties(), " for breaking its protocol, ",
                                           plugin.slow(), " because it was too slow"));
  listing.Add("pauses", Count(plugin.pauses()));
  listing.Add("longest call", HumanDuration(plugin.longest_us() * 1000));
  listing.Add("commands called", Count(plugin.calls()));
  listing.Add("faults", absl::StrCat(plugin.faults(), ", restarts ", plugin.restarts()));
  if (plugin.log_lines_dropped() > 0) {
    listing.Add("log", absl::StrCat(plugin.log_lines_dropped(), " lines were too many"));
  }
  return listing.Render(view.style);
}

}  // namespace helo::tool
