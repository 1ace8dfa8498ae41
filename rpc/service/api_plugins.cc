// The calls about plugins. What waits for a plugin is done at the desk; a command's answer comes
// from the plugin's own thread.
#include <absl/strings/str_cat.h>

#include <utility>

#include "p2p/base/text.h"
#include "plugins/host/plugin_host.h"
#include "rpc/service/api.h"

namespace helo::rpc {
namespace {

constexpr Duration kDefaultDrain = std::chrono::seconds(2);
constexpr Duration kMostDrain = std::chrono::minutes(1);
constexpr Duration kDefaultCallWait = std::chrono::seconds(10);
constexpr Duration kMostCallWait = std::chrono::minutes(10);
constexpr int kMostArguments = 64;

// What the list says of one; empty if it is gone again.
proto::Plugin Describe(plugins::PluginHost& host, const std::string& name) {
  proto::Plugin out;
  for (const plugins::PluginStatus& status : host.List()) {
    if (status.name == name) ToProto(status, out);
  }
  return out;
}

absl::Status LoadAs(const AdminPlugins& plugins, const std::string& name,
                    proto::LoadPluginRequest::Mode mode) {
  if (mode == proto::LoadPluginRequest::RESTART) return plugins.host->Restart(name);
  absl::StatusOr<std::string> config = plugins.config(name);
  if (!config.ok()) return config.status();
  return mode == proto::LoadPluginRequest::RELOAD ? plugins.host->Reload(name, *config)
                                                  : plugins.host->Load(name, *config);
}

std::string_view Done(proto::LoadPluginRequest::Mode mode) {
  switch (mode) {
    case proto::LoadPluginRequest::RELOAD:
      return "plugin reloaded";
    case proto::LoadPluginRequest::RESTART:
      return "plugin restarted";
    default:
      return "plugin loaded";
  }
}

}  // namespace

absl::Status AdminApi::CheckPlugins() const {
  if (hooks_.plugins.host != nullptr) return absl::OkStatus();
  return absl::UnimplementedError("this node runs without a plugin host");
}

template <typename Response>
void AdminApi::AtDesk(const Reply<Response>& reply, std::function<void()> work) {
  if (!desk_->Do(std::move(work))) {
    reply.Fail(absl::ResourceExhaustedError(
        absl::StrCat(PluginDesk::kMostWaiting,
                     " changes of plugins wait already, or the node stops; try again later")));
  }
}

void AdminApi::ListPlugins(const proto::ListPluginsRequest& /*request*/,
                           Reply<proto::ListPluginsResponse> reply) {
  if (absl::Status status = CheckPlugins(); !status.ok()) return reply.Fail(status);
  proto::ListPluginsResponse response;
  response.set_plugin_dir(hooks_.plugins.plugin_dir);
  for (const plugins::PluginStatus& status : hooks_.plugins.host->List()) {
    ToProto(status, *response.add_plugins());
  }
  reply.Ok(std::move(response));
}

void AdminApi::LoadPlugin(const Caller& caller, const proto::LoadPluginRequest& request,
                          Reply<proto::Plugin> reply) {
  if (absl::Status status = CheckPlugins(); !status.ok()) return reply.Fail(status);
  if (!proto::LoadPluginRequest::Mode_IsValid(request.mode())) {
    return reply.Fail(absl::InvalidArgumentError("mode is none of LOAD, RELOAD and RESTART"));
  }
  AtDesk(reply, [this, mailbox = mailbox_, caller, name = request.name(), mode = request.mode(),
                 reply] {
    const absl::Status status = LoadAs(hooks_.plugins, name, mode);
    proto::Plugin plugin = Describe(*hooks_.plugins.host, name);
    mailbox->Post([this, caller, name, mode, reply, status, plugin = std::move(plugin)]() mutable {
      if (!status.ok()) {
        LogChange(caller, "a plugin was not loaded",
                  {{"plugin", QuoteRemote(name)}, {"why", std::string(status.message())}});
        return reply.Fail(status);
      }
      LogChange(caller, Done(mode),
                {{"plugin", name}, {"version", plugin.version()}, {"sha256", plugin.hash()}});
      reply.Ok(std::move(plugin));
    });
  });
}

void AdminApi::UnloadPlugin(const Caller& caller, const proto::UnloadPluginRequest& request,
                            Reply<proto::UnloadPluginResponse> reply) {
  if (absl::Status status = CheckPlugins(); !status.ok()) return reply.Fail(status);
  absl::StatusOr<Duration> drain = kDefaultDrain;
  if (request.has_drain_seconds()) {
    drain = SecondsToDuration(request.drain_seconds(), kMostDrain, "drain_seconds");
    if (!drain.ok()) return reply.Fail(drain.status());
  }
  AtDesk(reply, [this, mailbox = mailbox_, caller, name = request.name(), drain = *drain, reply] {
    const absl::StatusOr<plugins::UnloadResult> result = hooks_.plugins.host->Unload(name, drain);
    mailbox->Post([this, caller, name, reply, result] {
      if (!result.ok()) return reply.Fail(result.status());
      LogChange(caller, "plugin unloaded",
                {{"plugin", name}, {"unmapped", result->unmapped ? "yes" : "no"}});
      proto::UnloadPluginResponse response;
      response.set_unmapped(result->unmapped);
      response.set_note(result->note);
      reply.Ok(std::move(response));
    });
  });
}

void AdminApi::CallPlugin(const Caller& caller, const proto::CallPluginRequest& request,
                          Reply<proto::CallPluginResponse> reply) {
  if (absl::Status status = CheckPlugins(); !status.ok()) return reply.Fail(status);
  if (request.arguments_size() > kMostArguments) {
    return reply.Fail(
        absl::InvalidArgumentError(absl::StrCat(request.arguments_size(), " arguments: at most ",
                                                kMostArguments, " are handed to a plugin")));
  }
  absl::StatusOr<Duration> wait = kDefaultCallWait;
  if (request.has_wait_seconds()) {
    wait = SecondsToDuration(request.wait_seconds(), kMostCallWait, "wait_seconds");
    if (!wait.ok()) return reply.Fail(wait.status());
  }
  LogChange(caller, "a plugin's command was called",
            {{"plugin", QuoteRemote(request.name())}, {"command", QuoteRemote(request.command())}});
  hooks_.plugins.host->Call(request.name(), request.command(),
                            {request.arguments().begin(), request.arguments().end()}, *wait,
                            [reply](absl::StatusOr<plugins::Answer> answer) {
                              if (!answer.ok()) return reply.Fail(answer.status());
                              proto::CallPluginResponse response;
                              response.set_failed(answer->failed);
                              response.set_text(std::move(answer->text));
                              reply.Ok(std::move(response));
                            });
}

}  // namespace helo::rpc
