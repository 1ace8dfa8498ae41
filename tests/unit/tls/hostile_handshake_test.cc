// Ends that are not helo/1, are broken, or mean harm: each failure gets its reason, nothing
// crashes, nobody gets in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <string>
#include <utility>

#include "p2p/tls/channel.h"
#include "tests/unit/tls/tls_support.h"

namespace helo::tls {
namespace {

using State = Channel::State;

using ::testing::HasSubstr;

// A key pair whose halves do not belong together.
Owned<EVP_PKEY> Mismatched(const NodeId& public_half, const NodeKey& private_half) {
  const Owned<OSSL_PARAM_BLD> build(OSSL_PARAM_BLD_new(), OSSL_PARAM_BLD_free);
  OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PUB_KEY, public_half.bytes.data(),
                                   public_half.bytes.size());
  OSSL_PARAM_BLD_push_octet_string(build.get(), OSSL_PKEY_PARAM_PRIV_KEY,
                                   private_half.seed().data(), private_half.seed().size());
  const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(build.get()), OSSL_PARAM_free);
  const Owned<EVP_PKEY_CTX> make(EVP_PKEY_CTX_new_from_name(nullptr, "ED25519", nullptr),
                                 EVP_PKEY_CTX_free);
  EVP_PKEY* key = nullptr;
  EXPECT_EQ(EVP_PKEY_fromdata_init(make.get()), 1);
  EXPECT_EQ(EVP_PKEY_fromdata(make.get(), &key, EVP_PKEY_KEYPAIR, params.get()), 1);
  return {key, EVP_PKEY_free};
}

TEST(NotTls, IsSeenAtTheFirstByte) {
  for (const char* text : {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "H",
                           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x02", "\x80\x2e\x01"}) {
    for (const Role role : {Role::kDialer, Role::kAcceptor}) {
      Ours ours(role);
      ours.channel->Handshake();
      TakeOutput(*ours.channel);
      ours.channel->Feed(AsBytes(text));
      ours.channel->Handshake();
      ExpectFailure(*ours.channel, Reason::kNotTls, 0, false);
      EXPECT_EQ(ours.channel->OutputSize(), 0U);
    }
  }
}

TEST(NotTls, BehindAnHonestStartIsAFailureToo) {
  Pair pair;
  pair.dialer->Handshake();
  Move(*pair.dialer, *pair.acceptor);
  pair.acceptor->Handshake();
  Bytes flight = TakeOutput(*pair.acceptor);
  pair.dialer->Feed(ByteView(flight).first(100));  // inside ServerHello's record
  pair.dialer->Handshake();
  EXPECT_EQ(pair.dialer->state(), State::kHandshaking);
  pair.dialer->Feed(Bytes(60000, 'G'));
  pair.dialer->Handshake();
  EXPECT_EQ(pair.dialer->state(), State::kFailed);
}

TEST(Gate, TheRecordIsTheSevenBytesOfThePage) {
  EXPECT_THAT(GateAlertRecord(GateAlert::kNotWelcome),
              ::testing::ElementsAre(0x15, 3, 3, 0, 2, 2, 49));
  EXPECT_THAT(GateAlertRecord(GateAlert::kNoRoom), ::testing::ElementsAre(0x15, 3, 3, 0, 2, 2, 80));
}

TEST(Gate, ADialerUnderstandsBothRefusals) {
  for (const auto& [alert, reason] : {std::pair(GateAlert::kNotWelcome, Reason::kGateNotWelcome),
                                      std::pair(GateAlert::kNoRoom, Reason::kGateNoRoom)}) {
    Ours ours(Role::kDialer);
    ours.channel->Handshake();
    TakeOutput(*ours.channel);
    for (const uint8_t byte : GateAlertRecord(alert)) {
      EXPECT_EQ(ours.channel->state(), State::kHandshaking);
      ours.channel->Feed({&byte, 1});
      ours.channel->Handshake();
    }
    ExpectFailure(*ours.channel, reason, static_cast<int>(alert), true);
  }
}

TEST(Gate, OtherAlertsInItsPlaceAreNamed) {
  Ours ours(Role::kDialer);
  ours.channel->Handshake();
  ours.channel->Feed(GateAlertRecord(static_cast<GateAlert>(70)));
  ours.channel->Handshake();
  ExpectFailure(*ours.channel, Reason::kTlsAlert, 70, true);
  EXPECT_THAT(ours.channel->failure().detail, HasSubstr("protocol_version"));
}

TEST(Gate, TheSameAlertOnceTlsHasBegunIsNoGate) {
  Ours ours(Role::kDialer);
  StockPeer peer(Role::kAcceptor);
  peer.SetUpCorrectly(TestKey(9));
  peer.Start();
  ours.channel->Handshake();
  peer.Feed(TakeOutput(*ours.channel));
  peer.Handshake();
  const Bytes flight = peer.TakeOutput();
  const size_t server_hello = 5 + (flight[3] << 8 | flight[4]);
  ours.channel->Feed(ByteView(flight).first(server_hello));
  ours.channel->Handshake();
  ours.channel->Feed(GateAlertRecord(GateAlert::kNotWelcome));
  ours.channel->Handshake();
  EXPECT_EQ(ours.channel->state(), State::kFailed);
  EXPECT_EQ(Label(ours.channel->failure().reason), Label(Reason::kTlsAlert));
}

TEST(Version, ADialerOfTls12IsRefused) {
  Ours ours(Role::kAcceptor);
  StockPeer peer(Role::kDialer);
  peer.SetUpCorrectly(TestKey(9));
  SSL_CTX_set_max_proto_version(peer.ctx(), TLS1_2_VERSION);
  peer.Start();
  Pump(*ours.channel, peer);
  ExpectFailure(*ours.channel, Reason::kTlsAlert, SSL_AD_PROTOCOL_VERSION, false);
  EXPECT_EQ(peer.alert_received(), SSL_AD_PROTOCOL_VERSION);
}

TEST(Version, AnAcceptorOfTls12IsGivenUp) {
  Ours ours(Role::kDialer);
  StockPeer peer(Role::kAcceptor);
  peer.SetUpCorrectly(TestKey(9));
  SSL_CTX_set_max_proto_version(peer.ctx(), TLS1_2_VERSION);
  peer.Start();
  Pump(*ours.channel, peer);
  ExpectFailure(*ours.channel, Reason::kTlsAlert, SSL_AD_PROTOCOL_VERSION, true);
}

TEST(Alpn, WithoutItADialerIsRefusedBeforeAnyWorkWithKeys) {
  for (const char* name : {"", "h2", "helo/2", "helo/", "helo/10"}) {
    Ours ours(Role::kAcceptor);
    StockPeer peer(Role::kDialer);
    peer.SetUpCorrectly(TestKey(9));
    if (*name == '\0') {
      SSL_CTX_set_alpn_protos(peer.ctx(), nullptr, 0);
    } else {
      peer.UseAlpn(name);
    }
    peer.Start();
    Pump(*ours.channel, peer);
    ExpectFailure(*ours.channel, Reason::kWrongAlpn, SSL_AD_NO_APPLICATION_PROTOCOL, false);
    EXPECT_EQ(peer.alert_received(), SSL_AD_NO_APPLICATION_PROTOCOL) << name;
  }
}

TEST(Alpn, AmongOthersItIsFound) {
  Ours ours(Role::kAcceptor);
  StockPeer peer(Role::kDialer);
  peer.SetUpCorrectly(TestKey(9));
  const std::string list = std::string("\2h2\6helo/2\6helo/1");
  SSL_CTX_set_alpn_protos(peer.ctx(), AsBytes(list).data(), static_cast<unsigned>(list.size()));
  peer.Start();
  Pump(*ours.channel, peer);
  ASSERT_EQ(ours.channel->state(), State::kUp) << ours.channel->failure().detail;
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(peer.ssl(), &chosen, &size);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(chosen), size), "helo/1");
}

TEST(Alpn, AnAcceptorThatDoesNotConfirmItNeverSeesOurKey) {
  for (const char* name : {"", "helo/2"}) {
    Ours ours(Role::kDialer);
    StockPeer peer(Role::kAcceptor);
    peer.SetUpCorrectly(TestKey(9));
    if (*name == '\0') {
      SSL_CTX_set_alpn_select_cb(peer.ctx(), nullptr, nullptr);
    } else {
      peer.UseAlpn(name);
    }
    peer.Start();
    Pump(*ours.channel, peer);
    EXPECT_EQ(ours.channel->state(), State::kFailed);
    EXPECT_EQ(Label(ours.channel->failure().reason), Label(Reason::kWrongAlpn))
        << ours.channel->failure().detail;
    EXPECT_FALSE(ours.channel->failure().by_remote);
    EXPECT_EQ(SSL_get0_peer_certificate(peer.ssl()), nullptr);
  }
}

TEST(Alpn, ADialerToldSoByAlertKnowsIt) {
  Ours ours(Role::kDialer);
  ours.channel->Handshake();
  ours.channel->Feed(GateAlertRecord(static_cast<GateAlert>(120)));
  ours.channel->Handshake();
  ExpectFailure(*ours.channel, Reason::kWrongAlpn, 120, true);
}

TEST(Certificates, NoneIsRefused) {
  Ours ours(Role::kAcceptor);
  StockPeer peer(Role::kDialer);
  peer.UseAlpn(kAlpn);
  peer.Start();
  Pump(*ours.channel, peer);
  ExpectFailure(*ours.channel, Reason::kNoCertificate, SSL_AD_CERTIFICATE_REQUIRED, false);
  peer.ReadAll();
  EXPECT_EQ(peer.alert_received(), SSL_AD_CERTIFICATE_REQUIRED);
}

TEST(Certificates, OfAnotherKindAreNotShownOrRefused) {
  for (const Owned<EVP_PKEY>& key : {NewRsa(), NewP256()}) {
    const Owned<X509> cert = SelfSigned(key.get());
    {
      // A dialer that keeps to our CertificateRequest has nothing to show.
      Ours ours(Role::kAcceptor);
      StockPeer peer(Role::kDialer);
      peer.UseKey(key.get(), cert.get());
      peer.UseAlpn(kAlpn);
      peer.Start();
      Pump(*ours.channel, peer);
      ExpectFailure(*ours.channel, Reason::kNoCertificate, SSL_AD_CERTIFICATE_REQUIRED, false);
    }
    // An acceptor finds no signature algorithm in common.
    Ours ours(Role::kDialer);
    StockPeer peer(Role::kAcceptor);
    peer.UseKey(key.get(), cert.get());
    peer.UseAlpn(kAlpn);
    peer.Start();
    Pump(*ours.channel, peer);
    ExpectFailure(*ours.channel, Reason::kTlsAlert, SSL_AD_HANDSHAKE_FAILURE, true);
  }
}

class ShownCertificate : public ::testing::TestWithParam<Role> {
 protected:
  // A handshake of ours with a stock end that is correct but for what `change` does to it.
  void Shake(const std::function<void(StockPeer&)>& change) {
    const bool peer_dials = GetParam() == Role::kDialer;
    ours_ = std::make_unique<Ours>(peer_dials ? Role::kAcceptor : Role::kDialer);
    StockPeer peer(GetParam());
    peer.SetUpCorrectly(key_);
    change(peer);
    peer.Start();
    Pump(*ours_->channel, peer);
    peer.ReadAll();
    alert_ = peer.alert_received();
  }
  const Channel& channel() const { return *ours_->channel; }

  const NodeKey key_ = TestKey(9);
  const Owned<EVP_PKEY> pkey_ = Ed25519Of(key_);
  std::unique_ptr<Ours> ours_;
  int alert_ = -1;
};

TEST_P(ShownCertificate, OfAStrangersMakeIsFineWhateverItSays) {
  Shake([](StockPeer&) {});
  ASSERT_EQ(channel().state(), State::kUp) << channel().failure().detail;
  EXPECT_EQ(channel().remote_id(), key_.id());
  Shake([this](StockPeer& peer) {
    peer.UseKey(pkey_.get(), SelfSigned(pkey_.get(), 300, /*expired=*/true).get());
  });
  EXPECT_EQ(channel().state(), State::kUp) << channel().failure().detail;
}

TEST_P(ShownCertificate, MustBeAlone) {
  Shake([this](StockPeer& peer) {
    X509* second = SelfSigned(pkey_.get()).release();
    ASSERT_EQ(SSL_CTX_add_extra_chain_cert(peer.ctx(), second), 1);
  });
  ExpectFailure(channel(), Reason::kBadCertificate, SSL_AD_BAD_CERTIFICATE, false);
  EXPECT_THAT(channel().failure().detail, HasSubstr("more than one"));
  EXPECT_EQ(alert_, SSL_AD_BAD_CERTIFICATE);
}

TEST_P(ShownCertificate, MayFillAListOf1024BytesAndNotOneMore) {
  const size_t bare = DerOf(SelfSigned(pkey_.get(), 300).get()).size();
  // The list: 3 bytes of length, the certificate, 2 bytes of extensions.
  const size_t most = 300 + (1024 - 5 - bare);
  Shake([&](StockPeer& peer) {
    const Owned<X509> cert = SelfSigned(pkey_.get(), most);
    EXPECT_EQ(DerOf(cert.get()).size(), 1024U - 5U);
    peer.UseKey(pkey_.get(), cert.get());
  });
  EXPECT_EQ(channel().state(), State::kUp) << channel().failure().detail;
  for (const size_t more : {1, 2, 500, 20000}) {
    Shake([&](StockPeer& peer) {
      peer.UseKey(pkey_.get(), SelfSigned(pkey_.get(), most + more).get());
    });
    EXPECT_EQ(channel().state(), State::kFailed);
    EXPECT_EQ(Label(channel().failure().reason), Label(Reason::kBadCertificate))
        << channel().failure().detail;
    EXPECT_THAT(channel().failure().detail, HasSubstr("1024"));
  }
}

TEST_P(ShownCertificate, WithAForgeableKeyIsRefusedBeforeItsSignatureIsLookedAt) {
  const char* const forged[] = {
      "0100000000000000000000000000000000000000000000000000000000000000",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  };
  for (const char* hex : forged) {
    const Owned<EVP_PKEY> pair = Mismatched(NodeId::FromHex(hex).value(), key_);
    Shake([&](StockPeer& peer) { peer.UseKey(pair.get(), SelfSigned(pair.get()).get()); });
    ExpectFailure(channel(), Reason::kBadCertificate, SSL_AD_BAD_CERTIFICATE, false);
    EXPECT_THAT(channel().failure().detail, HasSubstr("small order"));
  }
}

TEST_P(ShownCertificate, OfSomebodyElseIsNoProof) {
  // The public half of another node, signatures by a key of one's own.
  const Owned<EVP_PKEY> pair = Mismatched(TestKey(10).id(), key_);
  Shake([&](StockPeer& peer) { peer.UseKey(pair.get(), SelfSigned(pair.get()).get()); });
  ExpectFailure(channel(), Reason::kBadCertificate, SSL_AD_DECRYPT_ERROR, false);
  EXPECT_THAT(channel().failure().detail, HasSubstr("did not prove"));
}

INSTANTIATE_TEST_SUITE_P(, ShownCertificate, ::testing::Values(Role::kDialer, Role::kAcceptor),
                         [](const auto& role) {
                           return role.param == Role::kDialer ? "ByADialer" : "ByAnAcceptor";
                         });

TEST(Remote, ThatRefusesOurCertificateIsQuoted) {
  Ours ours(Role::kDialer);
  StockPeer peer(Role::kAcceptor);
  peer.SetUpCorrectly(TestKey(9));
  SSL_CTX_set_verify(peer.ctx(), SSL_VERIFY_PEER, nullptr);
  peer.Start();
  Pump(*ours.channel, peer);
  // In TLS 1.3 the dialer is done before the acceptor has judged it.
  ReadAll(*ours.channel);
  ExpectFailure(*ours.channel, Reason::kTlsAlert, SSL_AD_UNKNOWN_CA, true);
  EXPECT_THAT(ours.channel->failure().detail, HasSubstr("unknown_ca"));
}

TEST(Groups, ADialerThatBeginsWithAnotherIsAskedAgain) {
  Ours ours(Role::kAcceptor);
  StockPeer peer(Role::kDialer);
  peer.SetUpCorrectly(TestKey(9));
  SSL_CTX_set1_groups_list(peer.ctx(), "P-256:X25519");
  peer.Start();
  Pump(*ours.channel, peer);
  EXPECT_EQ(ours.channel->state(), State::kUp) << ours.channel->failure().detail;
  EXPECT_EQ(ours.channel->remote_id(), TestKey(9).id());
}

TEST(Suites, EachOfThePagesSuitesWorks) {
  for (const char* suite :
       {"TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"}) {
    Ours ours(Role::kAcceptor);
    StockPeer peer(Role::kDialer);
    peer.SetUpCorrectly(TestKey(9));
    SSL_CTX_set_ciphersuites(peer.ctx(), suite);
    peer.Start();
    Pump(*ours.channel, peer);
    EXPECT_EQ(ours.channel->state(), State::kUp) << suite;
  }
  Ours ours(Role::kAcceptor);
  StockPeer peer(Role::kDialer);
  peer.SetUpCorrectly(TestKey(9));
  SSL_CTX_set_ciphersuites(peer.ctx(), "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256");
  peer.Start();
  Pump(*ours.channel, peer);
  EXPECT_STREQ(SSL_get_cipher_name(peer.ssl()), "TLS_AES_128_GCM_SHA256");
}

TEST(Hello, WithANameInItIsTheSame) {
  Ours ours(Role::kAcceptor);
  StockPeer peer(Role::kDialer);
  peer.SetUpCorrectly(TestKey(9));
  peer.Start();
  SSL_set_tlsext_host_name(peer.ssl(), "node.example");
  Pump(*ours.channel, peer);
  EXPECT_EQ(ours.channel->state(), State::kUp);
}

TEST(Hello, ThatClaimsToBeHugeIsRefusedOnItsHeader) {
  // The handshake header whole in one record, and trickled over four.
  const Bytes whole = {0x16, 3, 1, 0, 4, 1, 0x01, 0x00, 0x00};
  const Bytes trickled = {0x16, 3, 1, 0, 1, 1,    0x16, 3, 1, 0, 1, 0x00,
                          0x16, 3, 1, 0, 1, 0x40, 0x16, 3, 1, 0, 1, 0x01};
  for (const Bytes& hello : {whole, trickled}) {
    Ours ours(Role::kAcceptor);
    ours.channel->Feed(hello);
    ours.channel->Handshake();
    ExpectFailure(*ours.channel, Reason::kTlsAlert, SSL_AD_ILLEGAL_PARAMETER, false);
    EXPECT_EQ(TakeOutput(*ours.channel), (Bytes{0x15, 3, 3, 0, 2, 2, 47}));
  }
}

}  // namespace
}  // namespace helo::tls
