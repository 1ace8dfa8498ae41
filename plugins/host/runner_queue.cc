// The other side of the queue: what loops, the host and its watch ask of a runner.
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <set>
#include <utility>

#include "p2p/base/text.h"
#include "plugins/host/plugin_runner.h"

namespace helo::plugins {
namespace {

// So much of a loop's burst, and the plugin's thread is woken before its end, to work beside it.
constexpr size_t kBurstEvents = 1024, kBurstBytes = 131'072;

}  // namespace

absl::Status PluginRunner::Started(Steady::time_point deadline) {
  MutexLock lock(mutex_);
  while (!started_) {
    if (abandoned_ || (!told_.WaitUntil(mutex_, deadline) && !started_)) {
      return absl::DeadlineExceededError(
          absl::StrCat(call_what_.load(), " has not returned for ",
                       ToAbsl(HumanDuration(limits_.start_within.count()))));
    }
  }
  if (state() == Phase::kFaulted) return absl::AbortedError(reason_);
  if (state() == Phase::kDraining) return absl::AbortedError("the node is stopping");
  return absl::OkStatus();
}

bool PluginRunner::published() {
  MutexLock lock(mutex_);
  return published_;
}

void PluginRunner::Publish() {
  MutexLock lock(mutex_);
  if (state() != Phase::kRunning) return;
  published_ = true;
  Gate<Messenger>::Loan messenger(links_->messenger);
  if (!messenger) return;  // the server asks for Capabilities() when it begins
  std::set<std::string> names;
  for (const Capability& c : protocols()) names.insert(c.name);
  for (const std::string& name : names) {
    std::vector<Capability> versions;
    for (const Capability& c : protocols()) {
      if (c.name == name) versions.push_back(c);
    }
    messenger->Offer(versions);
  }
}

void PluginRunner::WithdrawLocked() {
  if (!std::exchange(published_, false)) return;
  Gate<Messenger>::Loan messenger(links_->messenger);
  if (!messenger) return;
  std::set<std::string> names;
  for (const Capability& c : protocols()) names.insert(c.name);
  for (const std::string& name : names) messenger->Withdraw(name, Reason::kPluginGone);
}

bool PluginRunner::FaultLocked(const std::string& why) {
  if (state() >= Phase::kDraining) return false;
  state_ = Phase::kFaulted;
  reason_ = why;
  faulted_at_ = Steady::now();
  counters_->faults.Add();
  WithdrawLocked();
  Wake();
  return true;
}

bool PluginRunner::Fault(const std::string& why) {
  {
    MutexLock lock(mutex_);
    if (!FaultLocked(why)) return false;
  }
  LogFault(why);
  return true;
}

void PluginRunner::LogFault(const std::string& why) {
  if (fault_logged_.exchange(true)) return;
  links_->Log(LogLevel::kError,
              "a plugin failed and is in quarantine: its sessions are closed and no peer is blamed",
              {{"plugin", name()}, {"reason", why}, {"remedy", "helo plugin restart " + name()}});
}

void PluginRunner::Drain(Steady::time_point until) {
  MutexLock lock(mutex_);
  if (state() == Phase::kFaulted) return;
  const int64_t end = until.time_since_epoch().count();
  if (end < drain_until_) drain_until_ = end;
  Wake();
  if (state() == Phase::kDraining) return;
  state_ = Phase::kDraining;
  WithdrawLocked();
}

bool PluginRunner::Finished(Steady::time_point deadline) {
  {
    MutexLock lock(mutex_);
    while (!finished_) {
      if (abandoned_ || (!told_.WaitUntil(mutex_, deadline) && !finished_)) return false;
    }
  }
  MutexLock lock(thread_mutex_);
  if (thread_.joinable()) thread_.join();  // it only has to return from Main
  return true;
}

void PluginRunner::Abandon() {
  if (Finished(Steady::now())) return;
  {
    MutexLock lock(mutex_);
    if (std::exchange(abandoned_, true)) return;
    told_.NotifyAll();
  }
  {
    MutexLock lock(thread_mutex_);
    if (thread_.joinable()) thread_.detach();
  }
  links_->Log(LogLevel::kError,
              "a plugin was told to stop and does not come back: it is abandoned, its thread and "
              "its library stay until the node ends",
              {{"plugin", name()}, {"inside", call_what_.load()}});
}

// True: the caller is to wake the plugin's thread, once it has let go of the lock.
bool PluginRunner::PushLocked(Waiting event, bool wake_later) {
  if (inbox_.events.size() >= limits_.waiting_events &&
      (event.kind == Waiting::Kind::kOpen || event.kind == Waiting::Kind::kMessage)) {
    FaultLocked(absl::StrCat("cannot keep up: ", inbox_.events.size(), " events wait for it, in ",
                             call_what_.load()));
    return false;
  }
  inbox_.events.push_back(event);
  if (wake_later && inbox_.events.size() % kBurstEvents != 0) return false;
  return std::exchange(asleep_, false);
}

void PluginRunner::WakeIfAsleep() {
  {
    MutexLock lock(mutex_);
    if (!std::exchange(asleep_, false)) return;
  }
  Wake();
}

bool PluginRunner::PushOpen(const std::shared_ptr<Session>& session) {
  bool wake;
  {
    MutexLock lock(mutex_);
    if (state() != Phase::kRunning) return false;
    Waiting event;
    event.kind = Waiting::Kind::kOpen;
    event.session = session.get();
    event.token = 0;
    wake = PushLocked(event);
    if (state() != Phase::kRunning) return false;
    inbox_.opens.push_back(session);
    ++live_;
  }
  if (wake) Wake();
  return true;
}

bool PluginRunner::PushMessage(Session& session, uint16_t type, ByteView payload, bool wake_later) {
  bool wake;
  bool asleep;
  {
    MutexLock lock(mutex_);
    if (state() != Phase::kRunning || session.condemned.load(std::memory_order_relaxed)) {
      counters_->dropped.Add();
      return false;
    }
    Waiting event;
    event.kind = Waiting::Kind::kMessage;
    event.type = type;
    event.size = static_cast<uint32_t>(payload.size());
    event.session = &session;
    event.data = inbox_.Copy(payload);
    const uint64_t before = queued_bytes_.load(std::memory_order_relaxed);
    const bool much = before / kBurstBytes != (before + payload.size()) / kBurstBytes;
    wake = PushLocked(event, wake_later && !much);
    asleep = asleep_;
    if (state() != Phase::kRunning) return false;
    const uint64_t added = Session::Load(payload.size());
    const uint64_t load = session.load.fetch_add(added) + added;
    const uint64_t all = queued_bytes_.fetch_add(payload.size()) + payload.size();
    if (Session::Bytes(load) >= limits_.session_bytes ||
        Session::Messages(load) >= limits_.session_messages || all >= limits_.plugin_bytes)
      PauseLocked(session);
  }
  if (wake) Wake();
  return asleep;
}

void PluginRunner::PushWritable(Session& session) {
  bool wake;
  {
    MutexLock lock(mutex_);
    if (state() != Phase::kRunning) return;
    Waiting event;
    event.kind = Waiting::Kind::kWritable;
    event.session = &session;
    event.token = 0;
    wake = PushLocked(event);
  }
  if (wake) Wake();
}

void PluginRunner::PushClose(Session& session, uint32_t code) {
  bool wake;
  {
    MutexLock lock(mutex_);
    if (session.closed.exchange(true)) return;
    if (!session.condemned) --live_;
    if (session.paused.exchange(false)) paused_.erase(&session);
    if (closed_) return;
    Waiting event;
    event.kind = Waiting::Kind::kClose;
    event.size = code;
    event.session = &session;
    event.token = 0;
    wake = PushLocked(event);
  }
  if (wake) Wake();
}

// The message that made it full is still to be taken, and whoever takes it looks at `paused`.
void PluginRunner::PauseLocked(Session& session) {
  if (session.paused || session.closed) return;
  session.paused = true;
  session.seen_taken = session.taken.load(std::memory_order_relaxed);
  session.seen_at = links_->Now().value_or(MonoTime{});
  paused_.insert(&session);
  counters_->pauses.Add();
  // With the lock held, so that it cannot pass the resumption.
  if (Gate<Messenger>::Loan messenger(links_->messenger); messenger)
    messenger->PauseReading(session.info.session, true);
}

bool PluginRunner::MayResume(const Session& session) const {
  const uint64_t load = session.load.load();
  return Session::Bytes(load) <= limits_.session_bytes / 2 &&
         Session::Messages(load) <= limits_.session_messages / 2 &&
         queued_bytes_.load() <= limits_.plugin_bytes / 2;
}

void PluginRunner::ResumeLocked(Session& session) {
  if (!session.paused || !MayResume(session)) return;
  session.paused = false;
  paused_.erase(&session);
  if (Gate<Messenger>::Loan messenger(links_->messenger); messenger)
    messenger->PauseReading(session.info.session, false);
}

std::vector<SessionId> PluginRunner::FindSlowLocked(MonoTime now) {
  std::vector<SessionId> slow;
  for (Session* session : paused_) {
    if (session->condemned) continue;
    const uint32_t taken = session->taken.load(std::memory_order_relaxed);
    if (taken != session->seen_taken) {
      session->seen_taken = taken;
      session->seen_at = now;
    } else if (now - session->seen_at >= limits_.slow_after) {
      CondemnLocked(*session);
      slow.push_back(session->info.session);
      counters_->slow.Add();
      slow_.push_back(now);
    }
  }
  while (!slow_.empty() && now - slow_.front() > limits_.minute) slow_.pop_front();
  return slow;
}

Steady::time_point PluginRunner::Watch(MonoTime now) {
  std::vector<SessionId> slow;
  std::vector<std::shared_ptr<PendingCall>> late;
  std::string fault;
  bool reap = false;
  bool abandon = false;
  Steady::time_point next;
  {
    MutexLock lock(mutex_);
    slow = FindSlowLocked(now);
    late = calls_.TakeDue(Steady::now());
    next = calls_.first();
    const uint64_t number = call_number_.load(std::memory_order_acquire);
    if (number % 2 == 0 || number != std::exchange(stall_number_, number)) stall_since_ = now;
    if (static_cast<int>(slow_.size()) >= limits_.slow_is_fault) {
      fault = absl::StrCat("was too slow for ", slow_.size(), " peers within a minute (in ",
                           call_what_.load(), " now)");
    } else if (number % 2 == 1 && now - stall_since_ >= limits_.stalled_after) {
      fault = absl::StrCat(call_what_.load(), " has not returned for ",
                           ToAbsl(HumanDuration(limits_.stalled_after.count())));
    }
    if (!fault.empty() && !FaultLocked(fault)) fault.clear();
    if (state() == Phase::kFaulted && !fault_logged_) fault = reason_;
    reap = finished_;
    abandon = state() == Phase::kFaulted && !finished_ &&
              Steady::now() - faulted_at_ >= limits_.stop_within;
  }
  for (const SessionId session : slow) {
    CloseByMessenger(session, Reason::kPluginSlow,
                     absl::StrCat("the plugin ", name(), " took no message for ",
                                  ToAbsl(HumanDuration(limits_.slow_after.count()))));
  }
  for (const auto& call : late) {
    call->done(absl::DeadlineExceededError(
        absl::StrCat("the plugin ", name(), " has not answered in time")));
  }
  if (!fault.empty()) LogFault(fault);
  // What a plugin sent before it began to dawdle in the same call.
  if (Gate<Messenger>::Loan messenger(links_->messenger); messenger) messenger->SendAll();
  if (reap) Finished(Steady::now());
  if (abandon) Abandon();
  return next;
}

void PluginRunner::Call(const std::string& command, std::vector<std::string> args,
                        Steady::time_point deadline, CallDone done) {
  absl::Status refused;
  {
    MutexLock lock(mutex_);
    auto it = std::find_if(commands_.begin(), commands_.end(),
                           [&](const CommandInfo& c) { return c.name == command; });
    size_t bytes = 0;
    for (const std::string& arg : args) bytes += arg.size();
    if (state() != Phase::kRunning) {
      refused = absl::FailedPreconditionError(
          state() == Phase::kFaulted
              ? absl::StrCat("the plugin ", name(), " is in quarantine: ", reason_,
                             "; helo plugin restart ", name(), " starts it again")
              : absl::StrCat("the plugin ", name(), " does not run"));
    } else if (it == commands_.end()) {
      std::string all;
      for (const CommandInfo& c : commands_) absl::StrAppend(&all, all.empty() ? "" : ", ", c.name);
      refused = absl::NotFoundError(
          absl::StrCat("the plugin ", name(), " has no command ", ToAbsl(QuoteRemote(command)),
                       all.empty() ? "; it has none at all" : "; it has ", all));
    } else if (args.size() > 64 || bytes > HELO_MAX_ANSWER_BYTES) {
      refused = absl::InvalidArgumentError(
          absl::StrCat(args.size(), " arguments of together ", bytes,
                       " bytes are given; a command takes at most 64 of together 1 MiB"));
    } else if (calls_.size() >= limits_.calls) {
      refused = absl::ResourceExhaustedError(absl::StrCat(
          calls_.size(), " commands wait for the plugin ", name(), " already; try again later"));
    } else {
      PendingCall call{static_cast<uint32_t>(it - commands_.begin()), std::move(args), deadline,
                       std::move(done)};
      counters_->calls.Add();
      Waiting event;
      event.kind = Waiting::Kind::kCommand;
      event.token = calls_.Add(std::move(call));
      PushLocked(event);
      Wake();
      return;
    }
  }
  done(refused);
}

}  // namespace helo::plugins
