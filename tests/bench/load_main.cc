// helo-load: load for a node, and what it cost. Exit status: 0 it ran, 1 it could not, 2 usage.
#include <absl/synchronization/mutex.h>
#include <sched.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

#include <CLI/CLI.hpp>

#include "tests/bench/load_modes.h"

namespace helo::load {
namespace {

void AddOptions(CLI::App& app, Settings& s) {
  app.add_option("--target", s.target, "ADDRESS:PORT of the node, or of helo-bare")->required();
  app.add_option("--count", s.count, "connections in all, or to be held");
  app.add_option("--seconds", s.seconds,
                 "how long; of those that are held, from when all are there");
  app.add_option("--in-flight", s.in_flight, "at once on their way")->capture_default_str();
  app.add_option("--rate", s.rate,
                 "begin so many a second instead of as many as --in-flight allows");
  app.add_option("--churn", s.churn, "of the held, replace so many a second");
  app.add_option("--close-path", s.close_path, "how a cycle ends")
      ->check(CLI::IsMember(ClosePaths()))
      ->capture_default_str();
  app.add_option("--source-base", s.source_base, "come from this address and those after it");
  app.add_option("--sources", s.sources, "of so many addresses")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--source-step", s.source_step, "that lie so far apart")->capture_default_str();
  app.add_option("--identities", s.identities, "node keys used in turn")->capture_default_str();
  app.add_option("--seed", s.seed, "of the node keys: two runs at once need two")
      ->capture_default_str();
  app.add_option("--network", s.network, "name of the network")->capture_default_str();
  app.add_option("--payload", s.payload, "bytes there and back")->capture_default_str();
  app.add_option("--window", s.window, "bytes of messages a peer that wait for an answer")
      ->capture_default_str();
  app.add_option("--direction", s.direction,
                 "of messages: echo, each is answered; in, none is (helo-bare needs --sink)")
      ->check(CLI::IsMember(Directions()))
      ->capture_default_str();
  app.add_option("--pause-us", s.pause_us, "between two round trips")->capture_default_str();
  app.add_option("--patience", s.patience, "seconds until a connection counts as timed out")
      ->capture_default_str();
  app.add_flag("--bare", s.bare, "the other side is helo-bare: --payload bytes over TLS, no HELLO");
  app.add_flag("--tcp", s.tcp, "the same over bare TCP");
  app.add_option("--pid", s.pid, "of the node: its CPU, memory and descriptors are told");
  app.add_option("--realtime", s.realtime,
                 "run at this SCHED_FIFO priority, so that the tool itself is not what waits");
  app.add_flag("--json", s.json, "one JSON object");
}

void OnSignal(int /*number*/) { Crowd::StopFromSignal(); }

int Main(int argc, char** argv) {
  CLI::App app("Load for a helo node: its rate, its latencies, and what it costs the node.",
               "helo-load");
  app.require_subcommand(1);
  app.footer(
      "examples:\n"
      "  helo-load full --target 127.0.0.1:4356 --count 5000 --pid $(pidof helod)\n"
      "  helo-load replay --target 127.0.0.1:4356 --seconds 10 --source-base 127.9.0.1\n"
      "  helo-load hold --target 127.0.0.1:4356 --count 10000 --seconds 60 --source-base "
      "127.16.0.1 "
      "--sources 10000 --source-step 1");
  Settings settings;
  for (const Mode& mode : Modes()) AddOptions(*app.add_subcommand(mode.name, mode.help), settings);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  settings.mode = app.get_subcommands().front()->get_name();
  struct sigaction action {};
  action.sa_handler = OnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  if (settings.realtime > 0) {
    sched_param priority{};
    priority.sched_priority = settings.realtime;
    if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0) {
      std::fprintf(stderr, "helo-load: no real-time priority here (%s); going on without\n",
                   std::strerror(errno));
    }
  }
  const absl::StatusOr<Report> report = RunMode(settings);
  if (!report.ok()) {
    std::fprintf(stderr, "helo-load: %s\n", std::string(report.status().message()).c_str());
    return absl::IsInvalidArgument(report.status()) ? 2 : 1;
  }
  std::printf("%s\n", (settings.json ? ToJson(*report) : ToText(*report)).c_str());
  return 0;
}

}  // namespace
}  // namespace helo::load

int main(int argc, char** argv) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return helo::load::Main(argc, argv);
}
