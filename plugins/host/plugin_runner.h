// One instance of a plugin and its thread: all of its callbacks, in order, never two at once, never
// on a network loop. Loops push into a bounded queue; the plugin calls back from any thread.
//
//   starting --> running --> draining --> finished      (unload, reload, shutdown)
//       \___________\______> faulted ---> finished      (quarantine)
//
// Whatever happens, each on_open is followed by exactly one on_close, from this thread. One that
// does not come back from a call is abandoned: what its thread needs is kept alive by itself.
// Private to plugins/host. Thread: any, except where said. Long: one class, four sources (the
// plugin's thread, the queue, the plugin's calls, their C face).
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/status/statusor.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "helo/extensions.h"
#include "p2p/base/mutex.h"
#include "plugins/host/batch.h"
#include "plugins/host/calls.h"
#include "plugins/host/limits.h"
#include "plugins/host/links.h"
#include "plugins/host/loader.h"
#include "plugins/host/log_bucket.h"
#include "plugins/host/shared_counters.h"
#include "plugins/host/status.h"
#include "plugins/host/timers.h"

namespace helo::plugins {

using Steady = std::chrono::steady_clock;

class PluginRunner : public std::enable_shared_from_this<PluginRunner> {
 public:
  struct Setup {
    std::shared_ptr<Library> library;
    std::string config;
    Limits limits;
    std::shared_ptr<Links> links;
    std::shared_ptr<SessionTable> sessions;
    std::shared_ptr<SharedCounters> counters;
  };
  explicit PluginRunner(Setup setup);
  ~PluginRunner();

  // The host's. Launch once; then `Started` waits for create and start: OK, or why not.
  void Launch();
  absl::Status Started(Steady::time_point deadline);
  void Publish();                        // offers its capabilities; Fault and Drain withdraw them
  bool Fault(const std::string& why);    // quarantine; false if it is not (any more) running
  void Drain(Steady::time_point until);  // withdraws, takes what waits until then, and finishes
  bool Finished(Steady::time_point deadline);  // and joins; false: it has not come back yet
  void Abandon();                              // if it has not finished: nobody waits for it
  bool running() const { return state() == Phase::kRunning; }
  bool published();
  bool live() const { return state() <= Phase::kRunning; }  // holds its capabilities
  const std::string& name() const { return library_->name(); }
  const std::shared_ptr<Library>& library() const { return library_; }
  const std::vector<Capability>& protocols() const { return library_->manifest().protocols; }
  void Describe(PluginStatus& status);
  void Call(const std::string& command, std::vector<std::string> args, Steady::time_point deadline,
            CallDone done);

  // The loops'. False: the session is not for this instance any more.
  bool PushOpen(const std::shared_ptr<Session>& session);
  // True, only with `wake_later`: WakeIfAsleep must follow soon.
  bool PushMessage(Session& session, uint16_t type, ByteView payload, bool wake_later);
  void WakeIfAsleep();
  void PushWritable(Session& session);
  void PushClose(Session& session, uint32_t code);

  // The watch's, twice a second: slow peers, a callback that stalls, calls past their deadline,
  // a faulted instance that has finished or will not. Returns the next deadline of a call.
  Steady::time_point Watch(MonoTime now);

  // The plugin's (helo_host), runner_calls.cc.
  helo_status Send(helo_session session, uint32_t type, helo_bytes payload);
  helo_status Disconnect(helo_session session, int32_t penalty, helo_str why);
  helo_status Post(uint64_t token);
  void Log(int32_t level, helo_str line);
  helo_status SetTimer(uint64_t token, uint64_t delay_ns);
  helo_status CancelTimer(uint64_t token);
  helo_status Answer(uint64_t call, bool failed, helo_str text);
  helo_status EachSession(void* arg,
                          int32_t (*visit)(void*, helo_session, const helo_session_info*));
  helo_status EachPeer(void* arg, int32_t (*visit)(void*, const helo_peer_info*));

 private:
  enum class Phase : uint8_t { kStarting, kRunning, kDraining, kFaulted };
  Phase state() const { return state_.load(std::memory_order_acquire); }

  // The plugin's thread.
  void Main();
  bool Begin();
  bool AskExtensions();
  void Loop();
  bool NextBatch();
  void Process();
  void Deliver(const Waiting& message);
  void Took(Session& session, uint32_t bytes);
  void OpenOne(std::shared_ptr<Session> session);
  void CloseOne(Session& session, uint32_t code);
  void RunCommand(uint64_t call);
  void FireTimers();
  void SendGathered();
  void Teardown();
  void Judge(Session& session, helo_verdict verdict);
  template <typename Fn>
  auto InCall(const char* what, Fn fn);
  bool MayDeliver() const;

  // Any thread.
  void Wake() { wake_.NotifyOne(); }
  bool Gathers();  // a message that is sent now may wait for those that follow
  bool PushLocked(Waiting event, bool wake_later = false) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool FaultLocked(const std::string& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LogFault(const std::string& why);
  void WithdrawLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PauseLocked(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayResume(const Session& session) const;
  void ResumeLocked(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<SessionId> FindSlowLocked(MonoTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CondemnLocked(Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ClosePeer(Session& session, bool penalty, const std::string& why);
  void CloseByMessenger(SessionId session, Reason reason, const std::string& why);

  const std::shared_ptr<Library> library_;
  const helo_descriptor& descriptor_;
  const std::string config_;
  const Limits limits_;
  const std::shared_ptr<Links> links_;
  const std::shared_ptr<SessionTable> sessions_;
  const std::shared_ptr<SharedCounters> counters_;
  helo_host_ctx* const context_;  // never freed: the plugin may keep it for ever

  std::atomic<Phase> state_{Phase::kStarting};  // written with mutex_
  std::atomic<bool> may_set_timers_{false}, fault_logged_{false};
  std::atomic<uint64_t> queued_bytes_{0};
  std::atomic<int64_t> next_timer_{INT64_MAX};  // steady nanoseconds; written with mutex_
  std::atomic<int64_t> drain_until_{INT64_MAX};
  std::atomic<uint64_t> call_number_{0};  // odd: inside the plugin
  std::atomic<const char*> call_what_{""};

  Mutex mutex_;
  CondVar wake_, told_;
  bool asleep_ ABSL_GUARDED_BY(mutex_) = false;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;  // create and start are decided
  bool published_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;  // nothing is taken into the queue any more
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  std::string reason_ ABSL_GUARDED_BY(mutex_);
  Steady::time_point faulted_at_ ABSL_GUARDED_BY(mutex_){};
  Batch inbox_ ABSL_GUARDED_BY(mutex_);
  size_t posts_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t live_ ABSL_GUARDED_BY(mutex_) = 0;  // sessions neither closed nor condemned
  absl::flat_hash_set<Session*> paused_ ABSL_GUARDED_BY(mutex_);
  std::deque<MonoTime> slow_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::pair<MonoTime, NodeId>> penalties_ ABSL_GUARDED_BY(mutex_);
  Timers timers_ ABSL_GUARDED_BY(mutex_);
  CallTable calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<CommandInfo> commands_ ABSL_GUARDED_BY(mutex_);
  uint64_t stall_number_ ABSL_GUARDED_BY(mutex_) = 0;
  MonoTime stall_since_ ABSL_GUARDED_BY(mutex_){};
  LogBucket log_bucket_;

  Mutex table_mutex_;  // sessions as the plugin sees them; written by its thread
  absl::flat_hash_map<Session*, std::shared_ptr<Session>> table_ ABSL_GUARDED_BY(table_mutex_);

  // The plugin's thread alone.
  helo_plugin* plugin_ = nullptr;
  const helo_plugin_timer* timer_ = nullptr;
  const helo_plugin_command* command_ = nullptr;
  Batch work_;
  Steady::time_point now_{};
  uint64_t taken_bytes_ = 0;  // not yet subtracted from queued_bytes_
  bool quick_ = false;        // the last call into the plugin did not take long
  bool gathered_ = false;     // something was sent with SendLater since the last SendAll
  Steady::time_point gathered_at_{};

  Mutex thread_mutex_;
  std::thread thread_ ABSL_GUARDED_BY(thread_mutex_);
};

}  // namespace helo::plugins
