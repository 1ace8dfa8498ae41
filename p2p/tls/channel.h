// TLS 1.3 as a machine without a socket: bytes in, bytes out (memory BIOs). WIRE 1 says what is
// allowed. Context: one per network thread, made once (its OSSL_LIB_CTX too: shared ones bounce
// cache lines between cores). Channel: one per connection, on that thread, destroyed before its
// Context.
#pragma once

#include <absl/status/statusor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "p2p/base/bytes.h"
#include "p2p/base/node_id.h"
#include "p2p/base/reasons.h"
#include "p2p/tls/node_key.h"

namespace helo::tls {

inline constexpr char kAlpn[] = "helo/1";

// The record that refuses a connection before TLS (WIRE 1): 15 03 03 00 02 02 xx.
enum class GateAlert : uint8_t { kNotWelcome = 49, kNoRoom = 80 };
std::array<uint8_t, 7> GateAlertRecord(GateAlert alert);

// "handshake_failure" for 40 (RFC 8446 6); "unknown" for a number that has no name.
std::string_view AlertName(int alert);

struct ContextOptions {
  // A channel updates its sending key after this many records (WIRE 1). AES-GCM keys are good for
  // 2^24.5.
  uint64_t records_per_key = uint64_t{1} << 22;
  // Show OpenSSL 3.0 only the algorithms of helo/1, which makes a handshake a fifth cheaper.
  bool slim = true;
};

class Context {
 public:
  static absl::StatusOr<std::unique_ptr<Context>> Create(const NodeKey& key,
                                                         const ContextOptions& options = {});
  ~Context();

  // kSlim where that was asked for, pays, and shook hands with itself; else the default provider.
  enum class Algorithms : uint8_t { kWhole, kSlim };
  Algorithms algorithms() const { return algorithms_; }

 private:
  friend class Channel;
  Context();
  static absl::StatusOr<std::unique_ptr<Context>> Make(const NodeKey& key,
                                                       const ContextOptions& options,
                                                       Algorithms algorithms);
  bool ShakesHandsWithItself(const NodeId& id);
  Algorithms algorithms_ = Algorithms::kWhole;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

enum class Role : uint8_t { kDialer, kAcceptor };

class Channel {
 public:
  // Makes the SSL object; not before the connection's turn in the fair queue.
  Channel(Context& context, Role role);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  enum class State : uint8_t {
    kHandshaking,
    kUp,          // handshake done, on the acceptor after the dialer's Finished
    kPeerClosed,  // close_notify came; nothing more will be read
    kFailed,      // see failure(); a fatal alert may wait in Output()
  };
  State state() const { return state_; }

  void Feed(
      ByteView ciphertext);  // takes it all; at most one read of a socket at a time (<= 64 KiB)
  State Handshake();         // one step as far as the fed bytes go
  // Decrypts up to out.size() bytes; 0 when nothing is complete, or state() changed. Reads until 0
  // to drain. State() may have changed behind the bytes returned: they came first. Stops (0, and
  // HasBufferedInput() stays true) at what TakePostHandshake() has to tell first, if that is much
  // or bad, until it is taken.
  size_t Read(std::span<uint8_t> out);
  // Encrypts all of `plain` (records of up to 16 KiB). Only in kUp or kPeerClosed; false once
  // failed or closed.
  bool Write(ByteView plain);
  void Close();  // queues close_notify, once

  ByteView Output() const;  // ciphertext to send, in order; invalid after any other non-const call
  void ConsumeOutput(size_t n);
  size_t OutputSize() const { return Output().size(); }
  // Fed bytes that Read (or Handshake) can make something of now. Part of a record does not count.
  bool HasBufferedInput() const;

  const NodeId& remote_id() const { return remote_id_; }  // from kUp on
  // A dialer's: the acceptor asked for our certificate. One of helo/1 always does, since it could
  // not know who dials it otherwise.
  bool certificate_requested() const;

  // NOT_TLS, WRONG_ALPN, NO_CERTIFICATE, BAD_CERTIFICATE, TLS_ALERT, GATE_NOT_WELCOME,
  // GATE_NO_ROOM, TLS_MISUSE; INTERNAL when there was no memory for the connection.
  struct Failure {
    Reason reason = Reason::kTlsAlert;
    int alert = 0;  // TLS alert number received or sent, 0 if none
    bool by_remote = false;
    std::string detail;  // ours, safe to log
  };
  const Failure& failure() const { return failure_; }

  // What came after the handshake beside data, since the last call (WIRE 1, 2: KeyUpdate rates,
  // TLS_MISUSE).
  struct PostHandshake {
    uint32_t key_updates = 0;  // received, not counting those in answer to ours
    bool unexpected = false;   // NewSessionTicket and kin: TLS_MISUSE
  };
  PostHandshake TakePostHandshake();
  uint64_t records_received() const;

 private:
  struct Impl;
  void Fail(int ssl_error);
  State state_ = State::kHandshaking;
  NodeId remote_id_;
  Failure failure_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace helo::tls
