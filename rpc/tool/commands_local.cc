// What needs no node: keygen, id, explain, version, config.
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/atomic_file.h"
#include "p2p/base/reasons.h"
#include "p2p/base/text.h"
#include "p2p/tls/node_key.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/json.h"

namespace helo::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kKeyFileName[] = "node.key";

bool IsDirectory(const std::string& path) {
  struct stat facts {};
  return stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

absl::Status AlreadyThere(const std::string& path) {
  std::string id = "not a node key";
  if (absl::StatusOr<tls::NodeKey> old = tls::NodeKey::Load(path); old.ok()) {
    id = absl::StrCat("the key of node ", old->id().ToHex());
  }
  return absl::AlreadyExistsError(absl::StrCat(
      path, " exists (", id, ") and is not overwritten: a lost key is a lost identity. ",
      "Choose another path, or move it away yourself"));
}

// Whole and synced under another name first, then moved into place unless something is there: a
// crash leaves no half key, and two runs at once cannot overwrite each other's.
absl::Status WriteNewKey(const tls::NodeKey& key, const std::string& path) {
  const std::string temporary = absl::StrCat(path, ".new-", getpid());
  if (absl::Status status = WriteFileAtomically(temporary, key.ToPem(), 0600); !status.ok())
    return status;
  if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) {
    return absl::OkStatus();
  }
  const int error = errno;
  unlink(temporary.c_str());
  if (error == EEXIST) return AlreadyThere(path);
  return ErrnoStatus(error, absl::StrCat("rename ", temporary, " to ", path));
}

Exit ShowKeyId(Session& session, const std::string& path) {
  const absl::StatusOr<tls::NodeKey> key = tls::NodeKey::Load(path);
  if (!key.ok()) return session.Fail(key.status());
  const std::string id = key->id().ToHex();
  return session.Answer(Exit::kOk, absl::StrCat(id, "\n"), Json{{"id", id}, {"from", path}});
}

Exit ShowRunningId(Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return session.Fail(client.status());
  const absl::StatusOr<admin::v1::Node> node = (*client)->GetNode();
  if (!node.ok()) return session.Fail(node.status());
  return session.Answer(Exit::kOk, absl::StrCat(node->id(), "\n"),
                        Json{{"id", node->id()}, {"from", (*client)->target().admin.ToString()}});
}

Json ReasonToJson(const ReasonInfo& info) {
  return Json{{"code", static_cast<uint32_t>(info.reason)},
              {"label", std::string(info.label)},
              {"fault", std::string(FaultLabel(info.fault))},
              {"retryable", info.retryable},
              {"sentence", std::string(info.sentence)},
              {"cause", std::string(info.cause)},
              {"remedy", std::string(info.remedy)}};
}

std::string ExplainOne(const ReasonInfo& info, const Style& style) {
  const auto code = static_cast<uint32_t>(info.reason);
  std::string out = absl::StrCat(
      style.Paint(info.label, Colour::kBold), ", code ", code,
      code < 100 ? ", sent between nodes\n" : ", this node's own finding, never sent\n");
  absl::StrAppend(&out, Wrap(info.sentence, style.width, "  "));
  absl::StrAppend(&out, "likely cause\n", Wrap(info.cause, style.width, "  "));
  absl::StrAppend(&out, "what to do\n", Wrap(info.remedy, style.width, "  "));
  absl::StrAppend(&out, "whose fault\n  ", ToAbsl(FaultLabel(info.fault)), "\n");
  absl::StrAppend(&out, "trying again\n  ",
                  info.retryable ? "makes sense, and the node does so by itself\n"
                                 : "is useless unless something is changed\n");
  return out;
}

Exit ExplainAll(Session& session) {
  Table table({{"CODE", true}, {"LABEL"}, {"FAULT", false, 0, 1}, {"MEANING", false, 24}});
  Json list = Json::array();
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    table.AddRow({absl::StrCat(static_cast<uint32_t>(info->reason)), std::string(info->label),
                  std::string(FaultLabel(info->fault)), std::string(info->sentence)});
    list.push_back(ReasonToJson(*info));
  }
  return session.Answer(Exit::kOk,
                        absl::StrCat(table.Render(session.env().style),
                                     "helo explain LABEL tells cause and remedy\n"),
                        Json{{"reasons", std::move(list)}});
}

}  // namespace

Exit KeyGen(Session& session, const std::string& path) {
  const std::optional<std::string>& data_dir = session.globals().find.data_dir;
  if (path.empty() && !data_dir) {
    return session.Fail(
        absl::InvalidArgumentError("keygen: where to? Name a file (helo keygen node.key) or a data "
                                   "directory (helo keygen --data-dir DIR)"));
  }
  std::string file = path;
  std::optional<DataDir> lock;  // a directory that a running node uses is refused
  if (path.empty() || IsDirectory(path)) {
    absl::StatusOr<DataDir> dir = DataDir::Open(path.empty() ? *data_dir : path);
    if (!dir.ok()) return session.Fail(dir.status());
    file = dir->File(kKeyFileName);
    lock.emplace(*std::move(dir));
  }
  struct stat facts {};
  if (lstat(file.c_str(), &facts) == 0) return session.Fail(AlreadyThere(file));
  const tls::NodeKey key = tls::NodeKey::Generate(SystemRng());
  if (absl::Status status = WriteNewKey(key, file); !status.ok()) return session.Fail(status);
  const std::string id = key.id().ToHex();
  return session.Answer(Exit::kOk, absl::StrCat(id, "\n"), Json{{"id", id}, {"file", file}});
}

Exit ShowId(Session& session, const std::string& path) {
  const client::FindOptions& find = session.globals().find;
  if (!path.empty())
    return ShowKeyId(session, IsDirectory(path) ? absl::StrCat(path, "/", kKeyFileName) : path);
  if (find.admin) return ShowRunningId(session);
  const std::optional<std::string> dir =
      find.data_dir ? find.data_dir : session.env().getenv("HELO_DATA_DIR");
  if (dir) {
    const std::string key = absl::StrCat(*dir, "/", kKeyFileName);
    if (access(key.c_str(), R_OK) == 0) return ShowKeyId(session, key);
  }
  return ShowRunningId(session);
}

Exit Explain(Session& session, const std::string& topic) {
  if (topic.empty() || topic == "list") return ExplainAll(session);
  uint32_t code = 0;
  const ReasonInfo* info = absl::SimpleAtoi(topic, &code) ? FindReason(code) : FindReason(topic);
  if (info == nullptr) {
    return session.Fail(absl::NotFoundError(absl::StrCat(
        "no reason is called '", QuoteRemote(topic), "'. helo explain list shows all")));
  }
  return session.Answer(Exit::kOk, ExplainOne(*info, session.env().style), ReasonToJson(*info));
}

Exit Version(Session& session) {
  return session.Answer(Exit::kOk, "helo " HELO_VERSION ", protocol helo/1\n",
                        Json{{"version", HELO_VERSION}, {"protocol", "helo/1"}});
}

}  // namespace helo::tool
