// gRPC writes its own log to stderr, at a rate that its callers choose. While one of these lives,
// that goes to the node's log instead, at most one line a place in gRPC's source per 10 s. One at a
// time in a process.
#pragma once

#include "p2p/base/clock.h"
#include "p2p/base/log.h"

namespace helo::rpc {

class GrpcLogCapture {
 public:
  GrpcLogCapture(const Clock& clock, LogSink& log);
  ~GrpcLogCapture();
  GrpcLogCapture(const GrpcLogCapture&) = delete;
  GrpcLogCapture& operator=(const GrpcLogCapture&) = delete;
};

}  // namespace helo::rpc
