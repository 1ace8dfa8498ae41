// IP addresses as bytes, text and sockaddr; blocks of addresses.
#include "p2p/base/endpoint.h"

#include <absl/hash/hash_testing.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <string>

namespace helo {
namespace {

using ::testing::HasSubstr;

std::string Canonical(std::string_view text) {
  const auto ip = IpAddress::Parse(text);
  return ip ? ip->ToString() : "refused";
}

TEST(IpAddress, Ipv4IsFourPlainDecimalsAndNothingElse) {
  EXPECT_EQ(Canonical("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(Canonical("0.0.0.0"), "0.0.0.0");
  EXPECT_EQ(Canonical("255.255.255.255"), "255.255.255.255");
  for (const char* text : {"017.0.0.1", "1.2.3", "999.1.1.1", "1.2.3.4.5", "1.2.3.", ".1.2.3",
                           "1..2.3", "256.0.0.1", "0x7f.0.0.1", "2130706433", "1.2.3.4 ",
                           " 1.2.3.4", "+1.2.3.4", "00.0.0.0", "1.2.3.-4", ""}) {
    EXPECT_EQ(Canonical(text), "refused") << text;
  }
  EXPECT_EQ(Canonical(std::string_view("1.2.3.4\0", 8)), "refused");
}

TEST(IpAddress, Ipv6IsPrintedAsRfc5952Says) {
  const std::pair<const char*, const char*> kCases[] = {
      {"2001:DB8::1", "2001:db8::1"},  // 4.3: lower case
      {"2001:0db8:0000:0000:0001:0000:0000:0001",
       "2001:db8::1:0:0:1"},                             // 4.2.3: the first of equal runs
      {"2001:db8:0:0:1:0:0:0", "2001:db8:0:0:1::"},      // 4.2.3: the longest run
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // 4.2.2: one group is not shortened
      {"0:0:0:0:0:0:0:0", "::"},
      {"0:0:0:0:0:0:0:1", "::1"},
      {"1:0:0:0:0:0:0:0", "1::"},
      {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
      {"0:0:3:4:5:6:7:8", "::3:4:5:6:7:8"},
      {"0:2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
      {"1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"},
      {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
      {"fe80::1%7", "fe80::1%7"},
  };
  for (const auto& [in, out] : kCases) {
    EXPECT_EQ(Canonical(in), out);
    EXPECT_EQ(Canonical(out), out) << "what is printed parses to itself";
  }
}

TEST(IpAddress, BadIpv6IsRefused) {
  for (const char* text :
       {":", ":::", "1::2::3", "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "[::1]", "::1%",
        "::1%0", "fe80::1%no-such-interface-here", "::1 ", "::ffff:017.0.0.1", "g::"}) {
    EXPECT_EQ(Canonical(text), "refused") << text;
  }
  EXPECT_EQ(Canonical(std::string_view("::1\0", 4)), "refused");
}

TEST(IpAddress, AnInterfaceNameBecomesItsScopeId) {
  EXPECT_EQ(Canonical("fe80::1%lo"), "fe80::1%1");
  EXPECT_EQ(IpAddress::Parse("fe80::1%lo")->scope_id(), 1u);
  EXPECT_NE(*IpAddress::Parse("fe80::1%1"), *IpAddress::Parse("fe80::1%2"))
      << "two links, two addresses";
}

TEST(IpAddress, AMappedAddressIsIpv4WhereverItComesFrom) {
  const IpAddress v4 = IpAddress::V4({192, 0, 2, 1});
  EXPECT_EQ(*IpAddress::Parse("::ffff:192.0.2.1"), v4);
  EXPECT_EQ(*IpAddress::Parse("::ffff:c000:201"), v4);
  EXPECT_EQ(Canonical("::ffff:192.0.2.1%1"), "refused");
  const Bytes mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1};
  EXPECT_EQ(*IpAddress::FromBytes(mapped), v4);
  EXPECT_EQ(v4.bytes().size(), 4u);
  EXPECT_FALSE(IpAddress::FromBytes(Bytes(5)));
  EXPECT_FALSE(IpAddress::FromBytes(Bytes()));
}

TEST(IpAddress, KnowsLoopbackAndUnspecified) {
  EXPECT_TRUE(IpAddress::Parse("127.255.0.1")->IsLoopback());
  EXPECT_TRUE(IpAddress::Parse("::1")->IsLoopback());
  EXPECT_TRUE(IpAddress::Parse("::ffff:127.0.0.1")->IsLoopback());
  EXPECT_FALSE(IpAddress::Parse("128.0.0.1")->IsLoopback());
  EXPECT_FALSE(IpAddress::Parse("::2")->IsLoopback());
  EXPECT_TRUE(IpAddress::Parse("0.0.0.0")->IsUnspecified());
  EXPECT_TRUE(IpAddress::Parse("::")->IsUnspecified());
  EXPECT_FALSE(IpAddress::Parse("::1")->IsUnspecified());
}

TEST(IpAddress, HashesAsItCompares) {
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(
      {IpAddress(), *IpAddress::Parse("::"), *IpAddress::Parse("::1"), *IpAddress::Parse("0.0.0.1"),
       *IpAddress::Parse("fe80::1%1"), *IpAddress::Parse("fe80::1%2")}));
}

TEST(Endpoint, ParsesAndPrintsBothFamilies) {
  EXPECT_EQ(Endpoint::Parse("1.2.3.4:80")->ToString(), "1.2.3.4:80");
  EXPECT_EQ(Endpoint::Parse("[::1]:65535")->ToString(), "[::1]:65535");
  EXPECT_EQ(Endpoint::Parse("[::ffff:1.2.3.4]:80")->ToString(), "1.2.3.4:80");
  for (const char* text :
       {"1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:080", "::1:80",
        "[1.2.3.4]:80", "[::1]", "[::1]80", "[::1:80", "localhost:80", ":80", ""}) {
    EXPECT_FALSE(Endpoint::Parse(text)) << text;
  }
}

TEST(Endpoint, SurvivesTheSockaddrInBothFormsAndIsNormalisedThere) {
  for (const char* text : {"192.0.2.7:4356", "[2001:db8::9]:1", "[fe80::1%3]:22"}) {
    const Endpoint endpoint = *Endpoint::Parse(text);
    for (const bool as_v6 : {false, true}) {
      sockaddr_storage storage{};
      const socklen_t length = endpoint.ToSockaddr(storage, as_v6);
      EXPECT_EQ(storage.ss_family, endpoint.ip.is_v4() && !as_v6 ? AF_INET : AF_INET6);
      EXPECT_EQ(length, storage.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
      EXPECT_EQ(Endpoint::FromSockaddr(storage)->ToString(), text);
    }
  }
  sockaddr_storage other{};
  other.ss_family = AF_UNIX;
  EXPECT_FALSE(Endpoint::FromSockaddr(other));
}

std::string SubnetOrError(std::string_view text) {
  const auto subnet = Subnet::Parse(text);
  return subnet.ok() ? subnet->ToString() : std::string(subnet.status().message());
}

TEST(Subnet, ParsesBlocksAndSingleAddresses) {
  EXPECT_EQ(SubnetOrError("10.0.0.0/8"), "10.0.0.0/8");
  EXPECT_EQ(SubnetOrError("fd00::/8"), "fd00::/8");
  EXPECT_EQ(SubnetOrError("192.0.2.1"), "192.0.2.1/32");
  EXPECT_EQ(SubnetOrError("::1"), "::1/128");
  EXPECT_EQ(SubnetOrError("0.0.0.0/0"), "0.0.0.0/0");
  EXPECT_EQ(SubnetOrError("::ffff:10.0.0.0/104"), "10.0.0.0/8");
}

TEST(Subnet, SaysWhatIsWrong) {
  EXPECT_THAT(SubnetOrError("10.1.2.3/8"), HasSubstr("did you mean 10.0.0.0/8, or 10.1.2.3/32?"));
  EXPECT_THAT(SubnetOrError("10.0.0.0/33"), HasSubstr("from 0 to 32"));
  EXPECT_THAT(SubnetOrError("fd00::/129"), HasSubstr("from 0 to 128"));
  EXPECT_THAT(SubnetOrError("10.0.0.0/"), HasSubstr("after its slash"));
  EXPECT_THAT(SubnetOrError("10.0.0.0/08"), HasSubstr("after its slash"));
  EXPECT_THAT(SubnetOrError("::ffff:10.0.0.0/8"), HasSubstr("from 96 to 128"));
  for (const char* text : {"10/8", "010.0.0.0/8", "example.org/24", "", "/8", "fe80::%1/64"}) {
    EXPECT_THAT(SubnetOrError(text), HasSubstr("not a block of addresses")) << text;
  }
}

TEST(Subnet, ContainsItsOwnFamilyOnlyAndCutsInTheMiddleOfAByte) {
  const Subnet block = *Subnet::Parse("10.16.0.0/12");
  EXPECT_TRUE(block.Contains(*IpAddress::Parse("10.31.255.255")));
  EXPECT_FALSE(block.Contains(*IpAddress::Parse("10.32.0.0")));
  EXPECT_TRUE(block.Contains(*IpAddress::Parse("::ffff:10.16.0.1")));
  EXPECT_FALSE(Subnet::Parse("::/0")->Contains(*IpAddress::Parse("10.16.0.1")));
  EXPECT_TRUE(Subnet::Parse("::/0")->Contains(*IpAddress::Parse("2001:db8::1")));
  EXPECT_TRUE(Subnet::Parse("fe80::/10")->Contains(*IpAddress::Parse("fe80::1%4")));
}

TEST(Subnet, SourcesAndFairnessGroupsAreTheBlocksOfTheDesign) {
  EXPECT_EQ(SourceOf(*IpAddress::Parse("192.0.2.77")).ToString(), "192.0.2.77/32");
  EXPECT_EQ(SourceOf(*IpAddress::Parse("2001:db8:1:2:3::4")).ToString(), "2001:db8:1:2::/64");
  EXPECT_EQ(SourceOf(*IpAddress::Parse("fe80::1%4")).ToString(), "fe80::/64");
  EXPECT_EQ(FairnessGroupOf(*IpAddress::Parse("192.0.2.77")).ToString(), "192.0.2.0/24");
  EXPECT_EQ(FairnessGroupOf(*IpAddress::Parse("2001:db8:1:2:3::4")).ToString(), "2001:db8:1::/48");
}

}  // namespace
}  // namespace helo
