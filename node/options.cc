// The three sources are read into one shape first (Raw), then applied in ascending precedence.
#include "node/options.h"

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "node/config_file.h"
#include "node/option_table.h"
#include "node/option_values.h"
#include "p2p/base/text.h"

extern char** environ;

namespace helo::node {
namespace {

struct Raw {
  std::string value;
  std::string where;  // for Setting::where
  std::string named;  // for errors: "option --listen", "HELO_LISTEN in the environment", "option
                      // listen at FILE:12"
};
// By option name.
using Source = std::map<std::string_view, std::vector<Raw>>;

struct ActionSpec {
  std::string_view flag;
  Action action;
};
constexpr std::array<ActionSpec, 7> kActions = {{{"--help", Action::kHelp},
                                                 {"-h", Action::kHelp},
                                                 {"--version", Action::kVersion},
                                                 {"-V", Action::kVersion},
                                                 {"--check-config", Action::kCheckConfig},
                                                 {"--print-config", Action::kPrintConfig},
                                                 {"--example-config", Action::kExampleConfig}}};

// HELO_ names that are not helod's options: those of the project's scripts and tests, and those
// that container engines make up for a service that is called helo.
bool IsForeign(std::string_view name) {
  constexpr std::string_view kPrefixes[] = {
      "HELO_TEST",   "HELO_BENCH", "HELO_BIN_DIR",  "HELO_IMAGE",    "HELO_COMPOSE",
      "HELO_NOFILE", "HELO_WITH_", "HELO_SANITIZE", "HELO_SERVICE_", "HELO_PORT"};
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes), [&](std::string_view prefix) {
    return name.substr(0, prefix.size()) == prefix;
  });
}

std::string DidYouMean(std::string_view typed, const std::vector<std::string_view>& known,
                       std::string_view otherwise) {
  const std::string_view near = Nearest(typed, known);
  return near.empty() ? std::string(otherwise) : absl::StrCat("did you mean ", ToAbsl(near), "?");
}

std::vector<std::string> KnownFlags() {
  std::vector<std::string> flags = {"--json", "--verbose"};
  for (const OptionSpec& spec : OptionTable())
    flags.push_back(absl::StrCat("--", ToAbsl(spec.name)));
  for (const ActionSpec& spec : kActions) {
    if (spec.flag.size() > 2) flags.emplace_back(spec.flag);
  }
  return flags;
}

class CommandLine {
 public:
  CommandLine(const std::vector<std::string>& arguments, Options& out, Source& source)
      : arguments_(arguments), out_(out), source_(source) {}

  void Parse() {
    bool json = false;
    for (; at_ < arguments_.size(); ++at_) {
      const std::string& argument = arguments_[at_];
      if (argument == "--json") {
        json = true;
      } else if (argument == "--print-config=json") {
        json = true;
        TryAction("--print-config");
      } else if (argument == "-v" || argument == "--verbose") {
        Add("log-level", "debug", "option -v");
      } else if (argument == "-vv") {
        Add("log-level", "trace", "option -vv");
      } else if (!TryAction(argument) && !TryOption(argument)) {
        Unknown(argument);
      }
    }
    out_.json = json;
    if (json && out_.action != Action::kPrintConfig) {
      out_.errors.emplace_back(
          "option --json: it goes with --print-config only; for JSON log lines use --log-format "
          "json");
    }
  }

 private:
  void Add(std::string_view name, std::string value, std::string named) {
    source_[name].push_back({std::move(value), "", std::move(named)});
  }

  bool TryAction(const std::string& argument) {
    for (const ActionSpec& spec : kActions) {
      if (spec.flag != argument) continue;
      // --help wins over whatever stands beside it.
      if (out_.action != Action::kHelp) out_.action = spec.action;
      return true;
    }
    return false;
  }

  bool TryOption(const std::string& argument) {
    if (!absl::StartsWith(argument, "--")) return false;
    const size_t equals = argument.find('=');
    const OptionSpec* spec = FindOption(
        std::string_view(argument).substr(2, equals == std::string::npos ? equals : equals - 2));
    if (spec == nullptr) return false;
    const std::string named = absl::StrCat("option --", ToAbsl(spec->name));
    if (equals != std::string::npos) {
      Add(spec->name, argument.substr(equals + 1), named);
    } else if (at_ + 1 < arguments_.size() && !absl::StartsWith(arguments_[at_ + 1], "--")) {
      Add(spec->name, arguments_[++at_], named);
    } else {
      out_.errors.push_back(absl::StrCat(
          named, ": its value is missing: write --", ToAbsl(spec->name), " ", ToAbsl(spec->metavar),
          at_ + 1 < arguments_.size() ? ", or with = if the value begins with --" : ""));
    }
    return true;
  }

  void Unknown(const std::string& argument) {
    if (!absl::StartsWith(argument, "-")) {
      out_.errors.push_back(
          absl::StrCat("argument ", Shown(argument),
                       ": helod takes options only, each beginning with --; see helod --help"));
      return;
    }
    const std::string name = argument.substr(0, argument.find('='));
    for (const ActionSpec& spec : kActions) {
      if (spec.flag == name) {
        out_.errors.push_back(absl::StrCat("option ", name, ": it takes no value"));
        return;
      }
    }
    const std::vector<std::string> flags = KnownFlags();
    out_.errors.push_back(
        absl::StrCat("option ", Shown(name), " on the command line is unknown: ",
                     DidYouMean(name, {flags.begin(), flags.end()}, "see helod --help")));
  }

  const std::vector<std::string>& arguments_;
  Options& out_;
  Source& source_;
  size_t at_ = 0;
};

Source FromEnvironment(const Environment& environment, std::vector<std::string>& errors) {
  Source source;
  std::vector<std::string> names;
  for (const OptionSpec& spec : OptionTable()) names.push_back(EnvironmentName(spec));
  for (const auto& [name, value] : environment) {
    if (!absl::StartsWith(name, "HELO_")) continue;
    const auto at = std::find(names.begin(), names.end(), name);
    if (at != names.end()) {
      // Set but empty means not set: that is what `VARIABLE: ${SOMETHING:-}` in a compose file
      // makes.
      const OptionSpec& spec = OptionTable()[static_cast<size_t>(at - names.begin())];
      if (!value.empty())
        source[spec.name].push_back({value, name, absl::StrCat(name, " in the environment")});
    } else if (!IsForeign(name)) {
      errors.push_back(absl::StrCat(
          Shown(name), " in the environment is no option of helod: ",
          DidYouMean(name, {names.begin(), names.end()}, "see helod --help, or unset it")));
    }
  }
  return source;
}

Source FromFile(const std::string& path, std::vector<std::string>& errors) {
  Source source;
  std::vector<ConfigLine> lines = ReadConfigFile(path, errors);
  std::vector<std::string_view> names;
  for (const OptionSpec& spec : OptionTable()) {
    if (spec.in_file) names.push_back(spec.name);
  }
  for (ConfigLine& line : lines) {
    const std::string where = absl::StrCat(path, ":", line.number);
    const OptionSpec* spec = FindOption(line.name);
    if (spec == nullptr || !spec->in_file) {
      errors.push_back(
          absl::StrCat("option ", Shown(line.name), " at ", where,
                       spec == nullptr ? " is unknown: " : " cannot stand in a config file: ",
                       spec == nullptr ? DidYouMean(line.name, names, "see helod --help")
                                       : "give it on the command line or in the environment"));
      continue;
    }
    std::vector<Raw>& values = source[spec->name];
    if (!spec->repeatable && !values.empty()) {
      errors.push_back(absl::StrCat("option ", line.name, " at ", where, ": it stands already at ",
                                    values[0].where, " and can have one value only"));
      continue;
    }
    values.push_back(
        {std::move(line.value), where, absl::StrCat("option ", line.name, " at ", where)});
  }
  return source;
}

// Lists may be written with commas, in every source alike.
std::vector<std::string_view> SplitList(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t comma = text.find(',');
    parts.push_back(FromAbsl(absl::StripAsciiWhitespace(ToAbsl(text.substr(0, comma)))));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

// Sets the option from one source; what is wrong with any value is an error, even if a stronger
// source overrides it.
void Apply(const OptionSpec& spec, const std::vector<Raw>& raws, Config& config,
           std::vector<std::string>& errors) {
  const auto refuse = [&](const Raw& raw, std::string_view why) {
    errors.push_back(absl::StrCat(raw.named, ": ", ToAbsl(why)));
  };
  if (!spec.repeatable) {
    for (const Raw& raw : raws) {
      if (absl::Status status = spec.set(config, raw.value); !status.ok())
        refuse(raw, FromAbsl(status.message()));
    }
    return;
  }
  spec.clear(config);
  const bool none = raws.size() == 1 && raws[0].value == "none";
  if (none) return;
  for (const Raw& raw : raws) {
    for (const std::string_view part : SplitList(raw.value)) {
      if (part == "none") {
        refuse(raw, "`none` empties the list and cannot stand beside other values");
      } else if (part.empty()) {
        refuse(raw, absl::StrCat("there is an empty value in the list ", Shown(raw.value),
                                 "; for an empty list write none"));
      } else if (absl::Status status = spec.set(config, part); !status.ok()) {
        refuse(raw, FromAbsl(status.message()));
      }
    }
  }
}

}  // namespace

std::string_view ToString(Origin origin) {
  switch (origin) {
    case Origin::kDefault:
      return "default";
    case Origin::kFile:
      return "file";
    case Origin::kEnvironment:
      return "environment";
    case Origin::kCommandLine:
      return "command line";
  }
  return "unknown";
}

Environment ReadEnvironment() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

std::string DefaultDataDir(const Environment& environment) {
  const auto find = [&](const char* name) {
    const auto at = environment.find(name);
    // The XDG specification: a relative path is invalid and to be ignored.
    return at == environment.end() || !absl::StartsWith(at->second, "/") ? std::string()
                                                                         : at->second;
  };
  if (const std::string xdg = find("XDG_DATA_HOME"); !xdg.empty()) return xdg + "/helo";
  if (const std::string home = find("HOME"); !home.empty()) return home + "/.helo";
  return "";
}

Options ParseOptions(const std::vector<std::string>& arguments, const Environment& environment) {
  Options out(DefaultDataDir(environment));
  std::array<Source, 4> sources;  // by Origin
  Source& command_line = sources[static_cast<size_t>(Origin::kCommandLine)];
  Source& variables = sources[static_cast<size_t>(Origin::kEnvironment)];
  CommandLine(arguments, out, command_line).Parse();
  // These answer whatever else is wrong.
  if (out.action == Action::kHelp || out.action == Action::kVersion ||
      out.action == Action::kExampleConfig)
    return out;

  variables = FromEnvironment(environment, out.errors);
  for (const Source* source : {&command_line, &variables}) {
    const auto at = source->find("config");
    if (at == source->end()) continue;
    const std::string& path = at->second.back().value;
    if (path.empty()) {
      out.errors.push_back(
          absl::StrCat(at->second.back().named, ": its value is empty: give the name of a file"));
    } else {
      sources[static_cast<size_t>(Origin::kFile)] = FromFile(path, out.errors);
    }
    break;
  }

  for (const OptionSpec& spec : OptionTable()) {
    Setting setting{.name = spec.name, .values = {}, .origin = Origin::kDefault, .where = ""};
    for (const Origin origin : {Origin::kFile, Origin::kEnvironment, Origin::kCommandLine}) {
      const auto at = sources[static_cast<size_t>(origin)].find(spec.name);
      if (at == sources[static_cast<size_t>(origin)].end()) continue;
      Apply(spec, at->second, out.config, out.errors);
      setting.origin = origin;
      setting.where = at->second.front().where;
    }
    if (spec.name == "max-outbound" && setting.origin == Origin::kDefault) {
      // Who names more peers than that wants them all. `peer` stands before it in the table.
      ServerOptions& server = out.config.server;
      const auto named = static_cast<int>(server.static_peers.size());
      server.max_outbound = std::max(server.max_outbound, named);
    }
    setting.values = spec.get(out.config);
    out.settings.push_back(std::move(setting));
  }
  if (out.errors.empty()) out.errors = CheckTogether(out.config);
  return out;
}

}  // namespace helo::node
