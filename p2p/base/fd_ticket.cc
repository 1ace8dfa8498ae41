// Taking and returning is lock-free. Nobody who was refused is forgotten: TryTake never overshoots,
// so the return that takes `used` from the limit to below it is seen as such by exactly one thread,
// which tells.
#include "p2p/base/fd_ticket.h"

#include <algorithm>

namespace helo {

// Fields other than `call` are guarded by the pool's mutex.
struct FdPool::OnRoom {
  int handle;
  std::function<void()> call;
  int running = 0;
  bool removed = false;
};

namespace {
// The function that this thread is inside of, so that it may remove itself.
thread_local const void* t_inside = nullptr;
}  // namespace

std::string_view ToString(PoolKind kind) {
  switch (kind) {
    case PoolKind::kListener:
      return "listeners";
    case PoolKind::kInbound:
      return "inbound";
    case PoolKind::kOutbound:
      return "outbound";
    case PoolKind::kHandshake:
      return "handshakes";
    case PoolKind::kClosing:
      return "closing";
    case PoolKind::kAdmin:
      return "admin";
    case PoolKind::kFiles:
      return "files";
    case PoolKind::kSpare:
      return "spare";
  }
  return "unknown";
}

bool FdPool::TakeOne() {
  for (;;) {
    // The limit first: a return between the two loads is then seen, and one after them tells.
    const int limit = limit_.load();
    int used = used_.load();
    if (used >= limit) return false;
    if (used_.compare_exchange_weak(used, used + 1)) return true;
  }
}

std::optional<FdTicket> FdPool::TryTake() {
  if (!TakeOne()) return std::nullopt;
  return FdTicket(this);
}

void FdPool::SetLimit(int limit) {
  // Store before load here, subtract before load in Return: of the two at least one sees the other.
  const int before = limit_.exchange(limit);
  if (limit > before && used_.load() < limit) TellRoom();
}

void FdPool::Return() {
  const int before = used_.fetch_sub(1);
  const bool asked = tell_next_.load() && tell_next_.exchange(false);
  if (asked || before == limit_.load()) TellRoom();
}

int FdPool::AddOnRoom(std::function<void()> on_room) {
  MutexLock lock(mutex_);
  auto entry = std::make_shared<OnRoom>();
  entry->handle = next_handle_++;
  entry->call = std::move(on_room);
  on_room_.push_back(entry);
  return entry->handle;
}

void FdPool::RemoveOnRoom(int handle) {
  MutexLock lock(mutex_);
  const auto at = std::find_if(on_room_.begin(), on_room_.end(),
                               [&](const auto& entry) { return entry->handle == handle; });
  if (at == on_room_.end()) return;
  const std::shared_ptr<OnRoom> entry = *at;
  on_room_.erase(at);
  entry->removed = true;
  const int mine = t_inside == entry.get() ? 1 : 0;
  while (entry->running > mine) finished_.Wait(mutex_);
}

void FdPool::TellRoom() {
  // Called without the mutex: a function may take locks whose holders return tickets.
  std::vector<std::shared_ptr<OnRoom>> entries;
  {
    MutexLock lock(mutex_);
    entries = on_room_;
  }
  for (const std::shared_ptr<OnRoom>& entry : entries) {
    {
      MutexLock lock(mutex_);
      if (entry->removed) continue;
      ++entry->running;
    }
    const void* outer = std::exchange(t_inside, entry.get());
    entry->call();
    t_inside = outer;
    MutexLock lock(mutex_);
    --entry->running;
    if (entry->removed) finished_.NotifyAll();
  }
}

void FdTicket::Release() {
  if (FdPool* pool = std::exchange(pool_, nullptr)) pool->Return();
}

void FdTicket::MoveTo(FdPool& to) {
  if (pool_ == nullptr || pool_ == &to) return;
  to.used_.fetch_add(1);
  std::exchange(pool_, &to)->Return();
}

bool FdTicket::TryMoveTo(FdPool& to) {
  if (pool_ == nullptr) return false;
  if (pool_ == &to) return true;
  if (!to.TakeOne()) return false;
  std::exchange(pool_, &to)->Return();
  return true;
}

}  // namespace helo
