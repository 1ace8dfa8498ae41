// The node key and its file. The seed leaves this class only towards OpenSSL and the key file.
#include "p2p/tls/node_key.h"

#include <absl/cleanup/cleanup.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "p2p/base/atomic_file.h"
#include "p2p/base/text.h"

namespace helo::tls {
namespace {

constexpr size_t kSeedSize = 32;
constexpr size_t kMaxKeyFile = 16384;
constexpr uint8_t kPkcs8Prefix[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                    0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
constexpr std::string_view kPemHead = "-----BEGIN PRIVATE KEY-----\n";
constexpr std::string_view kPemFoot = "-----END PRIVATE KEY-----\n";
constexpr std::string_view kHowToMake =
    "make one with `helo keygen` or `openssl genpkey -algorithm ed25519`";

using Pkey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

// Without this OpenSSL would ask for a passphrase on the terminal.
int NoPassphrase(char* /*buf*/, int /*size*/, int /*rwflag*/, void* /*arg*/) { return -1; }

// What a file that is not our kind of key most likely is, for the sentence that refuses it.
std::string_view WhatItIs(std::string_view text) {
  struct Kind {
    std::string_view mark, what;
  };
  static constexpr Kind kKinds[] = {
      {"-----BEGIN ENCRYPTED PRIVATE KEY-----",
       "it is encrypted with a passphrase, which a node cannot type; decrypt it with "
       "`openssl pkey -in OLD -out NEW`"},
      {"Proc-Type: 4,ENCRYPTED",
       "it is encrypted with a passphrase, which a node cannot type; decrypt it with "
       "`openssl pkey -in OLD -out NEW`"},
      {"-----BEGIN OPENSSH PRIVATE KEY-----", "it is an OpenSSH key, whose format is another"},
      {"-----BEGIN RSA PRIVATE KEY-----", "it is an RSA key"},
      {"-----BEGIN EC PRIVATE KEY-----", "it is an elliptic curve key of another kind"},
      {"-----BEGIN PUBLIC KEY-----", "it is a public key, without its private half"},
      {"-----BEGIN CERTIFICATE-----", "it is a certificate, without a private key"},
  };
  for (const Kind& kind : kKinds) {
    if (text.find(kind.mark) != std::string_view::npos) return kind.what;
  }
  if (text.empty()) return "it is empty";
  if (text.find("-----BEGIN ") == std::string_view::npos) return "it is not PEM";
  return "it cannot be parsed";
}

absl::Status NotAKey(std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "not an Ed25519 private key in PEM (PKCS#8): ", ToAbsl(why), "; ", ToAbsl(kHowToMake)));
}

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat("node key ", path, ": ", status.message()));
}

}  // namespace

NodeKey::~NodeKey() { OPENSSL_cleanse(seed_.data(), seed_.size()); }

absl::StatusOr<NodeKey> NodeKey::TryGenerate(Rng& rng) {
  std::array<uint8_t, kSeedSize> seed;
  absl::Cleanup wipe = [&seed] { OPENSSL_cleanse(seed.data(), seed.size()); };
  for (;;) {
    rng.Fill(seed);
    absl::StatusOr<NodeKey> key = FromSeed(seed);
    // A forbidden public key has never come out of a random seed; if one does, draw again.
    if (key.ok() || key.status().code() != absl::StatusCode::kInvalidArgument) return key;
  }
}

NodeKey NodeKey::Generate(Rng& rng) {
  absl::StatusOr<NodeKey> key = TryGenerate(rng);
  if (!key.ok()) {
    std::fprintf(stderr, "%s\n", std::string(key.status().message()).c_str());
    std::abort();
  }
  return *std::move(key);
}

absl::StatusOr<NodeKey> NodeKey::FromSeed(ByteView seed) {
  if (seed.size() != kSeedSize) {
    return absl::InvalidArgumentError(
        absl::StrFormat("an Ed25519 seed is %d bytes, not %d", kSeedSize, seed.size()));
  }
  const Pkey pkey(
      EVP_PKEY_new_raw_private_key_ex(nullptr, "ED25519", nullptr, seed.data(), seed.size()),
      &EVP_PKEY_free);
  NodeKey key;
  size_t size = key.id_.bytes.size();
  if (!pkey || EVP_PKEY_get_raw_public_key(pkey.get(), key.id_.bytes.data(), &size) != 1 ||
      size != NodeId::kSize) {
    ERR_clear_error();
    return absl::InternalError(
        "the crypto library has no Ed25519; check that the OpenSSL 3 default provider is "
        "installed and not switched off by its configuration");
  }
  if (!IsAcceptableKey(key.id_)) {
    return absl::InvalidArgumentError("the public half of this seed is a key that helo/1 forbids");
  }
  std::copy(seed.begin(), seed.end(), key.seed_.begin());
  return key;
}

absl::StatusOr<NodeKey> NodeKey::FromPem(std::string_view pem) {
  if (pem.size() > kMaxKeyFile) {
    return NotAKey(absl::StrFormat("it has %d bytes, a key has 119", pem.size()));
  }
  // Read in place: OpenSSL makes no copy of its own that it would not wipe.
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  const Pkey pkey(
      bio ? PEM_read_bio_PrivateKey_ex(bio.get(), nullptr, &NoPassphrase, nullptr, nullptr, nullptr)
          : nullptr,
      &EVP_PKEY_free);
  ERR_clear_error();
  if (!pkey) return NotAKey(WhatItIs(pem));
  if (EVP_PKEY_is_a(pkey.get(), "ED25519") != 1) {
    const char* type = EVP_PKEY_get0_type_name(pkey.get());
    return NotAKey(absl::StrCat("its type is ", type == nullptr ? "unknown" : type));
  }
  std::array<uint8_t, kSeedSize> seed;
  absl::Cleanup wipe = [&seed] { OPENSSL_cleanse(seed.data(), seed.size()); };
  size_t size = seed.size();
  if (EVP_PKEY_get_raw_private_key(pkey.get(), seed.data(), &size) != 1 || size != kSeedSize) {
    ERR_clear_error();
    return NotAKey("its private half is missing");
  }
  return FromSeed(seed);
}

std::string NodeKey::ToPem() const {
  std::array<uint8_t, sizeof(kPkcs8Prefix) + kSeedSize> der;
  std::copy(std::begin(kPkcs8Prefix), std::end(kPkcs8Prefix), der.begin());
  std::copy(seed_.begin(), seed_.end(), der.begin() + sizeof(kPkcs8Prefix));
  std::array<uint8_t, der.size() / 3 * 4 + 1> base64;  // 64 characters, one PEM line, and a NUL
  const int length = EVP_EncodeBlock(base64.data(), der.data(), static_cast<int>(der.size()));
  std::string pem(kPemHead);
  pem.append(reinterpret_cast<const char*>(base64.data()), static_cast<size_t>(length));
  pem.append("\n").append(kPemFoot);
  OPENSSL_cleanse(der.data(), der.size());
  OPENSSL_cleanse(base64.data(), base64.size());
  return pem;
}

absl::StatusOr<NodeKey> NodeKey::Load(const std::string& path) {
  // O_NONBLOCK: a fifo must not hold the node up; it is refused below.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("open node key ", path));
  absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat st {};
  if (fstat(fd, &st) != 0) return ErrnoStatus(errno, absl::StrCat("fstat node key ", path));
  if (!S_ISREG(st.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("node key ", path, ": not a regular file"));
  }
  if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "node key %s: other users may read or change it (mode %04o), so it is no secret; if nobody "
        "has copied it: chmod 600 %s",
        path, st.st_mode & 07777, path));
  }
  std::string text(kMaxKeyFile + 1, '\0');
  absl::Cleanup wipe = [&text] { OPENSSL_cleanse(text.data(), text.size()); };
  size_t have = 0;
  while (have < text.size()) {
    const ssize_t n = read(fd, text.data() + have, text.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, absl::StrCat("read node key ", path));
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  absl::StatusOr<NodeKey> key = FromPem(std::string_view(text).substr(0, have));
  if (!key.ok()) return InFile(path, key.status());
  return key;
}

absl::StatusOr<NodeKey> NodeKey::LoadOrCreate(const std::string& path, Rng& rng, bool* created) {
  if (created != nullptr) *created = false;
  struct stat st {};
  // lstat: a link whose target is away for the moment is an existing key, not a reason for a new
  // identity.
  if (lstat(path.c_str(), &st) == 0) return Load(path);
  if (errno != ENOENT) return ErrnoStatus(errno, absl::StrCat("lstat node key ", path));
  absl::StatusOr<NodeKey> key = TryGenerate(rng);
  if (!key.ok()) return InFile(path, key.status());
  std::string pem = key->ToPem();
  absl::Cleanup wipe = [&pem] { OPENSSL_cleanse(pem.data(), pem.size()); };
  if (absl::Status status = WriteFileAtomically(path, pem, 0600); !status.ok()) {
    return InFile(path, status);
  }
  if (created != nullptr) *created = true;
  return key;
}

}  // namespace helo::tls
