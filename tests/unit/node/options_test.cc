// From command line, environment and config file to one Config.
#include "node/options.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "node/option_table.h"
#include "node/option_text.h"
#include "p2p/base/text.h"
#include "tests/unit/node/scratch.h"

namespace helo::node {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

const Environment kHome = {{"HOME", "/home/ann"}};

Options Parse(const std::vector<std::string>& arguments, Environment environment = {},
              bool with_home = true) {
  if (with_home) environment.insert(kHome.begin(), kHome.end());
  return ParseOptions(arguments, environment);
}

// The one error that this command line has.
std::string Wrong(const std::vector<std::string>& arguments, const Environment& environment = {}) {
  const Options options = Parse(arguments, environment);
  return options.errors.size() == 1
             ? options.errors[0]
             : absl::StrCat("errors: ", absl::StrJoin(options.errors, " | "));
}

const Setting& SettingOf(const Options& options, std::string_view name) {
  for (const Setting& setting : options.settings) {
    if (setting.name == name) return setting;
  }
  ADD_FAILURE() << "no setting " << name;
  return options.settings.front();
}

TEST(Options, NothingGivenIsTheDesignsDefaults) {
  const Options options = Parse({});
  EXPECT_THAT(options.errors, IsEmpty());
  EXPECT_EQ(options.action, Action::kRun);
  const Config& config = options.config;
  EXPECT_EQ(config.data_dir, "/home/ann/.helo");
  ASSERT_THAT(config.server.listen, SizeIs(1));
  EXPECT_EQ(config.server.listen[0].ToString(), "tcp://0.0.0.0:4356");
  EXPECT_EQ(config.admin.ToString(), "127.0.0.1:4357");
  EXPECT_EQ(config.admin_auth, rpc::AdminAuth::kUid);
  EXPECT_EQ(config.server.profile.network, "helo-dev");
  EXPECT_THAT(config.server.profile.genesis, IsEmpty());
  EXPECT_EQ(config.server.max_inbound, 64);
  EXPECT_EQ(config.server.max_outbound, 16);
  EXPECT_EQ(config.log_level, LogLevel::kInfo);
  EXPECT_FALSE(config.server.sources.exempt.empty());
  EXPECT_THAT(options.settings, SizeIs(OptionTable().size()));
}

TEST(Options, WhoNamesMorePeersThanTheDefaultSlotsGetsASlotForEach) {
  std::vector<std::string> arguments;
  for (int i = 0; i < 20; ++i) {
    arguments.emplace_back("--peer");
    arguments.push_back(absl::StrCat("helo://127.0.0.1:", 5000 + i));
  }
  EXPECT_EQ(Parse(arguments).config.server.max_outbound, 20);
  EXPECT_THAT(SettingOf(Parse(arguments), "max-outbound").values, ElementsAre("20"));
  arguments.emplace_back("--max-outbound=3");
  EXPECT_EQ(Parse(arguments).config.server.max_outbound, 3) << "a limit that was given is kept";
}

TEST(Options, TheDataDirectoryFollowsTheXdgRules) {
  EXPECT_EQ(Parse({}, {{"XDG_DATA_HOME", "/x"}}).config.data_dir, "/x/helo");
  EXPECT_EQ(Parse({}, {{"XDG_DATA_HOME", "relative"}}).config.data_dir, "/home/ann/.helo");
  const Options homeless = Parse({}, {}, false);
  EXPECT_THAT(homeless.errors, ElementsAre(HasSubstr("--data-dir")));
  EXPECT_THAT(Parse({"--data-dir", "d"}, {}, false).errors, IsEmpty());
}

TEST(Options, TheCommandLineBeatsTheEnvironmentAndThatBeatsTheFile) {
  const Scratch scratch;
  const std::string file =
      scratch.Write("c", "network = from-file\nmax-inbound = 7\n\nmax-outbound = 5\n");
  const Options options = Parse({"--config", file, "--network=from-arguments"},
                                {{"HELO_NETWORK", "from-environment"}, {"HELO_MAX_INBOUND", "9"}});
  ASSERT_THAT(options.errors, IsEmpty());
  EXPECT_EQ(options.config.server.profile.network, "from-arguments");
  EXPECT_EQ(options.config.server.max_inbound, 9);
  EXPECT_EQ(options.config.server.max_outbound, 5);

  EXPECT_EQ(SettingOf(options, "network").origin, Origin::kCommandLine);
  EXPECT_EQ(SettingOf(options, "max-inbound").origin, Origin::kEnvironment);
  EXPECT_EQ(SettingOf(options, "max-inbound").where, "HELO_MAX_INBOUND");
  EXPECT_EQ(SettingOf(options, "max-outbound").origin, Origin::kFile);
  EXPECT_EQ(SettingOf(options, "max-outbound").where, file + ":4");
  EXPECT_EQ(SettingOf(options, "loops").origin, Origin::kDefault);
}

TEST(Options, AListOfAStrongerSourceReplacesTheWeakerOne) {
  const Scratch scratch;
  const std::string file =
      scratch.Write("c", "listen = 127.0.0.1:1\nlisten = 127.0.0.1:2\npeer = a:1, b:2\n");
  const Options options = Parse({"--config", file, "--listen", ":3", "--listen", "[::1]:4"});
  ASSERT_THAT(options.errors, IsEmpty());
  EXPECT_THAT(SettingOf(options, "listen").values, ElementsAre(":3", "[::1]:4"));
  EXPECT_THAT(SettingOf(options, "peer").values, ElementsAre("helo://a:1", "helo://b:2"));
}

TEST(Options, ListsMayBeEmptiedByNone) {
  const Options options = Parse({"--listen", "none", "--exempt-sources=none"});
  ASSERT_THAT(options.errors, IsEmpty());
  EXPECT_THAT(options.config.server.listen, IsEmpty());
  EXPECT_THAT(options.config.server.sources.exempt, IsEmpty());
  EXPECT_THAT(Wrong({"--listen", "none", "--listen", ":1"}), HasSubstr("cannot stand beside"));
  EXPECT_THAT(Wrong({"--peer", "a:1,,b:2"}), HasSubstr("empty value in the list"));
}

TEST(Options, ASingleValueGivenTwiceOnTheCommandLineTakesTheLast) {
  EXPECT_EQ(Parse({"--max-inbound", "1", "--max-inbound", "2"}).config.server.max_inbound, 2);
  EXPECT_EQ(Parse({"-v"}).config.log_level, LogLevel::kDebug);
  EXPECT_EQ(Parse({"-vv"}).config.log_level, LogLevel::kTrace);
  EXPECT_EQ(Parse({"-v", "--log-level", "warn"}).config.log_level, LogLevel::kWarn);
}

TEST(Options, ASingleValueGivenTwiceInTheFileIsAnErrorThatNamesBothLines) {
  const Scratch scratch;
  const std::string file = scratch.Write("c", "loops = 1\n\nloops = 2\n");
  EXPECT_THAT(Wrong({"--config", file}), AllOf(HasSubstr(file + ":3"), HasSubstr(file + ":1")));
}

TEST(Options, TheSamePeerTwiceIsDialedOnce) {
  EXPECT_THAT(Parse({"--peer", "a:1", "--peer", "helo://a:1"}).config.server.static_peers,
              SizeIs(1));
}

TEST(Options, TwoListenersOnPortZeroAreTwo) {
  EXPECT_THAT(Parse({"--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"}).config.server.listen,
              SizeIs(2));
}

TEST(Options, AnUnknownOptionIsNamedWithThePlaceAndTheLikelyMeaning) {
  EXPECT_THAT(Wrong({"--lisen", "--loops=1"}),
              AllOf(HasSubstr("\"--lisen\" on the command line"), HasSubstr("--listen?")));
  EXPECT_THAT(Wrong({"-x"}), HasSubstr("-x"));
  EXPECT_THAT(Wrong({"stray"}), HasSubstr("stray"));
  EXPECT_THAT(Wrong({}, {{"HELO_MAX_INBUND", "1"}}),
              AllOf(HasSubstr("HELO_MAX_INBUND"), HasSubstr("HELO_MAX_INBOUND?")));
  const Scratch scratch;
  const std::string file = scratch.Write("c", "\nmax_inbound = 3\n");
  EXPECT_THAT(Wrong({"--config", file}),
              AllOf(HasSubstr("max_inbound"), HasSubstr(file + ":2"), HasSubstr("max-inbound?")));
}

TEST(Options, AMalformedValueIsNamedWithThePlaceAndTheRemedy) {
  EXPECT_THAT(Wrong({"--max-inbound", "many"}),
              AllOf(StartsWith("option --max-inbound: \"many\""), HasSubstr("from 0 to")));
  EXPECT_THAT(
      Wrong({}, {{"HELO_LISTEN", "017.0.0.1:1"}}),
      AllOf(StartsWith("HELO_LISTEN in the environment:"), HasSubstr("without leading zeros")));
  const Scratch scratch;
  const std::string file = scratch.Write("c", "ping-timeout = 5\n");
  EXPECT_THAT(Wrong({"--config", file}),
              AllOf(StartsWith("option ping-timeout at " + file + ":1:"), HasSubstr("unit")));
  EXPECT_THAT(Wrong({"--listen"}), HasSubstr("its value is missing: write --listen ADDR"));
  EXPECT_THAT(Wrong({"--listen", "--loops=1"}), HasSubstr("its value is missing"));
  EXPECT_THAT(Wrong({"--help=yes"}), HasSubstr("takes no value"));
  EXPECT_THAT(Wrong({"--network", "Helo"}), HasSubstr("a-z"));
  EXPECT_THAT(Wrong({"--network", ".x"}), HasSubstr("beginning with"));
  EXPECT_THAT(Wrong({"--genesis", "abc"}), HasSubstr("hex"));
  EXPECT_THAT(Wrong({"--genesis", std::string(130, 'a')}), HasSubstr("64 bytes"));
  EXPECT_THAT(Wrong({"--trusted", "abcd"}), HasSubstr("64 hex digits"));
  EXPECT_THAT(Wrong({"--advertise", "0.0.0.0:1"}), HasSubstr("others can dial"));
  EXPECT_THAT(Wrong({"--exempt-sources", "10.1.2.3/8"}), HasSubstr("did you mean 10.0.0.0/8"));
  EXPECT_THAT(Wrong({"--log-level", "loud"}), HasSubstr("trace, debug, info"));
  EXPECT_THAT(Wrong({"--user-agent", "caf\xc3\xa9"}),
              AllOf(HasSubstr("printable"), HasSubstr("caf\\xc3\\xa9")));
  EXPECT_THAT(Wrong({"--data-dir", ""}), HasSubstr("empty"));
}

TEST(Options, AnAdminAddressThatANetworkCouldReachIsRefusedWithTheRemedy) {
  EXPECT_THAT(Wrong({"--admin", "0.0.0.0:4357"}), HasSubstr("ssh -L"));
  EXPECT_THAT(Wrong({"--admin", "[::]:4357"}), HasSubstr("ssh -L"));
  EXPECT_THAT(Parse({"--admin", "[::1]:0"}).errors, IsEmpty());
  EXPECT_THAT(Wrong({"--metrics", "0.0.0.0:4358"}), HasSubstr("ssh -L"));
  EXPECT_THAT(Wrong({"--metrics", "localhost"}), HasSubstr("127.0.0.1:4358"));
  EXPECT_EQ(Parse({}).config.metrics, std::nullopt);
  EXPECT_EQ(Parse({"--metrics", "none"}).config.metrics, std::nullopt);
  EXPECT_EQ(Parse({"--metrics", "[::1]:9"}).config.metrics, Endpoint::Parse("[::1]:9"));
}

TEST(Options, AWrongValueIsAnErrorEvenWhereAStrongerSourceOverridesIt) {
  EXPECT_THAT(Wrong({"--loops", "2"}, {{"HELO_LOOPS", "lots"}}), HasSubstr("HELO_LOOPS"));
}

TEST(Options, EverythingThatIsWrongIsSaidInOneGo) {
  const Scratch scratch;
  const std::string file = scratch.Write("c", "loops = x\nnonsense\n");
  const Options options =
      Parse({"--config", file, "--backlog", "y", "--what"}, {{"HELO_PEER", "z"}});
  EXPECT_THAT(options.errors, SizeIs(5)) << absl::StrJoin(options.errors, "\n");
}

TEST(Options, AFileThatCannotBeReadIsNamed) {
  EXPECT_THAT(Wrong({"--config", "/no/such/file"}),
              AllOf(HasSubstr("--config"), HasSubstr("/no/such/file"), HasSubstr("ENOENT")));
  EXPECT_THAT(Wrong({}, {{"HELO_CONFIG", "/no/such/file"}}), HasSubstr("/no/such/file"));
  const Scratch scratch;
  EXPECT_THAT(Wrong({"--config", scratch.Write("c", "config = other\n")}),
              HasSubstr("cannot stand in a config file"));
}

TEST(Options, AnEmptyVariableIsNotSetAndForeignOnesAreLeftAlone) {
  const Options options = Parse({}, {{"HELO_PEER", ""},
                                     {"HELO_TESTNET_PORT", "1"},
                                     {"HELO_BIN_DIR", "x"},
                                     {"HELO_PORT_4356_TCP", "t"},
                                     {"HELLO", "y"}});
  EXPECT_THAT(options.errors, IsEmpty());
  EXPECT_EQ(SettingOf(options, "peer").origin, Origin::kDefault);
}

TEST(Options, WhatNoOptionAloneCanKnow) {
  EXPECT_THAT(Wrong({"--ping-timeout", "10s"}),
              AllOf(HasSubstr("--ping-timeout"), HasSubstr("--ping-interval")));
  EXPECT_THAT(Wrong({"--dial-backoff-max", "100ms"}), HasSubstr("--dial-backoff-first"));
  std::vector<std::string> nine;
  for (int i = 1; i <= 9; ++i)
    nine.insert(nine.end(), {"--advertise", absl::StrCat("192.0.2.", i, ":1")});
  EXPECT_THAT(Wrong(nine), HasSubstr("at most 8"));
  EXPECT_THAT(Wrong({"--listen", "none", "--max-outbound", "0"}), HasSubstr("meet nobody"));
}

TEST(Options, EveryOptionReachesItsOwnPlace) {
  // Set each option to something other than its default, and see that its own value changes and no
  // other does.
  const std::map<std::string_view, std::string> kValues = {{"data-dir", "/d"},
                                                           {"network", "n"},
                                                           {"genesis", "ab"},
                                                           {"user-agent", "me"},
                                                           {"require-capability", "echo"},
                                                           {"listen", ":1"},
                                                           {"peer", "helo://a:1"},
                                                           {"trusted", std::string(64, 'a')},
                                                           {"advertise", "192.0.2.1:1"},
                                                           {"admin", "127.0.0.1:1"},
                                                           {"metrics", "127.0.0.1:2"},
                                                           {"admin-auth", "token"},
                                                           {"log-level", "warn"},
                                                           {"log-format", "json"},
                                                           {"log-file", "/l"},
                                                           {"plugin", "gossip"},
                                                           {"plugin-dir", "/p"},
                                                           {"exempt-sources", "192.0.2.0/24"},
                                                           {"send-quota", "2MiB"},
                                                           {"dial-backoff-max", "2m"},
                                                           {"ping-timeout", "50s"},
                                                           {"linger", "3s"}};
  const Options plain = Parse({});
  for (const OptionSpec& spec : OptionTable()) {
    if (spec.name == "config") continue;
    const auto at = kValues.find(spec.name);
    const std::string value = at != kValues.end()      ? at->second
                              : spec.metavar == "TIME" ? "7s"
                                                       : "77";
    const Options options = Parse({absl::StrCat("--", ToAbsl(spec.name)), value});
    ASSERT_THAT(options.errors, IsEmpty()) << spec.name;
    EXPECT_THAT(SettingOf(options, spec.name).values, ElementsAre(value)) << spec.name;
    for (const Setting& setting : options.settings) {
      if (setting.name == spec.name) continue;
      EXPECT_EQ(setting.values, SettingOf(plain, setting.name).values)
          << spec.name << " also changed " << setting.name;
      EXPECT_EQ(setting.origin, Origin::kDefault) << setting.name;
    }
    const Options by_variable = Parse({}, {{EnvironmentName(spec), value}});
    EXPECT_EQ(SettingOf(by_variable, spec.name).values, SettingOf(options, spec.name).values)
        << EnvironmentName(spec);
  }
}

TEST(Options, ActionsAreTold) {
  EXPECT_EQ(Parse({"--help"}).action, Action::kHelp);
  EXPECT_EQ(Parse({"-h", "--check-config", "--nonsense"}).action, Action::kHelp)
      << "help is given whatever else is wrong";
  EXPECT_EQ(Parse({"-V"}).action, Action::kVersion);
  EXPECT_EQ(Parse({"--check-config"}).action, Action::kCheckConfig);
  EXPECT_TRUE(Parse({"--print-config", "--json"}).json);
  EXPECT_TRUE(Parse({"--print-config=json"}).json);
  EXPECT_EQ(Parse({"--print-config=json"}).action, Action::kPrintConfig);
  EXPECT_THAT(Wrong({"--json"}), HasSubstr("--log-format json"));
}

TEST(OptionText, HelpShowsEveryOptionWithItsDefaultInEightyColumns) {
  const std::string help = HelpText();
  for (const OptionSpec& spec : OptionTable())
    EXPECT_THAT(help, HasSubstr(absl::StrCat("\n  --", ToAbsl(spec.name), " ")));
  size_t begin = 0;
  for (size_t end; (end = help.find('\n', begin)) != std::string::npos; begin = end + 1) {
    EXPECT_LE(end - begin, 80u) << help.substr(begin, end - begin);
  }
}

TEST(OptionText, WhatIsPrintedIsAConfigFileThatGivesTheSame) {
  const Scratch scratch;
  const Options first = Parse({"--listen", "none", "--peer", "a:1,b:2", "--user-agent", "a # \"b\"",
                               "--ping-idle", "1m1s"});
  ASSERT_THAT(first.errors, IsEmpty());
  const std::string printed = PrintConfig(first);
  EXPECT_THAT(printed, HasSubstr("# command line"));
  const Options again = Parse({"--config", scratch.Write("c", printed)});
  ASSERT_THAT(again.errors, IsEmpty());
  for (const Setting& setting : first.settings) {
    if (setting.name != "config") {
      EXPECT_EQ(SettingOf(again, setting.name).values, setting.values) << setting.name;
    }
  }
}

TEST(OptionText, TheJsonTellsValueSourceAndDefault) {
  const auto root =
      nlohmann::json::parse(PrintConfigJson(Parse({"--loops", "3"}, {{"HELO_PEER", "a:1"}})));
  ASSERT_EQ(root["options"].size(), OptionTable().size());
  for (const auto& option : root["options"]) {
    if (option["name"] == "loops") {
      EXPECT_EQ(option["values"], nlohmann::json::array({"3"}));
      EXPECT_EQ(option["source"], "command line");
      EXPECT_EQ(option["default"], nlohmann::json::array({"1"}));
    }
    if (option["name"] == "peer") {
      EXPECT_EQ(option["where"], "HELO_PEER");
    }
  }
}

TEST(OptionText, TheInstalledExampleIsWhatTheTableSays) {
  EXPECT_EQ(Scratch::Read(HELO_EXAMPLE_CONFIG), ExampleConfig())
      << "make it anew: helod --example-config";
}

TEST(OptionText, TheExampleIsValidWithEveryLineSwitchedOn) {
  std::string text = ExampleConfig();
  for (size_t at = 0; (at = text.find("\n#", at)) != std::string::npos; ++at) {
    if (text[at + 2] != ' ' && text[at + 2] != '#') text.erase(at + 1, 1);
  }
  const Scratch scratch;
  const Options options = Parse({"--config", scratch.Write("c", text)});
  EXPECT_THAT(options.errors, IsEmpty()) << absl::StrJoin(options.errors, "\n");
  for (const Setting& setting : options.settings) {
    if (setting.name != "config") {
      EXPECT_EQ(setting.origin, Origin::kFile) << setting.name;
    }
  }
}

}  // namespace
}  // namespace helo::node
