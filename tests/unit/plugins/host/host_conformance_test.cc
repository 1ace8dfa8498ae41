// The contract of helo/plugin.h and helo/extensions.h, over the real host.
#include "tests/unit/plugins/host/world.h"

namespace helo::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class HostConformance : public World {};

TEST_F(HostConformance, ALifeInOrder) {
  Begin();
  const SessionId s = net_->OpenOne("probe", 1, 2);
  net_->Deliver(s, 3, "hello");
  net_->Deliver(s, 0, "");
  net_->Writable(s);
  net_->CloseOne(s, 21);
  ASSERT_TRUE(probe_.WaitFor("close"));
  auto unloaded = host_->Unload("probe", std::chrono::seconds(1));
  ASSERT_TRUE(unloaded.ok()) << unloaded.status();
  EXPECT_TRUE(unloaded->unmapped) << unloaded->note;
  EXPECT_THAT(probe_.lines(),
              ElementsAre("create 1.0.0", "start", "open 1 1 192.0.2.7:4356", "message 1 3 hello",
                          "message 1 0 ", "writable 1", "close 1 21", "stop", "destroy"));
  EXPECT_THAT(host_->List(), IsEmpty());
  EXPECT_TRUE(net_->WaitWithdrawn("probe"));
}

TEST_F(HostConformance, IsListedWithAllThatItSaysOfItself) {
  Begin();
  const SessionId s = net_->OpenOne("probe");
  net_->Deliver(s, 0, "12345");
  ASSERT_TRUE(probe_.WaitFor("message"));
  ASSERT_TRUE(WaitStatus([](const PluginStatus& p) { return p.counters.messages_in == 1; }));
  EXPECT_EQ(Send(s, 1, "123"), HELO_OK);
  const PluginStatus p = Status();
  EXPECT_EQ(p.id, "com.example.probe");
  EXPECT_EQ(p.version, "1.0.0");
  EXPECT_EQ(p.description, "does what its test says");
  EXPECT_EQ(p.state, State::kRunning);
  EXPECT_EQ(p.sessions, 1u);
  EXPECT_EQ(p.protocols.size(), 2u);
  ASSERT_EQ(p.commands.size(), 2u);
  EXPECT_EQ(p.commands[0].name, "say");
  EXPECT_EQ(p.counters.bytes_in, 5u);
  EXPECT_EQ(p.counters.messages_out, 1u);
  EXPECT_EQ(p.counters.bytes_out, 3u);
  EXPECT_GT(p.counters.longest.count(), 0);
  EXPECT_TRUE(p.unloadable);
  EXPECT_EQ(p.hash.size(), 64u);
  EXPECT_EQ(p.file, scratch_.File("probe"));
}

TEST_F(HostConformance, SendAnswersEachCaseWithItsStatus) {
  Begin();
  const SessionId s = net_->OpenOne("probe");
  ASSERT_TRUE(probe_.WaitFor("open"));
  EXPECT_EQ(Send(s, 0, "payload"), HELO_OK);
  EXPECT_EQ(Send(s, 4, ""), HELO_E_INVALID);
  EXPECT_EQ(Send(s, 65536, ""), HELO_E_INVALID);
  EXPECT_EQ(probe_.host->send(probe_.host->ctx, s, 0, {nullptr, 1}), HELO_E_INVALID);
  EXPECT_EQ(probe_.host->send(probe_.host->ctx, s, 0, {nullptr, 0}), HELO_OK);
  EXPECT_EQ(Send(s, 0, std::string(65537, 'x')), HELO_E_TOO_BIG);
  EXPECT_EQ(Send(s + 1, 0, ""), HELO_E_GONE);
  net_->SetFull(true);
  EXPECT_EQ(Send(s, 0, ""), HELO_E_AGAIN);
  net_->SetFull(false);
  net_->Writable(s);
  EXPECT_TRUE(probe_.WaitFor(Of("writable", s)));
  net_->CloseOne(s, 1);
  EXPECT_EQ(Send(s, 0, ""), HELO_E_GONE);
  EXPECT_EQ(Status().counters.refused, 1u);
  EXPECT_EQ(net_->sent().size(), 2u);
}

TEST_F(HostConformance, OnePluginCannotTouchAnothersSessions) {
  Begin();
  Probe other;
  scratch_.Put("keeper");
  ASSERT_TRUE(host_->Load("keeper", other.Config()).ok());
  const SessionId theirs = net_->OpenOne("keeper");
  ASSERT_TRUE(other.WaitFor("open"));
  EXPECT_EQ(Send(theirs, 0, ""), HELO_E_GONE);
  EXPECT_EQ(Disconnect(theirs, 1, ""), HELO_E_GONE);
  EXPECT_TRUE(host_->Unload("keeper", std::chrono::seconds(1)).ok());
  EXPECT_TRUE(other.WaitFor("thread 5"));  // its own thread was told STOPPING
}

TEST_F(HostConformance, VerdictsAndDisconnectsCloseThePeer) {
  probe_.on_message = [](helo_session, uint32_t type, std::string_view) {
    return static_cast<helo_verdict>(type);
  };
  Begin(8);  // so many peers that one penalty says nothing of the plugin
  const SessionId bad = net_->OpenOne("probe", 20);
  const SessionId polite = net_->OpenOne("probe", 21);
  const SessionId third = net_->OpenOne("probe", 22);
  net_->Deliver(bad, HELO_V_PENALISE, "");
  net_->Deliver(polite, HELO_V_DISCONNECT, "");
  EXPECT_TRUE(net_->WaitClosed(bad));
  EXPECT_TRUE(net_->WaitClosed(polite));
  EXPECT_EQ(net_->disconnected(bad).first, Reason::kPluginViolation);
  EXPECT_EQ(net_->disconnected(polite).first, Reason::kPluginPolite);
  EXPECT_EQ(Disconnect(third, 2, ""), HELO_E_INVALID);
  EXPECT_EQ(Disconnect(third, 0, std::string(300, 'w')), HELO_OK);
  EXPECT_TRUE(net_->WaitClosed(third));
  EXPECT_EQ(net_->disconnected(third).second, std::string(256, 'w'));
  EXPECT_TRUE(probe_.WaitFor(Of("close", third)));
  EXPECT_EQ(Disconnect(third, 0, ""), HELO_E_GONE);
  EXPECT_EQ(Status().counters.penalties, 1u);
  End();
  ExpectEachOpenClosedOnce();
}

TEST_F(HostConformance, NothingOfASessionFollowsItsVerdict) {
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    release_.Wait();
    return HELO_V_DISCONNECT;
  };
  Begin();
  const SessionId s = net_->OpenOne("probe");
  for (int i = 0; i < 5; ++i) net_->Deliver(s, 0, "m");
  release_.Set();
  EXPECT_TRUE(probe_.WaitFor("close"));
  EXPECT_EQ(probe_.Count("message"), 1u);
  EXPECT_EQ(Status().counters.dropped, 4u);
}

TEST_F(HostConformance, MessagesOfAllSizesArriveWholeAndInOrder) {
  std::vector<size_t> sizes;
  Mutex mutex;
  probe_.quiet = true;
  probe_.on_message = [&](helo_session, uint32_t, std::string_view text) -> helo_verdict {
    for (const char c : text) EXPECT_EQ(c, static_cast<char>(text.size() % 101));
    MutexLock lock(mutex);
    sizes.push_back(text.size());
    if (sizes.size() == 400) probe_.Note("all");
    return HELO_V_OK;
  };
  limits_.session_messages = 10000;
  limits_.session_bytes = size_t{1} << 30;
  Begin();
  const SessionId s = net_->OpenOne("probe");
  std::vector<size_t> expected;
  net_->Run([&] {
    for (size_t i = 0; i < 400; ++i) {
      const size_t size = i % 50 == 49 ? 200000 + i : i * 37 % 5000;
      expected.push_back(size);
      host_->OnMessage(s, 0, Bytes(size, static_cast<uint8_t>(size % 101)));
    }
  });
  ASSERT_TRUE(probe_.WaitFor("all"));
  MutexLock lock(mutex);
  EXPECT_EQ(sizes, expected);
}

TEST_F(HostConformance, PostsComeBackInOrderAndAreBounded) {
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    probe_.Note("blocked");
    release_.Wait();
    return HELO_V_OK;
  };
  Begin();
  const SessionId s = net_->OpenOne("probe");
  net_->Deliver(s, 0, "");
  ASSERT_TRUE(probe_.WaitFor("blocked"));
  for (uint64_t i = 0; i < 65536; ++i) ASSERT_EQ(probe_.host->post(probe_.host->ctx, i), HELO_OK);
  EXPECT_EQ(probe_.host->post(probe_.host->ctx, 0), HELO_E_AGAIN);
  release_.Set();
  ASSERT_TRUE(probe_.WaitFor("posted 65535"));
  uint64_t next = 0;
  for (const std::string& line : probe_.lines()) {
    if (line.rfind("posted", 0) == 0) {
      EXPECT_EQ(line, Of("posted", next++));
    }
  }
  EXPECT_EQ(next, 65536u);
}

TEST_F(HostConformance, TimersFireInOrderMoveAndAreCancelled) {
  probe_.on_create = [&]() -> helo_status {
    EXPECT_EQ(probe_.timer->set(probe_.host->ctx, 1, 0), HELO_E_INVALID);  // not before start
    return HELO_OK;
  };
  probe_.on_start = [&]() -> helo_status {
    const auto set = [&](uint64_t token, uint64_t ms) {
      EXPECT_EQ(probe_.timer->set(probe_.host->ctx, token, ms * 1000000), HELO_OK);
    };
    set(1, 30);
    set(2, 10);
    set(3, 20);
    set(4, 5);
    set(1, 1);                     // moved to the front
    set(5, UINT64_MAX / 1000000);  // never
    EXPECT_EQ(probe_.timer->cancel(probe_.host->ctx, 4), HELO_OK);
    EXPECT_EQ(probe_.timer->cancel(probe_.host->ctx, 4), HELO_E_GONE);
    return HELO_OK;
  };
  Begin();
  ASSERT_TRUE(probe_.WaitFor("timer", 3));
  EXPECT_THAT(probe_.lines(),
              ElementsAre("create 1.0.0", "start", "timer 1", "timer 2", "timer 3"));
  // From another thread it wakes the plugin's.
  EXPECT_EQ(probe_.timer->set(probe_.host->ctx, 9, 1000), HELO_OK);
  EXPECT_TRUE(probe_.WaitFor("timer 9"));
  EXPECT_EQ(Status().timers, 1u);
  for (uint64_t i = 0; i < 4095; ++i)
    ASSERT_EQ(probe_.timer->set(probe_.host->ctx, 1000 + i, uint64_t{1} << 50), HELO_OK);
  EXPECT_EQ(probe_.timer->set(probe_.host->ctx, 999, 1), HELO_E_AGAIN);
  EXPECT_GT(probe_.timer->now_ns(probe_.host->ctx), 0u);
  ASSERT_TRUE(host_->Unload("probe", std::chrono::seconds(1)).ok());
  EXPECT_EQ(probe_.Count("timer"), 4u);
}

TEST_F(HostConformance, CommandsAreAnsweredOnce) {
  std::atomic<uint64_t> owed{0};
  probe_.on_command = [&](uint64_t call, uint32_t command, std::vector<std::string> args) {
    if (command == 1) {
      owed = call;
      probe_.Note("owed");
      return;
    }
    const auto answer = [&](int failed, const std::string& text) {
      return probe_.command->answer(probe_.host->ctx, call, failed, {text.data(), text.size()});
    };
    EXPECT_EQ(answer(0, std::string(HELO_MAX_ANSWER_BYTES + 1, 'x')), HELO_E_TOO_BIG);
    EXPECT_EQ(answer(args.empty() ? 1 : 0, args.empty() ? "say what?" : args[0]), HELO_OK);
    EXPECT_EQ(answer(0, "twice"), HELO_E_GONE);
  };
  Begin();
  EXPECT_EQ(Call("say", {"hello", "x"}), "hello");
  EXPECT_EQ(Call("say"), "failed: say what?");
  EXPECT_EQ(Call("sing"), "the plugin probe has no command sing; it has say, count");
  EXPECT_THAT(Call("say", std::vector<std::string>(65)), HasSubstr("at most 64 of together 1 MiB"));
  // Nobody waits any more.
  EXPECT_EQ(Call("count", {}, std::chrono::milliseconds(1)),
            "the plugin probe has not answered in time");
  if (probe_.Count("owed") > 0) {
    EXPECT_EQ(probe_.command->answer(probe_.host->ctx, owed, 0, {"late", 4}), HELO_E_GONE);
  }
  // One that is owed when it stops is answered by the host.
  auto unanswered = std::async(std::launch::async, [&] { return Call("count"); });
  const uint64_t before = probe_.Count("owed");
  ASSERT_TRUE(WaitStatus([](const PluginStatus& s) { return s.counters.calls == 4; }));
  static_cast<void>(before);
  ASSERT_TRUE(host_->Unload("probe", std::chrono::seconds(1)).ok());
  EXPECT_EQ(unanswered.get(), "the plugin probe has stopped");
}

struct Visited {
  std::vector<std::string> lines;
  size_t most = 100;
};

TEST_F(HostConformance, ListsItsSessionsAndAllPeers) {
  ask_peers_ = [](std::function<void(plugins::Peers)> done) {
    auto peers = std::make_shared<std::vector<plugins::Peer>>(2);
    (*peers)[0].address = "192.0.2.1:1";
    (*peers)[0].agent = "helo/1";
    (*peers)[1].address = "192.0.2.2:2";
    (*peers)[1].inbound = true;
    std::thread([done, peers] { done(peers); }).detach();
  };
  Begin(3);
  ASSERT_TRUE(probe_.WaitFor("open", 3));
  ASSERT_TRUE(WaitStatus([](const PluginStatus& s) { return s.sessions == 3; }));
  Visited sessions;
  const auto visit_session = [](void* arg, helo_session id, const helo_session_info* info) {
    auto* v = static_cast<Visited*>(arg);
    v->lines.push_back(std::to_string(id) + " " + std::to_string(info->node_id[0]));
    return v->lines.size() < v->most ? 1 : 0;
  };
  EXPECT_EQ(probe_.peers->each_session(probe_.host->ctx, &sessions, visit_session), HELO_OK);
  EXPECT_THAT(sessions.lines, ElementsAre("1 1", "2 2", "3 3"));
  sessions.lines.clear();
  sessions.most = 1;
  EXPECT_EQ(probe_.peers->each_session(probe_.host->ctx, &sessions, visit_session), HELO_OK);
  EXPECT_THAT(sessions.lines, ElementsAre("1 1"));
  Visited peers;
  EXPECT_EQ(probe_.peers->each_peer(probe_.host->ctx, &peers,
                                    [](void* arg, const helo_peer_info* info) {
                                      static_cast<Visited*>(arg)->lines.push_back(
                                          std::string(info->address.data, info->address.size) +
                                          " " + std::to_string(info->inbound));
                                      return 1;
                                    }),
            HELO_OK);
  EXPECT_THAT(peers.lines, ElementsAre("192.0.2.1:1 0", "192.0.2.2:2 1"));
  EXPECT_EQ(probe_.peers->each_peer(probe_.host->ctx, nullptr, nullptr), HELO_E_INVALID);
}

TEST_F(HostConformance, WithoutAListOfPeersItIsToldSo) {
  Begin();
  EXPECT_EQ(probe_.peers->each_peer(probe_.host->ctx, nullptr,
                                    [](void*, const helo_peer_info*) -> int32_t { return 1; }),
            HELO_E_AGAIN);
  EXPECT_EQ(probe_.host->get_extension(probe_.host->ctx, "helo.timer/2"), nullptr);
  EXPECT_EQ(probe_.host->get_extension(probe_.host->ctx, nullptr), nullptr);
}

TEST_F(HostConformance, LogLinesCarryItsNameAndAreLimited) {
  Begin();
  const std::string_view line = "one \x1b line";
  probe_.host->log(probe_.host->ctx, HELO_LOG_WARNING, {line.data(), line.size()});
  EXPECT_TRUE(log_.Contains("warn plugin: a plugin says plugin=probe line=one \\x1b line"))
      << log_.lines().back();
  for (int i = 0; i < 1000; ++i) probe_.host->log(probe_.host->ctx, HELO_LOG_INFO, {"x", 1});
  EXPECT_LT(log_.Count("a plugin says"), 500u);
  EXPECT_GT(Status().counters.log_lines_dropped, 500u);
}

TEST_F(HostConformance, AFullQueuePausesItsPeerAloneAndHalfResumesIt) {
  probe_.quiet = true;
  probe_.on_message = [&](helo_session, uint32_t, std::string_view text) -> helo_verdict {
    if (text == "block") release_.Wait();
    return HELO_V_OK;
  };
  Begin();
  const SessionId many = net_->OpenOne("probe", 1);
  const SessionId large = net_->OpenOne("probe", 2);
  const SessionId few = net_->OpenOne("probe", 3);
  net_->Deliver(few, 0, "block");
  for (int i = 0; i < 255; ++i) net_->Deliver(many, 0, "x");
  EXPECT_FALSE(net_->paused(many));
  net_->Deliver(many, 0, "x");
  EXPECT_TRUE(net_->paused(many));
  net_->Deliver(many, 0, "over the mark it is taken all the same");
  for (int i = 0; i < 16; ++i) net_->Deliver(large, 0, std::string(65536, 'y'));
  EXPECT_TRUE(net_->paused(large));
  EXPECT_FALSE(net_->paused(few));
  EXPECT_EQ(Status().paused_sessions, 2u);
  EXPECT_EQ(Status().queued_bytes, 255u + 1 + 38 + (size_t{1} << 20) + 5);
  release_.Set();
  EXPECT_TRUE(net_->WaitPaused(many, false));
  EXPECT_TRUE(net_->WaitPaused(large, false));
  EXPECT_TRUE(WaitStatus([](const PluginStatus& s) { return s.queued_bytes == 0; }));
  EXPECT_EQ(Status().counters.pauses, 2u);
  EXPECT_EQ(Status().counters.dropped, 0u);
}

TEST_F(HostConformance, TheCapOfAllSessionsPausesWhoeverSends) {
  probe_.quiet = true;
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    release_.Wait();
    return HELO_V_OK;
  };
  limits_.plugin_bytes = 100'000;
  Begin();
  std::vector<SessionId> sessions;
  for (int i = 0; i < 10; ++i) sessions.push_back(net_->OpenOne("probe", i + 1));
  for (int i = 0; i < 9; ++i)
    net_->Deliver(sessions[static_cast<size_t>(i)], 0, std::string(11'000, 'z'));
  EXPECT_EQ(Status().paused_sessions, 0u);
  net_->Deliver(sessions[9], 0, std::string(11'000, 'z'));
  EXPECT_TRUE(net_->paused(sessions[9]));
  EXPECT_FALSE(net_->paused(sessions[0]));
  release_.Set();
  EXPECT_TRUE(net_->WaitPaused(sessions[9], false));
}

TEST_F(HostConformance, WhatIsLoadedLaterIsOfferedToThePeersThatAreThere) {
  Make();
  net_ = std::make_unique<FakeNet>(*host_, 5);
  scratch_.Put("probe");
  ASSERT_TRUE(host_->Load("probe", probe_.Config()).ok());
  EXPECT_TRUE(probe_.WaitFor("open", 5));
  auto unloaded = host_->Unload("probe", std::chrono::seconds(1));
  ASSERT_TRUE(unloaded.ok());
  EXPECT_EQ(probe_.Count("close"), 5u);
  EXPECT_TRUE(net_->WaitWithdrawn("probe"));
  EXPECT_EQ(net_->withdrawn("probe"), Reason::kPluginGone);
  ExpectEachOpenClosedOnce();
}

TEST_F(HostConformance, WhatChangesBeforeTheServerStartsIsMadeGood) {
  Make();
  scratch_.Put("probe");
  ASSERT_TRUE(host_->Load("probe", probe_.Config()).ok());
  EXPECT_EQ(host_->Capabilities().size(), 2u);
  Fault("before anything began");
  Probe keeper;
  scratch_.Put("keeper");
  ASSERT_TRUE(host_->Load("keeper", keeper.Config()).ok());
  net_ = std::make_unique<FakeNet>(*host_, 2);
  EXPECT_TRUE(net_->WaitWithdrawn("probe"));
  EXPECT_TRUE(keeper.WaitFor("open", 2));
  ASSERT_TRUE(host_->Unload("keeper", std::chrono::seconds(1)).ok());
  EXPECT_TRUE(keeper.WaitFor("thread 5"));
}

TEST_F(HostConformance, TheOldestLayoutRuns) {
  Make();
  scratch_.Put("older");
  ASSERT_TRUE(host_->Load("older", "").ok());
  net_ = std::make_unique<FakeNet>(*host_, 8);
  const SessionId s = net_->OpenOne("older");
  net_->Deliver(s, 0, "fine");
  net_->Deliver(s, 0, "");
  EXPECT_TRUE(net_->WaitClosed(s));
  EXPECT_EQ(net_->disconnected(s).first, Reason::kPluginViolation);
  EXPECT_EQ(Status("older").commands.size(), 0u);
  EXPECT_TRUE(host_->Unload("older", std::chrono::seconds(1)).ok());
}

}  // namespace
}  // namespace helo::testing
