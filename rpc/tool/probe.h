// One look at a peer port from outside, without a node: resolve, connect, TLS, hello, verdict, each
// with its time, and what was seen where it stopped. The connection says purpose PROBE (WIRE 3):
// it joins nothing. The remote is a stranger: bytes and time are bounded in total, and what it
// wrote is kept as bytes, quoted by probe_words.h on the way out. Thread: the caller's, which runs
// an event loop of its own until the report is there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/endpoint.h"
#include "p2p/base/node_id.h"
#include "p2p/base/reasons.h"
#include "p2p/net/socket.h"
#include "p2p/tls/node_key.h"
#include "p2p/wire/messages.h"
#include "rpc/tool/probe_ping.h"

namespace helo::tool {

// Whatever it sends, no more than this is read. A HELLO has at most 16 KiB, a certificate 1 KiB.
inline constexpr uint64_t kProbeMostBytes = 256 * 1024;
// Of a name with more addresses, so many are tried.
inline constexpr size_t kProbeMostAddresses = 16;

struct ProbeRequest {
  PeerAddress address;
  std::string network;
  Bytes genesis;
  std::string user_agent;
  tls::NodeKey key;
  std::vector<wire::Offer> offers;
  Duration total = std::chrono::seconds(10);
  Duration stage = std::chrono::seconds(5);  // WIRE 7, a stage each
};

// A stage as it went; several of kConnect where a name has several addresses.
struct ProbeStep {
  Stage stage = Stage::kResolve;
  bool ok = false;
  Duration took{};
  std::optional<Endpoint> remote;  // kConnect
  std::string text;                // ours, or a resolver's sentence
};

// What the kernel knows of a connection (TCP_INFO, man 7 tcp) that was not answered in time.
struct TcpEvidence {
  uint32_t timeouts = 0;  // times the retransmission timer fired
  uint32_t resent = 0;    // packets it tried to send again
  uint32_t on_way = 0;    // of these, the ones that left this machine's IP layer
  uint32_t unacked = 0;   // sent and not acknowledged
  // A packet that a rule of this machine drops never leaves; one that waits for a neighbour's
  // hardware address is not even sent again.
  bool dropped_here() const { return resent > 0 && on_way == 0; }
  bool waits_for_neighbour() const { return timeouts > 0 && resent == 0; }
};

struct ProbeReport {
  std::vector<ProbeStep> steps;  // those that were reached, in order
  bool accepted = false;         // a JOIN would have been
  CloseInfo close;               // how it ended
  std::optional<Endpoint> remote, local;

  // What was seen on the way.
  int error = 0;                       // errno, where one ended it
  bool out_of_time = false;            // the time for all stages ended it, not a stage's own
  bool names_unanswered = false;       // no name server said anything
  std::optional<net::IcmpError> icmp;  // instead of an answer
  bool icmp_from_here = false;         // by this machine itself
  std::optional<TcpEvidence> tcp;      // at a timeout
  PingResult ping;                     // while nothing answered
  bool here = false;                   // the address is one of this machine
  Bytes first_bytes;                   // the first 128 that came, before TLS made anything of them
  uint64_t bytes_in = 0;
  uint64_t bytes_before_hello = 0;  // of these, when TLS was up
  int alert = 0;                    // of TLS, sent or received
  bool tls_up = false;
  bool certificate_requested = false;
  std::optional<NodeId> id;
  std::optional<wire::Hello> hello;
  std::optional<int64_t> skew_us;  // theirs minus ours, give or take half of hello_rtt
  Duration hello_rtt{};
};

ProbeReport Probe(const ProbeRequest& request);

}  // namespace helo::tool
