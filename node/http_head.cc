#include "node/http_head.h"

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include <algorithm>
#include <vector>

#include "p2p/base/text.h"

namespace helo::node {
namespace {

constexpr std::string_view kPath = "/metrics";

bool IsToken(std::string_view text) {  // RFC 9110, 5.6.2
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool IsText(char c) { return (c >= 0x20 && c <= 0x7e) || c == '\t' || (c & 0x80) != 0; }

struct Words {
  std::string_view phrase, sentence;
};
Words WordsOf(int status) {
  switch (status) {
    case 200:
      return {"OK", ""};
    case 404:
      return {"Not Found", "There is nothing here but /metrics."};
    case 405:
      return {"Method Not Allowed", "/metrics can be read, with GET or HEAD, and nothing else."};
    case 408:
      return {"Request Timeout", "The request did not come in time."};
    case 414:
      return {"URI Too Long", "The request line is too long."};
    case 431:
      return {"Request Header Fields Too Large", "The request's headers are too long."};
    case 503:
      return {"Service Unavailable", "The node is starting or stopping."};
    case 505:
      return {"HTTP Version Not Supported", "HTTP/1.1 and HTTP/1.0 are spoken here."};
    default:
      return {"Bad Request", "That is not an HTTP/1.1 request."};
  }
}

}  // namespace

bool HttpHead::Feed(ByteView bytes) {
  if (status_ != 0) return true;
  const size_t before = head_.size();
  const size_t seen = before < 3 ? 0 : before - 3;
  const size_t room = kMostRequestHead - head_.size();
  head_.append(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), room));
  const size_t end = head_.find("\r\n\r\n", seen);
  const size_t line = head_.find("\r\n");
  if (end != std::string::npos) head_.resize(end + 2);
  // A byte that no request holds is answered at once: somebody speaks TLS here, or anything else.
  const auto fresh = static_cast<ptrdiff_t>(std::min(before, head_.size()));
  const bool text = std::all_of(head_.begin() + fresh, head_.end(),
                                [](char c) { return IsText(c) || c == '\r' || c == '\n'; });
  if (!text) {
    status_ = 400;
  } else if (line == std::string::npos ? head_.size() > kMostRequestLine
                                       : line > kMostRequestLine) {
    status_ = 414;
  } else if (end != std::string::npos) {
    status_ = Judge();
    head_only_ = absl::StartsWith(head_, "HEAD ");
  } else if (bytes.size() >= room) {
    status_ = 431;
  }
  return status_ != 0;
}

int HttpHead::Judge() const {
  std::vector<absl::string_view> lines = absl::StrSplit(head_, "\r\n");
  lines.pop_back();  // each ends with its CRLF
  for (absl::string_view line : lines) {
    if (!std::all_of(line.begin(), line.end(), IsText)) return 400;  // a bare CR or LF
  }
  const std::vector<absl::string_view> words = absl::StrSplit(lines.front(), ' ');
  if (words.size() != 3 || !IsToken(FromAbsl(words[0])) || words[1].empty()) return 400;
  if (words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0")
    return absl::StartsWith(words[2], "HTTP/") ? 505 : 400;
  int hosts = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const size_t colon = lines[i].find(':');
    if (colon == absl::string_view::npos || !IsToken(FromAbsl(lines[i].substr(0, colon))))
      return 400;
    if (absl::EqualsIgnoreCase(lines[i].substr(0, colon), "host")) ++hosts;
  }
  if (hosts > 1 || (hosts == 0 && words[2] == "HTTP/1.1")) return 400;
  const absl::string_view path = words[1].substr(0, words[1].find('?'));
  if (path != ToAbsl(kPath)) return 404;
  return words[0] == "GET" || words[0] == "HEAD" ? 200 : 405;
}

std::string HttpAnswer(int status, bool head_only, std::string_view body_of_200) {
  const Words words = WordsOf(status);
  const std::string body =
      status == 200 ? std::string(body_of_200) : absl::StrCat(ToAbsl(words.sentence), "\n");
  // The format's name and version are Prometheus's.
  return absl::StrCat(
      "HTTP/1.1 ", status, " ", ToAbsl(words.phrase), "\r\nContent-Type: ",
      status == 200 ? "text/plain; version=0.0.4; charset=utf-8" : "text/plain; charset=utf-8",
      "\r\nContent-Length: ", body.size(), status == 405 ? "\r\nAllow: GET, HEAD" : "",
      "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff",
      "\r\nConnection: close\r\n\r\n", head_only ? "" : body);
}

}  // namespace helo::node
