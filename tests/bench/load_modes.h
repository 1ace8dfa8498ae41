// The modes of helo-load: what each asks of its clients. Thread: main's.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <vector>

#include "tests/bench/report.h"

namespace helo::load {

struct Settings {
  std::string mode;
  std::string target;
  std::string close_path = "peer";
  std::string network = "helo-dev";
  std::string source_base;  // empty: the kernel's choice
  uint64_t sources = 16, source_step = 256;
  uint64_t count = 0, identities = 256, seed = 1;
  size_t in_flight = 32;
  double seconds = 0, rate = 0, churn = 0, patience = 20;
  size_t payload = 100, window = size_t{512} << 10;
  std::string direction = "echo";
  double pause_us = 500;
  bool tcp = false;   // bare TCP instead of TLS
  bool bare = false;  // the other side is helo-bare: payload instead of HELLO
  pid_t pid = 0;      // of the node, to be measured
  bool json = false;
  int realtime = 0;  // SCHED_FIFO priority, where it may be had
};

struct Mode {
  const char* name;
  const char* help;
};
const std::vector<Mode>& Modes();
const std::vector<std::string>& ClosePaths();
const std::vector<std::string>& Directions();

absl::StatusOr<Report> RunMode(const Settings& settings);

}  // namespace helo::load
