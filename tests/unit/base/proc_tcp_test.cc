// Rows of /proc/net/tcp as the kernel writes them. The words of an address are in the byte order of
// the host, here little-endian.
#include "p2p/base/proc_tcp.h"

#include <gtest/gtest.h>

#include <bit>
#include <string>

namespace helo {
namespace {

constexpr char kHeadings[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode";
constexpr char kConnection[] =
    "   3: 0100007F:9C40 0100007F:1105 01 00000000:00000000 00:00000000 00000000  1000        0 "
    "31337 1 0000000000000000 20 4 30 10 -1\n";

class ProcTcp : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::endian::native != std::endian::little) GTEST_SKIP() << "NOT CHECKED: big-endian";
  }
};

TEST_F(ProcTcp, AConnection) {
  const auto row = ParseProcTcpRow(kConnection);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->local.ToString(), "127.0.0.1:40000");
  EXPECT_EQ(row->remote.ToString(), "127.0.0.1:4357");
  EXPECT_EQ(row->state, ProcTcpRow::kEstablished);
  EXPECT_EQ(row->uid, 1000U);
  EXPECT_EQ(row->inode, 31337U);
}

TEST_F(ProcTcp, AListenerWithWhoWaits) {
  const auto row = ParseProcTcpRow(
      "   0: 00000000000000000000000001000000:1104 00000000000000000000000000000000:0000 0A "
      "00000000:00000011 00:00000000 00000000     0        0 555 1 0 100 0 0 10 0");
  ASSERT_TRUE(row);
  EXPECT_EQ(row->local.ToString(), "[::1]:4356");
  EXPECT_EQ(row->state, ProcTcpRow::kListen);
  EXPECT_EQ(row->receive_queue, 17U);
}

TEST_F(ProcTcp, AnIpv4AddressWrittenAsIpv6IsOneOfIpv4) {
  std::string line = kConnection;
  line.replace(line.find("0100007F:9C40"), 8, "0000000000000000FFFF00000100007F");
  const auto row = ParseProcTcpRow(line);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->local.ToString(), "127.0.0.1:40000");
}

TEST_F(ProcTcp, NothingIsMadeOfWhatIsNoWholeRow) {
  EXPECT_FALSE(ParseProcTcpRow(kHeadings));
  const std::string line = kConnection;
  for (size_t n = 0; n < line.find("31337"); ++n) {
    EXPECT_FALSE(ParseProcTcpRow(std::string_view(line).substr(0, n))) << n;
  }
  for (const char* part : {"0100007F:9C40", "0100007F:1105", "01 0", "1000", "31337"}) {
    std::string broken = line;
    broken[broken.find(part)] = 'x';
    EXPECT_FALSE(ParseProcTcpRow(broken)) << broken;
  }
  std::string wide = line;
  wide.replace(wide.find("9C40"), 4, "19C40");
  EXPECT_FALSE(ParseProcTcpRow(wide)) << "a port of 17 bits";
}

}  // namespace
}  // namespace helo
