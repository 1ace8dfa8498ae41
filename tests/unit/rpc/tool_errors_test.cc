// A node that is down, a wrong port, a silent listener: what the client says of each, against real
// sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "helo/admin/v1/admin.pb.h"
#include "rpc/client/admin_client.h"
#include "rpc/client/connection.h"
#include "rpc/client/errors.h"
#include "tests/unit/rpc/tool_fake_listener.h"

namespace helo::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Duration kPatience = seconds(20);

NodeTarget TargetAt(const Endpoint& address) {
  NodeTarget target;
  target.admin = address;
  target.found_by = "--admin";
  return target;
}

absl::Status CallAt(const Endpoint& address, Duration timeout = kPatience) {
  absl::StatusOr<std::unique_ptr<AdminClient>> client =
      AdminClient::Connect(TargetAt(address), timeout);
  if (!client.ok()) return client.status();
  return (*client)->GetNode().status();
}

TEST(WhatAnswers, IsToldByTheFirstBytes) {
  const ClosedPort closed;
  EXPECT_EQ(WhatAnswers(closed.address(), kPatience), Answer::kNothingListens);
  const FakeListener web(Replies("HTTP/1.1 400 Bad Request\r\n\r\n"));
  EXPECT_EQ(WhatAnswers(web.address(), kPatience), Answer::kHttp1);
  const FakeListener old_web(Replies("<!DOCTYPE HTML>\n<html>"));
  EXPECT_EQ(WhatAnswers(old_web.address(), kPatience), Answer::kHttp1);
  const FakeListener tls(Replies(std::string("\x15\x03\x01\x00\x02\x02\x46", 7)));
  EXPECT_EQ(WhatAnswers(tls.address(), kPatience), Answer::kTls);
  const FakeListener ssh(Replies("SSH-2.0-OpenSSH_9.2\r\n"));
  EXPECT_EQ(WhatAnswers(ssh.address(), kPatience), Answer::kSsh);
  const FakeListener redis(Replies("-ERR unknown command\r\n"));
  EXPECT_EQ(WhatAnswers(redis.address(), kPatience), Answer::kOther);
  const FakeListener closing([](int) {});
  EXPECT_EQ(WhatAnswers(closing.address(), kPatience), Answer::kClosesAtOnce);
  const FakeListener http2(Replies(std::string("\x00\x00\x00\x04\x00\x00\x00\x00\x00", 9)));
  EXPECT_EQ(WhatAnswers(http2.address(), kPatience), Answer::kHttp2);
  const FakeListener silent(StaySilent);
  EXPECT_EQ(WhatAnswers(silent.address(), milliseconds(100)), Answer::kSilent);
}

TEST(ANodeThatIsDown, IsSaidToBeDownWithTheWayToStartOne) {
  const ClosedPort closed;
  const absl::Status status = CallAt(closed.address());
  EXPECT_EQ(ExitOf(status), Exit::kNodeNotRunning) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("nothing listens"), HasSubstr(closed.address().ToString()),
                    HasSubstr("Start")));
}

TEST(ANodeThatIsDown, AndLeftItsFileBehindIsSaidToHaveDied) {
  const ClosedPort closed;
  NodeTarget target = TargetAt(closed.address());
  target.data_dir = "/var/lib/helo";
  target.file = NodeFile{int64_t{1} << 40, "", {}, closed.address().ToString(), ""};
  const absl::Status status = AdminClient::Connect(target).status();
  EXPECT_EQ(ExitOf(status), Exit::kNodeNotRunning);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("is gone"), HasSubstr("helod --data-dir /var/lib/helo")));
}

TEST(AWrongPort, IsToldApartFromANodeThatIsDown) {
  const FakeListener web(Replies("HTTP/1.1 400 Bad Request\r\nServer: \x1b[31mred\r\n\r\n"));
  const absl::Status status = CallAt(web.address());
  EXPECT_EQ(ExitOf(status), Exit::kFailed) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("not the admin port of a helo node"), HasSubstr("web server"),
                    HasSubstr("Check the port")));
  EXPECT_EQ(status.message().find('\x1b'), absl::string_view::npos);
}

TEST(AWrongPort, MayBeThePeerPortOfANode) {
  const FakeListener tls(Replies(std::string("\x15\x03\x03\x00\x02\x02\x50", 7)));
  const absl::Status status = CallAt(tls.address());
  EXPECT_EQ(ExitOf(status), Exit::kFailed);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("peer port"), HasSubstr("4357")));
}

TEST(AListenerThatSaysNothing, TimesOutAndIsSaidToHang) {
  const FakeListener silent(StaySilent);
  const absl::Status status = CallAt(silent.address(), milliseconds(200));
  EXPECT_EQ(ExitOf(status), Exit::kTimedOut) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("says nothing"), HasSubstr("hangs or is suspended")));
}

TEST(ExitCodes, FollowTheKindOfFailure) {
  EXPECT_EQ(ExitOf(absl::OkStatus()), Exit::kOk);
  EXPECT_EQ(ExitOf(absl::InvalidArgumentError("")), Exit::kUsage);
  EXPECT_EQ(ExitOf(absl::UnauthenticatedError("")), Exit::kNotAllowed);
  EXPECT_EQ(ExitOf(absl::PermissionDeniedError("")), Exit::kNotAllowed);
  EXPECT_EQ(ExitOf(absl::NotFoundError("")), Exit::kNotFound);
  EXPECT_EQ(ExitOf(absl::FailedPreconditionError("3f2a is Ambiguous: 2 peers")), Exit::kNotFound);
  EXPECT_EQ(ExitOf(absl::FailedPreconditionError("the node stops")), Exit::kFailed);
  EXPECT_EQ(ExitOf(absl::AbortedError("")), Exit::kRefusedByPeer);
  EXPECT_EQ(ExitOf(absl::InternalError("")), Exit::kFailed);
}

TEST(ARefusedCall, NamesTheRemedyAndWhatBecameOfTheToken) {
  CallFailure failure;
  failure.code = absl::StatusCode::kUnauthenticated;
  failure.message = "a token is needed\x1b";
  failure.call = "DropPeer";
  failure.token_note = "No token was sent: there is no token file /x/admin.token";
  const absl::Status status = CallError(TargetAt(*Endpoint::Parse("127.0.0.1:4357")), failure);
  EXPECT_EQ(ExitOf(status), Exit::kNotAllowed);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("a token is needed\\x1b"), HasSubstr("/x/admin.token"),
                    HasSubstr("--token-file")));
}

TEST(TheNodesOwnSentence, IsPassedOn) {
  CallFailure failure;
  failure.code = absl::StatusCode::kNotFound;
  failure.message = "no peer's id begins with 3f2a. See ListPeers.";
  const absl::Status status = CallError(TargetAt(*Endpoint::Parse("127.0.0.1:4357")), failure);
  EXPECT_EQ(status.message(), "no peer's id begins with 3f2a. See ListPeers");
}

}  // namespace
}  // namespace helo::client
