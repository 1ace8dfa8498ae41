// plugins, plugin load, unload, reload, restart, show, call.
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include <chrono>
#include <vector>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/text.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/json.h"

namespace helo::tool {
namespace {

namespace pb = admin::v1;
using Json = nlohmann::ordered_json;

double Seconds(Duration time) { return std::chrono::duration<double>(time).count(); }

pb::LoadPluginRequest::Mode ModeOf(PluginLoad how) {
  switch (how) {
    case PluginLoad::kReload:
      return pb::LoadPluginRequest::RELOAD;
    case PluginLoad::kRestart:
      return pb::LoadPluginRequest::RESTART;
    case PluginLoad::kLoad:
      break;
  }
  return pb::LoadPluginRequest::LOAD;
}

}  // namespace

Exit Plugins(Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  const absl::StatusOr<pb::ListPluginsResponse> all = (*client)->ListPlugins();
  if (!all.ok()) return session.Fail(all.status());
  return session.Answer(Exit::kOk, RenderPlugins(*all, session.view()), ToJson(*all));
}

Exit ShowPlugin(Session& session, const std::string& name) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  const absl::StatusOr<pb::ListPluginsResponse> all = (*client)->ListPlugins();
  if (!all.ok()) return session.Fail(all.status());
  std::vector<std::string> names;
  for (const pb::Plugin& plugin : all->plugins()) {
    if (plugin.name() == name) {
      return session.Answer(Exit::kOk, RenderPlugin(plugin, session.view()), ToJson(plugin));
    }
    names.push_back(plugin.name());
  }
  return session.Fail(absl::NotFoundError(
      absl::StrCat("no plugin ", QuoteRemote(name), " is loaded; ",
                   names.empty() ? "there is none at all"
                                 : absl::StrCat("there are ", absl::StrJoin(names, ", ")),
                   ". helo plugin load NAME loads one")));
}

Exit LoadPlugin(Session& session, const std::string& name, PluginLoad how) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  pb::LoadPluginRequest request;
  request.set_name(name);
  request.set_mode(ModeOf(how));
  const absl::StatusOr<pb::Plugin> plugin = (*client)->LoadPlugin(request);
  if (!plugin.ok()) return session.Fail(plugin.status());
  return session.Answer(
      Exit::kOk,
      absl::StrCat(plugin->name(), " ", plugin->version(), " is ", plugin->state(), ", sha256 ",
                   plugin->hash().substr(0, 16), "\n"),
      ToJson(*plugin));
}

Exit UnloadPlugin(Session& session, const std::string& name, std::optional<Duration> drain) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  pb::UnloadPluginRequest request;
  request.set_name(name);
  if (drain) request.set_drain_seconds(Seconds(*drain));
  const absl::StatusOr<pb::UnloadPluginResponse> response = (*client)->UnloadPlugin(request);
  if (!response.ok()) return session.Fail(response.status());
  return session.Answer(Exit::kOk,
                        absl::StrCat(QuoteRemote(name), " is unloaded",
                                     response->unmapped() ? "" : "; its code stays mapped",
                                     response->note().empty() ? "" : ": ", response->note(), "\n"),
                        ToJson(*response));
}

Exit CallPlugin(Session& session, const PluginCall& call) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  pb::CallPluginRequest request;
  request.set_name(call.name);
  request.set_command(call.command);
  for (const std::string& argument : call.arguments) request.add_arguments(argument);
  request.set_wait_seconds(Seconds(session.globals().timeout));
  const absl::StatusOr<pb::CallPluginResponse> response = (*client)->CallPlugin(request);
  if (!response.ok()) return session.Fail(response.status());
  if (response->failed()) {
    return session.Fail(absl::UnknownError(absl::StrCat(
        call.name,
        " says: ", response->text().empty() ? "it failed, and not why" : response->text())));
  }
  std::string text = response->text();
  if (!text.empty() && text.back() != '\n') text += '\n';
  return session.Answer(Exit::kOk, text, Json{{"text", response->text()}});
}

}  // namespace helo::tool
