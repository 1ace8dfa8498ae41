// What an operator does with plugins.
#include "plugins/host/plugin_host.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "p2p/base/text.h"
#include "plugins/host/links.h"
#include "plugins/host/loader.h"
#include "plugins/host/plugin_runner.h"
#include "plugins/host/session.h"
#include "plugins/host/shared_counters.h"

namespace helo::plugins {
namespace {

constexpr auto kTick = std::chrono::milliseconds(500);
constexpr Duration kReloadDrain = std::chrono::seconds(1);

Steady::time_point In(Duration d) {
  // Far enough; and no sum overflows.
  return Steady::now() + std::clamp<Duration>(d, Duration::zero(), std::chrono::hours(24));
}

}  // namespace

class PluginHost::Busy {
 public:
  Busy(PluginHost& host, const std::string& name) : host_(host), name_(name) {
    MutexLock lock(host_.mutex_);
    if (host_.stopping_) {
      status_ = absl::UnavailableError("the node is stopping, and its plugins with it");
    } else if (!host_.busy_.insert(name_).second) {
      status_ = absl::FailedPreconditionError(
          absl::StrCat("the plugin ", ToAbsl(QuoteRemote(name_)),
                       " is being loaded or unloaded at this moment; try again when that is done"));
    } else {
      mine_ = true;
    }
  }
  ~Busy() {
    if (!mine_) return;
    MutexLock lock(host_.mutex_);
    host_.busy_.erase(name_);
    host_.changed_.NotifyAll();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  const absl::Status& status() const { return status_; }

 private:
  PluginHost& host_;
  const std::string name_;
  bool mine_ = false;
  absl::Status status_;
};

PluginHost::PluginHost(HostOptions options, HostDeps deps)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      links_(std::make_shared<Links>()),
      sessions_(std::make_shared<SessionTable>()),
      loader_(std::make_unique<Loader>(options_.plugin_dir, options_.private_dir)) {
  links_->log.Open(*deps_.log);
  links_->clock.Open(*deps_.clock);
  if (deps_.forgive) links_->forgive.Open(deps_.forgive);
  if (deps_.ask_peers) links_->ask_peers.Open(deps_.ask_peers);
}

PluginHost::~PluginHost() { Shutdown(options_.limits.stop_within); }

std::optional<PluginHost::Entry> PluginHost::Find(const std::string& name) {
  MutexLock lock(mutex_);
  auto it = entries_.find(name);
  if (it == entries_.end()) return std::nullopt;
  return it->second;
}

absl::Status PluginHost::NotLoaded(const std::string& name) {
  std::string loaded;
  MutexLock lock(mutex_);
  for (const auto& [other, entry] : entries_)
    absl::StrAppend(&loaded, loaded.empty() ? "" : ", ", other);
  return absl::NotFoundError(absl::StrCat(
      "no plugin ", ToAbsl(QuoteRemote(name)), " is loaded; ",
      loaded.empty() ? "none is"
                     : loaded + (loaded.find(',') == std::string::npos ? " is" : " are"),
      "; helo plugin load NAME loads one from ", options_.plugin_dir));
}

// Two plugins cannot serve one capability. Those in quarantine do not serve theirs.
absl::Status PluginHost::CheckDuplicates(const std::string& name, const Library& library) {
  for (const auto& [other, entry] : entries_) {
    if (other == name || !entry.runner->live()) continue;
    for (const Capability& theirs : entry.library->manifest().protocols) {
      for (const Capability& ours : library.manifest().protocols) {
        if (ours.name != theirs.name) continue;
        return absl::AlreadyExistsError(absl::StrCat(
            "the plugin ", name, " offers the capability ", ours.name, "/", ours.version,
            ", and the plugin ", other, ", which is loaded, offers ", theirs.name, "/",
            theirs.version, "; unload that one first (helo plugin unload ", other, ")"));
      }
    }
  }
  return absl::OkStatus();
}

// An instance that never came back from a call still runs the library's code.
absl::Status PluginHost::CannotRun(const std::string& name, const PluginRunner& runner) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the earlier instance of ", name, " (", runner.library()->hash().substr(0, 10),
      ") has not come back from a call yet and its code is still in use; try again when it has, "
      "load a changed build, or restart the node"));
}

absl::Status PluginHost::Load(const std::string& name, const std::string& config) {
  const Busy busy(*this, name);
  if (!busy.status().ok()) return busy.status();
  const std::optional<Entry> old = Find(name);
  if (old && old->runner->live()) {
    return absl::AlreadyExistsError(absl::StrCat("the plugin ", name,
                                                 " is loaded already; helo plugin reload ", name,
                                                 " takes its file anew"));
  }
  auto library = loader_->Open(name);
  if (!library.ok()) return library.status();
  Entry entry;
  entry.library = std::move(*library);
  entry.config = config;
  entry.counters = old ? old->counters : std::make_shared<SharedCounters>();
  if (old) {
    // An instance that is still to end is waited for or given up here: once its entry is gone,
    // nobody would.
    const bool gone = old->runner->Finished(In(options_.limits.stop_within));
    if (!gone && old->library->hash() == entry.library->hash())
      return CannotRun(name, *old->runner);
    old->runner->Abandon();
    entry.counters->restarts.Add();
  }
  return StartInPlaceOf(old, name, std::move(entry));
}

// Whichever library is not the entry's in the end is unmapped: after a refusal the earlier one
// stays and can be restarted.
absl::Status PluginHost::StartInPlaceOf(const std::optional<Entry>& old, const std::string& name,
                                        Entry entry) {
  const std::shared_ptr<Library> fresh = entry.library;
  absl::Status started = Start(name, std::move(entry));
  const std::optional<Entry> now = Find(name);
  if (!now || now->library != fresh) {
    fresh->Unmap().IgnoreError();  // nothing of it ever ran
  } else if (old && old->library->manifest().unloadable() && old->runner->Finished(Steady::now())) {
    const absl::Status unmapped = old->library->Unmap();
    if (!unmapped.ok() && old->library->hash() != fresh->hash())
      deps_.log->Warn("plugin", "a plugin's earlier build stays mapped",
                      {{"plugin", name}, {"reason", std::string(FromAbsl(unmapped.message()))}});
  }
  return started;
}

absl::Status PluginHost::Start(const std::string& name, Entry entry) {
  PluginRunner::Setup setup;
  setup.library = entry.library;
  setup.config = entry.config;
  setup.limits = options_.limits;
  setup.links = links_;
  setup.sessions = sessions_;
  setup.counters = entry.counters;
  entry.runner = std::make_shared<PluginRunner>(std::move(setup));
  const std::shared_ptr<PluginRunner> runner = entry.runner;
  {
    MutexLock lock(mutex_);
    if (stopping_) return absl::UnavailableError("the node is stopping, and its plugins with it");
    if (absl::Status status = CheckDuplicates(name, *entry.library); !status.ok()) return status;
    entries_[name] = std::move(entry);
    if (!watch_.joinable()) watch_ = std::thread([this] { WatchThread(); });
    runner->Launch();
  }
  absl::Status status = runner->Started(In(options_.limits.start_within));
  if (!status.ok()) {
    runner->Fault(std::string(FromAbsl(status.message())));  // if it was too slow
    if (absl::IsDeadlineExceeded(status)) {
      runner->Abandon();
    } else {
      runner->Finished(In(options_.limits.stop_within));
    }
    return absl::FailedPreconditionError(
        absl::StrCat("the plugin ", name, " did not start: ", status.message(),
                     "; it is in quarantine: mend it, then helo plugin reload ", name));
  }
  {
    MutexLock lock(mutex_);  // or Attached could pass between the two
    runner->Publish();
  }
  deps_.log->Info("plugin", "a plugin runs",
                  {{"plugin", name},
                   {"id", runner->library()->manifest().id},
                   {"version", runner->library()->manifest().version},
                   {"file", runner->library()->file()},
                   {"sha256", runner->library()->hash()}});
  return absl::OkStatus();
}

absl::Status PluginHost::StopRunner(const std::shared_ptr<PluginRunner>& runner, Duration drain) {
  const auto until = In(drain);
  runner->Drain(until);
  // The 5 s count from the end of the draining, or from now if it is over before that.
  if (runner->Finished(until + options_.limits.stop_within)) return absl::OkStatus();
  runner->Abandon();
  PluginStatus status;
  runner->Describe(status);
  return absl::DeadlineExceededError(
      absl::StrCat("the plugin ", runner->name(), " does not stop: ", status.reason, " within ",
                   ToAbsl(HumanDuration(Duration(options_.limits.stop_within).count())),
                   "; it is abandoned, and its thread and library stay until the node ends"));
}

absl::StatusOr<UnloadResult> PluginHost::Unload(const std::string& name, Duration drain) {
  const Busy busy(*this, name);
  if (!busy.status().ok()) return busy.status();
  const std::optional<Entry> entry = Find(name);
  if (!entry) return NotLoaded(name);
  if (absl::Status status = StopRunner(entry->runner, drain); !status.ok()) return status;
  {
    MutexLock lock(mutex_);
    entries_.erase(name);
  }
  UnloadResult result;
  const absl::Status unmapped = entry->library->Unmap();
  result.unmapped = unmapped.ok();
  if (!unmapped.ok()) result.note = std::string(FromAbsl(unmapped.message()));
  deps_.log->Info("plugin", "a plugin is unloaded", {{"plugin", name}, {"note", result.note}});
  return result;
}

absl::Status PluginHost::Reload(const std::string& name, const std::optional<std::string>& config) {
  const Busy busy(*this, name);
  if (!busy.status().ok()) return busy.status();
  const std::optional<Entry> old = Find(name);
  if (!old) return NotLoaded(name);
  auto library = loader_->Open(name);
  if (!library.ok()) return library.status();
  {
    MutexLock lock(mutex_);
    if (absl::Status status = CheckDuplicates(name, **library); !status.ok()) {
      (*library)->Unmap().IgnoreError();
      return status;
    }
  }
  const bool same = (*library)->hash() == old->library->hash();
  const absl::Status stopped = StopRunner(old->runner, kReloadDrain);
  if (!stopped.ok() && same) return stopped;
  Entry entry;
  entry.library = std::move(*library);
  entry.config = config.value_or(old->config);
  entry.counters = old->counters;
  entry.counters->restarts.Add();
  return StartInPlaceOf(old, name, std::move(entry));
}

absl::Status PluginHost::Restart(const std::string& name) {
  const Busy busy(*this, name);
  if (!busy.status().ok()) return busy.status();
  const std::optional<Entry> old = Find(name);
  if (!old) return NotLoaded(name);
  if (old->runner->live()) {
    if (absl::Status status = StopRunner(old->runner, kReloadDrain); !status.ok()) return status;
  } else if (!old->runner->Finished(In(options_.limits.stop_within))) {
    return CannotRun(name, *old->runner);
  }
  Entry entry;
  entry.library = old->library;
  entry.config = old->config;
  entry.counters = old->counters;
  entry.counters->restarts.Add();
  return Start(name, std::move(entry));
}

std::vector<PluginStatus> PluginHost::List() {
  std::vector<PluginStatus> list;
  for (const auto& runner : Runners()) runner->Describe(list.emplace_back());
  return list;
}

void PluginHost::Call(const std::string& name, const std::string& command,
                      std::vector<std::string> args, Duration deadline, CallDone done) {
  const std::optional<Entry> entry = Find(name);
  if (!entry) {
    done(NotLoaded(name));
    return;
  }
  entry->runner->Call(command, std::move(args), In(deadline), std::move(done));
  MutexLock lock(mutex_);
  poked_ = true;
  changed_.NotifyAll();
}

std::vector<std::shared_ptr<PluginRunner>> PluginHost::Runners() {
  std::vector<std::shared_ptr<PluginRunner>> runners;
  MutexLock lock(mutex_);
  for (const auto& [name, entry] : entries_) runners.push_back(entry.runner);
  return runners;
}

void PluginHost::Watch() {
  const MonoTime now = deps_.clock->Now();
  for (const auto& runner : Runners()) runner->Watch(now);
}

void PluginHost::WatchThread() {
  for (;;) {
    auto next = Steady::now() + kTick;
    const MonoTime now = deps_.clock->Now();
    for (const auto& runner : Runners()) next = std::min(next, runner->Watch(now));
    MutexLock lock(mutex_);
    while (!stopping_ && !std::exchange(poked_, false)) {
      if (!changed_.WaitUntil(mutex_, next)) break;
    }
    if (stopping_) return;
  }
}

void PluginHost::Shutdown(Duration limit) {
  const auto until = In(limit);
  std::thread watch;
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    watch = std::move(watch_);
    changed_.NotifyAll();
  }
  if (watch.joinable()) watch.join();
  const auto runners = Runners();
  for (const auto& runner : runners) runner->Drain(Steady::now() + limit / 4);
  for (const auto& runner : runners) {
    if (!runner->Finished(until)) runner->Abandon();
  }
  std::map<std::string, Entry> entries;
  {
    MutexLock lock(mutex_);
    // Whoever waits for one of these has been told.
    while (!busy_.empty()) changed_.Wait(mutex_);
    entries.swap(entries_);
  }
  for (const auto& [name, entry] : entries) {
    if (entry.runner->Finished(Steady::now()) && entry.library->manifest().unloadable())
      entry.library->Unmap().IgnoreError();
  }
  links_->CloseAll();
}

}  // namespace helo::plugins
