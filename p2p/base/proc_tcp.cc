#include "p2p/base/proc_tcp.h"

#include <absl/strings/str_split.h>

#include <charconv>
#include <cstring>
#include <vector>

#include "p2p/base/bytes.h"
#include "p2p/base/text.h"

namespace helo {
namespace {

template <typename T>
bool Read(absl::string_view text, int base, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc() && end == text.data() + text.size();
}

// "0100007F:1105": 32-bit words in the byte order of the host, the port as a plain number.
bool ReadEndpoint(absl::string_view text, Endpoint& out) {
  const size_t colon = text.find(':');
  if (colon != 8 && colon != 32) return false;
  Bytes bytes(colon / 2);
  for (size_t at = 0; at < colon; at += 8) {
    uint32_t word = 0;
    if (!Read(text.substr(at, 8), 16, word)) return false;
    std::memcpy(&bytes[at / 2], &word, sizeof word);
  }
  const std::optional<IpAddress> ip = IpAddress::FromBytes(bytes);
  if (!ip || !Read(text.substr(colon + 1), 16, out.port)) return false;
  out.ip = *ip;
  return true;
}

}  // namespace

std::optional<ProcTcpRow> ParseProcTcpRow(std::string_view line) {
  // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ...
  const std::vector<absl::string_view> words =
      absl::StrSplit(ToAbsl(line), absl::ByAnyChar(" \t\n"), absl::SkipEmpty());
  if (words.size() < 10) return std::nullopt;
  ProcTcpRow row;
  const size_t colon = words[4].find(':');
  if (colon == absl::string_view::npos || !ReadEndpoint(words[1], row.local) ||
      !ReadEndpoint(words[2], row.remote) || !Read(words[3], 16, row.state) ||
      !Read(words[4].substr(colon + 1), 16, row.receive_queue) || !Read(words[7], 10, row.uid) ||
      !Read(words[9], 10, row.inode)) {
    return std::nullopt;
  }
  return row;
}

}  // namespace helo
