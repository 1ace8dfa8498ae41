// What the tests of p2p/tls share: keys, pairs of channels, a pump between two ends, and StockPeer,
// a plain OpenSSL end that can be set up wrongly in every way. Thread: the test's.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "p2p/base/bytes.h"
#include "p2p/base/testing/seeded_rng.h"
#include "p2p/tls/channel.h"
#include "p2p/tls/node_key.h"

namespace helo::tls {

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

NodeKey TestKey(uint64_t seed);

// Two nodes, a dialing channel on the one and an accepting channel on the other.
struct Pair {
  explicit Pair(const ContextOptions& options = {});
  NodeKey dialer_key = TestKey(1);
  NodeKey acceptor_key = TestKey(2);
  std::unique_ptr<Context> dialer_context;
  std::unique_ptr<Context> acceptor_context;
  std::unique_ptr<Channel> dialer;
  std::unique_ptr<Channel> acceptor;
};

// How the bytes that go one way are handed on: whole, in pieces, altered, cut. Gets what is sent
// and a function that delivers.
using Carry = std::function<void(ByteView, const std::function<void(ByteView)>&)>;
void Whole(ByteView bytes, const std::function<void(ByteView)>& deliver);
Carry InPiecesOfUpTo(size_t max, Rng& rng);

// Steps both handshakes and moves bytes until nothing moves any more.
void Pump(Channel& a, Channel& b, const Carry& a_to_b = Whole, const Carry& b_to_a = Whole);
// Moves what waits in `from` to `to`, without a step of either.
void Move(Channel& from, Channel& to);
Bytes TakeOutput(Channel& channel);
// Reads until nothing comes.
std::string ReadAll(Channel& channel);

Owned<EVP_PKEY> Ed25519Of(const NodeKey& key);
Owned<EVP_PKEY> NewRsa();
Owned<EVP_PKEY> NewP256();
// A version 3 certificate for `key`, self-signed; `padding` bytes of comment make it larger.
Owned<X509> SelfSigned(EVP_PKEY* key, size_t padding = 0, bool expired = false);
Bytes DerOf(X509* certificate);

// Plain OpenSSL, defaults except what the test sets on ctx() before Start().
class StockPeer {
 public:
  explicit StockPeer(Role role);
  SSL_CTX* ctx() { return ctx_.get(); }
  SSL* ssl() { return ssl_.get(); }
  void UseAlpn(std::string_view name);  // offered by a dialer, confirmed by an acceptor
  void UseKey(EVP_PKEY* key, X509* certificate);
  // What a correct helo/1 end has: key, certificate, ALPN; accepts any certificate.
  void SetUpCorrectly(const NodeKey& key);
  void Start();

  void Feed(ByteView bytes);
  Bytes TakeOutput();
  bool Handshake();  // true once done
  bool Write(std::string_view text);
  std::string ReadAll();
  // The last error of any call: SSL_get_error's and the library's reason.
  int last_error() const { return last_error_; }
  int alert_received() const { return alert_received_; }
  bool close_notify_received() const {
    return (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
  }

 private:
  static void OnInfo(const SSL* ssl, int where, int value);
  const Role role_;
  std::string alpn_;
  Owned<SSL_CTX> ctx_;
  Owned<SSL> ssl_;
  int last_error_ = 0;
  int alert_received_ = -1;
};

void Pump(Channel& channel, StockPeer& peer);

// A channel of ours, alone.
struct Ours {
  explicit Ours(Role role)
      : context(Context::Create(key).value()), channel(std::make_unique<Channel>(*context, role)) {}
  NodeKey key = TestKey(2);
  std::unique_ptr<Context> context;
  std::unique_ptr<Channel> channel;
};

void ExpectFailure(const Channel& channel, Reason reason, int alert, bool by_remote);

}  // namespace helo::tls
