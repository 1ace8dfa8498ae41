// Standing sets, channel numbers and open names of one connection (WIRE 5): pure bookkeeping, no
// frames, no time. "Ours" are our offers: the numbers on frames that we receive. "Theirs" are the
// numbers on frames that we send. Owner: one session. Thread: its loop.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "p2p/wire/messages.h"

namespace helo::wire {

class Channels {
 public:
  // One of our numbers; kept after the withdrawal for the late frames.
  struct OurNumber {
    enum class State : uint8_t { kIdle, kOpen, kWithdrawn };
    uint16_t channel = 0;
    uint16_t message_count = 0;
    State state = State::kIdle;  // kIdle: offered, but not the open one
    uint32_t max_message_bytes = 0;
    uint32_t open_id = 0;  // if kOpen
    // If kWithdrawn. The remote cannot know before it has our WITHDRAW, so late bytes count against
    // it only once that frame has left the outbox: `withdraw_position` is the stream position of
    // its end, the maximum while unsent.
    uint64_t withdraw_position = std::numeric_limits<uint64_t>::max();
    uint64_t late_bytes = 0;
    uint64_t LateLimit() const { return uint64_t{4} * max_message_bytes + 65536; }
  };
  struct Open {
    uint32_t open_id = 0;
    std::string name;
    uint16_t version = 0;
    uint16_t message_count = 0;
    uint16_t our_channel = 0;
    uint16_t their_channel = 0;
    uint32_t max_send_bytes = 0;
    uint32_t max_receive_bytes = 0;
    uint32_t named_index = 0;  // for the owner: of the name's counters
  };
  struct Mismatch {
    std::string name;
    uint16_t version = 0;
    uint16_t ours = 0;
    uint16_t theirs = 0;
  };

  // --- ours
  // All versions of one name become our standing set; a channel of 0 is replaced by a number never
  // used before. False, and nothing happens: broken value rules, a standing set of that name, a
  // number used before, or the caps.
  bool AddOurs(std::vector<Offer> offers);
  const std::vector<Offer>* OurSet(std::string_view name) const;  // nullptr if none
  bool OurSetSent(std::string_view name) const;
  void MarkSent(std::string_view name);  // it has been put into HELLO or OFFER
  // Ends our set of the name; its open connection must have been closed. A set that was sent leaves
  // its numbers behind for late frames, one that was not gives them back.
  void RemoveOurs(std::string_view name);
  // The WITHDRAW of all numbers of that name that still lack one ends at this position of the
  // output.
  void MarkWithdrawn(const std::vector<uint16_t>& numbers, uint64_t position);
  OurNumber* FindOurs(
      uint16_t channel);  // nullptr: never offered. Invalid after AddOurs or RemoveOurs
  const std::vector<std::vector<Offer>>& OurSets() const { return our_sets_; }

  // --- theirs
  enum class Result : uint8_t { kOk, kMalformed, kFlood };
  Result AddTheirs(const std::vector<Offer>& offers);  // one OFFER, or a whole HELLO
  bool RemoveTheirs(std::string_view name);            // false: no standing set

  // --- names
  // Versions both sets have with unequal message counts.
  std::vector<Mismatch> Mismatches(std::string_view name) const;
  // The highest shared version of the standing sets, sent or not; false: none.
  bool Shared(std::string_view name, Open* out) const;
  // Opens the name if it is shared, our set is sent and it is not open yet. Invalidates pointers to
  // Open.
  const Open* TryOpen(std::string_view name, uint32_t named_index);
  const Open* FindOpen(uint32_t open_id) const;
  const Open* FindOpen(std::string_view name) const;
  std::optional<Open> Close(std::string_view name);
  const std::vector<Open>& opens() const { return opens_; }

  // "echo/1": by set, for people. An offer of ours that still waits for its turn to be sent is not
  // there yet, as the peer sees it.
  void Describe(std::vector<std::string>* shared, std::vector<std::string>* only_ours,
                std::vector<std::string>* only_theirs) const;

 private:
  using Sets = std::vector<std::vector<Offer>>;  // each of one name, never empty
  static Sets::const_iterator Find(const Sets& sets, std::string_view name);
  static size_t CountOffers(const Sets& sets);
  uint16_t UnusedNumber() const;

  Sets our_sets_;
  Sets their_sets_;
  std::vector<std::string> unsent_;      // names of our sets that the remote has not been told
  std::vector<OurNumber> our_numbers_;   // ascending by channel
  std::vector<uint16_t> their_numbers_;  // every one ever offered, ascending
  std::vector<Open> opens_;              // ascending by open_id
  uint32_t next_open_id_ = 1;
  uint16_t last_number_ = 0;  // the last that was chosen here
};

}  // namespace helo::wire
