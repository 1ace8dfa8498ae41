// The fake host keeps the rules of helo/plugin.h itself, and notices who does not.
#include "helo/testing/fake_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "helo/bytes.hpp"
#include "helo/plugin.hpp"

namespace {

using helo::testing::FakeHost;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A plugin that runs what the test gives it, and writes down what it is called with.
struct Script {
  std::function<void(const helo::Host&)> start = [](const helo::Host&) {};
  std::function<void(const helo::Host&, helo::Session, helo::Bytes)> message =
      [](const helo::Host&, helo::Session, helo::Bytes) {};
  std::function<void(const helo::Host&, helo::Session)> close = [](const helo::Host&,
                                                                   helo::Session) {};
  std::vector<std::string> seen;
  std::vector<std::thread::id> threads;
} * g_script;

class Puppet final : public helo::Plugin {
 public:
  static constexpr helo::About kAbout = {"org.example.puppet", "1.0.0", "runs a script"};
  static constexpr helo_protocol kProtocols[] = {helo::Protocol("puppet", 1, 4, 1000)};
  static constexpr helo_command kCommands[] = {helo::Command("forget", "", "never answers"),
                                               helo::Command("twice", "", "answers twice")};
  using Plugin::Plugin;
  void OnStart() override { g_script->start(host()); }
  void OnOpen(helo::Session s, const helo::SessionInfo&) override { Saw("open", s); }
  helo::Verdict OnMessage(helo::Session s, uint32_t, helo::Bytes payload) override {
    Saw("message", s);
    g_script->message(host(), s, payload);
    return helo::Verdict::kOk;
  }
  void OnWritable(helo::Session s) override { Saw("writable", s); }
  void OnPosted(uint64_t token) override { Saw("posted", token); }
  void OnTimer(uint64_t token) override { Saw("timer", token); }
  void OnCommand(const helo::Call& call, uint32_t command, helo::Arguments) override {
    if (command == 1) call.Answer("one"), call.Answer("two");
  }
  void OnClose(helo::Session s, int32_t) override {
    Saw("close", s);
    g_script->close(host(), s);
  }
  void OnStop() override { Saw("stop", 0); }

 private:
  void Saw(const char* what, uint64_t number) {
    g_script->seen.push_back(what + (" " + std::to_string(number)));
    g_script->threads.push_back(std::this_thread::get_id());
  }
};

class FakeHostTest : public ::testing::Test {
 protected:
  FakeHostTest() { g_script = &script_; }
  ~FakeHostTest() override {
    script_.close = [](const helo::Host&, helo::Session) {};  // the test's variables are gone
    host_.reset();
    g_script = nullptr;
  }
  FakeHost& Start(FakeHost::Options options = {}) {
    host_ = std::make_unique<FakeHost>(&helo::kDescriptor<Puppet>, std::move(options));
    EXPECT_TRUE(host_->Run());
    return *host_;
  }

  Script script_;
  std::unique_ptr<FakeHost> host_;
};

TEST_F(FakeHostTest, EveryOpenHasExactlyOneCloseAndThenStops) {
  FakeHost& host = Start();
  const helo::Session one = host.Open(), two = host.Open();
  host.Close(one);
  host.Close(one);
  host.Message(one, 0, "late");
  host.Stop();
  host.Stop();
  EXPECT_THAT(script_.seen, ElementsAre("open 1", "open 2", "close 1", "close 2", "stop 0"));
  EXPECT_EQ(host.closed()[1].session, two);
  EXPECT_THAT(host.violations(), IsEmpty());
}

TEST_F(FakeHostTest, ASendToWhatIsClosedIsGone) {
  FakeHost& host = Start();
  std::vector<helo_status> got;
  script_.message = [&](const helo::Host& h, helo::Session s, helo::Bytes) {
    got.push_back(h.Send(s, 1, {}));
    h.Disconnect(s, std::string(300, 'w'));
    got.push_back(h.Send(s, 1, {}));
    got.push_back(h.Send(77, 1, {}));
  };
  script_.close = [&](const helo::Host& h, helo::Session s) { got.push_back(h.Send(s, 1, {})); };
  host.Message(host.Open(), 0, "");
  EXPECT_THAT(got, ElementsAre(HELO_OK, HELO_E_GONE, HELO_E_GONE, HELO_E_GONE));
  EXPECT_EQ(host.closed()[0].why.size(), 256u) << "the rest is cut";
  host.Stop();
  EXPECT_THAT(host.violations(), IsEmpty());
}

TEST_F(FakeHostTest, WhileDrainingOnlyLogWorks) {
  FakeHost& host = Start();
  std::vector<helo_status> got;
  script_.close = [&](const helo::Host& h, helo::Session s) {
    got = {h.Send(s, 0, {}), h.Post(1), h.SetTimer(1, std::chrono::seconds(1)),
           h.Disconnect(s, "")};
    h.Info("still heard");
  };
  host.Open();
  host.Stop();
  EXPECT_THAT(got, ElementsAre(HELO_E_STOPPING, HELO_E_STOPPING, HELO_E_STOPPING, HELO_E_STOPPING));
  EXPECT_EQ(host.logs().size(), 1u);
}

TEST_F(FakeHostTest, SaysAgainWhenAPeerDoesNotReadAndThenWritable) {
  FakeHost& host = Start({.quota_bytes = 1500});
  std::vector<helo_status> got;
  script_.message = [&](const helo::Host& h, helo::Session s, helo::Bytes b) {
    got.push_back(h.Send(s, 1, b));
  };
  const helo::Session peer = host.Open();
  host.Message(peer, 0, std::string(1000, 'a'));
  host.Message(peer, 0, std::string(1000, 'b'));
  EXPECT_EQ(host.TakeSent(peer).size(), 1u);
  EXPECT_EQ(script_.seen.back(), "writable 1");
  host.Block(peer);
  host.Message(peer, 0, "c");
  EXPECT_THAT(host.TakeSent(peer), IsEmpty());
  host.Unblock(peer);
  host.Unblock(peer);
  EXPECT_THAT(got, ElementsAre(HELO_OK, HELO_E_AGAIN, HELO_E_AGAIN));
  EXPECT_EQ(std::count(script_.seen.begin(), script_.seen.end(), "writable 1"), 2);
}

TEST_F(FakeHostTest, RefusesWhatBreaksTheHeader) {
  FakeHost& host = Start();
  std::vector<helo_status> got;
  script_.message = [&](const helo::Host& h, helo::Session s, helo::Bytes) {
    got = {h.Send(s, 4, {}), h.Send(0, 0, {}),
           h.c()->send(h.c()->ctx, s, 0, helo_bytes{nullptr, 5}),
           h.Send(s, 0, helo::AsBytes(std::string(1001, 'x')))};
  };
  host.Message(host.Open(), 0, "");
  EXPECT_THAT(got, ElementsAre(HELO_E_INVALID, HELO_E_INVALID, HELO_E_INVALID, HELO_E_TOO_BIG));
  EXPECT_THAT(host.violations(), ElementsAre(HasSubstr("of a type"), HasSubstr("session 0"),
                                             HasSubstr("NULL with a size")));
}

TEST_F(FakeHostTest, TimersFireInTheirOrderAndOnce) {
  FakeHost& host = Start();
  script_.message = [](const helo::Host& h, helo::Session, helo::Bytes) {
    h.SetTimer(3, std::chrono::seconds(3));
    h.SetTimer(1, std::chrono::seconds(1));
    h.SetTimer(2, std::chrono::seconds(1));
    h.SetTimer(4, std::chrono::seconds(1));
    EXPECT_EQ(h.CancelTimer(4), HELO_OK);
    EXPECT_EQ(h.CancelTimer(4), HELO_E_GONE);
    h.SetTimer(3, std::chrono::seconds(2));
  };
  host.Message(host.Open(), 0, "");
  host.Advance(std::chrono::seconds(10));
  EXPECT_THAT(script_.seen, ElementsAre("open 1", "message 1", "timer 1", "timer 2", "timer 3"));
  EXPECT_EQ(host.timers(), 0u);
}

TEST_F(FakeHostTest, ACallWithinACallIsNoticed) {
  FakeHost& host = Start();
  script_.message = [&](const helo::Host&, helo::Session s, helo::Bytes) {
    host.Close(s), host.Open();
  };
  host.Message(host.Open(), 0, "");
  EXPECT_THAT(host.violations(),
              ElementsAre(HasSubstr("on_open was called while on_message runs")));
}

TEST_F(FakeHostTest, ACallFromAnotherThreadMeanwhileIsNoticed) {
  FakeHost& host = Start();
  script_.message = [&](const helo::Host&, helo::Session s, helo::Bytes) {
    std::thread([&] { host.Message(s, 1, "too"); }).join();
  };
  host.Message(host.Open(), 0, "");
  EXPECT_THAT(host.violations(), ElementsAre(HasSubstr("on_message was called while on_message")));
  EXPECT_EQ(std::count(script_.seen.begin(), script_.seen.end(), "message 1"), 1);
}

TEST_F(FakeHostTest, CommandsNeverOrTwiceAnsweredAreNoticed) {
  FakeHost& host = Start();
  host.BeginCommand("forget");
  EXPECT_EQ(host.Command("twice").text, "one");
  host.Stop();
  EXPECT_THAT(host.violations(), ElementsAre(HasSubstr("twice was answered twice"),
                                             HasSubstr("forget was never answered")));
}

TEST_F(FakeHostTest, TakesPostsAndSendsFromThreadsOfThePlugin) {
  std::vector<std::thread> threads;
  helo::Session peer = 0;
  script_.message = [&](const helo::Host& h, helo::Session s, helo::Bytes b) {
    for (const uint8_t i : std::vector<uint8_t>(b.begin(), b.end())) {
      threads.emplace_back([h, s, i] {
        EXPECT_EQ(h.Send(s, 1, {&i, 1}), HELO_OK);
        h.Post(i);
      });
    }
  };
  FakeHost& host = Start();
  peer = host.Open();
  host.Message(peer, 0, "abcdefgh");
  size_t posted = 0;
  while (posted < 8) posted += host.WaitPosted(std::chrono::seconds(10));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(host.TakeSent(peer).size(), 8u);
  EXPECT_THAT(host.violations(), IsEmpty());
}

TEST_F(FakeHostTest, MayCallFromAnotherThreadOfTheSystemEachTime) {
  FakeHost& host = Start({.rotate_threads = true});
  host.Message(host.Open(), 0, "");
  for (const std::thread::id id : script_.threads) EXPECT_NE(id, std::this_thread::get_id());
}

#if defined(__SANITIZE_ADDRESS__)
TEST_F(FakeHostTest, AKeptPointerIsFoundByAddressSanitizer) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  FakeHost& host = Start();
  helo::Bytes kept;
  script_.message = [&](const helo::Host&, helo::Session, helo::Bytes b) { kept = b; };
  host.Message(host.Open(), 0, "hello");
  EXPECT_DEATH(EXPECT_NE(kept[0], 0), "heap-use-after-free");
}
TEST_F(FakeHostTest, AReadBeyondTheMessageIsFoundByAddressSanitizer) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  FakeHost& host = Start();
  script_.message = [&](const helo::Host&, helo::Session, helo::Bytes b) {
    EXPECT_NE(b.data()[b.size()], 0);
  };
  const helo::Session peer = host.Open();
  EXPECT_DEATH(host.Message(peer, 0, "hello"), "heap-buffer-overflow");
}
#endif

TEST_F(FakeHostTest, ADescriptorThatBreaksARuleIsRefusedInWords) {
  helo_descriptor bad = helo::kDescriptor<Puppet>;
  bad.abi_major = 2;
  FakeHost wrong(&bad);
  EXPECT_FALSE(wrong.Run());
  EXPECT_THAT(wrong.violations(), ElementsAre("abi_major is 2"));

  bad = helo::kDescriptor<Puppet>;
  const helo_protocol upper = {sizeof(upper), 0, "Echo", 0, 17u << 20};
  const helo_protocol* const protocols[] = {&upper};
  bad.protocols = protocols;
  FakeHost rules(&bad);
  EXPECT_FALSE(rules.Run());
  EXPECT_EQ(rules.violations().size(), 4u);

  FakeHost none(nullptr);
  EXPECT_FALSE(none.Run());
}

TEST_F(FakeHostTest, APluginOfAnOlderSmallerLayoutRuns) {
  helo_descriptor old = helo::kDescriptor<Puppet>;
  old.struct_size = offsetof(helo_descriptor, get_extension);
  old.get_extension = [](helo_plugin*, const char*) -> const void* { std::abort(); };
  FakeHost host(&old);
  ASSERT_TRUE(host.Run());
  host.Message(host.Open(), 0, "");
  EXPECT_TRUE(host.Command("twice").failed) << "it has no commands";
  host.Stop();
  EXPECT_THAT(host.violations(), IsEmpty());
}

TEST_F(FakeHostTest, AnUnknownVerdictIsAFault) {
  helo_descriptor bad = helo::kDescriptor<Puppet>;
  bad.on_message = [](helo_plugin*, helo_session, uint32_t, helo_bytes) -> helo_verdict {
    return 9;
  };
  FakeHost host(&bad);
  ASSERT_TRUE(host.Run());
  host.Message(host.Open(), 0, "");
  EXPECT_EQ(host.faults().size(), 1u);
  EXPECT_EQ(host.closed()[0].reason, HELO_REASON_PLUGIN_GONE);
}

}  // namespace
