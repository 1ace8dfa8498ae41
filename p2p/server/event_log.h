// What happened, in order, for whoever watches: bounded rings under one sequence of numbers. A
// reader that was too slow, or comes from an earlier run of the node, is told how much it missed
// and stalls nobody. Refusals of strangers have a ring of their own, so that a flood of them pushes
// nothing else out.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/mutex.h"
#include "p2p/base/node_id.h"
#include "p2p/base/reasons.h"

namespace helo {

enum class EventKind : uint8_t {
  kPeerUp,
  kPeerClosed,
  kAttemptFailed,  // outbound, before up
  kRefused,        // inbound, before up
  kDropped,        // by the operator
  kTargetAdded,
  kTargetRemoved,
  kListening,
  kShuttingDown,
};
std::string_view ToString(EventKind kind);  // "peer-up", ...

struct Event {
  uint64_t sequence = 0;  // from 1, without holes
  WallTime when{};
  EventKind kind = EventKind::kPeerUp;
  std::optional<NodeId> id;
  std::optional<Endpoint> remote;
  std::optional<Direction> direction;
  std::string target;
  CloseInfo close;   // with kPeerClosed, kAttemptFailed, kRefused, kDropped
  std::string text;  // ours
};

class EventLog {
 public:
  explicit EventLog(uint64_t boot_id, size_t capacity = 4096, size_t refusals = 1024)
      : boot_id_(boot_id), capacities_{capacity, refusals} {}
  uint64_t boot_id() const { return boot_id_; }  // random, of this run

  void Append(Event event);  // any thread; sets sequence; wakes subscribers
  struct Batch {
    uint64_t missed = 0;        // events after `after` and before the last one here that are lost
    std::vector<Event> events;  // in order, at most `most`
  };
  // Events with sequence > after. Any thread.
  Batch ReadAfter(uint64_t after, size_t most) const;
  uint64_t newest() const;
  // `wake` is called after each Append, in the appending thread and so perhaps in several at once;
  // it must be short and must not unsubscribe. Any thread.
  int Subscribe(std::function<void()> wake);
  void Unsubscribe(int handle);  // after it returns `wake` is not running and will not run

 private:
  const uint64_t boot_id_;
  const std::array<size_t, 2> capacities_;  // of rings_
  mutable Mutex mutex_;
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 1;
  // Refusals are in the second; each in order of sequence.
  std::array<std::deque<Event>, 2> rings_ ABSL_GUARDED_BY(mutex_);
  using Wakes = std::vector<std::pair<int, std::function<void()>>>;
  Mutex wake_mutex_;  // never held together with mutex_, nor while a function runs
  CondVar woken_;     // nobody is waking
  int waking_ ABSL_GUARDED_BY(wake_mutex_) = 0;
  int next_handle_ ABSL_GUARDED_BY(wake_mutex_) = 1;
  std::shared_ptr<const Wakes> wakes_ ABSL_GUARDED_BY(wake_mutex_) = std::make_shared<Wakes>();
};

}  // namespace helo
