#include "p2p/wire/channels.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <utility>

#include "p2p/wire/codec.h"

namespace helo::wire {
namespace {

bool KeepsValueRules(const std::vector<Offer>& offers) {
  if (offers.empty() || offers.size() > kMaxOffersAFrame) return false;
  for (size_t i = 0; i < offers.size(); ++i) {
    const Offer& offer = offers[i];
    if (offer.name != offers[0].name || !IsCapabilityName(offer.name) || offer.version == 0 ||
        offer.message_count == 0 || offer.max_message_bytes == 0 ||
        offer.max_message_bytes > kMaxMessageBytes) {
      return false;
    }
    for (size_t k = 0; k < i; ++k) {
      if (offers[k].version == offer.version) return false;
      if (offers[k].channel == offer.channel && offer.channel != 0) return false;
    }
  }
  return true;
}

std::string NameAndVersion(const Offer& offer) {
  return absl::StrCat(offer.name, "/", offer.version);
}

const Offer* FindVersion(const std::vector<Offer>& set, uint16_t version) {
  for (const Offer& offer : set) {
    if (offer.version == version) return &offer;
  }
  return nullptr;
}

// Both sides must have a set of the name and, at some version, the same count of messages.
std::pair<const Offer*, const Offer*> BestShared(const std::vector<Offer>& ours,
                                                 const std::vector<Offer>& theirs) {
  std::pair<const Offer*, const Offer*> best = {nullptr, nullptr};
  for (const Offer& our : ours) {
    const Offer* their = FindVersion(theirs, our.version);
    if (their == nullptr || their->message_count != our.message_count) continue;
    if (best.first == nullptr || our.version > best.first->version) best = {&our, their};
  }
  return best;
}

}  // namespace

Channels::Sets::const_iterator Channels::Find(const Sets& sets, std::string_view name) {
  return std::find_if(sets.begin(), sets.end(),
                      [name](const std::vector<Offer>& set) { return set[0].name == name; });
}

size_t Channels::CountOffers(const Sets& sets) {
  size_t n = 0;
  for (const std::vector<Offer>& set : sets) n += set.size();
  return n;
}

Channels::OurNumber* Channels::FindOurs(uint16_t channel) {
  const auto at =
      std::lower_bound(our_numbers_.begin(), our_numbers_.end(), channel,
                       [](const OurNumber& number, uint16_t c) { return number.channel < c; });
  return at != our_numbers_.end() && at->channel == channel ? &*at : nullptr;
}

// At most kMaxChannelNumbers of 65,535 are ever used, so there is always one.
uint16_t Channels::UnusedNumber() const {
  uint16_t number = last_number_;
  do {
    number = static_cast<uint16_t>(number == 65535 ? 1 : number + 1);
  } while (const_cast<Channels*>(this)->FindOurs(number) != nullptr);
  return number;
}

bool Channels::AddOurs(std::vector<Offer> offers) {
  if (!KeepsValueRules(offers) || Find(our_sets_, offers[0].name) != our_sets_.end()) return false;
  if (CountOffers(our_sets_) + offers.size() > kMaxStandingOffers ||
      our_numbers_.size() + offers.size() > kMaxChannelNumbers) {
    return false;
  }
  for (const Offer& offer : offers) {
    if (offer.channel != 0 && FindOurs(offer.channel) != nullptr) return false;
  }
  // Numbers that the caller chose go first, so that a chosen one cannot collide with them.
  for (const bool chosen_here : {false, true}) {
    for (Offer& offer : offers) {
      if ((offer.channel == 0) != chosen_here) continue;
      if (chosen_here) offer.channel = last_number_ = UnusedNumber();
      OurNumber number;
      number.channel = offer.channel;
      number.message_count = offer.message_count;
      number.max_message_bytes = offer.max_message_bytes;
      const auto at =
          std::lower_bound(our_numbers_.begin(), our_numbers_.end(), number.channel,
                           [](const OurNumber& one, uint16_t c) { return one.channel < c; });
      our_numbers_.insert(at, number);
    }
  }
  unsent_.push_back(offers[0].name);
  our_sets_.push_back(std::move(offers));
  return true;
}

const std::vector<Offer>* Channels::OurSet(std::string_view name) const {
  const auto set = Find(our_sets_, name);
  return set == our_sets_.end() ? nullptr : &*set;
}

bool Channels::OurSetSent(std::string_view name) const {
  return OurSet(name) != nullptr &&
         std::find(unsent_.begin(), unsent_.end(), name) == unsent_.end();
}

void Channels::MarkSent(std::string_view name) { std::erase(unsent_, name); }

void Channels::RemoveOurs(std::string_view name) {
  const auto set = Find(our_sets_, name);
  if (set == our_sets_.end()) return;
  const bool sent = OurSetSent(name);
  for (const Offer& offer : *set) {
    if (sent) {
      FindOurs(offer.channel)->state = OurNumber::State::kWithdrawn;
    } else {
      std::erase_if(our_numbers_, [&](const OurNumber& n) { return n.channel == offer.channel; });
    }
  }
  MarkSent(name);
  our_sets_.erase(set);
}

void Channels::MarkWithdrawn(const std::vector<uint16_t>& numbers, uint64_t position) {
  for (const uint16_t number : numbers) {
    if (OurNumber* found = FindOurs(number)) found->withdraw_position = position;
  }
}

Channels::Result Channels::AddTheirs(const std::vector<Offer>& offers) {
  for (const Offer& offer : offers) {
    if (Find(their_sets_, offer.name) != their_sets_.end()) return Result::kMalformed;
    if (std::binary_search(their_numbers_.begin(), their_numbers_.end(), offer.channel)) {
      return Result::kMalformed;
    }
  }
  if (CountOffers(their_sets_) + offers.size() > kMaxStandingOffers ||
      their_numbers_.size() + offers.size() > kMaxChannelNumbers) {
    return Result::kFlood;
  }
  for (const Offer& offer : offers) {
    their_numbers_.insert(
        std::lower_bound(their_numbers_.begin(), their_numbers_.end(), offer.channel),
        offer.channel);
    const auto set = Find(their_sets_, offer.name);
    if (set == their_sets_.end()) {
      their_sets_.push_back({offer});
    } else {
      their_sets_[static_cast<size_t>(set - their_sets_.begin())].push_back(offer);
    }
  }
  return Result::kOk;
}

bool Channels::RemoveTheirs(std::string_view name) {
  const auto set = Find(their_sets_, name);
  if (set == their_sets_.end()) return false;
  their_sets_.erase(set);
  return true;
}

std::vector<Channels::Mismatch> Channels::Mismatches(std::string_view name) const {
  std::vector<Mismatch> found;
  const auto ours = Find(our_sets_, name);
  const auto theirs = Find(their_sets_, name);
  if (ours == our_sets_.end() || theirs == their_sets_.end()) return found;
  for (const Offer& our : *ours) {
    const Offer* their = FindVersion(*theirs, our.version);
    if (their == nullptr || their->message_count == our.message_count) continue;
    found.push_back({our.name, our.version, our.message_count, their->message_count});
  }
  return found;
}

bool Channels::Shared(std::string_view name, Open* out) const {
  const auto ours = Find(our_sets_, name);
  const auto theirs = Find(their_sets_, name);
  if (ours == our_sets_.end() || theirs == their_sets_.end()) return false;
  const auto [our, their] = BestShared(*ours, *theirs);
  if (our == nullptr) return false;
  out->name = our->name;
  out->version = our->version;
  out->message_count = our->message_count;
  out->our_channel = our->channel;
  out->their_channel = their->channel;
  out->max_send_bytes = their->max_message_bytes;
  out->max_receive_bytes = our->max_message_bytes;
  return true;
}

const Channels::Open* Channels::TryOpen(std::string_view name, uint32_t named_index) {
  Open open;
  if (FindOpen(name) != nullptr || !OurSetSent(name) || !Shared(name, &open)) return nullptr;
  open.open_id = next_open_id_++;
  open.named_index = named_index;
  OurNumber* number = FindOurs(open.our_channel);
  number->state = OurNumber::State::kOpen;
  number->open_id = open.open_id;
  opens_.push_back(std::move(open));
  return &opens_.back();
}

const Channels::Open* Channels::FindOpen(uint32_t open_id) const {
  const auto at = std::lower_bound(opens_.begin(), opens_.end(), open_id,
                                   [](const Open& open, uint32_t id) { return open.open_id < id; });
  return at != opens_.end() && at->open_id == open_id ? &*at : nullptr;
}

const Channels::Open* Channels::FindOpen(std::string_view name) const {
  for (const Open& open : opens_) {
    if (open.name == name) return &open;
  }
  return nullptr;
}

std::optional<Channels::Open> Channels::Close(std::string_view name) {
  const Open* found = FindOpen(name);
  if (found == nullptr) return std::nullopt;
  Open open = *found;
  FindOurs(open.our_channel)->state = OurNumber::State::kIdle;
  opens_.erase(opens_.begin() + (found - opens_.data()));
  return open;
}

void Channels::Describe(std::vector<std::string>* shared, std::vector<std::string>* only_ours,
                        std::vector<std::string>* only_theirs) const {
  const auto only = [](const Sets& mine, const Sets& others, std::vector<std::string>* out) {
    for (const std::vector<Offer>& set : mine) {
      const auto other = Find(others, set[0].name);
      for (const Offer& offer : set) {
        const Offer* twin = other == others.end() ? nullptr : FindVersion(*other, offer.version);
        if (twin == nullptr || twin->message_count != offer.message_count) {
          out->push_back(NameAndVersion(offer));
        }
      }
    }
  };
  Sets sent;
  for (const std::vector<Offer>& set : our_sets_) {
    if (!OurSetSent(set[0].name)) continue;
    sent.push_back(set);
    Open open;
    if (Shared(set[0].name, &open)) shared->push_back(absl::StrCat(open.name, "/", open.version));
  }
  only(sent, their_sets_, only_ours);
  only(their_sets_, sent, only_theirs);
}

}  // namespace helo::wire
