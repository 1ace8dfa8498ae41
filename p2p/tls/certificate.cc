// The certificate of WIRE 1: written by hand, so that it is the same bytes for the same key on
// every machine, and read by hand, so that nothing but the key's place in it can matter. Also the
// judgement of public keys.
#include <absl/strings/str_cat.h>
#include <openssl/evp.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string_view>

#include "p2p/base/text.h"
#include "p2p/tls/der.h"
#include "p2p/tls/node_key.h"

namespace helo::tls {
namespace {

constexpr uint8_t kSpkiPrefix[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03,
                                   0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
constexpr size_t kSpkiSize = sizeof(kSpkiPrefix) + NodeId::kSize;
constexpr size_t kSignatureSize = 64;

// AlgorithmIdentifier of Ed25519 (RFC 8410): id-Ed25519, parameters absent.
constexpr uint8_t kEd25519Algorithm[] = {0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70};
constexpr uint8_t kVersion3[] = {0xa0, 0x03, 0x02, 0x01, 0x02};
constexpr uint8_t kSerial1[] = {0x02, 0x01, 0x01};
// CN=helo. RFC 5280 wants a name in a self-signed certificate; some libraries insist.
constexpr uint8_t kName[] = {0x30, 0x0f, 0x31, 0x0d, 0x30, 0x0b, 0x06, 0x03, 0x55,
                             0x04, 0x03, 0x0c, 0x04, 'h',  'e',  'l',  'o'};
constexpr std::string_view kNotBefore = "19700101000000Z";
constexpr std::string_view kNotAfter = "99991231235959Z";
constexpr uint8_t kDerGeneralizedTime = 0x18;

// RFC 5280 4.1.2.5: dates through 2049 are UTCTime, later ones GeneralizedTime.
constexpr uint8_t kDerUtcTime = 0x17;

void Append(Bytes& out, ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

// Every element written here is shorter than 256 bytes: the sizes above add up to less.
void AppendDer(Bytes& out, uint8_t tag, ByteView body) {
  out.push_back(tag);
  if (body.size() >= 0x80) out.push_back(0x81);
  out.push_back(static_cast<uint8_t>(body.size()));
  Append(out, body);
}

// p = 2^255 - 19 and p - 1, little-endian as in RFC 8032 5.1.2.
constexpr std::array<uint8_t, 32> PMinus(uint8_t k) {
  std::array<uint8_t, 32> y{};
  for (uint8_t& b : y) b = 0xff;
  y[0] = static_cast<uint8_t>(0xed - k);
  y[31] = 0x7f;
  return y;
}

// The points of order 8 have these two y coordinates.
constexpr std::array<uint8_t, 32> kOrder8a = {
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
    0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05};
constexpr std::array<uint8_t, 32> kOrder8b = {
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
    0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a};

absl::Status NotACertificate(std::string_view where) {
  return absl::InvalidArgumentError(
      absl::StrCat("not an X.509 certificate in DER: ", ToAbsl(where)));
}

}  // namespace

bool TakeDer(ByteView& in, uint8_t tag, DerElement& out) {
  if (in.size() < 2 || in[0] != tag) return false;
  size_t header = 2;
  size_t length = in[1];
  if (length >= 0x80) {
    const size_t octets = length & 0x7f;
    if (octets < 1 || octets > 2 || in.size() < 2 + octets) return false;
    length = 0;
    for (size_t i = 0; i < octets; ++i) length = length << 8 | in[2 + i];
    if (length < (octets == 1 ? size_t{0x80} : size_t{0x100})) return false;  // not minimal
    header += octets;
  }
  if (in.size() - header < length) return false;
  out.whole = in.first(header + length);
  out.body = out.whole.subspan(header);
  in = in.subspan(header + length);
  return true;
}

bool IsAcceptableKey(const NodeId& id) {
  std::array<uint8_t, 32> y = id.bytes;
  y[31] &= 0x7f;  // the sign of x
  constexpr auto kP = PMinus(0);
  // Little-endian: compare from the most significant byte down.
  if (!std::lexicographical_compare(y.rbegin(), y.rend(), kP.rbegin(), kP.rend())) return false;
  constexpr std::array<uint8_t, 32> kZero{};
  constexpr std::array<uint8_t, 32> kOne{1};
  constexpr auto kPMinus1 = PMinus(1);
  return y != kZero && y != kOne && y != kPMinus1 && y != kOrder8a && y != kOrder8b;
}

absl::StatusOr<Bytes> MakeCertificate(const NodeKey& key) {
  Bytes validity;
  AppendDer(validity, kDerUtcTime, AsBytes(kNotBefore.substr(2)));
  AppendDer(validity, kDerGeneralizedTime, AsBytes(kNotAfter));

  Bytes body;
  Append(body, kVersion3);
  Append(body, kSerial1);
  Append(body, kEd25519Algorithm);
  Append(body, kName);  // issuer
  AppendDer(body, kDerSequence, validity);
  Append(body, kName);  // subject
  Append(body, kSpkiPrefix);
  Append(body, key.id().bytes);
  Bytes tbs;
  AppendDer(tbs, kDerSequence, body);

  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pkey(
      EVP_PKEY_new_raw_private_key_ex(nullptr, "ED25519", nullptr, key.seed().data(),
                                      key.seed().size()),
      &EVP_PKEY_free);
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> md(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  Bytes signature(1 + kSignatureSize);  // a BIT STRING begins with its count of unused bits: 0
  size_t size = kSignatureSize;
  if (!pkey || !md ||
      EVP_DigestSignInit_ex(md.get(), nullptr, nullptr, nullptr, nullptr, pkey.get(), nullptr) !=
          1 ||
      EVP_DigestSign(md.get(), signature.data() + 1, &size, tbs.data(), tbs.size()) != 1 ||
      size != kSignatureSize) {
    return absl::InternalError(
        "the crypto library could not sign the node's certificate with Ed25519; check that the "
        "OpenSSL 3 default provider is installed and not switched off by its configuration");
  }

  Append(tbs, kEd25519Algorithm);
  AppendDer(tbs, kDerBitString, signature);
  Bytes certificate;
  AppendDer(certificate, kDerSequence, tbs);
  return certificate;
}

absl::StatusOr<NodeId> IdFromCertificate(ByteView der) {
  DerElement certificate, tbs, skipped, spki;
  if (!TakeDer(der, kDerSequence, certificate)) return NotACertificate("no outer sequence");
  if (!der.empty()) return NotACertificate("bytes follow its end");
  ByteView outer = certificate.body;
  if (!TakeDer(outer, kDerSequence, tbs)) return NotACertificate("no TBSCertificate");

  ByteView in = tbs.body;
  TakeDer(in, kDerContext0, skipped);  // version, absent in version 1
  if (!TakeDer(in, kDerInteger, skipped)) return NotACertificate("no serial number");
  for (std::string_view field : {"signature algorithm", "issuer", "validity", "subject"}) {
    if (!TakeDer(in, kDerSequence, skipped)) {
      return NotACertificate(absl::StrCat("no ", ToAbsl(field)));
    }
  }
  if (!TakeDer(in, kDerSequence, spki)) return NotACertificate("no SubjectPublicKeyInfo");

  if (!TakeDer(outer, kDerSequence, skipped) || !TakeDer(outer, kDerBitString, skipped) ||
      !outer.empty()) {
    return NotACertificate("its frame does not end with an algorithm and a signature");
  }

  if (spki.whole.size() != kSpkiSize ||
      !std::equal(std::begin(kSpkiPrefix), std::end(kSpkiPrefix), spki.whole.begin())) {
    return absl::InvalidArgumentError("the certificate's key is not Ed25519 as RFC 8410 writes it");
  }
  NodeId id;
  std::copy_n(spki.whole.begin() + sizeof(kSpkiPrefix), NodeId::kSize, id.bytes.begin());
  if (!IsAcceptableKey(id)) {
    return absl::InvalidArgumentError(
        "the certificate's Ed25519 key is of small order or not canonical; anybody can sign for "
        "such a key");
  }
  return id;
}

}  // namespace helo::tls
