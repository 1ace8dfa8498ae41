// The order of start and stop. Members of Impl are destroyed in the opposite order of their making,
// which is the order in which they need each other.
#include "node/node.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <thread>
#include <utility>

#include "node/metrics.h"
#include "node/metrics_server.h"
#include "node/node_files.h"
#include "node/notify.h"
#include "node/option_text.h"
#include "node/plugin_files.h"
#include "p2p/base/atomic_file.h"
#include "p2p/base/mutex.h"
#include "p2p/base/rng.h"
#include "p2p/base/text.h"
#include "p2p/peers/fd_budget.h"
#include "p2p/server/server.h"
#include "p2p/tls/node_key.h"
#include "plugins/host/plugin_host.h"
#include "rpc/service/admin_server.h"

namespace helo::node {
namespace {

constexpr Duration kPluginStop = std::chrono::milliseconds(1500);
constexpr Duration kServerStop = std::chrono::milliseconds(2000);
constexpr Duration kAdminStop = std::chrono::milliseconds(2500);

std::string NotifySocket() {
  const char* name = std::getenv("NOTIFY_SOCKET");
  return name != nullptr ? name : "";
}

// The way from a plugin's question to the server, which may not be there yet, or any more.
struct ServerLink {
  Mutex mutex;
  Server* server ABSL_GUARDED_BY(mutex) = nullptr;

  void Set(Server* now) {
    MutexLock lock(mutex);
    server = now;
  }
};

plugins::Peers PeersOf(const ServerSnapshot& snapshot) {
  auto peers = std::make_shared<std::vector<plugins::Peer>>();
  peers->reserve(snapshot.peers.size());
  for (const PeerSnapshot& peer : snapshot.peers) {
    plugins::Peer out;
    out.id = peer.id;
    out.inbound = peer.direction == Direction::kInbound;
    out.address = peer.remote.ToString();
    out.agent = peer.user_agent;
    out.age_ms = static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(peer.age).count());
    if (peer.stats.last_rtt) {
      out.rtt_us = static_cast<uint64_t>(
          std::chrono::duration_cast<std::chrono::microseconds>(*peer.stats.last_rtt).count());
    }
    peers->push_back(std::move(out));
  }
  return peers;
}

plugins::AskPeers AskPeersOf(const std::shared_ptr<ServerLink>& link) {
  return [link](std::function<void(plugins::Peers)> done) {
    MutexLock lock(link->mutex);
    if (link->server == nullptr) return done(nullptr);
    link->server->GetSnapshot(
        [done = std::move(done)](const std::shared_ptr<const ServerSnapshot>& snapshot) {
          done(snapshot == nullptr ? nullptr : PeersOf(*snapshot));
        });
  };
}

}  // namespace

struct Node::Impl {
  explicit Impl(NodeLog& sink) : log(sink) {}

  absl::Status OpenFiles(const Options& options);
  absl::Status PlanDescriptors(Config& config);
  absl::Status StartPlugins(const Options& options);
  absl::Status StartServer(const Config& config);
  absl::Status StartAdmin(const Config& config, std::function<void()> ask_to_stop);
  absl::Status StartMetrics(const Config& config);
  absl::Status Announce(const Options& options);
  void Tell(std::string_view state);

  NodeLog& log;
  const Clock& clock = RealClock();
  const WallTime started = RealClock().WallNow();
  std::optional<DataDir> dir;
  std::optional<tls::NodeKey> key;
  std::unique_ptr<peers::FdBudget> fds;
  std::unique_ptr<peers::FdReader> fd_reader;
  const std::shared_ptr<ServerLink> link = std::make_shared<ServerLink>();
  std::unique_ptr<plugins::PluginHost> plugins;
  std::unique_ptr<Server> server;
  std::unique_ptr<rpc::AdminServer> admin;
  std::unique_ptr<MetricsServer> metrics;
  bool stopped = false;
};

absl::Status Node::Impl::OpenFiles(const Options& options) {
  auto opened = DataDir::Open(options.config.data_dir);
  if (!opened.ok()) return opened.status();
  dir.emplace(*std::move(opened));
  // Left by a node that was killed; whoever looks now must not take it for this one.
  unlink(dir->File(kNodeFile).c_str());
  bool created = false;
  auto loaded = tls::NodeKey::LoadOrCreate(dir->File("node.key"), SystemRng(), &created);
  if (!loaded.ok()) return loaded.status();
  key.emplace(*std::move(loaded));
  if (created)
    log.Info("node", "a new identity was made",
             {{"id", key->id().ToHex()}, {"file", dir->File("node.key")}});
  return absl::OkStatus();
}

absl::Status Node::Impl::PlanDescriptors(Config& config) {
  config.fds.listeners = static_cast<int>(config.server.listen.size());
  config.fds.inbound = config.server.max_inbound;
  config.fds.outbound = config.server.max_outbound;
  config.fds.loops = config.server.loops + (config.metrics ? 1 : 0);
  config.fds.metrics = config.metrics ? 1 + kMetricsCallers : 0;
  config.fds.trusted = static_cast<int>(config.server.trusted.size());
  auto limit = peers::ReadFdLimit();
  if (limit.ok()) limit = peers::RaiseFdLimit(peers::WantedFds(config.fds, limit->open_now));
  if (!limit.ok()) return limit.status();
  auto plan = peers::PlanFds(config.fds, *limit);
  if (!plan.ok()) return plan.status();
  for (const std::string& sentence : plan->sentences) {
    if (plan->reduced) {
      log.Warn("node", "not everything that is configured fits the file descriptors",
               {{"fds", sentence}});
    } else {
      log.Info("node", "file descriptors are shared out", {{"fds", sentence}});
    }
  }
  fds = std::make_unique<peers::FdBudget>(*plan);
  // What does not fit is not promised to anybody either.
  config.server.max_inbound = plan->max_inbound;
  config.server.max_outbound = plan->max_outbound;
  auto spare = fds->pool(PoolKind::kSpare).TryTake();
  auto reader = peers::FdReader::Open(spare ? *std::move(spare) : FdTicket());
  if (!reader.ok()) return reader.status();
  fd_reader = *std::move(reader);
  return absl::OkStatus();
}

// Before the server, so that what they offer stands in the first hello. A plugin that cannot be
// loaded was asked for by name, so the node does not start without it; one that fails by itself is
// in quarantine, and the node runs.
absl::Status Node::Impl::StartPlugins(const Options& given) {
  const Config& config = given.config;
  plugins::HostOptions options;
  options.plugin_dir = config.plugin_dir.empty() ? DefaultPluginDir() : config.plugin_dir;
  options.private_dir = dir->File(kPluginCopies);
  plugins::HostDeps deps;
  deps.clock = &clock;
  deps.log = &log;
  deps.ask_peers = AskPeersOf(link);
  deps.forgive = [link_to = link](const NodeId& id) {
    MutexLock lock(link_to->mutex);
    if (link_to->server != nullptr) link_to->server->Forgive(id);
  };
  plugins = std::make_unique<plugins::PluginHost>(options, std::move(deps));
  // The one that nobody named is not missed where it was not installed.
  const bool asked_for =
      std::any_of(given.settings.begin(), given.settings.end(), [](const Setting& setting) {
        return setting.name == "plugin" && setting.origin != Origin::kDefault;
      });
  for (const std::string& name : config.plugins) {
    absl::StatusOr<std::string> text = ReadPluginConfig(config.config_file, dir->path(), name);
    if (!text.ok()) return text.status();
    const absl::Status status = plugins->Load(name, *text);
    if (status.ok()) continue;
    const std::vector<plugins::PluginStatus> there = plugins->List();
    const bool quarantined =
        std::any_of(there.begin(), there.end(),
                    [&](const plugins::PluginStatus& plugin) { return plugin.name == name; });
    if (!quarantined && asked_for) return status;
    log.Error("node", "a plugin failed at its start; the node runs without it",
              {{"plugin", name}, {"why", std::string(status.message())}});
  }
  return absl::OkStatus();
}

absl::Status Node::Impl::StartServer(const Config& config) {
  ServerOptions options = config.server;
  const std::string peers_path = dir->File(kPeersFile);
  options.saved_peers = LoadPeers(peers_path, log);
  ServerDeps deps;
  deps.clock = &clock;
  deps.rng = &SystemRng();
  deps.log = &log;
  deps.fds = fds.get();
  deps.read_fds = [this] { return fd_reader->Read(); };
  deps.handlers = {plugins.get()};
  deps.save_peers = [peers_path](const std::vector<PeerAddress>& peers) {
    return SavePeers(peers_path, peers);
  };
  const size_t named = options.static_peers.size() + options.saved_peers.size();
  if (named > static_cast<size_t>(options.max_outbound)) {
    log.Warn(
        "node",
        "more peers are to be dialed than there are outbound slots: the rest are dialed when "
        "one of the others goes; raise --max-outbound",
        {{"peers", absl::StrCat(named)}, {"max_outbound", absl::StrCat(options.max_outbound)}});
  }
  auto created = Server::Create(std::move(options), *key, std::move(deps));
  if (!created.ok()) return created.status();
  server = *std::move(created);
  link->Set(server.get());
  return absl::OkStatus();
}

absl::Status Node::Impl::StartAdmin(const Config& config, std::function<void()> ask_to_stop) {
  rpc::AdminOptions options;
  options.address = config.admin;
  options.auth = config.admin_auth;
  options.token_path = dir->File("admin.token");
  rpc::NodeFacts facts;
  facts.version = std::string(Version());
  facts.user_agent = config.server.profile.user_agent;
  facts.network = config.server.profile.network;
  facts.genesis = config.server.profile.genesis;
  facts.data_dir = dir->path();
  facts.started = started;
  facts.open_files = {{dir->File("LOCK"), "lock of the data directory"}};
  if (!config.log_file.empty()) facts.open_files.emplace_back(config.log_file, "log file");
  rpc::AdminHooks hooks;
  hooks.log_level = [this] { return log.level(); };
  hooks.set_log_level = [this](LogLevel level) { log.SetLevel(level); };
  hooks.shutdown = std::move(ask_to_stop);
  hooks.own_fds = [this] {
    std::vector<net::OwnFd> own;
    if (metrics != nullptr) own = metrics->OwnFds();
    own.push_back({fd_reader->FdForShow(), 0, "counts the open descriptors", PoolKind::kSpare});
    return own;
  };
  hooks.plugins.host = plugins.get();
  hooks.plugins.plugin_dir = config.plugin_dir.empty() ? DefaultPluginDir() : config.plugin_dir;
  hooks.plugins.config = [file = config.config_file, data = dir->path()](const std::string& name) {
    return ReadPluginConfig(file, data, name);
  };
  auto begun =
      rpc::AdminServer::Start(std::move(options), std::move(facts), std::move(hooks), *server,
                              fds->pool(PoolKind::kAdmin), fds->pool(PoolKind::kFiles), clock, log);
  if (!begun.ok()) return begun.status();
  admin = *std::move(begun);
  return absl::OkStatus();
}

absl::Status Node::Impl::StartMetrics(const Config& config) {
  if (!config.metrics) return absl::OkStatus();
  // The snapshot is made by the control thread, the text by this server's own.
  const auto collect = [this](MetricsServer::Answer answer) {
    server->GetSnapshot([answer = std::move(answer), since = started, host = plugins.get()](
                            const std::shared_ptr<const ServerSnapshot>& snapshot) {
      answer([snapshot, since, host] {
        return snapshot != nullptr ? MetricsText(*snapshot, since, host->List()) : std::string();
      });
    });
  };
  auto begun = MetricsServer::Start(*config.metrics, collect, fds->pool(PoolKind::kAdmin),
                                    fds->pool(PoolKind::kFiles), clock, log, {});
  if (!begun.ok()) return begun.status();
  metrics = *std::move(begun);
  log.Info("node", "metrics are served",
           {{"at", absl::StrCat("http://", metrics->address().ToString(), "/metrics")}});
  return absl::OkStatus();
}

void Node::Impl::Tell(std::string_view state) {
  if (absl::Status status = NotifyServiceManager(NotifySocket(), state); !status.ok()) {
    log.Warn("node", "the service manager could not be told",
             {{"why", std::string(status.message())}});
  }
}

absl::Status Node::Impl::Announce(const Options& options) {
  // First what others read once they have seen helod.json.
  if (absl::Status status =
          WriteFileAtomically(dir->File(kConfigFile), PrintConfigJson(options), 0600);
      !status.ok()) {
    return status;
  }
  RunningNode node;
  node.pid = getpid();
  node.id = server->id();
  node.listen = server->listening();
  node.admin = admin->address();
  if (metrics) node.metrics = metrics->address();
  node.version = std::string(Version());
  node.user_agent = options.config.server.profile.user_agent;
  node.network = options.config.server.profile.network;
  node.data_dir = dir->path();
  node.started = started;
  if (absl::Status status = WriteFileAtomically(dir->File(kNodeFile), NodeFileJson(node), 0600);
      !status.ok())
    return status;
  const std::string listen = absl::StrJoin(
      node.listen, " ",
      [](std::string* out, const Endpoint& endpoint) { out->append(endpoint.ToString()); });
  log.Info("node", "ready",
           {{"id", node.id.ToHex()},
            {"listen", listen.empty() ? "none" : listen},
            {"admin", node.admin.ToString()},
            {"network", node.network},
            {"data_dir", node.data_dir},
            {"version", node.version},
            {"pid", absl::StrCat(node.pid)}});
  Tell(absl::StrCat("READY=1\nSTATUS=Listening on ", listen.empty() ? "nothing" : listen, ", id ",
                    node.id.Short()));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Node>> Node::Start(const Options& options, NodeLog& log,
                                                  std::function<void()> ask_to_stop) {
  std::unique_ptr<Node> node(new Node(std::make_unique<Impl>(log)));
  Impl& impl = *node->impl_;
  Config config = options.config;
  log.Info("node", "starting",
           {{"version", std::string(Version())}, {"data_dir", config.data_dir}});
  if (absl::Status status = impl.OpenFiles(options); !status.ok()) return status;
  if (absl::Status status = impl.PlanDescriptors(config); !status.ok()) return status;
  if (absl::Status status = impl.StartPlugins(options); !status.ok()) return status;
  if (absl::Status status = impl.StartServer(config); !status.ok()) return status;
  // Before the admin API, which tells of its descriptors.
  if (absl::Status status = impl.StartMetrics(config); !status.ok()) return status;
  if (absl::Status status = impl.StartAdmin(config, std::move(ask_to_stop)); !status.ok())
    return status;
  // All that the node opens for itself is open, and no peer has come or been dialed yet.
  if (auto limit = impl.fd_reader->Read(); limit.ok()) impl.fds->SettleOwn(*limit);
  impl.server->Start();
  if (absl::Status status = impl.Announce(options); !status.ok()) return status;
  return node;
}

Node::Node(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Node::~Node() { Stop(); }

void Node::Stop() {
  if (std::exchange(impl_->stopped, true)) return;
  if (impl_->dir) unlink(impl_->dir->File(kNodeFile).c_str());
  if (impl_->server == nullptr) {
    impl_->plugins.reset();
    return;
  }
  impl_->Tell("STOPPING=1");
  if (impl_->metrics != nullptr) impl_->metrics->Stop();
  // At the same time: neither peers nor callers wait for the others' patience.
  std::thread callers([this] {
    if (impl_->admin != nullptr) impl_->admin->Stop(kAdminStop);
  });
  // First the plugins: their peers get a proper end of each session, and no call waits for one.
  impl_->plugins->Shutdown(kPluginStop);
  impl_->server->Stop(kServerStop);
  callers.join();
  impl_->admin.reset();
  impl_->metrics.reset();
  impl_->link->Set(nullptr);
  impl_->server.reset();
  impl_->plugins.reset();
}

}  // namespace helo::node
