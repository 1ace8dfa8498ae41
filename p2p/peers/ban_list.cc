#include "p2p/peers/ban_list.h"

#include <algorithm>
#include <utility>

namespace helo::peers {

bool AddressBans::Banned(const IpAddress& ip, MonoTime now) const {
  return std::any_of(subnets.begin(), subnets.end(),
                     [&](const auto& ban) { return ban.second > now && ban.first.Contains(ip); });
}

void BanList::BanId(const NodeId& id, Ban ban) { ids_[id] = std::move(ban); }

void BanList::BanSubnet(const Subnet& subnet, Ban ban) {
  UnbanSubnet(subnet);
  subnets_.emplace_back(subnet, std::move(ban));
}

bool BanList::UnbanId(const NodeId& id) { return ids_.erase(id) != 0; }

bool BanList::UnbanSubnet(const Subnet& subnet) {
  return std::erase_if(subnets_, [&](const auto& item) { return item.first == subnet; }) != 0;
}

const Ban* BanList::Find(const NodeId& id, MonoTime now) const {
  const auto it = ids_.find(id);
  return it != ids_.end() && it->second.until > now ? &it->second : nullptr;
}

// Of several the one that lasts longest, since that is how long the remote must stay away.
const Ban* BanList::Find(const IpAddress& ip, MonoTime now) const {
  const Ban* found = nullptr;
  for (const auto& [subnet, ban] : subnets_) {
    if (ban.until <= now || !subnet.Contains(ip)) continue;
    if (found == nullptr || ban.until > found->until) found = &ban;
  }
  return found;
}

void BanList::Expire(MonoTime now) {
  absl::erase_if(ids_, [now](const auto& item) { return item.second.until <= now; });
  std::erase_if(subnets_, [now](const auto& item) { return item.second.until <= now; });
}

std::shared_ptr<const AddressBans> BanList::ForGate() const {
  auto bans = std::make_shared<AddressBans>();
  bans->subnets.reserve(subnets_.size());
  for (const auto& [subnet, ban] : subnets_) bans->subnets.emplace_back(subnet, ban.until);
  return bans;
}

std::vector<std::pair<NodeId, Ban>> BanList::ids() const {
  std::vector<std::pair<NodeId, Ban>> all(ids_.begin(), ids_.end());
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return all;
}

}  // namespace helo::peers
