// Two correct ends joined by queues that deliver in random portions: they must come up, agree on
// what is open, lose nothing, and never accuse each other, whatever both do at the same time. Every
// failure prints its seed.
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "wire_support.h"

namespace helo::wire::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAreArray;

TEST(TwoEnds, ComeUpInEveryFragmentation) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Pair pair(seed);
    pair.Begin();
    pair.Pump();
    EXPECT_THAT(pair.dialer.sink.events, ElementsAre("hello acceptor/1", "up", "open echo/1 as 1"));
    EXPECT_THAT(pair.acceptor.sink.events, ElementsAre("hello dialer/1", "up", "open echo/1 as 1"));
  }
}

TEST(TwoEnds, ExchangeMessagesOfEverySizeInOrder) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Pair pair(seed);
    std::vector<Bytes> sent, received;
    pair.acceptor.params.our_offers = {MakeOffer(200, "echo", 1, 4, 100'000)};
    pair.acceptor.sink.write_messages_down = false;
    pair.acceptor.sink.on_message = [&](uint32_t, uint16_t, ByteView payload) {
      received.emplace_back(payload.begin(), payload.end());
    };
    pair.Begin();
    pair.Pump();
    for (int i = 0; i < 60; ++i) {
      const size_t size = pair.rng.Below(3) == 0 ? pair.rng.Below(100'001) : pair.rng.Below(100);
      sent.push_back(Filled(size, static_cast<uint8_t>(i)));
      ASSERT_EQ(pair.dialer.session->Send(pair.clock.Now(), 1, 0, sent.back()), SendStatus::kOk);
      for (int k = 0; k < 4; ++k) pair.Step();
      if (i % 8 == 0) pair.Pump();
    }
    pair.Pump();
    EXPECT_EQ(sent, received);
  }
}

TEST(TwoEnds, ARefusalReachesTheOther) {
  Pair pair(1);
  pair.acceptor.decision = wire::Verdict{Reason::kFull, "no room", 30};
  pair.Begin();
  pair.Pump();
  EXPECT_EQ(pair.acceptor.sink.events.back(), "closed FULL by us at verdict");
  EXPECT_EQ(pair.dialer.sink.events.back(), "closed FULL by them at verdict");
  EXPECT_EQ(pair.dialer.sink.closed->text, "no room");
  EXPECT_EQ(pair.dialer.sink.closed->retry_after_s, 30u);
}

TEST(TwoEnds, TheDialersRefusalReachesTheAcceptor) {
  Pair pair(1);
  pair.dialer.decision = wire::Verdict{Reason::kDuplicate, "", 0};
  pair.Begin();
  pair.Pump();
  EXPECT_EQ(pair.acceptor.sink.events.back(), "closed DUPLICATE by them at verdict");
}

TEST(TwoEnds, AProbeIsAcceptedAndEndsOnBothSides) {
  Pair pair(1);
  pair.dialer.params.purpose = Purpose::kProbe;
  pair.Begin();
  pair.Pump();
  EXPECT_THAT(pair.dialer.sink.events,
              ElementsAre("hello acceptor/1", "closed PROBE by us at verdict"));
  EXPECT_THAT(pair.acceptor.sink.events,
              ElementsAre("hello dialer/1 (probe)", "closed PROBE by them at verdict"));
}

TEST(TwoEnds, AnotherNetworkIsToldToBoth) {
  Pair pair(1);
  pair.dialer.profile.network = "other";
  pair.Begin();
  pair.Pump();
  EXPECT_EQ(pair.acceptor.sink.events.back(), "closed WRONG_NETWORK by us at verdict");
  EXPECT_EQ(pair.dialer.sink.events.back(), "closed WRONG_NETWORK by them at verdict");
}

TEST(TwoEnds, StayUpForADayInSilence) {
  Pair pair(1);
  pair.Begin();
  pair.Pump();
  for (int i = 0; i < 24 * 3600 / 5; ++i) {
    pair.dialer.session->Tick(pair.clock.Now());
    pair.acceptor.session->Tick(pair.clock.Now());
    pair.Pump();
    pair.clock.Advance(seconds(5));
  }
  EXPECT_FALSE(pair.dialer.sink.closed);
  EXPECT_FALSE(pair.acceptor.sink.closed);
  EXPECT_EQ(pair.dialer.session->stats().last_rtt, Duration(0));
  EXPECT_EQ(pair.dialer.session->stats().skew_us, 0);
}

// Both offer and withdraw the same name in every interleaving of three steps each and of their
// deliveries.
TEST(TwoEnds, AgreeAfterEveryCrossingOfOffersAndWithdraws) {
  // Moves: 0 and 1: the next step of one's own list (withdraw, offer, withdraw, offer, ...); 2 and
  // 3: deliver one frame. All sequences of ten moves would be 4^10; the first six in every order
  // are enough for all crossings.
  for (int order = 0; order < 4 * 4 * 4 * 4 * 4 * 4 * 4; ++order) {
    SCOPED_TRACE(absl::StrCat("order ", order));
    Pair pair(1);
    pair.Begin();
    pair.Pump();
    bool offered[2] = {true, true};
    End* ends[2] = {&pair.dialer, &pair.acceptor};
    for (int rest = order, i = 0; i < 7; ++i, rest /= 4) {
      const int move = rest % 4;
      End& end = *ends[move % 2];
      if (move < 2) {
        if (offered[move]) {
          end.session->WithdrawName(pair.clock.Now(), "echo", 0);
        } else {
          EXPECT_TRUE(end.session->OfferName(pair.clock.Now(), {MakeOffer(0, "echo")}));
        }
        offered[move] = !offered[move];
        if (!end.sink.opened.empty()) {
          end.session->Send(pair.clock.Now(), end.sink.opened.back().open_id, 0, Filled(3));
        }
      } else {
        End& to = *ends[1 - move % 2];
        const ByteView pending = end.session->Pending();
        if (pending.empty()) continue;
        const size_t frame = 8 + ParseFrameHeader(pending.first<8>()).length;
        to.Feed(end.TakeBytes(frame));
      }
    }
    pair.Pump();
    ASSERT_FALSE(pair.dialer.sink.closed) << ::testing::PrintToString(pair.dialer.sink.events);
    ASSERT_FALSE(pair.acceptor.sink.closed) << ::testing::PrintToString(pair.acceptor.sink.events);
    const bool both = offered[0] && offered[1];
    EXPECT_EQ(pair.dialer.session->capabilities().shared.size(), both ? 1u : 0u);
    EXPECT_EQ(pair.acceptor.session->capabilities().shared.size(), both ? 1u : 0u);
    if (!both) continue;
    for (End* end : ends) {
      ASSERT_EQ(
          end->session->Send(pair.clock.Now(), end->sink.opened.back().open_id, 1, Filled(1, 0x77)),
          SendStatus::kOk);
    }
    pair.Pump();
    for (End* end : ends) {
      EXPECT_EQ(end->sink.events.back(),
                absl::StrCat("message ", end->sink.opened.back().open_id, "/1: 1 77"));
    }
  }
}

// --- a random walk of both

class Walk {
 public:
  explicit Walk(uint64_t seed) : pair_(seed) {
    for (End* end : {&pair_.dialer, &pair_.acceptor}) {
      end->params.our_offers.clear();
      end->sink.write_messages_down = false;
      end->profile.send_quota_bytes = 20'000;
      for (const char* name : kNames) {
        if (Below(4) != 0) Append(end->params.our_offers, RandomOffers(name));
      }
      const auto decide = end->sink.then;
      end->sink.then = [this, end, decide](const std::string& event) {
        decide(event);
        if (event.starts_with("get peers")) end->session->SendPeers(Now(), {});
        // Calls from within a call of the sink are allowed: make some.
        if (end->session->up() && Below(8) == 0) Act(*end);
      };
      end->sink.on_message = [this, end](uint32_t open_id, uint16_t, ByteView payload) {
        Receive(*end, open_id, payload);
      };
    }
    pair_.Begin();
  }

  void Run(int steps) {
    for (int i = 0; i < steps && !AnyClosed(); ++i) {
      for (uint64_t k = Below(6); k > 0; --k) pair_.Step();
      const uint64_t what = Below(10);
      if (what < 2) {
        // Nothing stays in flight for long: rates are measured where frames arrive.
        pair_.Pump();
        pair_.clock.Advance(milliseconds(Below(20'000)));
        pair_.dialer.session->Tick(Now());
        pair_.acceptor.session->Tick(Now());
        pair_.Pump();
      } else {
        Act(Below(2) == 0 ? pair_.dialer : pair_.acceptor);
      }
    }
    Settle();
  }

 private:
  static constexpr const char* kNames[] = {"echo", "gossip", "chain"};

  uint64_t Below(uint64_t bound) { return pair_.rng.Below(bound); }
  MonoTime Now() const { return pair_.clock.Now(); }
  bool AnyClosed() const { return pair_.dialer.sink.closed || pair_.acceptor.sink.closed; }
  static void Append(std::vector<Offer>& to, const std::vector<Offer>& more) {
    to.insert(to.end(), more.begin(), more.end());
  }

  std::vector<Offer> RandomOffers(const std::string& name) {
    std::vector<Offer> offers;
    for (uint16_t version = 1; version <= 3; ++version) {
      if (Below(4) == 0) continue;
      offers.push_back(
          MakeOffer(0, name, version, static_cast<uint16_t>(Below(8) == 0 ? 4 : 3), 2000));
    }
    if (offers.empty()) offers.push_back(MakeOffer(0, name, 1, 3, 2000));
    return offers;
  }

  void Act(End& end) {
    Session& session = *end.session;
    const std::string name = kNames[Below(3)];
    switch (Below(12)) {
      case 0:
      case 1:
        session.OfferName(Now(), RandomOffers(name));
        return;
      case 2:
        if (Below(2) == 0) session.WithdrawName(Now(), name, static_cast<uint32_t>(Below(50)));
        return;
      case 5:
        session.Challenge(Now());
        return;
      case 3:
        session.RequestPeers(Now(), 10);
        return;
      case 4:
        session.SetReadingPaused(Now(), !session.reading_paused());
        return;
      default:
        for (uint64_t n = 1 + Below(8); n > 0; --n) SendOn(end);
    }
  }

  // The payload carries a number that only grows.
  void SendOn(End& end) {
    if (end.sink.opened.empty()) return;
    const OpenChannel& channel =
        end.sink.opened[end.sink.opened.size() - 1 -
                        Below(std::min<size_t>(3, end.sink.opened.size()))];
    Bytes payload = Filled(8 + static_cast<size_t>(Below(100)));
    const uint64_t number = ++last_sent_;
    for (int i = 0; i < 8; ++i)
      payload[static_cast<size_t>(i)] = static_cast<uint8_t>(number >> (8 * i));
    const SendStatus status =
        end.session->Send(Now(), channel.open_id, static_cast<uint16_t>(Below(3)), payload);
    EXPECT_TRUE(status == SendStatus::kOk || status == SendStatus::kGone ||
                status == SendStatus::kAgain);
  }

  void Receive(End& end, uint32_t, ByteView payload) {
    ASSERT_GE(payload.size(), 8u);
    uint64_t number = 0;
    for (size_t i = 0; i < 8; ++i) number |= static_cast<uint64_t>(payload[i]) << (8 * i);
    EXPECT_GT(number, received_by_[&end]) << "out of order or twice";
    received_by_[&end] = number;
  }

  std::vector<std::string> Open(const End& end) {
    std::vector<std::string> open;
    std::map<uint32_t, std::string> by_id;
    for (const std::string& event : end.sink.events) {
      std::vector<std::string> words;
      for (size_t at = 0; at != std::string::npos && at < event.size();) {
        const size_t space = event.find(' ', at);
        words.push_back(event.substr(at, space - at));
        at = space == std::string::npos ? space : space + 1;
      }
      if (words[0] == "open") by_id[static_cast<uint32_t>(std::stoul(words[3]))] = words[1];
      if (words[0] == "close") by_id.erase(static_cast<uint32_t>(std::stoul(words[1])));
    }
    open.reserve(by_id.size());
    for (const auto& [id, name] : by_id) open.push_back(name);
    return open;
  }

  void Settle() {
    // Let what waits for its rate go out.
    for (int i = 0; i < 30 && !AnyClosed(); ++i) {
      pair_.dialer.session->SetReadingPaused(Now(), false);
      pair_.acceptor.session->SetReadingPaused(Now(), false);
      pair_.Pump();
      pair_.clock.Advance(seconds(10));
      pair_.dialer.session->Tick(Now());
      pair_.acceptor.session->Tick(Now());
      pair_.Pump();
    }
    for (End* end : {&pair_.dialer, &pair_.acceptor}) {
      ASSERT_FALSE(end->sink.closed)
          << "correct ends must not accuse each other: " << end->sink.events.back() << ": "
          << end->sink.closed->text;
      EXPECT_TRUE(end->session->up());
      EXPECT_EQ(end->session->stats().queued_bytes, 0u);
      EXPECT_THAT(end->session->capabilities().shared, UnorderedElementsAreArray(Open(*end)));
    }
    EXPECT_THAT(Open(pair_.dialer), UnorderedElementsAreArray(Open(pair_.acceptor)));
  }

  Pair pair_;
  uint64_t last_sent_ = 0;
  std::map<const End*, uint64_t> received_by_;
};

TEST(TwoEnds, NeverAccuseEachOtherWhateverBothDo) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Walk walk(seed);
    walk.Run(600);
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace helo::wire::testing
