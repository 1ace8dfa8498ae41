// helod: reads its options, runs a node until it is asked to stop. Exit status: 0 stopped as asked,
// 1 could not start, 2 an option is unknown or malformed.
#include <absl/synchronization/mutex.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "node/log_sink.h"
#include "node/node.h"
#include "node/node_files.h"
#include "node/option_text.h"
#include "node/options.h"
#include "node/supervisor.h"

namespace helo::node {
namespace {

// The whole stop has 5 s; what is left after this is for the kernel and a busy machine.
constexpr Duration kStopDeadline = std::chrono::milliseconds(4500);

// Closed standard descriptors would be given to whatever is opened next, and a stray print would go
// there. Libraries open theirs while they are loaded (gRPC an eventfd), so this comes before all of
// them, and before a sanitizer is ready for instrumented code.
__attribute__((no_sanitize_thread, no_sanitize_address)) void FillStandardDescriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (syscall(SYS_fcntl, fd, F_GETFD) < 0 &&
        syscall(SYS_openat, AT_FDCWD, "/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) !=
            fd) {
      _exit(1);
    }
  }
}
__attribute__((section(".preinit_array"),
               used)) void (*const kBeforeLibraries)() = &FillStandardDescriptors;

int Print(const std::string& text) {
  const bool printed =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return printed ? 0 : 1;
}

int Refuse(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) std::fprintf(stderr, "helod: %s\n", error.c_str());
  return 2;
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "helod: %s\n", std::string(status.message()).c_str());
  return 1;
}

void ReopenLog(NodeLog& log) {
  const absl::Status status = log.Reopen();
  if (status.ok()) {
    log.Info("node", "the log file was opened anew");
  } else {
    log.Error("node", "the log file could not be opened anew; the old one stays in use",
              {{"why", std::string(status.message())}});
  }
}

int Run(const Options& options) {
  Supervisor::BlockSignals();
  const Config& config = options.config;
  auto opened = NodeLog::Open(config.log_format, config.log_level, config.log_file, RealClock());
  if (!opened.ok()) return Fail(opened.status());
  NodeLog& log = **opened;
  Supervisor supervisor(kStopDeadline, [&log, &config] {
    if (!config.log_file.empty()) ReopenLog(log);
  });
  auto node = Node::Start(options, log, [&supervisor] { supervisor.RequestStop("the admin API"); });
  if (!node.ok()) {
    const bool seen_in_log = config.log_format == LogFormat::kJson && config.log_file.empty();
    if (seen_in_log || !config.log_file.empty()) {
      log.Error("node", "cannot start", {{"why", std::string(node.status().message())}});
    }
    log.Drain();
    return seen_in_log ? 1 : Fail(node.status());
  }
  const std::string why = supervisor.WaitForStop();
  log.Info("node", "stopping", {{"asked_by", why}});
  (*node)->Stop();
  log.Info("node", "stopped");
  // Here, so that the supervisor's deadline covers a stderr that nobody reads.
  node->reset();
  log.Drain();
  return 0;
}

int Main(int argc, char** argv) {
  // gRPC's mutexes are absl's; Debian builds them with a deadlock detector that costs 50 ns a lock
  // and aborts on false alarms.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  const Options options = ParseOptions({argv + 1, argv + argc}, ReadEnvironment());
  switch (options.action) {
    case Action::kHelp:
      return Print(HelpText());
    case Action::kVersion:
      return Print("helod " + std::string(Version()) + ", protocol helo/1\n");
    case Action::kExampleConfig:
      return options.errors.empty() ? Print(ExampleConfig()) : Refuse(options.errors);
    case Action::kCheckConfig:
    case Action::kPrintConfig:
    case Action::kRun:
      break;
  }
  if (!options.errors.empty()) return Refuse(options.errors);
  if (options.action == Action::kCheckConfig) return Print("the configuration is valid\n");
  if (options.action == Action::kPrintConfig)
    return Print(options.json ? PrintConfigJson(options) : PrintConfig(options));
  return Run(options);
}

}  // namespace
}  // namespace helo::node

int main(int argc, char** argv) { return helo::node::Main(argc, argv); }
