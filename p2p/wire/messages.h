// The messages of WIRE 4 as plain structs. Generated protobuf types exist in codec.cc alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/bytes.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/node_id.h"

namespace helo::wire {

// The limits of WIRE 4 and 5.
inline constexpr uint32_t kMaxMessageBytes = 16777216;
inline constexpr size_t kMaxStandingOffers = 64;  // a side
inline constexpr size_t kMaxOffersAFrame = 16;    // in one OFFER
inline constexpr size_t kMaxChannelNumbers =
    1024;  // a side and connection, withdrawn ones included
inline constexpr size_t kMaxAdvertised = 8;
inline constexpr size_t kMaxGenesisBytes = 64;
inline constexpr size_t kMaxUserAgent = 128;
inline constexpr size_t kMaxRefusalText = 256;
inline constexpr size_t kMaxPeersAFrame = 100;
inline constexpr uint32_t kMaxPeerAgeS = 86400;  // exclusive

enum class Purpose : uint8_t { kJoin = 0, kProbe = 1 };

// "To speak this to me, put this channel on the frame."
struct Offer {
  uint16_t channel = 0;            // 1..65535
  std::string name;                // [a-z][a-z0-9-]{0,15}
  uint16_t version = 0;            // 1..65535
  uint16_t message_count = 0;      // 1..65535; types are 0..count-1
  uint32_t max_message_bytes = 0;  // 1..16777216: the limit of frames sent to the offerer
  bool operator==(const Offer&) const = default;
};

struct Hello {
  uint32_t minor = 0;
  std::string network;
  Bytes genesis;
  std::string user_agent;
  std::vector<Offer> offers;
  std::vector<Endpoint> advertised;
  std::optional<Endpoint> observed;
  int64_t clock_us = 0;
  Purpose purpose = Purpose::kJoin;
  uint64_t features = 0;  // bit 0: answers GET_PEERS
  bool operator==(const Hello&) const = default;
};
inline constexpr uint64_t kFeatureGetPeers = 1;

// Payload of VERDICT and of DISCONNECT.
struct Refusal {
  uint32_t code = 0;
  std::string text;  // at most 256 bytes of 0x20..0x7e
  uint32_t retry_after_s = 0;
  bool operator==(const Refusal&) const = default;
};

struct Withdraw {
  std::string name;
  uint32_t code = 0;
  bool operator==(const Withdraw&) const = default;
};

struct Ping {
  uint64_t nonce = 0;
  bool operator==(const Ping&) const = default;
};

struct Pong {
  uint64_t nonce = 0;
  int64_t clock_us = 0;
  bool operator==(const Pong&) const = default;
};

struct PeerInfo {
  NodeId node_id;
  Endpoint endpoint;
  uint32_t age_s = 0;
  bool operator==(const PeerInfo&) const = default;
};

}  // namespace helo::wire
