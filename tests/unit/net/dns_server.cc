#include "tests/unit/net/dns_server.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>

namespace helo::net {

struct DnsServer::Stream : Watcher {
  explicit Stream(DnsServer& server_in) : server(server_in) {}
  bool OnReady(uint32_t) override;
  DnsServer& server;
  Socket socket;
  Registration registration;
  Bytes in;
};

DnsServer::DnsServer(EventLoop& loop, const std::string& ip, uint16_t port)
    : loop_(loop),
      udp_watcher_([this](uint32_t) { return OnUdp(); }),
      listener_watcher_([this](uint32_t) { return OnListener(); }) {
  // A port that is free for TCP may be taken for UDP.
  for (int tries = 0; tries < 100; ++tries) {
    udp_ = UniqueFd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage name{};
    socklen_t size = Endpoint{*IpAddress::Parse(ip), port}.ToSockaddr(name);
    if (::bind(udp_.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&name), size) != 0) continue;
    size = sizeof(name);
    ::getsockname(udp_.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&name), &size);
    if (::bind(listener_.FdDoNotKeep(), reinterpret_cast<sockaddr*>(&name), size) != 0) continue;
    if (::listen(listener_.FdDoNotKeep(), 16) != 0) continue;
    port_ = Endpoint::FromSockaddr(name)->port;
    udp_registration_ =
        std::move(*loop.Watch(udp_.FdDoNotKeep(), Lane::kSession, Subnet(), &udp_watcher_));
    listener_registration_ = std::move(
        *loop.Watch(listener_.FdDoNotKeep(), Lane::kListener, Subnet(), &listener_watcher_));
    return;
  }
  std::abort();
}

DnsServer::~DnsServer() {
  udp_registration_.Reset();
  listener_registration_.Reset();
}

Bytes DnsServer::Answer(ByteView query, bool udp) {
  std::string name;
  size_t at = 12;
  while (at < query.size() && query[at] != 0) {
    const size_t length = query[at];
    if (at + 1 + length >= query.size()) return {};
    if (!name.empty()) name += '.';
    name += AsString(query.subspan(at + 1, length));
    at += 1 + length;
  }
  if (at + 5 > query.size()) return {};
  const int type = query[at + 1] * 256 + query[at + 2];
  const size_t question_end = at + 5;
  ++(udp ? udp_queries : tcp_queries);
  if (answer_nothing || silent.count(name) != 0 || (ignore_v6 && type == 28)) return {};
  if (lose > 0) {
    --lose;
    return {};
  }
  if (answer_garbage) return Bytes(37, 0xa5);

  const bool truncated = udp && truncate_udp;
  std::vector<IpAddress> answers;
  int code = kNoSuchName;
  if (const auto failure = failures.find(name); failure != failures.end()) {
    code = failure->second;
  } else if (const auto found = names.find(name); found != names.end()) {
    code = 0;
    for (const IpAddress& ip : found->second) {
      if (ip.is_v4() == (type == 1) && !truncated) answers.push_back(ip);
    }
  }
  Bytes out(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(question_end));
  out[2] = static_cast<uint8_t>(0x81 | (truncated ? 2 : 0));  // a response, recursion asked for
  out[3] = static_cast<uint8_t>(0x80 | code);                 // recursion available
  out[7] = static_cast<uint8_t>(answers.size());
  out[9] = out[11] = 0;
  for (const IpAddress& ip : answers) {
    const auto length = static_cast<uint8_t>(ip.bytes().size());
    const uint8_t head[] = {
        0xc0, 12, 0, static_cast<uint8_t>(ip.is_v4() ? 1 : 28), 0, 1, 0, 0, 0, 60, 0, length};
    out.insert(out.end(), std::begin(head), std::end(head));
    out.insert(out.end(), ip.bytes().begin(), ip.bytes().end());
  }
  return out;
}

bool DnsServer::OnUdp() {
  std::array<uint8_t, 2048> buffer{};
  sockaddr_storage from{};
  for (;;) {
    socklen_t size = sizeof(from);
    const ssize_t got = ::recvfrom(udp_.FdDoNotKeep(), buffer.data(), buffer.size(), 0,
                                   reinterpret_cast<sockaddr*>(&from), &size);
    if (got < 0) return false;
    const Bytes answer = Answer({buffer.data(), static_cast<size_t>(got)}, true);
    if (answer.empty()) continue;
    ::sendto(udp_.FdDoNotKeep(), answer.data(), answer.size(), 0,
             reinterpret_cast<sockaddr*>(&from), size);
  }
}

bool DnsServer::OnListener() {
  for (;;) {
    UniqueFd fd(::accept4(listener_.FdDoNotKeep(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return false;
    streams_.push_back(std::make_unique<Stream>(*this));
    Stream& stream = *streams_.back();
    stream.socket = Socket(std::move(fd), FdTicket());
    stream.registration =
        std::move(*loop_.Watch(stream.socket.FdDoNotKeep(), Lane::kSession, Subnet(), &stream));
  }
}

bool DnsServer::Stream::OnReady(uint32_t) {
  std::array<uint8_t, 512> buffer{};
  for (;;) {
    const IoResult got = socket.Recv(buffer);
    if (got.kind != IoResult::Kind::kOk) return false;
    in.insert(in.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(got.bytes));
    while (in.size() >= 2 && in.size() >= size_t{2} + in[0] * 256u + in[1]) {
      const size_t length = in[0] * 256u + in[1];
      const Bytes answer = server.Answer({in.data() + 2, length}, false);
      in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(2 + length));
      if (answer.empty()) continue;
      Bytes framed = {static_cast<uint8_t>(answer.size() >> 8),
                      static_cast<uint8_t>(answer.size())};
      framed.insert(framed.end(), answer.begin(), answer.end());
      // In pieces, as a network may deliver it.
      for (const uint8_t& byte : framed) socket.Send({&byte, 1});
    }
  }
}

}  // namespace helo::net
