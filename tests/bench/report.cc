#include "tests/bench/report.h"

#include <absl/strings/str_format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

namespace helo::load {
namespace {

const char* Name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOpen:
      return "open";
    case Outcome::kDone:
      return "done";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kReset:
      return "reset";
    case Outcome::kTimeout:
      return "timed out";
    case Outcome::kNoSocket:
      return "no connection";
    case Outcome::kBroken:
      return "broken";
  }
  return "";
}

nlohmann::json ToJson(const Percentiles& p) {
  return {{"samples", p.samples}, {"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"max", p.max}};
}

nlohmann::json ToJson(const Usage& u) {
  return {{"cpu_s", u.cpu_s},
          {"user_s", u.user_s},
          {"system_s", u.system_s},
          {"rss_kb", u.rss_kb},
          {"fds", u.fds}};
}

struct NodeCost {
  double cpu_s = 0, cpu_share = 0, cpu_us_each = 0, kb_each = 0, fds_each = 0;
  double cpu_us_message = 0;
};

NodeCost CostOf(const Report& r) {
  NodeCost cost;
  cost.cpu_s = r.after->cpu_s - r.before->cpu_s;
  if (r.tally.seconds > 0)
    cost.cpu_share = (r.after->cpu_s - (r.there ? r.there : r.before)->cpu_s) / r.tally.seconds;
  const double up = r.there ? r.there->cpu_s - r.before->cpu_s : cost.cpu_s;
  if (r.tally.begun > 0)
    cost.cpu_us_each = up * 1e6 / static_cast<double>(r.there ? r.staying : r.tally.begun);
  if (r.there && r.tally.messages > 0) {
    cost.cpu_us_message =
        (r.after->cpu_s - r.there->cpu_s) * 1e6 / static_cast<double>(r.tally.messages);
  }
  if (r.there && r.staying > 0) {
    const auto n = static_cast<double>(r.staying);
    cost.kb_each =
        (static_cast<double>(r.there->rss_kb) - static_cast<double>(r.before->rss_kb)) / n;
    cost.fds_each = (r.there->fds - r.before->fds) / n;
  }
  return cost;
}

double PerSecond(const Report& report) {
  return report.tally.seconds > 0
             ? static_cast<double>(report.tally.messages) / report.tally.seconds
             : 0.0;
}
double MegabytesPerSecond(const Report& report) {
  return PerSecond(report) * static_cast<double>(report.payload) / 1e6;
}

}  // namespace

Percentiles PercentilesOf(std::vector<double> values) {
  Percentiles p;
  p.samples = values.size();
  if (values.empty()) return p;
  std::sort(values.begin(), values.end());
  // The least value that so many are not above.
  const auto at = [&](double share) {
    const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
    return values[std::max<size_t>(rank, 1) - 1];
  };
  p.p50 = at(0.5);
  p.p90 = at(0.9);
  p.p99 = at(0.99);
  p.max = values.back();
  return p;
}

std::string ToText(const Report& report) {
  const Tally& t = report.tally;
  std::string out = absl::StrFormat(
      "%s: %d begun, %d reached in %.2f s, %.0f/s\n", report.mode, t.begun, t.reached, t.seconds,
      t.seconds > 0 ? static_cast<double>(t.reached) / t.seconds : 0.0);
  const auto line = [&](const char* name, const std::vector<double>& values) {
    if (values.empty()) return;
    const Percentiles p = PercentilesOf(values);
    absl::StrAppendFormat(&out, "  %-12s p50 %.3f  p90 %.3f  p99 %.3f  max %.3f ms (%d)\n", name,
                          p.p50, p.p90, p.p99, p.max, p.samples);
  };
  line("latency", t.goal_ms);
  line("round trip", t.round_trip_ms);
  for (const auto& [outcome, n] : t.outcomes)
    absl::StrAppendFormat(&out, "  %-12s %d\n", Name(outcome), n);
  for (const auto& [what, n] : t.troubles) absl::StrAppendFormat(&out, "    %d x %s\n", n, what);
  if (report.staying > 0) {
    absl::StrAppendFormat(&out, "  %-12s %d, lost %d; pings answered %d, pongs seen %d\n", "held",
                          report.staying, t.lost, t.pings_answered, t.pongs_seen);
  }
  if (t.messages > 0) {
    absl::StrAppendFormat(&out, "  %-12s %d of %d bytes, %.0f/s, %.1f MB/s\n", "messages",
                          t.messages, report.payload, PerSecond(report),
                          MegabytesPerSecond(report));
  }
  if (!report.before || !report.after) return out;
  const NodeCost cost = CostOf(report);
  absl::StrAppendFormat(
      &out,
      "  %-12s CPU %.3f s (%.1f %% while it lasted), %.1f us each; RSS %d -> %d kB, fds %d -> %d\n",
      "node", cost.cpu_s, cost.cpu_share * 100, cost.cpu_us_each, report.before->rss_kb,
      report.after->rss_kb, report.before->fds, report.after->fds);
  if (t.messages > 0)
    absl::StrAppendFormat(&out, "  %-12s %.3f us of CPU\n", "a message", cost.cpu_us_message);
  if (report.there) {
    absl::StrAppendFormat(&out, "  %-12s %.2f kB and %.3f fds\n", "a peer", cost.kb_each,
                          cost.fds_each);
  }
  return out;
}

std::string ToJson(const Report& report) {
  const Tally& t = report.tally;
  nlohmann::json json = {{"mode", report.mode},
                         {"begun", t.begun},
                         {"reached", t.reached},
                         {"seconds", t.seconds},
                         {"lost", t.lost},
                         {"held", report.staying},
                         {"pings_answered", t.pings_answered},
                         {"pongs_seen", t.pongs_seen},
                         {"rate", t.seconds > 0 ? static_cast<double>(t.reached) / t.seconds : 0.0},
                         {"latency_ms", ToJson(PercentilesOf(t.goal_ms))},
                         {"round_trip_ms", ToJson(PercentilesOf(t.round_trip_ms))}};
  if (t.messages > 0) {
    json["messages"] = t.messages;
    json["messages_per_s"] = PerSecond(report);
    json["mb_per_s"] = MegabytesPerSecond(report);
  }
  json["outcomes"] = nlohmann::json::object();
  json["troubles"] = nlohmann::json::object();
  for (const auto& [outcome, n] : t.outcomes) json["outcomes"][Name(outcome)] = n;
  for (const auto& [what, n] : t.troubles) json["troubles"][what] = n;
  if (report.before && report.after) {
    const NodeCost cost = CostOf(report);
    json["node"] = {{"before", ToJson(*report.before)},
                    {"after", ToJson(*report.after)},
                    {"cpu_s", cost.cpu_s},
                    {"cpu_share", cost.cpu_share},
                    {"cpu_us_each", cost.cpu_us_each}};
    if (t.messages > 0) json["node"]["cpu_us_message"] = cost.cpu_us_message;
    if (report.there) {
      json["node"]["there"] = ToJson(*report.there);
      json["node"]["kb_each"] = cost.kb_each;
      json["node"]["fds_each"] = cost.fds_each;
    }
  }
  return json.dump();
}

}  // namespace helo::load
