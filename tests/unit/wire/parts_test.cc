// The parts of the machine on their own: frames, reader, outbox, rates, the queue of offers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "p2p/wire/frame_reader.h"
#include "p2p/wire/offer_queue.h"
#include "p2p/wire/outbox.h"
#include "p2p/wire/rate_window.h"
#include "proto_bytes.h"
#include "wire_support.h"

namespace helo::wire::testing {
namespace {

using std::chrono::hours;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Frame, HeaderIsBigEndianAndComesBack) {
  const std::array<uint8_t, 8> bytes = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08};
  const FrameHeader header = ParseFrameHeader(bytes);
  EXPECT_EQ(header, (FrameHeader{0x01020304, 0x0506, 0x0708}));
  EXPECT_EQ(EncodeFrameHeader(header), bytes);
}

TEST(Frame, LimitsAreTheTableOfTheWire) {
  const uint32_t limits[] = {1024, 16384, 1024, 1024, 64, 64, 4096, 64, 64, 16384, 1024};
  for (uint16_t type = 0; type < 11; ++type)
    EXPECT_EQ(CorePayloadLimit(type), limits[type]) << type;
  EXPECT_EQ(CorePayloadLimit(65535), 1024u);
  EXPECT_EQ(CoreTypeName(kHello), "HELLO");
  EXPECT_EQ(CoreTypeName(kPeers), "PEERS");
  EXPECT_EQ(CoreTypeName(10), "unknown");
}

struct Collector {
  FrameReader::Take OnHeader(const FrameHeader& header) {
    if (header.type == 99) return FrameReader::Take::kStop;
    return header.type == 77 ? FrameReader::Take::kSkip : FrameReader::Take::kPayload;
  }
  bool OnFrame(const FrameHeader& header, ByteView payload) {
    frames.push_back({header.channel, header.type, Bytes(payload.begin(), payload.end())});
    return true;
  }
  std::vector<RawFrame> frames;
};

TEST(FrameReader, CutsTheSameFramesFromEveryFragmentation) {
  const std::vector<RawFrame> frames = {
      {0, 1, Filled(5)}, {3, 0, {}}, {9, 9, Filled(300)}, {0, 4, Filled(1)}};
  Bytes stream;
  for (const RawFrame& frame : frames)
    AppendFrame(stream, frame.channel, frame.type, frame.payload);
  for (size_t portion = 1; portion <= stream.size(); ++portion) {
    FrameReader reader;
    Collector collector;
    for (size_t at = 0; at < stream.size(); at += portion) {
      reader.Feed(ByteView(stream).subspan(at, std::min(portion, stream.size() - at)), collector);
    }
    EXPECT_EQ(collector.frames, frames) << "in portions of " << portion;
  }
}

TEST(FrameReader, MemoryGrowsWithWhatCameNotWithWhatWasClaimed) {
  FrameReader reader;
  Collector collector;
  reader.Feed(EncodeFrameHeader({kMaxMessageBytes, 1, 0}), collector);
  EXPECT_LE(reader.memory(), 64u);
  reader.Feed(Filled(1000), collector);
  EXPECT_LE(reader.memory(), 4096u);
  EXPECT_THAT(collector.frames, IsEmpty());
}

TEST(FrameReader, SkippedPayloadIsNeverKept) {
  FrameReader reader;
  Collector collector;
  reader.Feed(EncodeFrameHeader({1 << 20, 0, 77}), collector);
  for (int i = 0; i < 1024; ++i) reader.Feed(Filled(1024), collector);
  EXPECT_EQ(reader.memory(), 0u);
  EXPECT_THAT(collector.frames, ElementsAre(RawFrame{0, 77, {}}));
}

TEST(FrameReader, ReadsNothingBehindAStop) {
  FrameReader reader;
  Collector collector;
  reader.Feed(Encode({0, 1, {}}) + Encode({0, 99, {}}) + Encode({0, 2, {}}), collector);
  EXPECT_THAT(collector.frames, ElementsAre(RawFrame{0, 1, {}}));
}

TEST(FrameReader, GivesABigBufferBack) {
  FrameReader reader;
  Collector collector;
  const Bytes big = Encode({1, 0, Filled(1 << 20)});
  reader.Feed(ByteView(big).first(1 << 19), collector);
  reader.Feed(ByteView(big).subspan(1 << 19), collector);
  EXPECT_EQ(reader.memory(), 0u);
  const Bytes small = Encode({1, 0, Filled(1000)});
  reader.Feed(ByteView(small).first(500), collector);
  reader.Feed(ByteView(small).subspan(500), collector);
  EXPECT_GT(reader.memory(), 0u);
  reader.Shrink();
  EXPECT_EQ(reader.memory(), 0u);
}

Bytes Drain(Outbox& outbox, size_t most = SIZE_MAX) {
  const size_t n = std::min(most, outbox.size());
  const Bytes bytes(outbox.pending().begin(), outbox.pending().begin() + static_cast<ptrdiff_t>(n));
  outbox.Take(n);
  return bytes;
}

TEST(Outbox, WhatGoesInComesOutInAnyPortions) {
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    helo::testing::SeededRng rng(seed);
    Outbox outbox;
    Bytes in, out;
    size_t core = 0;
    for (int i = 0; i < 3000; ++i) {
      const uint16_t channel = static_cast<uint16_t>(rng.Below(3));
      const Bytes payload = Filled(static_cast<size_t>(rng.Below(rng.Below(20) == 0 ? 5000 : 50)),
                                   static_cast<uint8_t>(i));
      outbox.Append(channel, 1, payload);
      AppendFrame(in, channel, 1, payload);
      if (channel == 0) core += 8 + payload.size();
      const Bytes part = Drain(outbox, static_cast<size_t>(rng.Below(200)));
      out.insert(out.end(), part.begin(), part.end());
      EXPECT_EQ(outbox.appended(), in.size());
      EXPECT_EQ(outbox.taken(), out.size());
      EXPECT_LE(outbox.core_size(), core);
    }
    const Bytes rest = Drain(outbox);
    out.insert(out.end(), rest.begin(), rest.end());
    EXPECT_EQ(in, out) << "seed " << seed;
    EXPECT_EQ(outbox.core_size(), 0u);
  }
}

TEST(Outbox, ThatIsNeverQuiteEmptyDoesNotGrow) {
  Outbox outbox;
  outbox.Append(5, 0, Filled(100));
  for (int i = 0; i < 100'000; ++i) {
    outbox.Append(5, 0, Filled(100));
    outbox.Take(108);
  }
  EXPECT_EQ(outbox.size(), 108u);
  EXPECT_LE(outbox.memory(), 4096u);
}

TEST(Outbox, KnowsHowMuchOfItIsCore) {
  Outbox outbox;
  outbox.Append(0, 4, Filled(2));
  outbox.Append(5, 0, Filled(100));
  outbox.Append(0, 4, Filled(2));
  EXPECT_EQ(outbox.core_size(), 20u);
  outbox.Take(9);
  EXPECT_EQ(outbox.core_size(), 20u) << "a frame counts until its last byte is taken";
  outbox.Take(1);
  EXPECT_EQ(outbox.core_size(), 10u);
  outbox.Take(117);
  EXPECT_EQ(outbox.core_size(), 10u);
  outbox.Take(1);
  EXPECT_EQ(outbox.core_size(), 0u);
}

TEST(Outbox, DropsNamedFramesButNotTheOneThatWasBegun) {
  Outbox outbox;
  outbox.Append(5, 0, Filled(10));
  outbox.Append(5, 1, Filled(10));
  outbox.Append(0, 4, Filled(3));
  outbox.Append(6, 0, Filled(10));
  Bytes out = Drain(outbox, 1);
  outbox.DropNamed();
  // What was dropped counts as taken only when what stood before it is.
  const uint64_t appended = outbox.appended();
  EXPECT_LT(outbox.taken() + outbox.size(), appended);
  out = out + Drain(outbox);
  EXPECT_EQ(outbox.taken(), appended);
  EXPECT_THAT(SplitFrames(out), ElementsAre(RawFrame{5, 0, Filled(10)}, RawFrame{0, 4, Filled(3)}));
}

TEST(Outbox, DropsBetweenFramesLeaveNoneOfThem) {
  Outbox outbox;
  outbox.Append(0, 4, Filled(3));
  outbox.Append(5, 0, Filled(10));
  Drain(outbox, 11);
  outbox.DropNamed();
  EXPECT_EQ(outbox.size(), 0u);
  outbox.Append(0, 3, {});
  EXPECT_THAT(SplitFrames(Drain(outbox)), ElementsAre(RawFrame{0, 3, {}}));
}

TEST(Outbox, DropsOneChannelAlone) {
  Outbox outbox;
  outbox.Append(5, 0, Filled(1));
  outbox.Append(6, 0, Filled(2));
  outbox.Append(0, 4, Filled(3));
  outbox.Append(5, 0, Filled(4));
  outbox.DropChannel(5);
  EXPECT_THAT(SplitFrames(Drain(outbox)),
              ElementsAre(RawFrame{6, 0, Filled(2)}, RawFrame{0, 4, Filled(3)}));
}

constexpr MonoTime kStart{hours(1)};

TEST(RateWindow, ToleratesNInAnyWindowForEver) {
  for (const uint64_t seed : {1, 2, 3}) {
    helo::testing::SeededRng rng(seed);
    RateWindow window(10, seconds(10));
    MonoTime burst = kStart;
    for (int i = 0; i < 200; ++i) {
      // N at once, at a random moment of each window that follows the last one wholly.
      burst += seconds(10) + milliseconds(rng.Below(5000));
      for (int k = 0; k < 10; ++k) ASSERT_TRUE(window.Count(burst)) << "seed " << seed;
    }
  }
}

TEST(RateWindow, The2NthWithinAWindowIsAFlood) {
  RateWindow window(10, seconds(10));
  for (int i = 0; i < 19; ++i) EXPECT_TRUE(window.Count(kStart + milliseconds(i)));
  EXPECT_FALSE(window.Count(kStart + seconds(10) - milliseconds(1)));
  EXPECT_TRUE(window.Count(kStart + seconds(10))) << "the first has left the window";
}

TEST(RateWindow, ASenderWaitsForRoom) {
  RateWindow window(2, seconds(10));
  EXPECT_TRUE(window.MaySend(kStart));
  window.Count(kStart);
  window.Count(kStart + seconds(1));
  EXPECT_FALSE(window.MaySend(kStart + seconds(2)));
  EXPECT_EQ(window.NextRoom(), kStart + seconds(10));
  EXPECT_TRUE(window.MaySend(window.NextRoom()));
}

TEST(ByteWindow, ToleratesNInAnyWindowAndFloodsBelow2N) {
  ByteWindow window(1000, seconds(60));
  EXPECT_TRUE(window.Count(kStart, 1000));
  EXPECT_TRUE(window.Count(kStart + seconds(60), 500));
  EXPECT_TRUE(window.Count(kStart + seconds(119), 500));
  EXPECT_FALSE(window.Count(kStart + seconds(119), 1));
}

std::vector<std::string> Frames(OfferQueue& queue, MonoTime now) {
  std::vector<std::string> names;
  while (const std::optional<OfferQueue::Frame> frame = queue.Next(now)) {
    names.push_back((frame->withdraw ? "-" : "+") + frame->name);
  }
  return names;
}

TEST(OfferQueue, AWithdrawGoesBeforeTheOfferOfTheSameName) {
  OfferQueue queue;
  queue.AddWithdraw("echo", {});
  queue.AddOffer("gossip");
  queue.AddOffer("echo");
  EXPECT_THAT(Frames(queue, kStart), ElementsAre("-echo", "+echo", "+gossip"));
  EXPECT_EQ(queue.NextAt(), kNever);
}

TEST(OfferQueue, AnOfferThatIsTakenBackInTimeIsNeverSent) {
  OfferQueue queue;
  queue.AddOffer("echo");
  queue.CancelOffer("echo");
  queue.AddWithdraw("gossip", {});
  queue.AddOffer("gossip");
  queue.CancelOffer("gossip");
  EXPECT_THAT(Frames(queue, kStart), ElementsAre("-gossip"));
}

TEST(OfferQueue, KeepsToSixtyFourAMinute) {
  OfferQueue queue;
  for (int i = 0; i < 100; ++i) queue.AddOffer("n" + std::to_string(i));
  EXPECT_EQ(Frames(queue, kStart).size(), 64u);
  EXPECT_GT(queue.NextAt(), kStart + seconds(60));
  EXPECT_THAT(Frames(queue, queue.NextAt() - milliseconds(1)), IsEmpty());
  EXPECT_EQ(Frames(queue, queue.NextAt()).size(), 36u);
}

}  // namespace
}  // namespace helo::wire::testing
