#include "tests/unit/server/echo_handler.h"

namespace helo {

void EchoHandler::OnOpen(const SessionInfo& /*info*/) { open_.fetch_add(1); }

void EchoHandler::OnMessage(SessionId session, uint16_t type, ByteView payload) {
  if (type == kPong) {
    pongs_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  {
    MutexLock lock(mutex_);
    if (auto it = held_.find(session); it != held_.end()) {
      it->second.emplace_back(payload.begin(), payload.end());
      return;
    }
  }
  if (messenger_->Send(session, kPong, payload) != SendResult::kAgain) return;
  // It pings faster than it reads the answers: it is not read until it has.
  {
    MutexLock lock(mutex_);
    held_[session].emplace_back(payload.begin(), payload.end());
  }
  messenger_->PauseReading(session, true);
}

void EchoHandler::OnWritable(SessionId session) {
  std::deque<Bytes> answers;
  {
    MutexLock lock(mutex_);
    auto it = held_.find(session);
    if (it == held_.end()) return;
    answers.swap(it->second);
  }
  while (!answers.empty()) {
    if (messenger_->Send(session, kPong, answers.front()) == SendResult::kAgain) {
      MutexLock lock(mutex_);
      std::deque<Bytes>& held = held_[session];
      held.insert(held.begin(), std::make_move_iterator(answers.begin()),
                  std::make_move_iterator(answers.end()));
      return;
    }
    answers.pop_front();
  }
  {
    MutexLock lock(mutex_);
    held_.erase(session);
  }
  messenger_->PauseReading(session, false);
}

void EchoHandler::OnClose(SessionId session, uint32_t /*code*/) {
  open_.fetch_sub(1);
  MutexLock lock(mutex_);
  held_.erase(session);
}

}  // namespace helo
