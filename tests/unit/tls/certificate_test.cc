// The certificate: the same bytes for the same key, a certificate to every other library, and read
// back by nothing but the key's place in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509.h>

#include <algorithm>
#include <string>

#include "p2p/base/text.h"
#include "p2p/tls/node_key.h"
#include "tests/unit/tls/tls_support.h"

namespace helo::tls {
namespace {

using ::testing::HasSubstr;

constexpr char kSeedHex[] = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
constexpr uint8_t kSpkiPrefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                   0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

Bytes Hex(std::string_view hex) {
  Bytes bytes;
  EXPECT_TRUE(FromHex(hex, bytes));
  return bytes;
}

NodeKey RfcKey() { return NodeKey::FromSeed(Hex(kSeedHex)).value(); }

Bytes Join(std::initializer_list<ByteView> parts) {
  Bytes out;
  for (const ByteView part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

Bytes Der(uint8_t tag, ByteView body) {
  Bytes out = {tag};
  if (body.size() >= 0x100) {
    out.push_back(0x82);
    out.push_back(static_cast<uint8_t>(body.size() >> 8));
  } else if (body.size() >= 0x80) {
    out.push_back(0x81);
  }
  out.push_back(static_cast<uint8_t>(body.size()));
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

// A certificate's frame around any SubjectPublicKeyInfo.
Bytes Around(ByteView spki, ByteView after_spki = {}, ByteView version = Hex("a003020102")) {
  const Bytes algorithm = Hex("300506032b6570");
  const Bytes tbs = Der(0x30, Join({version, Hex("020101"), algorithm, Hex("3000"), Hex("3000"),
                                    Hex("3000"), spki, after_spki}));
  return Der(0x30, Join({tbs, algorithm, Hex("030100")}));
}

TEST(Certificate, IsTheSameBytesForTheSameKey) {
  EXPECT_EQ(
      ToHex(MakeCertificate(RfcKey()).value()),
      "3081cb307fa003020102020101300506032b6570300f310d300b06035504030c0468656c6f3020170d373030"
      "3130313030303030305a180f39393939313233313233353935395a300f310d300b06035504030c0468656c6f"
      "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
      "300506032b65700341006879d47cd15b2ac576ffb35af9a710f7fb589866d64d5be829a5878cc04f88ae3c5b"
      "ffeb9378d29d76ca1fed8186be41df17124626df5039ef20e023241d730b");
}

TEST(Certificate, IsOneToOpensslAndSignedByItsOwnKey) {
  const NodeKey key = TestKey(3);
  const Bytes der = MakeCertificate(key).value();
  EXPECT_LT(der.size(), 256U);
  const unsigned char* data = der.data();
  const Owned<X509> parsed(d2i_X509(nullptr, &data, static_cast<long>(der.size())), X509_free);
  ASSERT_NE(parsed, nullptr);
  EXPECT_EQ(data, der.data() + der.size());
  EXPECT_EQ(X509_verify(parsed.get(), X509_get0_pubkey(parsed.get())), 1);
  EXPECT_EQ(X509_get_version(parsed.get()), X509_VERSION_3);
  EXPECT_LT(X509_cmp_current_time(X509_get0_notBefore(parsed.get())), 0);
  EXPECT_GT(X509_cmp_current_time(X509_get0_notAfter(parsed.get())), 0);
  std::tm until{};
  ASSERT_EQ(ASN1_TIME_to_tm(X509_get0_notAfter(parsed.get()), &until), 1);
  EXPECT_EQ(until.tm_year, 9999 - 1900);
  EXPECT_EQ(DerOf(parsed.get()), der);
}

TEST(Certificate, GivesTheIdBack) {
  const NodeKey key = TestKey(3);
  EXPECT_EQ(IdFromCertificate(MakeCertificate(key).value()).value(), key.id());
}

TEST(Certificate, OfAnybodyWithAnEd25519KeyGivesTheId) {
  const NodeKey key = TestKey(4);
  const Owned<EVP_PKEY> pkey = Ed25519Of(key);
  EXPECT_EQ(IdFromCertificate(DerOf(SelfSigned(pkey.get()).get())).value(), key.id());
  EXPECT_EQ(IdFromCertificate(DerOf(SelfSigned(pkey.get(), 600, true).get())).value(), key.id());
}

TEST(Certificate, IsNotLookedAtBesideItsKey) {
  const NodeKey key = TestKey(4);
  const Bytes spki = Join({kSpkiPrefix, key.id().bytes});
  const Bytes no_version = Around(spki, {}, {});
  EXPECT_EQ(IdFromCertificate(no_version).value(), key.id());
  const Bytes odd_rest = Around(spki, Hex("a30401020304"));
  EXPECT_EQ(IdFromCertificate(odd_rest).value(), key.id());
}

TEST(Certificate, WithAKeyOfAnotherKindIsRefused) {
  for (const Owned<EVP_PKEY>& key : {NewRsa(), NewP256()}) {
    const auto id = IdFromCertificate(DerOf(SelfSigned(key.get()).get()));
    EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(id.status().message(), HasSubstr("not Ed25519"));
  }
}

TEST(Certificate, WithOurKeySomewhereElseIsRefused) {
  const Bytes ours = Join({kSpkiPrefix, TestKey(4).id().bytes});
  const Bytes foreign = Der(0x30, Hex("3005060300000003020000"));
  EXPECT_FALSE(IdFromCertificate(Around(foreign, ours)).ok());
  EXPECT_FALSE(IdFromCertificate(Around(foreign, Der(0xa3, ours))).ok());
  // The same key with parameters in its algorithm, or with bits unused, is another encoding.
  EXPECT_FALSE(IdFromCertificate(Around(Der(0x30, Join({Hex("300706032b65700500032100"),
                                                        TestKey(4).id().bytes}))))
                   .ok());
  Bytes unused_bits = ours;
  unused_bits[11] = 1;
  EXPECT_FALSE(IdFromCertificate(Around(unused_bits)).ok());
}

TEST(Certificate, WithAForgeableKeyIsRefused) {
  NodeId zero;
  const auto id = IdFromCertificate(Around(Join({kSpkiPrefix, zero.bytes})));
  EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(id.status().message(), HasSubstr("small order"));
}

TEST(Certificate, CutOrContinuedAnywhereIsRefused) {
  const Bytes der = MakeCertificate(TestKey(3)).value();
  for (size_t size = 0; size < der.size(); ++size) {
    // On the heap with its exact size, so that a read beyond it is seen.
    const Bytes cut(der.begin(), der.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(IdFromCertificate(cut).ok()) << size;
  }
  Bytes longer = der;
  longer.push_back(0);
  EXPECT_FALSE(IdFromCertificate(longer).ok());
}

TEST(Certificate, WithLengthsThatDerForbidsIsRefused) {
  const Bytes spki = Join({kSpkiPrefix, TestKey(4).id().bytes});
  const Bytes good = Around(spki);
  ASSERT_TRUE(IdFromCertificate(good).ok());
  ASSERT_LT(good[1], 0x80);  // a short length
  const auto with_length = [&good](std::string_view hex) {
    return Join({Hex("30"), Hex(hex), ByteView(good).subspan(2)});
  };
  const std::string size = ToHex(ByteView(good).subspan(1, 1));
  EXPECT_FALSE(IdFromCertificate(with_length("81" + size)).ok());
  EXPECT_FALSE(IdFromCertificate(with_length("8200" + size)).ok());
  EXPECT_FALSE(IdFromCertificate(with_length("83000000" + size)).ok());
  EXPECT_FALSE(IdFromCertificate(with_length("80")).ok());
  EXPECT_FALSE(IdFromCertificate(with_length("ff")).ok());
}

TEST(Certificate, AlteredAnywhereIsRefusedOrGivesAKeyThatItCarries) {
  const NodeKey key = TestKey(3);
  const Bytes der = MakeCertificate(key).value();
  size_t other_ids = 0;
  for (size_t at = 0; at < der.size(); ++at) {
    for (const int flip : {0x01, 0x20, 0x80, 0xff}) {
      Bytes altered = der;
      altered[at] ^= static_cast<uint8_t>(flip);
      const auto id = IdFromCertificate(altered);
      if (!id.ok() || *id == key.id()) continue;
      ++other_ids;
      const auto place =
          std::search(altered.begin(), altered.end(), id->bytes.begin(), id->bytes.end());
      EXPECT_NE(place, altered.end()) << at;
    }
  }
  EXPECT_EQ(other_ids, 32U * 4U);  // the key's own bytes, and no others
}

}  // namespace
}  // namespace helo::tls
