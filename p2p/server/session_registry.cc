#include "p2p/server/session_registry.h"

#include "p2p/server/connection.h"
#include "p2p/server/worker.h"

namespace helo::server {

void SessionRegistry::Add(std::shared_ptr<SessionEntry> entry) {
  Shard& s = shard(entry->session);
  MutexLock lock(s.mutex);
  s.entries[entry->session] = std::move(entry);
}

void SessionRegistry::Remove(SessionId session) {
  Shard& s = shard(session);
  MutexLock lock(s.mutex);
  s.entries.erase(session);
}

std::shared_ptr<SessionEntry> SessionRegistry::Find(SessionId session) {
  Shard& s = shard(session);
  MutexLock lock(s.mutex);
  auto it = s.entries.find(session);
  return it == s.entries.end() ? nullptr : it->second;
}

SendResult SessionRegistry::Send(SessionId session, uint16_t type, ByteView payload, bool later) {
  std::shared_ptr<SessionEntry> entry = Find(session);
  if (!entry) return SendResult::kGone;
  if (type >= entry->message_count) return SendResult::kInvalid;
  if (payload.size() > entry->max_send_bytes) return SendResult::kTooBig;
  Worker* worker = entry->worker;
  // In the loop itself only if nothing of this session is still on its way there, or it would be
  // overtaken.
  if (worker->InThread() && entry->posted_bytes.load(std::memory_order_relaxed) == 0) {
    Connection* connection = worker->Find(entry->conn);
    return connection == nullptr ? SendResult::kGone : connection->Send(*entry, type, payload);
  }
  const size_t waiting = entry->posted_bytes.load(std::memory_order_relaxed) +
                         entry->queued_bytes.load(std::memory_order_relaxed);
  // One message always fits an empty queue, however large.
  if (waiting > 0 && waiting + payload.size() > entry->quota) {
    entry->wanted_bytes = payload.size();
    if (entry->wants_writable.exchange(true)) return SendResult::kAgain;  // somebody asked already
    worker->SendUntold();  // or it would be writable with the queue as full as now
    worker->Post([worker, conn = entry->conn] {  // it may have drained meanwhile
      if (Connection* connection = worker->Find(conn)) connection->TellWritable();
    });
    return SendResult::kAgain;
  }
  entry->posted_bytes.fetch_add(PostedBytes(payload.size()), std::memory_order_relaxed);
  return worker->Send(entry, type, payload, later) ? SendResult::kOk : SendResult::kGone;
}

void SessionRegistry::SendAll() {
  for (Worker* worker : workers_) worker->SendUntold();
}

void SessionRegistry::Disconnect(SessionId session, Reason reason, const std::string& text) {
  std::shared_ptr<SessionEntry> entry = Find(session);
  if (!entry) return;
  entry->worker->SendUntold();  // what was sent before goes first
  entry->worker->Close(entry->conn, reason, text, 0);
}

void SessionRegistry::PauseReading(SessionId session, bool paused) {
  std::shared_ptr<SessionEntry> entry = Find(session);
  if (!entry) return;
  entry->want_paused = paused;
  Worker* worker = entry->worker;
  const auto apply = [worker, entry] {
    if (Connection* connection = worker->Find(entry->conn)) connection->PauseReading(*entry);
  };
  // A pause from within the loop holds at once: what a connection may read in one turn is tens of
  // thousands of empty messages.
  if (paused && worker->InThread()) {
    apply();
  } else {
    worker->Post(apply);
  }
}

void SessionRegistry::Offer(const std::vector<Capability>& versions, Handler* handler) {
  for (Worker* worker : workers_) worker->Offer(versions, handler);
}

void SessionRegistry::Withdraw(const std::string& name, Reason code) {
  for (Worker* worker : workers_) {
    worker->SendUntold();
    worker->Withdraw(name, code);
  }
}

}  // namespace helo::server
