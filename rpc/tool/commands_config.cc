// `helo config`: of the node that runs there what it was started with, otherwise what helod would
// run with.
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/atomic_file.h"
#include "p2p/base/text.h"
#include "rpc/client/admin_client.h"
#include "rpc/client/find_node.h"
#include "rpc/client/quote.h"
#include "rpc/tool/commands.h"

namespace helo::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kConfigFileName[] = "config.json";  // as node/node_files.h has it
constexpr size_t kMostConfig = 16 << 20;           // tens of thousands of peers
constexpr size_t kWidestSetting = 60;

// In the form of a config file, each line with where its value came from; empty if the file is not
// one that helod wrote.
std::string RunningConfig(const Json& document) {
  if (!document.is_object() || !document.contains("options")) return "";
  std::vector<std::pair<std::string, std::string>> lines;
  for (const Json& option : document["options"]) {
    if (!option.is_object()) return "";
    const std::string name = client::QuoteText(option.value("name", ""));
    const std::string where = option.value("where", "");
    const std::string source = client::QuoteText(
        absl::StrCat(option.value("source", ""), where.empty() ? "" : " ", where));
    std::vector<std::string> values;
    for (const Json& value : option.value("values", Json::array())) {
      if (value.is_string())
        values.push_back(ConfigQuote(client::QuoteText(value.get<std::string>())));
    }
    if (values.empty()) values.emplace_back("none");
    for (const std::string& value : values) {
      lines.emplace_back(absl::StrCat(name == "config" ? "# " : "", name, " = ", value), source);
    }
  }
  size_t width = 0;
  for (const auto& [setting, source] : lines) {
    width = std::max(width, std::min(setting.size(), kWidestSetting));
  }
  std::string out;
  for (const auto& [setting, source] : lines) {
    absl::StrAppendFormat(&out, "%-*s  # %s\n", width, setting, source);
  }
  return out;
}

// Where the node at `target` keeps its files. Unavailable: none runs there.
absl::StatusOr<std::string> DataDirOf(const Session& session, const client::NodeTarget& target) {
  if (target.file) {
    if (client::WriterExists(*target.file)) return target.data_dir;
    return absl::UnavailableError("its process is gone");
  }
  const auto client = client::AdminClient::Connect(target, session.globals().timeout);
  if (!client.ok()) return client.status();
  const auto node = (*client)->GetNode();
  if (!node.ok()) return node.status();
  return node->data_dir();
}

// Prints what the node at `target` runs with. Unavailable: none runs there; else why it is not
// known.
absl::Status PrintRunning(const Session& session, const client::NodeTarget& target) {
  const absl::StatusOr<std::string> data_dir = DataDirOf(session, target);
  if (!data_dir.ok()) return data_dir.status();
  const std::string path = absl::StrCat(*data_dir, "/", kConfigFileName);
  const auto text = ReadWholeFile(path, kMostConfig);
  if (!text.ok()) return absl::InternalError(text.status().message());
  try {
    const Json document = Json::parse(*text);
    if (const std::string lines = RunningConfig(document); !lines.empty()) {
      session.Answer(Exit::kOk,
                     absl::StrCat("# what the node of ", client::QuoteText(*data_dir),
                                  " runs with, since its start\n", lines),
                     document);
      return absl::OkStatus();
    }
  } catch (const Json::exception&) {
  }
  return absl::DataLossError(absl::StrCat(path, " is not one that helod wrote"));
}

}  // namespace

Exit Config(Session& session, const std::vector<std::string>& helod_arguments) {
  if (helod_arguments.empty()) {
    const auto target = client::FindNode(session.globals().find, session.env().getenv);
    if (!target.ok() && !absl::IsUnavailable(target.status())) return session.Fail(target.status());
    const absl::Status status = target.ok() ? PrintRunning(session, *target) : target.status();
    if (status.ok()) return Exit::kOk;
    const std::string why = absl::IsUnavailable(status)
                                ? "no node was found running"
                                : absl::StrCat("what the node runs with is not known: ",
                                               client::QuoteText(FromAbsl(status.message())));
    session.Note(absl::StrCat("helo: ", why, "\nhelo: this is what helod would run with\n"));
  }
  const std::string beside = absl::StrCat(session.env().own_directory, "/helod");
  const bool found_beside = access(beside.c_str(), X_OK) == 0;
  std::vector<std::string> arguments = {found_beside ? beside : "helod",
                                        session.json() ? "--print-config=json" : "--print-config"};
  const client::FindOptions& find = session.globals().find;
  if (find.data_dir) arguments.insert(arguments.end(), {"--data-dir", *find.data_dir});
  if (find.admin) arguments.insert(arguments.end(), {"--admin", *find.admin});
  arguments.insert(arguments.end(), helod_arguments.begin(), helod_arguments.end());
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  const int error = errno;
  return session.Fail(absl::InternalError(
      absl::StrCat(ErrnoSentence(error, absl::StrCat("run ", arguments[0])),
                   ". helo config asks helod itself, which is neither beside helo (", beside,
                   ") nor on the PATH")));
}

}  // namespace helo::tool
