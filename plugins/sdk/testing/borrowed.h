// What the fake host lends: exact-size blocks of their own, spoilt and freed with the object; or,
// guarded, at the end of pages of their own that nobody can touch afterwards, nor beyond their end.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

#include "helo/testing/fake_host.h"

namespace helo::testing {

class Borrowed {
 public:
  Borrowed(std::string_view bytes, bool guarded) : size_(bytes.size()) {
    if (size_ == 0) return;
    if (guarded) {
      MapGuarded();
    } else {
      heap_.reset(new uint8_t[size_]);
      data_ = heap_.get();
    }
    std::memcpy(data_, bytes.data(), size_);
  }
  Borrowed(Borrowed&& other) noexcept
      : heap_(std::move(other.heap_)),
        pages_(std::exchange(other.pages_, nullptr)),
        pages_size_(other.pages_size_),
        data_(std::exchange(other.data_, nullptr)),
        size_(other.size_) {}
  ~Borrowed() {
    volatile uint8_t* bytes = data_;  // seen without a sanitizer, too
    for (size_t i = 0; bytes != nullptr && i < size_; ++i) bytes[i] = 0xDD;
    if (pages_ == nullptr) return;
    // Kept for ever, without memory behind it, so that nothing else comes to lie there.
    madvise(pages_, pages_size_, MADV_DONTNEED);
    mprotect(pages_, pages_size_, PROT_NONE);
  }
  helo_bytes bytes() const { return {data_, size_}; }
  helo_str str() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const void* data() const { return data_; }

 private:
  void MapGuarded() {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t used = (size_ + page - 1) / page * page;
    pages_size_ = used + page;
    void* pages =
        mmap(nullptr, pages_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    pages_ = static_cast<uint8_t*>(pages);
    mprotect(pages_ + used, page, PROT_NONE);
    data_ = pages_ + used - size_;
  }

  std::unique_ptr<uint8_t[]> heap_;
  uint8_t* pages_ = nullptr;
  size_t pages_size_ = 0;
  uint8_t* data_ = nullptr;
  size_t size_;
};

// A struct or an array of them, by its bytes.
template <typename T>
class BorrowedOf {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  BorrowedOf(const T* first, size_t count, bool guarded)
      : bytes_({reinterpret_cast<const char*>(first), count * sizeof(T)}, guarded) {}
  const T* get() const { return static_cast<const T*>(bytes_.data()); }

 private:
  Borrowed bytes_;
};

class BorrowedSession {
 public:
  BorrowedSession(const FakePeer& peer, bool guarded)
      : address_(peer.address, guarded), info_(Make(peer, address_), guarded) {}
  const helo_session_info* get() const {
    return static_cast<const helo_session_info*>(info_.data());
  }

 private:
  static std::string Make(const FakePeer& peer, const Borrowed& address) {
    helo_session_info info{};
    info.struct_size = sizeof(info);
    info.protocol = peer.protocol;
    std::memcpy(info.node_id, peer.node_id.data(), sizeof(info.node_id));
    info.inbound = peer.inbound ? 1 : 0;
    info.max_send_bytes = peer.max_send_bytes;
    info.address = address.str();
    return {reinterpret_cast<const char*>(&info), sizeof(info)};
  }

  Borrowed address_, info_;
};

class BorrowedPeer {
 public:
  BorrowedPeer(const FakePeer& peer, bool guarded)
      : address_(peer.address, guarded),
        agent_(peer.agent, guarded),
        info_(Make(peer, address_, agent_), guarded) {}
  const helo_peer_info* get() const { return static_cast<const helo_peer_info*>(info_.data()); }

 private:
  static std::string Make(const FakePeer& peer, const Borrowed& address, const Borrowed& agent) {
    helo_peer_info info{};
    info.struct_size = sizeof(info);
    info.inbound = peer.inbound ? 1 : 0;
    std::memcpy(info.node_id, peer.node_id.data(), sizeof(info.node_id));
    info.address = address.str();
    info.agent = agent.str();
    info.age_ms = peer.age_ms;
    info.rtt_us = peer.rtt_us;
    return {reinterpret_cast<const char*>(&info), sizeof(info)};
  }

  Borrowed address_, agent_, info_;
};

}  // namespace helo::testing
