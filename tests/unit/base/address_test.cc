// The addresses that people type, and what they are told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "p2p/base/endpoint.h"

namespace helo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Listen(std::string_view text) {
  const auto address = ListenAddress::Parse(text);
  return address.ok() ? address->ToString() : std::string(address.status().message());
}
std::string Peer(std::string_view text) {
  const auto address = PeerAddress::Parse(text);
  return address.ok() ? address->ToString() : std::string(address.status().message());
}

TEST(ListenAddress, EveryFormOfTheDesign) {
  EXPECT_EQ(Listen("0.0.0.0:4356"), "tcp://0.0.0.0:4356");
  EXPECT_EQ(Listen(":4356"), "tcp://:4356");
  EXPECT_EQ(Listen("tcp://:0"), "tcp://:0");
  EXPECT_EQ(Listen("tcp4://:4356"), "tcp4://:4356");
  EXPECT_EQ(Listen("tcp6://[::1]:4356"), "tcp6://[::1]:4356");
  EXPECT_EQ(Listen("[fe80::1%1]:4356"), "tcp://[fe80::1%1]:4356");
  EXPECT_EQ(Listen("[::ffff:127.0.0.1]:1"), "tcp://127.0.0.1:1") << "mapped addresses do not exist";
  EXPECT_FALSE(ListenAddress::Parse(":4356")->ip);
  EXPECT_EQ(ListenAddress::Parse("tcp6://:1")->family, ListenAddress::Family::kV6);
}

TEST(ListenAddress, WhatIsPrintedParsesToItself) {
  for (const char* text :
       {"0.0.0.0:4356", ":4356", "tcp4://:0", "tcp6://[::]:1", "tcp://[2001:db8::1]:65535"}) {
    const ListenAddress address = *ListenAddress::Parse(text);
    EXPECT_EQ(*ListenAddress::Parse(address.ToString()), address) << text;
  }
}

TEST(ListenAddress, AHostThatEndsInANumberIsAnIpv4LiteralOrAnError) {
  for (const char* text : {"017.0.0.1:1", "1.2.3:1", "999.1.1.1:1", "127.1:1", "2130706433:1",
                           "0x7f000001:1", "127.0.0.0x1:1", "host.7:1", "1.2.3.4.:1"}) {
    EXPECT_THAT(Listen(text),
                AllOf(HasSubstr("must be an IPv4 address"), HasSubstr("without leading zeros")))
        << text;
  }
}

TEST(ListenAddress, SaysWhatIsWrongAndWhatWouldBeRight) {
  EXPECT_THAT(Listen("localhost:4356"), HasSubstr("write 127.0.0.1 or [::1]"));
  EXPECT_THAT(Listen("127.0.0.1"), HasSubstr("no port"));
  EXPECT_THAT(Listen(""), HasSubstr("no port"));
  EXPECT_THAT(Listen("::1:4356"), HasSubstr("must stand in brackets"));
  EXPECT_THAT(Listen("[127.0.0.1]:1"), HasSubstr("not an IPv6 address"));
  EXPECT_THAT(Listen("[]:1"), HasSubstr("not an IPv6 address"));
  EXPECT_THAT(Listen("[fe80::1%no-such-if]:1"), HasSubstr("on an interface of this machine"));
  EXPECT_THAT(Listen("127.0.0.1:65536"), HasSubstr("from 0 to 65535"));
  EXPECT_THAT(Listen("127.0.0.1:http"), HasSubstr("not a port"));
  EXPECT_THAT(Listen("udp://:1"), HasSubstr("tcp://, tcp4:// or tcp6://"));
  EXPECT_THAT(Listen("tcp4://[::1]:1"), HasSubstr("asks for IPv4"));
  EXPECT_THAT(Listen("tcp6://127.0.0.1:1"), HasSubstr("asks for IPv6"));
  EXPECT_THAT(Listen("helo://127.0.0.1:1"), HasSubstr("not a transport"));
}

TEST(PeerAddress, EveryForm) {
  const std::string id(64, 'b');
  EXPECT_EQ(Peer("helo://" + id + "@node1.example.org:4356"),
            "helo://" + id + "@node1.example.org:4356");
  EXPECT_EQ(Peer("192.0.2.1:4356"), "helo://192.0.2.1:4356");
  EXPECT_EQ(Peer(id + "@[2001:DB8::1]:1"), "helo://" + id + "@[2001:db8::1]:1");
  EXPECT_EQ(Peer("helo-2_a:4356"), "helo://helo-2_a:4356");
  EXPECT_EQ(Peer("a.b.:1"), "helo://a.b.:1") << "an absolute name";
  EXPECT_EQ(Peer("1a:1"), "helo://1a:1") << "a label with a letter is a name";
  EXPECT_EQ(PeerAddress::Parse("helo://[::1]:9")->host, "::1");
  EXPECT_EQ(PeerAddress::Parse("helo://[::1]:9")->HostPort(), "[::1]:9");
  EXPECT_FALSE(PeerAddress::Parse("node:9")->literal());
}

TEST(PeerAddress, SaysWhatIsWrongAndWhatWouldBeRight) {
  EXPECT_THAT(Peer("helo://abcd@h:1"), HasSubstr("64 hex digits"));
  EXPECT_THAT(Peer("@h:1"), HasSubstr("not a node id"));
  EXPECT_THAT(Peer("http://h:1"), HasSubstr("helo://ID@HOST:PORT"));
  EXPECT_THAT(Peer("h"), HasSubstr("no port"));
  EXPECT_THAT(Peer("h:0"), HasSubstr("from 1 to 65535"));
  EXPECT_THAT(Peer(":1"), HasSubstr("no host"));
  EXPECT_THAT(Peer("017.0.0.1:1"), HasSubstr("must be an IPv4 address"));
  EXPECT_THAT(Peer("1.2.3:1"), HasSubstr("must be an IPv4 address"));
  EXPECT_THAT(Peer("999.999.999.999:1"), HasSubstr("must be an IPv4 address"));
  EXPECT_THAT(Peer("0.0.0.0:1"), HasSubstr("cannot be dialed"));
  EXPECT_THAT(Peer("[::]:1"), HasSubstr("cannot be dialed"));
  EXPECT_THAT(Peer("a..b:1"), HasSubstr("empty part"));
  EXPECT_THAT(Peer("sp ace:1"), HasSubstr("only letters, digits"));
  EXPECT_THAT(Peer(std::string(64, 'a') + ":1"), HasSubstr("longer than 63"));
  std::string name;
  for (int i = 0; i < 127; ++i) name += "a.";
  EXPECT_THAT(Peer(name + "a:1"), HasSubstr("longer than 253"));
}

TEST(PeerAddress, AnErrorNeverEchoesRawBytes) {
  const std::string message = Peer("\x1b[2Jevil:1");
  EXPECT_THAT(message, HasSubstr("\\x1b[2Jevil"));
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
  EXPECT_LT(Peer(std::string(100'000, 'x')).size(), 2000u) << "and not all of them";
}

}  // namespace
}  // namespace helo
