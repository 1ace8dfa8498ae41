#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/unit/rpc/service_support.h"

namespace helo::testing {
namespace {

// One stream and what it says.
class Watching {
 public:
  explicit Watching(AdminNode& node, uint64_t boot_id = 0, uint64_t after = 0)
      : stub_(node.Call()) {
    pb::WatchRequest request;
    request.set_boot_id(boot_id);
    request.set_after_sequence(after);
    stream_ = stub_->Watch(context_.get(), request);
  }
  ~Watching() {
    context_->TryCancel();
    pb::WatchResponse rest;
    while (stream_ && stream_->Read(&rest)) {
    }
    if (stream_) stream_->Finish();
  }
  pb::WatchResponse Next() {
    pb::WatchResponse message;
    EXPECT_TRUE(stream_->Read(&message));
    return message;
  }
  grpc::Status Finish() {
    pb::WatchResponse message;
    EXPECT_FALSE(stream_->Read(&message)) << message.ShortDebugString();
    const grpc::Status status = stream_->Finish();
    stream_.reset();
    return status;
  }

 private:
  std::unique_ptr<AdminStub> stub_;
  std::unique_ptr<grpc::ClientContext> context_ = Context("", std::chrono::seconds(60));
  std::unique_ptr<grpc::ClientReader<pb::WatchResponse>> stream_;
};

class WatchTest : public ::testing::Test {
 protected:
  EventLog& events() { return node_.node().server().events(); }
  uint64_t Happen(const std::string& target = "") {
    Event event;
    event.kind = EventKind::kTargetAdded;
    event.target = target;
    events().Append(event);
    return events().newest();
  }
  AdminNode node_;
};

TEST_F(WatchTest, BeginsWithReadyAndGoesOnFromNow) {
  const uint64_t before = Happen("past");
  Watching watch(node_);
  const pb::WatchResponse ready = watch.Next();
  ASSERT_TRUE(ready.has_ready());
  EXPECT_EQ(ready.boot_id(), events().boot_id());
  EXPECT_EQ(ready.ready().newest_sequence(), before);
  const uint64_t now = Happen("present");
  const pb::WatchResponse event = watch.Next();
  EXPECT_EQ(event.boot_id(), events().boot_id());
  EXPECT_EQ(event.event().sequence(), now);
  EXPECT_EQ(event.event().target(), "present");
  EXPECT_EQ(event.event().kind(), "target-added");
}

TEST_F(WatchTest, GoesOnWhereTheCallerStopped) {
  const uint64_t seen = Happen("seen");
  Happen("missed 1");
  Happen("missed 2");
  Watching watch(node_, events().boot_id(), seen);
  EXPECT_TRUE(watch.Next().has_ready());
  EXPECT_EQ(watch.Next().event().target(), "missed 1");
  EXPECT_EQ(watch.Next().event().target(), "missed 2");
  Happen("new");
  EXPECT_EQ(watch.Next().event().target(), "new");
}

TEST_F(WatchTest, TellsHowManyEventsAreLostToOneWhoComesTooLate) {
  const uint64_t seen = Happen("seen");
  for (int i = 0; i < 5000; ++i) Happen();
  Watching watch(node_, events().boot_id(), seen);
  EXPECT_TRUE(watch.Next().has_ready());
  const pb::WatchResponse gap = watch.Next();
  ASSERT_TRUE(gap.has_gap()) << gap.ShortDebugString();
  EXPECT_FALSE(gap.gap().other_boot());
  EXPECT_EQ(gap.gap().missed(), 5000U - 4096U);
  EXPECT_EQ(watch.Next().event().sequence(), seen + gap.gap().missed() + 1);
}

TEST_F(WatchTest, TellsAGapToOneWhoKnewAnEarlierRun) {
  Happen("of this run");
  Watching watch(node_, events().boot_id() + 1, 77);
  EXPECT_TRUE(watch.Next().has_ready());
  const pb::WatchResponse gap = watch.Next();
  ASSERT_TRUE(gap.has_gap());
  EXPECT_TRUE(gap.gap().other_boot());
  EXPECT_EQ(watch.Next().event().sequence(), 1U) << "what this run remembers follows";
}

TEST_F(WatchTest, RefusesAPlaceThatWasNotReached) {
  const uint64_t newest = Happen();
  for (const uint64_t after : {newest + 1, UINT64_MAX}) {
    Watching watch(node_, events().boot_id(), after);
    EXPECT_EQ(watch.Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(WatchTest, OneWhoDoesNotReadLosesEventsAndStallsNobody) {
  const std::string call = BareCall("/helo.admin.v1.Admin/Watch");
  const net::UniqueFd deaf = ConnectTo(node_.at());
  ASSERT_EQ(write(deaf.FdDoNotKeep(), call.data(), call.size()), static_cast<ssize_t>(call.size()));
  Watching watch(node_);
  EXPECT_TRUE(watch.Next().has_ready());
  // Far more than the kernel and HTTP/2 buffer for the deaf one, in pieces that the other can keep
  // up with.
  uint64_t next = events().newest() + 1;
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 100; ++i) Happen(std::string(200, 'x'));
    for (int i = 0; i < 100; ++i) {
      const pb::WatchResponse message = watch.Next();
      ASSERT_EQ(message.event().sequence(), next++) << message.ShortDebugString();
    }
  }
}

TEST_F(WatchTest, OneWhoReadsTooSlowlySeesAGapAndThenTheRest) {
  Watching watch(node_);
  const uint64_t first = watch.Next().ready().newest_sequence() + 1;
  for (int i = 0; i < 40000; ++i) Happen(std::string(200, 'x'));
  const uint64_t last = events().newest();
  uint64_t place = first - 1;
  uint64_t lost = 0;
  while (place < last) {
    const pb::WatchResponse message = watch.Next();
    if (message.has_gap()) {
      EXPECT_FALSE(message.gap().other_boot());
      lost += message.gap().missed();
      place += message.gap().missed();
      continue;
    }
    ASSERT_EQ(message.event().sequence(), ++place) << "every event is there or in a gap";
  }
  EXPECT_GT(lost, 0U);
}

TEST_F(WatchTest, CallersThatGoAwayLeaveNothingBehind) {
  {
    std::vector<std::unique_ptr<Watching>> many;
    for (int i = 0; i < 10; ++i) {
      many.push_back(std::make_unique<Watching>(node_));
      EXPECT_TRUE(many.back()->Next().has_ready());
    }
    Happen();
  }
  EXPECT_TRUE(Eventually([&] { return node_.pool().used() == 1; })) << node_.pool().used();
}

TEST_F(WatchTest, SeesThePeersOfARealNode) {
  Watching watch(node_);
  EXPECT_TRUE(watch.Next().has_ready());
  TestNode other(TestNode::Setup{.key = 2, .peers = {node_.node().Address()}});
  pb::WatchResponse message;
  do message = watch.Next();
  while (message.event().kind() != "peer-up");
  EXPECT_EQ(message.event().id(), other.id().ToHex());
  EXPECT_EQ(message.event().direction(), pb::INBOUND);
  const auto stub = node_.Call();
  pb::DropPeerRequest drop;
  drop.set_id(other.id().ToHex().substr(0, 12));
  drop.set_text("go away");
  pb::DropPeerResponse dropped;
  ASSERT_TRUE(stub->DropPeer(Context().get(), drop, &dropped).ok());
  do message = watch.Next();
  while (message.event().kind() != "peer-closed");
  EXPECT_EQ(message.event().close().label(), "DROPPED");
  EXPECT_EQ(message.event().close().decider(), "us");
}

}  // namespace
}  // namespace helo::testing
