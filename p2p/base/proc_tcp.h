// The kernel's list of TCP sockets, /proc/net/tcp and tcp6 (man 5 proc), a row at a time. Who reads
// the files is the caller's matter. Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "p2p/base/endpoint.h"

namespace helo {

struct ProcTcpRow {
  enum State : uint8_t { kEstablished = 1, kTimeWait = 6, kListen = 10 };  // of the kernel's eleven
  Endpoint local, remote;
  uint8_t state = 0;
  uint32_t receive_queue = 0;  // of a listener: connections that wait to be accepted
  uint32_t uid = 0;
  uint64_t inode = 0;  // 0: no process holds it
};

// nullopt for the headings and for what is no whole row.
std::optional<ProcTcpRow> ParseProcTcpRow(std::string_view line);

}  // namespace helo
