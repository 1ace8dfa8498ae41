// The metrics text: names, values, and that no remote byte gets into it.
#include "node/metrics.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "p2p/base/text.h"

namespace helo::node {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ServerSnapshot Some() {
  ServerSnapshot s;
  PeerSnapshot peer;
  peer.user_agent = "evil\"} 1\nhelo_peers{direction=\"in\"";
  peer.direction = Direction::kInbound;
  s.peers = {peer, peer};
  peer.direction = Direction::kOutbound;
  peer.trusted = true;
  s.peers.push_back(peer);
  s.inbound = 2;
  s.max_inbound = 64;
  s.outbound = 1;
  s.max_outbound = 16;
  s.accepted = 1'234'567'890'123;
  s.closed_in[Reason::kEvicted] = 5;
  s.pools = {{PoolKind::kInbound, 2, 64}, {PoolKind::kAdmin, 1, 16}};
  s.fds.soft = 1024;
  s.fds.hard = 1 << 30;
  s.fds.open_now = 40;
  s.fds.foreign = 3;
  s.received_bytes = {100, 200};
  ListenerSnapshot listener;
  listener.local = *Endpoint::Parse("127.0.0.1:4356");
  listener.stats.accepted = 9;
  s.listeners.push_back(listener);
  return s;
}

std::map<std::string, double> Parse(const std::string& text) {
  std::map<std::string, double> values;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (line[0] == '#') continue;
    const size_t space = line.rfind(' ');
    const auto [at, fresh] = values.emplace(std::string(line.substr(0, space)),
                                            std::stod(std::string(line.substr(space))));
    EXPECT_TRUE(fresh) << "twice: " << at->first;
  }
  return values;
}

TEST(MetricsText, SaysWhatTheSnapshotSays) {
  const auto values = Parse(MetricsText(Some(), WallTime(std::chrono::seconds(1'700'000'000))));
  const std::map<std::string, double> expected = {
      {"helo_peers{direction=\"in\"}", 2},
      {"helo_peers{direction=\"out\"}", 1},
      {"helo_peers_trusted{direction=\"out\"}", 1},
      {"helo_slots{direction=\"in\"}", 64},
      {"helo_connections_accepted_total", 1'234'567'890'123},
      {"helo_connections_closed_total{reason=\"EVICTED\",direction=\"in\"}", 5},
      {"helo_connections_closed_total{reason=\"EVICTED\",direction=\"out\"}", 0},
      {"helo_fd_pool_limit{pool=\"inbound\"}", 64},
      {"helo_fd_pool_used{pool=\"admin\"}", 1},
      {"helo_fds_open", 40},
      {"helo_fds_foreign", 3},
      {"helo_fd_limit{kind=\"soft\"}", 1024},
      {"helo_fd_limit{kind=\"hard\"}", 1 << 30},
      {"helo_received_bytes_total{direction=\"out\"}", 200},
      {"helo_listener_accepted_total{listener=\"127.0.0.1:4356\"}", 9},
      {"process_start_time_seconds", 1'700'000'000},
  };
  for (const auto& [name, value] : expected) {
    ASSERT_TRUE(values.contains(name)) << name;
    EXPECT_EQ(values.at(name), value) << name;
  }
}

TEST(MetricsText, TellsOfEachPlugin) {
  plugins::PluginStatus well;
  well.name = "gossip";
  well.state = plugins::State::kRunning;
  well.sessions = 3;
  well.counters.messages_in = 7;
  plugins::PluginStatus ill;
  ill.name = "broken";
  ill.state = plugins::State::kQuarantined;
  ill.counters.faults = 1;
  const std::string text = MetricsText(Some(), {}, {well, ill});
  EXPECT_THAT(text, HasSubstr("helo_plugin_up{plugin=\"gossip\"} 1"));
  EXPECT_THAT(text, HasSubstr("helo_plugin_up{plugin=\"broken\"} 0"));
  EXPECT_THAT(text, HasSubstr("helo_plugin_sessions{plugin=\"gossip\"} 3"));
  EXPECT_THAT(text, HasSubstr("helo_plugin_messages_total{plugin=\"gossip\",direction=\"in\"} 7"));
  EXPECT_THAT(text, HasSubstr("helo_plugin_faults_total{plugin=\"broken\"} 1"));
}

TEST(MetricsText, NothingThatARemoteSaidIsInIt) {
  EXPECT_THAT(MetricsText(Some(), {}), Not(HasSubstr("evil")));
}

TEST(MetricsText, EveryReasonIsThereFromTheStart) {
  const auto values = Parse(MetricsText({}, {}));
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    for (const char* direction : {"in", "out"}) {
      EXPECT_EQ(values.at(absl::StrCat("helo_connections_closed_total{reason=\"",
                                       ToAbsl(info->label), "\",direction=\"", direction, "\"}")),
                0);
    }
  }
}

TEST(MetricsText, EachNameHasHelpAndTypeOnceAndCountersEndInTotal) {
  std::set<std::string> typed;
  const std::string text = MetricsText(Some(), {});
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (words[0] != "#") {
      EXPECT_TRUE(typed.contains(words[0].substr(0, words[0].find('{')))) << line;
    } else if (words[1] == "TYPE") {
      EXPECT_TRUE(typed.insert(words[2]).second) << line;
      EXPECT_EQ(words[3] == "counter", words[2].ends_with("_total")) << line;
    } else {
      EXPECT_EQ(words[1], "HELP") << line;
      EXPECT_GT(words.size(), 3u) << line;
    }
  }
}

}  // namespace
}  // namespace helo::node
