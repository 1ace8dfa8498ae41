// Loading, draining, unloading and reloading under traffic, again and again, with nothing left.
#include <dirent.h>

#include <atomic>

#include "tests/unit/plugins/host/world.h"

namespace helo::testing {
namespace {

using ::testing::HasSubstr;

class HostLife : public World {};

size_t OpenDescriptors() {
  size_t n = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) ++n;
  closedir(dir);
  return n;
}

TEST_F(HostLife, ADrainTakesWhatHasArrivedAndSendsNothing) {
  std::vector<helo_status> sends;
  probe_.on_message = [&](helo_session s, uint32_t, std::string_view) -> helo_verdict {
    probe_.Note("in");
    release_.Wait();
    sends.push_back(Send(s, 0, "answer"));
    return HELO_V_OK;
  };
  Begin(1);
  net_->Deliver(1, 0, "first");
  net_->Deliver(1, 0, "second");
  ASSERT_TRUE(probe_.WaitFor("in"));
  auto unloading =
      std::async(std::launch::async, [&] { return host_->Unload("probe", std::chrono::hours(1)); });
  ASSERT_TRUE(net_->WaitWithdrawn("probe"));
  EXPECT_EQ(Status().state, State::kDraining);
  EXPECT_THAT(Words(host_->Restart("probe")), HasSubstr("is being loaded or unloaded"));
  release_.Set();
  EXPECT_TRUE(unloading.get().ok());
  EXPECT_EQ(probe_.Count("message"), 2u);
  EXPECT_EQ(sends, std::vector<helo_status>(2, HELO_E_STOPPING));
  ExpectEachOpenClosedOnce();
}

TEST_F(HostLife, ADrainsDeadlineDropsTheRest) {
  probe_.on_message = [&](helo_session, uint32_t, std::string_view) -> helo_verdict {
    probe_.Note("in");
    release_.Wait();
    return HELO_V_OK;
  };
  Begin(1);
  for (int i = 0; i < 10; ++i) net_->Deliver(1, 0, "x");
  ASSERT_TRUE(probe_.WaitFor("in"));
  auto unloading =
      std::async(std::launch::async, [&] { return host_->Unload("probe", Duration::zero()); });
  ASSERT_TRUE(net_->WaitWithdrawn("probe"));
  release_.Set();
  EXPECT_TRUE(unloading.get().ok());
  EXPECT_EQ(probe_.Count("message"), 1u);
  ExpectEachOpenClosedOnce();
}

TEST_F(HostLife, AReloadTakesTheFileThatWasReplacedInPlace) {
  Begin(3);
  ASSERT_TRUE(probe_.WaitFor("open", 3));
  const std::string before = Status().hash;
  scratch_.Put("probe2", "probe");
  EXPECT_EQ(Status().version, "1.0.0");
  ASSERT_TRUE(host_->Reload("probe").ok());
  EXPECT_EQ(Status().version, "2.0.0");
  EXPECT_NE(Status().hash, before);
  EXPECT_EQ(Status().counters.restarts, 1u);
  EXPECT_TRUE(probe_.WaitFor("create 2.0.0"));
  EXPECT_TRUE(probe_.WaitFor("open", 6));
  EXPECT_EQ(probe_.Count("close"), 3u);
  // A file that is wrong is refused before the instance is touched.
  scratch_.Put("abi2", "probe");
  EXPECT_THAT(Words(host_->Reload("probe")), HasSubstr("probe.so needs ABI 2"));
  EXPECT_EQ(Status().state, State::kRunning);
  End();
  ExpectEachOpenClosedOnce();
}

TEST_F(HostLife, ThePluginsLastAndTheServersLastAgree) {
  // The server stops first.
  Begin(3);
  net_.reset();
  EXPECT_TRUE(probe_.WaitFor("close", 3));
  EXPECT_EQ(Send(1, 0, ""), HELO_E_GONE);
  EXPECT_TRUE(host_->Unload("probe", std::chrono::seconds(1)).ok());
  ExpectEachOpenClosedOnce();
  End();
  // The host does.
  probe_.Clear();
  Begin(3);
  host_->Shutdown(std::chrono::seconds(5));
  EXPECT_EQ(probe_.Count("close"), probe_.Count("open"));
  EXPECT_EQ(probe_.lines().back(), "destroy");
  net_->OpenOne("probe");
  net_->Deliver(1, 0, "x");
  End();
  EXPECT_EQ(probe_.lines().back(), "destroy");
}

// Peers that come, talk, go and are answered while the plugin is loaded and unloaded.
TEST_F(HostLife, AThousandLivesUnderTraffic) {
  std::atomic<uint64_t> answered{0};
  probe_.quiet = true;
  probe_.on_message = [&](helo_session s, uint32_t type, std::string_view text) -> helo_verdict {
    if (Send(s, type, text) == HELO_OK) answered.fetch_add(1);
    return text.size() % 97 == 96 ? HELO_V_DISCONNECT : HELO_V_OK;
  };
  Begin(3);
  ASSERT_TRUE(host_->Unload("probe", std::chrono::seconds(1)).ok());
  std::atomic<bool> stop{false};
  std::thread traffic([&] {
    uint32_t turn = 0;
    while (!stop) {
      net_->Run([&] {
        ++turn;
        for (const SessionId s : net_->SessionsHere()) {
          host_->OnMessage(s, turn % 4, Bytes(turn % 300, 1));
          if (turn % 7 == 0) host_->OnWritable(s);
          if (turn % 61 == 0) net_->CloseHere(s, 106);
        }
        if (turn % 13 == 0 && net_->offers("probe")) net_->OpenHere("probe", 1, 9);
      });
    }
  });
  const size_t descriptors = OpenDescriptors();
  for (int i = 0; i < 1000; ++i) {
    const absl::Status loaded = host_->Load("probe", probe_.Config());
    ASSERT_TRUE(loaded.ok()) << i << ": " << loaded;
    if (i % 3 == 0) {
      ASSERT_TRUE(probe_.WaitFor("open", 1));
    }
    if (i % 5 == 0) {
      ASSERT_TRUE(host_->Restart("probe").ok()) << i;
    }
    auto unloaded = host_->Unload("probe", std::chrono::milliseconds(i % 4));
    ASSERT_TRUE(unloaded.ok()) << i << ": " << unloaded.status();
    EXPECT_TRUE(unloaded->unmapped) << i << ": " << unloaded->note;
    ExpectEachOpenClosedOnce();
    EXPECT_EQ(probe_.Count("create"), probe_.Count("destroy"));
    probe_.Clear();
  }
  EXPECT_EQ(OpenDescriptors(), descriptors);
  stop = true;
  traffic.join();
  EXPECT_GT(answered.load(), 0u);
  EXPECT_TRUE(host_->List().empty());
  End();
}

}  // namespace
}  // namespace helo::testing
