// Whose each descriptor is, as the server says: by pool, direction, peer and stage, and by a cookie
// that outlives no socket.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>

#include "p2p/net/fd_table.h"
#include "p2p/net/socket.h"
#include "tests/unit/server/test_node.h"

namespace helo::testing {
namespace {

using Descriptors = std::vector<DescriptorSnapshot>;

Descriptors All(TestNode& node, const DescriptorQuery& query = {}) {
  std::promise<Descriptors> promise;
  node.server().FindDescriptors(query,
                                [&](Descriptors found) { promise.set_value(std::move(found)); });
  return promise.get_future().get();
}

const DescriptorSnapshot* Find(const Descriptors& all, const std::string& what) {
  const auto found = std::find_if(
      all.begin(), all.end(),
      [&](const DescriptorSnapshot& descriptor) { return descriptor.own.what == what; });
  return found == all.end() ? nullptr : &*found;
}

net::UniqueFd Knock(TestNode& node) {
  net::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage name{};
  const socklen_t size = node.at().ToSockaddr(name);
  EXPECT_EQ(::connect(fd.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&name), size), 0);
  return fd;
}

// Waits for as many descriptors of that use as given.
bool WaitFor(TestNode& node, const std::string& what, int count) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const Descriptors all = All(node);
    const auto n = std::count_if(all.begin(), all.end(),
                                 [&](const DescriptorSnapshot& d) { return d.own.what == what; });
    if (n == count) return true;
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
}

TEST(DescriptorsTest, LoopsListenerAndPeersAreNamedOnBothSides) {
  TestNode node({.loops = 2});
  TestNode other({.key = 2, .peers = {node.Address()}});
  ASSERT_TRUE(node.WaitUp(other.id()));
  ASSERT_TRUE(other.WaitUp(node.id()));
  const Descriptors all = All(node);
  for (const char* what : {"loop control: wakes it", "loop net-0: wakes it", "loop net-1: wakes it",
                           "loop net-1: epoll of sessions"}) {
    const DescriptorSnapshot* loop = Find(all, what);
    ASSERT_NE(loop, nullptr) << what;
    EXPECT_EQ(loop->own.pool, PoolKind::kFiles);
    EXPECT_EQ(loop->own.cookie, 0u);
  }
  const DescriptorSnapshot* listener = Find(all, "listens for peers");
  ASSERT_NE(listener, nullptr);
  EXPECT_EQ(listener->own.pool, PoolKind::kListener);
  EXPECT_EQ(net::ReadFd(listener->own.fd)->local, node.at());
  const DescriptorSnapshot* in = Find(all, "peer");
  ASSERT_NE(in, nullptr);
  EXPECT_EQ(in->peer, other.id());
  EXPECT_EQ(in->direction, Direction::kInbound);
  EXPECT_EQ(in->own.pool, PoolKind::kInbound);
  const Descriptors theirs = All(other);
  const DescriptorSnapshot* out = Find(theirs, "peer");
  ASSERT_NE(out, nullptr);
  EXPECT_EQ(out->peer, node.id());
  EXPECT_EQ(out->direction, Direction::kOutbound);
  EXPECT_EQ(out->own.pool, PoolKind::kOutbound);
  // The two ends of one connection, as the kernel has them.
  EXPECT_EQ(net::ReadFd(out->own.fd)->local, net::ReadFd(in->own.fd)->remote);
  EXPECT_EQ(net::SocketCookie(in->own.fd), in->own.cookie);
}

TEST(DescriptorsTest, ANumberThatWasReusedComesWithAnotherCookie) {
  TestNode node({});
  net::UniqueFd first = Knock(node);
  ASSERT_TRUE(WaitFor(node, "waits for its first byte", 1));
  const net::OwnFd before = Find(All(node), "waits for its first byte")->own;
  EXPECT_EQ(before.pool, PoolKind::kHandshake);
  first.Close();
  ASSERT_TRUE(WaitFor(node, "waits for its first byte", 0));
  const net::UniqueFd next = Knock(node);
  ASSERT_TRUE(WaitFor(node, "waits for its first byte", 1));
  const net::OwnFd after = Find(All(node), "waits for its first byte")->own;
  EXPECT_EQ(after.fd, before.fd) << "the number was not reused, the test shows nothing";
  EXPECT_NE(after.cookie, before.cookie);
  EXPECT_EQ(net::SocketCookie(after.fd), after.cookie);
}

TEST(DescriptorsTest, AQueryIsAnsweredByTheLowestNumbersOfItsRange) {
  TestNode node({.loops = 2});
  std::vector<net::UniqueFd> callers;
  for (int i = 0; i < 20; ++i) callers.push_back(Knock(node));
  ASSERT_TRUE(WaitFor(node, "waits for its first byte", 20));
  const Descriptors all = All(node);
  std::vector<int> numbers;
  for (const DescriptorSnapshot& descriptor : all) numbers.push_back(descriptor.own.fd);
  ASSERT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  ASSERT_GE(numbers.size(), 20u + 1 + 3 * net::EventLoop::kDescriptors);
  // In pages, the same.
  std::vector<int> paged;
  for (DescriptorQuery query{.after = -1, .most = 7};;) {
    const Descriptors page = All(node, query);
    EXPECT_LE(page.size(), 7u);
    for (const DescriptorSnapshot& descriptor : page) paged.push_back(descriptor.own.fd);
    if (page.size() < 7) break;
    query.after = page.back().own.fd;
  }
  EXPECT_EQ(paged, numbers);
  const Descriptors some = All(node, {.after = numbers[3], .last = numbers[9]});
  ASSERT_EQ(some.size(), 6u);
  EXPECT_EQ(some.front().own.fd, numbers[4]);
  EXPECT_EQ(some.back().own.fd, numbers[9]);
}

TEST(DescriptorsTest, AStoppedServerHoldsNothing) {
  TestNode node({});
  node.server().Stop();
  EXPECT_TRUE(All(node).empty());
}

}  // namespace
}  // namespace helo::testing
