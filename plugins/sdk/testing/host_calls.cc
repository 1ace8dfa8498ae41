// The fake host: what a plugin calls, from any thread, and what was seen of it.
#include <cstring>
#include <utility>

#include "helo/testing/fake_host.h"
#include "plugins/sdk/testing/borrowed.h"

namespace helo::testing {
namespace {

constexpr size_t kMaxWhyBytes = 256, kMaxPosted = 65536, kMaxTimers = 4096;

std::string Copy(const char* data, size_t size) { return size == 0 ? "" : std::string(data, size); }

}  // namespace

const helo_protocol* FakeHost::ProtocolOf(const SessionState& session) const {
  return descriptor_->protocols[session.peer.protocol];
}

bool FakeHost::Talking(helo_session session) const {
  const auto it = sessions_.find(session);
  return it != sessions_.end() && it->second.opened && !it->second.closing;
}

// nullopt: the call may go on.
std::optional<helo_status> FakeHost::Usable(const char* what) {
  if (state_ == State::kOver) {
    violations_.push_back(std::string(what) + " was called after destroy");
    return HELO_E_STOPPING;
  }
  if (state_ == State::kDraining) return HELO_E_STOPPING;
  return std::nullopt;
}

helo_status FakeHost::DoSend(helo_session session, uint32_t type, helo_bytes payload) {
  const Lock lock(mutex_);
  if (const auto no = Usable("send")) return *no;
  if (!Check(session != 0, "send to the session 0")) return HELO_E_INVALID;
  if (!Talking(session)) return HELO_E_GONE;
  SessionState& state = sessions_[session];
  if (!Check(type < ProtocolOf(state)->message_count, "send of a type that its protocol has not") ||
      !Check(payload.size == 0 || payload.data != nullptr, "send of NULL with a size")) {
    return HELO_E_INVALID;
  }
  if (payload.size > state.peer.max_send_bytes) return HELO_E_TOO_BIG;
  // What a single message takes beyond the quota is let through, or a large one never would be.
  if (state.blocked || (state.unread != 0 && state.unread + payload.size > options_.quota_bytes)) {
    state.again = true;
    return HELO_E_AGAIN;
  }
  state.unread += payload.size;
  state.sent.push_back({type, Copy(reinterpret_cast<const char*>(payload.data), payload.size)});
  return HELO_OK;
}

helo_status FakeHost::DoDisconnect(helo_session session, int32_t penalty, helo_str why) {
  const Lock lock(mutex_);
  if (const auto no = Usable("disconnect")) return *no;
  if (!Check(penalty == 0 || penalty == 1, "disconnect with a penalty that is not 0 or 1")) {
    return HELO_E_INVALID;
  }
  if (!Talking(session)) return HELO_E_GONE;
  SessionState& state = sessions_[session];
  state.closing = true;
  state.reason = penalty == 0 ? HELO_REASON_PLUGIN_POLITE : HELO_REASON_PLUGIN_VIOLATION;
  state.why = Copy(why.data, why.size).substr(0, kMaxWhyBytes);
  return HELO_OK;
}

helo_status FakeHost::DoPost(uint64_t token) {
  const Lock lock(mutex_);
  if (const auto no = Usable("post")) return *no;
  if (posted_.size() >= kMaxPosted) return HELO_E_AGAIN;
  posted_.push_back(token);
  posted_changed_.notify_all();
  return HELO_OK;
}

void FakeHost::DoFault(helo_str why) {
  const Lock lock(mutex_);
  Check(state_ != State::kOver, "fault was called after destroy");
  Check(why.size != 0, "fault without a word of why");
  faults_.push_back(Copy(why.data, why.size));
}

void FakeHost::DoLog(int32_t level, helo_str line) {
  const Lock lock(mutex_);
  Check(state_ != State::kOver, "log was called after destroy");
  Check(level >= HELO_LOG_DEBUG && level <= HELO_LOG_ERROR, "log with a level that there is not");
  logs_.push_back({level, Copy(line.data, line.size)});
}

const void* FakeHost::DoGetExtension(const char* id) {
  const Lock lock(mutex_);
  if (!Check(id != nullptr, "get_extension of NULL")) return nullptr;
  const std::string_view name = id;
  if (name == HELO_EXT_TIMER && options_.timers) return &timer_;
  if (name == HELO_EXT_COMMAND && options_.commands) return &command_;
  if (name == HELO_EXT_PEERS && options_.peers) return &peers_;
  return nullptr;
}

helo_status FakeHost::DoSetTimer(uint64_t token, uint64_t delay_ns) {
  const Lock lock(mutex_);
  if (const auto no = Usable("a timer's set")) return *no;
  if (!Check(state_ == State::kRunning, "a timer was set before start")) return HELO_E_INVALID;
  if (timers_.count(token) == 0 && timers_.size() >= kMaxTimers) return HELO_E_AGAIN;
  timers_[token] = {delay_ns > UINT64_MAX - now_ns_ ? UINT64_MAX : now_ns_ + delay_ns,
                    next_timer_++};
  return HELO_OK;
}

helo_status FakeHost::DoCancelTimer(uint64_t token) {
  const Lock lock(mutex_);
  if (const auto no = Usable("a timer's cancel")) return *no;
  return timers_.erase(token) != 0 ? HELO_OK : HELO_E_GONE;
}

helo_status FakeHost::DoAnswer(uint64_t call, int32_t failed, helo_str text) {
  const Lock lock(mutex_);
  if (const auto no = Usable("answer")) return *no;
  const auto it = calls_.find(call);
  if (!Check(it != calls_.end(), "an answer to a call that there never was")) return HELO_E_GONE;
  if (!Check(!it->second.answer.has_value(),
             "the command " + it->second.name + " was answered twice")) {
    return HELO_E_GONE;
  }
  if (text.size > HELO_MAX_ANSWER_BYTES) return HELO_E_TOO_BIG;
  it->second.answer = Answered{failed != 0, Copy(text.data, text.size)};
  return HELO_OK;
}

// Visits run without the lock: a visitor may call the host.
helo_status FakeHost::DoEachSession(void* arg, int32_t (*visit)(void*, helo_session,
                                                                const helo_session_info*)) {
  std::vector<std::pair<helo_session, FakePeer>> open;
  {
    const Lock lock(mutex_);
    if (const auto no = Usable("each_session")) return *no;
    for (const auto& [id, session] : sessions_) {
      if (session.opened && !session.closed) open.emplace_back(id, session.peer);
    }
  }
  for (const auto& [id, peer] : open) {
    const BorrowedSession info(peer, options_.guard_lent);
    if (visit(arg, id, info.get()) == 0) break;
  }
  return HELO_OK;
}

helo_status FakeHost::DoEachPeer(void* arg, int32_t (*visit)(void*, const helo_peer_info*)) {
  std::vector<FakePeer> all;
  {
    const Lock lock(mutex_);
    if (const auto no = Usable("each_peer")) return *no;
    for (const auto& [id, session] : sessions_) {
      if (session.opened && !session.closed) all.push_back(session.peer);
    }
    all.insert(all.end(), strangers_.begin(), strangers_.end());
  }
  for (const FakePeer& peer : all) {
    const BorrowedPeer info(peer, options_.guard_lent);
    if (visit(arg, info.get()) == 0) break;
  }
  return HELO_OK;
}

bool FakeHost::open(helo_session session) const {
  const Lock lock(mutex_);
  return Talking(session);
}
bool FakeHost::running() const {
  const Lock lock(mutex_);
  return state_ == State::kRunning;
}
std::vector<Closed> FakeHost::closed() const {
  const Lock lock(mutex_);
  return closed_;
}
std::vector<Logged> FakeHost::logs() const {
  const Lock lock(mutex_);
  return logs_;
}
std::vector<std::string> FakeHost::faults() const {
  const Lock lock(mutex_);
  return faults_;
}
std::vector<std::string> FakeHost::violations() const {
  const Lock lock(mutex_);
  return violations_;
}
size_t FakeHost::timers() const {
  const Lock lock(mutex_);
  return timers_.size();
}

}  // namespace helo::testing
