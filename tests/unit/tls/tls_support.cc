#include "tests/unit/tls/tls_support.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

namespace helo::tls {

NodeKey TestKey(uint64_t seed) {
  testing::SeededRng rng(seed);
  return NodeKey::Generate(rng);
}

Pair::Pair(const ContextOptions& options) {
  auto d = Context::Create(dialer_key, options);
  auto a = Context::Create(acceptor_key, options);
  EXPECT_TRUE(d.ok()) << d.status();
  EXPECT_TRUE(a.ok()) << a.status();
  dialer_context = *std::move(d);
  acceptor_context = *std::move(a);
  dialer = std::make_unique<Channel>(*dialer_context, Role::kDialer);
  acceptor = std::make_unique<Channel>(*acceptor_context, Role::kAcceptor);
}

void Whole(ByteView bytes, const std::function<void(ByteView)>& deliver) { deliver(bytes); }

Carry InPiecesOfUpTo(size_t max, Rng& rng) {
  return [max, &rng](ByteView bytes, const std::function<void(ByteView)>& deliver) {
    while (!bytes.empty()) {
      const size_t n = std::min(bytes.size(), static_cast<size_t>(1 + rng.Below(max)));
      deliver(bytes.first(n));
      bytes = bytes.subspan(n);
    }
  };
}

Bytes TakeOutput(Channel& channel) {
  const ByteView out = channel.Output();
  Bytes bytes(out.begin(), out.end());
  channel.ConsumeOutput(bytes.size());
  return bytes;
}

void Move(Channel& from, Channel& to) { to.Feed(TakeOutput(from)); }

void Pump(Channel& a, Channel& b, const Carry& a_to_b, const Carry& b_to_a) {
  const auto move = [](Channel& from, Channel& to, const Carry& carry) {
    const Bytes bytes = TakeOutput(from);
    if (bytes.empty()) return false;
    carry(bytes, [&to](ByteView piece) {
      to.Feed(piece);
      to.Handshake();
    });
    return true;
  };
  a.Handshake();
  b.Handshake();
  for (;;) {
    const bool there = move(a, b, a_to_b);
    const bool back = move(b, a, b_to_a);
    if (!there && !back) return;
  }
}

std::string ReadAll(Channel& channel) {
  std::string text;
  Bytes chunk(20000);
  while (const size_t n = channel.Read(chunk)) text.append(AsString(ByteView(chunk).first(n)));
  return text;
}

Owned<EVP_PKEY> Ed25519Of(const NodeKey& key) {
  return {
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, key.seed().data(), key.seed().size()),
      EVP_PKEY_free};
}
Owned<EVP_PKEY> NewRsa() { return {EVP_RSA_gen(2048), EVP_PKEY_free}; }
Owned<EVP_PKEY> NewP256() { return {EVP_EC_gen("P-256"), EVP_PKEY_free}; }

Owned<X509> SelfSigned(EVP_PKEY* key, size_t padding, bool expired) {
  Owned<X509> cert(X509_new(), X509_free);
  X509_set_version(cert.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 7);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), expired ? -7200 : -60);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), expired ? -3600 : 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("stock"), -1, -1, 0);
  X509_set_issuer_name(cert.get(), X509_get_subject_name(cert.get()));
  X509_set_pubkey(cert.get(), key);
  if (padding > 0) {
    const std::string comment(padding, 'x');
    Owned<X509_EXTENSION> extension(
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_netscape_comment, comment.c_str()),
        X509_EXTENSION_free);
    X509_add_ext(cert.get(), extension.get(), -1);
  }
  const bool ed25519 = EVP_PKEY_is_a(key, "ED25519") == 1;
  EXPECT_GT(X509_sign(cert.get(), key, ed25519 ? nullptr : EVP_sha256()), 0);
  return cert;
}

Bytes DerOf(X509* certificate) {
  unsigned char* data = nullptr;
  const int size = i2d_X509(certificate, &data);
  EXPECT_GT(size, 0);
  Bytes der(data, data + size);
  OPENSSL_free(data);
  return der;
}

StockPeer::StockPeer(Role role)
    : role_(role),
      ctx_(SSL_CTX_new(role == Role::kDialer ? TLS_client_method() : TLS_server_method()),
           SSL_CTX_free),
      ssl_(nullptr, SSL_free) {
  SSL_CTX_set_info_callback(ctx_.get(), &OnInfo);
}

void StockPeer::UseAlpn(std::string_view name) {
  alpn_ = std::string(1, static_cast<char>(name.size())) + std::string(name);
  if (role_ == Role::kDialer) {
    SSL_CTX_set_alpn_protos(ctx(), reinterpret_cast<const unsigned char*>(alpn_.data()),
                            static_cast<unsigned>(alpn_.size()));
    return;
  }
  SSL_CTX_set_alpn_select_cb(
      ctx(),
      [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char*, unsigned,
         void* arg) {
        const auto& chosen = *static_cast<const std::string*>(arg);
        *out = reinterpret_cast<const unsigned char*>(chosen.data()) + 1;
        *size = static_cast<unsigned char>(chosen.size() - 1);
        return SSL_TLSEXT_ERR_OK;
      },
      &alpn_);
}

void StockPeer::UseKey(EVP_PKEY* key, X509* certificate) {
  EXPECT_EQ(SSL_CTX_use_certificate(ctx(), certificate), 1);
  EXPECT_EQ(SSL_CTX_use_PrivateKey(ctx(), key), 1);
}

void StockPeer::SetUpCorrectly(const NodeKey& key) {
  const Owned<EVP_PKEY> pkey = Ed25519Of(key);
  UseKey(pkey.get(), SelfSigned(pkey.get()).get());
  UseAlpn(kAlpn);
  SSL_CTX_set_verify(ctx(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
}

void StockPeer::Start() {
  ssl_.reset(SSL_new(ctx()));
  SSL_set_app_data(ssl(), this);
  SSL_set_bio(ssl(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  if (role_ == Role::kDialer) {
    SSL_set_connect_state(ssl());
  } else {
    SSL_set_accept_state(ssl());
  }
}

void StockPeer::OnInfo(const SSL* ssl, int where, int value) {
  if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT) {
    static_cast<StockPeer*>(SSL_get_app_data(ssl))->alert_received_ = value & 0xff;
  }
}

void StockPeer::Feed(ByteView bytes) {
  BIO_write(SSL_get_rbio(ssl()), bytes.data(), static_cast<int>(bytes.size()));
}

Bytes StockPeer::TakeOutput() {
  Bytes bytes(BIO_ctrl_pending(SSL_get_wbio(ssl())));
  if (!bytes.empty()) {
    BIO_read(SSL_get_wbio(ssl()), bytes.data(), static_cast<int>(bytes.size()));
  }
  return bytes;
}

bool StockPeer::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl());
  if (result == 1) return true;
  last_error_ = ERR_GET_REASON(ERR_peek_error());
  return false;
}

bool StockPeer::Write(std::string_view text) {
  ERR_clear_error();
  size_t done = 0;
  return SSL_write_ex(ssl(), text.data(), text.size(), &done) == 1 && done == text.size();
}

std::string StockPeer::ReadAll() {
  ERR_clear_error();
  std::string text;
  char chunk[4096];
  size_t n = 0;
  while (SSL_read_ex(ssl(), chunk, sizeof(chunk), &n) == 1) text.append(chunk, n);
  last_error_ = ERR_GET_REASON(ERR_peek_error());
  return text;
}

void Pump(Channel& channel, StockPeer& peer) {
  for (;;) {
    channel.Handshake();
    const Bytes there = TakeOutput(channel);
    if (!there.empty()) peer.Feed(there);
    if (SSL_in_init(peer.ssl()) == 1) peer.Handshake();
    const Bytes back = peer.TakeOutput();
    channel.Feed(back);
    if (there.empty() && back.empty()) return;
  }
}

void ExpectFailure(const Channel& channel, Reason reason, int alert, bool by_remote) {
  EXPECT_EQ(channel.state(), Channel::State::kFailed);
  EXPECT_EQ(Label(channel.failure().reason), Label(reason)) << channel.failure().detail;
  EXPECT_EQ(channel.failure().alert, alert) << channel.failure().detail;
  EXPECT_EQ(channel.failure().by_remote, by_remote) << channel.failure().detail;
  EXPECT_FALSE(channel.failure().detail.empty());
}

}  // namespace helo::tls
