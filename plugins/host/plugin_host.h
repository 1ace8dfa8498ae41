// Plugins, by the name of their file: loaded, run, watched, unloaded. To the server it is one
// Handler that serves the capabilities of all of them; what is loaded before the server starts is
// offered in every hello, what comes later is offered to the peers that are there.
//
// Thread: any, but for Load, Unload, Reload, Restart and Shutdown, which wait for the plugin and so
// must not be called from one, from a loop, or from a callback of Call. Holds no descriptor.
#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/log.h"
#include "p2p/base/mutex.h"
#include "p2p/server/handler.h"
#include "plugins/host/calls.h"
#include "plugins/host/limits.h"
#include "plugins/host/peers.h"
#include "plugins/host/status.h"

namespace helo::plugins {

class Library;
class Loader;
class PluginRunner;
struct Links;
class SessionTable;
struct SharedCounters;

struct HostOptions {
  std::string plugin_dir;   // where NAME.so is
  std::string private_dir;  // where the copies that are mapped go; below the data directory
  Limits limits;
};
struct HostDeps {  // clock and log outlive the host
  const Clock* clock = nullptr;
  LogSink* log = nullptr;
  AskPeers ask_peers;                          // may be empty: helo.peers/1 has no list then
  std::function<void(const NodeId&)> forgive;  // undoes a penalty; must not block; may be empty
};

struct UnloadResult {
  bool unmapped = false;
  std::string note;  // why the library stays mapped, if it does
};

class PluginHost final : public Handler {
 public:
  PluginHost(HostOptions options, HostDeps deps);
  ~PluginHost() override;  // Shutdown if not done; the server is gone by then or has detached it

  // Every refusal is a sentence. One that fails in create or start is listed, in quarantine.
  absl::Status Load(const std::string& name, const std::string& config);
  // Withdraws it, lets it take what has arrived for at most `drain`, closes its sessions, stops it.
  // DeadlineExceeded: it did not come back from a call, and is abandoned.
  absl::StatusOr<UnloadResult> Unload(const std::string& name, Duration drain);
  // The file as it is now in place of the instance; with the same configuration unless one is
  // given. What is wrong with the file is said before the old instance is touched.
  absl::Status Reload(const std::string& name,
                      const std::optional<std::string>& config = std::nullopt);
  // The same library again, after a quarantine or not.
  absl::Status Restart(const std::string& name);
  std::vector<PluginStatus> List();  // by name
  void Call(const std::string& name, const std::string& command, std::vector<std::string> args,
            Duration deadline, CallDone done);
  // All of them, at once, within `limit`; who does not come back by then is abandoned. Nothing is
  // loaded afterwards. Idempotent.
  void Shutdown(Duration limit);

  // What the watch does twice a second, for tests with a clock of their own.
  void Watch();

  // Handler.
  std::vector<Capability> Capabilities() const override;
  void Attached(Messenger& messenger) override;
  void OnOpen(const SessionInfo& info) override;
  void OnMessage(SessionId session, uint16_t type, ByteView payload) override;
  void OnBurst(bool begins) override;
  void OnWritable(SessionId session) override;
  void OnClose(SessionId session, uint32_t code) override;
  void Detached() override;

 private:
  struct Entry {
    std::shared_ptr<Library> library;
    std::shared_ptr<PluginRunner> runner;
    std::string config;
    std::shared_ptr<SharedCounters> counters;
  };
  class Busy;  // one operation on a name at a time

  absl::Status Start(const std::string& name, Entry entry);
  absl::Status StartInPlaceOf(const std::optional<Entry>& old, const std::string& name,
                              Entry entry);
  absl::Status CheckDuplicates(const std::string& name, const Library& library)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status StopRunner(const std::shared_ptr<PluginRunner>& runner, Duration drain);
  std::optional<Entry> Find(const std::string& name);
  absl::Status NotLoaded(const std::string& name);
  absl::Status CannotRun(const std::string& name, const PluginRunner& runner);
  std::vector<std::shared_ptr<PluginRunner>> Runners();
  void WatchThread();

  const HostOptions options_;
  const HostDeps deps_;
  const std::shared_ptr<Links> links_;
  const std::shared_ptr<SessionTable> sessions_;
  const std::unique_ptr<Loader> loader_;

  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::string> busy_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  mutable std::set<std::string> announced_ ABSL_GUARDED_BY(mutex_);  // by Capabilities()
  bool poked_ ABSL_GUARDED_BY(mutex_) = false;  // the watch has a new deadline to look at
  std::thread watch_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace helo::plugins
