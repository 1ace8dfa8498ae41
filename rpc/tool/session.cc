#include "rpc/tool/session.h"

#include <absl/strings/str_cat.h>

#include <nlohmann/json.hpp>

#include "p2p/base/text.h"
#include "rpc/client/quote.h"
#include "rpc/tool/json.h"

namespace helo::tool {

absl::StatusOr<std::unique_ptr<client::AdminClient>> Session::Connect() const {
  absl::StatusOr<client::NodeTarget> target = client::FindNode(globals_.find, env_.getenv);
  if (!target.ok()) return target.status();
  return client::AdminClient::Connect(*target, globals_.timeout);
}

client::Exit Session::Answer(client::Exit exit, const std::string& text,
                             const nlohmann::ordered_json& document) const {
  Print(json() ? Document(document) : text);
  return exit;
}

client::Exit Session::Fail(const absl::Status& status) const {
  const client::Exit exit = client::ExitOf(status);
  // Whatever went into the sentence on its way here, nothing in it can steer a terminal.
  const std::string message = client::QuoteText(FromAbsl(status.message()));
  if (json()) {  // on one line, because a watch may fail after many lines of its own
    Print(Line({{"error",
                 {{"exit", static_cast<int>(exit)},
                  {"label", std::string(client::ExitLabel(exit))},
                  {"message", message}}}}));
  }
  Note(absl::StrCat("helo: ", message, "\n"));
  return exit;
}

void Session::Print(std::string_view text) const { *env_.out << text << std::flush; }
void Session::Note(std::string_view text) const { *env_.err << text << std::flush; }

}  // namespace helo::tool
