// Owns one object of OpenSSL's. Private to p2p/tls.
#pragma once

#include <memory>

namespace helo::tls {

template <auto kFree>
struct FreeBy {
  template <typename T>
  void operator()(T* p) const {
    kFree(p);
  }
};
template <typename T, auto kFree>
using Handle = std::unique_ptr<T, FreeBy<kFree>>;

}  // namespace helo::tls
