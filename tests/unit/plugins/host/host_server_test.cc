// The host under real servers: a plugin that is loaded later speaks with peers that were there
// before, over TLS, and leaves them connected when it goes.
#include "plugins/host/plugin_host.h"
#include "tests/plugins/probe.h"
#include "tests/unit/plugins/host/scratch.h"
#include "tests/unit/server/test_node.h"

namespace helo::testing {
namespace {

// A node that has plugins.
struct PluginNode {
  explicit PluginNode(uint8_t key, std::vector<std::string> peers = {}, int loops = 1) {
    plugins::HostOptions options;
    options.plugin_dir = scratch.dir();
    options.private_dir = scratch.copies();
    scratch.Put("probe");
    host = std::make_unique<plugins::PluginHost>(
        options, plugins::HostDeps{&RealClock(), &log, nullptr, nullptr});
    node = std::make_unique<TestNode>(TestNode::Setup{
        .key = key, .peers = std::move(peers), .loops = loops, .handlers = {host.get()}});
  }
  ~PluginNode() {
    node.reset();
    host.reset();
  }
  absl::Status Load() { return host->Load("probe", probe.Config()); }
  helo_status Send(helo_session session, uint32_t type, std::string_view text) {
    return probe.host->send(probe.host->ctx, session, type,
                            {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }

  Scratch scratch;
  CapturingLog log;
  Probe probe;
  std::unique_ptr<plugins::PluginHost> host;
  std::unique_ptr<TestNode> node;
};

TEST(HostServer, APluginLoadedLaterTalksWithThePeersThatAreThere) {
  PluginNode a(1, {}, 2);
  PluginNode b(2, {a.node->Address()});
  PluginNode c(3, {a.node->Address()});
  ASSERT_TRUE(a.node->WaitUp(b.node->id()) && a.node->WaitUp(c.node->id()));
  ASSERT_TRUE(b.node->WaitUp(a.node->id()) && c.node->WaitUp(a.node->id()));
  a.probe.on_message = [&](helo_session s, uint32_t type, std::string_view text) -> helo_verdict {
    EXPECT_EQ(a.Send(s, type + 1, text), HELO_OK);
    return HELO_V_OK;
  };
  std::atomic<helo_session> session{0};
  b.probe.on_open = [&](helo_session s) {
    session = s;
    b.probe.Note("ready");
  };
  ASSERT_TRUE(b.Load().ok());
  ASSERT_TRUE(c.Load().ok());
  EXPECT_EQ(b.probe.Count("open"), 0u);  // a does not have it yet
  ASSERT_TRUE(a.Load().ok());
  ASSERT_TRUE(a.probe.WaitFor("open", 2));
  ASSERT_TRUE(b.probe.WaitFor("ready"));
  for (int i = 0; i < 1000; ++i) {
    helo_status sent = HELO_E_AGAIN;
    while ((sent = b.Send(session, 0, std::to_string(i))) == HELO_E_AGAIN)
      ASSERT_TRUE(b.probe.WaitFor("writable"));
    ASSERT_EQ(sent, HELO_OK);
  }
  ASSERT_TRUE(b.probe.WaitFor("message", 1000));
  int next = 0;
  for (const std::string& line : b.probe.lines()) {
    if (line.rfind("message", 0) != 0) continue;
    EXPECT_EQ(line, "message " + std::to_string(session) + " 1 " + std::to_string(next++));
  }
  // Unloaded there, closed here, and nobody is disconnected.
  auto unloaded = a.host->Unload("probe", std::chrono::seconds(1));
  ASSERT_TRUE(unloaded.ok()) << unloaded.status();
  EXPECT_EQ(a.probe.Count("close"), 2u);
  EXPECT_TRUE(b.probe.WaitFor("close " + std::to_string(session) + " 45"));
  EXPECT_TRUE(c.probe.WaitFor("close"));
  EXPECT_TRUE(a.node->Lists(b.node->id()) && a.node->Lists(c.node->id()));
  // And again, without reconnecting.
  a.probe.Clear();
  ASSERT_TRUE(a.Load().ok());
  EXPECT_TRUE(a.probe.WaitFor("open", 2));
  EXPECT_TRUE(b.probe.WaitFor("open", 2));
  // A fault closes them too, with no blame.
  a.probe.host->fault(a.probe.host->ctx, {"enough", 6});
  EXPECT_TRUE(b.probe.WaitFor("close", 2));
  EXPECT_TRUE(a.node->Lists(b.node->id()));
  EXPECT_EQ(a.node->History().size(), 2u);  // the same two connections since the beginning
}

TEST(HostServer, ASlowPluginsPeerIsPausedAndLosesNothing) {
  PluginNode a(1);
  PluginNode b(2, {a.node->Address()});
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  a.probe.quiet = true;
  size_t got = 0;
  constexpr size_t kMessages = 20'000;
  a.probe.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    released.wait();
    if (++got == kMessages) a.probe.Note("all");
    return HELO_V_OK;
  };
  std::atomic<helo_session> session{0};
  b.probe.on_open = [&](helo_session s) {
    session = s;
    b.probe.Note("ready");
  };
  ASSERT_TRUE(a.Load().ok());
  ASSERT_TRUE(b.Load().ok());
  ASSERT_TRUE(b.probe.WaitFor("ready"));
  const auto paused = [&] { return a.host->List().at(0).counters.pauses > 0; };
  const std::string text(1000, 'x');
  size_t writable = 0;
  bool blocked = true;
  for (size_t i = 0; i < kMessages; ++i) {
    helo_status sent = HELO_E_AGAIN;
    while ((sent = b.Send(session, 0, text)) == HELO_E_AGAIN) {
      ++writable;
      // It comes by itself while a still reads, and once a is let go.
      while (blocked && b.probe.Count("writable") < writable) {
        if (!paused()) continue;
        release.set_value();
        blocked = false;
      }
      ASSERT_TRUE(b.probe.WaitFor("writable", writable));
    }
    ASSERT_EQ(sent, HELO_OK);
  }
  EXPECT_FALSE(blocked);
  EXPECT_TRUE(a.probe.WaitFor("all"));
  EXPECT_EQ(a.host->List().at(0).counters.dropped, 0u);
}

}  // namespace
}  // namespace helo::testing
