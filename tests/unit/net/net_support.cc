#include "tests/unit/net/net_support.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <ctime>

namespace helo::net {

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

std::string RecordingLog::Line::Field(const std::string& name) const {
  for (const auto& field : fields) {
    if (field.first == name) return field.second;
  }
  return "";
}

void RecordingLog::Write(LogLevel level, std::string_view /*room*/, std::string_view message,
                         const LogFields& fields) {
  Line line{level, std::string(message), {}};
  for (const auto& field : fields) line.fields.emplace_back(std::string(field.first), field.second);
  MutexLock lock(mutex_);
  lines_.push_back(std::move(line));
}

std::vector<RecordingLog::Line> RecordingLog::Lines(LogLevel at_least) const {
  std::vector<Line> lines;
  MutexLock lock(mutex_);
  for (const Line& line : lines_) {
    if (line.level >= at_least) lines.push_back(line);
  }
  return lines;
}

LoopThread::LoopThread(const Clock& clock, LogSink& log) {
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create("test", clock, log, files_);
  if (!loop.ok()) std::abort();
  loop_ = std::move(*loop);
  thread_ = std::thread([this] { loop_->Run(); });
}

void LoopThread::On(const std::function<void()>& fn) {
  Flag done;
  ASSERT_TRUE(loop_->Post([&] {
    fn();
    done.Set();
  }));
  ASSERT_TRUE(done.Wait());
}

void LoopThread::PassTurns(int turns) {
  const uint64_t until = this->turns() + static_cast<uint64_t>(turns);
  while (this->turns() < until) On([] {});
}

void LoopThread::Stop() {
  if (!thread_.joinable()) return;
  loop_->Stop();
  thread_.join();
}

Duration LoopThread::CpuTime() {
  clockid_t clock{};
  timespec spent{};
  if (::pthread_getcpuclockid(thread_.native_handle(), &clock) != 0) std::abort();
  if (::clock_gettime(clock, &spent) != 0) std::abort();
  return std::chrono::seconds(spent.tv_sec) + std::chrono::nanoseconds(spent.tv_nsec);
}

Registration Watch(EventLoop& loop, const UniqueFd& fd, Lane lane, Watcher& watcher,
                   const std::string& group) {
  absl::StatusOr<Registration> registration =
      loop.Watch(fd.FdDoNotKeep(), lane, Group(group), &watcher);
  EXPECT_TRUE(registration.ok()) << registration.status().ToString();
  return registration.ok() ? std::move(*registration) : Registration();
}

SocketPair MakeSocketPair() {
  std::array<int, 2> fds{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data()) != 0)
    std::abort();
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void WriteByte(const UniqueFd& fd) {
  const char byte = 'x';
  ASSERT_EQ(::send(fd.FdDoNotKeep(), &byte, 1, MSG_NOSIGNAL), 1);
}

void ReadAll(int fd) {
  std::array<char, 256> buffer{};
  while (::read(fd, buffer.data(), buffer.size()) > 0) {
  }
}

Subnet Group(const std::string& text) { return *Subnet::Parse(text); }

Endpoint Loopback(uint16_t port) { return {IpAddress::V4({127, 0, 0, 1}), port}; }

ListenAddress Listen(const std::string& text) { return *ListenAddress::Parse(text); }

FdTicket Ticket(FdPool& pool) {
  std::optional<FdTicket> ticket = pool.TryTake();
  EXPECT_TRUE(ticket.has_value());
  return ticket ? std::move(*ticket) : FdTicket();
}

UniqueFd ConnectTo(const Endpoint& remote) {
  UniqueFd fd(::socket(remote.ip.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  const socklen_t size = remote.ToSockaddr(address);
  if (!fd || ::connect(fd.FdDoNotKeep(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
    return UniqueFd();
  return fd;
}

void CloseWithReset(UniqueFd fd) {
  const linger now{1, 0};
  ::setsockopt(fd.FdDoNotKeep(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  fd.Close();
}

NoDescriptors::NoDescriptors(int spare) {
  // First, since the numbers in use may have no gap between them for fillers to fill.
  for (int i = 0; i < spare; ++i) fillers_.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) std::abort();
  soft_ = limit.rlim_cur;
  // One above the highest number in use, so that each descriptor closed from here on can be had
  // again.
  int highest = 0;
  for (int fd = 0; fd < 4096; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) highest = fd;
  }
  limit.rlim_cur = static_cast<rlim_t>(highest) + 1;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) std::abort();
  for (int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC); fd >= 0;
       fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) {
    fillers_.emplace_back(fd);
  }
}

void NoDescriptors::FreeOne() {
  if (fillers_.empty()) std::abort();  // ask for more with `spare`
  fillers_.pop_back();
}

void NoDescriptors::Restore() {
  if (soft_ == 0) return;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::exchange(soft_, 0);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) std::abort();
  fillers_.clear();
}

std::string InChild(const std::function<std::string()>& fn) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) std::abort();
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string result = fn();
    [[maybe_unused]] const ssize_t written = ::write(pipe[1], result.data(), result.size());
    ::_exit(0);
  }
  ::close(pipe[1]);
  std::string result;
  std::array<char, 1024> buffer{};
  for (ssize_t size = 0; (size = ::read(pipe[0], buffer.data(), buffer.size())) > 0;) {
    result.append(buffer.data(), static_cast<size_t>(size));
  }
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << result;
  return result;
}

}  // namespace helo::net
