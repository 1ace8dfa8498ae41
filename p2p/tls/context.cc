// How TLS is set up: the recipe of WIRE 1, tuned. Everything is made once per thread here, so that
// a connection costs one SSL_new. MakeLibrary is the one place that chooses where the algorithms
// come from.
#include <absl/strings/str_cat.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <array>
#include <cstring>
#include <utility>

#include "p2p/tls/context_impl.h"

namespace helo::tls {
namespace {

constexpr uint8_t kAlpnList[] = {6, 'h', 'e', 'l', 'o', '/', '1'};
static_assert(sizeof(kAlpnList) == sizeof(kAlpn));  // a length byte in the place of the NUL

// Certificate message: empty request context, the list's length, the list.
constexpr long kMaxCertificateMessage = 1 + 3 + static_cast<long>(kMaxCertificateList);

absl::Status SetupError(std::string_view step) {
  const unsigned long error = ERR_peek_last_error();
  char text[160] = "no reason given";
  if (error != 0) ERR_error_string_n(error, text, sizeof(text));
  ERR_clear_error();
  return absl::InternalError(absl::StrCat(
      "cannot set up TLS: ", absl::string_view(step.data(), step.size()), ": ", text,
      "; check that OpenSSL 3 is whole on this machine (openssl list -providers) and that its "
      "configuration does not forbid Ed25519, X25519 or AES-128-GCM"));
}

Link* CurrentOf(BIO* bio) { return *static_cast<Link**>(BIO_get_data(bio)); }

int BioRead(BIO* bio, char* out, size_t size, size_t* done) {
  BIO_clear_retry_flags(bio);
  Link* link = CurrentOf(bio);
  *done = link == nullptr ? 0 : link->Read(reinterpret_cast<uint8_t*>(out), size);
  if (*done > 0) return 1;
  BIO_set_retry_read(bio);
  return -1;
}

int BioWrite(BIO* bio, const char* data, size_t size, size_t* done) {
  BIO_clear_retry_flags(bio);
  Link* link = CurrentOf(bio);
  if (link == nullptr) return -1;
  link->Write({reinterpret_cast<const uint8_t*>(data), size});
  *done = size;
  return 1;
}

long BioCtrl(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

void OnMessage(int sent, int /*version*/, int content_type, const void* data, size_t size,
               SSL* /*ssl*/, void* arg) {
  Link* link = *static_cast<Link**>(arg);
  if (link != nullptr) {
    link->OnMessage(sent != 0, content_type, {static_cast<const uint8_t*>(data), size});
  }
}

// Runs before the acceptor has done any work with keys.
int OnClientHello(SSL* ssl, int* alert, void* arg) {
  const unsigned char* data = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data,
                                &size) == 1 &&
      NamesOurAlpn({data, size}, /*alone=*/false)) {
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  if (Link* link = *static_cast<Link**>(arg); link != nullptr) link->wrong_alpn = true;
  *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
  return SSL_CLIENT_HELLO_ERROR;
}

int OnSelectAlpn(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size,
                 const unsigned char* /*offered*/, unsigned int /*offered_size*/, void* /*arg*/) {
  *out = kAlpnList + 1;  // OnClientHello has found it among the offered
  *out_size = sizeof(kAlpnList) - 1;
  return SSL_TLSEXT_ERR_OK;
}

// The certificate's bytes were judged when the message came (Link::JudgeCertificate). What remains:
// OpenSSL, which will check CertificateVerify, must have read the same key out of them.
int OnVerifyCertificate(X509_STORE_CTX* store, void* arg) {
  Link* link = *static_cast<Link**>(arg);
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (link == nullptr || ssl == nullptr) return 0;
  if (link->role == Role::kDialer && (link->wrong_alpn || !AlpnConfirmed(ssl))) {
    link->wrong_alpn = true;  // and it gets to see no certificate of ours
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
  }
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  const EVP_PKEY* key = leaf == nullptr ? nullptr : X509_get0_pubkey(leaf);
  std::array<uint8_t, NodeId::kSize> raw;
  size_t size = raw.size();
  if (link->certificate != Link::Certificate::kGood || key == nullptr ||
      EVP_PKEY_is_a(key, "ED25519") != 1 ||
      EVP_PKEY_get_raw_public_key(key, raw.data(), &size) != 1 || size != raw.size() ||
      raw != link->remote_id.bytes) {
    if (link->certificate == Link::Certificate::kGood) {
      link->certificate = Link::Certificate::kBad;
      link->certificate_detail = "its certificate cannot be read without doubt";
    }
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
  }
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

// The seam for a faster provider. A library context of one's own: a shared one bounces its locks'
// and reference counts' cache lines between cores.
absl::Status MakeLibrary(Context::Algorithms algorithms, SlimProvider& slim,
                         Handle<OSSL_LIB_CTX, OSSL_LIB_CTX_free>& library,
                         Handle<OSSL_PROVIDER, OSSL_PROVIDER_unload>& provider) {
  library.reset(OSSL_LIB_CTX_new());
  if (!library) return SetupError("OSSL_LIB_CTX_new");
  if (algorithms == Context::Algorithms::kSlim) {
    provider = slim.Load(library.get());
  } else {
    provider.reset(OSSL_PROVIDER_load(library.get(), "default"));
  }
  if (!provider) return SetupError("loading the default provider");
  return absl::OkStatus();
}

absl::Status Configure(SSL_CTX* ctx, Link** current) {
  SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_quiet_shutdown(ctx, 0);
  SSL_CTX_set_read_ahead(ctx, 0);
  SSL_CTX_set_max_cert_list(ctx, kMaxCertificateMessage);
  SSL_CTX_set_security_level(ctx, 2);
  if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1) {
    return SetupError("TLS 1.3");
  }
  if (SSL_CTX_set_num_tickets(ctx, 0) != 1) return SetupError("no tickets");
  if (SSL_CTX_set_ciphersuites(ctx,
                               "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"
                               "TLS_AES_256_GCM_SHA384") != 1) {
    return SetupError("cipher suites");
  }
  if (SSL_CTX_set1_groups_list(ctx, "X25519") != 1) return SetupError("group X25519");
  if (SSL_CTX_set1_sigalgs_list(ctx, "ed25519") != 1 ||
      SSL_CTX_set1_client_sigalgs_list(ctx, "ed25519") != 1) {
    return SetupError("signature algorithm ed25519");
  }
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(ctx, &OnVerifyCertificate, current);
  SSL_CTX_set_msg_callback(ctx, &OnMessage);
  SSL_CTX_set_msg_callback_arg(ctx, current);
  return absl::OkStatus();
}

absl::Status UseKey(SSL_CTX* ctx, OSSL_LIB_CTX* library, const NodeKey& key, ByteView certificate) {
  const Handle<EVP_PKEY, EVP_PKEY_free> pkey(EVP_PKEY_new_raw_private_key_ex(
      library, "ED25519", nullptr, key.seed().data(), key.seed().size()));
  X509* parsed = X509_new_ex(library, nullptr);
  const unsigned char* data = certificate.data();
  // d2i_X509 frees what it was given when it fails.
  const Handle<X509, X509_free> x509(
      parsed == nullptr ? nullptr
                        : d2i_X509(&parsed, &data, static_cast<long>(certificate.size())));
  if (!pkey || !x509 || SSL_CTX_use_certificate(ctx, x509.get()) != 1 ||
      SSL_CTX_use_PrivateKey(ctx, pkey.get()) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
    return SetupError("the node's key and certificate");
  }
  return absl::OkStatus();
}

}  // namespace

bool AlpnConfirmed(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  return size == sizeof(kAlpnList) - 1 && std::memcmp(name, kAlpnList + 1, size) == 0;
}

Context::Context() : impl_(std::make_unique<Impl>()) {}
Context::~Context() = default;

absl::StatusOr<std::unique_ptr<Context>> Context::Create(const NodeKey& key,
                                                         const ContextOptions& options) {
  if (options.slim && SlimProvider::Pays()) {
    auto context = Make(key, options, Algorithms::kSlim);
    if (context.ok() && (*context)->ShakesHandsWithItself(key.id())) return context;
  }
  return Make(key, options, Algorithms::kWhole);
}

bool Context::ShakesHandsWithItself(const NodeId& id) {
  Channel dialer(*this, Role::kDialer);
  Channel acceptor(*this, Role::kAcceptor);
  for (int flight = 0; flight < 3; ++flight) {
    for (const auto& [from, to] : {std::pair(&dialer, &acceptor), std::pair(&acceptor, &dialer)}) {
      from->Handshake();
      const ByteView out = from->Output();
      to->Feed(out);
      from->ConsumeOutput(out.size());
    }
  }
  return dialer.state() == Channel::State::kUp && acceptor.state() == Channel::State::kUp &&
         dialer.remote_id() == id && acceptor.remote_id() == id;
}

absl::StatusOr<std::unique_ptr<Context>> Context::Make(const NodeKey& key,
                                                       const ContextOptions& options,
                                                       Algorithms algorithms) {
  ERR_clear_error();
  std::unique_ptr<Context> context(new Context());
  Impl& impl = *context->impl_;
  impl.records_per_key = options.records_per_key;
  context->algorithms_ = algorithms;
  if (absl::Status s = MakeLibrary(algorithms, impl.slim, impl.library, impl.provider); !s.ok()) {
    return s;
  }

  impl.bio_method.reset(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "helo link"));
  if (!impl.bio_method || BIO_meth_set_read_ex(impl.bio_method.get(), &BioRead) != 1 ||
      BIO_meth_set_write_ex(impl.bio_method.get(), &BioWrite) != 1 ||
      BIO_meth_set_ctrl(impl.bio_method.get(), &BioCtrl) != 1) {
    return SetupError("BIO_meth_new");
  }
  impl.bio.reset(BIO_new_ex(impl.library.get(), impl.bio_method.get()));
  if (!impl.bio) return SetupError("BIO_new");
  BIO_set_data(impl.bio.get(), &impl.current);
  BIO_set_init(impl.bio.get(), 1);

  impl.dialer.reset(SSL_CTX_new_ex(impl.library.get(), nullptr, TLS_client_method()));
  impl.acceptor.reset(SSL_CTX_new_ex(impl.library.get(), nullptr, TLS_server_method()));
  if (!impl.dialer || !impl.acceptor) return SetupError("SSL_CTX_new");
  absl::StatusOr<Bytes> certificate = MakeCertificate(key);
  if (!certificate.ok()) return certificate.status();
  for (SSL_CTX* ctx : {impl.dialer.get(), impl.acceptor.get()}) {
    if (absl::Status s = Configure(ctx, &impl.current); !s.ok()) return s;
    if (absl::Status s = UseKey(ctx, impl.library.get(), key, *certificate); !s.ok()) return s;
  }
  if (SSL_CTX_set_alpn_protos(impl.dialer.get(), kAlpnList, sizeof(kAlpnList)) != 0) {
    return SetupError("ALPN");
  }
  SSL_CTX_set_client_hello_cb(impl.acceptor.get(), &OnClientHello, &impl.current);
  SSL_CTX_set_alpn_select_cb(impl.acceptor.get(), &OnSelectAlpn, nullptr);
  return context;
}

}  // namespace helo::tls
