// Ends that turn bad once TLS stands, and altered, cut and random bytes: each failure gets its
// reason, nothing crashes, nobody gets in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <string>

#include "p2p/tls/channel.h"
#include "tests/unit/tls/tls_support.h"

namespace helo::tls {
namespace {

using State = Channel::State;

class AfterTheHandshake : public ::testing::TestWithParam<Role> {
 protected:
  AfterTheHandshake()
      : ours_(GetParam() == Role::kDialer ? Role::kAcceptor : Role::kDialer), peer_(GetParam()) {
    peer_.SetUpCorrectly(TestKey(9));
    if (GetParam() == Role::kAcceptor) SSL_CTX_set_num_tickets(peer_.ctx(), 0);
    peer_.Start();
    Pump(*ours_.channel, peer_);
    EXPECT_EQ(ours_.channel->state(), State::kUp) << ours_.channel->failure().detail;
  }
  Channel& channel() { return *ours_.channel; }

  Ours ours_;
  StockPeer peer_;
};

TEST_P(AfterTheHandshake, KeyUpdatesAreCountedOnceEach) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(SSL_key_update(peer_.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    ASSERT_TRUE(peer_.Write("x"));
  }
  channel().Feed(peer_.TakeOutput());
  EXPECT_EQ(ReadAll(channel()), "xxx");
  const auto post = channel().TakePostHandshake();
  EXPECT_EQ(post.key_updates, 3U);
  EXPECT_FALSE(post.unexpected);
}

TEST_P(AfterTheHandshake, ARequestedKeyUpdateIsAnsweredWithTheNextWrite) {
  ASSERT_EQ(SSL_key_update(peer_.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
  ASSERT_TRUE(peer_.Write("x"));
  channel().Feed(peer_.TakeOutput());
  EXPECT_EQ(ReadAll(channel()), "x");
  EXPECT_EQ(channel().TakePostHandshake().key_updates, 1U);
  ASSERT_TRUE(channel().Write(AsBytes("under the new key")));
  peer_.Feed(TakeOutput(channel()));
  EXPECT_EQ(peer_.ReadAll(), "under the new key");
  ASSERT_TRUE(channel().Write(AsBytes("goodbye")));
  channel().Close();
  peer_.Feed(TakeOutput(channel()));
  EXPECT_EQ(peer_.ReadAll(), "goodbye");
  EXPECT_TRUE(peer_.close_notify_received());
}

TEST_P(AfterTheHandshake, AFloodOfKeyUpdatesStopsReadingUntilItIsJudged) {
  Bytes flood;
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(SSL_key_update(peer_.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    ASSERT_TRUE(peer_.Handshake());
    const Bytes one = peer_.TakeOutput();
    flood.insert(flood.end(), one.begin(), one.end());
  }
  ASSERT_TRUE(peer_.Write("end"));
  const Bytes end = peer_.TakeOutput();
  flood.insert(flood.end(), end.begin(), end.end());
  channel().Feed(flood);
  EXPECT_EQ(ReadAll(channel()), "");
  EXPECT_TRUE(channel().HasBufferedInput());
  const uint32_t first = channel().TakePostHandshake().key_updates;
  EXPECT_GT(first, 8U);
  EXPECT_LT(first, 40U);
  // Whoever tolerates them gets on.
  uint32_t all = first;
  std::string text;
  for (int i = 0; i < 100 && channel().HasBufferedInput(); ++i) {
    text += ReadAll(channel());
    all += channel().TakePostHandshake().key_updates;
  }
  EXPECT_EQ(all, 100U);
  EXPECT_EQ(text, "end");
}

TEST_P(AfterTheHandshake, GarbageIsAFailureWithAnAlert) {
  Bytes record = {0x17, 3, 3, 0, 40};
  record.resize(45, 0xaa);
  channel().Feed(record);
  EXPECT_EQ(ReadAll(channel()), "");
  ExpectFailure(channel(), Reason::kTlsAlert, SSL_AD_BAD_RECORD_MAC, false);
  EXPECT_GT(channel().OutputSize(), 0U);
  EXPECT_FALSE(channel().Write(AsBytes("x")));
  EXPECT_FALSE(channel().HasBufferedInput());
}

TEST_P(AfterTheHandshake, ARecordTooLongIsRefusedOnItsHeader) {
  channel().Feed(Bytes{0x17, 3, 3, 0x41, 0x01});
  EXPECT_EQ(ReadAll(channel()), "");
  ExpectFailure(channel(), Reason::kTlsAlert, SSL_AD_RECORD_OVERFLOW, false);
}

TEST_P(AfterTheHandshake, PlainBytesAreAFailure) {
  channel().Feed(AsBytes("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_EQ(ReadAll(channel()), "");
  EXPECT_EQ(channel().state(), State::kFailed);
}

TEST_P(AfterTheHandshake, DataBeforeAFailureStillComes) {
  ASSERT_TRUE(peer_.Write("good"));
  Bytes bytes = peer_.TakeOutput();
  bytes.insert(bytes.end(), {0x17, 3, 3, 0, 20});
  bytes.resize(bytes.size() + 20, 0xaa);
  channel().Feed(bytes);
  EXPECT_EQ(ReadAll(channel()), "good");
  EXPECT_EQ(channel().state(), State::kFailed);
}

TEST_P(AfterTheHandshake, AWarningThatIsNoGoodbyeIsFatal) {
  // TLS 1.3 knows no warnings but close_notify and user_canceled. What OpenSSL sends here is
  // encrypted.
  SSL_set_verify(peer_.ssl(), SSL_VERIFY_NONE, nullptr);
  ASSERT_GE(SSL_shutdown(peer_.ssl()), 0);
  channel().Feed(peer_.TakeOutput());
  EXPECT_EQ(ReadAll(channel()), "");
  EXPECT_EQ(channel().state(), State::kPeerClosed);
}

INSTANTIATE_TEST_SUITE_P(, AfterTheHandshake, ::testing::Values(Role::kDialer, Role::kAcceptor),
                         [](const auto& role) {
                           return role.param == Role::kDialer ? "OfADialer" : "OfAnAcceptor";
                         });

TEST(Tickets, OfAnAcceptorAreMisuse) {
  Ours ours(Role::kDialer);
  StockPeer peer(Role::kAcceptor);
  peer.SetUpCorrectly(TestKey(9));
  SSL_CTX_set_num_tickets(peer.ctx(), 2);
  SSL_CTX_set_session_id_context(peer.ctx(), AsBytes("t").data(), 1);
  peer.Start();
  Pump(*ours.channel, peer);
  ASSERT_EQ(ours.channel->state(), State::kUp);
  ASSERT_TRUE(peer.Write("data behind the tickets"));
  ours.channel->Feed(peer.TakeOutput());
  EXPECT_EQ(ReadAll(*ours.channel), "");
  EXPECT_TRUE(ours.channel->TakePostHandshake().unexpected);
  // One who only wants to hear the rest may.
  std::string text = ReadAll(*ours.channel);
  ours.channel->TakePostHandshake();
  text += ReadAll(*ours.channel);
  EXPECT_EQ(text, "data behind the tickets");
}

TEST(Tickets, LeftUnfinishedHoldNoWriterUp) {
  Ours ours(Role::kDialer);
  StockPeer peer(Role::kAcceptor);
  peer.SetUpCorrectly(TestKey(9));
  SSL_CTX_set_num_tickets(peer.ctx(), 1);
  SSL_CTX_set_session_id_context(peer.ctx(), AsBytes("t").data(), 1);
  SSL_CTX_set_max_send_fragment(peer.ctx(), 512);
  SSL_CTX_set_session_ticket_cb(
      peer.ctx(),
      [](SSL* ssl, void*) {
        const Bytes large(4000, 1);
        return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), large.data(), large.size());
      },
      nullptr, nullptr);
  peer.Start();
  ours.channel->Handshake();
  peer.Feed(TakeOutput(*ours.channel));
  peer.Handshake();
  ours.channel->Feed(peer.TakeOutput());
  ASSERT_EQ(ours.channel->Handshake(), State::kUp);
  peer.Feed(TakeOutput(*ours.channel));
  ASSERT_TRUE(peer.Handshake());
  const Bytes ticket = peer.TakeOutput();
  const size_t first_record = 5 + (ticket[3] << 8 | ticket[4]);
  ASSERT_GT(ticket.size(), 4 * first_record);
  ours.channel->Feed(ByteView(ticket).first(first_record));
  EXPECT_EQ(ReadAll(*ours.channel), "");
  EXPECT_EQ(ours.channel->state(), State::kUp);
  EXPECT_FALSE(ours.channel->Write(AsBytes("stuck?")));
  ExpectFailure(*ours.channel, Reason::kTlsMisuse, 0, false);
}

// One byte of one direction changed: never a crash, never a stranger let in. Some bytes are free (a
// record's legacy version, the random's and session id's are not): then everything works.
class AlteredByte : public ::testing::TestWithParam<bool> {};

TEST_P(AlteredByte, AnywhereInTheHandshakeIsRefusedOrHarmless) {
  const bool from_dialer = GetParam();
  Pair nodes;
  size_t total = 0;
  {
    Pump(
        *nodes.dialer, *nodes.acceptor,
        [&](ByteView bytes, const auto& deliver) {
          total += from_dialer ? bytes.size() : 0;
          deliver(bytes);
        },
        [&](ByteView bytes, const auto& deliver) {
          total += from_dialer ? 0 : bytes.size();
          deliver(bytes);
        });
  }
  ASSERT_GT(total, 400U);
  size_t harmless = 0;
  for (const int flip : {0x01, 0x80, 0xff}) {
    for (size_t at = 0; at < total; ++at) {
      SCOPED_TRACE(::testing::Message() << "byte " << at << " flipped by " << flip);
      Channel dialer(*nodes.dialer_context, Role::kDialer);
      Channel acceptor(*nodes.acceptor_context, Role::kAcceptor);
      size_t seen = 0;
      const Carry alter = [&](ByteView bytes, const auto& deliver) {
        Bytes copy(bytes.begin(), bytes.end());
        if (at >= seen && at - seen < copy.size()) copy[at - seen] ^= static_cast<uint8_t>(flip);
        seen += copy.size();
        deliver(copy);
      };
      Pump(dialer, acceptor, from_dialer ? alter : Whole, from_dialer ? Whole : alter);
      if (dialer.state() == State::kUp) ReadAll(dialer);  // the acceptor's refusal comes late
      if (dialer.state() == State::kUp && acceptor.state() == State::kUp) {
        ++harmless;
        ASSERT_EQ(dialer.remote_id(), nodes.acceptor_key.id());
        ASSERT_EQ(acceptor.remote_id(), nodes.dialer_key.id());
        ASSERT_TRUE(dialer.Write(AsBytes("ping")));
        Move(dialer, acceptor);
        ASSERT_EQ(ReadAll(acceptor), "ping");
      }
    }
  }
  EXPECT_LT(harmless, 3U * 2U * 4U);  // two version bytes of each of a few records
}

INSTANTIATE_TEST_SUITE_P(, AlteredByte, ::testing::Bool(), [](const auto& from_dialer) {
  return from_dialer.param ? "OfTheDialer" : "OfTheAcceptor";
});

TEST(CutHandshake, AnywhereLeavesBothWaiting) {
  Pair nodes;
  Bytes hello, flight;
  nodes.dialer->Handshake();
  hello = TakeOutput(*nodes.dialer);
  for (size_t size = 0; size < hello.size(); ++size) {
    Channel acceptor(*nodes.acceptor_context, Role::kAcceptor);
    acceptor.Feed(ByteView(hello).first(size));
    ASSERT_EQ(acceptor.Handshake(), State::kHandshaking) << size;
    ASSERT_EQ(acceptor.OutputSize(), 0U);
    ASSERT_FALSE(acceptor.HasBufferedInput());
  }
}

TEST(RandomBytes, BehindAValidStartNeverLetAnybodyIn) {
  testing::SeededRng rng(14);
  Pair nodes;
  for (int round = 0; round < 300; ++round) {
    Channel acceptor(*nodes.acceptor_context, Role::kAcceptor);
    Bytes bytes(1 + rng.Below(600));
    rng.Fill(bytes);
    const Bytes head = {
        0x16, 3, 1, static_cast<uint8_t>(rng.Below(2)), static_cast<uint8_t>(rng.Below(256)), 1, 0};
    bytes.insert(bytes.begin(), head.begin(),
                 head.begin() + static_cast<ptrdiff_t>(rng.Below(head.size() + 1)));
    acceptor.Feed(bytes);
    acceptor.Handshake();
    acceptor.Handshake();
    EXPECT_NE(acceptor.state(), State::kUp);
  }
}

}  // namespace
}  // namespace helo::tls
