// Plugins that break the rules: each hurts itself alone, and wrongs no peer. The exact outcome of
// each.
#include "tests/unit/plugins/host/world.h"

namespace helo::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

class HostMisbehaviour : public World {
 protected:
  // It is in quarantine for this reason; its sessions were closed with no blame, on both sides.
  void ExpectQuarantine(const std::string& reason, size_t sessions) {
    ASSERT_TRUE(WaitQuarantine());
    EXPECT_EQ(Status().reason, reason);
    EXPECT_TRUE(net_->WaitWithdrawn("probe"));
    EXPECT_EQ(net_->withdrawn("probe"), Reason::kPluginGone);
    EXPECT_EQ(probe_.Count("close"), sessions);
    EXPECT_EQ(Status().sessions, 0u);
    EXPECT_EQ(Status().counters.faults, 1u);
    EXPECT_TRUE(log_.WaitFor("error plugin: a plugin failed and is in quarantine"));
    ExpectEachOpenClosedOnce();
    EXPECT_EQ(probe_.lines().back(), "destroy");
    EXPECT_EQ(Send(1, 0, ""), HELO_E_STOPPING);
  }
};

TEST_F(HostMisbehaviour, AnExceptionIsAFault) {
  probe_.on_message = [](helo_session, uint32_t, std::string_view) -> helo_verdict {
    throw std::runtime_error("out of cheese");
  };
  Begin(3);
  net_->Deliver(1, 0, "x");
  ExpectQuarantine("out of cheese", 3);
  EXPECT_EQ(net_->disconnected(1).first, Reason::kAccept);  // nobody was disconnected
  EXPECT_EQ(probe_.Count("stop"), 1u);
}

TEST_F(HostMisbehaviour, AnUnknownVerdictIsAFault) {
  probe_.on_message = [](helo_session, uint32_t, std::string_view) { return helo_verdict{77}; };
  Begin(2);
  net_->Deliver(2, 0, "x");
  ExpectQuarantine("on_message gave the verdict 77, which helo/plugin.h has not", 2);
}

TEST_F(HostMisbehaviour, TheFirstFaultCountsAndComesFromAnyThread) {
  Begin(1);
  std::thread([&] {
    Fault("first");
    Fault("second");
  }).join();
  ExpectQuarantine("first", 1);
  EXPECT_EQ(probe_.host->post(probe_.host->ctx, 1), HELO_E_STOPPING);
  EXPECT_EQ(probe_.timer->set(probe_.host->ctx, 1, 1), HELO_E_STOPPING);
  EXPECT_EQ(Disconnect(1, 0, ""), HELO_E_STOPPING);
}

TEST_F(HostMisbehaviour, AFailureInCreateLeavesNothingBehind) {
  Make();
  scratch_.Put("probe");
  probe_.on_create = [&]() -> helo_status {
    Fault("no configuration");
    return HELO_E_FAILED;
  };
  EXPECT_EQ(Words(host_->Load("probe", probe_.Config())),
            "the plugin probe did not start: no configuration; it is in quarantine: mend it, then "
            "helo plugin reload probe");
  EXPECT_THAT(probe_.lines(), ElementsAre("create 1.0.0"));
  EXPECT_EQ(Status().state, State::kQuarantined);
  EXPECT_EQ(Status().reason, "no configuration");
  EXPECT_TRUE(host_->Capabilities().empty());
  // With no reason given, the status is one.
  probe_.on_create = []() -> helo_status { return 9; };
  EXPECT_THAT(Words(host_->Restart("probe")),
              HasSubstr("create failed with status 9 and gave no reason"));
  // It is mended, and restarted by command.
  probe_.on_create = nullptr;
  EXPECT_TRUE(host_->Restart("probe").ok());
  EXPECT_EQ(Status().state, State::kRunning);
  EXPECT_EQ(Status().reason, "");
  EXPECT_EQ(Status().counters.restarts, 2u);
  EXPECT_EQ(Status().counters.faults, 2u);
}

TEST_F(HostMisbehaviour, AFailedStartIsFollowedByDestroyAlone) {
  Make();
  scratch_.Put("probe");
  probe_.on_start = []() -> helo_status { return HELO_E_FAILED; };
  EXPECT_THAT(Words(host_->Load("probe", probe_.Config())),
              HasSubstr("start failed with status 6 and gave no reason"));
  EXPECT_THAT(probe_.lines(), ElementsAre("create 1.0.0", "start", "destroy"));
  EXPECT_EQ(Status().state, State::kQuarantined);
}

TEST_F(HostMisbehaviour, OneThatPenalisesMostOfItsPeersIsAtFaultItself) {
  probe_.on_message = [](helo_session, uint32_t, std::string_view) -> helo_verdict {
    return HELO_V_PENALISE;
  };
  Begin(6);
  for (SessionId s = 1; s <= 3; ++s) {
    net_->Deliver(s, 0, "x");
    EXPECT_TRUE(net_->WaitClosed(s));
    EXPECT_EQ(net_->disconnected(s).first, Reason::kPluginViolation);
  }
  net_->Deliver(4, 0, "x");
  ExpectQuarantine("penalised 4 of its 6 peers within a minute, which says more of it than of them",
                   6);
  EXPECT_EQ(net_->disconnected(4).first, Reason::kAccept);
  EXPECT_THAT(forgiven(), ElementsAre(FakeNet::PeerId(1), FakeNet::PeerId(2), FakeNet::PeerId(3),
                                      FakeNet::PeerId(4)));
}

TEST_F(HostMisbehaviour, PenaltiesOfMoreThanAMinuteAgoAreForgotten) {
  probe_.on_message = [](helo_session, uint32_t, std::string_view) -> helo_verdict {
    return HELO_V_PENALISE;
  };
  Begin(4);
  for (SessionId s = 1; s <= 4; ++s) {
    net_->Deliver(s, 0, "x");
    EXPECT_TRUE(net_->WaitClosed(s));
    clock_.Advance(std::chrono::seconds(21));
  }
  EXPECT_EQ(Status().state, State::kRunning);
  EXPECT_EQ(Status().counters.penalties, 4u);
}

TEST_F(HostMisbehaviour, OnePeerThatIsPenalisedAgainAndAgainIsOnePeer) {
  probe_.on_message = [](helo_session, uint32_t, std::string_view) -> helo_verdict {
    return HELO_V_PENALISE;
  };
  Begin(1);
  for (int i = 0; i < 10; ++i) {
    const SessionId s = net_->OpenOne("probe", 77);
    net_->Deliver(s, 0, "x");
    EXPECT_TRUE(net_->WaitClosed(s));
    EXPECT_EQ(net_->disconnected(s).first, Reason::kPluginViolation);
  }
  EXPECT_EQ(Status().state, State::kRunning);
  EXPECT_EQ(Status().counters.penalties, 10u);
}

TEST_F(HostMisbehaviour, FourOfEightIsNotMost) {
  probe_.on_message = [](helo_session, uint32_t, std::string_view) -> helo_verdict {
    return HELO_V_PENALISE;
  };
  Begin(8);
  for (SessionId s = 1; s <= 4; ++s) {
    net_->Deliver(s, 0, "x");
    EXPECT_TRUE(net_->WaitClosed(s));
  }
  EXPECT_EQ(Status().state, State::kRunning);
  EXPECT_TRUE(forgiven().empty());
}

TEST_F(HostMisbehaviour, ItsFloodOfSendsIsAnsweredAgain) {
  int again = 0;
  probe_.on_message = [&](helo_session s, uint32_t, std::string_view) -> helo_verdict {
    net_->SetFull(true);
    for (int i = 0; i < 100'000; ++i) again += Send(s, 0, "flood") == HELO_E_AGAIN ? 1 : 0;
    probe_.Note("flooded");
    return HELO_V_OK;
  };
  Begin(2);
  net_->Deliver(1, 0, "x");
  ASSERT_TRUE(probe_.WaitFor("flooded"));
  EXPECT_EQ(again, 100'000);
  EXPECT_EQ(Status().state, State::kRunning);
  EXPECT_EQ(Status().counters.refused, 100'000u);
  EXPECT_EQ(net_->open_sessions(), 2u);
}

TEST_F(HostMisbehaviour, SendsToADeadSessionAreGone) {
  std::vector<helo_status> statuses;
  probe_.on_close = [&](helo_session s, int32_t) {
    statuses.push_back(Send(s, 0, "x"));
    statuses.push_back(Disconnect(s, 1, "x"));
    probe_.Note("tried");
  };
  Begin(2);
  net_->CloseOne(1, 21);
  ASSERT_TRUE(probe_.WaitFor("tried"));
  EXPECT_THAT(statuses, ElementsAre(HELO_E_GONE, HELO_E_GONE));
  EXPECT_EQ(Status().state, State::kRunning);
  EXPECT_EQ(Status().counters.penalties, 0u);
  probe_.on_close = nullptr;
}

TEST_F(HostMisbehaviour, APeerItIsTooSlowForIsClosedAfterTenSeconds) {
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    probe_.Note("blocked");
    release_.Wait();
    return HELO_V_OK;
  };
  Begin(3);
  net_->Deliver(3, 0, "x");
  ASSERT_TRUE(probe_.WaitFor("blocked"));
  for (int i = 0; i < 256; ++i) net_->Deliver(1, 0, "x");
  EXPECT_TRUE(net_->paused(1));
  clock_.Advance(std::chrono::milliseconds(9999));
  host_->Watch();
  EXPECT_EQ(net_->disconnected(1).first, Reason::kAccept);
  clock_.Advance(std::chrono::milliseconds(1));
  host_->Watch();
  EXPECT_TRUE(net_->WaitClosed(1));
  EXPECT_EQ(net_->disconnected(1).first, Reason::kPluginSlow);
  EXPECT_EQ(net_->disconnected(1).second.substr(0, 34), "the plugin probe took no message f");
  EXPECT_EQ(Status().counters.slow, 1u);
  EXPECT_EQ(Status().state, State::kRunning);
  EXPECT_EQ(net_->open_sessions(), 2u);
  release_.Set();
  EXPECT_TRUE(probe_.WaitFor(Of("close", 1)));
  // What had arrived of that peer is not shown any more.
  EXPECT_EQ(probe_.Count(Of("message", 1)), 0u);
  EXPECT_TRUE(WaitStatus([](const PluginStatus& s) { return s.counters.dropped == 256; }));
  End();
  ExpectEachOpenClosedOnce();
}

TEST_F(HostMisbehaviour, ProgressHoweverSlowIsNoReason) {
  Mutex mutex;
  CondVar changed;
  int permits = 0;
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    MutexLock lock(mutex);
    while (permits == 0) changed.Wait(mutex);
    --permits;
    return HELO_V_OK;
  };
  const auto permit = [&](int n) {
    MutexLock lock(mutex);
    permits += n;
    changed.NotifyAll();
  };
  Begin(1);
  for (int i = 0; i < 256; ++i) net_->Deliver(1, 0, "x");
  for (int i = 1; i <= 5; ++i) {
    permit(1);
    ASSERT_TRUE(probe_.WaitFor("message", static_cast<size_t>(i) + 1));
    clock_.Advance(std::chrono::seconds(9));
    host_->Watch();
    EXPECT_TRUE(net_->paused(1));
  }
  EXPECT_EQ(Status().counters.slow, 0u);
  permit(1 << 20);
  EXPECT_TRUE(net_->WaitPaused(1, false));
  End();
}

TEST_F(HostMisbehaviour, ThreeSlowPeersInAMinuteAreItsFault) {
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    probe_.Note("blocked");
    release_.Wait();
    return HELO_V_OK;
  };
  Begin(5);
  net_->Deliver(5, 0, "x");
  ASSERT_TRUE(probe_.WaitFor("blocked"));
  for (SessionId s = 1; s <= 3; ++s) {
    for (int i = 0; i < 256; ++i) net_->Deliver(s, 0, "x");
    clock_.Advance(std::chrono::seconds(4));
  }
  host_->Watch();  // the first has waited for 12 s
  EXPECT_EQ(Status().counters.slow, 1u);
  EXPECT_EQ(Status().state, State::kRunning);
  clock_.Advance(std::chrono::seconds(8));
  host_->Watch();
  EXPECT_EQ(Status().counters.slow, 3u);
  EXPECT_EQ(Status().state, State::kQuarantined);
  EXPECT_EQ(Status().reason, "was too slow for 3 peers within a minute (in on_message now)");
  EXPECT_TRUE(net_->WaitWithdrawn("probe"));
  EXPECT_TRUE(net_->WaitAllClosed());  // on the wire at once, whatever it does
  release_.Set();
  EXPECT_TRUE(WaitQuarantine());
  ExpectEachOpenClosedOnce();
}

TEST_F(HostMisbehaviour, ACallbackThatDoesNotReturnIsAFaultAfterThirtySeconds) {
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    probe_.Note("blocked");
    release_.Wait();
    return HELO_V_OK;
  };
  limits_.stop_within = std::chrono::milliseconds(20);
  Begin(2);
  net_->Deliver(1, 0, "x");
  ASSERT_TRUE(probe_.WaitFor("blocked"));
  host_->Watch();
  clock_.Advance(std::chrono::milliseconds(29999));
  host_->Watch();
  EXPECT_EQ(Status().state, State::kRunning);
  clock_.Advance(std::chrono::milliseconds(1));
  host_->Watch();
  EXPECT_EQ(Status().reason.substr(0, 31), "on_message has not returned for");
  EXPECT_TRUE(net_->WaitWithdrawn("probe"));
  // It has its time to stop, and is abandoned then.
  EXPECT_TRUE(WaitStatus([&](const PluginStatus& s) {
    host_->Watch();
    return s.state == State::kAbandoned;
  }));
  EXPECT_TRUE(log_.Contains("a plugin was told to stop and does not come back"));
  EXPECT_THAT(Words(host_->Restart("probe")), HasSubstr("has not come back from a call yet"));
  EXPECT_THAT(Words(host_->Load("probe", "")), HasSubstr("has not come back from a call yet"));
  // When it does come back after all, everything it is owed is made good, and it can run again.
  release_.Set();
  EXPECT_TRUE(WaitQuarantine());
  ExpectEachOpenClosedOnce();
  probe_.Clear();
  EXPECT_TRUE(host_->Restart("probe").ok());
  EXPECT_TRUE(probe_.WaitFor("open", 2));
}

TEST_F(HostMisbehaviour, OneThatBlocksIsGivenUpWhenItIsUnloaded) {
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    probe_.Note("blocked");
    release_.Wait();
    return HELO_V_OK;
  };
  limits_.stop_within = std::chrono::milliseconds(50);
  Begin(2);
  net_->Deliver(1, 0, "x");
  ASSERT_TRUE(probe_.WaitFor("blocked"));
  const auto unloaded = host_->Unload("probe", std::chrono::milliseconds(10));
  EXPECT_EQ(unloaded.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Words(unloaded.status()),
            "the plugin probe does not stop: on_message has not returned within " +
                HumanDuration(50'000'000) +
                "; it is abandoned, and its thread and library stay until the node ends");
  EXPECT_EQ(Status().state, State::kAbandoned);
  EXPECT_TRUE(net_->WaitWithdrawn("probe"));
  EXPECT_TRUE(net_->WaitAllClosed());
  // A changed build can be loaded beside it; the same cannot.
  EXPECT_FALSE(host_->Load("probe", probe_.Config()).ok());
  Probe second;
  scratch_.Put("probe2", "probe");
  EXPECT_TRUE(host_->Load("probe", second.Config()).ok());
  EXPECT_TRUE(second.WaitFor("open", 2));
  release_.Set();
  EXPECT_TRUE(probe_.WaitFor("destroy"));
  ExpectEachOpenClosedOnce();
  End();
}

TEST_F(HostMisbehaviour, OneThatBlocksInCreateIsGivenUp) {
  limits_.start_within = std::chrono::milliseconds(30);
  Make();
  scratch_.Put("probe");
  probe_.on_create = [&]() -> helo_status {
    release_.Wait();
    return HELO_OK;
  };
  EXPECT_THAT(Words(host_->Load("probe", probe_.Config())),
              HasSubstr("did not start: create has not returned for"));
  EXPECT_EQ(Status().state, State::kAbandoned);
  release_.Set();
  EXPECT_TRUE(probe_.WaitFor("destroy"));
  EXPECT_THAT(probe_.lines(), ElementsAre("create 1.0.0", "destroy"));
}

TEST_F(HostMisbehaviour, AShutdownEndsWhateverPluginsDo) {
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    probe_.Note("blocked");
    release_.Wait();
    // The host is gone; the thread that comes back finds nobody, and nothing breaks.
    EXPECT_EQ(Send(1, 0, "x"), HELO_E_STOPPING);
    probe_.host->log(probe_.host->ctx, HELO_LOG_ERROR, {"anybody?", 8});
    return HELO_V_PENALISE;
  };
  Begin(2);
  net_->Deliver(1, 0, "x");
  ASSERT_TRUE(probe_.WaitFor("blocked"));
  const auto began = std::chrono::steady_clock::now();
  host_->Shutdown(std::chrono::milliseconds(100));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
  EXPECT_EQ(Words(host_->Load("probe", "")), "the node is stopping, and its plugins with it");
  EXPECT_EQ(net_->WaitWithdrawn("probe"), true);
  End();
  EXPECT_FALSE(log_.Contains("anybody"));
  release_.Set();
  EXPECT_TRUE(probe_.WaitFor("destroy"));
  ExpectEachOpenClosedOnce();
}

TEST_F(HostMisbehaviour, AThreadOfItsOwnThatOutlivesItIsToldStopping) {
  Make();
  Probe keeper;
  scratch_.Put("keeper");
  ASSERT_TRUE(host_->Load("keeper", keeper.Config()).ok());
  net_ = std::make_unique<FakeNet>(*host_, 2);
  ASSERT_TRUE(keeper.WaitFor("open", 2));
  auto unloaded = host_->Unload("keeper", std::chrono::seconds(1));
  ASSERT_TRUE(unloaded.ok());
  EXPECT_FALSE(unloaded->unmapped);
  EXPECT_THAT(unloaded->note, HasSubstr("does not set HELO_F_UNLOADABLE"));
  EXPECT_TRUE(keeper.WaitFor("thread 5"));
  EXPECT_EQ(keeper.Count("close"), 2u);
  // Long after, too.
  End();
  EXPECT_EQ(keeper.host->post(keeper.host->ctx, 1), HELO_E_STOPPING);
}

#if defined(__GNUC__) && !defined(__clang__)
TEST_F(HostMisbehaviour, AGnuUniqueSymbolKeepsItMappedAndIsSaid) {
  static bool seen = false;
  if (std::exchange(seen, true)) GTEST_SKIP() << "the first one of this process keeps the symbol";
  Make();
  Probe unique;
  scratch_.Put("unique");
  ASSERT_TRUE(host_->Load("unique", unique.Config()).ok());
  auto unloaded = host_->Unload("unique", std::chrono::seconds(1));
  ASSERT_TRUE(unloaded.ok());
  EXPECT_FALSE(unloaded->unmapped);
  EXPECT_THAT(unloaded->note, HasSubstr("GNU_UNIQUE"));
}
#endif

TEST_F(HostMisbehaviour, ASecondPluginOfOneCapabilityIsRefused) {
  Begin();
  scratch_.Put("twin");
  EXPECT_EQ(Words(host_->Load("twin", probe_.Config())),
            "the plugin twin offers the capability probe/1, and the plugin probe, which is loaded, "
            "offers probe/1; unload that one first (helo plugin unload probe)");
  EXPECT_EQ(Words(host_->Load("probe", "")),
            "the plugin probe is loaded already; helo plugin reload probe takes its file anew");
  EXPECT_THAT(Words(host_->Unload("ghost", std::chrono::seconds(1)).status()),
              StartsWith("no plugin ghost is loaded; probe is; helo plugin load NAME loads one"));
  // In quarantine it serves nothing, and another may; then it cannot come back.
  Fault("gone");
  ASSERT_TRUE(WaitQuarantine());
  Probe twin;
  EXPECT_TRUE(host_->Load("twin", twin.Config()).ok());
  EXPECT_THAT(Words(host_->Restart("probe")), HasSubstr("and the plugin twin, which is loaded"));
  EXPECT_TRUE(host_->Unload("twin", std::chrono::seconds(1)).ok());
}

TEST_F(HostMisbehaviour, AfterARefusedLoadTheEarlierInstanceCanBeRestarted) {
  Begin();
  Fault("gone");
  ASSERT_TRUE(WaitQuarantine());
  scratch_.Put("twin");
  Probe twin;
  ASSERT_TRUE(host_->Load("twin", twin.Config()).ok());
  for (const char* build : {"probe", "probe2"}) {
    scratch_.Put(build, "probe");
    EXPECT_THAT(Words(host_->Load("probe", probe_.Config())), HasSubstr("and the plugin twin"));
  }
  EXPECT_TRUE(host_->Unload("twin", std::chrono::seconds(1)).ok());
  probe_.Clear();
  const absl::Status restarted = host_->Restart("probe");
  EXPECT_TRUE(restarted.ok()) << restarted;
  EXPECT_EQ(probe_.lines().front(), "create 1.0.0");
}

TEST_F(HostMisbehaviour, AChangedBuildTakesThePlaceOfOneThatHasFailedAndStillBlocks) {
  limits_.stop_within = std::chrono::milliseconds(30);
  probe_.on_posted = [&](uint64_t) {
    probe_.Note("blocked");
    release_.Wait();
  };
  Begin();
  ASSERT_EQ(probe_.host->post(probe_.host->ctx, 1), HELO_OK);
  ASSERT_TRUE(probe_.WaitFor("blocked"));
  Fault("it blocks");
  Probe fresh;
  scratch_.Put("probe2", "probe");
  const absl::Status loaded = host_->Load("probe", fresh.Config());
  EXPECT_TRUE(loaded.ok()) << loaded;
  EXPECT_EQ(Status().version, "2.0.0");
  // The earlier one comes back at last, to nobody.
  release_.Set();
  EXPECT_TRUE(probe_.WaitFor("destroy"));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // its thread ends after that
  End();
}

TEST_F(HostMisbehaviour, PeersThatComeAndGoWhileItBlocksAreBounded) {
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    probe_.Note("blocked");
    release_.Wait();
    return HELO_V_OK;
  };
  limits_.waiting_events = 1000;
  Begin(1);
  net_->Deliver(1, 0, "x");
  ASSERT_TRUE(probe_.WaitFor("blocked"));
  for (int i = 0; i < 600; ++i) net_->CloseOne(net_->OpenOne("probe"), 106);
  EXPECT_EQ(Status().state, State::kQuarantined);
  EXPECT_EQ(Status().reason, "cannot keep up: 1000 events wait for it, in on_message");
  release_.Set();
  EXPECT_TRUE(WaitQuarantine());
  ExpectEachOpenClosedOnce();
  EXPECT_EQ(probe_.Count("open"), 1u);  // the others came and went unseen
}

#if defined(__SANITIZE_ADDRESS__)
TEST_F(HostMisbehaviour, OneThatKeepsAPointerIsFoundOut) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        std::string_view kept;
        probe_.on_message = [&](helo_session, uint32_t, std::string_view text) -> helo_verdict {
          if (kept.empty()) {
            kept = text;
          } else {
            probe_.Note(std::string(1, kept[0]));
          }
          return HELO_V_OK;
        };
        Begin(1);
        net_->Deliver(1, 0, "kept for later");
        net_->Deliver(1, 0, "used now");
        probe_.WaitFor("u");
      },
      "use-after-poison");
}
#else
TEST_F(HostMisbehaviour, OneThatKeepsAPointerReadsOldBytesAndHurtsNobodyElse) {
  const char* kept = nullptr;
  probe_.on_message = [&](helo_session, uint32_t, std::string_view text) -> helo_verdict {
    if (kept == nullptr) kept = text.data();
    return HELO_V_OK;
  };
  Begin(2);
  net_->Deliver(1, 0, "kept");
  for (int i = 0; i < 100; ++i) net_->Deliver(2, 0, "theirs " + std::to_string(i));
  ASSERT_TRUE(probe_.WaitFor(Of("message", 2), 100));
  size_t next = 0;
  for (const std::string& line : probe_.lines()) {
    if (line.rfind("message 2", 0) == 0) {
      EXPECT_EQ(line, "message 2 0 theirs " + std::to_string(next++));
    }
  }
  EXPECT_EQ(Status().state, State::kRunning);
}
#endif

}  // namespace
}  // namespace helo::testing
