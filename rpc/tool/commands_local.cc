// What needs no node: keygen, id, version, config.
#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/atomic_file.h"
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

Exit Version(Session& session) {
  return session.Answer(Exit::kOk, "helo " HELO_VERSION ", protocol helo/1\n",
                        Json{{"version", HELO_VERSION}, {"protocol", "helo/1"}});
}

}  // namespace helo::tool
