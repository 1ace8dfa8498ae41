// What helo doctor makes of facts: each level of each check, and that every problem has a remedy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "rpc/tool/doctor.h"

namespace helo::tool {
namespace {

using Level = Finding::Level;
using ::testing::HasSubstr;

// A machine that nothing is wrong with.
DoctorFacts Well() {
  DoctorFacts facts;
  facts.fd_soft = 1024;
  facts.fd_hard = 524288;
  facts.nr_open = 1048576;
  facts.files_open = 2000;
  facts.files_most = 1000000;
  facts.net.somaxconn = 4096;
  facts.net.listen_overflows = 0;
  facts.net.time_wait = 12;
  facts.net.orphans = 0;
  facts.net.max_orphans = 16384;
  facts.port_low = 32768;
  facts.port_high = 60999;
  facts.abort_on_overflow = 0;
  facts.ipv6 = true;
  facts.ports.push_back({"0.0.0.0:4356", 4356, DoctorFacts::Port::Kind::kFree, ""});
  facts.clock_synchronised = true;
  return facts;
}

RunningNode Node(const std::string& local) {
  RunningNode node;
  node.pid = 4242;
  node.fd_limit = 1024;
  node.fd_sentences = {"File descriptors: 6 open now = 300 of 1024."};
  node.listeners.push_back({local, local, 4096, 4096, 0});
  return node;
}

Finding Of(const DoctorFacts& facts, const std::string& check) {
  for (const Finding& one : Judge(facts)) {
    if (one.check == check) return one;
  }
  ADD_FAILURE() << "no finding of " << check;
  return {};
}

std::string Remedy(const Finding& finding, const std::string& where) {
  for (const auto& [name, what] : finding.remedies) {
    if (name == where) return what;
  }
  ADD_FAILURE() << finding.check << " has no remedy for " << where;
  return "";
}

TEST(Doctor, FindsNothingWhereNothingIsWrong) {
  for (const Finding& one : Judge(Well())) {
    EXPECT_EQ(one.level, Level::kOk) << one.check << ": " << one.says;
    EXPECT_EQ(one.means, "") << one.check;
    EXPECT_TRUE(one.remedies.empty()) << one.check;
  }
}

TEST(Doctor, SaysHowToRaiseTheLimitOfDescriptorsEverywhere) {
  DoctorFacts facts = Well();
  facts.fd_hard = 50;
  EXPECT_THAT(Of(facts, "fd-limit").means, HasSubstr("refuses to start"));
  facts.fd_hard = 200;
  const Finding found = Of(facts, "fd-limit");
  EXPECT_EQ(found.level, Level::kProblem);
  EXPECT_THAT(found.means, HasSubstr("fewer peers"));
  EXPECT_THAT(Remedy(found, "shell"), HasSubstr("ulimit -n 65536"));
  EXPECT_THAT(Remedy(found, "limits.conf"), HasSubstr("hard nofile 65536"));
  EXPECT_EQ(Remedy(found, "systemd"), "LimitNOFILE=65536");
  EXPECT_EQ(Remedy(found, "compose"), "ulimits: {nofile: {soft: 65536, hard: 65536}}");
  facts.fd_hard = 300;
  EXPECT_EQ(Of(facts, "fd-limit").level, Level::kOk);
  facts.fd_hard = UINT64_MAX;  // RLIM_INFINITY, of which nr_open leaves this
  facts.nr_open = 100;
  EXPECT_EQ(Of(facts, "fd-limit").level, Level::kProblem);
  EXPECT_THAT(Of(facts, "fd-limit").says, HasSubstr("hard unlimited"));
}

TEST(Doctor, SeesTheQueueThatTheKernelMadeShorter) {
  DoctorFacts facts = Well();
  facts.net.somaxconn = 1024;
  EXPECT_EQ(Of(facts, "backlog").level, Level::kNote);
  EXPECT_THAT(Remedy(Of(facts, "backlog"), "shell"), HasSubstr("net.core.somaxconn=4096"));
  EXPECT_THAT(Remedy(Of(facts, "backlog"), "sysctl.d"), HasSubstr(">> /etc/sysctl.d/60-helo.conf"))
      << "a second setting must not take the place of the first";
  facts.net.somaxconn = 127;
  EXPECT_EQ(Of(facts, "backlog").level, Level::kProblem);
  facts.node = Node("0.0.0.0:4356");  // what its listener got counts, not the setting of now
  EXPECT_EQ(Of(facts, "backlog").level, Level::kOk);
  facts.net.listen_overflows = 3;
  EXPECT_EQ(Of(facts, "overflows").level, Level::kNote);
  facts.abort_on_overflow = 1;
  EXPECT_EQ(Of(facts, "abort-on-overflow").level, Level::kNote);
}

TEST(Doctor, NamesWhatKeepsAPortFromANode) {
  using Kind = DoctorFacts::Port::Kind;
  DoctorFacts facts = Well();
  for (const Kind kind :
       {Kind::kInUse, Kind::kPrivileged, Kind::kNoSuchAddress, Kind::kNoIpv6, Kind::kFailed}) {
    facts.ports = {{"0.0.0.0:80", 80, kind, "because of this"}};
    const Finding found = Of(facts, "port");
    EXPECT_EQ(found.level, Level::kProblem);
    EXPECT_EQ(found.means, "because of this.");
    EXPECT_EQ(found.remedies.empty(), kind == Kind::kFailed);
  }
  facts.ports[0].kind = Kind::kPrivileged;
  EXPECT_EQ(Remedy(Of(facts, "port"), "systemd"), "AmbientCapabilities=CAP_NET_BIND_SERVICE");
  EXPECT_THAT(Remedy(Of(facts, "port"), "compose"), HasSubstr("ip_unprivileged_port_start: 80"));
}

// Which is right for a testnet, so it is no problem.
TEST(Doctor, NotesANodeThatNobodyElseCanReach) {
  DoctorFacts facts = Well();
  for (const char* local : {"127.0.0.1:4356", "[::1]:4356", "tcp://127.0.0.2:4356"}) {
    facts.node = Node(local);
    EXPECT_EQ(Of(facts, "reachable").level, Level::kNote) << local;
    EXPECT_THAT(Of(facts, "reachable").means, HasSubstr("loopback alone"));
  }
  facts.node->listeners.push_back({":4356", "[::]:4356", 4096, 4096, 0});
  EXPECT_EQ(Of(facts, "reachable").level, Level::kOk);
  facts.node->listeners[0].starved = 2;
  EXPECT_EQ(Of(facts, "starved").level, Level::kNote);
  facts.node->listeners.clear();
  EXPECT_EQ(Of(facts, "reachable").level, Level::kNote);
}

TEST(Doctor, LooksAtTheDescriptorsOfARunningNode) {
  DoctorFacts facts = Well();
  facts.node = Node("0.0.0.0:4356");
  EXPECT_EQ(Of(facts, "fd-of-node").says, facts.node->fd_sentences[0]);
  facts.node->full_pools = {"inbound (64 of 64)"};
  EXPECT_EQ(Of(facts, "fd-of-node").level, Level::kNote);
  // A second sentence alone is no problem: a node that has looked at itself tells what it saw.
  facts.node->full_pools.clear();
  facts.node->fd_sentences.emplace_back("At the last look 28 were open.");
  EXPECT_EQ(Of(facts, "fd-of-node").level, Level::kOk);
  facts.node->fd_reduced = true;
  facts.node->fd_sentences[1] = "That is less than configured.";
  EXPECT_EQ(Of(facts, "fd-of-node").level, Level::kProblem);
}

TEST(Doctor, TellsManyTimeWaitsAndOrphans) {
  DoctorFacts facts = Well();
  facts.net.time_wait = 20000;
  EXPECT_EQ(Of(facts, "time-wait").level, Level::kNote);
  EXPECT_THAT(Of(facts, "time-wait").means, HasSubstr("60 s"));
  facts.net.orphans = 10000;
  EXPECT_EQ(Of(facts, "orphans").level, Level::kNote);
}

TEST(Doctor, BlamesTheClockOnlyWhereSeveralPeersAgree) {
  DoctorFacts facts = Well();
  facts.clock_synchronised = false;
  EXPECT_EQ(Of(facts, "clock").level, Level::kNote);
  facts.node = Node("0.0.0.0:4356");
  facts.node->skews_us = {5'000'000};
  EXPECT_EQ(Of(facts, "clock-of-peers").level, Level::kNote);
  facts.node->skews_us = {5'000'000, 4'000'000, 20};
  EXPECT_EQ(Of(facts, "clock-of-peers").level, Level::kProblem);
  facts.node->skews_us = {-5'000'000, 10, 20};
  EXPECT_EQ(Of(facts, "clock-of-peers").level, Level::kOk);
}

TEST(Doctor, LooksAtTheDataDirectoryIfOneIsNamed) {
  DoctorFacts facts = Well();
  facts.data_dir = "/var/lib/helo";
  EXPECT_EQ(Of(facts, "data-dir").level, Level::kNote);  // not there yet
  facts.data_dir_exists = true;
  facts.data_dir_free_bytes = 1 << 30;
  facts.data_dir_uid = 990;
  EXPECT_EQ(Of(facts, "data-dir").level, Level::kOk);
  EXPECT_THAT(Of(facts, "data-dir").says, HasSubstr("private to uid 990"));
  facts.data_dir_problems = {"it belongs to uid 0"};
  EXPECT_EQ(Of(facts, "data-dir").level, Level::kProblem);
  EXPECT_THAT(Remedy(Of(facts, "data-dir"), "shell"),
              HasSubstr("chown -R 990 '/var/lib/helo' && chmod 700 '/var/lib/helo'"));
  facts.data_dir_free_bytes = 1 << 20;
  EXPECT_EQ(Of(facts, "disk").level, Level::kProblem);
}

TEST(Doctor, SaysWhatItCouldNotAsk) {
  DoctorFacts facts = Well();
  facts.no_node = "uid 1000 may not call";
  EXPECT_EQ(Of(facts, "node").level, Level::kNote);
  facts.node_hangs = true;
  EXPECT_EQ(Of(facts, "node").level, Level::kProblem);
  facts = DoctorFacts();  // a machine that tells nothing at all
  facts.fd_hard = facts.fd_soft = 4096;
  for (const Finding& one : Judge(facts)) EXPECT_NE(one.level, Level::kProblem) << one.check;
}

}  // namespace
}  // namespace helo::tool
