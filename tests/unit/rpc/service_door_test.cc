// Who may call, and what the door does when everybody does. Where a newer gRPC treats descriptors
// that are handed to it otherwise, these fail. Long: a case each.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/unit/rpc/service_support.h"

namespace helo::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kOnlyRoot[] = "NOT CHECKED: only root can make sockets of another uid";

std::string Node(AdminStub& stub, grpc::Status& status, const std::string& token = "") {
  const auto context = Context(token);
  pb::Node node;
  status = stub.GetNode(context.get(), {}, &node);
  return node.id();
}

// What the reflection service says to one question, as bytes.
std::string Reflect(const std::shared_ptr<grpc::Channel>& channel, const std::string& question) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  const auto context = Context();
  const auto call = stub.PrepareCall(
      context.get(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  call->StartCall(nullptr);
  EXPECT_TRUE(next());
  const grpc::Slice slice(question);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
  EXPECT_TRUE(next());
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  std::string text;
  if (next()) {
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(answer.Dump(&slices).ok());
    for (const grpc::Slice& part : slices)
      text.append(reinterpret_cast<const char*>(part.begin()), part.size());
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  EXPECT_TRUE(next());
  EXPECT_TRUE(status.ok()) << status.error_message();
  queue.Shutdown();
  return text;
}

std::string ListServices() { return std::string("\x3a\x01*", 3); }
std::string FileOf(const std::string& symbol) {
  return "\x22" + std::string(1, static_cast<char>(symbol.size())) + symbol;
}

TEST(Door, LeansOnThisGrpc) {
  EXPECT_EQ(grpc::Version().substr(0, 5), "1.51.")
      << "rpc/service/door.cc leans on how gRPC 1.51 treats descriptors that are handed to it (it "
         "owns and closes them, "
         "closes on end-of-file, names peers as ipv4:ADDRESS:PORT), guard.cc on :path among the "
         "metadata. This is gRPC "
      << grpc::Version()
      << ": see that every test of this program passes, then add the version here.";
}

TEST(Door, LetsTheNodesOwnUserInWithoutAToken) {
  AdminNode node;
  grpc::Status status;
  EXPECT_EQ(Node(*node.Call(), status), node.node().id().ToHex());
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST(Door, WorksOverIpv6) {
  AdminNode::Setup setup;
  setup.address = "[::1]:0";
  AdminNode node(std::move(setup));
  const auto context = Context();
  pb::SetLogLevelRequest request;
  request.set_level("debug");
  pb::SetLogLevelResponse response;
  ASSERT_TRUE(node.Call()->SetLogLevel(context.get(), request, &response).ok());
  EXPECT_TRUE(node.log().WaitFor("by_uid=" + std::to_string(geteuid())));
  EXPECT_TRUE(node.log().WaitFor("from=[::1]:"));
}

TEST(Door, RefusesAnAddressThatOthersCanReachAndSaysWhatToDo) {
  TestNode node({});
  FdPool pool(PoolKind::kAdmin, 4);
  FdPool files(PoolKind::kFiles, 16);
  for (const char* address :
       {"0.0.0.0:4357", "192.0.2.1:4357", "[::]:4357", "[2001:db8::1]:4357"}) {
    rpc::AdminOptions options;
    options.address = *Endpoint::Parse(address);
    const auto admin = rpc::AdminServer::Start(options, {}, {}, node.server(), pool, files,
                                               RealClock(), NullLog());
    ASSERT_FALSE(admin.ok()) << address;
    EXPECT_EQ(admin.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(admin.status().message()), HasSubstr("ssh -L 4357:127.0.0.1:4357"));
  }
  EXPECT_EQ(pool.used(), 0);
  EXPECT_EQ(files.used(), 0);
}

TEST(Door, SaysWhoHasThePort) {
  AdminNode first;
  TestNode node(TestNode::Setup{.key = 2});
  TempDir dir;
  FdPool pool(PoolKind::kAdmin, 4);
  FdPool files(PoolKind::kFiles, 16);
  rpc::AdminOptions options;
  options.address = first.at();
  options.token_path = dir.path() + "/admin.token";
  const auto admin =
      rpc::AdminServer::Start(options, {}, {}, node.server(), pool, files, RealClock(), NullLog());
  ASSERT_FALSE(admin.ok());
  EXPECT_EQ(admin.status().code(), absl::StatusCode::kAlreadyExists) << admin.status();
}

TEST(Door, AsksAnotherUserForTheToken) {
  if (!CanBeOthers()) GTEST_SKIP() << kOnlyRoot;
  AdminNode node;
  const auto stranger = node.CallAs(kStranger);
  grpc::Status status;
  Node(*stranger, status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(status.error_message(), HasSubstr(node.token_path()));
  EXPECT_THAT(status.error_message(), HasSubstr("authorization: Bearer"));
  Node(*stranger, status, std::string(64, '0'));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(status.error_message(), HasSubstr("is not this node's admin token"));
  EXPECT_EQ(Node(*stranger, status, node.token()), node.node().id().ToHex());
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST(Door, AsksAnotherUserForTheTokenOfAStreamToo) {
  if (!CanBeOthers()) GTEST_SKIP() << kOnlyRoot;
  AdminNode node;
  const auto stranger = node.CallAs(kStranger);
  const auto context = Context();
  const auto stream = stranger->Watch(context.get(), {});
  pb::WatchResponse message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST(Door, AsksEverybodyForTheTokenIfToldTo) {
  AdminNode::Setup setup;
  setup.auth = rpc::AdminAuth::kToken;
  AdminNode node(std::move(setup));
  const auto stub = node.Call();
  grpc::Status status;
  Node(*stub, status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  Node(*stub, status, "x" + node.token().substr(1));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  Node(*stub, status, node.token());
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(node.log().Count(node.token()), 0U) << "the token stands in the log";
}

TEST(Door, LogsEveryChangeWithWhoMadeIt) {
  AdminNode::Setup setup;
  setup.auth = rpc::AdminAuth::kToken;
  AdminNode node(std::move(setup));
  const auto context = Context(node.token());
  pb::SetLogLevelRequest request;
  request.set_level("warn");
  pb::SetLogLevelResponse response;
  ASSERT_TRUE(node.Call()->SetLogLevel(context.get(), request, &response).ok());
  EXPECT_TRUE(node.log().WaitFor("log level changed"));
  EXPECT_TRUE(
      node.log().WaitFor("by_uid=" + std::to_string(geteuid()) + " with=token from=127.0.0.1:"));
}

TEST(Door, ShowsReflectionAndHealthToEverybody) {
  AdminNode::Setup setup;
  setup.auth = rpc::AdminAuth::kToken;
  AdminNode node(std::move(setup));
  const auto channel =
      grpc::CreateChannel(node.at().ToString(), grpc::InsecureChannelCredentials());
  const std::string services = Reflect(channel, ListServices());
  EXPECT_THAT(services, HasSubstr("helo.admin.v1.Admin"));
  EXPECT_THAT(services, HasSubstr("grpc.health.v1.Health"));
  EXPECT_THAT(Reflect(channel, FileOf("helo.admin.v1.Admin")), HasSubstr("DropPeerRequest"));
  EXPECT_THAT(Reflect(channel, FileOf("grpc.health.v1.Health")), HasSubstr("HealthCheckRequest"));

  const auto health = grpc::health::v1::Health::NewStub(channel);
  for (const char* service : {"", "helo.admin.v1.Admin"}) {
    grpc::health::v1::HealthCheckRequest request;
    grpc::health::v1::HealthCheckResponse response;
    request.set_service(service);
    const auto context = Context();
    const grpc::Status status = health->Check(context.get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING) << service;
  }
}

TEST(Door, ANewerReflectionIsUnknownRatherThanForbidden) {
  AdminNode::Setup setup;
  setup.auth = rpc::AdminAuth::kToken;
  AdminNode node(std::move(setup));
  grpc::GenericStub stub(
      grpc::CreateChannel(node.at().ToString(), grpc::InsecureChannelCredentials()));
  grpc::CompletionQueue queue;
  const auto context = Context();
  const grpc::Slice slice(ListServices());
  const auto call = stub.PrepareUnaryCall(
      context.get(), "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
}

TEST(Door, GetsEveryTicketAndDescriptorBack) {
  AdminNode node;
  grpc::Status status;
  Node(*node.Call(), status);  // what gRPC opens once
  ASSERT_TRUE(Eventually([&] { return node.pool().used() == 1; })) << "the listener's alone";
  const size_t before = OpenDescriptors();
  for (int round = 0; round < 20; ++round) {
    std::vector<net::UniqueFd> bare;
    bare.reserve(5);
    for (int i = 0; i < 5; ++i) bare.push_back(ConnectTo(node.at()));
    Node(*node.Call(), status);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_TRUE(Eventually([&] { return node.pool().used() == 1; })) << node.pool().used();
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() <= before; }))
      << OpenDescriptors() << " " << before;
}

TEST(Door, ChargesEveryDescriptorThatItAndGrpcHold) {
  // In a process of its own, for gRPC keeps what it opened once. A thread would not do: fork, then
  // exec.
  const pid_t child = fork();
  if (child == 0) {
    setenv("HELO_TEST_COUNT_DESCRIPTORS", "1", 1);
    execl("/proc/self/exe", "service_test", "--gtest_filter=DescriptorCount.*", nullptr);
    _exit(127);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(DescriptorCount, IsWhatThePoolsSay) {
  if (getenv("HELO_TEST_COUNT_DESCRIPTORS") == nullptr) {
    GTEST_SKIP() << "runs in a process of its own, see ChargesEveryDescriptorThatItAndGrpcHold";
  }
  TestNode node({});
  const size_t before = OpenDescriptors();
  TempDir dir;
  FdPool pool(PoolKind::kAdmin, 16);
  FdPool files(PoolKind::kFiles, 32);
  rpc::AdminOptions options;
  options.address = *Endpoint::Parse("127.0.0.1:0");
  options.token_path = dir.path() + "/admin.token";
  const auto admin =
      rpc::AdminServer::Start(options, {}, {}, node.server(), pool, files, RealClock(), NullLog());
  ASSERT_TRUE(admin.ok()) << admin.status();
  std::vector<net::UniqueFd> callers;
  callers.reserve(8);
  for (int i = 0; i < 8; ++i) callers.push_back(ConnectTo((*admin)->address()));
  const std::string call = BareCall("/helo.admin.v1.Admin/GetNode");
  for (const net::UniqueFd& caller : callers) {
    ASSERT_EQ(write(caller.FdDoNotKeep(), call.data(), call.size()),
              static_cast<ssize_t>(call.size()));
    char byte = 0;
    ASSERT_EQ(read(caller.FdDoNotKeep(), &byte, 1), 1);
  }
  const size_t held = OpenDescriptors() - before - callers.size();
  EXPECT_LE(held, static_cast<size_t>(pool.used() + files.used()))
      << "more are open than are charged";
  EXPECT_GE(held + 3, static_cast<size_t>(pool.used() + files.used()))
      << "far more are charged than open";
}

TEST(Door, ClosesWhoSaysNothing) {
  AdminNode node;
  const net::UniqueFd silent = ConnectTo(node.at());
  ASSERT_TRUE(silent);
  EXPECT_TRUE(WaitClosed(silent)) << "after grpc.server_handshake_timeout_ms";
  EXPECT_TRUE(Eventually([&] { return node.pool().used() == 1; }));
}

// Calls while `flood` makes connections without end.
void CallDuring(AdminNode& node, const std::function<void()>& flood) {
  auto context = Context("", std::chrono::seconds(60));
  auto watcher = node.Call();
  auto stream = watcher->Watch(context.get(), {});
  pb::WatchResponse message;
  ASSERT_TRUE(stream->Read(&message));
  std::atomic<bool> enough{false};
  std::thread flooding([&] {
    while (!enough.load()) flood();
  });
  for (int i = 0; i < 5; ++i) {
    grpc::Status status;
    Node(*node.Call(), status);
    EXPECT_TRUE(status.ok()) << "the operator is locked out: " << status.error_message();
    EXPECT_LE(node.pool().used(), node.pool().limit());
  }
  enough = true;
  flooding.join();
  // A call in flight keeps its connection.
  Event event;
  event.kind = EventKind::kListening;
  node.node().server().events().Append(event);
  bool seen = false;
  while (!seen && stream->Read(&message)) seen = message.has_event();
  EXPECT_TRUE(seen);
  context->TryCancel();
  stream->Finish();
}

TEST(Door, SilentConnectionsBeyondThePoolDoNotLockTheOperatorOut) {
  AdminNode::Setup setup;
  setup.pool = 8;
  AdminNode node(std::move(setup));
  std::vector<net::UniqueFd> silent;
  silent.reserve(300);
  for (int i = 0; i < 300; ++i) silent.push_back(ConnectTo(node.at()));
  CallDuring(node, [] { std::this_thread::yield(); });
  silent.clear();
  EXPECT_TRUE(Eventually([&] { return node.pool().used() == 1; })) << node.pool().used();
}

TEST(Door, AFloodByAnotherUserDoesNotLockTheOperatorOut) {
  if (!CanBeOthers()) GTEST_SKIP() << kOnlyRoot;
  AdminNode::Setup setup;
  setup.pool = 8;
  AdminNode node(std::move(setup));
  std::vector<net::UniqueFd> silent;
  CallDuring(node, [&] {
    if (silent.size() == 300) silent.clear();
    silent.push_back(ConnectTo(node.at(), kStranger));
  });
  silent.clear();
  EXPECT_TRUE(Eventually([&] { return node.pool().used() == 1; })) << node.pool().used();
}

TEST(Door, WhoHoldsMostMakesRoomAndNotTheOperator) {
  if (!CanBeOthers()) GTEST_SKIP() << kOnlyRoot;
  AdminNode::Setup setup;
  setup.pool = 6;  // one is the listener's
  AdminNode node(std::move(setup));
  const net::UniqueFd operators = ConnectTo(node.at());  // oldest, and without a call
  ASSERT_TRUE(Eventually([&] { return node.pool().used() == 2; }));
  std::vector<net::UniqueFd> strangers;
  strangers.reserve(5);
  for (int i = 0; i < 5; ++i) strangers.push_back(ConnectTo(node.at(), kStranger));
  EXPECT_TRUE(WaitClosed(strangers[0], std::chrono::seconds(2))) << "before any timeout of gRPC's";
  char byte = 0;
  EXPECT_EQ(recv(operators.FdDoNotKeep(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0, false)
      << "the operator's was closed";
}

TEST(Door, DoesNotServeAStrangerWhoLeftBeforeItWasLookedAt) {
  // The whole call is sent, and the socket closed: for the kernel it then belongs to uid 0.
  AdminNode node;
  const std::string call = BareCall("/helo.admin.v1.Admin/Shutdown");
  for (int i = 0; i < 200; ++i) {
    const net::UniqueFd gone =
        ConnectTo(node.at(), CanBeOthers() ? std::optional<uid_t>(kStranger) : std::nullopt);
    ASSERT_EQ(write(gone.FdDoNotKeep(), call.data(), call.size()),
              static_cast<ssize_t>(call.size()));
  }
  grpc::Status status;
  Node(*node.Call(), status);
  EXPECT_TRUE(status.ok());
  if (!CanBeOthers()) GTEST_SKIP() << kOnlyRoot;
  EXPECT_FALSE(node.shutdown_asked());
}

TEST(Door, ABareCallIsACall) {  // or the test above would prove nothing
  AdminNode node;
  const std::string call = BareCall("/helo.admin.v1.Admin/Shutdown");
  const net::UniqueFd fd = ConnectTo(node.at());
  ASSERT_EQ(write(fd.FdDoNotKeep(), call.data(), call.size()), static_cast<ssize_t>(call.size()));
  EXPECT_TRUE(Eventually([&] { return node.shutdown_asked(); }));
}

TEST(Stop, ReturnsInTimeWhateverCallersDo) {
  AdminNode node;
  // A stream whose caller never reads a byte, a connection that says nothing, and a wait for a peer
  // that never answers.
  const std::string call = BareCall("/helo.admin.v1.Admin/Watch");
  const net::UniqueFd hanging = ConnectTo(node.at());
  ASSERT_EQ(write(hanging.FdDoNotKeep(), call.data(), call.size()),
            static_cast<ssize_t>(call.size()));
  const net::UniqueFd silent = ConnectTo(node.at());
  const auto stub = node.Call();
  const auto context = Context();
  const auto stream = stub->Watch(context.get(), {});
  pb::WatchResponse message;
  ASSERT_TRUE(stream->Read(&message));
  for (int i = 0; i < 20000; ++i) {
    Event event;
    event.kind = EventKind::kTargetAdded;
    event.target = std::string(200, 'x');
    node.node().server().events().Append(event);
  }
  const auto began = std::chrono::steady_clock::now();
  node.admin().Stop(std::chrono::seconds(2));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(2500));
  node.ResetAdmin();
  EXPECT_EQ(node.pool().used(), 0);
  EXPECT_EQ(node.files().used(), 0);
  while (stream->Read(&message)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(Stop, IsQuickWhereNobodyHangs) {
  AdminNode node;
  const auto stub = node.Call();
  const auto context = Context();
  const auto stream = stub->Watch(context.get(), {});
  pb::WatchResponse message;
  ASSERT_TRUE(stream->Read(&message));
  const auto began = std::chrono::steady_clock::now();
  node.admin().Stop(std::chrono::seconds(10));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(3));
  while (stream->Read(&message)) {
  }
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("shutting down"));
}

TEST(Stop, ComesToAnEndAfterTheServerHasStopped) {
  AdminNode node;
  const auto stub = node.Call();
  node.node().server().Stop();
  grpc::Status status;
  Node(*stub, status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("shutting down"));
  node.admin().Stop(std::chrono::seconds(5));
}

}  // namespace
}  // namespace helo::testing
