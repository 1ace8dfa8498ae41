// The node key: the same id everywhere, files that only their owner reads, and no foreign key taken
// for ours.
#include "p2p/tls/node_key.h"

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "p2p/base/text.h"
#include "tests/unit/tls/tls_support.h"

namespace helo::tls {
namespace {

using ::testing::HasSubstr;

// RFC 8032 7.1, TEST 1.
constexpr char kSeedHex[] = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
constexpr char kIdHex[] = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

NodeKey RfcKey() {
  Bytes seed;
  EXPECT_TRUE(FromHex(kSeedHex, seed));
  return NodeKey::FromSeed(seed).value();
}

class NodeKeyFile : public ::testing::Test {
 protected:
  NodeKeyFile() {
    std::string pattern = ::testing::TempDir() + "/helo-tls-XXXXXX";
    dir_ = mkdtemp(pattern.data());
  }
  ~NodeKeyFile() override { std::filesystem::remove_all(dir_); }

  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  std::string Put(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    std::ofstream(Path(name)) << text;
    EXPECT_EQ(chmod(Path(name).c_str(), mode), 0);
    return Path(name);
  }
  static std::string Get(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // The command's output, standard error included.
  std::string Run(const std::string& command) const {
    FILE* pipe = popen(absl::StrCat("cd ", dir_, " && ", command, " 2>&1").c_str(), "r");
    std::string out;
    char chunk[512];
    while (const size_t n = fread(chunk, 1, sizeof(chunk), pipe)) out.append(chunk, n);
    EXPECT_EQ(pclose(pipe), 0) << command << ": " << out;
    return out;
  }

  testing::SeededRng rng_;
  std::string dir_;
};

TEST(NodeKey, HasThePublicHalfThatRfc8032Gives) { EXPECT_EQ(RfcKey().id().ToHex(), kIdHex); }

TEST(NodeKey, RefusesASeedOfAnotherLength) {
  for (const size_t size : {0, 31, 33, 64}) {
    const auto key = NodeKey::FromSeed(Bytes(size, 7));
    EXPECT_EQ(key.status().code(), absl::StatusCode::kInvalidArgument) << size;
  }
}

TEST(NodeKey, ComesOutOfRandomnessAndDiffersEachTime) {
  testing::SeededRng rng(5);
  const NodeKey a = NodeKey::Generate(rng);
  const NodeKey b = NodeKey::Generate(rng);
  EXPECT_NE(a.id(), b.id());
  EXPECT_EQ(NodeKey::FromSeed(a.seed()).value().id(), a.id());
}

TEST(NodeKey, SurvivesItsOwnPem) {
  const NodeKey key = RfcKey();
  const std::string pem = key.ToPem();
  EXPECT_EQ(pem,
            "-----BEGIN PRIVATE KEY-----\n"
            "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
            "-----END PRIVATE KEY-----\n");
  EXPECT_EQ(NodeKey::FromPem(pem).value().id(), key.id());
}

TEST(NodeKey, ReadsPemWithTextAroundIt) {
  const auto key = NodeKey::FromPem("My key,\r\nkeep it.\n\n" + RfcKey().ToPem() + "\nthe end\n");
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_EQ(key->id().ToHex(), kIdHex);
}

TEST_F(NodeKeyFile, IsUnderstoodByOpenssl) {
  Put("ours.pem", RfcKey().ToPem());
  EXPECT_THAT(Run("openssl pkey -in ours.pem -pubout -outform DER | od -An -v -tx1 | tr -d ' \\n'"),
              HasSubstr(absl::StrCat("302a300506032b6570032100", kIdHex)));
}

TEST_F(NodeKeyFile, OfOpensslIsUnderstood) {
  Run("umask 077; openssl genpkey -algorithm ed25519 -out theirs.pem");
  const auto key = NodeKey::Load(Path("theirs.pem"));
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_THAT(
      Run("openssl pkey -in theirs.pem -pubout -outform DER | od -An -v -tx1 | tr -d ' \\n'"),
      HasSubstr(key->id().ToHex()));
}

TEST_F(NodeKeyFile, OfAnotherKindIsNamedAndRefused) {
  struct Case {
    const char* make;
    const char* says;
  };
  const Case cases[] = {
      {"openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:1024 -out key", "its type is RSA"},
      {"openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out key", "its type is EC"},
      {"openssl genpkey -algorithm x25519 -out key", "its type is X25519"},
      {"openssl genpkey -algorithm ed448 -out key", "its type is ED448"},
      {"openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret -out key", "passphrase"},
      {"openssl genpkey -algorithm ed25519 | openssl pkey -pubout -out key", "public key"},
      {"openssl genpkey -algorithm ed25519 -out k && openssl req -x509 -key k -subj /CN=x -out key",
       "certificate"},
      {"openssl genpkey -algorithm ed25519 -outform DER -out key", "not PEM"},
      {"openssl genpkey -algorithm ed25519 | head -c 70 > key", "cannot be parsed"},
      {"printf -- '-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXk=\\n' > key", "OpenSSH"},
      {": > key", "empty"},
      {"echo hello > key", "not PEM"},
      {"head -c 100000 /dev/zero > key", "bytes"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.make);
    Run(absl::StrCat("rm -f key k; umask 077; ", c.make));
    const std::string before = Get(Path("key"));
    const auto key = NodeKey::LoadOrCreate(Path("key"), rng_);
    EXPECT_EQ(key.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(key.status().message(), HasSubstr(c.says));
    EXPECT_THAT(key.status().message(), HasSubstr(Path("key")));
    EXPECT_THAT(key.status().message(), HasSubstr("helo keygen"));
    EXPECT_EQ(Get(Path("key")), before);
  }
}

TEST_F(NodeKeyFile, IsMadeOnceWithAModeThatKeepsItSecret) {
  bool created = false;
  const auto first = NodeKey::LoadOrCreate(Path("node.key"), rng_, &created);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(created);
  struct stat info {};
  ASSERT_EQ(stat(Path("node.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  const auto second = NodeKey::LoadOrCreate(Path("node.key"), rng_, &created);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_FALSE(created);
  EXPECT_EQ(second->id(), first->id());
}

TEST_F(NodeKeyFile, ThatOthersMayReadIsRefusedWithTheRemedy) {
  for (const mode_t mode : {0640U, 0604U, 0620U, 0660U, 0644U}) {
    const std::string path = Put("node.key", RfcKey().ToPem(), mode);
    const auto key = NodeKey::LoadOrCreate(path, rng_);
    EXPECT_EQ(key.status().code(), absl::StatusCode::kPermissionDenied) << mode;
    EXPECT_THAT(key.status().message(), HasSubstr("chmod 600 " + path));
    EXPECT_EQ(Get(path), RfcKey().ToPem());
  }
  EXPECT_TRUE(NodeKey::Load(Put("node.key", RfcKey().ToPem(), 0400)).ok());
}

TEST_F(NodeKeyFile, MustBeAFile) {
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(NodeKey::Load(Path("fifo")).status().message(), HasSubstr("not a regular file"));
  EXPECT_THAT(NodeKey::Load(dir_).status().message(), HasSubstr("not a regular file"));
}

TEST_F(NodeKeyFile, ThatIsAbsentIsNotFoundAndNamed) {
  const auto key = NodeKey::Load(Path("nothing"));
  EXPECT_EQ(key.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(key.status().message(), HasSubstr(Path("nothing")));
}

TEST_F(NodeKeyFile, BehindALinkThatLeadsNowhereIsNoReasonForANewIdentity) {
  std::filesystem::create_symlink(Path("unmounted/secret"), Path("node.key"));
  const auto key = NodeKey::LoadOrCreate(Path("node.key"), rng_);
  EXPECT_EQ(key.status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(std::filesystem::is_symlink(Path("node.key")));
}

TEST_F(NodeKeyFile, CannotBeMadeInADirectoryThatIsNotThere) {
  const auto key = NodeKey::LoadOrCreate(Path("no/such/node.key"), rng_);
  EXPECT_FALSE(key.ok());
  EXPECT_THAT(key.status().message(), HasSubstr(Path("no/such/node.key")));
}

// y little-endian, as in RFC 8032; the last byte's top bit is x's sign.
NodeId Point(std::string_view hex) { return NodeId::FromHex(hex).value(); }

TEST(ForgedKeys, SmallOrderPointsAreRefusedInEveryEncoding) {
  // The list that libraries keep: order 1, 2, 4, 8, and what is not canonical among them.
  const char* const points[] = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000080",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  };
  for (const char* hex : points) EXPECT_FALSE(IsAcceptableKey(Point(hex))) << hex;
}

TEST(ForgedKeys, YFromThePrimeOnIsRefused) {
  // p = 2^255 - 19, so the first byte runs from 0xed to 0xff.
  for (int low = 0xed; low <= 0xff; ++low) {
    for (const uint8_t high : {0x7f, 0xff}) {
      NodeId id;
      id.bytes.fill(0xff);
      id.bytes[0] = static_cast<uint8_t>(low);
      id.bytes[31] = high;
      EXPECT_FALSE(IsAcceptableKey(id)) << id.ToHex();
    }
  }
}

TEST(ForgedKeys, NeighboursOfThoseAreNotRefused) {
  const char* const points[] = {
      "0200000000000000000000000000000000000000000000000000000000000000",
      "ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7e",
      "edfffffffffffffffffffffffffffeffffffffffffffffffffffffffffffff7f",
      "25e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "c8176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      kIdHex,
  };
  for (const char* hex : points) EXPECT_TRUE(IsAcceptableKey(Point(hex))) << hex;
}

}  // namespace
}  // namespace helo::tls
