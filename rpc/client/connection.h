// One TCP connection to an admin address, made here and not by gRPC: so that errno is known, a
// refused one costs no gRPC start, and the token decision concerns the very connection that carries
// the calls. And what else may be listening there, when it does not behave like a node.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <utility>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"

namespace helo::client {

// Owns a descriptor that is not a node's: no ticket needed.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

enum class ConnectResult : uint8_t { kConnected, kRefused, kTimedOut, kFailed };
struct Connection {
  ConnectResult result = ConnectResult::kFailed;
  int error = 0;  // errno
  Fd fd;          // non-blocking, close-on-exec, TCP_NODELAY
};
Connection ConnectTcp(const Endpoint& to, Duration timeout);

enum class Answer : uint8_t {
  kNothingListens,
  kUnreachable,   // the connection attempt itself was not answered
  kSilent,        // accepts, then says nothing
  kClosesAtOnce,  // accepts, then closes without a byte
  kHttp2,         // speaks HTTP/2, as gRPC does
  kHttp1,         // a web server
  kTls,           // wants TLS: a web server, or the peer port of a node
  kSsh,
  kOther,
};
// Connects anew, says the first bytes of HTTP/2 and looks at the answer. Takes at most `timeout`.
Answer WhatAnswers(const Endpoint& at, Duration timeout);
// "a web server (HTTP/1)", "a service that wants TLS", ...
std::string Describe(Answer answer);

}  // namespace helo::client
