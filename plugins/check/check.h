// Every rule of helo/plugin.h against a built plugin, each in a child process with a time limit, so
// that a plugin which crashes, hangs or ends the process breaks one rule and not the check. Drives
// it with the fake host that authors test with. Thread: any, one check at a time; forks.
#pragma once

#include <absl/status/statusor.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "p2p/base/clock.h"

namespace helo::plugins {

struct CheckOptions {
  std::string config;                         // what create is given
  uint64_t seed = 1;                          // of the random bytes
  Duration limit = std::chrono::seconds(10);  // for each rule
};

enum class RuleState : uint8_t { kOk, kWarning, kBroken, kSkipped };

struct RuleResult {
  RuleState state = RuleState::kOk;
  std::string rule;                // "stop", for scripts
  std::string says;                // the rule in half a sentence
  std::string header;              // "helo/plugin.h", which states it
  int line = 0;                    // where
  std::vector<std::string> found;  // sentences, may be empty; control characters are escaped
};

struct CheckReport {
  std::string file, id, version;  // id and version are empty if it has no good descriptor
  std::vector<RuleResult> rules;  // always all of them, in the same order
  size_t Count(RuleState state) const;
};

// NotFound or an errno if the file cannot be read; whatever is wrong with its contents is in the
// report.
absl::StatusOr<CheckReport> CheckPlugin(const std::string& file, const CheckOptions& options);

}  // namespace helo::plugins
