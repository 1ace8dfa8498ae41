// What the fake host lends: exact-size blocks of their own, spoilt and freed with the object.
#pragma once

#include <cstring>
#include <memory>
#include <string_view>

#include "helo/testing/fake_host.h"

namespace helo::testing {

class Borrowed {
 public:
  explicit Borrowed(std::string_view bytes)
      : data_(bytes.empty() ? nullptr : new uint8_t[bytes.size()]), size_(bytes.size()) {
    if (size_ != 0) std::memcpy(data_.get(), bytes.data(), size_);
  }
  Borrowed(Borrowed&&) = default;
  ~Borrowed() {
    volatile uint8_t* bytes = data_.get();  // seen without a sanitizer, too
    for (size_t i = 0; bytes != nullptr && i < size_; ++i) bytes[i] = 0xDD;
  }
  helo_bytes bytes() const { return {data_.get(), size_}; }
  helo_str str() const { return {reinterpret_cast<const char*>(data_.get()), size_}; }

 private:
  std::unique_ptr<uint8_t[]> data_;
  size_t size_;
};

class BorrowedSession {
 public:
  explicit BorrowedSession(const FakePeer& peer)
      : address_(peer.address), info_(std::make_unique<helo_session_info>()) {
    info_->struct_size = sizeof(helo_session_info);
    info_->protocol = peer.protocol;
    std::memcpy(info_->node_id, peer.node_id.data(), sizeof(info_->node_id));
    info_->inbound = peer.inbound ? 1 : 0;
    info_->max_send_bytes = peer.max_send_bytes;
    info_->address = address_.str();
  }
  const helo_session_info* get() const { return info_.get(); }

 private:
  Borrowed address_;
  std::unique_ptr<helo_session_info> info_;
};

class BorrowedPeer {
 public:
  explicit BorrowedPeer(const FakePeer& peer)
      : address_(peer.address), agent_(peer.agent), info_(std::make_unique<helo_peer_info>()) {
    info_->struct_size = sizeof(helo_peer_info);
    info_->inbound = peer.inbound ? 1 : 0;
    std::memcpy(info_->node_id, peer.node_id.data(), sizeof(info_->node_id));
    info_->address = address_.str();
    info_->agent = agent_.str();
    info_->age_ms = peer.age_ms;
    info_->rtt_us = peer.rtt_us;
  }
  const helo_peer_info* get() const { return info_.get(); }

 private:
  Borrowed address_, agent_;
  std::unique_ptr<helo_peer_info> info_;
};

}  // namespace helo::testing
