// The dialing side of TLS for thousands of identities in one process: one SSL_CTX, and a key and a
// certificate a connection (the node's own Context is one an identity, which would be 10,000 here).
// Set up as WIRE 1 says. Owner: one Crowd. Thread: its loop's.
#pragma once

#include <absl/status/statusor.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>

#include "p2p/base/bytes.h"
#include "p2p/base/node_id.h"
#include "p2p/wire/session.h"

namespace helo::load {

template <auto kFree>
struct FreeBy {
  template <typename T>
  void operator()(T* p) const {
    kFree(p);
  }
};
using SslCtx = std::unique_ptr<SSL_CTX, FreeBy<SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, FreeBy<SSL_free>>;

// One of the nodes that a Crowd plays.
struct Identity {
  std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>> key;
  std::unique_ptr<X509, FreeBy<X509_free>> certificate;
  wire::Profile profile;
};

// The key is derived from `seed` and `number`, so that a run can be repeated.
absl::StatusOr<std::unique_ptr<Identity>> MakeIdentity(uint64_t seed, uint64_t number);

class ClientTls {
 public:
  static absl::StatusOr<std::unique_ptr<ClientTls>> Create();
  // A connection as `identity`, on a connected socket. `alpn`: what it offers.
  Ssl NewConnection(int fd, const Identity* identity, const std::string& alpn) const;
  // A first flight as it would be sent: what replaying it costs its sender is nothing.
  absl::StatusOr<Bytes> RecordFirstFlight() const;

 private:
  ClientTls() = default;
  SslCtx context_;
};

// Whose key answered; nullopt before the handshake is over.
std::optional<NodeId> RemoteId(const SSL* ssl);

// The settings that server and client share (WIRE 1, anchors of the design: tickets off,
// RELEASE_BUFFERS, X25519, Ed25519, AES-128-GCM first). For helo-bare too. False: OpenSSL refuses.
bool ConfigureContext(SSL_CTX* context);

}  // namespace helo::load
