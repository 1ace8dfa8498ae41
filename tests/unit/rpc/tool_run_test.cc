// The tool from its arguments to its exit code, against an admin API that answers what each test
// wants. One source for all commands, since they share the fixture and read as one list of
// promises.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "p2p/base/reasons.h"
#include "rpc/client/connection.h"
#include "tests/unit/rpc/tool_fake_listener.h"
#include "tests/unit/rpc/tool_fake_node.h"

namespace helo {
namespace {

namespace pb = admin::v1;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kOk = 0, kFailed = 1, kUsage = 2, kNotRunning = 3, kNotAllowed = 4, kNotFound = 5,
              kRefused = 6, kTimedOut = 7;

std::string Id(char digit) { return std::string(64, digit); }

class TheTool : public ::testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    tzset();
    std::string pattern = ::testing::TempDir() + "helo-run-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  ToolRun Helo(std::vector<std::string> arguments, size_t width = 0) {
    arguments.insert(arguments.begin(), {"--admin", node_.admin()});
    return RunHelo(arguments, {}, width);
  }
  void WriteNodeFile(int64_t pid, const std::string& id) {
    std::ofstream(dir_ + "/helod.json")
        << json{{"pid", pid}, {"id", id}, {"admin", node_.admin()}}.dump();
  }
  void WriteToken(const std::string& token) {
    std::ofstream(dir_ + "/admin.token") << token << "\n";
  }
  void AddPeer(char digit, int64_t rtt_us, const std::string& agent = "helo/0.1.0") {
    pb::Peer peer;
    peer.set_id(Id(digit));
    peer.set_connection(7);
    peer.set_direction(digit == 'a' ? pb::INBOUND : pb::OUTBOUND);
    peer.set_remote("10.0.0.1:4356");
    peer.set_local("10.0.0.2:51234");
    peer.set_fd(21);
    peer.set_user_agent(agent);
    peer.set_age_ms(192'000);
    if (rtt_us > 0) peer.set_rtt_us(rtt_us);
    peer.set_bytes_in(1500);
    peer.set_bytes_out(80);
    peer.add_shared("echo/1");
    peer.add_only_theirs("gossip/2");
    node_.answers.peers.push_back(peer);
  }

  FakeNode node_;
  std::string dir_;
};

// Between the tool and the fake node: cuts the first `cuts` connections at the first byte.
class CuttingProxy {
 public:
  CuttingProxy(const Endpoint& node, int cuts)
      : listener_([this, node, cuts](int fd) {
          std::array<char, 4096> buffer;
          if (++connections_ <= cuts) {
            EXPECT_GT(read(fd, buffer.data(), buffer.size()), 0);
            return;
          }
          const client::Connection there = client::ConnectTcp(node, std::chrono::seconds(5));
          ASSERT_EQ(there.result, client::ConnectResult::kConnected);
          std::array<pollfd, 2> ends = {{{fd, POLLIN, 0}, {there.fd.get(), POLLIN, 0}}};
          for (;;) {
            ASSERT_GT(poll(ends.data(), ends.size(), 20'000), 0);
            for (size_t i = 0; i < ends.size(); ++i) {
              if (ends[i].revents == 0) continue;
              const ssize_t got = read(ends[i].fd, buffer.data(), buffer.size());
              if (got <= 0) return;
              send(ends[1 - i].fd, buffer.data(), static_cast<size_t>(got), MSG_NOSIGNAL);
            }
          }
        }) {}
  std::string address() const { return listener_.address().ToString(); }
  int connections() const { return connections_; }

 private:
  std::atomic<int> connections_{0};
  FakeListener listener_;
};

TEST_F(TheTool, AsksAgainWhenItsConnectionIsCutAndChangesNothingTwice) {
  AddPeer('a', 59'000);
  {
    const CuttingProxy proxy(node_.address(), 2);
    const ToolRun run = RunHelo({"--admin", proxy.address(), "peers"});
    EXPECT_EQ(run.exit, kOk) << run.err;
    EXPECT_THAT(run.out, HasSubstr("10.0.0.1:4356"));
    EXPECT_EQ(proxy.connections(), 3);
  }
  const CuttingProxy proxy(node_.address(), 1);
  EXPECT_NE(RunHelo({"--admin", proxy.address(), "add", "helo://127.0.0.1:1"}).exit, kOk);
  EXPECT_EQ(node_.asked().add.address(), "") << "nobody knows whether the first was carried out";
}

TEST_F(TheTool, ListsPeersInATable) {
  AddPeer('a', 59'000);
  AddPeer('b', 0);
  AddPeer('c', 1'000'000);
  const ToolRun run = Helo({"peers"});
  EXPECT_EQ(run.exit, kOk) << run.err;
  EXPECT_EQ(run.out,
            "ID          DIR  ADDRESS        AGENT       SHARED    AGE     RTT  SKEW     IN  OUT  "
            "LAST MSG  FD\n"
            "aaaaaaaaaa  in   10.0.0.1:4356  helo/0.1.0  echo/1  3m12s  59.0ms     -  1.5kB  80B   "
            "      -  21\n"
            "bbbbbbbbbb  out  10.0.0.1:4356  helo/0.1.0  echo/1  3m12s       -     -  1.5kB  80B   "
            "      -  21\n"
            "cccccccccc  out  10.0.0.1:4356  helo/0.1.0  echo/1  3m12s   1.00s     -  1.5kB  80B   "
            "      -  21\n");
  EXPECT_EQ(run.err, "");
}

TEST_F(TheTool, FitsTheTerminalAndSaysWhatIsMissing) {
  AddPeer('a', 59'000);
  const ToolRun run = Helo({"peers"}, 80);
  EXPECT_EQ(run.out,
            "ID          DIR  ADDRESS        AGENT       SHARED    AGE     RTT     IN  OUT\n"
            "aaaaaaaaaa  in   10.0.0.1:4356  helo/0.1.0  echo/1  3m12s  59.0ms  1.5kB  80B\n"
            "(no room for SKEW, LAST MSG, FD: --wide shows all)\n");
  EXPECT_THAT(Helo({"peers", "--wide"}, 80).out,
              AllOf(HasSubstr("gossip/2"), HasSubstr("10.0.0.2:51234"), HasSubstr("SKEW")));
}

TEST_F(TheTool, SortsPeersWithTheUnknownLast) {
  AddPeer('a', 0);
  AddPeer('b', 900);
  AddPeer('c', 100);
  const std::string out = Helo({"peers", "--sort", "rtt"}).out;
  EXPECT_LT(out.find("cccc"), out.find("bbbb"));
  EXPECT_LT(out.find("bbbb"), out.find("aaaa"));
  const ToolRun wrong = Helo({"peers", "--sort", "colour"});
  EXPECT_EQ(wrong.exit, kUsage);
  EXPECT_THAT(wrong.err, HasSubstr("direction"));
}

TEST_F(TheTool, AsksTheNodeToFilter) {
  Helo({"peers", "--filter", "echo", "--direction", "in"});
  EXPECT_EQ(node_.asked().list.filter(), "echo");
  EXPECT_EQ(node_.asked().list.direction(), pb::INBOUND);
}

TEST_F(TheTool, WritesPeersAsOneJsonDocument) {
  AddPeer('a', 59'000);
  AddPeer('b', 0);
  AddPeer('c', 5);
  const ToolRun run = Helo({"peers", "--json"});
  const json document = json::parse(run.out);
  EXPECT_EQ(document["total"], 3);
  ASSERT_EQ(document["peers"].size(), 3u);
  EXPECT_EQ(document["peers"][0]["id"], Id('a'));
  EXPECT_EQ(document["peers"][0]["fd"], 21);
}

TEST_F(TheTool, NeverPrintsWhatAPeerCallsItselfAsItCame) {
  AddPeer('a', 1, "evil\x1b]0;owned\x07\xff\n");
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"peers"},
                                                    {"peers", "--json"},
                                                    {"peers", "--wide"},
                                                    {"peer", "aaaa"},
                                                    {"peer", "aaaa", "--json"}}) {
    const ToolRun run = Helo(arguments);
    EXPECT_EQ(run.exit, kOk) << run.err;
    EXPECT_THAT(run.out, HasSubstr("owned"));
    EXPECT_EQ(run.out.find_first_of("\x1b\x07\xff"), std::string::npos) << run.out;
  }
}

TEST_F(TheTool, NeverPrintsAnErrorOfANodeAsItCame) {
  node_.answers.status = 13;
  node_.answers.message = "oops\x1b[2J";
  const ToolRun run = Helo({"info"});
  EXPECT_EQ(run.exit, kFailed);
  EXPECT_THAT(run.err, HasSubstr("oops\\x1b[2J"));
}

TEST_F(TheTool, ShowsOnePeerInFull) {
  AddPeer('a', 59'000);
  const ToolRun run = Helo({"peer", "AAAA"});
  EXPECT_EQ(run.exit, kOk) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr(Id('a')),
                             HasSubstr("shared echo/1; only ours -; only theirs gossip/2"),
                             HasSubstr("3 m 12 s"), HasSubstr("fd            21")));
}

TEST_F(TheTool, TellsApartWhatIsNotFoundAndWhatIsNoId) {
  EXPECT_EQ(Helo({"peer", "dddd"}).exit, kNotFound);
  EXPECT_EQ(Helo({"peer", "xyz"}).exit, kUsage);
  node_.answers.status = 9;
  node_.answers.message = "aaaa is ambiguous: 2 peers";
  EXPECT_EQ(Helo({"drop", "aaaa"}).exit, kNotFound);
}

TEST_F(TheTool, ShowsTheNode) {
  pb::Node& node = node_.answers.node;
  node.set_id(Id('f'));
  node.set_version("0.1.0");
  node.set_user_agent("helo/0.1.0");
  node.set_pid(4711);
  node.set_network("helo-dev");
  node.set_data_dir("/var/lib/helo");
  node.set_boot_id(12345678901234567890u);
  node.set_started_unix_us(1'700'049'600'000'000 - 90'000'000);
  node.set_admin_address("127.0.0.1:4357");
  node.set_log_level("info");
  node.set_max_inbound(64);
  node.set_inbound(3);
  pb::Target& target = *node.add_targets();
  target.set_address("helo://10.0.0.9:4356");
  target.set_failures(4);
  target.set_next_try_ms(8000);
  target.mutable_last()->set_label("REFUSED");
  target.mutable_last()->set_code(101);
  target.mutable_last()->set_decider("network");
  target.mutable_last()->set_stage("connect");
  const ToolRun run = Helo({"info"});
  EXPECT_EQ(run.exit, kOk) << run.err;
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("id         " + Id('f')), HasSubstr("helo-dev, no genesis set"),
                    HasSubstr("1 m 30 s, since 11:58:30, pid 4711"), HasSubstr("3 of 64 in"),
                    HasSubstr("next try in 8.00s"), HasSubstr("REFUSED by network at connect")));
  EXPECT_EQ(json::parse(Helo({"info", "--json"}).out)["boot_id"], "12345678901234567890");
}

TEST_F(TheTool, AddsAPeerAndTellsHowTheFirstTryEnded) {
  node_.answers.added.set_decided(true);
  node_.answers.added.set_up(true);
  node_.answers.added.set_id(Id('b'));
  const ToolRun up = Helo({"add", "10.0.0.9:4356", "--wait", "5", "--save"});
  EXPECT_EQ(up.exit, kOk) << up.err;
  EXPECT_THAT(up.out, HasSubstr("connected to " + Id('b')));
  EXPECT_EQ(node_.asked().add.address(), "helo://10.0.0.9:4356");
  EXPECT_EQ(node_.asked().add.wait_seconds(), 5);
  EXPECT_TRUE(node_.asked().add.save());
}

TEST_F(TheTool, TellsWhyAPeerRefused) {
  node_.answers.added.set_decided(true);
  pb::Close& close = *node_.answers.added.mutable_close();
  close.set_code(10);
  close.set_label("WRONG_NETWORK");
  close.set_decider("them");
  close.set_stage("verdict");
  close.set_text("testnet-7\x1b");
  const ToolRun refused = Helo({"add", "node7:4356", "--wait", "5s"});
  EXPECT_EQ(refused.exit, kRefused);
  EXPECT_THAT(refused.out, AllOf(HasSubstr("WRONG_NETWORK by them at verdict, \"testnet-7\\x1b\""),
                                 HasSubstr("What to do: Give both")));
  close.set_code(101);
  close.set_decider("network");
  EXPECT_EQ(Helo({"add", "node7:4356", "--wait", "5s"}).exit, kFailed);
  close.set_code(102);
  EXPECT_EQ(Helo({"add", "node7:4356", "--wait", "5s"}).exit, kTimedOut);
  node_.answers.added.set_decided(false);
  EXPECT_EQ(Helo({"add", "node7:4356", "--wait", "5s"}).exit, kTimedOut) << "still under way";
  EXPECT_EQ(Helo({"add", "node7:4356"}).exit, kOk) << "nobody asked to wait";
}

TEST_F(TheTool, RefusesAMalformedAddressWithoutAskingTheNode) {
  EXPECT_EQ(Helo({"add", "10.0.0:4356"}).exit, kUsage);
  EXPECT_EQ(Helo({"add", "node7"}).exit, kUsage);
  EXPECT_EQ(node_.asked().calls, 0);
}

TEST_F(TheTool, RemovesAPeer) {
  EXPECT_EQ(Helo({"remove", "helo://10.0.0.9:4356", "--disconnect"}).exit, kOk);
  EXPECT_EQ(node_.asked().remove.address(), "helo://10.0.0.9:4356");
  EXPECT_TRUE(node_.asked().remove.disconnect());
}

TEST_F(TheTool, DropsAPeerForAWhile) {
  node_.answers.dropped.set_id(Id('b'));
  node_.answers.dropped.set_connections_closed(1);
  node_.answers.dropped.set_targets_paused(1);
  node_.answers.dropped.set_away_seconds(3600);
  const ToolRun run = Helo({"drop", "bbbb", "--for", "1h", "--reason", "upgrade, please"});
  EXPECT_EQ(run.exit, kOk) << run.err;
  EXPECT_EQ(node_.asked().drop.away_seconds(), 3600);
  EXPECT_EQ(node_.asked().drop.text(), "upgrade, please");
  EXPECT_THAT(run.out, AllOf(HasSubstr("1 connection closed"), HasSubstr("1 h 0 m"),
                             HasSubstr("rests meanwhile")));

  Helo({"drop", "bbbb"});
  EXPECT_FALSE(node_.asked().drop.has_away_seconds()) << "the node's default";
  Helo({"drop", "bbbb", "--for", "0"});
  EXPECT_TRUE(node_.asked().drop.has_away_seconds());
  EXPECT_EQ(Helo({"drop", "bbbb", "--for", "10"}).exit, kUsage) << "10 what?";
  EXPECT_EQ(Helo({"drop", "bbbb", "--reason", "caf\xc3\xa9"}).exit, kUsage);
}

TEST_F(TheTool, ShowsHistoryAcrossPagesUpToTheLimit) {
  for (uint64_t n = 5; n > 0; --n) {
    pb::Attempt attempt;
    attempt.set_sequence(n);
    attempt.set_direction(pb::OUTBOUND);
    attempt.set_began_unix_us(1'700'049'600'000'000 - 60'000'000);
    attempt.set_target("node" + std::to_string(n) + ":4356");
    attempt.set_stage("verdict");
    attempt.set_repeats(1);
    attempt.mutable_close()->set_label("FULL");
    attempt.mutable_close()->set_decider("them");
    attempt.mutable_close()->set_text("no slot");
    (*attempt.mutable_spent_us())["connect"] = 20'000;
    (*attempt.mutable_spent_us())["tls"] = 30'000;
    (*attempt.mutable_spent_us())["up"] = 99'000'000;
    node_.answers.attempts.push_back(attempt);
  }
  const ToolRun run = Helo({"history", "--limit", "3"});
  EXPECT_EQ(run.exit, kOk) << run.err;
  EXPECT_EQ(run.out,
            "BEGAN     DIR  ADDRESS     ID  RESULT  STAGE    BY      TOOK  TIMES  TEXT\n"
            "11:59:00  out  node5:4356  -   FULL    verdict  them  50.0ms      1  no slot\n"
            "11:59:00  out  node4:4356  -   FULL    verdict  them  50.0ms      1  no slot\n"
            "11:59:00  out  node3:4356  -   FULL    verdict  them  50.0ms      1  no slot\n");
  EXPECT_THAT(run.err, HasSubstr("--limit"));
  const json all = json::parse(Helo({"history", "--json"}).out);
  EXPECT_EQ(all["attempts"].size(), 5u);
  EXPECT_EQ(all["more"], false);
  EXPECT_THAT(Helo({"history", "--wide"}).out, HasSubstr("connect 20.0ms, tls 30.0ms"));
}

TEST_F(TheTool, WatchesEventsAndTellsGapsAndWhereToGoOn) {
  node_.answers.node.set_id(Id('f'));
  pb::WatchResponse ready;
  ready.set_boot_id(99);
  ready.mutable_ready()->set_newest_sequence(3);
  pb::WatchResponse gap;
  gap.set_boot_id(99);
  gap.mutable_gap()->set_missed(2);
  pb::WatchResponse event;
  event.set_boot_id(99);
  event.mutable_event()->set_sequence(6);
  event.mutable_event()->set_when_unix_us(1'700'049'600'000'000);
  event.mutable_event()->set_kind("peer-up");
  event.mutable_event()->set_id(Id('b'));
  event.mutable_event()->set_direction(pb::INBOUND);
  event.mutable_event()->set_remote("10.0.0.9:51000");
  node_.answers.events = {ready, gap, event};
  const ToolRun run = Helo({"watch", "--since", "99:1"});
  EXPECT_EQ(run.exit, kOk) << run.err;
  EXPECT_EQ(node_.asked().watch.boot_id(), 99u);
  EXPECT_EQ(node_.asked().watch.after_sequence(), 1u);
  EXPECT_EQ(run.out,
            "-- 2 events are lost --\n    6  12:00:00.000  peer-up         bbbbbbbbbb  in   "
            "10.0.0.9:51000\n");
  EXPECT_THAT(run.err, HasSubstr("helo watch --since 99:6"));

  std::istringstream lines(Helo({"watch", "--json"}).out);
  std::vector<json> documents;
  for (std::string line; std::getline(lines, line);) documents.push_back(json::parse(line));
  ASSERT_EQ(documents.size(), 3u);
  EXPECT_EQ(documents[2]["event"]["kind"], "peer-up");
}

TEST_F(TheTool, EndsAWatchWhenItsTimeIsOver) {
  pb::WatchResponse event;
  event.mutable_event()->set_sequence(1);
  node_.answers.events = {event};
  node_.answers.hold_stream = true;
  EXPECT_EQ(Helo({"watch", "--for", "100ms"}).exit, kOk);
}

TEST_F(TheTool, SaysWhetherTheNodeIsReady) {
  EXPECT_EQ(Helo({"health"}).exit, kOk);
  node_.answers.serving = false;
  const ToolRun run = Helo({"health"});
  EXPECT_EQ(run.exit, kFailed);
  EXPECT_THAT(run.out, HasSubstr("not ready"));
}

TEST_F(TheTool, ChangesTheLogLevelAndStopsTheNode) {
  EXPECT_THAT(Helo({"log-level", "debug"}).out, HasSubstr("was info"));
  EXPECT_EQ(node_.asked().level, "debug");
  EXPECT_EQ(Helo({"log-level", "loud"}).exit, kUsage);
  EXPECT_EQ(Helo({"shutdown"}).exit, kOk);
  EXPECT_TRUE(node_.asked().shutdown);
}

TEST_F(TheTool, ShowsTheTokenOfTheDataDirectoryToOurOwnListener) {
  WriteNodeFile(getpid(), Id('f'));
  WriteToken("secret-token");
  node_.answers.wanted_token = "secret-token";
  const ToolRun run = RunHelo({"info", "--data-dir", dir_});
  EXPECT_EQ(run.exit, kOk) << run.err;
  EXPECT_EQ(node_.asked().token, "Bearer secret-token");
}

TEST_F(TheTool, IsToldWhenItMayNotCall) {
  node_.answers.wanted_token = "secret-token";
  const ToolRun none = Helo({"info"});
  EXPECT_EQ(none.exit, kNotAllowed);
  EXPECT_THAT(none.err, AllOf(HasSubstr("no valid token"), HasSubstr("--token-file"),
                              Not(HasSubstr("secret"))));
  WriteToken("another-token");
  const ToolRun wrong = Helo({"info", "--token-file", dir_ + "/admin.token"});
  EXPECT_EQ(wrong.exit, kNotAllowed);
  EXPECT_THAT(wrong.err, AllOf(HasSubstr("did not fit"), Not(HasSubstr("another-token"))));
  EXPECT_EQ(Helo({"info", "--token-file", dir_ + "/missing"}).exit, kUsage);
}

TEST_F(TheTool, DoesNotSpeakToAnotherNodeThatTookADeadOnesPort) {
  WriteNodeFile(int64_t{1} << 40, Id('e'));
  node_.answers.node.set_id(Id('f'));
  const ToolRun run = RunHelo({"shutdown", "--data-dir", dir_});
  EXPECT_EQ(run.exit, kNotRunning);
  EXPECT_THAT(run.err, HasSubstr("another node answers"));
  EXPECT_FALSE(node_.asked().shutdown);
  // The same node, seen from another pid namespace, is no stranger.
  node_.answers.node.set_id(Id('e'));
  EXPECT_EQ(RunHelo({"shutdown", "--data-dir", dir_}).exit, kOk);
}

TEST_F(TheTool, WritesErrorsAsJsonToo) {
  const ClosedPort closed;
  const ToolRun run = RunHelo({"--json", "info", "--admin", closed.address().ToString()});
  EXPECT_EQ(run.exit, kNotRunning);
  const json document = json::parse(run.out);
  EXPECT_EQ(document["error"]["exit"], kNotRunning);
  EXPECT_EQ(document["error"]["label"], "NODE_NOT_RUNNING");
  EXPECT_THAT(run.err, HasSubstr("nothing listens"));
}

TEST_F(TheTool, AnswersWrongUseWithTheWayToHelp) {
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"peerz"},
                                                    {"peers", "--colour"},
                                                    {"peer"},
                                                    {"history", "--limit", "0"},
                                                    {"history", "--limit", "x"},
                                                    {"drop", "aaaa", "--for"},
                                                    {"peers", "--direction", "up"},
                                                    {"watch", "--since", "x"},
                                                    {"info", "extra"}}) {
    const ToolRun run = RunHelo(arguments);
    EXPECT_EQ(run.exit, kUsage) << run.err;
    EXPECT_THAT(run.err, HasSubstr("--help"));
  }
  EXPECT_THAT(RunHelo({"peerz"}).err, AllOf(HasSubstr("peerz"), HasSubstr("helo peers")));
}

TEST_F(TheTool, HelpsWithExamplesForEveryCommand) {
  for (const char* command :
       {"info", "fds", "sockets", "peers", "peer", "add", "remove", "drop", "history", "watch",
        "log-level", "shutdown", "config", "keygen", "id", "health", "explain", "version"}) {
    const ToolRun run = RunHelo({command, "--help"});
    EXPECT_EQ(run.exit, kOk);
    EXPECT_THAT(run.out, HasSubstr(std::string("\n  helo ") + command)) << command;
    EXPECT_THAT(RunHelo({"--help"}).out, HasSubstr(std::string("\n  ") + command + " "));
  }
}

TEST_F(TheTool, MakesAKeyOnceAndNeverOverwritesIt) {
  const ToolRun made = RunHelo({"keygen", dir_ + "/node.key"});
  EXPECT_EQ(made.exit, kOk) << made.err;
  struct stat facts {};
  ASSERT_EQ(stat((dir_ + "/node.key").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
  EXPECT_EQ(RunHelo({"id", dir_ + "/node.key"}).out, made.out);
  EXPECT_EQ(RunHelo({"id", dir_}).out, made.out);
  const ToolRun again = RunHelo({"keygen", dir_ + "/node.key"});
  EXPECT_EQ(again.exit, kFailed);
  EXPECT_THAT(again.err, HasSubstr(made.out.substr(0, 64)));
  EXPECT_EQ(RunHelo({"id", dir_}).out, made.out);
  EXPECT_EQ(RunHelo({"keygen"}).exit, kUsage);
}

TEST_F(TheTool, MakesTheDataDirectoryForAKey) {
  const std::string fresh = dir_ + "/fresh";
  const ToolRun made = RunHelo({"keygen", "--data-dir", fresh, "--json"});
  EXPECT_EQ(made.exit, kOk) << made.err;
  EXPECT_EQ(json::parse(made.out)["file"], fresh + "/node.key");
  struct stat facts {};
  ASSERT_EQ(stat(fresh.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0700u);
  EXPECT_EQ(RunHelo({"id"}, {{"HELO_DATA_DIR", fresh}}).out.substr(0, 64),
            json::parse(made.out)["id"]);
}

TEST_F(TheTool, TellsTheIdOfARunningNode) {
  node_.answers.node.set_id(Id('f'));
  EXPECT_EQ(Helo({"id"}).out, Id('f') + "\n");
}

TEST_F(TheTool, ExplainsEveryReasonByCodeAndLabel) {
  const std::string list = RunHelo({"explain", "list"}).out;
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    const std::string label(info->label);
    EXPECT_THAT(list, HasSubstr(label));
    const ToolRun by_label = RunHelo({"explain", label});
    const ToolRun by_code = RunHelo({"explain", std::to_string(static_cast<int>(info->reason))});
    EXPECT_EQ(by_label.exit, kOk);
    EXPECT_EQ(by_label.out, by_code.out);
    const json document = json::parse(RunHelo({"explain", label, "--json"}).out);
    EXPECT_EQ(document["remedy"], std::string(info->remedy));
  }
  EXPECT_EQ(RunHelo({"explain", "57"}).exit, kNotFound);
  EXPECT_EQ(RunHelo({"explain", "nonsense"}).exit, kNotFound);
}

TEST_F(TheTool, TellsItsVersion) {
  EXPECT_THAT(RunHelo({"version"}).out, HasSubstr("protocol helo/1"));
  EXPECT_TRUE(json::parse(RunHelo({"version", "--json"}).out).contains("version"));
}

}  // namespace
}  // namespace helo
