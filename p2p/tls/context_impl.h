// The inside of a Context: a library context of its own, one SSL_CTX a role, and one BIO that
// serves every connection of the thread in turn (a BIO a connection would cost 250 bytes and a
// lock). Owner: p2p/tls. Thread: the context's.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>

#include "p2p/tls/channel.h"
#include "p2p/tls/handle.h"
#include "p2p/tls/link.h"
#include "p2p/tls/slim_provider.h"

namespace helo::tls {

struct Context::Impl {
  // In the order of making; destroyed in the reverse.
  SlimProvider slim;  // unused where the whole default provider serves
  Handle<OSSL_LIB_CTX, OSSL_LIB_CTX_free> library;
  Handle<OSSL_PROVIDER, OSSL_PROVIDER_unload> provider;
  Handle<BIO_METHOD, BIO_meth_free> bio_method;
  Handle<BIO, BIO_free> bio;
  Handle<SSL_CTX, SSL_CTX_free> dialer;
  Handle<SSL_CTX, SSL_CTX_free> acceptor;
  uint64_t records_per_key = 0;
  Link* current = nullptr;  // whom the BIO and the callbacks serve; set by Serving
};

// Whether `ssl` has agreed on helo/1.
bool AlpnConfirmed(const SSL* ssl);

// Around every call into OpenSSL for one connection. Clears the thread's error queue, which
// SSL_get_error reads and any earlier call may have left something in.
class Serving {
 public:
  Serving(Link*& current, Link& link) : current_(current) {
    ERR_clear_error();
    current_ = &link;
  }
  ~Serving() {
    current_ = nullptr;
    ERR_clear_error();
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

 private:
  Link*& current_;
};

}  // namespace helo::tls
