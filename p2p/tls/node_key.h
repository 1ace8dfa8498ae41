// The node's Ed25519 key, whose public half is its id (WIRE 1), and the certificate that carries
// it. RFC 8032, RFC 8410. Thread: any; immutable after creation.
#pragma once

#include <absl/status/statusor.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "p2p/base/bytes.h"
#include "p2p/base/node_id.h"
#include "p2p/base/rng.h"

namespace helo::tls {

class NodeKey {
 public:
  // Internal if the crypto library has no Ed25519, which Generate answers by aborting with that
  // sentence.
  static absl::StatusOr<NodeKey> TryGenerate(Rng& rng);
  static NodeKey Generate(Rng& rng);
  // From a 32-byte seed (RFC 8032 "private key"). InvalidArgument if the public half is one that
  // WIRE 1 forbids.
  static absl::StatusOr<NodeKey> FromSeed(ByteView seed);
  // PEM, PKCS#8: what `openssl genpkey -algorithm ed25519` writes.
  static absl::StatusOr<NodeKey> FromPem(std::string_view pem);
  std::string ToPem() const;
  // Reads `path`, or generates a key there (0600) if there is no file. A file that others may read,
  // or that is not an Ed25519 key, is refused with the remedy, never overwritten.
  static absl::StatusOr<NodeKey> LoadOrCreate(const std::string& path, Rng& rng,
                                              bool* created = nullptr);
  static absl::StatusOr<NodeKey> Load(const std::string& path);

  NodeKey(const NodeKey&) = default;
  ~NodeKey();  // wipes the seed
  const NodeId& id() const { return id_; }
  ByteView seed() const { return {seed_.data(), seed_.size()}; }

 private:
  NodeKey() = default;
  std::array<uint8_t, 32> seed_{};
  NodeId id_;
};

// False for the keys that WIRE 1 forbids: small-order points in any encoding and y >= p.
bool IsAcceptableKey(const NodeId& id);

// The self-signed certificate of WIRE 1, DER, the same bytes for the same key.
absl::StatusOr<Bytes> MakeCertificate(const NodeKey& key);
// The id out of a certificate's SubjectPublicKeyInfo, taken from its place in the DER; nothing else
// is looked at. InvalidArgument if the structure is not a certificate's, the key not Ed25519 or not
// acceptable.
absl::StatusOr<NodeId> IdFromCertificate(ByteView der);

}  // namespace helo::tls
