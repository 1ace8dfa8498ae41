// See link.h. RFC 8446 5.1 (records), 4 (handshake messages), 4.4.2 (Certificate).
#include "p2p/tls/link.h"

#include <absl/strings/str_format.h>
#include <openssl/ssl3.h>
#include <openssl/tls1.h>

#include <algorithm>
#include <cstring>

#include "p2p/tls/node_key.h"

namespace helo::tls {
namespace {

constexpr size_t kRecordHeader = 5;
constexpr size_t kMaxRecordBody = 16384 + 256;

// Whether these are, as far as they go, the first bytes of a TLS record: a known type and
// version 3.x.
bool LooksLikeRecord(ByteView head) {
  if (head[0] < SSL3_RT_CHANGE_CIPHER_SPEC || head[0] > SSL3_RT_APPLICATION_DATA) return false;
  return head.size() < 2 || head[1] == 3;
}

size_t BigEndian(ByteView bytes) {
  size_t value = 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

// Takes a vector with a length of `width` bytes off the front of `in`.
bool TakeVector(ByteView& in, size_t width, ByteView& out) {
  if (in.size() < width) return false;
  const size_t size = BigEndian(in.first(width));
  if (in.size() - width < size) return false;
  out = in.subspan(width, size);
  in = in.subspan(width + size);
  return true;
}

}  // namespace

bool NamesOurAlpn(ByteView extension, bool alone) {
  const ByteView ours = AsBytes(kAlpn);
  ByteView names, name;
  if (!TakeVector(extension, 2, names) || !extension.empty()) return false;
  bool found = false;
  size_t count = 0;
  for (; !names.empty(); ++count) {
    if (!TakeVector(names, 1, name)) return false;
    found = found || std::equal(name.begin(), name.end(), ours.begin(), ours.end());
  }
  return found && (count == 1 || !alone);
}

void Link::Feed(ByteView ciphertext) {
  if (ciphertext.empty()) return;
  if (input_at_ > 0) {
    input_.erase(input_.begin(), input_.begin() + static_cast<ptrdiff_t>(input_at_));
    input_at_ = 0;
  }
  input_.insert(input_.end(), ciphertext.begin(), ciphertext.end());
  starved = false;
}

size_t Link::Read(uint8_t* out, size_t size) {
  if (deliverable_ == 0 && !NextRecord()) return 0;
  const size_t n = std::min(size, deliverable_);
  std::memcpy(out, input_.data() + input_at_, n);
  input_at_ += n;
  deliverable_ -= n;
  if (input_at_ == input_.size()) {
    Bytes().swap(input_);  // an idle connection keeps no buffer
    input_at_ = 0;
  }
  return n;
}

bool Link::NextRecord() {
  const ByteView left = ByteView(input_).subspan(input_at_);
  starved = true;
  if (left.empty() || not_tls || hello_too_long) return false;
  if (!passthrough_ && !LooksLikeRecord(left)) {
    if (records_received == 0) {
      not_tls = true;
      return false;
    }
    passthrough_ = true;
  }
  if (!passthrough_) {
    if (left.size() < kRecordHeader) return false;
    const size_t body = BigEndian(left.subspan(3, 2));
    if (body > kMaxRecordBody) {
      passthrough_ = true;
    } else if (left.size() - kRecordHeader < body) {
      return false;
    } else if (handshake_done && (post.unexpected || post.key_updates >= kMaxUntakenKeyUpdates)) {
      starved = false;  // there is more, but not before the caller has judged what came
      return false;
    } else if (!handshake_done && left[0] == SSL3_RT_HANDSHAKE &&
               !ScanPlainHandshake(left.subspan(kRecordHeader, body))) {
      hello_too_long = true;
      return false;
    } else {
      deliverable_ = kRecordHeader + body;
    }
  }
  if (passthrough_) deliverable_ = left.size();
  starved = false;
  ++records_received;
  return true;
}

bool Link::ScanPlainHandshake(ByteView record_body) {
  while (!record_body.empty()) {
    if (message_left_ > 0) {
      const size_t n = std::min(message_left_, record_body.size());
      message_left_ -= n;
      record_body = record_body.subspan(n);
      continue;
    }
    message_header_[message_header_have_++] = record_body[0];
    record_body = record_body.subspan(1);
    if (message_header_have_ < message_header_.size()) continue;
    message_header_have_ = 0;
    message_left_ = BigEndian(ByteView(message_header_).subspan(1));
    if (message_left_ > kMaxPlainHandshakeMessage) return false;
  }
  return true;
}

void Link::ConsumeOutput(size_t n) {
  output_at_ += std::min(n, output_.size() - output_at_);
  if (output_at_ == output_.size()) {
    Bytes().swap(output_);
    output_at_ = 0;
  }
}

void Link::OnMessage(bool sent, int content_type, ByteView message) {
  switch (content_type) {
    case SSL3_RT_HEADER:
      if (sent) ++records_sent;
      return;
    case SSL3_RT_ALERT: {
      if (message.size() != 2) return;
      const int alert = message[1];
      if (alert == TLS1_AD_USER_CANCELLED || alert == SSL3_AD_CLOSE_NOTIFY) return;
      (sent ? alert_sent : alert_received) = alert;
      return;
    }
    case SSL3_RT_HANDSHAKE:
      break;
    default:
      return;
  }
  if (sent || message.size() < 4) return;
  const int type = message[0];
  if (handshake_done) {
    if (type == SSL3_MT_KEY_UPDATE) {
      ++post.key_updates;
    } else {
      post.unexpected = true;
    }
    return;
  }
  if (type == SSL3_MT_CLIENT_HELLO || type == SSL3_MT_SERVER_HELLO) hello_seen = true;
  if (type == SSL3_MT_ENCRYPTED_EXTENSIONS) JudgeExtensions(message.subspan(4));
  if (type == SSL3_MT_CERTIFICATE_REQUEST) certificate_requested = true;
  if (type == SSL3_MT_CERTIFICATE) JudgeCertificate(message.subspan(4));
}

// Here and not only by SSL_get0_alpn_selected, because OpenSSL answers a name that was not offered
// with a decode_error.
void Link::JudgeExtensions(ByteView message_body) {
  ByteView extensions, data;
  wrong_alpn = true;
  if (!TakeVector(message_body, 2, extensions)) return;
  while (extensions.size() >= 2) {
    const size_t type = BigEndian(extensions.first(2));
    extensions = extensions.subspan(2);
    if (!TakeVector(extensions, 2, data)) return;
    if (type == TLSEXT_TYPE_application_layer_protocol_negotiation) {
      wrong_alpn = !NamesOurAlpn(data, /*alone=*/true);
    }
  }
}

void Link::JudgeCertificate(ByteView message_body) {
  certificate = Certificate::kBad;
  ByteView context, list, der, extensions;
  if (!TakeVector(message_body, 1, context) || !TakeVector(message_body, 3, list) ||
      !message_body.empty()) {
    certificate_detail = "its Certificate message is malformed";
    return;
  }
  if (list.empty()) {
    certificate = Certificate::kEmpty;
    return;
  }
  if (list.size() > kMaxCertificateList) {
    certificate_detail = absl::StrFormat("its certificate list has %d bytes, %d are allowed",
                                         list.size(), kMaxCertificateList);
    return;
  }
  if (!TakeVector(list, 3, der) || !TakeVector(list, 2, extensions)) {
    certificate_detail = "its certificate list is malformed";
    return;
  }
  if (!list.empty()) {
    certificate_detail = "it sent more than one certificate";
    return;
  }
  const absl::StatusOr<NodeId> id = IdFromCertificate(der);
  if (!id.ok()) {
    certificate_detail = std::string(id.status().message());
    return;
  }
  remote_id = *id;
  certificate = Certificate::kGood;
}

}  // namespace helo::tls
