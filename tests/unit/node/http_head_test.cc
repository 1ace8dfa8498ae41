// The metrics listener's requests: good ones, bad ones, and those that are meant to hurt.
#include "node/http_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "p2p/base/testing/seeded_rng.h"
#include "p2p/base/text.h"

namespace helo::node {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

int StatusOf(std::string_view text) {
  HttpHead head;
  head.Feed(AsBytes(text));
  return head.status();
}

TEST(HttpHead, GetAndHeadOfMetricsAreServed) {
  EXPECT_EQ(StatusOf("GET /metrics HTTP/1.1\r\nHost: localhost:4358\r\nAccept: */*\r\n\r\n"), 200);
  EXPECT_EQ(StatusOf("GET /metrics HTTP/1.0\r\n\r\n"), 200);
  EXPECT_EQ(StatusOf("GET /metrics?name[]=helo_peers HTTP/1.1\r\nhost:x\r\n\r\n"), 200);
  HttpHead head;
  EXPECT_TRUE(head.Feed(AsBytes("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")));
  EXPECT_EQ(head.status(), 200);
  EXPECT_TRUE(head.head_only());
}

TEST(HttpHead, ByteByByteIsTheSame) {
  const std::string_view text = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
  HttpHead head;
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    ASSERT_FALSE(head.Feed(AsBytes(text.substr(i, 1)))) << i;
  }
  EXPECT_TRUE(head.Feed(AsBytes(text.substr(text.size() - 1))));
  EXPECT_EQ(head.status(), 200);
}

TEST(HttpHead, WhatComesBehindTheHeadIsIgnored) {
  HttpHead head;
  EXPECT_TRUE(
      head.Feed(AsBytes("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /other HTTP/1.1\r\n"
                        "\r\n\x01\x02")));
  EXPECT_EQ(head.status(), 200);
  EXPECT_TRUE(head.Feed(AsBytes("POST / HTTP/1.1\r\n\r\n")));
  EXPECT_EQ(head.status(), 200);
}

TEST(HttpHead, EverythingElseHasItsOwnAnswer) {
  for (std::string_view path : {"/", "/metric", "/metrics/", "/metricsx", "//metrics", "*",
                                "http://localhost/metrics", "/../metrics", "/%6detrics"}) {
    EXPECT_EQ(StatusOf("GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n\r\n"), 404) << path;
  }
  for (std::string_view method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "GETT"}) {
    EXPECT_EQ(StatusOf(std::string(method) + " /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), 405)
        << method;
  }
  EXPECT_EQ(StatusOf("GET /metrics HTTP/2.0\r\n\r\n"), 505);
  EXPECT_EQ(StatusOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
}

TEST(HttpHead, MalformedRequestsAreToldSo) {
  for (std::string_view text : {
           "GET /metrics HTTP/1.1\r\n\r\n",  // no Host
           "GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
           "GET  /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET /metrics\r\n\r\n",
           "GET /metrics HTTP/1.1 \r\nHost: x\r\n\r\n",
           " GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET /metrics HTTP/1.1\r\nHost x\r\n\r\n",
           "GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n",
           "GET /metrics HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
           "GET /metrics HTTP/1.1\r\n: x\r\nHost: x\r\n\r\n",
           "GET /metrics HTTP/1.1\nHost: x\r\n\r\n",  // a bare LF
           "GET /metrics HTTP/1.1\r\nHost: x\ry: z\r\n\r\n",
           "GET /metrics FTP/1.1\r\nHost: x\r\n\r\n",
           "\r\n\r\n",
       }) {
    EXPECT_EQ(StatusOf(text), 400) << text;
  }
  // Another protocol is answered at its first byte.
  EXPECT_EQ(StatusOf("\x16\x03\x01"), 400);
  EXPECT_EQ(StatusOf(std::string_view("GET /\0", 6)), 400);
}

TEST(HttpHead, WhatIsTooLongIsAnAnswerAndNotMemory) {
  EXPECT_EQ(StatusOf("GET /" + std::string(kMostRequestLine, 'a')), 414);
  EXPECT_EQ(StatusOf(std::string(1 << 20, 'a')), 414);
  const std::string start = "GET /metrics HTTP/1.1\r\nHost: x\r\nPad: ";
  const std::string fits = start + std::string(kMostRequestHead - start.size() - 4, 'p');
  EXPECT_EQ(StatusOf(fits + "\r\n\r\n"), 200);
  EXPECT_EQ(StatusOf(fits + "p\r\n\r\n"), 431);
  EXPECT_EQ(StatusOf(start + std::string(1 << 20, 'p')), 431);
  HttpHead endless;
  int fed = 0;
  while (!endless.Feed(AsBytes("a: b\r\n")) && fed < 100'000) ++fed;
  EXPECT_EQ(endless.status(), 431);
}

TEST(HttpHead, AnyBytesInAnyPiecesEndInAnAnswerOfTheList) {
  testing::SeededRng rng(7);
  const std::string good = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n";
  for (int round = 0; round < 20'000; ++round) {
    std::string text = good;
    for (uint64_t changes = 1 + rng.U64() % 4; changes > 0; --changes)
      text[rng.U64() % text.size()] = static_cast<char>(rng.U64());
    HttpHead whole, pieces;
    whole.Feed(AsBytes(text));
    for (std::string_view rest = text; !rest.empty();) {
      const size_t n = std::min<size_t>(1 + rng.U64() % 9, rest.size());
      pieces.Feed(AsBytes(rest.substr(0, n)));
      rest.remove_prefix(n);
    }
    const int status = whole.status();
    EXPECT_TRUE(status == 0 || status == 200 || status == 400 || status == 404 || status == 405 ||
                status == 505)
        << status;
    if (status == 200) {
      EXPECT_EQ(pieces.status(), 200);
    }
  }
}

TEST(HttpAnswer, IsWholeAndEndsTheConnection) {
  EXPECT_EQ(HttpAnswer(200, false, "a 1\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
            "Content-Length: 4\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\na 1\n");
  EXPECT_THAT(HttpAnswer(200, true, "a 1\n"),
              AllOf(HasSubstr("Content-Length: 4\r\n"), EndsWith("\r\n\r\n")));
  EXPECT_THAT(HttpAnswer(405, false, "secret"),
              AllOf(StartsWith("HTTP/1.1 405 Method Not Allowed\r\n"),
                    HasSubstr("Allow: GET, HEAD\r\n"), Not(HasSubstr("secret"))));
}

}  // namespace
}  // namespace helo::node
