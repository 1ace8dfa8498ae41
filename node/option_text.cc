// Texts read off the table of options.
#include "node/option_text.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "node/config_file.h"
#include "node/option_table.h"
#include "p2p/base/text.h"

namespace helo::node {
namespace {

constexpr size_t kWidth = 79;

std::string Wrapped(std::string_view text, std::string_view indent) {
  std::string out;
  std::string line(indent);
  for (const absl::string_view word : absl::StrSplit(ToAbsl(text), ' ')) {
    if (line.size() > indent.size() && line.size() + 1 + word.size() > kWidth) {
      absl::StrAppend(&out, line, "\n");
      line = indent;
    }
    absl::StrAppend(&line, line.size() > indent.size() ? " " : "", word);
  }
  absl::StrAppend(&out, line, "\n");
  return out;
}

const Config& Defaults() {
  static const Config config("");
  return config;
}

std::string DefaultWords(const OptionSpec& spec) {
  if (spec.name == "data-dir") return "$XDG_DATA_HOME/helo, else ~/.helo";
  const std::vector<std::string> values = spec.get(Defaults());
  const std::string joined = absl::StrJoin(values, ", ");
  if (!joined.empty()) return joined;
  return spec.repeatable ? "none" : "not set";
}

constexpr char kHead[] = R"(helod - a helo node

Usage: helod [OPTION]...

Runs a node in the foreground until SIGINT or SIGTERM. It listens for peers and
dials them, proves who it is, and is watched and steered with helo.

Examples:
  helod
        A node on port 4356 whose data lie in ~/.helo.
  helod --peer helo://ID@node1.example.org:4356
        The same, dialing a peer; `helo id` on that machine prints its id.
  helod --data-dir /tmp/a --listen 127.0.0.1:0 --admin 127.0.0.1:0
        A second node on one machine, on ports that the kernel chooses; they
        stand in /tmp/a/helod.json, where helo --data-dir /tmp/a finds them.
  helod --config /etc/helo/helod.conf --check-config
        Says what is wrong with a configuration, or that nothing is.

Actions, instead of running:
  -h, --help            This text.
  -V, --version         The version.
  --check-config        Check every option and exit: 0 if all is well, else 2.
  --print-config        Print each effective value and where it came from, in
                        the form of a config file; --print-config=json: JSON.
  --example-config      Print a config file that explains every option.

)";

constexpr char kTail[] = R"(Signals:
  SIGINT, SIGTERM       Say goodbye to every peer and exit within 5 s; a second
                        one exits at once.
  SIGHUP                Open the log file anew, after it was rotated away.

Exit status:
  0  stopped as asked; 1  could not start, with a sentence saying why and what
  to do; 2  an option is unknown or malformed.

Files in the data directory:
  node.key              The node's identity, PKCS#8 PEM, mode 0600. Keep it.
  peers.json            Peers added with helo add --save.
  admin.token           What callers other than the node's own user need.
  helod.json            Who runs here and where it listens, while it runs.
  config.json           The effective options of the last start.
  LOCK                  Held while a node runs here.

See also: helo --help; helo explain for what the reasons in the log mean.
)";

}  // namespace

std::string HelpText() {
  std::string out = kHead;
  absl::StrAppend(&out, Wrapped("Options. Each may also stand in the environment, as HELO_ and its "
                                "name in capitals with underscores "
                                "(HELO_MAX_INBOUND), or in the config file, without the dashes. "
                                "Those marked with ... may be repeated or "
                                "hold a list with commas; `none` is the empty list. TIME is a "
                                "number with its unit: 500ms, 5s, 1m30s.",
                                ""));
  std::string_view group;
  for (const OptionSpec& spec : OptionTable()) {
    if (spec.group != group) {
      group = spec.group;
      absl::StrAppend(&out, "\n", ToAbsl(group), ":\n");
    }
    absl::StrAppend(
        &out, "  --", ToAbsl(spec.name), " ", ToAbsl(spec.metavar), spec.repeatable ? "..." : "",
        "\n", Wrapped(absl::StrCat(spec.help, " [default: ", DefaultWords(spec), "]"), "        "));
    if (spec.name == "log-level") {
      absl::StrAppend(
          &out,
          "  -v, --verbose; -vv\n        The same as --log-level debug; --log-level trace.\n");
    }
  }
  absl::StrAppend(&out, "\n", kTail);
  return out;
}

std::string PrintConfig(const Options& options) {
  struct Line {
    std::string setting;
    std::string source;
  };
  std::vector<Line> lines;
  for (const Setting& setting : options.settings) {
    const OptionSpec& spec = *FindOption(setting.name);
    std::string source(ToString(setting.origin));
    if (!setting.where.empty()) absl::StrAppend(&source, " ", setting.where);
    std::vector<std::string> values = setting.values;
    if (values.empty()) values.emplace_back("none");
    for (const std::string& value : values) {
      // --config cannot stand in a config file, so it is told in a comment.
      lines.push_back(
          {absl::StrCat(spec.in_file ? "" : "# ", ToAbsl(setting.name), " = ", ConfigQuote(value)),
           source});
    }
  }
  size_t width = 0;
  for (const Line& line : lines) width = std::max(width, std::min<size_t>(line.setting.size(), 60));
  std::string out;
  for (const Line& line : lines)
    absl::StrAppendFormat(&out, "%-*s  # %s\n", width, line.setting, line.source);
  return out;
}

std::string PrintConfigJson(const Options& options) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Setting& setting : options.settings) {
    const OptionSpec& spec = *FindOption(setting.name);
    const Config defaults(setting.origin == Origin::kDefault ? options.config.data_dir : "");
    list.push_back({{"name", std::string(setting.name)},
                    {"values", setting.values},
                    {"repeatable", spec.repeatable},
                    {"source", std::string(ToString(setting.origin))},
                    {"where", setting.where},
                    {"environment", EnvironmentName(spec)},
                    {"default", spec.get(defaults)}});
  }
  const nlohmann::ordered_json root = {{"version", std::string(Version())}, {"options", list}};
  return root.dump(2, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string ExampleConfig() {
  std::string out =
      "# Options of helod: `name = value`, one a line. Every one is shown at its default, or with "
      "an example where it has\n"
      "# none; take the # away to set it. The command line and HELO_* in the environment come "
      "before this file.\n"
      "# Check with: helod --config THIS_FILE --check-config\n";
  std::string_view group;
  for (const OptionSpec& spec : OptionTable()) {
    if (!spec.in_file) continue;
    if (spec.group != group) {
      group = spec.group;
      absl::StrAppend(&out, "\n## ", ToAbsl(group), "\n");
    }
    absl::StrAppend(&out, "\n", Wrapped(spec.help, "# "));
    std::vector<std::string> values = spec.get(Defaults());
    if (!spec.example.empty()) values = {spec.example};
    for (const std::string& value : values) {
      absl::StrAppend(&out, "#", ToAbsl(spec.name), " = ", ConfigQuote(value), "\n");
    }
  }
  return out;
}

}  // namespace helo::node
