// Our OFFER and WITHDRAW frames that still wait: before up, or because the sender's rate (64 a
// minute, WIRE 2) is used up. Per name at most one WITHDRAW and one OFFER behind it wait, so
// plugins that come and go cannot grow it. Owner: one session. Thread: its loop.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/wire/rate_window.h"

namespace helo::wire {

class OfferQueue {
 public:
  struct PendingWithdraw {
    uint32_t code = 0;
    std::vector<uint16_t> numbers;  // of the set that ends
  };
  // One frame to send.
  struct Frame {
    std::string name;
    std::optional<PendingWithdraw> withdraw;  // nullopt: OFFER of the standing set of that name
  };

  void AddOffer(const std::string& name);
  void AddWithdraw(const std::string& name, PendingWithdraw withdraw);
  void CancelOffer(const std::string& name);  // a set that was never sent goes away again

  // The next frame if the rate allows one now; it counts as sent.
  std::optional<Frame> Next(MonoTime now);
  // When Next will give one; kNever if nothing waits.
  MonoTime NextAt() const { return entries_.empty() ? kNever : sent_.NextRoom(); }

 private:
  struct Entry {
    std::string name;
    std::optional<PendingWithdraw> withdraw;
    bool offer = false;
  };
  Entry& EntryOf(const std::string& name);

  std::vector<Entry> entries_;  // in order of arrival
  // A tenth longer than the receiver's minute: its clock and the network may bunch what we send.
  RateWindow sent_{64, std::chrono::seconds(66)};
};

}  // namespace helo::wire
