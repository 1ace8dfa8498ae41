// A ticket is the right to hold one file descriptor. Each pool of the fd budget (DESIGN 3) hands
// out at most its limit; a socket owns its descriptor together with its ticket, so closing returns
// both and a leak cannot be written. Thread: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "p2p/base/mutex.h"

namespace helo {

enum class PoolKind : uint8_t {
  kListener,
  kInbound,
  kOutbound,
  kHandshake,
  kClosing,
  kAdmin,
  kFiles,
  kSpare
};
inline constexpr int kPoolKinds = 8;
std::string_view ToString(PoolKind kind);  // "listeners", "inbound", ...

class FdTicket;

class FdPool {
 public:
  FdPool(PoolKind kind, int limit) : kind_(kind), limit_(limit) {}
  FdPool(const FdPool&) = delete;
  FdPool& operator=(const FdPool&) = delete;

  // nullopt when the pool is at its limit.
  [[nodiscard]] std::optional<FdTicket> TryTake();

  PoolKind kind() const { return kind_; }
  int limit() const { return limit_.load(std::memory_order_relaxed); }
  int used() const {
    return used_.load(std::memory_order_relaxed);
  }  // may exceed limit() for a moment: FdTicket::MoveTo
  // Lowering the limit below used() takes nothing away: the pool refuses until enough came back.
  void SetLimit(int limit);
  // `on_room` is called, in whichever thread returned a ticket or raised the limit, when there is
  // room again. It must be short and must not take tickets itself (post to a thread that does, and
  // take there until refused: it is called once for each time that the pool was full, not once a
  // ticket). Returns a handle for Remove; after Remove returns, the function is not running and
  // will not run. A function may remove itself.
  int AddOnRoom(std::function<void()> on_room);
  // For one whom the kernel refused a descriptor although the pool has room: the next ticket that
  // comes back is told too, once.
  void TellNextReturn() { tell_next_.store(true); }
  void RemoveOnRoom(int handle);

 private:
  friend class FdTicket;
  struct OnRoom;
  bool TakeOne();
  void Return();
  void TellRoom();

  const PoolKind kind_;
  std::atomic<int> limit_;
  std::atomic<int> used_{0};
  std::atomic<bool> tell_next_{false};
  Mutex mutex_;
  CondVar finished_;  // a function has returned
  int next_handle_ ABSL_GUARDED_BY(mutex_) = 1;
  std::vector<std::shared_ptr<OnRoom>> on_room_ ABSL_GUARDED_BY(mutex_);
};

// Move-only. The pool must outlive its tickets.
class FdTicket {
 public:
  FdTicket() = default;  // holds nothing
  FdTicket(FdTicket&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)) {}
  FdTicket& operator=(FdTicket&& other) noexcept {
    if (this != &other) {
      Release();
      pool_ = std::exchange(other.pool_, nullptr);
    }
    return *this;
  }
  ~FdTicket() { Release(); }

  explicit operator bool() const { return pool_ != nullptr; }
  FdPool* pool() const { return pool_; }
  void Release();
  // The descriptor lives on in another role (a handshake became a peer). Never fails, since no
  // descriptor is made: who decides that the role is free is the peer table, not the pool, so `to`
  // may stand above its limit for a moment.
  void MoveTo(FdPool& to);
  // As MoveTo, but only if `to` has room.
  [[nodiscard]] bool TryMoveTo(FdPool& to);

 private:
  friend class FdPool;
  explicit FdTicket(FdPool* pool) : pool_(pool) {}
  FdPool* pool_ = nullptr;
};

}  // namespace helo
