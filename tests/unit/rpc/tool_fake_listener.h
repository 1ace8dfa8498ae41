// Things that may listen where a node was expected: each accepts on 127.0.0.1, does one thing, and
// counts who came.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "p2p/base/endpoint.h"

namespace helo {

class FakeListener {
 public:
  // `serve` gets each accepted descriptor; it is closed afterwards. It must return when the caller
  // hangs up.
  explicit FakeListener(std::function<void(int fd)> serve);
  ~FakeListener();
  FakeListener(const FakeListener&) = delete;
  FakeListener& operator=(const FakeListener&) = delete;
  Endpoint address() const { return address_; }

 private:
  void Loop();
  std::function<void(int)> serve_;
  int listener_ = -1;
  int stop_[2] = {-1, -1};
  Endpoint address_;
  std::thread thread_;
};

// Reads until the caller hangs up, saying nothing.
void StaySilent(int fd);
// Answers the first bytes with `reply` and hangs up.
std::function<void(int)> Replies(std::string reply);

// A port of 127.0.0.1 on which nothing listens, held so that nobody takes it meanwhile.
class ClosedPort {
 public:
  ClosedPort();
  ~ClosedPort();
  ClosedPort(const ClosedPort&) = delete;
  ClosedPort& operator=(const ClosedPort&) = delete;
  Endpoint address() const { return address_; }

 private:
  Endpoint address_;  // before fd_, whose making fills it
  int fd_;
};

}  // namespace helo
