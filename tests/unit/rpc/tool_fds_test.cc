// helo fds and helo sockets, against an admin API that answers what each test wants.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/rpc/tool_fake_node.h"

namespace helo {
namespace {

namespace pb = admin::v1;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ToolFds : public ::testing::Test {
 protected:
  ToolRun Helo(std::vector<std::string> arguments, size_t width = 0) {
    arguments.insert(arguments.begin(), {"--admin", node_.admin()});
    return RunHelo(arguments, {}, width);
  }
  pb::Fd& AddFd(int number, const std::string& kind, const std::string& what) {
    pb::Fd& fd = node_.answers.fds.emplace_back();
    fd.set_fd(number);
    fd.set_kind(kind);
    fd.set_what(what);
    fd.set_ours(!what.empty());
    return fd;
  }
  void AddConnection(int number) {
    pb::ConnectionSocket& socket = node_.answers.connections.emplace_back();
    socket.set_fd(number);
    socket.set_tcp_state("ESTABLISHED");
    socket.set_remote("10.0.0.7:4356");
    socket.set_peer(std::string(64, 'a'));
    socket.set_direction(pb::OUTBOUND);
    socket.set_rtt_us(94);
    socket.set_retransmits(3);
    socket.set_send_queue(1500);
  }
  FakeNode node_;
};

TEST_F(ToolFds, DrawsTheTableAcrossPagesWithTheLowestFreeNumber) {
  AddFd(0, "device", "standard input").set_link("/dev/null");
  AddFd(1, "epoll", "loop net-0: epoll of sessions").set_link("anon_inode:[eventpoll]");
  pb::Fd& peer = AddFd(2, "socket", "peer");
  peer.set_protocol("tcp6");
  peer.set_local("127.0.0.1:4356");
  peer.set_remote("127.0.0.1:50000");
  peer.set_tcp_state("ESTABLISHED");
  peer.set_pool("inbound");
  peer.set_peer(std::string(64, 'a'));
  peer.set_direction(pb::INBOUND);
  peer.set_link("socket:[77]");
  AddFd(4, "pipe", "").set_link("pipe:[78]");
  const ToolRun run = Helo({"fds"});
  EXPECT_EQ(run.exit, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("standard input: /dev/null\n"));
  EXPECT_THAT(run.out, HasSubstr("loop net-0: epoll of sessions\n"));
  EXPECT_THAT(run.out, HasSubstr("tcp6"));
  EXPECT_THAT(run.out, HasSubstr("ESTABLISHED  inbound  aaaaaaaaaa  in   peer\n"));
  EXPECT_THAT(run.out, AllOf(HasSubstr("not ours"), HasSubstr("pipe:[78]")));
  EXPECT_THAT(run.out, HasSubstr("4 open, 1024 allowed; 1 not ours; the next one gets the lowest "
                                 "free number, 3\n"));
  const json document = json::parse(Helo({"fds", "--json"}).out);
  ASSERT_EQ(document["fds"].size(), 4u);
  EXPECT_EQ(document["limit"], 1024);
  EXPECT_EQ(document["fds"][2]["direction"], "in");
  EXPECT_EQ(document["fds"][3]["ours"], false);
}

TEST_F(ToolFds, NeverPrintsALinkAsItIs) {
  AddFd(0, "file", "").set_link("/tmp/\x1b[2Jgone\n");
  const std::string out = Helo({"fds"}).out;
  EXPECT_THAT(out, AllOf(HasSubstr("\\x1b[2Jgone\\x0a"), Not(HasSubstr("\x1b"))));
}

TEST_F(ToolFds, ShowsQueuesCountersAndConnections) {
  pb::ListenerSocket listener;
  listener.mutable_listener()->set_local("0.0.0.0:4356");
  listener.mutable_listener()->set_backlog_asked(9000);
  listener.mutable_listener()->set_backlog_effective(4096);
  listener.set_what("peers");
  listener.set_accept_queue(12);
  listener.set_accept_limit(4096);
  listener.set_syn_queue(2);
  listener.set_syn_limit(1536);
  listener.set_drops(5);
  node_.answers.listeners.push_back(listener);
  node_.answers.network.set_time_wait(41);
  node_.answers.network.set_max_time_wait(131072);
  for (int i = 0; i < 5; ++i) AddConnection(20 + i);
  const ToolRun run = Helo({"sockets"});
  EXPECT_EQ(run.exit, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("4096, asked 9000"));
  EXPECT_THAT(run.out, HasSubstr("12 of 4096"));
  EXPECT_THAT(run.out, HasSubstr("2 of 1536"));
  EXPECT_THAT(run.out, HasSubstr("41 of 131072"));
  EXPECT_THAT(run.out, HasSubstr("this kernel does not tell"));  // the overflows
  EXPECT_THAT(run.out, HasSubstr("THIS NETWORK NAMESPACE"));
  EXPECT_THAT(run.out, AllOf(HasSubstr("aaaaaaaaaa"), HasSubstr("94.0us"), HasSubstr("1.5kB")));
  const json document = json::parse(Helo({"sockets", "--json"}).out);
  EXPECT_EQ(document["connections"].size(), 5u);
  EXPECT_EQ(document["listeners"].size(), 1u);
  EXPECT_EQ(document["listeners"][0]["drops"], 5);
  EXPECT_EQ(document["network"]["time_wait"], 41);
  EXPECT_TRUE(document["network"]["orphans"].is_null());
  EXPECT_FALSE(document.contains("next_page_token"));
}

TEST_F(ToolFds, ANodeThatListsInCirclesIsNotFollowed) {
  AddFd(0, "file", "x");
  AddConnection(20);
  node_.answers.circles = true;
  for (const char* command : {"fds", "sockets"}) {
    const ToolRun run = Helo({command});
    EXPECT_EQ(run.exit, 1);
    EXPECT_THAT(run.err, HasSubstr("in circles"));
  }
}

}  // namespace
}  // namespace helo
