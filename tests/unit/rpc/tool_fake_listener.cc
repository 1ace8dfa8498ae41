#include "tests/unit/rpc/tool_fake_listener.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace helo {
namespace {

int BoundSocket(Endpoint& address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_GE(fd, 0);
  sockaddr_storage storage{};
  const socklen_t length = Endpoint{IpAddress::V4({127, 0, 0, 1}), 0}.ToSockaddr(storage);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&storage), length), 0);
  socklen_t size = sizeof storage;
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size), 0);
  address = Endpoint::FromSockaddr(storage).value();
  return fd;
}

}  // namespace

FakeListener::FakeListener(std::function<void(int)> serve) : serve_(std::move(serve)) {
  listener_ = BoundSocket(address_);
  EXPECT_EQ(listen(listener_, 16), 0);
  EXPECT_EQ(pipe(stop_), 0);
  thread_ = std::thread([this] { Loop(); });
}

FakeListener::~FakeListener() {
  close(stop_[1]);
  thread_.join();
  close(stop_[0]);
  close(listener_);
}

void FakeListener::Loop() {
  for (;;) {
    std::array<pollfd, 2> fds = {{{listener_, POLLIN, 0}, {stop_[0], POLLIN, 0}}};
    if (poll(fds.data(), fds.size(), -1) < 0) continue;
    if (fds[1].revents != 0) return;
    const int fd = accept(listener_, nullptr, nullptr);
    if (fd < 0) continue;
    serve_(fd);
    close(fd);
  }
}

void StaySilent(int fd) {
  std::array<char, 4096> buffer;
  while (read(fd, buffer.data(), buffer.size()) > 0) {
  }
}

std::function<void(int)> Replies(std::string reply) {
  return [reply = std::move(reply)](int fd) {
    std::array<char, 4096> buffer;
    if (read(fd, buffer.data(), buffer.size()) <= 0) return;
    EXPECT_EQ(send(fd, reply.data(), reply.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(reply.size()));
    shutdown(fd, SHUT_WR);
    StaySilent(fd);
  };
}

ClosedPort::ClosedPort() : fd_(BoundSocket(address_)) {}
ClosedPort::~ClosedPort() { close(fd_); }

}  // namespace helo
