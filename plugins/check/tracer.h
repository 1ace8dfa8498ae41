// The plugin under test, seen at its border: a descriptor whose calls go to the plugin's and write
// down which one runs, how long it took, and whether an exception left it. Private to
// plugins/check; one plugin a process, in the child.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "helo/extensions.h"
#include "helo/plugin.h"
#include "p2p/base/clock.h"
#include "plugins/check/child.h"
#include "plugins/host/descriptor_check.h"

namespace helo::plugins {

// What one rule is tried on.
struct Subject {
  Report& report;
  const std::string& name;  // without .so
  const std::string& copy;  // what is mapped
  const std::string& config;
  uint64_t seed = 1;
  void* handle = nullptr;
  const helo_descriptor* (*query)(uint32_t) = nullptr;
  const helo_descriptor* descriptor = nullptr;  // traced
  Manifest manifest;
};

// Valid as long as the process. The real one passed CheckDescriptor.
const helo_descriptor* Trace(const helo_descriptor& real, Report& report);
// Of the instance that was created last. Those that break a rule are reported and not offered.
const std::vector<CommandInfo>& TracedCommands();
bool TracedTimers();
// The longest time in one call so far, and which it was.
struct Slowest {
  Duration time{};
  std::string call;
};
Slowest TracedSlowest();
Duration TracedStop();  // how long the last stop took

}  // namespace helo::plugins
