#include "plugins/check/child.h"

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <new>
#include <thread>

namespace helo::plugins {
namespace {

constexpr size_t kTextBytes = size_t{64} << 10;
constexpr int kReturned = 83;  // a code that an exit() of the plugin's hardly has

void BecomeChild(const std::string& errors) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0);
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  // Not a test framework's or sanitizer's handlers: the parent wants to see the signal.
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) signal(number, SIG_DFL);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  const int file = open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  dup2(null, STDIN_FILENO);
  dup2(null, STDOUT_FILENO);
  dup2(file < 0 ? null : file, STDERR_FILENO);
  close(null);
  close(file);
}

std::string LastLine(const std::string& path) {
  std::ifstream file(path);
  std::string line, last;
  while (std::getline(file, line)) {
    if (!line.empty()) last = line.substr(0, 300);
  }
  return last;
}

}  // namespace

struct Report::Shared {
  std::atomic<bool> busy;
  char during[128];
  std::atomic<size_t> used;
  char text[kTextBytes];  // kind, text, NUL; and again
};

Report::Report() {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  shared_ = new (memory) Shared{};
}
Report::~Report() { munmap(shared_, sizeof(Shared)); }

void Report::During(std::string_view what) {
  const size_t size = std::min(what.size(), sizeof(shared_->during) - 1);
  std::memcpy(shared_->during, what.data(), size);
  shared_->during[size] = '\0';
}

void Report::Add(char kind, std::string_view text) {
  text = text.substr(0, 1000);
  while (shared_->busy.exchange(true)) std::this_thread::yield();
  const size_t used = shared_->used;
  if (used + text.size() + 2 < kTextBytes) {
    shared_->text[used] = kind;
    std::memcpy(shared_->text + used + 1, text.data(), text.size());
    shared_->used = used + text.size() + 2;
  }
  shared_->busy = false;
}

Report::Read Report::TakeAll() const {
  Read read;
  read.during = std::string(shared_->during, strnlen(shared_->during, sizeof(shared_->during)));
  for (size_t at = 0; at < shared_->used;) {
    const char kind = shared_->text[at];
    const std::string text(shared_->text + at + 1);
    at += text.size() + 2;
    auto& list = kind == 'B' ? read.broken : (kind == 'W' ? read.warnings : read.notes);
    if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
  }
  return read;
}

ChildEnd RunInChild(const std::string& scratch, Duration limit, const std::function<void()>& body) {
  const std::string errors = absl::StrCat(scratch, "/stderr");
  const pid_t child = fork();
  if (child < 0) return {ChildEnd::How::kNoChild, errno, ""};
  if (child == 0) {
    BecomeChild(errors);
    body();
    _exit(kReturned);
  }
  setpgid(child, child);  // both do, so that it is so for both
  const auto deadline = std::chrono::steady_clock::now() + limit;
  ChildEnd end;
  int status = 0;
  for (auto pause = std::chrono::microseconds(200);;) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) return {ChildEnd::How::kNoChild, errno, ""};
    if (std::chrono::steady_clock::now() >= deadline) {
      kill(-child, SIGKILL);
      while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
      end.how = ChildEnd::How::kTimeout;
      return end;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(5000));
  }
  kill(-child, SIGKILL);  // what it may have started; its own id is not given out again meanwhile
  if (WIFSIGNALED(status)) {
    end = {ChildEnd::How::kSignal, WTERMSIG(status), LastLine(errors)};
  } else if (WEXITSTATUS(status) != kReturned) {
    end = {ChildEnd::How::kExit, WEXITSTATUS(status), LastLine(errors)};
  }
  return end;
}

}  // namespace helo::plugins
