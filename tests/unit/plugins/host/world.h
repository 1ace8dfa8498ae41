// A host over a fake server, with the plugin that does what the test says.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>

#include "p2p/base/testing/capturing_log.h"
#include "p2p/base/testing/manual_clock.h"
#include "p2p/base/text.h"
#include "plugins/host/plugin_host.h"
#include "tests/plugins/probe.h"
#include "tests/unit/plugins/host/fake_net.h"
#include "tests/unit/plugins/host/scratch.h"

namespace helo::testing {

using plugins::PluginHost;
using plugins::PluginStatus;
using plugins::State;

inline std::string Words(const absl::Status& status) {
  return std::string(FromAbsl(status.message()));
}

// Something that happens once; a test and a plugin wait on it.
class Signal {
 public:
  void Set() {
    MutexLock lock(mutex_);
    set_ = true;
    changed_.NotifyAll();
  }
  bool Wait() {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    MutexLock lock(mutex_);
    while (!set_) {
      if (!changed_.WaitUntil(mutex_, deadline)) return set_;
    }
    return true;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool set_ ABSL_GUARDED_BY(mutex_) = false;
};

class World : public ::testing::Test {
 protected:
  // Loads `plugin` as "probe" and connects a server with `peers` peers.
  void Begin(int peers = 0, const std::string& plugin = "probe") {
    Make();
    scratch_.Put(plugin, "probe");
    const absl::Status loaded = host_->Load("probe", probe_.Config());
    ASSERT_TRUE(loaded.ok()) << loaded;
    net_ = std::make_unique<FakeNet>(*host_, peers);
    ASSERT_TRUE(probe_.WaitFor("open", static_cast<size_t>(peers)));
  }
  void Make() {
    plugins::HostOptions options;
    options.plugin_dir = scratch_.dir();
    options.private_dir = scratch_.copies();
    options.limits = limits_;
    plugins::HostDeps deps;
    deps.clock = &clock_;
    deps.log = &log_;
    deps.ask_peers = ask_peers_;
    deps.forgive = [this](const NodeId& id) {
      MutexLock lock(forgiven_mutex_);
      forgiven_.push_back(id);
    };
    host_ = std::make_unique<PluginHost>(std::move(options), std::move(deps));
  }
  void End() {
    net_.reset();
    host_.reset();
  }
  ~World() override { End(); }

  PluginStatus Status(const std::string& name = "probe") {
    for (PluginStatus& status : host_->List()) {
      if (status.name == name) return std::move(status);
    }
    return {};
  }
  bool WaitStatus(const std::function<bool(const PluginStatus&)>& fits) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!fits(Status())) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }
  // In quarantine, and all of it over.
  bool WaitQuarantine() {
    return probe_.WaitFor("destroy") &&
           WaitStatus([](const PluginStatus& s) { return s.state == State::kQuarantined; });
  }
  // What it answers, or the status's sentence.
  std::string Call(const std::string& command, std::vector<std::string> args = {},
                   Duration deadline = std::chrono::seconds(20)) {
    auto promise = std::make_shared<std::promise<std::string>>();
    host_->Call("probe", command, std::move(args), deadline,
                [promise](absl::StatusOr<plugins::Answer> answer) {
                  promise->set_value(!answer.ok()
                                         ? Words(answer.status())
                                         : (answer->failed ? "failed: " : "") + answer->text);
                });
    return promise->get_future().get();
  }
  helo_status Send(helo_session session, uint32_t type, std::string_view text) {
    return probe_.host->send(probe_.host->ctx, session, type,
                             {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  helo_status Disconnect(helo_session session, int32_t penalty, std::string_view why) {
    return probe_.host->disconnect(probe_.host->ctx, session, penalty, {why.data(), why.size()});
  }
  void Fault(std::string_view why) {
    probe_.host->fault(probe_.host->ctx, {why.data(), why.size()});
  }
  static std::string Of(const char* what, helo_session session) {
    return std::string(what) + " " + std::to_string(session);
  }
  // Each open had its one close, in this order.
  void ExpectEachOpenClosedOnce() {
    std::map<std::string, int> state;
    for (const std::string& line : probe_.lines()) {
      const std::string what = line.substr(0, line.find(' '));
      if (what != "open" && what != "close" && what != "message" && what != "writable") continue;
      std::string id = line.substr(what.size() + 1);
      id = id.substr(0, id.find(' '));
      if (what == "open") {
        EXPECT_EQ(state[id]++, 0) << line;
      } else if (what == "close") {
        EXPECT_EQ(state[id]++, 1) << line;
      } else {
        EXPECT_EQ(state[id], 1) << line;
      }
    }
    for (const auto& [id, n] : state) EXPECT_EQ(n, 2) << "session " << id;
  }
  std::vector<NodeId> forgiven() {
    MutexLock lock(forgiven_mutex_);
    return forgiven_;
  }

  Scratch scratch_;
  ManualClock clock_;
  CapturingLog log_;
  plugins::Limits limits_;
  plugins::AskPeers ask_peers_;
  Probe probe_;
  Signal release_;  // what a blocked callback waits for
  Mutex forgiven_mutex_;
  std::vector<NodeId> forgiven_;
  std::unique_ptr<PluginHost> host_;
  std::unique_ptr<FakeNet> net_;
};

}  // namespace helo::testing
