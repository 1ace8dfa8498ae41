#include "tests/bench/load_modes.h"

#include <absl/strings/str_cat.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

#include "p2p/base/text.h"
#include "p2p/wire/frame.h"

namespace helo::load {
namespace {

using Next = std::function<Errand(uint64_t)>;

Duration FromSeconds(double s) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
}

// Connections that this process may hold, with the soft limit raised to the hard one.
int RaiseOwnLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 20)) - 32;
}

IpAddress Nth(const IpAddress& base, uint64_t step) {
  const ByteView b = base.bytes();
  const uint32_t value =
      (uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3]) +
      static_cast<uint32_t>(step);
  return IpAddress::V4({static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
                        static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)});
}

// A connection that says `bytes`, or nothing at all, and waits for what comes of it.
Errand Say(Bytes bytes) {
  Errand errand;
  errand.goal = bytes.empty() ? Goal::kConnect : Goal::kSend;
  errand.bytes = std::move(bytes);
  errand.await_answer = false;
  errand.exit = Exit::kWaitForEnd;
  errand.refused_is_well = true;
  return errand;
}

// The ways in which a connection ends, for the hunt after leaks. Each has a few variants, by `n`.
absl::StatusOr<Next> CloseErrands(const std::string& path, const Bytes& flight,
                                  const wire::Profile* stranger) {
  const Bytes half(flight.begin(), flight.begin() + static_cast<ptrdiff_t>(flight.size() / 2));
  if (path == "peer") {
    return Next([](uint64_t n) {
      Errand errand;
      errand.exit = n % 2 == 0 ? Exit::kGoodbye : Exit::kFin;
      return errand;
    });
  }
  if (path == "us") {
    return Next([](uint64_t) {
      Errand errand;
      errand.exit = Exit::kViolate;
      return errand;
    });
  }
  if (path == "reset") return Next([](uint64_t) { return Errand(); });
  if (path == "timeout") {
    // Silent from the start; in the middle of the first flight; after it; after TLS.
    return Next([flight, half](uint64_t n) {
      if (n % 4 == 0) return Say({});
      if (n % 4 == 1) return Say(half);
      if (n % 4 == 2) return Say(flight);
      Errand errand;
      errand.goal = Goal::kTls;
      errand.exit = Exit::kWaitForEnd;
      return errand;
    });
  }
  if (path == "gate") return Next([](uint64_t) { return Say({}); });
  if (path == "tls") {
    // Not TLS; another protocol; no certificate; gone in the middle, politely and not.
    return Next([flight](uint64_t n) {
      if (n % 5 == 0) return Say(Bytes(64, 'G'));
      Errand errand;
      errand.refused_is_well = true;
      if (n % 5 == 1) {
        errand.goal = Goal::kTls;
        errand.alpn = "h2";
      } else if (n % 5 == 2) {
        errand.goal = Goal::kTls;
        errand.exit = Exit::kWaitForEnd;
        errand.without_certificate = true;
      } else {
        errand.goal = Goal::kSend;
        errand.bytes = flight;
        errand.exit = n % 5 == 3 ? Exit::kReset : Exit::kFin;
      }
      return errand;
    });
  }
  if (path == "hello") {
    // No HELLO but an end; a HELLO that is none.
    return Next([](uint64_t n) {
      Errand errand;
      errand.goal = n % 3 == 2 ? Goal::kUp : Goal::kTls;
      errand.exit = n % 3 == 0 ? Exit::kReset : n % 3 == 1 ? Exit::kFin : Exit::kWaitForEnd;
      errand.malformed_hello = n % 3 == 2;
      return errand;
    });
  }
  if (path == "verdict") {
    // Refused by the node (another network); and by us.
    return Next([stranger](uint64_t n) {
      Errand errand;
      errand.refused_is_well = true;
      if (n % 2 == 0) {
        errand.profile = stranger;
      } else {
        errand.refuse = true;
      }
      return errand;
    });
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no close path \"", path, "\""));
}

absl::StatusOr<Next> ErrandsOf(const Settings& s, const Bytes& flight,
                               const wire::Profile* stranger) {
  if (s.mode == "cycle") return CloseErrands(s.close_path, flight, stranger);
  Errand errand;
  const Goal payload = s.tcp ? Goal::kTcpPayload : Goal::kTlsPayload;
  if (s.mode == "full") {
    if (s.bare || s.tcp) errand.goal = payload;
  } else if (s.mode == "tls") {
    errand.goal = Goal::kTls;
  } else if (s.mode == "connect") {
    errand.goal = Goal::kConnect;
  } else if (s.mode == "replay") {
    errand.goal = Goal::kSend;
    errand.bytes = flight;
  } else if (s.mode == "silent") {
    errand.goal = Goal::kConnect;
    errand.exit = Exit::kStay;
  } else if (s.mode == "hold" || s.mode == "churn") {
    if (s.bare || s.tcp) errand.goal = payload;
    errand.exit = Exit::kStay;
  } else if (s.mode == "ping") {
    if (s.bare || s.tcp) errand.goal = payload;
    errand.exit = Exit::kPing;
  } else if (s.mode == "messages") {
    if (s.tcp) return absl::InvalidArgumentError("messages go over TLS: --tcp has no meaning here");
    if (s.bare) errand.goal = Goal::kTls;
    errand.exit = Exit::kMessages;
    // A window that no acknowledgement could open again is none.
    errand.window =
        std::max(s.window, 2 * (s.payload + wire::kFrameHeaderBytes + kAcknowledgedBytes));
    errand.one_way = s.direction == "in";
  } else {
    return absl::InvalidArgumentError(absl::StrCat("there is no mode \"", s.mode, "\""));
  }
  return Next([errand](uint64_t) { return errand; });
}

bool Stays(const std::string& mode) {
  return mode == "hold" || mode == "churn" || mode == "silent" || mode == "ping" ||
         mode == "messages";
}

absl::StatusOr<CrowdOptions> OptionsOf(const Settings& s) {
  CrowdOptions options;
  options.in_flight = s.in_flight;
  options.count = s.count;
  options.duration = FromSeconds(s.seconds);
  options.rate = s.rate;
  options.churn = s.mode == "churn" ? s.churn : 0;
  options.seed = s.seed;
  options.network = s.network;
  const bool has_identity = s.mode != "connect" && s.mode != "replay" && s.mode != "silent";
  options.identities = has_identity ? std::max<uint64_t>(s.identities, s.in_flight) : 0;
  if (Stays(s.mode)) {
    if ((s.mode == "ping" || s.mode == "messages") && s.count == 0) options.count = 1;
    if (options.count == 0) {
      return absl::InvalidArgumentError(absl::StrCat(s.mode, " needs --count: how many to hold"));
    }
    // Those who leave are not forgotten at once, so newcomers are others.
    if (has_identity) options.identities = options.count + s.in_flight + 64;
    if (s.mode == "churn") options.farewell = Exit::kGoodbye;
  } else if (s.count == 0 && s.seconds <= 0) {
    return absl::InvalidArgumentError(absl::StrCat(s.mode, " needs --count or --seconds"));
  }
  return options;
}

}  // namespace

const std::vector<Mode>& Modes() {
  static const std::vector<Mode> modes = {
      {"full", "whole handshakes: TCP, TLS, HELLO, VERDICT; then a reset"},
      {"replay", "a recorded first flight, its answer, a reset: what costs an attacker nothing"},
      {"tls", "TLS alone, then a reset"},
      {"connect", "TCP alone, then a reset"},
      {"silent", "hold --count connections that never say a word"},
      {"hold", "hold --count idle peers that answer pings, for --seconds from when all are there"},
      {"churn", "hold --count peers and replace --churn of them a second"},
      {"ping", "round trips of --payload bytes through a handler, over one established peer"},
      {"messages",
       "messages of --payload bytes, as many as --window lets be on their way, over "
       "--count peers: what goes through a handler in a second, and what each costs"},
      {"cycle", "connect, handshake and end by --close-path"},
  };
  return modes;
}

const std::vector<std::string>& ClosePaths() {
  static const std::vector<std::string> paths = {"peer", "us",  "reset", "timeout",
                                                 "gate", "tls", "hello", "verdict"};
  return paths;
}

const std::vector<std::string>& Directions() {
  static const std::vector<std::string> directions = {"echo", "in"};
  return directions;
}

absl::StatusOr<Report> RunMode(const Settings& s) {
  const std::optional<Endpoint> target = Endpoint::Parse(s.target);
  if (!target) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--target ", s.target, ": an address and a port are needed, as 127.0.0.1:4356"));
  }
  std::optional<IpAddress> base;
  if (!s.source_base.empty()) {
    base = IpAddress::Parse(s.source_base);
    if (!base || !base->is_v4()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--source-base ", s.source_base, ": an IPv4 address of this machine is needed"));
    }
  }
  absl::StatusOr<CrowdOptions> options = OptionsOf(s);
  if (!options.ok()) return options.status();
  absl::StatusOr<std::unique_ptr<Crowd>> crowd = Crowd::Create(RaiseOwnLimit());
  if (!crowd.ok()) return crowd.status();
  absl::StatusOr<Bytes> flight = (*crowd)->tls().RecordFirstFlight();
  if (!flight.ok()) return flight.status();
  wire::Profile stranger;
  stranger.network = "helo-load-stranger";
  stranger.user_agent = "helo-load/1";
  absl::StatusOr<Next> next = ErrandsOf(s, *flight, &stranger);
  if (!next.ok()) return next.status();

  Report report;
  report.payload = s.payload;
  report.mode = s.mode == "cycle" ? "cycle " + s.close_path : s.mode;
  const auto look = [&](std::optional<Usage>& into) -> absl::Status {
    if (s.pid == 0) return absl::OkStatus();
    absl::StatusOr<Usage> usage = ReadUsage(s.pid);
    if (!usage.ok()) return usage.status();
    into = *usage;
    return absl::OkStatus();
  };
  if (absl::Status status = look(report.before); !status.ok()) return status;
  if (Stays(s.mode)) {
    report.staying = options->count;
    options->all_there = [&report, &look, &s] {
      static_cast<void>(look(report.there));
      std::printf(s.json ? "{\"ready\":%zu}\n" : "ready: %zu are held\n", report.staying);
      std::fflush(stdout);
    };
  }
  const Duration patience = FromSeconds(s.patience);
  const Duration pause = FromSeconds(s.pause_us / 1e6);
  absl::StatusOr<Tally> tally =
      (*crowd)->Run(*std::move(options), [&, make = *std::move(next), at = *target](uint64_t n) {
        Errand errand = make(n);
        errand.target = at;
        errand.payload = s.payload;
        errand.patience = patience;
        errand.ping_pause = pause;
        if (base) errand.source = Nth(*base, n % s.sources * s.source_step);
        return errand;
      });
  if (!tally.ok()) return tally.status();
  report.tally = *std::move(tally);
  if (absl::Status status = look(report.after); !status.ok()) return status;
  return report;
}

}  // namespace helo::load
