#include "p2p/wire/offer_queue.h"

#include <utility>

namespace helo::wire {

OfferQueue::Entry& OfferQueue::EntryOf(const std::string& name) {
  for (Entry& entry : entries_) {
    if (entry.name == name) return entry;
  }
  entries_.push_back({name, std::nullopt, false});
  return entries_.back();
}

void OfferQueue::AddOffer(const std::string& name) { EntryOf(name).offer = true; }

void OfferQueue::AddWithdraw(const std::string& name, PendingWithdraw withdraw) {
  EntryOf(name).withdraw = std::move(withdraw);
}

void OfferQueue::CancelOffer(const std::string& name) {
  EntryOf(name).offer = false;
  std::erase_if(entries_, [](const Entry& entry) { return !entry.withdraw && !entry.offer; });
}

std::optional<OfferQueue::Frame> OfferQueue::Next(MonoTime now) {
  if (entries_.empty() || !sent_.MaySend(now)) return std::nullopt;
  sent_.Count(now);
  Entry& entry = entries_.front();
  Frame frame{entry.name, std::exchange(entry.withdraw, std::nullopt)};
  if (!frame.withdraw) entry.offer = false;
  if (!entry.offer) entries_.erase(entries_.begin());
  return frame;
}

}  // namespace helo::wire
