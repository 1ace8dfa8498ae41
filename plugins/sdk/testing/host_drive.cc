// The fake host: peers, time, tokens and commands, as a test plays them.
#include <algorithm>
#include <utility>

#include "helo/testing/fake_host.h"
#include "plugins/sdk/testing/borrowed.h"

namespace helo::testing {

helo_session FakeHost::Open(FakePeer peer) {
  helo_session id = 0;
  const helo_protocol* protocol = nullptr;
  {
    const Lock lock(mutex_);
    if (!Check(state_ == State::kRunning, "a session was opened while it does not run")) return 0;
    if (!Check(peer.protocol < descriptor_->protocol_count, "there is no such protocol")) return 0;
    protocol = descriptor_->protocols[peer.protocol];
    if (peer.node_id == std::array<uint8_t, 32>{}) peer.node_id.fill(next_node_++);
    if (peer.max_send_bytes == 0) peer.max_send_bytes = protocol->max_message_bytes;
    id = next_session_++;
    sessions_[id].peer = peer;
  }
  InCall("on_open", [&] {
    {
      const Lock lock(mutex_);
      sessions_[id].opened = true;
    }
    const BorrowedSession info(peer, options_.guard_lent);
    if (descriptor_->on_open != nullptr) descriptor_->on_open(plugin_, id, info.get());
  });
  return id;
}

helo_verdict FakeHost::Message(helo_session session, uint32_t type, std::string_view payload) {
  {
    const Lock lock(mutex_);
    if (!Talking(session)) return HELO_V_OK;
    const helo_protocol* protocol = ProtocolOf(sessions_[session]);
    if (!Check(type < protocol->message_count && payload.size() <= protocol->max_message_bytes,
               "the test sent what a node would not let through: a type or size out of range")) {
      return HELO_V_OK;
    }
  }
  helo_verdict verdict = HELO_V_OK;
  InCall("on_message", [&] {
    const Borrowed bytes(payload, options_.guard_lent);
    verdict = descriptor_->on_message(plugin_, session, type, bytes.bytes());
    const Lock lock(mutex_);
    if (verdict == HELO_V_OK) return;
    if (!Check(verdict == HELO_V_PENALISE || verdict == HELO_V_DISCONNECT,
               "on_message gave a verdict that there is not: " + std::to_string(verdict))) {
      faults_.push_back("an unknown verdict");
      return;
    }
    SessionState& state = sessions_[session];
    if (state.closing) return;
    state.closing = true;
    state.reason =
        verdict == HELO_V_PENALISE ? HELO_REASON_PLUGIN_VIOLATION : HELO_REASON_PLUGIN_POLITE;
  });
  return verdict;
}

void FakeHost::Close(helo_session session, int32_t reason) {
  {
    const Lock lock(mutex_);
    if (!Talking(session)) return;
    SessionState& state = sessions_[session];
    state.closing = true;
    state.reason = reason;
  }
  Settle();
}

std::vector<Sent> FakeHost::TakeSent(helo_session session) {
  std::vector<Sent> sent;
  {
    const Lock lock(mutex_);
    const auto it = sessions_.find(session);
    if (it == sessions_.end()) return sent;
    sent.swap(it->second.sent);
    it->second.unread = 0;
    if (it->second.blocked) return sent;
  }
  Unblock(session);
  return sent;
}

void FakeHost::Block(helo_session session) {
  const Lock lock(mutex_);
  if (Talking(session)) sessions_[session].blocked = true;
}

void FakeHost::Unblock(helo_session session) {
  {
    const Lock lock(mutex_);
    if (!Talking(session)) return;
    SessionState& state = sessions_[session];
    state.blocked = false;
    if (state.unread > options_.quota_bytes / 2 || !std::exchange(state.again, false)) return;
  }
  InCall("on_writable", [&] {
    if (descriptor_->on_writable != nullptr) descriptor_->on_writable(plugin_, session);
  });
}

void FakeHost::AddPeer(FakePeer peer) {
  const Lock lock(mutex_);
  if (peer.node_id == std::array<uint8_t, 32>{}) peer.node_id.fill(next_node_++);
  strangers_.push_back(std::move(peer));
}

void FakeHost::Advance(std::chrono::nanoseconds by) {
  uint64_t until = 0;
  {
    const Lock lock(mutex_);
    until = now_ns_ + static_cast<uint64_t>(by.count());
  }
  for (;;) {
    uint64_t token = 0;
    {
      const Lock lock(mutex_);
      const auto first = std::min_element(timers_.begin(), timers_.end(), [](auto& a, auto& b) {
        return std::pair(a.second.due_ns, a.second.order) <
               std::pair(b.second.due_ns, b.second.order);
      });
      if (first == timers_.end() || first->second.due_ns > until || state_ != State::kRunning) {
        now_ns_ = until;
        return;
      }
      now_ns_ = std::max(now_ns_, first->second.due_ns);
      token = first->first;
      timers_.erase(first);
    }
    const bool called = InCall("on_timer", [&] {
      if (plugin_timer_ != nullptr) plugin_timer_->on_timer(plugin_, token);
    });
    if (!called) return;
  }
}

size_t FakeHost::RunPosted() {
  size_t count = 0, waiting = 0;
  {
    const Lock lock(mutex_);
    waiting = posted_.size();
  }
  for (; count < waiting && running(); ++count) {
    uint64_t token = 0;
    {
      const Lock lock(mutex_);
      token = posted_.front();
      posted_.pop_front();
    }
    InCall("on_posted", [&] {
      if (descriptor_->on_posted != nullptr) descriptor_->on_posted(plugin_, token);
    });
  }
  return count;
}

size_t FakeHost::WaitPosted(std::chrono::milliseconds most) {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    posted_changed_.wait_for(lock, most, [&] { return !posted_.empty(); });
  }
  return RunPosted();
}

uint64_t FakeHost::BeginCommand(std::string_view name, const std::vector<std::string>& arguments) {
  uint64_t call = 0;
  uint32_t index = 0;
  {
    const Lock lock(mutex_);
    if (state_ != State::kRunning || plugin_command_ == nullptr || !options_.commands) return 0;
    while (index < plugin_command_->count && plugin_command_->commands[index]->name != name)
      ++index;
    if (index == plugin_command_->count) return 0;
    call = next_call_++;
    calls_[call].name = name;
  }
  InCall("on_command", [&] {
    std::vector<Borrowed> copies;
    copies.reserve(arguments.size());
    for (const std::string& argument : arguments) {
      copies.emplace_back(argument, options_.guard_lent);
    }
    std::vector<helo_str> views;
    views.reserve(copies.size());
    for (const Borrowed& copy : copies) views.push_back(copy.str());
    const BorrowedOf<helo_str> lent(views.data(), views.size(), options_.guard_lent);
    plugin_command_->on_command(plugin_, call, index, lent.get(),
                                static_cast<uint32_t>(views.size()));
  });
  return call;
}

Answered FakeHost::Command(std::string_view name, const std::vector<std::string>& arguments) {
  const uint64_t call = BeginCommand(name, arguments);
  if (call == 0) return {true, "there is no such command"};
  return TakeAnswer(call).value_or(Answered{true, "no answer yet"});
}

std::optional<Answered> FakeHost::TakeAnswer(uint64_t call) {
  const Lock lock(mutex_);
  const auto it = calls_.find(call);
  return it == calls_.end() ? std::nullopt : it->second.answer;
}

}  // namespace helo::testing
