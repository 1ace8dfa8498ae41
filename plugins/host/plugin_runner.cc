// The plugin's thread: every call into the plugin is made here.
#include "plugins/host/plugin_runner.h"

#include <absl/strings/str_cat.h>
#include <pthread.h>

#include <type_traits>
#include <utility>

#include "p2p/base/text.h"
#include "plugins/host/host_context.h"

namespace helo::plugins {
namespace {

constexpr uint64_t kFlushBytes = 256 * 1024;
// What a plugin sends while more messages wait for it goes out with the answers to those, unless it
// takes its time: then at once.
constexpr auto kQuick = std::chrono::microseconds(20);
constexpr auto kGatherFor = std::chrono::microseconds(100);

// Set while a plugin's thread is in on_message and more wait: its runner.
thread_local const PluginRunner* gathering = nullptr;

int64_t Nanoseconds(Steady::time_point at) { return at.time_since_epoch().count(); }

}  // namespace

PluginRunner::PluginRunner(Setup setup)
    : library_(std::move(setup.library)),
      descriptor_(library_->descriptor()),
      config_(std::move(setup.config)),
      limits_(setup.limits),
      links_(std::move(setup.links)),
      sessions_(std::move(setup.sessions)),
      counters_(std::move(setup.counters)),
      context_(NewHostContext()) {}

PluginRunner::~PluginRunner() {
  // The last to hold it may be its own thread, which nobody waited for.
  if (thread_.joinable()) thread_.detach();
}

void PluginRunner::Launch() {
  context_->runner.Open(*this);
  MutexLock lock(thread_mutex_);
  // Holds itself: should nobody wait for it in the end, it still has all that it needs.
  thread_ = std::thread([self = shared_from_this()] { self->Main(); });
  pthread_setname_np(thread_.native_handle(), absl::StrCat("p-", name()).substr(0, 15).c_str());
}

template <typename Fn>
auto PluginRunner::InCall(const char* what, Fn fn) {
  call_what_.store(what, std::memory_order_relaxed);
  const uint64_t number = call_number_.load(std::memory_order_relaxed);
  call_number_.store(number + 1, std::memory_order_release);
  const auto done = [&] {
    call_number_.store(number + 2, std::memory_order_release);
    const Steady::time_point began = std::exchange(now_, Steady::now());
    quick_ = now_ - began <= kQuick;
    counters_->longest_ns.RaiseAlone(static_cast<uint64_t>((now_ - began).count()));
  };
  if constexpr (std::is_void_v<decltype(fn())>) {
    fn();
    done();
  } else {
    auto result = fn();
    done();
    return result;
  }
}

void PluginRunner::Main() {
  now_ = Steady::now();
  if (Begin()) {
    {
      MutexLock lock(mutex_);
      started_ = true;
      if (state() == Phase::kStarting) state_ = Phase::kRunning;
      told_.NotifyAll();
    }
    Loop();
    Teardown();
  }
  context_->runner.Close();
  MutexLock lock(mutex_);
  started_ = closed_ = finished_ = true;
  told_.NotifyAll();
}

bool PluginRunner::Begin() {
  helo_plugin* plugin = nullptr;
  const helo_bytes config = {reinterpret_cast<const uint8_t*>(config_.data()), config_.size()};
  const helo_status created =
      InCall("create", [&] { return descriptor_.create(&context_->host, config, &plugin); });
  if (created != HELO_OK) {
    Fault(absl::StrCat("create failed with status ", created, " and gave no reason"));
    return false;
  }
  plugin_ = plugin;
  if (state() == Phase::kStarting && AskExtensions() && state() == Phase::kStarting) {
    may_set_timers_ = true;
    const helo_status started = descriptor_.start == nullptr
                                    ? HELO_OK
                                    : InCall("start", [&] { return descriptor_.start(plugin_); });
    if (started == HELO_OK) return true;  // even if it called fault(): it is stopped in order
    Fault(absl::StrCat("start failed with status ", started, " and gave no reason"));
  }
  InCall("destroy", [&] { descriptor_.destroy(plugin_); });
  return false;
}

bool PluginRunner::AskExtensions() {
  if (!HELO_HAS(&descriptor_, helo_descriptor, get_extension)) return true;
  const auto ask = [&](const char* id) {
    return InCall("get_extension", [&] { return descriptor_.get_extension(plugin_, id); });
  };
  timer_ = static_cast<const helo_plugin_timer*>(ask(HELO_EXT_TIMER));
  if (timer_ != nullptr && !HELO_HAS(timer_, helo_plugin_timer, on_timer)) timer_ = nullptr;
  command_ = static_cast<const helo_plugin_command*>(ask(HELO_EXT_COMMAND));
  auto commands = CheckCommands(command_);
  if (!commands.ok()) {
    Fault(std::string(FromAbsl(commands.status().message())));
    return false;
  }
  MutexLock lock(mutex_);
  commands_ = std::move(*commands);
  return true;
}

void PluginRunner::Loop() {
  while (NextBatch()) {
    Process();
    work_.Clear();
    FireTimers();
  }
}

// Waits for something to do. False: it is over.
bool PluginRunner::NextBatch() {
  MutexLock lock(mutex_);
  for (;;) {
    if (state() == Phase::kFaulted) return false;
    if (state() == Phase::kDraining &&
        (inbox_.events.empty() || Nanoseconds(Steady::now()) >= drain_until_))
      return false;
    if (!inbox_.events.empty()) break;
    const int64_t first = timers_.first();
    now_ = Steady::now();
    if (first <= Nanoseconds(now_)) break;
    asleep_ = true;
    if (first == INT64_MAX) {
      wake_.Wait(mutex_);
    } else {
      wake_.WaitUntil(mutex_, Steady::time_point(Steady::duration(first)));
    }
    asleep_ = false;
  }
  std::swap(inbox_, work_);
  now_ = Steady::now();
  return true;
}

bool PluginRunner::MayDeliver() const {
  const Phase phase = state_.load(std::memory_order_relaxed);
  return phase == Phase::kRunning ||
         (phase == Phase::kDraining &&
          Nanoseconds(now_) < drain_until_.load(std::memory_order_relaxed));
}

void PluginRunner::Process() {
  auto open = work_.opens.begin();
  for (const Waiting& event : work_.events) {
    switch (event.kind) {
      case Waiting::Kind::kMessage:
        if (quick_ && &event != &work_.events.back()) gathering = this;
        Deliver(event);
        gathering = nullptr;
        if (gathered_ && (!quick_ || now_ - gathered_at_ > kGatherFor)) SendGathered();
        break;
      case Waiting::Kind::kOpen:
        OpenOne(std::move(*open++));
        break;
      case Waiting::Kind::kClose:
        CloseOne(*event.session, event.size);
        break;
      case Waiting::Kind::kWritable:
        if (event.session->open_in_plugin && MayDeliver() && descriptor_.on_writable != nullptr)
          InCall("on_writable",
                 [&] { descriptor_.on_writable(plugin_, event.session->info.session); });
        break;
      case Waiting::Kind::kPosted: {
        {
          MutexLock lock(mutex_);
          --posts_;
        }
        if (MayDeliver() && descriptor_.on_posted != nullptr)
          InCall("on_posted", [&] { descriptor_.on_posted(plugin_, event.token); });
        break;
      }
      case Waiting::Kind::kCommand:
        RunCommand(event.token);
        break;
    }
    if (next_timer_.load(std::memory_order_relaxed) <= Nanoseconds(now_)) FireTimers();
  }
  SendGathered();
  queued_bytes_.fetch_sub(std::exchange(taken_bytes_, 0));
  MutexLock lock(mutex_);
  if (paused_.empty()) return;
  const std::vector<Session*> paused(paused_.begin(), paused_.end());
  for (Session* session : paused) ResumeLocked(*session);
}

void PluginRunner::SendGathered() {
  if (!std::exchange(gathered_, false)) return;
  if (Gate<Messenger>::Loan messenger(links_->messenger); messenger) messenger->SendAll();
}

bool PluginRunner::Gathers() {
  if (gathering != this) return false;
  if (!std::exchange(gathered_, true)) gathered_at_ = now_;
  return true;
}

void PluginRunner::Deliver(const Waiting& message) {
  Session& session = *message.session;
  if (session.open_in_plugin && MayDeliver() &&
      !session.condemned.load(std::memory_order_relaxed)) {
    const helo_verdict verdict = InCall("on_message", [&] {
      return descriptor_.on_message(plugin_, session.info.session, message.type,
                                    {message.data, message.size});
    });
    counters_->messages_in.AddAlone();
    counters_->bytes_in.AddAlone(message.size);
    if (verdict != HELO_V_OK) Judge(session, verdict);
  } else {
    counters_->dropped.Add();
  }
  Batch::LoanEnds(message.data, message.size);
  Took(session, message.size);
}

void PluginRunner::Took(Session& session, uint32_t bytes) {
  session.load.fetch_sub(Session::Load(bytes));
  session.taken.store(session.taken.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  taken_bytes_ += bytes;
  if (taken_bytes_ >= kFlushBytes) queued_bytes_.fetch_sub(std::exchange(taken_bytes_, 0));
  if (session.paused.load() && MayResume(session)) {
    MutexLock lock(mutex_);
    ResumeLocked(session);
  }
}

void PluginRunner::OpenOne(std::shared_ptr<Session> session) {
  Session& opened = *session;
  const bool deliver = MayDeliver();
  {
    MutexLock lock(table_mutex_);
    opened.open_in_plugin = deliver;
    table_.emplace(&opened, std::move(session));
  }
  if (!deliver) return;
  counters_->opened.AddAlone();
  if (descriptor_.on_open == nullptr) return;
  helo_session_info info;
  FillInfo(opened, info);
  InCall("on_open", [&] { descriptor_.on_open(plugin_, opened.info.session, &info); });
}

void PluginRunner::CloseOne(Session& session, uint32_t code) {
  if (session.open_in_plugin) {
    if (descriptor_.on_close != nullptr) {
      InCall("on_close", [&] {
        descriptor_.on_close(plugin_, session.info.session, static_cast<int32_t>(code));
      });
    }
    counters_->closed.AddAlone();
  }
  MutexLock lock(table_mutex_);
  session.open_in_plugin = false;
  table_.erase(&session);  // `session` may be gone now
}

void PluginRunner::RunCommand(uint64_t call) {
  std::shared_ptr<PendingCall> pending;
  {
    MutexLock lock(mutex_);
    pending = calls_.Find(call);
  }
  if (!pending || !MayDeliver()) return;  // nobody waits any more, or Teardown answers
  std::vector<helo_str> args;
  args.reserve(pending->args.size());
  for (const std::string& arg : pending->args) args.push_back({arg.data(), arg.size()});
  InCall("on_command", [&] {
    command_->on_command(plugin_, call, pending->command, args.data(),
                         static_cast<uint32_t>(args.size()));
  });
}

// Those that were due when it was called; one that is set anew meanwhile waits its turn.
void PluginRunner::FireTimers() {
  const int64_t now = Nanoseconds(now_);
  while (next_timer_.load(std::memory_order_relaxed) <= now && MayDeliver()) {
    std::optional<uint64_t> token;
    {
      MutexLock lock(mutex_);
      token = timers_.TakeDue(now);
      next_timer_ = timers_.first();
    }
    if (token && timer_ != nullptr) InCall("on_timer", [&] { timer_->on_timer(plugin_, *token); });
  }
}

void PluginRunner::Judge(Session& session, helo_verdict verdict) {
  if (verdict == HELO_V_PENALISE) {
    ClosePeer(session, /*penalty=*/true, absl::StrCat(name(), ": the protocol was broken"));
  } else if (verdict == HELO_V_DISCONNECT) {
    ClosePeer(session, /*penalty=*/false, "");
  } else {
    Fault(absl::StrCat("on_message gave the verdict ", verdict, ", which helo/plugin.h has not"));
  }
}

// Takes what is left without showing it to the plugin, closes every session towards it, stops it.
void PluginRunner::Teardown() {
  drain_until_ = 0;  // nothing is delivered any more
  for (;;) {
    {
      MutexLock lock(mutex_);
      timers_.Clear();
      next_timer_ = INT64_MAX;
      closed_ = inbox_.events.empty();
      if (closed_) break;
      std::swap(inbox_, work_);
    }
    Process();
    work_.Clear();
  }
  std::vector<std::shared_ptr<Session>> left;
  {
    MutexLock lock(table_mutex_);
    for (const auto& [raw, session] : table_) left.push_back(session);
  }
  for (const auto& session : left) CloseOne(*session, static_cast<uint32_t>(Reason::kPluginGone));
  left.clear();
  std::vector<std::shared_ptr<PendingCall>> unanswered;
  {
    MutexLock lock(mutex_);
    unanswered = calls_.TakeDue(Steady::time_point::max());
    paused_.clear();
  }
  for (const auto& call : unanswered)
    call->done(absl::FailedPreconditionError(absl::StrCat("the plugin ", name(), " has stopped")));
  if (descriptor_.stop != nullptr) InCall("stop", [&] { descriptor_.stop(plugin_); });
  InCall("destroy", [&] { descriptor_.destroy(plugin_); });
}

}  // namespace helo::plugins
