#include "p2p/wire/codec.h"

#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "helo/wire/v1/wire.pb.h"

namespace helo::wire {
namespace {

template <typename Message>
Bytes Serialize(const Message& message) {
  Bytes out(message.ByteSizeLong());
  const bool ok = message.SerializeToArray(out.data(), static_cast<int>(out.size()));
  assert(ok);
  static_cast<void>(ok);
  return out;
}

// For messages with strings: protobuf complains about bytes that are not UTF-8 on stderr, where any
// remote could then write as often as it likes.
template <typename Message>
bool ParseQuietly(ByteView payload, Message& message) {
  const google::protobuf::LogSilencer silencer;
  return message.ParseFromArray(payload.data(), static_cast<int>(payload.size()));
}

template <typename Message>
bool Parse(ByteView payload, Message& message) {
  return message.ParseFromArray(payload.data(), static_cast<int>(payload.size()));
}

std::string ToProtoBytes(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Bytes FromProtoBytes(const std::string& bytes) { return {bytes.begin(), bytes.end()}; }

bool IsV4Mapped(ByteView ip) {
  static constexpr uint8_t kPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return ip.size() == 16 && std::memcmp(ip.data(), kPrefix, sizeof(kPrefix)) == 0;
}

void Fill(const Endpoint& from, v1::Endpoint* to) {
  to->set_ip(ToProtoBytes(from.ip.bytes()));
  to->set_port(from.port);
}

std::optional<Endpoint> Check(const v1::Endpoint& from) {
  const ByteView ip = AsBytes(from.ip());
  if (IsV4Mapped(ip) || from.port() < 1 || from.port() > 65535) return std::nullopt;
  const std::optional<IpAddress> address = IpAddress::FromBytes(ip);
  if (!address) return std::nullopt;
  return Endpoint{*address, static_cast<uint16_t>(from.port())};
}

void Fill(const Offer& from, v1::Offer* to) {
  to->set_channel(from.channel);
  to->set_name(from.name);
  to->set_version(from.version);
  to->set_message_count(from.message_count);
  to->set_max_message_bytes(from.max_message_bytes);
}

bool InU16(uint32_t value) { return value >= 1 && value <= 65535; }

std::optional<Offer> Check(const v1::Offer& from) {
  if (!InU16(from.channel()) || !IsCapabilityName(from.name()) || !InU16(from.version()) ||
      !InU16(from.message_count()) || from.max_message_bytes() < 1 ||
      from.max_message_bytes() > kMaxMessageBytes) {
    return std::nullopt;
  }
  Offer to;
  to.channel = static_cast<uint16_t>(from.channel());
  to.name = from.name();
  to.version = static_cast<uint16_t>(from.version());
  to.message_count = static_cast<uint16_t>(from.message_count());
  to.max_message_bytes = from.max_message_bytes();
  return to;
}

template <typename Repeated>
std::optional<std::vector<Offer>> CheckOffers(const Repeated& from) {
  std::vector<Offer> offers;
  offers.reserve(static_cast<size_t>(from.size()));
  for (const v1::Offer& one : from) {
    std::optional<Offer> offer = Check(one);
    if (!offer) return std::nullopt;
    for (const Offer& other : offers) {
      if (other.channel == offer->channel) return std::nullopt;
      if (other.version == offer->version && other.name == offer->name) return std::nullopt;
    }
    offers.push_back(*std::move(offer));
  }
  return offers;
}

// Zero stands for "not told": whoever uses a clock has one place less to check.
int64_t UsableClock(int64_t clock_us) {
  return clock_us > 0 && clock_us < (int64_t{1} << 53) ? clock_us : 0;
}

template <typename Message>
std::optional<Refusal> DecodeRefusal(ByteView payload, bool* text_dropped) {
  Message from;
  if (!Parse(payload, from)) return std::nullopt;
  Refusal to;
  to.code = from.code();
  to.retry_after_s = from.retry_after_s();
  *text_dropped = !IsVisibleText(from.text(), kMaxRefusalText);
  if (!*text_dropped) to.text = from.text();
  return to;
}

}  // namespace

Bytes EncodeHello(const Hello& hello) {
  v1::Hello to;
  to.set_minor(hello.minor);
  to.set_network(hello.network);
  to.set_genesis(ToProtoBytes(hello.genesis));
  to.set_user_agent(hello.user_agent);
  for (const Offer& offer : hello.offers) Fill(offer, to.add_offers());
  for (const Endpoint& endpoint : hello.advertised) Fill(endpoint, to.add_advertised());
  if (hello.observed) Fill(*hello.observed, to.mutable_observed());
  to.set_clock_us(hello.clock_us);
  to.set_purpose(hello.purpose == Purpose::kProbe ? v1::PROBE : v1::JOIN);
  to.set_features(hello.features);
  return Serialize(to);
}

Bytes EncodeRefusal(const Refusal& refusal) {
  v1::Disconnect to;
  to.set_code(refusal.code);
  to.set_text(refusal.text);
  to.set_retry_after_s(refusal.retry_after_s);
  return Serialize(to);
}

Bytes EncodeOffers(const std::vector<Offer>& offers) {
  v1::Offers to;
  for (const Offer& offer : offers) Fill(offer, to.add_offers());
  return Serialize(to);
}

Bytes EncodeWithdraw(const Withdraw& withdraw) {
  v1::Withdraw to;
  to.set_name(withdraw.name);
  to.set_code(withdraw.code);
  return Serialize(to);
}

Bytes EncodePing(const Ping& ping) {
  v1::Ping to;
  to.set_nonce(ping.nonce);
  return Serialize(to);
}

Bytes EncodePong(const Pong& pong) {
  v1::Pong to;
  to.set_nonce(pong.nonce);
  to.set_clock_us(pong.clock_us);
  return Serialize(to);
}

Bytes EncodeGetPeers(uint32_t max) {
  v1::GetPeers to;
  to.set_max(max);
  return Serialize(to);
}

Bytes EncodePeers(const std::vector<PeerInfo>& peers) {
  v1::Peers to;
  for (const PeerInfo& peer : peers) {
    v1::PeerAddress* address = to.add_peers();
    address->set_node_id(ToProtoBytes(peer.node_id.bytes));
    Fill(peer.endpoint, address->mutable_endpoint());
    address->set_age_s(peer.age_s);
  }
  return Serialize(to);
}

std::optional<Hello> DecodeHello(ByteView payload) {
  v1::Hello from;
  if (!ParseQuietly(payload, from)) return std::nullopt;
  if (!IsNetworkName(from.network()) || from.genesis().size() > kMaxGenesisBytes ||
      from.user_agent().empty() || !IsVisibleText(from.user_agent(), kMaxUserAgent) ||
      from.offers_size() > static_cast<int>(kMaxStandingOffers) ||
      from.advertised_size() > static_cast<int>(kMaxAdvertised)) {
    return std::nullopt;
  }
  Hello to;
  to.minor = from.minor();
  to.network = from.network();
  to.genesis = FromProtoBytes(from.genesis());
  to.user_agent = from.user_agent();
  std::optional<std::vector<Offer>> offers = CheckOffers(from.offers());
  if (!offers) return std::nullopt;
  to.offers = *std::move(offers);
  for (const v1::Endpoint& one : from.advertised()) {
    const std::optional<Endpoint> endpoint = Check(one);
    if (!endpoint) return std::nullopt;
    to.advertised.push_back(*endpoint);
  }
  if (from.has_observed()) {
    to.observed = Check(from.observed());
    if (!to.observed) return std::nullopt;
  }
  to.clock_us = UsableClock(from.clock_us());
  if (from.purpose() != v1::JOIN && from.purpose() != v1::PROBE) return std::nullopt;
  to.purpose = from.purpose() == v1::PROBE ? Purpose::kProbe : Purpose::kJoin;
  to.features = from.features();
  return to;
}

std::optional<Refusal> DecodeVerdict(ByteView payload) {
  bool text_dropped = false;
  std::optional<Refusal> verdict = DecodeRefusal<v1::Verdict>(payload, &text_dropped);
  if (verdict && verdict->code == 0 && text_dropped) return std::nullopt;
  return verdict;
}

std::optional<Refusal> DecodeDisconnect(ByteView payload) {
  bool text_dropped = false;
  return DecodeRefusal<v1::Disconnect>(payload, &text_dropped);
}

std::optional<std::vector<Offer>> DecodeOffers(ByteView payload) {
  v1::Offers from;
  if (!ParseQuietly(payload, from)) return std::nullopt;
  if (from.offers_size() < 1 || from.offers_size() > static_cast<int>(kMaxOffersAFrame)) {
    return std::nullopt;
  }
  std::optional<std::vector<Offer>> offers = CheckOffers(from.offers());
  if (!offers) return std::nullopt;
  for (const Offer& offer : *offers) {
    if (offer.name != offers->front().name) return std::nullopt;
  }
  return offers;
}

std::optional<Withdraw> DecodeWithdraw(ByteView payload) {
  v1::Withdraw from;
  if (!ParseQuietly(payload, from) || !IsCapabilityName(from.name())) return std::nullopt;
  return Withdraw{from.name(), from.code()};
}

std::optional<Ping> DecodePing(ByteView payload) {
  v1::Ping from;
  if (!Parse(payload, from)) return std::nullopt;
  return Ping{from.nonce()};
}

std::optional<Pong> DecodePong(ByteView payload) {
  v1::Pong from;
  if (!Parse(payload, from)) return std::nullopt;
  return Pong{from.nonce(), UsableClock(from.clock_us())};
}

std::optional<uint32_t> DecodeGetPeers(ByteView payload) {
  v1::GetPeers from;
  if (!Parse(payload, from)) return std::nullopt;
  return from.max();
}

std::optional<std::vector<PeerInfo>> DecodePeers(ByteView payload) {
  v1::Peers from;
  if (!Parse(payload, from) || from.peers_size() > static_cast<int>(kMaxPeersAFrame)) {
    return std::nullopt;
  }
  std::vector<PeerInfo> peers;
  peers.reserve(static_cast<size_t>(from.peers_size()));
  for (const v1::PeerAddress& one : from.peers()) {
    const std::optional<Endpoint> endpoint = Check(one.endpoint());
    if (one.node_id().size() != NodeId::kSize || !endpoint || one.age_s() >= kMaxPeerAgeS) {
      return std::nullopt;
    }
    PeerInfo peer;
    std::copy(one.node_id().begin(), one.node_id().end(), peer.node_id.bytes.begin());
    peer.endpoint = *endpoint;
    peer.age_s = one.age_s();
    peers.push_back(peer);
  }
  return peers;
}

bool IsNetworkName(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  const auto letter_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  if (!letter_or_digit(text[0])) return false;
  return std::all_of(text.begin() + 1, text.end(), [&](char c) {
    return letter_or_digit(c) || c == '.' || c == '_' || c == '-';
  });
}

bool IsCapabilityName(std::string_view text) {
  if (text.empty() || text.size() > 16 || text[0] < 'a' || text[0] > 'z') return false;
  return std::all_of(text.begin() + 1, text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

bool IsVisibleText(std::string_view text, size_t max_bytes) {
  return text.size() <= max_bytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

}  // namespace helo::wire
