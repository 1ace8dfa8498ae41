// The host under real servers: a plugin that is loaded later speaks with peers that were there
// before, over TLS, and leaves them connected when it goes.
#include <atomic>
#include <filesystem>
#include <iterator>

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

TEST(HostServer, WhatAPluginSaidIsNotHeldBackByACallThatTakesLong) {
  PluginNode a(1);
  PluginNode b(2, {a.node->Address()});
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  int got = 0;
  a.probe.quiet = true;
  // Answers quickly, in a row; and from the middle of a row it does not come back.
  a.probe.on_message = [&](helo_session s, uint32_t, std::string_view text) -> helo_verdict {
    EXPECT_EQ(a.Send(s, 1, text), HELO_OK);
    if (++got == 150) released.wait();
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
  for (int i = 0; i < 200; ++i) ASSERT_EQ(b.Send(session, 0, std::to_string(i)), HELO_OK);
  EXPECT_TRUE(b.probe.WaitFor("message", 150));
  release.set_value();
  EXPECT_TRUE(b.probe.WaitFor("message", 200));
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

// A thousand lives beside peers that are connected all the while and talk whenever they can. A
// connection takes 64 changes of offers in a minute (WIRE 7), so the peer is another one every 20
// lives.
TEST(HostServer, AThousandLivesBesideLivePeers) {
  constexpr int kPeers = 50;
  constexpr int kLives = 20;  // of each peer
  PluginNode a(1);
  a.probe.quiet = true;
  std::atomic<uint64_t> answered{0};
  a.probe.on_message = [&](helo_session s, uint32_t type, std::string_view text) -> helo_verdict {
    if (a.Send(s, type, text) == HELO_OK) answered.fetch_add(1);
    return HELO_V_OK;
  };
  ASSERT_TRUE(a.Load().ok());  // what the first one brings stays
  ASSERT_TRUE(a.host->Unload("probe", std::chrono::seconds(1)).ok());
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  std::ptrdiff_t before = 0;
  for (int peer = 0; peer < kPeers; ++peer) {
    PluginNode b(2, {a.node->Address()});
    b.probe.quiet = true;
    b.probe.on_open = [&](helo_session s) {
      for (int i = 0; i < 20; ++i) b.Send(s, 0, std::string(100, 'x'));
    };
    b.probe.on_message = [&](helo_session s, uint32_t type, std::string_view text) -> helo_verdict {
      b.Send(s, type, text);
      return HELO_V_OK;
    };
    ASSERT_TRUE(b.Load().ok());
    ASSERT_TRUE(a.node->WaitUp(b.node->id()));
    if (peer == 0) before = descriptors();
    for (int life = 0; life < kLives; ++life) {
      const absl::Status loaded = a.Load();
      ASSERT_TRUE(loaded.ok()) << peer << "." << life << ": " << loaded;
      ASSERT_TRUE(a.probe.WaitFor("open")) << peer << "." << life;
      ASSERT_TRUE(b.probe.WaitFor("open")) << peer << "." << life;
      const auto unloaded = a.host->Unload("probe", std::chrono::milliseconds(life % 4));
      ASSERT_TRUE(unloaded.ok()) << peer << "." << life << ": " << unloaded.status();
      EXPECT_TRUE(unloaded->unmapped) << unloaded->note;
      EXPECT_EQ(a.probe.Count("open"), a.probe.Count("close")) << peer << "." << life;
      EXPECT_EQ(a.probe.Count("create"), a.probe.Count("destroy"));
      EXPECT_TRUE(b.probe.WaitFor("close")) << peer << "." << life;
      EXPECT_EQ(b.probe.Count("open"), b.probe.Count("close"));
      a.probe.Clear();
      b.probe.Clear();
    }
    EXPECT_TRUE(a.node->Lists(b.node->id())) << "it was connected all the while";
    if (peer + 1 == kPeers) {
      EXPECT_EQ(descriptors(), before);
    }
  }
  EXPECT_GT(answered.load(), 0U);
}

}  // namespace
}  // namespace helo::testing
