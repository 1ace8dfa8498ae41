// helo, the command-line tool.
#include <absl/synchronization/mutex.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "rpc/client/admin_client.h"
#include "rpc/tool/cli.h"

namespace {

helo::tool::Style StyleOfStdout() {
  helo::tool::Style style;
  if (isatty(STDOUT_FILENO) == 0) return style;
  const char* no_color = std::getenv("NO_COLOR");  // no-color.org: set and not empty
  const char* term = std::getenv("TERM");
  style.colour =
      (no_color == nullptr || *no_color == '\0') && term != nullptr && std::string(term) != "dumb";
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) style.width = size.ws_col;
  return style;
}

int64_t NowUnixMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

int main(int argc, char** argv) {
  // gRPC's mutexes need no deadlock detector, which costs time and has aborted processes (README,
  // "Locks").
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  helo::client::SilenceGrpcLog();
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  helo::tool::Environment env;
  env.out = &std::cout;
  env.err = &std::cerr;
  env.getenv = helo::client::ProcessEnvironment();
  env.style = StyleOfStdout();
  env.now_unix_us = NowUnixMicros;
  env.own_directory = error ? "" : self.parent_path().string();
  return helo::tool::Run(std::vector<std::string>(argv + 1, argv + argc), env);
}
