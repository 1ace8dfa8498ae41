// One connection as OpenSSL's callbacks see it: the bytes on their way in and out, and what was
// noticed about them. It hands whole records to OpenSSL only: a record that trickles in waits here
// in as many bytes as have come, not in a 17 kB record buffer. Owner: p2p/tls; in no other room's
// sight. Thread: the connection's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "p2p/base/bytes.h"
#include "p2p/base/node_id.h"
#include "p2p/tls/channel.h"

namespace helo::tls {

// WIRE 1: the certificate_list vector, without its length.
inline constexpr size_t kMaxCertificateList = 1024;
// A ClientHello with a post-quantum key share is below 2 kB. OpenSSL would reserve room for 128 kB
// on the word of four bytes.
inline constexpr size_t kMaxPlainHandshakeMessage = 16384;
// With this many KeyUpdates in one go, Read() stops for its caller to judge them: each costs a key
// derivation.
inline constexpr uint32_t kMaxUntakenKeyUpdates = 16;

// Whether the ALPN extension (RFC 7301) is well-formed and names helo/1, `alone` or among others.
bool NamesOurAlpn(ByteView extension, bool alone);

class Link {
 public:
  explicit Link(Role r) : role(r) {}

  void Feed(ByteView ciphertext);
  bool InputLeft() const { return input_at_ < input_.size(); }
  // What OpenSSL's BIO does. Read: 0 when there is no whole record that may be handed over.
  size_t Read(uint8_t* out, size_t size);
  void Write(ByteView ciphertext) { AppendOutput(ciphertext); }

  void AppendOutput(ByteView bytes) { output_.insert(output_.end(), bytes.begin(), bytes.end()); }
  void ReserveOutput(size_t more) { output_.reserve(output_.size() + more); }
  ByteView Output() const { return ByteView(output_).subspan(output_at_); }
  void ConsumeOutput(size_t n);

  // What OpenSSL's message callback tells.
  void OnMessage(bool sent, int content_type, ByteView message);

  enum class Certificate : uint8_t { kNone, kEmpty, kBad, kGood };

  const Role role;
  bool handshake_done = false;
  bool hello_seen = false;  // the remote's ClientHello, ServerHello or HelloRetryRequest
  bool not_tls = false;     // its first bytes are no TLS record
  bool hello_too_long = false;
  bool certificate_requested = false;  // by an acceptor, of us
  bool wrong_alpn = false;
  bool starved = true;  // nothing to hand over until more is fed
  Certificate certificate = Certificate::kNone;
  int alert_received = -1;
  int alert_sent = -1;
  NodeId remote_id;                // with kGood
  std::string certificate_detail;  // with kBad
  uint64_t records_received = 0;
  uint64_t records_sent = 0;
  Channel::PostHandshake post;

 private:
  bool NextRecord();
  bool ScanPlainHandshake(ByteView record_body);
  void JudgeExtensions(ByteView message_body);
  void JudgeCertificate(ByteView message_body);

  Bytes input_;
  size_t input_at_ = 0;
  size_t deliverable_ = 0;    // bytes of the current record not yet handed over
  bool passthrough_ = false;  // not TLS any more: OpenSSL shall say what is wrong with it
  Bytes output_;
  size_t output_at_ = 0;
  std::array<uint8_t, 4> message_header_{};
  size_t message_header_have_ = 0;
  size_t message_left_ = 0;
};

}  // namespace helo::tls
