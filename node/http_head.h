// The head of one HTTP/1 request (RFC 9112), as little of it as serving GET /metrics takes. Pure:
// hostile bytes in, a status out. Bounded: what is too long is an answer, not memory.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "p2p/base/bytes.h"

namespace helo::node {

inline constexpr size_t kMostRequestLine = 2048;
inline constexpr size_t kMostRequestHead = 8192;  // the line and the empty line included

class HttpHead {
 public:
  // True once there is an answer; what comes after the head (a body, a second request) is ignored.
  bool Feed(ByteView bytes);
  int status() const { return status_; }  // 200, or why not; 0: more is needed
  bool head_only() const { return head_only_; }

 private:
  int Judge() const;
  std::string head_;
  int status_ = 0;
  bool head_only_ = false;
};

// A whole answer that ends the connection; for other statuses than 200 the body is a sentence of
// ours.
std::string HttpAnswer(int status, bool head_only, std::string_view body_of_200);

}  // namespace helo::node
