// All of CLI11 is in this source; it throws, and no exception leaves it.
#include "rpc/tool/cli.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include <CLI/CLI.hpp>

#include "p2p/base/text.h"
#include "rpc/tool/commands.h"
#include "rpc/tool/units.h"

namespace helo::tool {
namespace {

using Command = std::function<Exit(Session&)>;

constexpr char kAbout[] =
    "helo talks to a helo node on this machine: who is connected, why somebody is not, and what to "
    "do about it.";
constexpr char kMore[] =
    "Which node: --data-dir DIR (through DIR/helod.json), --admin HOST:PORT, else HELO_DATA_DIR, "
    "HELO_ADMIN,\n"
    "else 127.0.0.1:4357. An id may be shortened to any unique prefix of at least four digits.\n"
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 node not running, 4 not allowed, 5 not found or "
    "ambiguous,\n"
    "6 refused by the peer, 7 timed out.\n"
    "\nExamples:\n"
    "  helo info                         the node, its listeners, fds and dialed addresses\n"
    "  helo peers --sort rtt             who is connected, nearest first\n"
    "  helo add helo://10.0.0.7:4356 --wait 5s\n"
    "  helo history --direction out      why somebody is not connected\n"
    "  helo plugin call gossip log       a command of a plugin's own\n"
    "  helo probe 10.0.0.7:4356          would that node take us, and where does it stop\n"
    "  helo doctor                       is this machine fit for a node\n"
    "  helo explain WRONG_NETWORK";
constexpr char kCommon[] =
    "\n(options of every command, as --data-dir, --admin, --timeout, --json: helo --help)";

// The values that options are read into; the chosen command copies what it needs.
struct Values {
  Globals globals;
  Command command;
  bool wide = false;
  bool disconnect = false;
  std::string text;  // the positional argument
  std::string word;  // the second one
  std::optional<Duration> drain;
  std::vector<std::string> rest;
  PeersOptions peers;
  AddOptions add;
  DropOptions drop;
  FdsOptions fds;
  HistoryOptions history;
  WatchOptions watch;
  ProbeOptions probe;
  PluginCheck plugin_check;
};

[[noreturn]] void Reject(const std::string& option, const absl::Status& status) {
  throw CLI::ValidationError(option, std::string(status.message()));
}

CLI::Option* AddDuration(CLI::App& app, const std::string& name, std::function<void(Duration)> set,
                         const std::string& help, bool bare_seconds = false) {
  return app
      .add_option_function<std::string>(
          name,
          [name, set = std::move(set), bare_seconds](const std::string& text) {
            const absl::StatusOr<Duration> duration = ParseDuration(text, bare_seconds);
            if (!duration.ok()) Reject(name, duration.status());
            set(*duration);
          },
          help)
      ->type_name("DURATION");
}

void AddDirection(CLI::App& app, std::string& direction) {
  app.add_option_function<std::string>(
         "--direction",
         [&direction](const std::string& text) {
           if (text != "in" && text != "out") {
             Reject("--direction",
                    absl::InvalidArgumentError(absl::StrCat("'", text, "' is neither in nor out")));
           }
           direction = text;
         },
         "only connections that came in, or that this node dialed")
      ->type_name("in|out");
}

void AddId(CLI::App& app, const std::string& name, std::string& id, const std::string& help,
           bool required) {
  app.add_option_function<std::string>(
         name,
         [name, &id](const std::string& text) {
           absl::StatusOr<std::string> prefix = ParseIdPrefix(text);
           if (!prefix.ok()) Reject(name, prefix.status());
           id = *std::move(prefix);
         },
         help)
      ->required(required)
      ->type_name("ID");
}

CLI::App& Add(CLI::App& app, Values& values, const std::string& name, const std::string& help,
              const std::string& examples, Command command) {
  CLI::App* sub = app.add_subcommand(name, help);
  sub->fallthrough();
  sub->footer(absl::StrCat("Examples:\n", examples, kCommon));
  sub->callback([&values, command = std::move(command)] { values.command = command; });
  return *sub;
}

void AddGlobals(CLI::App& app, Values& values) {
  Globals& globals = values.globals;
  app.add_option("--data-dir", globals.find.data_dir, "the node's data directory")
      ->type_name("DIR");
  app.add_option("--admin", globals.find.admin, "the node's admin address")->type_name("HOST:PORT");
  app.add_option("--token-file", globals.find.token_file,
                 "the admin token, when you are not the node's user; default DIR/admin.token")
      ->type_name("PATH");
  AddDuration(
      app, "--timeout", [&globals](Duration d) { globals.timeout = d; },
      "how long a call may take, default 10s");
  app.add_flag("--json", globals.json, "one JSON document on stdout; watch: one a line");
}

void AddNodeCommands(CLI::App& app, Values& values) {
  CLI::App& info = Add(app, values, "info", "the node: identity, listeners, fds, dialed addresses",
                       "  helo info\n  helo info --json | jq -r .id",
                       [&values](Session& s) { return Info(s, values.wide); });
  info.add_flag("--wide", values.wide, "with the sum of the file descriptors");
  Add(app, values, "health", "exit 0 if the node is up and ready",
      "  helo health || systemctl restart helod", Health);
  CLI::App& level =
      Add(app, values, "log-level", "change what the node logs", "  helo log-level debug",
          [&values](Session& s) { return SetLogLevel(s, values.text); });
  level.add_option("level", values.text, "the new level")
      ->required()
      ->type_name("LEVEL")
      ->check(CLI::IsMember(
          std::vector<std::string>{"trace", "debug", "info", "warn", "error", "off"}));
  Add(app, values, "shutdown", "stop the node, its peers are told", "  helo shutdown", Shutdown);
}

void AddFdCommands(CLI::App& app, Values& values) {
  CLI::App& fds = Add(
      app, values, "fds", "the node's file descriptors as the kernel has them, and whose each is",
      "  helo fds\n  helo fds --wide\n"
      "  helo fds --json | jq '.fds[] | select(.ours | not)'      what the node did not open",
      [&values](Session& s) { return Fds(s, values.fds); });
  fds.add_flag("--wide", values.fds.wide,
               "all columns and whole ids, however wide the terminal is");
  CLI::App& sockets = Add(
      app, values, "sockets",
      "what the kernel knows of the node's sockets: queues, drops, round trips, retransmits",
      "  helo sockets\n  helo sockets --wide\n"
      "  helo sockets --json | jq '.listeners[] | {local: .listener.local, accept_queue, drops}'",
      [&values](Session& s) { return Sockets(s, values.fds); });
  sockets.add_flag("--wide", values.fds.wide,
                   "all columns and whole ids, however wide the terminal is");
}

void AddPeerCommands(CLI::App& app, Values& values) {
  CLI::App& peers = Add(app, values, "peers", "who is connected",
                        "  helo peers --sort rtt\n  helo peers --filter echo/1 --direction in\n"
                        "  helo peers --json | jq -r '.peers[].id'",
                        [&values](Session& s) { return Peers(s, values.peers); });
  peers
      .add_option("--sort", values.peers.sort,
                  "id, direction, address, agent, age, rtt, skew, in, out, last or fd")
      ->type_name("COLUMN");
  peers.add_flag("--reverse", values.peers.reverse, "largest first");
  peers
      .add_option("--filter", values.peers.filter,
                  "only those with this in id, address, user agent or a capability's name")
      ->type_name("TEXT");
  AddDirection(peers, values.peers.direction);
  peers.add_flag("--wide", values.peers.wide, "all columns, however wide the terminal is");

  CLI::App& peer = Add(app, values, "peer", "one peer in full", "  helo peer 3f2a",
                       [&values](Session& s) { return ShowPeer(s, values.text); });
  AddId(peer, "id", values.text, "its id or the beginning of it", true);

  CLI::App& add = Add(app, values, "add", "dial a peer from now on",
                      "  helo add helo://10.0.0.7:4356 --wait 5s\n  helo add node2:4356 --save",
                      [&values](Session& s) { return tool::Add(s, values.add); });
  add.add_option("address", values.add.address, "[helo://][ID@]HOST:PORT")
      ->required()
      ->type_name("ADDRESS");
  AddDuration(
      add, "--wait", [&values](Duration d) { values.add.wait = d; },
      "wait for the outcome of the first try; exit 6 if the peer refuses", /*bare_seconds=*/true);
  add.add_flag("--save", values.add.save, "also after a restart of the node");

  CLI::App& remove =
      Add(app, values, "remove", "undo add", "  helo remove helo://10.0.0.7:4356 --disconnect",
          [&values](Session& s) { return Remove(s, values.text, values.disconnect); });
  remove.add_option("address", values.text, "as it was added, or the peer's id")
      ->required()
      ->type_name("ADDRESS");
  remove.add_flag("--disconnect", values.disconnect, "close its connection too");

  CLI::App& drop =
      Add(app, values, "drop", "close a peer and keep it away for a while",
          "  helo drop 3f2a --for 1h --reason \"upgrade, please\"\n  helo drop 3f2a --for 0",
          [&values](Session& s) { return Drop(s, values.drop); });
  AddId(drop, "id", values.drop.id, "its id or the beginning of it", true);
  AddDuration(
      drop, "--for", [&values](Duration d) { values.drop.away = d; },
      "how long it may not come back, in or out; default 10m, 0: it may come back at once");
  drop.add_option_function<std::string>(
          "--reason",
          [&values](const std::string& text) {
            if (absl::Status status = CheckPeerText(text); !status.ok()) Reject("--reason", status);
            values.drop.text = text;
          },
          "told to the peer")
      ->type_name("TEXT");
}

void AddPluginCheck(CLI::App& plugin, Values& values) {
  CLI::App& check =
      Add(plugin, values, "check",
          "try every rule of helo/plugin.h on a built plugin, each in a process of its own; "
          "exit 1 if one is broken. It runs the file's code: check what you would run",
          "  helo plugin check build/lib/helo/plugins/hello.so\n"
          "  helo plugin check hello.so --config hello.conf\n"
          "  helo plugin check hello.so --json | jq -r '.rules[] | select(.state == \"BROKEN\")'",
          [&values](Session& s) { return CheckPluginFile(s, values.plugin_check); });
  check.add_option("file", values.plugin_check.file, "the plugin's .so")
      ->required()
      ->type_name("FILE");
  check.add_option("--config", values.plugin_check.config, "what it is configured with")
      ->type_name("FILE");
  check.add_option("--seed", values.plugin_check.seed, "of the random bytes; default 1")
      ->type_name("NUMBER");
}

void AddPluginCommands(CLI::App& app, Values& values) {
  Add(app, values, "plugins", "what is loaded, with its capabilities, sessions and counters",
      "  helo plugins\n  helo plugins --json | jq -r '.plugins[] | select(.state != \"running\")'",
      Plugins);
  CLI::App& plugin =
      *app.add_subcommand("plugin", "load, unload, look at, call or check one plugin");
  plugin.fallthrough();
  plugin.require_subcommand(1);
  plugin.footer(absl::StrCat(
      "Examples:\n  helo plugin load gossip\n  helo plugin call gossip publish hello\n",
      "  helo plugin unload gossip\n  helo plugin check hello.so         before a node runs it",
      kCommon));
  const auto name_of = [&values](CLI::App& command) {
    command.add_option("name", values.text, "its file's name without .so")
        ->required()
        ->type_name("NAME");
  };
  const auto load = [&](const std::string& verb, PluginLoad how, const std::string& help) {
    name_of(Add(plugin, values, verb, help, absl::StrCat("  helo plugin ", verb, " gossip"),
                [&values, how](Session& s) { return LoadPlugin(s, values.text, how); }));
  };
  load("load", PluginLoad::kLoad,
       "load NAME.so from the node's plugin directory, and offer it to the peers");
  load("reload", PluginLoad::kReload,
       "its file and configuration as they are now, in place of what runs");
  load("restart", PluginLoad::kRestart, "start it again, after a quarantine or not");
  CLI::App& unload = Add(plugin, values, "unload", "withdraw it from the peers and stop it",
                         "  helo plugin unload gossip --drain 10s", [&values](Session& s) {
                           return UnloadPlugin(s, values.text, values.drain);
                         });
  name_of(unload);
  AddDuration(
      unload, "--drain", [&values](Duration d) { values.drain = d; },
      "how long it may take for what has arrived; default 2s", /*bare_seconds=*/true);
  name_of(Add(plugin, values, "show", "one plugin in full, with its commands",
              "  helo plugin show gossip",
              [&values](Session& s) { return ShowPlugin(s, values.text); }));
  CLI::App& call = Add(plugin, values, "call", "a command of the plugin's own; `show` lists them",
                       "  helo plugin call gossip publish \"hello, world\"\n"
                       "  helo plugin call chainstatus heads\n"
                       "  helo plugin call NAME COMMAND -- --an-argument-with-dashes",
                       [&values](Session& s) {
                         return CallPlugin(s, {values.text, values.word, values.rest});
                       });
  name_of(call);
  call.add_option("command", values.word, "one of its commands")->required()->type_name("COMMAND");
  call.add_option("arguments", values.rest, "handed to it as they are")->type_name("ARGUMENT");
  AddPluginCheck(plugin, values);
}

void AddEventCommands(CLI::App& app, Values& values) {
  CLI::App& history =
      Add(app, values, "history", "what became of every connection attempt, newest first",
          "  helo history --direction out\n  helo history --id 3f2a --limit 5 --wide",
          [&values](Session& s) { return History(s, values.history); });
  AddId(history, "--id", values.history.id, "only attempts of this node", false);
  AddDirection(history, values.history.direction);
  history.add_option("--filter", values.history.filter, "only those with this in their address")
      ->type_name("TEXT");
  history.add_option("--limit", values.history.limit, "at most so many, default 50")
      ->type_name("N")
      ->check(CLI::Range(1, 100000));
  history.add_flag("--wide", values.history.wide, "all columns, and the time spent in each stage");

  CLI::App& watch =
      Add(app, values, "watch", "what happens, as it happens",
          "  helo watch\n  helo watch --json --for 60s\n  helo watch --since 8061735120934:1207",
          [&values](Session& s) { return Watch(s, values.watch); });
  watch
      .add_option_function<std::string>(
          "--since",
          [&values](const std::string& text) {
            const absl::StatusOr<EventPosition> position = ParseEventPosition(text);
            if (!position.ok()) Reject("--since", position.status());
            values.watch.since = *position;
          },
          "go on where an earlier watch ended")
      ->type_name("BOOT:SEQ");
  AddDuration(
      watch, "--for", [&values](Duration d) { values.watch.how_long = d; }, "end after this time");
}

void AddProbe(CLI::App& app, Values& values) {
  CLI::App& probe = Add(
      app, values, "probe", "would the node at this address take one of ours, and if not, why",
      "  helo probe 10.0.0.7:4356\n  helo probe helo://ID@node1.example.org:4356 --network main\n"
      "  helo probe 10.0.0.7:4356 --key /var/lib/helo --json | jq -r .finding",
      [&values](Session& s) { return ProbePeer(s, values.probe); });
  ProbeOptions& to = values.probe;
  probe.add_option("address", to.address, "[helo://][ID@]HOST:PORT")
      ->required()
      ->type_name("ADDRESS");
  probe
      .add_option("--network", to.network,
                  "the network to ask for; else HELO_NETWORK, else helo-dev")
      ->type_name("NAME");
  probe.add_option("--genesis", to.genesis, "the genesis value; else HELO_GENESIS, else none")
      ->type_name("HEX");
  probe
      .add_option("--key", to.key,
                  "probe as this node: a key file or a data directory; default: a fresh key")
      ->type_name("PATH");
  probe.add_option("--offer", to.offers, "a capability to offer, as echo/1:2; repeatable")
      ->type_name("NAME/VERSION:MESSAGES");
}

void AddDoctor(CLI::App& app, Values& values) {
  CLI::App& doctor =
      Add(app, values, "doctor", "is this machine fit for a node: fd limits, ports, queues, clock",
          "  helo doctor\n  helo doctor --data-dir /var/lib/helo\n"
          "  helo doctor --listen :443 --json | jq '.findings[] | select(.level != \"ok\")'",
          [&values](Session& s) { return Doctor(s, values.rest); });
  doctor
      .add_option("--listen", values.rest,
                  "an address to try, as helod takes it; repeatable; default 0.0.0.0:4356")
      ->type_name("ADDRESS");
}

void AddLocalCommands(CLI::App& app, Values& values) {
  AddProbe(app, values);
  AddDoctor(app, values);
  CLI::App& config =
      Add(app, values, "config",
          "what the node runs with, or helod would, and where each value comes from",
          "  helo config --data-dir /var/lib/helo\n  helo config -- --max-inbound 10",
          [&values](Session& s) { return Config(s, values.rest); });
  config.add_option("arguments", values.rest, "options of helod, after --")
      ->type_name("HELOD-OPTION");
  CLI::App& keygen = Add(app, values, "keygen", "make a node key; prints its id",
                         "  helo keygen node.key\n  helo keygen --data-dir /var/lib/helo",
                         [&values](Session& s) { return KeyGen(s, values.text); });
  keygen.add_option("path", values.text, "the file to write, or a data directory")
      ->type_name("PATH");
  CLI::App& id = Add(app, values, "id", "a node's id",
                     "  helo id\n  helo id node.key\n  helo id /var/lib/helo",
                     [&values](Session& s) { return ShowId(s, values.text); });
  id.add_option("path", values.text, "a key file or a data directory; without it, the running node")
      ->type_name("PATH");
  CLI::App& explain =
      Add(app, values, "explain", "what a reason code or a topic is, and the command that shows it",
          "  helo explain              lists topics and codes\n  helo explain FULL\n"
          "  helo explain 14\n  helo explain backlog\n  helo explain TIME_WAIT",
          [&values](Session& s) { return Explain(s, values.text); });
  explain.add_option("topic", values.text, "a topic, a code or a label; without it, all of them")
      ->type_name("TOPIC|CODE|LABEL");
  Add(app, values, "version", "the version of this tool", "  helo version", Version);
}

// The innermost command that was recognised, `helo` itself if there was none, and how it is called.
std::pair<const CLI::App*, std::string> Innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  std::string words = "helo";
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    absl::StrAppend(&words, " ", at->get_name());
  }
  return {at, words};
}

std::string WithoutCommand(const CLI::App& app, const std::vector<std::string>& left,
                           const std::string& words) {
  if (left.empty()) return absl::StrCat("which command? See: ", words, " --help");
  std::string nearest;
  size_t least = 3;  // farther than two letters is another word
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    const size_t distance = EditDistance(left.front(), command->get_name());
    if (distance >= least) continue;
    least = distance;
    nearest = command->get_name();
  }
  return absl::StrCat(
      "there is no command '", left.front(), "'. ",
      nearest.empty() ? "" : absl::StrCat("Did you mean ", words, " ", nearest, "? "),
      "See: ", words, " --help");
}

}  // namespace

int Run(const std::vector<std::string>& arguments, const Environment& env) {
  Values values;
  // Known before parsing ends, so that a usage error is JSON too.
  const auto own = std::find(arguments.begin(), arguments.end(), "--");  // what follows is helod's
  values.globals.json = std::find(arguments.begin(), own, "--json") != own;
  CLI::App app(kAbout, "helo");
  app.get_formatter()->column_width(30);
  app.require_subcommand(1);
  app.footer(kMore);
  AddGlobals(app, values);
  AddNodeCommands(app, values);
  AddFdCommands(app, values);
  AddPeerCommands(app, values);
  AddPluginCommands(app, values);
  AddEventCommands(app, values);
  AddLocalCommands(app, values);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    *env.out << app.help() << std::flush;
    return static_cast<int>(Exit::kOk);
  } catch (const CLI::ParseError& error) {
    const auto [command, words] = Innermost(app);
    const bool lacks_command = command->get_require_subcommand_min() > 0 &&
                               dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
    Session session(env, values.globals);
    return static_cast<int>(session.Fail(absl::InvalidArgumentError(
        lacks_command ? WithoutCommand(*command, app.remaining(/*recurse=*/true), words)
                      : absl::StrCat(error.what(), ". See: ", words, " --help"))));
  }
  Session session(env, values.globals);
  Exit exit = values.command(session);
  if (exit == Exit::kOk && !env.out->good())
    exit = Exit::kFailed;  // a full disk behind the redirection
  return static_cast<int>(exit);
}

}  // namespace helo::tool
