// OpenSSL's default provider with fewer algorithms in view. OpenSSL 3.0 collects every key manager
// and every decoder of a library context each time it reads a certificate's public key, a fifth of
// a handshake; shown only what helo/1 uses, it is quickly done. The algorithms are the default
// provider's own, run in a library context of theirs. Private to p2p/tls.
#pragma once

#include <openssl/crypto.h>
#include <openssl/provider.h>

#include "p2p/tls/handle.h"

namespace helo::tls {

class SlimProvider {
 public:
  SlimProvider() = default;
  ~SlimProvider();  // after `library` and all that was made in it
  SlimProvider(const SlimProvider&) = delete;
  SlimProvider& operator=(const SlimProvider&) = delete;

  // Whether the OpenSSL that runs reads keys in the slow way. Later series do not, and the trick
  // (a provider context used from another library context) is documented by nobody, so it stays
  // with the series it was tried on.
  static bool Pays();

  // Shows the algorithms to `library`, once; what is returned is unloaded before `library` is
  // freed. nullptr: it cannot be had, OpenSSL's errors say why.
  Handle<OSSL_PROVIDER, OSSL_PROVIDER_unload> Load(OSSL_LIB_CTX* library);

 private:
  // In the order of making; destroyed in the reverse.
  Handle<OSSL_LIB_CTX, OSSL_LIB_CTX_free> base_library_;
  Handle<OSSL_PROVIDER, OSSL_PROVIDER_unload> base_;
};

}  // namespace helo::tls
