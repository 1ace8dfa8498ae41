#include "tests/bench/client_tls.h"

#include <absl/strings/str_cat.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <array>

#include "p2p/tls/node_key.h"

namespace helo::load {
namespace {

// Whoever answers is measured, not trusted.
int AcceptAnybody(X509_STORE_CTX* store, void* /*arg*/) {
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

}  // namespace

bool ConfigureContext(SSL_CTX* context) {
  SSL_CTX_clear_options(context, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(context, &AcceptAnybody, nullptr);
  return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_num_tickets(context, 0) == 1 &&
         SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") == 1 &&
         SSL_CTX_set1_groups_list(context, "X25519") == 1 &&
         SSL_CTX_set1_sigalgs_list(context, "ed25519") == 1 &&
         SSL_CTX_set1_client_sigalgs_list(context, "ed25519") == 1;
}

absl::StatusOr<std::unique_ptr<Identity>> MakeIdentity(uint64_t seed, uint64_t number) {
  std::array<uint8_t, 32> raw{};
  for (size_t i = 0; i < 8; ++i) {
    raw[i] = static_cast<uint8_t>(seed >> (8 * i));
    raw[8 + i] = static_cast<uint8_t>(number >> (8 * i));
  }
  absl::StatusOr<tls::NodeKey> key = tls::NodeKey::FromSeed(raw);
  if (!key.ok()) return key.status();
  absl::StatusOr<Bytes> der = tls::MakeCertificate(*key);
  if (!der.ok()) return der.status();
  auto identity = std::make_unique<Identity>();
  identity->key.reset(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, raw.data(), raw.size()));
  const unsigned char* data = der->data();
  identity->certificate.reset(d2i_X509(nullptr, &data, static_cast<long>(der->size())));
  if (!identity->key || !identity->certificate) {
    return absl::InternalError("OpenSSL does not take an Ed25519 key and its certificate");
  }
  identity->profile.self = key->id();
  identity->profile.user_agent = "helo-load/1";
  return identity;
}

absl::StatusOr<std::unique_ptr<ClientTls>> ClientTls::Create() {
  std::unique_ptr<ClientTls> tls(new ClientTls());
  tls->context_.reset(SSL_CTX_new(TLS_client_method()));
  if (!tls->context_ || !ConfigureContext(tls->context_.get())) {
    return absl::InternalError("OpenSSL refuses TLS 1.3 with Ed25519, X25519 and AES-128-GCM");
  }
  return tls;
}

Ssl ClientTls::NewConnection(int fd, const Identity* identity, const std::string& alpn) const {
  Ssl ssl(SSL_new(context_.get()));
  if (!ssl) return nullptr;
  const std::string list = static_cast<char>(alpn.size()) + alpn;
  SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const uint8_t*>(list.data()),
                      static_cast<unsigned>(list.size()));
  if (identity != nullptr && (SSL_use_certificate(ssl.get(), identity->certificate.get()) != 1 ||
                              SSL_use_PrivateKey(ssl.get(), identity->key.get()) != 1)) {
    return nullptr;
  }
  if (fd >= 0 && SSL_set_fd(ssl.get(), fd) != 1) return nullptr;
  SSL_set_connect_state(ssl.get());
  return ssl;
}

absl::StatusOr<Bytes> ClientTls::RecordFirstFlight() const {
  const Ssl ssl = NewConnection(-1, nullptr, "helo/1");
  BIO* out = BIO_new(BIO_s_mem());
  if (!ssl || out == nullptr) return absl::ResourceExhaustedError("no memory for a first flight");
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);  // owns both
  SSL_do_handshake(ssl.get());
  const char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  if (size <= 0) return absl::InternalError("OpenSSL wrote no ClientHello");
  return Bytes(data, data + size);
}

std::optional<NodeId> RemoteId(const SSL* ssl) {
  const X509* certificate = SSL_get0_peer_certificate(ssl);
  const EVP_PKEY* key = certificate == nullptr ? nullptr : X509_get0_pubkey(certificate);
  NodeId id;
  size_t size = id.bytes.size();
  if (key == nullptr || EVP_PKEY_get_raw_public_key(key, id.bytes.data(), &size) != 1 ||
      size != id.bytes.size()) {
    return std::nullopt;
  }
  return id;
}

}  // namespace helo::load
