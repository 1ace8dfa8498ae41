// Bytes to messages and back. The only file of the room whose source sees generated protobuf.
// Decoding applies the encoding and value rules of WIRE 4; nullopt is MALFORMED. A clock_us that
// must not be used is decoded as 0. Pure functions. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "p2p/base/bytes.h"
#include "p2p/wire/messages.h"

namespace helo::wire {

Bytes EncodeHello(const Hello& hello);
Bytes EncodeRefusal(const Refusal& refusal);  // VERDICT and DISCONNECT have the same shape
Bytes EncodeOffers(const std::vector<Offer>& offers);
Bytes EncodeWithdraw(const Withdraw& withdraw);
Bytes EncodePing(const Ping& ping);
Bytes EncodePong(const Pong& pong);
Bytes EncodeGetPeers(uint32_t max);
Bytes EncodePeers(const std::vector<PeerInfo>& peers);

std::optional<Hello> DecodeHello(ByteView payload);
// A refusal whose text breaks the rule is still a refusal, its text dropped; an ACCEPT with such a
// text is nullopt.
std::optional<Refusal> DecodeVerdict(ByteView payload);
std::optional<Refusal> DecodeDisconnect(ByteView payload);
std::optional<std::vector<Offer>> DecodeOffers(ByteView payload);
std::optional<Withdraw> DecodeWithdraw(ByteView payload);
std::optional<Ping> DecodePing(ByteView payload);
std::optional<Pong> DecodePong(ByteView payload);
std::optional<uint32_t> DecodeGetPeers(ByteView payload);
std::optional<std::vector<PeerInfo>> DecodePeers(ByteView payload);

bool IsNetworkName(std::string_view text);                    // [a-z0-9][a-z0-9._-]{0,63}
bool IsCapabilityName(std::string_view text);                 // [a-z][a-z0-9-]{0,15}
bool IsVisibleText(std::string_view text, size_t max_bytes);  // 0x20..0x7e

}  // namespace helo::wire
