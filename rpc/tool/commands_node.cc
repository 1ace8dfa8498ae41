// info, health, log-level, shutdown.
#include <absl/strings/str_cat.h>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/json.h"

namespace helo::tool {

namespace pb = admin::v1;
using Json = nlohmann::ordered_json;

Exit Info(Session& session, bool wide) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  const absl::StatusOr<pb::Node> node = (*client)->GetNode();
  if (!node.ok()) return session.Fail(node.status());
  return session.Answer(Exit::kOk, RenderNode(*node, session.view(wide)), ToJson(*node));
}

Exit Health(Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  const absl::StatusOr<std::string> health = (*client)->CheckHealth();
  if (!health.ok()) return session.Fail(health.status());
  const bool serving = *health == "SERVING";
  return session.Answer(
      serving ? Exit::kOk : Exit::kFailed,
      serving ? "SERVING\n"
              : absl::StrCat(*health, ": the node runs but is not ready, it starts or stops\n"),
      Json{{"status", *health}});
}

Exit SetLogLevel(Session& session, const std::string& level) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  const absl::StatusOr<std::string> previous = (*client)->SetLogLevel(level);
  if (!previous.ok()) return session.Fail(previous.status());
  return session.Answer(Exit::kOk, absl::StrCat("log level ", level, ", was ", *previous, "\n"),
                        Json{{"level", level}, {"previous", *previous}});
}

Exit Shutdown(Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  if (absl::Status status = (*client)->Shutdown(); !status.ok()) return session.Fail(status);
  return session.Answer(Exit::kOk, "the node is shutting down\n", Json{{"shutting_down", true}});
}

}  // namespace helo::tool
