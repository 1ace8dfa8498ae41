// JSON in and out.
#include "node/node_files.h"

#include <absl/strings/str_cat.h>

#include <nlohmann/json.hpp>

#include "p2p/base/atomic_file.h"
#include "p2p/base/text.h"

namespace helo::node {
namespace {

constexpr size_t kMostPeersFile = 16 << 20;  // some 100,000 peers

using Json = nlohmann::ordered_json;

std::string Dump(const Json& json) {
  return json.dump(2, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) + "\n";
}

// What is wrong with the file, empty if nothing; `peers` gets every entry that can be read.
std::string ReadPeers(const std::string& text, std::vector<PeerAddress>& peers) {
  const Json root = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded()) return "it is not JSON";
  if (!root.is_object()) return "it is not a JSON object";
  const auto list = root.find("peers");
  if (list == root.end() || !list->is_array()) return "it has no list `peers`";
  std::string wrong;
  for (const Json& entry : *list) {
    if (!entry.is_string()) {
      wrong = "an entry of its list is not a string";
      continue;
    }
    auto peer = PeerAddress::Parse(entry.get_ref<const std::string&>());
    if (peer.ok()) {
      peers.push_back(*std::move(peer));
    } else {
      wrong = std::string(peer.status().message());
    }
  }
  return wrong;
}

}  // namespace

std::string NodeFileJson(const RunningNode& node) {
  Json listen = Json::array();
  for (const Endpoint& endpoint : node.listen) listen.push_back(endpoint.ToString());
  return Dump({{"pid", node.pid},
               {"id", node.id.ToHex()},
               {"listen", listen},
               {"admin", node.admin.ToString()},
               {"metrics", node.metrics ? Json(node.metrics->ToString()) : Json()},
               {"version", node.version},
               {"user_agent", node.user_agent},
               {"network", node.network},
               {"data_dir", node.data_dir},
               {"started_us", node.started.time_since_epoch().count()}});
}

std::vector<PeerAddress> LoadPeers(const std::string& path, LogSink& log) {
  std::vector<PeerAddress> peers;
  const auto text = ReadWholeFile(path, kMostPeersFile);
  if (absl::IsNotFound(text.status())) return peers;
  const std::string wrong =
      text.ok() ? ReadPeers(*text, peers) : std::string(text.status().message());
  if (wrong.empty()) return peers;
  const auto aside = SetAside(path);
  log.Warn("node",
           "the file of saved peers cannot be used; it was set aside, add its peers again with "
           "helo add --save",
           {{"file", path},
            {"why", wrong},
            {"kept_as", aside.ok() ? *aside : std::string(aside.status().message())},
            {"peers_used", absl::StrCat(peers.size())}});
  return peers;
}

absl::Status SavePeers(const std::string& path, const std::vector<PeerAddress>& peers) {
  Json list = Json::array();
  for (const PeerAddress& peer : peers) list.push_back(peer.ToString());
  return WriteFileAtomically(path, Dump({{"version", 1}, {"peers", list}}), 0600);
}

}  // namespace helo::node
