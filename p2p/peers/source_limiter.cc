#include "p2p/peers/source_limiter.h"

#include <algorithm>
#include <iterator>

namespace helo::peers {

std::vector<Subnet> DefaultExemptSources() {
  const auto v6 = [](uint8_t first, uint8_t second, uint8_t last) {
    std::array<uint8_t, 16> bytes{};
    bytes[0] = first;
    bytes[1] = second;
    bytes[15] = last;
    return IpAddress::V6(bytes);
  };
  return {
      {IpAddress::V4({127, 0, 0, 0}), 8},
      {v6(0, 0, 1), 128},
      {IpAddress::V4({10, 0, 0, 0}), 8},
      {IpAddress::V4({172, 16, 0, 0}), 12},
      {IpAddress::V4({192, 168, 0, 0}), 16},
      {IpAddress::V4({169, 254, 0, 0}), 16},
      {v6(0xfc, 0, 0), 7},
      {v6(0xfe, 0x80, 0), 10},
  };
}

SourceLimiter::SourceLimiter(SourceLimits limits, const Clock& clock)
    : limits_(std::move(limits)), clock_(clock) {}

bool SourceLimiter::IsExempt(const IpAddress& ip) const {
  return std::any_of(limits_.exempt.begin(), limits_.exempt.end(),
                     [&](const Subnet& block) { return block.Contains(ip); });
}

bool SourceLimiter::Begin(const IpAddress& ip) {
  if (IsExempt(ip)) return true;
  if (limits_.at_once <= 0 || limits_.begun <= 0) return false;
  const Subnet block = SourceOf(ip);
  const MonoTime now = clock_.Now();
  MutexLock lock(mutex_);
  ForgetIdle(now);
  auto it = sources_.find(block);
  if (it == sources_.end()) {
    if (sources_.size() >= limits_.max_sources) {
      if (idle_.empty()) return false;
      sources_.erase(idle_.front());
      idle_.pop_front();
    }
    it = sources_.try_emplace(block).first;
    it->second.idle = idle_.insert(idle_.end(), block);
  }
  Source& source = it->second;
  source.begun.erase(source.begun.begin(),
                     std::find_if(source.begun.begin(), source.begun.end(),
                                  [&](MonoTime begun) { return begun + limits_.window > now; }));
  if (source.now >= limits_.at_once || source.begun.size() >= static_cast<size_t>(limits_.begun)) {
    return false;
  }
  source.begun.push_back(now);
  if (source.now++ == 0) idle_.erase(source.idle);
  return true;
}

void SourceLimiter::End(const IpAddress& ip) {
  if (IsExempt(ip)) return;
  const Subnet block = SourceOf(ip);
  const MonoTime now = clock_.Now();
  MutexLock lock(mutex_);
  const auto it = sources_.find(block);
  if (it == sources_.end() || it->second.now == 0) return;
  if (--it->second.now > 0) return;
  it->second.idle_since = now;
  it->second.idle = idle_.insert(idle_.end(), block);
}

size_t SourceLimiter::tracked() const {
  MutexLock lock(mutex_);
  return sources_.size();
}

// Whatever an idle source began, it began before it became idle.
void SourceLimiter::ForgetIdle(MonoTime now) {
  while (!idle_.empty()) {
    const auto it = sources_.find(idle_.front());
    if (it->second.idle_since + limits_.window > now) return;
    sources_.erase(it);
    idle_.pop_front();
  }
}

}  // namespace helo::peers
