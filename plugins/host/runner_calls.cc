// What a plugin asks of the node, from any of its threads.
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "p2p/base/text.h"
#include "plugins/host/host_context.h"
#include "plugins/host/plugin_runner.h"

namespace helo::plugins {
namespace {

constexpr size_t kMaxWhy = 256;
constexpr size_t kMaxLine = 4096;
constexpr auto kPeersPatience = std::chrono::seconds(1);

bool Bad(helo_str text) { return text.data == nullptr && text.size > 0; }
std::string Cut(helo_str text, size_t most) {
  return text.size == 0 ? std::string() : std::string(text.data, std::min(text.size, most));
}

}  // namespace

helo_status PluginRunner::Send(helo_session id, uint32_t type, helo_bytes payload) {
  if (state() >= Phase::kDraining) return HELO_E_STOPPING;
  if (payload.data == nullptr && payload.size > 0) return HELO_E_INVALID;
  const std::shared_ptr<Session> session = sessions_->Find(id);
  if (!session || session->runner.get() != this || session->condemned) return HELO_E_GONE;
  if (type >= session->info.message_count) return HELO_E_INVALID;
  if (payload.size > session->info.max_send_bytes) return HELO_E_TOO_BIG;
  Gate<Messenger>::Loan messenger(links_->messenger);
  if (!messenger) return HELO_E_GONE;
  const ByteView bytes(payload.data, payload.size);
  const auto type16 = static_cast<uint16_t>(type);
  switch (Gathers() ? messenger->SendLater(id, type16, bytes)
                    : messenger->Send(id, type16, bytes)) {
    case SendResult::kOk:
      counters_->messages_out.Add();
      counters_->bytes_out.Add(payload.size);
      return HELO_OK;
    case SendResult::kAgain:
      counters_->refused.Add();
      return HELO_E_AGAIN;
    case SendResult::kGone:
      return HELO_E_GONE;
    case SendResult::kTooBig:
      return HELO_E_TOO_BIG;
    case SendResult::kInvalid:
      return HELO_E_INVALID;
  }
  return HELO_E_GONE;
}

helo_status PluginRunner::Disconnect(helo_session id, int32_t penalty, helo_str why) {
  if (state() >= Phase::kDraining) return HELO_E_STOPPING;
  if ((penalty != 0 && penalty != 1) || Bad(why)) return HELO_E_INVALID;
  const std::shared_ptr<Session> session = sessions_->Find(id);
  if (!session || session->runner.get() != this) return HELO_E_GONE;
  ClosePeer(*session, penalty == 1, Cut(why, kMaxWhy));
  return HELO_OK;
}

void PluginRunner::CondemnLocked(Session& session) {
  if (session.condemned.exchange(true)) return;
  if (!session.closed) --live_;
}

void PluginRunner::CloseByMessenger(SessionId session, Reason reason, const std::string& why) {
  if (Gate<Messenger>::Loan messenger(links_->messenger); messenger)
    messenger->Disconnect(session, reason, why);
}

void PluginRunner::ClosePeer(Session& session, bool penalty, const std::string& why) {
  const std::optional<MonoTime> now = links_->Now();
  std::vector<NodeId> innocent;
  std::string fault;
  {
    MutexLock lock(mutex_);
    if (session.condemned || session.closed) return;  // it is on its way already
    CondemnLocked(session);
    if (penalty && now) {
      while (!penalties_.empty() && *now - penalties_.front().first > limits_.minute)
        penalties_.pop_front();
      // A peer that comes back and is penalised again is still one peer.
      std::erase_if(penalties_, [&](const auto& p) { return p.second == session.info.peer; });
      penalties_.emplace_back(*now, session.info.peer);
      const size_t blamed = penalties_.size();
      const size_t all = blamed + live_;
      if (blamed >= static_cast<size_t>(limits_.penalties_at_least) && 2 * blamed > all) {
        fault = absl::StrCat("penalised ", blamed, " of its ", all,
                             " peers within a minute, which says more of it than of them");
        for (const auto& [when, id] : penalties_) innocent.push_back(id);
        penalties_.clear();
        if (!FaultLocked(fault)) fault.clear();
      }
    }
  }
  if (!innocent.empty()) {
    // The withdrawal closes this one, with no blame.
    if (!fault.empty()) LogFault(fault);
    Gate<const std::function<void(const NodeId&)>>::Loan forgive(links_->forgive);
    for (const NodeId& id : innocent) {
      if (forgive && *forgive) (*forgive)(id);
    }
    return;
  }
  if (penalty) counters_->penalties.Add();
  CloseByMessenger(session.info.session, penalty ? Reason::kPluginViolation : Reason::kPluginPolite,
                   why);
}

helo_status PluginRunner::Post(uint64_t token) {
  bool wake;
  {
    MutexLock lock(mutex_);
    if (state() >= Phase::kDraining) return HELO_E_STOPPING;
    if (posts_ >= limits_.posts) return HELO_E_AGAIN;
    ++posts_;
    Waiting event;
    event.kind = Waiting::Kind::kPosted;
    event.token = token;
    wake = PushLocked(event);
  }
  if (wake) Wake();
  return HELO_OK;
}

void PluginRunner::Log(int32_t level, helo_str line) {
  if (Bad(line)) return;
  const LogBucket::Pass pass = log_bucket_.Take();
  if (!pass.log) {
    counters_->log_lines_dropped.Add();
    return;
  }
  LogLevel out = LogLevel::kError;
  if (level == HELO_LOG_DEBUG) out = LogLevel::kDebug;
  if (level == HELO_LOG_INFO) out = LogLevel::kInfo;
  if (level == HELO_LOG_WARNING) out = LogLevel::kWarn;
  LogFields fields = {{"plugin", name()}, {"line", Cut(line, kMaxLine)}};
  if (pass.suppressed > 0) fields.emplace_back("suppressed", std::to_string(pass.suppressed));
  links_->Log(out, "a plugin says", fields);
}

helo_status PluginRunner::SetTimer(uint64_t token, uint64_t delay_ns) {
  if (!may_set_timers_) return HELO_E_INVALID;
  // Three hundred years are for ever.
  const int64_t now = Steady::now().time_since_epoch().count();
  const int64_t when = now + static_cast<int64_t>(std::min<uint64_t>(
                                 delay_ns, static_cast<uint64_t>(INT64_MAX / 2)));
  bool wake;
  {
    MutexLock lock(mutex_);
    if (state() >= Phase::kDraining) return HELO_E_STOPPING;
    if (!timers_.Has(token) && timers_.size() >= limits_.timers) return HELO_E_AGAIN;
    timers_.Set(token, when);
    wake = asleep_ && timers_.first() < next_timer_;
    next_timer_ = timers_.first();
  }
  if (wake) Wake();
  return HELO_OK;
}

helo_status PluginRunner::CancelTimer(uint64_t token) {
  MutexLock lock(mutex_);
  if (state() >= Phase::kDraining) return HELO_E_STOPPING;
  if (!timers_.Cancel(token)) return HELO_E_GONE;
  next_timer_ = timers_.first();
  return HELO_OK;
}

helo_status PluginRunner::Answer(uint64_t call, bool failed, helo_str text) {
  if (Bad(text)) return HELO_E_INVALID;
  if (text.size > HELO_MAX_ANSWER_BYTES) return HELO_E_TOO_BIG;
  std::shared_ptr<PendingCall> pending;
  {
    MutexLock lock(mutex_);
    if (state() >= Phase::kDraining) return HELO_E_STOPPING;
    pending = calls_.Take(call);
  }
  if (!pending) return HELO_E_GONE;
  pending->done(plugins::Answer{failed, Cut(text, HELO_MAX_ANSWER_BYTES)});
  return HELO_OK;
}

helo_status PluginRunner::EachSession(void* arg, int32_t (*visit)(void*, helo_session,
                                                                  const helo_session_info*)) {
  if (visit == nullptr) return HELO_E_INVALID;
  if (state() >= Phase::kDraining) return HELO_E_STOPPING;
  std::vector<std::shared_ptr<Session>> sessions;
  {
    MutexLock lock(table_mutex_);
    for (const auto& [raw, session] : table_) {
      if (session->open_in_plugin) sessions.push_back(session);
    }
  }
  std::sort(sessions.begin(), sessions.end(),
            [](const auto& a, const auto& b) { return a->info.session < b->info.session; });
  for (const auto& session : sessions) {
    helo_session_info info;
    FillInfo(*session, info);
    if (visit(arg, session->info.session, &info) == 0) break;
  }
  return HELO_OK;
}

helo_status PluginRunner::EachPeer(void* arg, int32_t (*visit)(void*, const helo_peer_info*)) {
  if (visit == nullptr) return HELO_E_INVALID;
  if (state() >= Phase::kDraining) return HELO_E_STOPPING;
  struct Reply {
    Mutex mutex;
    CondVar came;
    bool answered ABSL_GUARDED_BY(mutex) = false;
    Peers peers ABSL_GUARDED_BY(mutex);
  };
  auto reply = std::make_shared<Reply>();
  {
    Gate<const AskPeers>::Loan ask(links_->ask_peers);
    if (!ask || !*ask) return HELO_E_AGAIN;
    (*ask)([reply](Peers peers) {
      MutexLock lock(reply->mutex);
      reply->answered = true;
      reply->peers = std::move(peers);
      reply->came.NotifyAll();
    });
  }
  Peers peers;
  {
    const auto deadline = Steady::now() + kPeersPatience;
    MutexLock lock(reply->mutex);
    while (!reply->answered) {
      if (!reply->came.WaitUntil(reply->mutex, deadline) && !reply->answered) return HELO_E_AGAIN;
    }
    peers = reply->peers;
  }
  if (!peers) return HELO_E_AGAIN;
  for (const Peer& peer : *peers) {
    helo_peer_info info{};
    info.struct_size = sizeof(info);
    info.inbound = peer.inbound ? 1 : 0;
    std::copy(peer.id.bytes.begin(), peer.id.bytes.end(), info.node_id);
    info.address = {peer.address.data(), peer.address.size()};
    info.agent = {peer.agent.data(), peer.agent.size()};
    info.age_ms = peer.age_ms;
    info.rtt_us = peer.rtt_us;
    if (visit(arg, &info) == 0) break;
  }
  return HELO_OK;
}

}  // namespace helo::plugins
