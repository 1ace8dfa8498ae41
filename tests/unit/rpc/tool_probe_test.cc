// The words of a probe, from reports: that what cannot be made on every machine is told apart too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "rpc/tool/probe_words.h"

namespace helo::tool {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Words : public ::testing::Test {
 protected:
  Words() {
    report_.remote = Endpoint::Parse("192.0.2.7:4356");
    report_.close.decider = Decider::kNetwork;
  }
  ProbeWords Explain(Reason reason) {
    report_.close.reason = reason;
    return ExplainProbe(asked_, report_);
  }
  std::string Finding(Reason reason) { return Explain(reason).finding; }

  const PeerAddress asked_ = *PeerAddress::Parse("192.0.2.7:4356");
  ProbeReport report_;
};

TEST_F(Words, EveryReasonHasSomeWhateverWasSeen) {
  for (const ReasonInfo* info = begin_reasons(); info != end_reasons(); ++info) {
    for (const Decider decider : {Decider::kUs, Decider::kThem, Decider::kNetwork}) {
      report_.close.decider = decider;
      const ProbeWords words = Explain(info->reason);
      EXPECT_FALSE(words.finding.empty()) << info->label;
      EXPECT_FALSE(words.sentence.empty() || words.cause.empty() || words.remedy.empty())
          << info->label;
    }
  }
}

TEST_F(Words, AMisspeltNameIsToldFromASilentNameServer) {
  report_.remote.reset();
  EXPECT_EQ(Finding(Reason::kResolve), "name-unknown");
  report_.names_unanswered = true;  // also where the time of that stage ran out, not that of all
  EXPECT_EQ(Finding(Reason::kResolve), "name-server-silent");
  EXPECT_THAT(Explain(Reason::kResolve).remedy, HasSubstr("/etc/resolv.conf"));
}

TEST_F(Words, MoreTimeIsAdvisedOnlyWhereItWouldHelp) {
  report_.close.decider = Decider::kUs;
  report_.bytes_in = 7;
  EXPECT_THAT(Explain(Reason::kStageTimeout).remedy, Not(HasSubstr("--timeout")));
  report_.out_of_time = true;
  EXPECT_THAT(Explain(Reason::kStageTimeout).remedy, HasSubstr("--timeout"));
}

TEST_F(Words, AnErrorOfConnectIsToldByItsErrno) {
  report_.error = EPERM;
  EXPECT_EQ(Finding(Reason::kFiltered), "forbidden-here");
  report_.error = EACCES;
  EXPECT_EQ(Finding(Reason::kFiltered), "prohibited-here");
  report_.error = EINVAL;
  EXPECT_EQ(Finding(Reason::kUnreachable), "blackhole-here");
  report_.error = ENETUNREACH;
  EXPECT_EQ(Finding(Reason::kUnreachable), "no-route");
}

TEST_F(Words, AnIcmpErrorNamesWhoSentIt) {
  net::IcmpError icmp;
  icmp.from = *IpAddress::Parse("192.0.2.1");
  icmp.type = 3;
  icmp.code = 13;
  report_.icmp = icmp;
  EXPECT_EQ(Finding(Reason::kFiltered), "rejected");
  EXPECT_THAT(Explain(Reason::kFiltered).sentence, HasSubstr("a router on the way, 192.0.2.1"));
  report_.icmp->code = 0;
  EXPECT_EQ(Finding(Reason::kUnreachable), "unreachable");
  report_.icmp_from_here = true;
  EXPECT_EQ(Finding(Reason::kUnreachable), "no-neighbour");
  report_.icmp->code = 3;
  EXPECT_EQ(Finding(Reason::kRefused), "rejected-here");
  report_.icmp->v6 = true;
  report_.icmp->type = 1;
  report_.icmp->code = 1;
  EXPECT_EQ(Finding(Reason::kFiltered), "rejected-here");
}

TEST_F(Words, SilenceIsToldByTcpInfoAndPing) {
  report_.tcp = TcpEvidence{2, 2, 1, 1};
  EXPECT_EQ(Finding(Reason::kConnectTimeout), "no-answer");
  report_.ping.kind = PingResult::Kind::kAnswered;
  EXPECT_EQ(Finding(Reason::kConnectTimeout), "port-silent");
  report_.tcp = TcpEvidence{2, 2, 0, 1};
  EXPECT_EQ(Finding(Reason::kConnectTimeout), "dropped-here");
  report_.tcp = TcpEvidence{2, 0, 0, 1};
  EXPECT_EQ(Finding(Reason::kConnectTimeout), "no-neighbour");
}

TEST_F(Words, AHandshakeThatDoesNotEndIsToldByWhatCame) {
  report_.close.decider = Decider::kUs;
  EXPECT_EQ(Finding(Reason::kStageTimeout), "silent");
  report_.tcp = TcpEvidence{3, 3, 1, 1};
  EXPECT_EQ(Finding(Reason::kStageTimeout), "not-acknowledged");
  report_.bytes_in = 7;
  EXPECT_EQ(Finding(Reason::kStageTimeout), "trickles");
  report_.tls_up = true;
  report_.bytes_before_hello = 7;
  EXPECT_EQ(Finding(Reason::kStageTimeout), "silent-after-tls");
}

TEST_F(Words, KnowsWhoSpeaksFirst) {
  EXPECT_EQ(WhatSpeaks(AsBytes("HTTP/1.1 400 Bad Request")), "a web server");
  EXPECT_EQ(WhatSpeaks(AsBytes("SSH-2.0-OpenSSH_9.2")), "an SSH server");
  EXPECT_EQ(WhatSpeaks(AsBytes("220 mail ESMTP")), "a mail or FTP server");
  EXPECT_EQ(WhatSpeaks(AsBytes("-ERR unknown command")), "a Redis or POP3 server");
  const Bytes settings = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100};
  EXPECT_EQ(WhatSpeaks(settings), "an HTTP/2 server");
  EXPECT_EQ(WhatSpeaks({}), "");
  report_.first_bytes = Bytes{0x1b, '[', '2', 'J'};
  EXPECT_THAT(Explain(Reason::kNotTls).sentence, Not(HasSubstr("\x1b")));
}

TEST_F(Words, ACodeOfALaterVersionIsShownAsANumber) {
  report_.close.decider = Decider::kThem;
  report_.close.wire_code = 57;
  report_.hello.emplace();
  EXPECT_THAT(Explain(Reason::kInternal).sentence, HasSubstr("57"));
}

}  // namespace
}  // namespace helo::tool
