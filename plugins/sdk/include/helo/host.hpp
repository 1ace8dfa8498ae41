// helo/host.hpp: the node as a plugin in C++ sees it: thin calls over helo_host and its extensions.
// Part of helo/plugin.hpp; std types only. A Host is a value, copy it freely: every call is [any],
// from the plugin's creation until its destructor has returned. Nothing here throws, except what a
// visitor of yours throws.
#ifndef HELO_HOST_HPP_
#define HELO_HOST_HPP_

#include <chrono>
#include <cstdint>
#include <exception>
#include <span>
#include <string_view>
#include <type_traits>

#include "helo/extensions.h"
#include "helo/plugin.h"

namespace helo {
inline namespace sdk {  // apart from names of the node, which a test may include as well

using Session = helo_session;
using Bytes = std::span<const uint8_t>;  // borrowed until the call returns
using SessionInfo = helo_session_info;

inline helo_bytes ToC(Bytes bytes) { return {bytes.data(), bytes.size()}; }
inline helo_str ToC(std::string_view text) { return {text.data(), text.size()}; }
inline Bytes FromC(helo_bytes bytes) { return {bytes.data, bytes.size}; }
inline std::string_view FromC(helo_str text) {
  return text.size == 0 ? std::string_view() : std::string_view(text.data, text.size);
}

class Host {
 public:
  explicit Host(const helo_host* host) noexcept
      : host_(host),
        timer_(Extension<helo_host_timer>(HELO_EXT_TIMER)),
        command_(Extension<helo_host_command>(HELO_EXT_COMMAND)),
        peers_(Extension<helo_host_peers>(HELO_EXT_PEERS)) {}

  // OK: taken, and sent in the order of the calls. AGAIN: the peer reads slowly, nothing was taken,
  // OnWritable follows. GONE: no such session any more, which is no error. See helo_host.send.
  [[nodiscard]] helo_status Send(Session session, uint32_t type, Bytes payload) const noexcept {
    return host_->send(host_->ctx, session, type, ToC(payload));
  }
  // Closes the peer, for every protocol, and tells it why. OnClose follows.
  helo_status Disconnect(Session session, std::string_view why) const noexcept {
    return host_->disconnect(host_->ctx, session, /*penalty=*/0, ToC(why));
  }
  // The same, and counted against it: it broke the protocol.
  helo_status Penalise(Session session, std::string_view why) const noexcept {
    return host_->disconnect(host_->ctx, session, /*penalty=*/1, ToC(why));
  }
  // OnPosted(token) follows: the way back from a thread of your own.
  helo_status Post(uint64_t token) const noexcept { return host_->post(host_->ctx, token); }
  // "I am broken": the plugin is put in quarantine and no peer is blamed.
  void Fault(std::string_view why) const noexcept { host_->fault(host_->ctx, ToC(why)); }

  void Log(int32_t level, std::string_view line) const noexcept {
    host_->log(host_->ctx, level, ToC(line));
  }
  void Debug(std::string_view line) const noexcept { Log(HELO_LOG_DEBUG, line); }
  void Info(std::string_view line) const noexcept { Log(HELO_LOG_INFO, line); }
  void Warning(std::string_view line) const noexcept { Log(HELO_LOG_WARNING, line); }
  void Error(std::string_view line) const noexcept { Log(HELO_LOG_ERROR, line); }

  // helo.timer/1. Without it SetTimer says INVALID.
  bool has_timers() const noexcept { return timer_ != nullptr; }
  // OnTimer(token), once; a token that is set already is moved.
  helo_status SetTimer(uint64_t token, std::chrono::nanoseconds delay) const noexcept {
    if (timer_ == nullptr) return HELO_E_INVALID;
    return timer_->set(host_->ctx, token,
                       static_cast<uint64_t>(delay.count() < 0 ? 0 : delay.count()));
  }
  helo_status CancelTimer(uint64_t token) const noexcept {
    return timer_ == nullptr ? HELO_E_INVALID : timer_->cancel(host_->ctx, token);
  }
  // A clock that never jumps; the fake host's stands still until a test moves it.
  std::chrono::nanoseconds Now() const noexcept {
    if (timer_ == nullptr) return std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::nanoseconds(timer_->now_ns(host_->ctx));
  }

  // helo.command/1. Without it nobody calls a command, and there is nothing to answer.
  bool has_commands() const noexcept { return command_ != nullptr; }
  helo_status Answer(uint64_t call, bool failed, std::string_view text) const noexcept {
    if (command_ == nullptr) return HELO_E_INVALID;
    return command_->answer(host_->ctx, call, failed ? 1 : 0, ToC(text));
  }

  // helo.peers/1. Without it nothing is visited, and the answer is INVALID. The visitor returns
  // nothing, or false to end the visit; what it is given is borrowed.
  bool has_peers() const noexcept { return peers_ != nullptr; }
  template <typename F>  // (Session, const SessionInfo&)
  helo_status EachSession(F&& visit) const {
    if (peers_ == nullptr) return HELO_E_INVALID;
    Visit<F> state{visit};
    const helo_status status = peers_->each_session(
        host_->ctx, &state, [](void* arg, helo_session session, const helo_session_info* info) {
          return static_cast<Visit<F>*>(arg)->Run(session, *info);
        });
    if (state.thrown) std::rethrow_exception(state.thrown);
    return status;
  }
  template <typename F>  // (const helo_peer_info&)
  helo_status EachPeer(F&& visit) const {
    if (peers_ == nullptr) return HELO_E_INVALID;
    Visit<F> state{visit};
    const helo_status status =
        peers_->each_peer(host_->ctx, &state, [](void* arg, const helo_peer_info* info) {
          return static_cast<Visit<F>*>(arg)->Run(*info);
        });
    if (state.thrown) std::rethrow_exception(state.thrown);
    return status;
  }

  // The host's half of any other extension; nullptr: this host has none of that id.
  template <typename T>
  const T* Extension(const char* id) const noexcept {
    if (!HELO_HAS(host_, helo_host, get_extension)) return nullptr;
    const void* found = host_->get_extension(host_->ctx, id);
    const auto* extension = static_cast<const T*>(found);
    // One that is shorter than this header's lacks calls: as if it were absent.
    return extension != nullptr && extension->struct_size >= sizeof(T) ? extension : nullptr;
  }
  const helo_host* c() const noexcept { return host_; }

 private:
  // What a visitor throws must not pass through the host's C code: it is carried around it.
  template <typename F>
  struct Visit {
    F& visit;
    std::exception_ptr thrown = nullptr;
    template <typename... Args>
    int32_t Run(const Args&... args) noexcept {
      try {
        if constexpr (std::is_void_v<std::invoke_result_t<F&, const Args&...>>) {
          visit(args...);
          return 1;
        } else {
          return visit(args...) ? 1 : 0;
        }
      } catch (...) {
        thrown = std::current_exception();
        return 0;
      }
    }
  };

  const helo_host* host_;
  const helo_host_timer* timer_;
  const helo_host_command* command_;
  const helo_host_peers* peers_;
};

// One call of a command, which is owed one answer: now, or later from any thread. A value: keep it.
class Call {
 public:
  Call(const Host& host, uint64_t id) noexcept : host_(host), id_(id) {}
  uint64_t id() const noexcept { return id_; }
  // GONE: answered already, or nobody waits any more. TOO_BIG: above 1 MiB, and still owed.
  helo_status Answer(std::string_view text) const noexcept {
    return host_.Answer(id_, /*failed=*/false, text);
  }
  helo_status Refuse(std::string_view why) const noexcept {
    return host_.Answer(id_, /*failed=*/true, why);
  }

 private:
  Host host_;
  uint64_t id_;
};

}  // namespace sdk
}  // namespace helo

#endif
