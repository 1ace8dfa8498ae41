// See channel.h. The handshake and the records are OpenSSL's; what WIRE 1 adds is in link.cc (what
// arrives) and context.cc (what is allowed). Here: one connection's states, and how a failure gets
// its reason.
#include "p2p/tls/channel.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include <utility>

#include "p2p/tls/context_impl.h"

namespace helo::tls {
namespace {

constexpr size_t kMaxRecordPlain = 16384;
constexpr size_t kRecordOverhead = 5 + 1 + 16;  // header, inner type, tag

std::string AlertText(int alert) {
  return absl::StrFormat("alert %d (%s)", alert, std::string(AlertName(alert)));
}

std::string LibraryText() {
  const char* text = ERR_reason_error_string(ERR_peek_error());
  return text == nullptr ? "the TLS library gives no reason" : text;
}

}  // namespace

std::array<uint8_t, 7> GateAlertRecord(GateAlert alert) {
  return {SSL3_RT_ALERT, 3, 3, 0, 2, SSL3_AL_FATAL, static_cast<uint8_t>(alert)};
}

std::string_view AlertName(int alert) {
  struct Named {
    int alert;
    std::string_view name;
  };
  // RFC 8446 6, and the older ones that a TLS 1.2 end may still send.
  static constexpr Named kNames[] = {
      {0, "close_notify"},
      {10, "unexpected_message"},
      {20, "bad_record_mac"},
      {21, "decryption_failed"},
      {22, "record_overflow"},
      {30, "decompression_failure"},
      {40, "handshake_failure"},
      {41, "no_certificate"},
      {42, "bad_certificate"},
      {43, "unsupported_certificate"},
      {44, "certificate_revoked"},
      {45, "certificate_expired"},
      {46, "certificate_unknown"},
      {47, "illegal_parameter"},
      {48, "unknown_ca"},
      {49, "access_denied"},
      {50, "decode_error"},
      {51, "decrypt_error"},
      {60, "export_restriction"},
      {70, "protocol_version"},
      {71, "insufficient_security"},
      {80, "internal_error"},
      {86, "inappropriate_fallback"},
      {90, "user_canceled"},
      {100, "no_renegotiation"},
      {109, "missing_extension"},
      {110, "unsupported_extension"},
      {111, "certificate_unobtainable"},
      {112, "unrecognized_name"},
      {113, "bad_certificate_status_response"},
      {114, "bad_certificate_hash_value"},
      {115, "unknown_psk_identity"},
      {116, "certificate_required"},
      {120, "no_application_protocol"},
  };
  for (const Named& named : kNames) {
    if (named.alert == alert) return named.name;
  }
  return "unknown";
}

struct Channel::Impl {
  Impl(Context::Impl& c, Role role) : context(c), link(role), next_key_update(c.records_per_key) {}

  Context::Impl& context;
  Link link;
  Handle<SSL, SSL_free> ssl;
  uint64_t next_key_update;  // in records sent
  bool closed = false;       // close_notify queued
};

Channel::Channel(Context& context, Role role)
    : impl_(std::make_unique<Impl>(*context.impl_, role)) {
  Context::Impl& shared = *context.impl_;
  const Serving serving(shared.current, impl_->link);
  const bool dialer = role == Role::kDialer;
  impl_->ssl.reset(SSL_new(dialer ? shared.dialer.get() : shared.acceptor.get()));
  SSL* ssl = impl_->ssl.get();
  if (ssl == nullptr || BIO_up_ref(shared.bio.get()) != 1) {
    impl_->ssl.reset();
    state_ = State::kFailed;
    failure_.reason = Reason::kInternal;
    failure_.detail = absl::StrCat("cannot make a TLS connection: ", LibraryText());
    return;
  }
  SSL_set_bio(ssl, shared.bio.get(), shared.bio.get());
  if (dialer) {
    SSL_set_connect_state(ssl);
  } else {
    SSL_set_accept_state(ssl);
  }
}

Channel::~Channel() = default;

void Channel::Feed(ByteView ciphertext) {
  if (state_ == State::kHandshaking || state_ == State::kUp) impl_->link.Feed(ciphertext);
}

Channel::State Channel::Handshake() {
  if (state_ != State::kHandshaking) return state_;
  Link& link = impl_->link;
  SSL* ssl = impl_->ssl.get();
  const Serving serving(impl_->context.current, link);
  const int result = SSL_do_handshake(ssl);
  if (result != 1) {
    const int error = SSL_get_error(ssl, result);
    if (error != SSL_ERROR_WANT_READ || link.not_tls || link.hello_too_long) Fail(error);
    return state_;
  }
  link.handshake_done = true;
  // The callbacks have seen to both already; no handshake may end without them.
  if (!AlpnConfirmed(ssl)) link.wrong_alpn = true;
  if (link.wrong_alpn || link.certificate != Link::Certificate::kGood) {
    Fail(SSL_ERROR_SSL);
    return state_;
  }
  remote_id_ = link.remote_id;
  state_ = State::kUp;
  return state_;
}

size_t Channel::Read(std::span<uint8_t> out) {
  if (state_ != State::kUp) return 0;
  SSL* ssl = impl_->ssl.get();
  const Serving serving(impl_->context.current, impl_->link);
  size_t total = 0;
  while (total < out.size()) {
    size_t n = 0;
    if (SSL_read_ex(ssl, out.data() + total, out.size() - total, &n) == 1) {
      total += n;
      continue;
    }
    const int error = SSL_get_error(ssl, 0);
    if (error == SSL_ERROR_ZERO_RETURN) {
      state_ = State::kPeerClosed;
    } else if (error != SSL_ERROR_WANT_READ) {
      Fail(error);
    }
    break;
  }
  return total;
}

bool Channel::Write(ByteView plain) {
  if ((state_ != State::kUp && state_ != State::kPeerClosed) || impl_->closed) return false;
  if (plain.empty()) return true;
  Link& link = impl_->link;
  SSL* ssl = impl_->ssl.get();
  const Serving serving(impl_->context.current, link);
  if (link.records_sent >= impl_->next_key_update) {
    // Not asking for the remote's in turn, so that each of its KeyUpdates is its own doing. It goes
    // out in front of the data below.
    if (SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1) ERR_clear_error();
    impl_->next_key_update = link.records_sent + impl_->context.records_per_key;
  }
  const size_t records = (plain.size() + kMaxRecordPlain - 1) / kMaxRecordPlain;
  link.ReserveOutput(plain.size() + records * kRecordOverhead);
  size_t done = 0;
  if (SSL_write_ex(ssl, plain.data(), plain.size(), &done) == 1) return true;
  Fail(SSL_get_error(ssl, 0));
  return false;
}

void Channel::Close() {
  if ((state_ != State::kUp && state_ != State::kPeerClosed) || impl_->closed) return;
  const Serving serving(impl_->context.current, impl_->link);
  impl_->closed = true;
  // Fails only in the middle of a handshake message of the remote's; then it gets none.
  SSL_shutdown(impl_->ssl.get());
}

ByteView Channel::Output() const { return impl_->link.Output(); }
void Channel::ConsumeOutput(size_t n) { impl_->link.ConsumeOutput(n); }

bool Channel::HasBufferedInput() const {
  if (state_ != State::kHandshaking && state_ != State::kUp) return false;
  if (SSL_pending(impl_->ssl.get()) > 0) return true;
  return impl_->link.InputLeft() && !impl_->link.starved;
}

bool Channel::certificate_requested() const { return impl_->link.certificate_requested; }

Channel::PostHandshake Channel::TakePostHandshake() {
  return std::exchange(impl_->link.post, PostHandshake{});
}

uint64_t Channel::records_received() const { return impl_->link.records_received; }

void Channel::Fail(int ssl_error) {
  Link& link = impl_->link;
  const bool in_handshake = !link.handshake_done;
  const int library_reason = ERR_GET_REASON(ERR_peek_error());
  state_ = State::kFailed;
  Failure& f = failure_;

  if (link.alert_received >= 0) {
    f.by_remote = true;
    f.alert = link.alert_received;
    f.detail = absl::StrCat("the remote sent ", AlertText(f.alert));
    if (f.alert == SSL_AD_NO_APPLICATION_PROTOCOL) {
      f.reason = Reason::kWrongAlpn;
    } else if (link.role == Role::kDialer && !link.hello_seen &&
               f.alert == static_cast<int>(GateAlert::kNotWelcome)) {
      f.reason = Reason::kGateNotWelcome;
    } else if (link.role == Role::kDialer && !link.hello_seen &&
               f.alert == static_cast<int>(GateAlert::kNoRoom)) {
      f.reason = Reason::kGateNoRoom;
    }
    return;
  }

  if (link.hello_too_long) {
    const std::array<uint8_t, 7> refusal = {SSL3_RT_ALERT,           3, 3, 0, 2, SSL3_AL_FATAL,
                                            SSL_AD_ILLEGAL_PARAMETER};
    link.AppendOutput(refusal);
    link.alert_sent = SSL_AD_ILLEGAL_PARAMETER;
  }
  f.alert = link.alert_sent < 0 ? 0 : link.alert_sent;
  const std::string sent = f.alert == 0 ? "" : absl::StrCat("; sent ", AlertText(f.alert));

  if (link.not_tls) {
    f.reason = Reason::kNotTls;
    f.detail = "the first bytes are not a TLS record";
  } else if (link.hello_too_long) {
    f.detail =
        absl::StrFormat("its hello is larger than %d bytes%s", kMaxPlainHandshakeMessage, sent);
  } else if (link.wrong_alpn) {
    f.reason = Reason::kWrongAlpn;
    f.detail = absl::StrCat(
        link.role == Role::kDialer ? "the remote did not confirm " : "the remote did not offer ",
        kAlpn, sent);
  } else if (in_handshake && (link.certificate == Link::Certificate::kEmpty ||
                              library_reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)) {
    f.reason = Reason::kNoCertificate;
    f.detail = absl::StrCat("the remote sent no certificate", sent);
  } else if (in_handshake && link.certificate == Link::Certificate::kBad) {
    f.reason = Reason::kBadCertificate;
    f.detail = absl::StrCat(link.certificate_detail, sent);
  } else if (in_handshake && link.hello_seen && link.certificate == Link::Certificate::kNone &&
             library_reason == SSL_R_EXCESSIVE_MESSAGE_SIZE) {
    f.reason = Reason::kBadCertificate;
    f.detail = absl::StrFormat("its certificate list is larger than %d bytes%s",
                               kMaxCertificateList, sent);
  } else if (in_handshake && link.certificate == Link::Certificate::kGood &&
             library_reason == SSL_R_BAD_SIGNATURE) {
    f.reason = Reason::kBadCertificate;
    f.detail = absl::StrCat("the remote did not prove that it holds its certificate's key", sent);
  } else if (!in_handshake &&
             (f.alert == SSL_AD_UNEXPECTED_MESSAGE || ssl_error == SSL_ERROR_WANT_READ)) {
    // WANT_READ: a write that cannot go on because the remote left a handshake message unfinished.
    f.reason = Reason::kTlsMisuse;
    f.detail = absl::StrCat("unexpected message after the TLS handshake", sent);
  } else {
    f.detail = absl::StrCat(LibraryText(), sent);
  }
}

}  // namespace helo::tls
