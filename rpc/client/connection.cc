#include "rpc/client/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

namespace helo::client {
namespace {

// The client's half of an HTTP/2 connection's beginning: preface and an empty SETTINGS frame (RFC
// 9113, 3.4).
constexpr std::string_view kHttp2Preface(
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 33);
constexpr size_t kHttp2FrameHeader = 9;

// True when `events` came before `deadline`.
bool PollUntil(int fd, short events, MonoTime deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - RealClock().Now());
    pollfd entry{fd, events, 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

Answer Classify(std::string_view got) {
  // Some web servers answer a version that they do not know with the bare page, as HTTP/0.9 did.
  if (got.substr(0, 5) == "HTTP/" || got.substr(0, 2) == "<!" || got.substr(0, 5) == "<html") {
    return Answer::kHttp1;
  }
  if (got.substr(0, 4) == "SSH-") return Answer::kSsh;
  if (got.size() >= 2 && (got[0] == 0x15 || got[0] == 0x16) && got[1] == 0x03) return Answer::kTls;
  // A server's first HTTP/2 frame is SETTINGS (type 4) on stream 0, not an acknowledgement.
  if (got.size() >= kHttp2FrameHeader && got[3] == 4 &&
      got.substr(5, 4) == std::string_view("\0\0\0\0", 4)) {
    return Answer::kHttp2;
  }
  return Answer::kOther;
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Connection ConnectTcp(const Endpoint& to, Duration timeout) {
  const MonoTime deadline = RealClock().Now() + timeout;
  Connection connection;
  sockaddr_storage address{};
  const socklen_t length = to.ToSockaddr(address);
  connection.fd = Fd(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (connection.fd.get() < 0) {
    connection.error = errno;
    return connection;
  }
  const int on = 1;
  setsockopt(connection.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  int error = 0;
  if (connect(connection.fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    error = errno;
    // An interrupted connect goes on in the background, like one that would block (man 2 connect).
    if (error == EINPROGRESS || error == EINTR) {
      if (!PollUntil(connection.fd.get(), POLLOUT, deadline)) {
        connection.result = ConnectResult::kTimedOut;
        connection.error = ETIMEDOUT;
        return connection;
      }
      socklen_t size = sizeof error;
      if (getsockopt(connection.fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    }
  }
  connection.error = error;
  connection.result = error == 0              ? ConnectResult::kConnected
                      : error == ECONNREFUSED ? ConnectResult::kRefused
                      : error == ETIMEDOUT    ? ConnectResult::kTimedOut
                                              : ConnectResult::kFailed;
  return connection;
}

Answer WhatAnswers(const Endpoint& at, Duration timeout) {
  const MonoTime deadline = RealClock().Now() + timeout;
  const Connection connection = ConnectTcp(at, timeout);
  if (connection.result == ConnectResult::kRefused) return Answer::kNothingListens;
  if (connection.result != ConnectResult::kConnected) return Answer::kUnreachable;
  const int fd = connection.fd.get();
  // A fresh connection's send buffer always has room for the preface.
  if (send(fd, kHttp2Preface.data(), kHttp2Preface.size(), MSG_NOSIGNAL) < 0) {
    return Answer::kClosesAtOnce;
  }
  std::array<char, 64> buffer;
  size_t got = 0;
  while (got < kHttp2FrameHeader) {
    if (!PollUntil(fd, POLLIN, deadline)) break;
    const ssize_t n = recv(fd, buffer.data() + got, buffer.size() - got, 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return got == 0 ? Answer::kClosesAtOnce : Classify({buffer.data(), got});
    got += static_cast<size_t>(n);
  }
  return got == 0 ? Answer::kSilent : Classify({buffer.data(), got});
}

std::string Describe(Answer answer) {
  switch (answer) {
    case Answer::kNothingListens:
      return "nothing listens there";
    case Answer::kUnreachable:
      return "the connection attempt is not answered";
    case Answer::kSilent:
      return "what listens there accepts connections and says nothing";
    case Answer::kClosesAtOnce:
      return "what listens there closes the connection without a word";
    case Answer::kHttp2:
      return "a gRPC or HTTP/2 server answers there";
    case Answer::kHttp1:
      return "a web server (HTTP/1) answers there";
    case Answer::kTls:
      return "a service that speaks TLS answers there: a web server, or the peer port of a node";
    case Answer::kSsh:
      return "an SSH server answers there";
    case Answer::kOther:
      return "a service that speaks another protocol answers there";
  }
  return "";
}

}  // namespace helo::client
