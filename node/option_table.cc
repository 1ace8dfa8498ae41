// Long because it is one table: each option with its name, form, limits, sentence and place in
// Config.
#include "node/option_table.h"

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>

#include "node/option_values.h"
#include "p2p/base/text.h"

namespace helo::node {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr int64_t kMostFds = 1 << 30;  // beyond what any kernel grants
constexpr std::string_view kLogLevels[] = {"trace", "debug", "info", "warn", "error", "off"};

// One field of Config, found in a const or a mutable one.
template <typename T>
using Field = T& (*)(Config&);

template <typename T>
const T& Read(Field<T> field, const Config& config) {
  return field(const_cast<Config&>(config));  // the accessors only ever name a member
}

template <typename T>
OptionSpec Count(std::string_view name, std::string_view group, Field<T> field, int64_t least,
                 int64_t most, std::string help) {
  OptionSpec spec{.name = name, .metavar = "N", .group = group, .help = std::move(help)};
  spec.set = [=](Config& config, std::string_view value) {
    const auto count = ParseCount(value, least, most);
    if (count.ok()) field(config) = static_cast<T>(*count);
    return count.status();
  };
  spec.get = [=](const Config& config) { return std::vector{absl::StrCat(Read(field, config))}; };
  return spec;
}

OptionSpec Time(std::string_view name, std::string_view group, Field<Duration> field,
                Duration least, Duration most, std::string help) {
  OptionSpec spec{.name = name, .metavar = "TIME", .group = group, .help = std::move(help)};
  spec.set = [=](Config& config, std::string_view value) {
    const auto time = ParseDuration(value, least, most);
    if (time.ok()) field(config) = *time;
    return time.status();
  };
  spec.get = [=](const Config& config) { return std::vector{PrintDuration(Read(field, config))}; };
  return spec;
}

// `parse` gives StatusOr<T>, `print` the text that parses to it.
template <typename T, typename Parse, typename Print>
OptionSpec Single(std::string_view name, std::string_view metavar, std::string_view group,
                  Field<T> field, Parse parse, Print print, std::string help) {
  OptionSpec spec{.name = name, .metavar = metavar, .group = group, .help = std::move(help)};
  spec.set = [=](Config& config, std::string_view value) -> absl::Status {
    auto parsed = parse(value);
    if (!parsed.ok()) return parsed.status();
    field(config) = *std::move(parsed);
    return absl::OkStatus();
  };
  spec.get = [=](const Config& config) {
    return std::vector<std::string>{print(Read(field, config))};
  };
  return spec;
}

template <typename T, typename Parse, typename Print>
OptionSpec List(std::string_view name, std::string_view metavar, std::string_view group,
                Field<std::vector<T>> field, Parse parse, Print print, std::string help) {
  OptionSpec spec{.name = name,
                  .metavar = metavar,
                  .group = group,
                  .help = std::move(help),
                  .repeatable = true};
  spec.clear = [=](Config& config) { field(config).clear(); };
  spec.set = [=](Config& config, std::string_view value) -> absl::Status {
    auto parsed = parse(value);
    if (!parsed.ok()) return parsed.status();
    std::vector<T>& list = field(config);
    // Two listeners on port 0 are two; anything else said twice is one.
    const bool again = !std::is_same_v<T, ListenAddress> &&
                       std::find(list.begin(), list.end(), *parsed) != list.end();
    if (!again) list.push_back(*std::move(parsed));
    return absl::OkStatus();
  };
  spec.get = [=](const Config& config) {
    std::vector<std::string> out;
    for (const T& value : Read(field, config)) out.push_back(print(value));
    return out;
  };
  return spec;
}

OptionSpec With(OptionSpec spec, std::string example) {
  spec.example = std::move(example);
  return spec;
}

absl::StatusOr<std::string> ParseText(std::string_view text) {
  if (text.find('\0') != std::string_view::npos || text.find('\n') != std::string_view::npos) {
    return absl::InvalidArgumentError("it has a line break or a zero byte in it");
  }
  return std::string(text);
}
std::string PrintText(const std::string& text) { return text; }

absl::StatusOr<std::string> ParseDirectory(std::string_view text) {
  if (text.empty())
    return absl::InvalidArgumentError("its value is empty: give the name of a directory");
  return ParseText(text);
}

absl::StatusOr<std::string> ParsePluginName(std::string_view text) {
  const bool good =
      !text.empty() && text.size() <= 64 && text[0] >= 'a' && text[0] <= 'z' &&
      std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
      });
  if (good) return std::string(text);
  return absl::InvalidArgumentError(
      absl::StrCat(Shown(text),
                   " is not the name of a plugin: a-z, 0-9, _ and -, beginning with a letter, and "
                   "without the .so of its file"));
}

absl::StatusOr<NodeId> ParseId(std::string_view text) {
  const auto id = NodeId::FromHex(text);
  if (id) return *id;
  return absl::InvalidArgumentError(absl::StrCat(
      Shown(text),
      " is not a node id: 64 hex digits are needed, as `helo id` prints them on that node"));
}

absl::StatusOr<std::string> ParseNetwork(std::string_view text) {
  const auto allowed = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (&c != text.data() && (c == '.' || c == '_' || c == '-'));
  };
  bool good = !text.empty() && text.size() <= 64;
  for (const char& c : text) good = good && allowed(c);
  if (good && text[0] != '.' && text[0] != '_' && text[0] != '-') return std::string(text);
  return absl::InvalidArgumentError(absl::StrCat(
      Shown(text),
      " is not a network name: 1 to 64 of a-z, 0-9, dot, underscore and hyphen, beginning with a "
      "letter or digit"));
}

absl::StatusOr<Bytes> ParseGenesis(std::string_view text) {
  Bytes bytes;
  if (FromHex(text, bytes) && bytes.size() <= 64) return bytes;
  return absl::InvalidArgumentError(
      absl::StrCat(Shown(text), " is not a genesis value: 1 to 64 bytes in hex, or empty"));
}

absl::StatusOr<std::string> ParseUserAgent(std::string_view text) {
  const bool printable =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
  if (printable && !text.empty() && text.size() <= 128) return std::string(text);
  return absl::InvalidArgumentError(
      absl::StrCat(Shown(text), " is not a user agent: 1 to 128 printable ASCII characters"));
}

absl::StatusOr<Endpoint> ParseAdvertised(std::string_view text) {
  const auto endpoint = Endpoint::Parse(text);
  if (endpoint && endpoint->port != 0 && !endpoint->ip.IsUnspecified() &&
      endpoint->ip.scope_id() == 0)
    return *endpoint;
  return absl::InvalidArgumentError(absl::StrCat(
      Shown(text),
      " is not an address that others can dial: write IP:PORT, as in 203.0.113.7:4356"));
}

absl::StatusOr<Endpoint> ParseAdmin(std::string_view text) {
  const auto endpoint = Endpoint::Parse(text);
  if (!endpoint) {
    return absl::InvalidArgumentError(absl::StrCat(
        Shown(text),
        " is not IP:PORT: write 127.0.0.1:4357 or [::1]:4357; port 0 lets the kernel choose"));
  }
  if (!endpoint->ip.IsLoopback()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(text),
                     " is not a loopback address, and the admin API is never shown to a network: "
                     "keep 127.0.0.1, "
                     "and from another machine use ssh -L 4357:127.0.0.1:4357 HOST"));
  }
  return *endpoint;
}

absl::StatusOr<std::optional<Endpoint>> ParseMetrics(std::string_view text) {
  if (text == "none") return std::optional<Endpoint>();
  const auto endpoint = Endpoint::Parse(text);
  if (!endpoint) {
    return absl::InvalidArgumentError(
        absl::StrCat(Shown(text),
                     " is not IP:PORT: write 127.0.0.1:4358 or [::1]:4358, or none; port 0 lets "
                     "the kernel choose"));
  }
  if (!endpoint->ip.IsLoopback()) {
    return absl::InvalidArgumentError(absl::StrCat(
        Shown(text),
        " is not a loopback address, and whoever reaches the metrics may read them: keep "
        "127.0.0.1, and to scrape from another machine use ssh -L 4358:127.0.0.1:4358 HOST or a "
        "proxy with a password"));
  }
  return std::optional<Endpoint>(*endpoint);
}

absl::StatusOr<std::string> ParseCapability(std::string_view text) {
  bool good = !text.empty() && text.size() <= 16 && text[0] >= 'a' && text[0] <= 'z';
  for (const char c : text)
    good = good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-');
  if (good) return std::string(text);
  return absl::InvalidArgumentError(absl::StrCat(
      Shown(text),
      " is not a capability: 1 to 16 of a-z, 0-9 and hyphen, beginning with a letter, as in echo"));
}

std::string PrintListen(const ListenAddress& address) {
  const std::string text = address.ToString();
  return text.rfind("tcp://", 0) == 0 ? text.substr(6) : text;
}

absl::StatusOr<LogLevel> ParseLevel(std::string_view text) {
  const auto at = ParseChoice(text, {std::begin(kLogLevels), std::end(kLogLevels)});
  if (!at.ok()) return at.status();
  return static_cast<LogLevel>(*at);
}
absl::StatusOr<LogFormat> ParseFormat(std::string_view text) {
  const auto at = ParseChoice(text, {"text", "json"});
  if (!at.ok()) return at.status();
  return *at == 0 ? LogFormat::kText : LogFormat::kJson;
}
absl::StatusOr<rpc::AdminAuth> ParseAuth(std::string_view text) {
  const auto at = ParseChoice(text, {"uid", "token"});
  if (!at.ok()) return at.status();
  return *at == 0 ? rpc::AdminAuth::kUid : rpc::AdminAuth::kToken;
}

#define HELO_FIELD(member) [](Config& c) -> decltype(Config::member)& { return c.member; }
// The same for members of members, whose type decltype cannot be asked for through Config.
#define HELO_DEEP(type, member) [](Config& c) -> type& { return c.member; }

void AddNode(std::vector<OptionSpec>& table) {
  constexpr std::string_view kGroup = "Node";
  table.push_back(
      With(Single<std::string>(
               "data-dir", "DIR", kGroup, HELO_FIELD(data_dir), ParseDirectory, PrintText,
               "Where the node keeps its key (node.key), its saved peers, the admin token, and "
               "helod.json, by which "
               "helo finds it. Made if absent, with mode 0700; one directory serves one process."),
           "/var/lib/helo"));
  OptionSpec config =
      Single<std::string>("config", "FILE", kGroup, HELO_FIELD(config_file), ParseText, PrintText,
                          "Read options from FILE: lines of `name = value`, names as here without "
                          "the dashes, # begins a comment. The command "
                          "line comes before the environment, the environment before the file; a "
                          "list in one replaces that in another.");
  config.in_file = false;
  table.push_back(std::move(config));
  table.push_back(Single<std::string>(
      "network", "NAME", kGroup, HELO_DEEP(std::string, server.profile.network), ParseNetwork,
      PrintText, "The name of the network. Nodes of different networks refuse each other."));
  table.push_back(
      With(Single<Bytes>(
               "genesis", "HEX", kGroup, HELO_DEEP(Bytes, server.profile.genesis), ParseGenesis,
               [](const Bytes& bytes) { return ToHex(bytes); },
               "A value of up to 64 bytes that all nodes of a network share, such as the hash of a "
               "first block. Two nodes "
               "that have both set it, and differently, refuse each other. Empty: not set."),
           "00112233445566778899aabbccddeeff"));
  table.push_back(Single<std::string>(
      "user-agent", "TEXT", kGroup, HELO_DEEP(std::string, server.profile.user_agent),
      ParseUserAgent, PrintText, "What the node calls itself to others."));
  table.push_back(
      With(List<std::string>("require-capability", "NAME", kGroup,
                             HELO_DEEP(std::vector<std::string>, server.profile.required),
                             ParseCapability, PrintText,
                             "Refuse peers with whom this capability is not shared."),
           "echo"));
}

void AddNetwork(std::vector<OptionSpec>& table) {
  constexpr std::string_view kGroup = "Addresses";
  table.push_back(List<ListenAddress>(
      "listen", "ADDR", kGroup, HELO_DEEP(std::vector<ListenAddress>, server.listen),
      ListenAddress::Parse, PrintListen,
      "Where peers may connect: [tcp|tcp4|tcp6://]HOST:PORT, HOST an address of this machine or "
      "empty for every address, "
      "IPv6 in brackets, port 0 for one that the kernel chooses. `none`: dial only."));
  table.push_back(With(
      List<PeerAddress>(
          "peer", "ADDR", kGroup, HELO_DEEP(std::vector<PeerAddress>, server.static_peers),
          PeerAddress::Parse, [](const PeerAddress& peer) { return peer.ToString(); },
          "A peer to dial and never give up: helo://ID@HOST:PORT, the id being optional. Names are "
          "resolved at "
          "every try. With an id, anybody else who answers there is refused."),
      "helo://"
      "44ff7fa87f54f2f7d0abc411ad17f97206c0ab7816bde1c0d3222f62970469bf@node1.example.org:4356"));
  table.push_back(
      With(List<NodeId>(
               "trusted", "ID", kGroup, HELO_DEEP(std::vector<NodeId>, server.trusted), ParseId,
               [](const NodeId& id) { return id.ToHex(); },
               "A peer that is admitted above the limits and never makes room for another."),
           "44ff7fa87f54f2f7d0abc411ad17f97206c0ab7816bde1c0d3222f62970469bf"));
  table.push_back(
      With(List<Endpoint>(
               "advertise", "IP:PORT", kGroup,
               HELO_DEEP(std::vector<Endpoint>, server.profile.advertised), ParseAdvertised,
               [](const Endpoint& endpoint) { return endpoint.ToString(); },
               "An address under which others can reach this node, told to peers; at most 8."),
           "203.0.113.7:4356"));
  table.push_back(Count<int>(
      "backlog", kGroup, HELO_DEEP(int, server.backlog), 1, 1 << 20,
      "The accept queue to ask the kernel for, a listener; net.core.somaxconn may cut it."));
  table.push_back(
      Count<int>("loops", kGroup, HELO_DEEP(int, server.loops), 1, 256, "Network threads."));
}

void AddPlugins(std::vector<OptionSpec>& table) {
  constexpr std::string_view kGroup = "Plugins";
  table.push_back(
      List<std::string>("plugin", "NAME", kGroup, HELO_FIELD(plugins), ParsePluginName, PrintText,
                        "Load NAME.so of --plugin-dir at start. Its configuration stands in the "
                        "config file below [plugin NAME], or in NAME.conf in the data directory. "
                        "`none`: no plugin."));
  table.push_back(With(
      Single<std::string>("plugin-dir", "DIR", kGroup, HELO_FIELD(plugin_dir), ParseText, PrintText,
                          "Where plugins are. Empty: ../lib/helo/plugins as seen from the "
                          "program. It, all above it and the files in it must belong to root or "
                          "to the node's user and be writable by nobody else."),
      "/usr/local/lib/helo/plugins"));
}

void AddLimits(std::vector<OptionSpec>& table) {
  constexpr std::string_view kGroup = "Limits";
  table.push_back(Count<int>("max-inbound", kGroup, HELO_DEEP(int, server.max_inbound), 0, kMostFds,
                             "Peers that connected to us; further ones are told FULL."));
  table.push_back(Count<int>("max-outbound", kGroup, HELO_DEEP(int, server.max_outbound), 0,
                             kMostFds,
                             "Peers that we connected to, or are connecting to. Unless given, 16 "
                             "or as many as there are --peer, if that is more."));
  table.push_back(Count<int>("max-handshakes", kGroup, HELO_DEEP(int, fds.handshakes), 0, kMostFds,
                             "Connections waiting for, or in, their handshake. 0: a quarter of the "
                             "file descriptors left, 64 to "
                             "4096."));
  table.push_back(Count<int>(
      "max-closing", kGroup, HELO_DEEP(int, fds.closing), 0, kMostFds,
      "Closing sockets that still wait for the other side; beyond that they are closed at once."));
  table.push_back(Count<int>("admin-fds", kGroup, HELO_DEEP(int, fds.admin), 1, kMostFds,
                             "Connections to the admin API."));
  table.push_back(Count<int>("file-fds", kGroup, HELO_DEEP(int, fds.files), 8, kMostFds,
                             "File descriptors set aside for files, the resolver and plugins."));
  table.push_back(
      Count<int>("source-handshakes", kGroup, HELO_DEEP(int, server.sources.at_once), 1, kMostFds,
                 "Handshakes at once from one source: an IPv4 address or an IPv6 /64."));
  table.push_back(Count<int>("source-attempts", kGroup, HELO_DEEP(int, server.sources.begun), 1,
                             1 << 20,
                             "Handshakes that one source may begin within --source-window."));
  table.push_back(Time("source-window", kGroup, HELO_DEEP(Duration, server.sources.window),
                       milliseconds(100), hours(1),
                       "The time over which --source-attempts counts."));
  table.push_back(Count<size_t>("max-sources", kGroup,
                                HELO_DEEP(size_t, server.sources.max_sources), 1, 1 << 26,
                                "Sources remembered for these limits."));
  table.push_back(List<Subnet>(
      "exempt-sources", "BLOCK", kGroup, HELO_DEEP(std::vector<Subnet>, server.sources.exempt),
      Subnet::Parse, [](const Subnet& subnet) { return subnet.ToString(); },
      "Blocks of addresses that the limits for one source leave alone. `none`: every source is "
      "limited."));
  table.push_back(Single<size_t>(
      "send-quota", "BYTES", kGroup, HELO_DEEP(size_t, server.profile.send_quota_bytes),
      [](std::string_view text) -> absl::StatusOr<size_t> {
        const auto bytes = ParseBytes(text, 64 << 10, 1 << 30);
        if (!bytes.ok()) return bytes.status();
        return static_cast<size_t>(*bytes);
      },
      [](size_t bytes) { return PrintBytes(static_cast<int64_t>(bytes)); },
      "Bytes that may wait to be sent to one peer before its handlers are told to wait."));
}

void AddTimes(std::vector<OptionSpec>& table) {
  constexpr std::string_view kGroup = "Times";
  const auto time = [&](std::string_view name, Field<Duration> field, std::string help,
                        Duration least = milliseconds(10), Duration most = hours(1)) {
    table.push_back(Time(name, kGroup, field, least, most, std::move(help)));
  };
  time("resolve-timeout", HELO_DEEP(Duration, server.resolve_timeout),
       "For resolving a name, at each try.");
  time("connect-timeout", HELO_DEEP(Duration, server.connect_timeout), "For the TCP connection.");
  time("tls-timeout", HELO_DEEP(Duration, server.tls_timeout), "For the TLS handshake.");
  time("hello-timeout", HELO_DEEP(Duration, server.profile.times.hello),
       "For the other side's HELLO, from the end of TLS.");
  time("verdict-timeout", HELO_DEEP(Duration, server.profile.times.verdict),
       "For the other side's verdict.");
  time("handshake-timeout", HELO_DEEP(Duration, server.profile.times.accept_to_up),
       "From accepting a connection to its being up, whatever trickles in.");
  time("not-reading-timeout", HELO_DEEP(Duration, server.profile.times.not_reading),
       "How long a peer may leave what we send unread.");
  time("ping-idle", HELO_DEEP(Duration, server.profile.times.ping_idle),
       "Ping when nothing was sent for this long, +- 20 %.");
  time("ping-interval", HELO_DEEP(Duration, server.profile.times.ping_at_least),
       "Ping at least this often, for the RTT.");
  time("ping-timeout", HELO_DEEP(Duration, server.profile.times.ping_timeout),
       "Close a peer from which nothing was heard for this long.");
  time("challenge-timeout", HELO_DEEP(Duration, server.profile.times.challenge),
       "How long an old connection has to prove that it is alive when its peer comes anew.");
  time("linger", HELO_DEEP(Duration, server.linger),
       "How long a closing socket waits for the other side.", Duration(0), minutes(1));
  time("dial-backoff-first", HELO_DEEP(Duration, server.dial_times.backoff_first),
       "The wait after a first failed dial; it doubles with every further one.");
  time("dial-backoff-max", HELO_DEEP(Duration, server.dial_times.backoff_most),
       "The longest wait between two dials.", milliseconds(10), hours(24));
  table.push_back(Count<int>("dial-jitter", kGroup,
                             HELO_DEEP(int, server.dial_times.jitter_percent), 0, 100,
                             "By how many per cent these waits vary."));
  time("dial-reset-after", HELO_DEEP(Duration, server.dial_times.reset_after_up),
       "A peer that was up for this long begins at the first wait again.", Duration(0), hours(24));
}

void AddAdmin(std::vector<OptionSpec>& table) {
  constexpr std::string_view kGroup = "Administration";
  table.push_back(Single<Endpoint>(
      "admin", "IP:PORT", kGroup, HELO_FIELD(admin), ParseAdmin,
      [](const Endpoint& endpoint) { return endpoint.ToString(); },
      "Where helo and other gRPC clients reach the node; loopback only, port 0 for one that the "
      "kernel chooses."));
  table.push_back(Single<rpc::AdminAuth>(
      "admin-auth", "uid|token", kGroup, HELO_FIELD(admin_auth), ParseAuth,
      [](rpc::AdminAuth auth) { return auth == rpc::AdminAuth::kUid ? "uid" : "token"; },
      "uid: the user who runs the node and root may call, anybody else needs the token in the data "
      "directory's "
      "admin.token. token: everybody needs it."));
  table.push_back(With(
      Single<std::optional<Endpoint>>(
          "metrics", "IP:PORT", kGroup, HELO_FIELD(metrics), ParseMetrics,
          [](const std::optional<Endpoint>& at) { return at ? at->ToString() : "none"; },
          "Serve metrics for Prometheus there, as GET /metrics; loopback only, to every user of "
          "this machine. `none`: do not."),
      "127.0.0.1:4358"));
  constexpr std::string_view kLogGroup = "Logging";
  table.push_back(Single<LogLevel>(
      "log-level", "LEVEL", kLogGroup, HELO_FIELD(log_level), ParseLevel,
      [](LogLevel level) { return std::string(ToString(level)); },
      "trace, debug, info, warn, error or off. helo log-level changes it while the node runs."));
  table.push_back(Single<LogFormat>(
      "log-format", "text|json", kLogGroup, HELO_FIELD(log_format), ParseFormat,
      [](LogFormat format) { return format == LogFormat::kText ? "text" : "json"; },
      "One line an event, either way."));
  table.push_back(
      With(Single<std::string>(
               "log-file", "FILE", kLogGroup, HELO_FIELD(log_file), ParseText, PrintText,
               "Append the log to FILE instead of writing it to stderr; SIGHUP opens it anew."),
           "/var/log/helo/helod.log"));
}

#undef HELO_FIELD
#undef HELO_DEEP

std::vector<OptionSpec> MakeTable() {
  std::vector<OptionSpec> table;
  AddNode(table);
  AddNetwork(table);
  AddPlugins(table);
  AddAdmin(table);
  AddLimits(table);
  AddTimes(table);
  return table;
}

}  // namespace

const std::vector<OptionSpec>& OptionTable() {
  static const std::vector<OptionSpec> table = MakeTable();
  return table;
}

const OptionSpec* FindOption(std::string_view name) {
  for (const OptionSpec& spec : OptionTable()) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

std::string EnvironmentName(const OptionSpec& spec) {
  return absl::StrCat("HELO_",
                      absl::StrReplaceAll(absl::AsciiStrToUpper(ToAbsl(spec.name)), {{"-", "_"}}));
}

std::vector<std::string> CheckTogether(const Config& config) {
  std::vector<std::string> errors;
  if (config.data_dir.empty()) {
    errors.emplace_back(
        "no data directory: neither HOME nor XDG_DATA_HOME is set, so give --data-dir DIR");
  }
  if (config.server.profile.advertised.size() > 8) {
    errors.push_back(absl::StrCat("option --advertise: ", config.server.profile.advertised.size(),
                                  " addresses are given and the protocol carries at most 8"));
  }
  const wire::Times& times = config.server.profile.times;
  if (times.ping_timeout <= times.ping_at_least) {
    errors.push_back(absl::StrCat(
        "option --ping-timeout: ", PrintDuration(times.ping_timeout),
        " is not longer than --ping-interval (", PrintDuration(times.ping_at_least),
        "), so quiet peers would be closed although they answer; raise it or lower the interval"));
  }
  if (config.server.dial_times.backoff_most < config.server.dial_times.backoff_first) {
    errors.push_back(absl::StrCat(
        "option --dial-backoff-max: ", PrintDuration(config.server.dial_times.backoff_most),
        " is shorter than --dial-backoff-first (",
        PrintDuration(config.server.dial_times.backoff_first), ")"));
  }
  if (config.server.listen.empty() && config.server.static_peers.empty() &&
      config.server.max_outbound == 0) {
    errors.emplace_back(
        "option --listen: the node neither listens nor may dial (--max-outbound 0), so it could "
        "meet nobody");
  }
  return errors;
}

}  // namespace helo::node
