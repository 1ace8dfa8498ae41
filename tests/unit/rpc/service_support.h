// A node with its admin server in the test's process, and callers of it: by a channel, by a socket
// that belongs to another uid, and by bare bytes.
#pragma once

#include <grpcpp/create_channel.h>
#include <grpcpp/create_channel_posix.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "helo/admin/v1/admin.grpc.pb.h"
#include "p2p/base/testing/capturing_log.h"
#include "p2p/net/socket.h"
#include "rpc/service/admin_server.h"
#include "tests/unit/server/test_node.h"

namespace helo::testing {

namespace pb = ::helo::admin::v1;
using AdminStub = pb::Admin::Stub;

inline constexpr uid_t kStranger = 65534;  // nobody

// A directory of this test alone, removed with what is in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class AdminNode {
 public:
  struct Setup {
    TestNode::Setup node = {};
    rpc::AdminAuth auth = rpc::AdminAuth::kUid;
    std::string address = "127.0.0.1:0";
    int pool = 16;
  };
  explicit AdminNode(Setup setup);
  AdminNode() : AdminNode(Setup{}) {}
  ~AdminNode();

  TestNode& node() { return *node_; }
  rpc::AdminServer& admin() { return *admin_; }
  void ResetAdmin() { admin_.reset(); }
  Endpoint at() const { return admin_->address(); }
  FdPool& pool() { return pool_; }
  FdPool& files() { return files_; }
  CapturingLog& log() { return log_; }
  std::string token_path() const { return dir_.path() + "/admin.token"; }
  std::string token() const;
  LogLevel level() const { return level_.load(); }
  bool shutdown_asked() const { return shutdown_asked_.load(); }

  // A channel of its own, not shared with other callers of this process.
  std::unique_ptr<AdminStub> Call() const;
  // The same over one socket that belongs to `uid`; needs root.
  std::unique_ptr<AdminStub> CallAs(uid_t uid) const;
  std::shared_ptr<grpc::Channel> ChannelAs(uid_t uid) const;

 private:
  TempDir dir_;
  CapturingLog log_;
  FdPool pool_;
  FdPool files_{PoolKind::kFiles, 64};
  std::atomic<LogLevel> level_{LogLevel::kInfo};
  std::atomic<bool> shutdown_asked_{false};
  std::unique_ptr<TestNode> node_;
  std::unique_ptr<rpc::AdminServer> admin_;
};

// One call's context: a deadline, and a token if there is one.
std::unique_ptr<grpc::ClientContext> Context(const std::string& token = "",
                                             Duration patience = std::chrono::seconds(10));

// A blocking socket connected to `to`; of another uid where one is given (needs root).
net::UniqueFd ConnectTo(const Endpoint& to, std::optional<uid_t> as = std::nullopt);
bool CanBeOthers();  // root: sockets of other uids can be made
// Waits until the other end has closed: read() gives end-of-file or an error.
bool WaitClosed(const net::UniqueFd& fd, Duration patience = std::chrono::seconds(10));
bool Eventually(const std::function<bool()>& fits, Duration patience = std::chrono::seconds(10));

// HTTP/2 by hand: preface, SETTINGS and one gRPC call of `path` with an empty request, complete.
std::string BareCall(const std::string& path);

size_t OpenDescriptors();

}  // namespace helo::testing
