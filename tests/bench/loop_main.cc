// helo-loop: the node's own server with no plugin host. Messages are answered on the network loop
// itself, by the handler of the unit tests: what a plugin's thread costs is held against it.
#include <absl/synchronization/mutex.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "p2p/base/text.h"
#include "p2p/server/server.h"
#include "tests/unit/server/echo_handler.h"

namespace helo {
namespace {

int Fail(const std::string& text) {
  std::fprintf(stderr, "helo-loop: %s\n", text.c_str());
  return 1;
}

int Main() {
  std::signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  constexpr int kPeers = 512;
  peers::FdPlan plan;
  for (int& pool : plan.pools) pool = kPeers;
  peers::FdBudget fds(plan);
  EchoHandler echo;
  ServerOptions options;
  options.listen.push_back(*ListenAddress::Parse("127.0.0.1:0"));
  options.max_inbound = kPeers;
  options.sources.exempt = peers::DefaultExemptSources();
  options.profile.user_agent = "helo-loop/1";
  ServerDeps deps;
  deps.clock = &RealClock();
  deps.rng = &SystemRng();
  deps.log = &NullLog();
  deps.fds = &fds;
  deps.handlers = {&echo};
  auto server =
      Server::Create(std::move(options), tls::NodeKey::Generate(SystemRng()), std::move(deps));
  if (!server.ok()) return Fail(std::string(FromAbsl(server.status().message())));
  (*server)->Start();
  std::printf("%s\n", (*server)->listening().at(0).ToString().c_str());
  std::fflush(stdout);
  for (;;) pause();
}

}  // namespace
}  // namespace helo

int main() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return helo::Main();
}
