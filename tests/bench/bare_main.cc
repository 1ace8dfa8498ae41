// helo-bare: what a figure of the node is held against. One thread, one epoll loop, OpenSSL with
// the node's own settings (or no TLS at all): every byte that comes is sent back, or with --sink
// one for so many. It knows no HELLO, no table and no fairness; it is the loop that everybody
// writes.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <CLI/CLI.hpp>

#include "p2p/base/endpoint.h"
#include "p2p/base/text.h"
#include "p2p/net/socket.h"
#include "tests/bench/client.h"

namespace helo::load {
namespace {

struct Peer {
  net::UniqueFd fd;
  Ssl ssl;  // freed before the descriptor is closed
  std::vector<unsigned char> unsent;
  size_t swallowed = 0;  // by a sink, since it last said so
};

class BareServer {
 public:
  BareServer(SSL_CTX* context, net::UniqueFd listening, bool sink)
      : context_(context),
        listening_(std::move(listening)),
        sink_(sink),
        epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    Watch(listening_.FdDoNotKeep(), EPOLLIN);
  }

  void Run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int n =
          epoll_wait(epoll_.FdDoNotKeep(), events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < n; ++i) {
        const int fd = events[static_cast<size_t>(i)].data.fd;
        if (fd == listening_.FdDoNotKeep()) {
          Accept();
        } else if (auto it = peers_.find(fd); it != peers_.end() && !Serve(it->second)) {
          peers_.erase(it);
        }
      }
    }
  }

 private:
  void Watch(int fd, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    epoll_ctl(epoll_.FdDoNotKeep(), EPOLL_CTL_ADD, fd, &event);
  }

  void Accept() {
    for (int i = 0; i < 32; ++i) {
      net::UniqueFd fd(
          accept4(listening_.FdDoNotKeep(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      const int raw = fd.FdDoNotKeep();
      const int on = 1;
      setsockopt(raw, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      Peer peer;
      if (context_ != nullptr) {
        peer.ssl.reset(SSL_new(context_));
        SSL_set_fd(peer.ssl.get(), raw);
        SSL_set_accept_state(peer.ssl.get());
      }
      peer.fd = std::move(fd);
      Peer& kept = peers_.insert_or_assign(raw, std::move(peer)).first->second;
      Watch(raw, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
      if (!Serve(kept)) peers_.erase(raw);
    }
  }

  // False: it is over.
  bool Serve(Peer& peer) {
    const int raw = peer.fd.FdDoNotKeep();
    for (;;) {
      if (!peer.ssl) {
        const ssize_t n = recv(raw, buffer_.data(), buffer_.size(), 0);
        if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
        if (send(raw, buffer_.data(), static_cast<size_t>(n), MSG_NOSIGNAL) != n) return false;
        continue;
      }
      ERR_clear_error();
      if (!peer.unsent.empty()) {
        const bool sent = Write(peer, peer.unsent.data(), peer.unsent.size());
        if (!sent) return SSL_get_error(peer.ssl.get(), -1) == SSL_ERROR_WANT_WRITE;
        peer.unsent.clear();
      }
      const int n = SSL_read(peer.ssl.get(), buffer_.data(), static_cast<int>(buffer_.size()));
      if (n <= 0) return SSL_get_error(peer.ssl.get(), n) == SSL_ERROR_WANT_READ;
      auto answer = static_cast<size_t>(n);
      if (sink_) {
        peer.swallowed += answer;
        answer = peer.swallowed / kAcknowledgedBytes;
        peer.swallowed %= kAcknowledgedBytes;
      }
      if (answer > 0 && !Write(peer, buffer_.data(), answer))
        peer.unsent.assign(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(answer));
    }
  }

  // Whole records of up to 16 KiB; false: nothing of it, for want of room (or for ever).
  static bool Write(const Peer& peer, const unsigned char* bytes, size_t size) {
    return SSL_write(peer.ssl.get(), bytes, static_cast<int>(size)) == static_cast<int>(size);
  }

  SSL_CTX* context_;
  net::UniqueFd listening_;
  const bool sink_;
  net::UniqueFd epoll_;
  std::unordered_map<int, Peer> peers_;
  std::array<unsigned char, 16384> buffer_{};
};

int Fail(const std::string& text) {
  std::fprintf(stderr, "helo-bare: %s\n", text.c_str());
  return 1;
}

int Main(int argc, char** argv) {
  CLI::App app("The least server there is, over TLS or TCP: sends back what comes.", "helo-bare");
  bool tcp = false;
  app.add_flag("--tcp", tcp, "no TLS");
  bool sink = false;
  app.add_flag("--sink", sink, "over TLS: one byte back for every 65536");
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  net::UniqueFd listening(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* name = reinterpret_cast<sockaddr*>(&address);
  if (!listening || bind(listening.FdDoNotKeep(), name, size) != 0 ||
      listen(listening.FdDoNotKeep(), 4096) != 0 ||
      getsockname(listening.FdDoNotKeep(), name, &size) != 0) {
    return Fail(ErrnoSentence(errno, "listening on 127.0.0.1"));
  }
  SslCtx context;
  if (!tcp) {
    const auto identity = MakeIdentity(/*seed=*/99, /*number=*/0);
    context.reset(SSL_CTX_new(TLS_server_method()));
    if (!identity.ok() || !context || !ConfigureContext(context.get()) ||
        SSL_CTX_use_certificate(context.get(), (*identity)->certificate.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context.get(), (*identity)->key.get()) != 1) {
      return Fail("OpenSSL refuses the settings");
    }
  }
  std::printf("127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  BareServer(context.get(), std::move(listening), sink).Run();
  return 0;
}

}  // namespace
}  // namespace helo::load

int main(int argc, char** argv) { return helo::load::Main(argc, argv); }
