// Messages through the Handler interface: order, quotas, pauses, capabilities that come and go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <thread>

#include "tests/unit/server/test_node.h"

namespace helo {
namespace {

using testing::TestNode;

// Records what it is told; a test waits on it.
class Recorder final : public Handler {
 public:
  explicit Recorder(std::vector<Capability> capabilities)
      : capabilities_(std::move(capabilities)) {}
  std::vector<Capability> Capabilities() const override { return capabilities_; }
  void Attached(Messenger& m) override { messenger = &m; }
  void OnOpen(const SessionInfo& info) override {
    Change([&] { opened.push_back(info); });
  }
  void OnMessage(SessionId session, uint16_t type, ByteView payload) override {
    EXPECT_TRUE(in_burst);
    if (meanwhile) meanwhile(session, ++seen_);
    Change([&] { messages.emplace_back(type, Bytes(payload.begin(), payload.end())); });
  }
  void OnBurst(bool begins) override {
    EXPECT_NE(in_burst, begins);
    in_burst = begins;
    Change([&] { bursts_ended += begins ? 0 : 1; });
  }
  void OnWritable(SessionId) override {
    Change([&] { ++writable; });
  }
  void OnClose(SessionId session, uint32_t code) override {
    Change([&] { closed.emplace_back(session, code); });
  }
  void Detached() override { messenger = nullptr; }

  template <typename Fits>
  bool WaitFor(Fits fits) {
    const auto deadline = std::chrono::steady_clock::now() + testing::kPatience;
    MutexLock lock(mutex_);
    while (!fits(*this)) {
      if (!cond_.WaitUntil(mutex_, deadline)) return fits(*this);
    }
    return true;
  }

  Messenger* messenger = nullptr;
  std::vector<SessionInfo> opened;
  std::vector<std::pair<uint16_t, Bytes>> messages;
  std::vector<std::pair<SessionId, uint32_t>> closed;
  std::atomic<int> writable{0};
  std::function<void(SessionId, size_t n)> meanwhile;  // within the nth message
  std::atomic<bool> in_burst{false};                   // nodes here have one loop
  int bursts_ended = 0;

 private:
  template <typename Fn>
  void Change(Fn fn) {
    MutexLock lock(mutex_);
    fn();
    cond_.NotifyAll();
  }
  const std::vector<Capability> capabilities_;
  Mutex mutex_;
  CondVar cond_;
  size_t seen_ = 0;  // the loop's
};

struct Pair {
  explicit Pair(std::vector<Capability> at_a, std::vector<Capability> at_b)
      : ra(std::move(at_a)),
        rb(std::move(at_b)),
        a({.key = 1, .handlers = {&ra}, .more = NoRescue}),
        b({.key = 2, .listen = "", .peers = {a.Address()}, .handlers = {&rb}, .more = NoRescue}) {}
  // No timer of a session fires during a test: what is forgotten in a queue stays there and the
  // test sees it.
  static void NoRescue(ServerOptions& options) {
    wire::Times& t = options.profile.times;
    t.hello = t.verdict = t.accept_to_up = t.ping_idle = t.ping_at_least = t.ping_timeout =
        t.not_reading = std::chrono::minutes(10);
    options.tls_timeout = options.connect_timeout = std::chrono::minutes(10);
  }
  bool Open() {
    return ra.WaitFor([](Recorder& r) { return !r.opened.empty(); }) &&
           rb.WaitFor([](Recorder& r) { return !r.opened.empty(); });
  }
  Recorder ra, rb;
  TestNode a, b;
};

TEST(Messages, ArriveInOrderFromAnotherThread) {
  Pair pair({{"talk", 1, 4, 1000}}, {{"talk", 1, 4, 1000}});
  ASSERT_TRUE(pair.Open());
  const SessionId session = pair.rb.opened[0].session;
  for (uint32_t i = 0; i < 2000; ++i) {
    const std::string text = std::to_string(i);
    ASSERT_EQ(pair.rb.messenger->Send(session, i % 4, AsBytes(text)), SendResult::kOk);
  }
  ASSERT_TRUE(pair.ra.WaitFor([](Recorder& r) { return r.messages.size() == 2000; }));
  for (uint32_t i = 0; i < 2000; ++i) {
    EXPECT_EQ(pair.ra.messages[i].first, i % 4);
    EXPECT_EQ(AsString(pair.ra.messages[i].second), std::to_string(i));
  }
}

TEST(Messages, SentLaterTheyGoTogetherAndInOrder) {
  Pair pair({{"talk", 1, 1, 20'000}}, {{"talk", 1, 1, 20'000}});
  ASSERT_TRUE(pair.Open());
  Messenger& messenger = *pair.rb.messenger;
  const SessionId session = pair.rb.opened[0].session;
  const auto came = [&](size_t n) {
    return pair.ra.WaitFor([n](Recorder& r) { return r.messages.size() == n; });
  };
  ASSERT_EQ(messenger.SendLater(session, 0, AsBytes("0")), SendResult::kOk);
  ASSERT_EQ(messenger.SendLater(session, 0, AsBytes("1")), SendResult::kOk);
  messenger.SendAll();
  messenger.SendAll();
  ASSERT_TRUE(came(2));
  ASSERT_EQ(messenger.SendLater(session, 0, AsBytes("2")), SendResult::kOk);
  ASSERT_EQ(messenger.Send(session, 0, AsBytes("3")), SendResult::kOk);
  ASSERT_TRUE(came(4));
  // So much is not held back; large ones and small ones keep their order.
  for (int i = 4; i < 14; ++i) {
    Bytes payload(i % 2 == 0 ? 17'000 : 1, ' ');
    payload[0] = static_cast<uint8_t>('0' + i);
    ASSERT_EQ(messenger.SendLater(session, 0, payload), SendResult::kOk);
  }
  ASSERT_TRUE(pair.ra.WaitFor([](Recorder& r) { return r.messages.size() >= 11; }));
  // And what was sent before a disconnection goes before it.
  ASSERT_EQ(messenger.SendLater(session, 0, AsBytes("z")), SendResult::kOk);
  messenger.Disconnect(session, Reason::kPluginPolite, "enough");
  ASSERT_TRUE(pair.ra.WaitFor([](Recorder& r) { return r.closed.size() == 1; }));
  ASSERT_EQ(pair.ra.messages.size(), 15u);
  for (int i = 0; i < 14; ++i)
    EXPECT_EQ(pair.ra.messages[static_cast<size_t>(i)].second[0], '0' + i);
  EXPECT_EQ(AsString(pair.ra.messages[14].second), "z");
  EXPECT_TRUE(pair.ra.WaitFor([](Recorder& r) { return r.bursts_ended > 0 && !r.in_burst; }));
}

TEST(Messages, ManyThreadsEachInOrderAndNoneIsLost) {
  Pair pair({{"talk", 1, 4, 1000}, {"walk", 1, 4, 1000}},
            {{"talk", 1, 4, 1000}, {"walk", 1, 4, 1000}});
  ASSERT_TRUE(pair.rb.WaitFor([](Recorder& r) { return r.opened.size() == 2; }));
  Messenger& messenger = *pair.rb.messenger;
  constexpr uint32_t kEach = 3000;
  std::vector<std::thread> threads;
  for (uint16_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint32_t i = 0; i < kEach; ++i) {
        // Each uses both sessions: what one thread sends keeps its order across them too.
        const SessionId session = pair.rb.opened[i / 16 % 2].session;
        const std::string text = std::to_string(i);
        const auto send = [&] {
          return i % 3 == 0 ? messenger.Send(session, thread, AsBytes(text))
                            : messenger.SendLater(session, thread, AsBytes(text));
        };
        for (SendResult sent = send(); sent != SendResult::kOk; sent = send()) {
          ASSERT_EQ(sent, SendResult::kAgain);
          std::this_thread::yield();
        }
        if (i % 100 == 99) messenger.SendAll();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(pair.ra.WaitFor([](Recorder& r) { return r.messages.size() == 4 * kEach; }));
  std::array<uint32_t, 4> next{};
  for (const auto& [type, payload] : pair.ra.messages)
    ASSERT_EQ(AsString(payload), std::to_string(next.at(type)++));
}

TEST(Messages, BadSendsAreRefusedAtOnce) {
  Pair pair({{"talk", 1, 4, 1000}}, {{"talk", 1, 4, 500}});
  ASSERT_TRUE(pair.Open());
  const SessionId session = pair.ra.opened[0].session;
  EXPECT_EQ(pair.ra.opened[0].max_send_bytes, 500u);
  EXPECT_EQ(pair.ra.messenger->Send(session, 4, {}), SendResult::kInvalid);
  EXPECT_EQ(pair.ra.messenger->Send(session, 0, Bytes(501)), SendResult::kTooBig);
  EXPECT_EQ(pair.ra.messenger->Send(session + 1000, 0, {}), SendResult::kGone);
}

TEST(Messages, ThePeersHighestCommonVersionIsOpened) {
  Pair pair({{"talk", 1, 4, 1000}, {"talk", 3, 5, 1000}, {"other", 1, 1, 10}},
            {{"talk", 1, 4, 1000}, {"talk", 2, 2, 10}, {"talk", 3, 5, 1000}});
  ASSERT_TRUE(pair.Open());
  EXPECT_EQ(pair.ra.opened.size(), 1u);
  EXPECT_EQ(pair.ra.opened[0].version, 3);
  EXPECT_EQ(pair.rb.opened[0].version, 3);
}

TEST(Messages, AFullQuotaSaysAgainAndWritableFollows) {
  Pair pair({{"talk", 1, 1, 1 << 20}}, {{"talk", 1, 1, 1 << 20}});
  ASSERT_TRUE(pair.Open());
  // a stops reading, so that b's queue fills through the kernel's buffers.
  pair.ra.messenger->PauseReading(pair.ra.opened[0].session, true);
  const SessionId session = pair.rb.opened[0].session;
  const Bytes chunk(256 * 1024, 7);
  size_t sent = 0;
  size_t queued = 0;
  SendResult last = SendResult::kOk;
  const auto deadline = std::chrono::steady_clock::now() + testing::kPatience;
  // Until it says AGAIN while more than half of the quota is queued; the snapshot comes from b's
  // loop, so it has seen every message that was sent before.
  while (std::chrono::steady_clock::now() < deadline) {
    const bool over_half = queued > 600 * 1024;
    last = pair.rb.messenger->Send(session, 0, chunk);
    if (last == SendResult::kOk) ++sent;
    if (last == SendResult::kAgain && over_half) break;
    if (auto s = pair.b.server().Snapshot()) queued = s->peers.at(0).stats.queued_bytes;
  }
  ASSERT_EQ(last, SendResult::kAgain);
  EXPECT_LE(queued, (1u << 20) + 128 * 1024);  // the quota, and what TLS holds below it
  const int before = pair.rb.writable;
  pair.ra.messenger->PauseReading(pair.ra.opened[0].session, false);
  EXPECT_TRUE(pair.rb.WaitFor([before](Recorder& r) { return r.writable > before; }));
  EXPECT_TRUE(pair.ra.WaitFor([sent](Recorder& r) { return r.messages.size() == sent; }));
}

// Not when the turn is over, in which a connection may read 256 KiB.
TEST(Messages, APauseFromWithinAMessageHoldsAtOnce) {
  Pair pair({{"talk", 1, 1, 1000}}, {{"talk", 1, 1, 1000}});
  ASSERT_TRUE(pair.Open());
  std::promise<void> filled;
  pair.ra.meanwhile = [&](SessionId session, size_t n) {
    if (n == 1) filled.get_future().wait();
    // Not in the first read, which was a short one and ends its turn.
    if (n == 40) pair.ra.messenger->PauseReading(session, true);
  };
  const SessionId session = pair.rb.opened[0].session;
  const Bytes text(1000, 7);
  size_t sent = 0;
  while (pair.rb.messenger->Send(session, 0, text) == SendResult::kOk) ++sent;
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // into the kernel's buffers
  filled.set_value();
  ASSERT_TRUE(pair.a.server().Snapshot());  // from a's loop, after that turn
  size_t came = 0;
  pair.ra.WaitFor([&](Recorder& r) {
    came = r.messages.size();
    return true;
  });
  EXPECT_GE(came, 40u);
  EXPECT_LE(came, 90u) << "of " << sent;  // that read's rest, and what TLS held
  pair.ra.messenger->PauseReading(pair.ra.opened[0].session, false);
  EXPECT_TRUE(pair.ra.WaitFor([sent](Recorder& r) { return r.messages.size() == sent; }));
}

TEST(Messages, CapabilitiesComeAndGoWhilePeersAreUp) {
  Pair pair({{"talk", 1, 4, 1000}}, {{"talk", 1, 4, 1000}});
  ASSERT_TRUE(pair.Open());
  pair.ra.messenger->Offer({{"late", 1, 1, 100}});
  pair.rb.messenger->Offer({{"late", 1, 1, 100}});
  ASSERT_TRUE(pair.ra.WaitFor([](Recorder& r) { return r.opened.size() == 2; }));
  ASSERT_TRUE(pair.rb.WaitFor([](Recorder& r) { return r.opened.size() == 2; }));
  const SessionId late = pair.ra.opened[1].session;
  EXPECT_EQ(pair.ra.messenger->Send(late, 0, AsBytes("x")), SendResult::kOk);
  ASSERT_TRUE(pair.rb.WaitFor([](Recorder& r) { return r.messages.size() == 1; }));
  pair.ra.messenger->Withdraw("late", Reason::kPluginGone);
  ASSERT_TRUE(pair.rb.WaitFor([](Recorder& r) { return r.closed.size() == 1; }));
  ASSERT_TRUE(pair.ra.WaitFor([](Recorder& r) { return r.closed.size() == 1; }));
  EXPECT_EQ(pair.ra.closed[0].first, late);
  EXPECT_EQ(pair.rb.closed[0].second, static_cast<uint32_t>(Reason::kPluginGone));
  EXPECT_EQ(pair.ra.messenger->Send(late, 0, AsBytes("x")), SendResult::kGone);
  // A newcomer sees what stands now.
  TestNode c({.key = 3, .listen = "", .peers = {pair.a.Address()}});
  ASSERT_TRUE(pair.a.WaitUp(c.id()));
}

// A plugin's mistake about a peer is taken back: the node does not stay away from it.
TEST(Messages, APeerThatIsForgivenIsDialedAtOnce) {
  Recorder ra({{"talk", 1, 1, 64}});
  Recorder rb({{"talk", 1, 1, 64}});
  TestNode a({.key = 1, .handlers = {&ra}});
  TestNode b({.key = 2,
              .listen = "",
              .peers = {a.Address()},
              .handlers = {&rb},
              .more = [](ServerOptions& options) {
                options.dial_times.backoff_first = options.dial_times.backoff_most =
                    std::chrono::hours(1);
              }});
  ASSERT_TRUE(rb.WaitFor([](Recorder& r) { return r.opened.size() == 1; }));
  rb.messenger->Disconnect(rb.opened[0].session, Reason::kPluginViolation, "it seemed so");
  ASSERT_TRUE(rb.WaitFor([](Recorder& r) { return r.closed.size() == 1; }));
  ASSERT_TRUE(b.WaitFor([&](const Event& e) { return e.kind == EventKind::kPeerClosed; }));
  b.server().Forgive(a.id());
  EXPECT_TRUE(rb.WaitFor([](Recorder& r) { return r.opened.size() == 2; }));
}

TEST(Messages, EveryOpenGetsItsOneClose) {
  Pair pair({{"talk", 1, 4, 1000}, {"walk", 1, 4, 1000}},
            {{"talk", 1, 4, 1000}, {"walk", 1, 4, 1000}});
  ASSERT_TRUE(pair.ra.WaitFor([](Recorder& r) { return r.opened.size() == 2; }));
  pair.ra.messenger->Disconnect(pair.ra.opened[0].session, Reason::kPluginPolite, "enough");
  ASSERT_TRUE(pair.ra.WaitFor([](Recorder& r) { return r.closed.size() == 2; }));
  ASSERT_TRUE(pair.rb.WaitFor([](Recorder& r) { return r.closed.size() >= 2; }));
  const auto event =
      pair.b.WaitFor([](const Event& e) { return e.kind == EventKind::kPeerClosed; });
  ASSERT_TRUE(event);
  EXPECT_EQ(event->close.reason, Reason::kPluginPolite);
  EXPECT_EQ(event->close.text, "enough");
}

TEST(Messages, TheEchoHandlerAnswersEverythingInOrder) {
  Recorder caller({{"echo", 1, 2, 65536}});
  TestNode a({.key = 1});
  TestNode b({.key = 2, .listen = "", .peers = {a.Address()}, .handlers = {&caller}});
  ASSERT_TRUE(caller.WaitFor([](Recorder& r) { return r.opened.size() == 1; }));
  const SessionId session = caller.opened[0].session;
  const int total = 300;
  for (int i = 0; i < total; ++i) {
    Bytes payload(20000, static_cast<uint8_t>(i));
    while (caller.messenger->Send(session, 0, payload) == SendResult::kAgain) {
      const int before = caller.writable;
      ASSERT_TRUE(caller.WaitFor([before](Recorder& r) { return r.writable >= before; }));
      std::this_thread::yield();
    }
  }
  ASSERT_TRUE(caller.WaitFor([](Recorder& r) { return r.messages.size() == total; }));
  for (int i = 0; i < total; ++i)
    EXPECT_EQ(caller.messages[static_cast<size_t>(i)].second.at(0), static_cast<uint8_t>(i));
}

}  // namespace
}  // namespace helo
