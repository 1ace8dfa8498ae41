// What a run of helo-load gave, for people and as JSON. Thread: any.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/bench/crowd.h"
#include "tests/bench/node_usage.h"

namespace helo::load {

struct Percentiles {
  size_t samples = 0;
  double p50 = 0, p90 = 0, p99 = 0, max = 0;
};
Percentiles PercentilesOf(std::vector<double> values);

struct Report {
  std::string mode;
  Tally tally;
  size_t payload = 0;  // of a message
  size_t staying = 0;  // connections that were held
  std::optional<Usage> before, there,
      after;  // the node: at the start, when all were there, at the end
};

std::string ToText(const Report& report);
std::string ToJson(const Report& report);

}  // namespace helo::load
