#include "tests/unit/rpc/service_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

namespace helo::testing {

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "helo-rpc-XXXXXX").string();
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  path_ = pattern;
}
TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

AdminNode::AdminNode(Setup setup) : pool_(PoolKind::kAdmin, setup.pool) {
  node_ = std::make_unique<TestNode>(std::move(setup.node));
  rpc::AdminOptions options;
  options.address = *Endpoint::Parse(setup.address);
  options.auth = setup.auth;
  options.token_path = token_path();
  rpc::NodeFacts facts;
  facts.version = "1.2.3";
  facts.user_agent = "helo-test/1.2.3";
  facts.network = "helo-test";
  facts.genesis = {1, 2, 3};
  facts.data_dir = dir_.path();
  rpc::AdminHooks hooks;
  hooks.log_level = [this] { return level_.load(); };
  hooks.set_log_level = [this](LogLevel level) { level_ = level; };
  hooks.shutdown = [this] { shutdown_asked_ = true; };
  auto admin = rpc::AdminServer::Start(options, facts, hooks, node_->server(), pool_, files_,
                                       RealClock(), log_);
  EXPECT_TRUE(admin.ok()) << admin.status();
  if (admin.ok()) admin_ = *std::move(admin);
}

AdminNode::~AdminNode() = default;

std::string AdminNode::token() const {
  std::ifstream file(token_path());
  std::string line;
  std::getline(file, line);
  return line;
}

std::unique_ptr<AdminStub> AdminNode::Call() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return pb::Admin::NewStub(
      grpc::CreateCustomChannel(at().ToString(), grpc::InsecureChannelCredentials(), arguments));
}

std::shared_ptr<grpc::Channel> AdminNode::ChannelAs(uid_t uid) const {
  net::UniqueFd fd = ConnectTo(at(), uid);
  EXPECT_TRUE(fd);
  const int raw = fd.Release();
  fcntl(raw, F_SETFL, fcntl(raw, F_GETFL) | O_NONBLOCK);
  return grpc::CreateInsecureChannelFromFd(at().ToString(), raw);
}

std::unique_ptr<AdminStub> AdminNode::CallAs(uid_t uid) const {
  return pb::Admin::NewStub(ChannelAs(uid));
}

std::unique_ptr<grpc::ClientContext> Context(const std::string& token, Duration patience) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::duration_cast<std::chrono::system_clock::duration>(patience));
  if (!token.empty()) context->AddMetadata("authorization", "Bearer " + token);
  return context;
}

bool CanBeOthers() { return geteuid() == 0; }

net::UniqueFd ConnectTo(const Endpoint& to, std::optional<uid_t> as) {
  // A socket belongs to the file-system uid of the thread that makes it.
  const int before = as ? setfsuid(*as) : 0;
  net::UniqueFd fd(socket(to.ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (as) setfsuid(static_cast<uid_t>(before));
  sockaddr_storage address{};
  const socklen_t size = to.ToSockaddr(address);
  if (!fd || connect(fd.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&address), size) != 0) return {};
  return fd;
}

bool WaitClosed(const net::UniqueFd& fd, Duration patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  char buffer[4096];
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd readable{fd.FdDoNotKeep(), POLLIN, 0};
    if (left.count() <= 0 || poll(&readable, 1, static_cast<int>(left.count())) <= 0) return false;
    if (read(fd.FdDoNotKeep(), buffer, sizeof buffer) <= 0) return true;
  }
}

bool Eventually(const std::function<bool()>& fits, Duration patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!fits()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

std::string BareCall(const std::string& path) {
  const auto frame = [](uint8_t type, uint8_t flags, uint8_t stream, const std::string& payload) {
    std::string out;
    const size_t n = payload.size();
    out += {static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)};
    out += {static_cast<char>(type), static_cast<char>(flags), 0, 0, 0, static_cast<char>(stream)};
    return out + payload;
  };
  // HPACK (RFC 7541): indexed :method POST and :scheme http, the rest literal without indexing and
  // without Huffman.
  const auto text = [](const std::string& s) {
    return std::string(1, static_cast<char>(s.size())) + s;
  };
  std::string headers;
  headers += "\x83\x86";
  headers += "\x04" + text(path);
  headers += "\x01" + text("localhost");
  headers += "\x0f\x10" + text("application/grpc");
  headers += std::string(1, '\0') + text("te") + text("trailers");
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "") + frame(1, 4, 1, headers) +
         frame(0, 1, 1, std::string(5, '\0'));
}

size_t OpenDescriptors() {
  size_t n = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) ++n;
  closedir(dir);
  return n;
}

}  // namespace helo::testing
