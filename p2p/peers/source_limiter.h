// The gate's memory of sources (DESIGN 2 and 6): at most 8 handshakes at once and 32 begun in 10 s
// per IPv4 address or IPv6 /64; exempt blocks (loopback and private ranges by default) are not
// limited. Bounded: idle sources are forgotten, and at most `max_sources` are tracked; beyond that
// the longest idle one makes room, else refuse. Thread: any (a short lock).
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <list>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/mutex.h"

namespace helo::peers {

struct SourceLimits {
  int at_once = 8;
  int begun = 32;
  Duration window = std::chrono::seconds(10);
  size_t max_sources = 65536;
  std::vector<Subnet> exempt;
};
// 127/8, ::1, 10/8, 172.16/12, 192.168/16, 169.254/16, fc00::/7, fe80::/10.
std::vector<Subnet> DefaultExemptSources();

class SourceLimiter {
 public:
  SourceLimiter(SourceLimits limits, const Clock& clock);
  // A handshake from `ip` wants to begin. True: it counts until End(ip).
  bool Begin(const IpAddress& ip);
  void End(const IpAddress& ip);
  bool IsExempt(const IpAddress& ip) const;
  size_t tracked() const;

 private:
  struct Source {
    int now = 0;
    std::vector<MonoTime> begun;  // within the window, at most SourceLimits::begun; oldest first
    MonoTime idle_since{};
    std::list<Subnet>::iterator idle;  // valid while now == 0
  };
  void ForgetIdle(MonoTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SourceLimits limits_;
  const Clock& clock_;
  mutable Mutex mutex_;
  absl::flat_hash_map<Subnet, Source> sources_ ABSL_GUARDED_BY(mutex_);
  std::list<Subnet> idle_ ABSL_GUARDED_BY(mutex_);  // longest idle first
};

}  // namespace helo::peers
