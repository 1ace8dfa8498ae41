// Signals and the deadline, each in a process of its own: the supervisor ends the one it is in.
#include "node/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <utility>

namespace helo::node {
namespace {

using namespace std::chrono_literals;

// A child that runs `body`; it talks over a pipe.
class Child {
 public:
  explicit Child(
      const std::function<int(const std::function<void(const std::string&)>& say)>& body) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      const int out = ends[1];
      _exit(body([out](const std::string& word) {
        if (write(out, word.data(), word.size()) < 0) _exit(99);
      }));
    }
    close(ends[1]);
    from_ = ends[0];
  }
  ~Child() {
    close(from_);
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void Signal(int number) const { EXPECT_EQ(kill(pid_, number), 0); }
  // Until the child has said `word`.
  bool Hears(const std::string& word) {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (said_.find(word) == std::string::npos) {
      pollfd wait{.fd = from_, .events = POLLIN, .revents = 0};
      if (std::chrono::steady_clock::now() > deadline || poll(&wait, 1, 20'000) != 1) return false;
      char text[256];
      const ssize_t got = read(from_, text, sizeof(text));
      if (got <= 0) return false;
      said_.append(text, static_cast<size_t>(got));
    }
    return true;
  }
  // "exit 0", "signal 9".
  std::string End() {
    int status = 0;
    if (waitpid(std::exchange(pid_, -1), &status, 0) < 0) return "lost";
    return WIFEXITED(status) ? "exit " + std::to_string(WEXITSTATUS(status))
                             : "signal " + std::to_string(WTERMSIG(status));
  }

 private:
  pid_t pid_;
  int from_;
  std::string said_;
};

TEST(Supervisor, ASignalBecomesARequestToStop) {
  for (const auto& [number, name] : {std::pair(SIGTERM, "SIGTERM"), std::pair(SIGINT, "SIGINT")}) {
    Child child([](const auto& say) {
      Supervisor::BlockSignals();
      Supervisor supervisor(20s, [] {});
      say("ready");
      say(supervisor.WaitForStop());
      return 0;
    });
    ASSERT_TRUE(child.Hears("ready"));
    child.Signal(number);
    EXPECT_TRUE(child.Hears(name));
    EXPECT_EQ(child.End(), "exit 0");
  }
}

TEST(Supervisor, ABackgroundJobWhoseShellIgnoredSigintCanBeInterruptedAllTheSame) {
  Child child([](const auto& say) {
    signal(SIGINT, SIG_IGN);
    Supervisor::BlockSignals();
    Supervisor supervisor(20s, [] {});
    say("ready");
    supervisor.WaitForStop();
    return 0;
  });
  ASSERT_TRUE(child.Hears("ready"));
  child.Signal(SIGINT);
  EXPECT_EQ(child.End(), "exit 0");
}

TEST(Supervisor, WhateverHangsTheProcessEndsAtTheDeadlineWithStatusZero) {
  Child child([](const auto& say) {
    Supervisor::BlockSignals();
    Supervisor supervisor(100ms, [] {});
    say("ready");
    supervisor.WaitForStop();
    for (;;) pause();  // something that cannot be stopped
    return 1;
  });
  ASSERT_TRUE(child.Hears("ready"));
  child.Signal(SIGTERM);
  EXPECT_EQ(child.End(), "exit 0");
}

TEST(Supervisor, TheDeadlineHoldsForARequestFromInsideToo) {
  Child child([](const auto&) {
    Supervisor::BlockSignals();
    Supervisor supervisor(100ms, [] {});
    supervisor.RequestStop("the admin API");
    supervisor.RequestStop("asked again");  // changes neither reason nor deadline
    if (supervisor.WaitForStop() != "the admin API") return 3;
    for (;;) pause();
    return 1;
  });
  EXPECT_EQ(child.End(), "exit 0");
}

TEST(Supervisor, ASecondSignalEndsTheProcessAtOnce) {
  Child child([](const auto& say) {
    Supervisor::BlockSignals();
    Supervisor supervisor(1h, [] {});
    say("ready");
    supervisor.WaitForStop();
    say("stopping");
    for (;;) pause();
    return 1;
  });
  ASSERT_TRUE(child.Hears("ready"));
  child.Signal(SIGTERM);
  ASSERT_TRUE(child.Hears("stopping"));
  child.Signal(SIGINT);
  EXPECT_EQ(child.End(), "exit " + std::to_string(128 + SIGINT));
}

TEST(Supervisor, SighupIsPassedOnAndStopsNothing) {
  Child child([](const auto& say) {
    Supervisor::BlockSignals();
    Supervisor supervisor(20s, [&say] { say("hangup"); });
    say("ready");
    say(supervisor.WaitForStop());
    return 0;
  });
  ASSERT_TRUE(child.Hears("ready"));
  child.Signal(SIGHUP);
  ASSERT_TRUE(child.Hears("hangup"));
  child.Signal(SIGTERM);
  EXPECT_TRUE(child.Hears("SIGTERM"));
  EXPECT_EQ(child.End(), "exit 0");
}

TEST(Supervisor, ABrokenPipeKillsNobody) {
  Child child([](const auto&) {
    Supervisor::BlockSignals();
    int ends[2];
    if (pipe(ends) != 0) return 3;
    close(ends[0]);
    return write(ends[1], "x", 1) < 0 && errno == EPIPE ? 0 : 4;
  });
  EXPECT_EQ(child.End(), "exit 0");
}

}  // namespace
}  // namespace helo::node
