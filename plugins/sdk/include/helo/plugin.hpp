// helo/plugin.hpp: a plugin in C++20. Header-only, std types only. The rules are those of
// helo/plugin.h; this adds that exceptions stop at the border: one that escapes a callback is a
// fault of the plugin (it is put in quarantine with what() as the reason), and no peer is blamed.
//
//   class Echo final : public helo::Plugin {
//    public:
//     static constexpr helo::About kAbout = {"com.example.echo", "1.0.0", "answers each ping"};
//     static constexpr helo_protocol kProtocols[] = {helo::Protocol("echo", 1, 2, 65536)};
//     using Plugin::Plugin;  // or a constructor of (helo::Host, std::string_view config)
//     helo::Verdict OnMessage(helo::Session session, uint32_t type, helo::Bytes payload) override;
//   };
//   HELO_PLUGIN(Echo);
//
// Callbacks come one after the other, never two at once, not always by the same thread of the
// system. Beside this: helo/config.hpp (settings), helo/bytes.hpp (big-endian fields, hex,
// quoting), helo/testing/fake_host.h (tests).
#ifndef HELO_PLUGIN_HPP_
#define HELO_PLUGIN_HPP_

#include <array>
#include <exception>
#include <iterator>
#include <map>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "helo/host.hpp"

namespace helo {
inline namespace sdk {

// What on_message says of the peer.
enum class Verdict : helo_verdict {
  kOk = HELO_V_OK,
  kPenalise = HELO_V_PENALISE,      // it broke the protocol: closed, and counted against it
  kDisconnect = HELO_V_DISCONNECT,  // closed, nobody's fault
};

struct About {
  const char* id;           // "com.example.echo"
  const char* version;      // "1.0.0"
  const char* description;  // one line for listings
  // HELO_F_UNLOADABLE: no thread, thread-local or atexit handler of yours outlives OnStop, so that
  // the library may be unmapped. Without it an unloaded library stays mapped.
  uint32_t flags = 0;
};

using Arguments = std::span<const std::string_view>;  // borrowed until the call returns

// A capability. What breaks a rule of helo/plugin.h does not compile.
consteval helo_protocol Protocol(const char* name, uint32_t version, uint32_t message_count,
                                 uint32_t max_message_bytes) {
  const std::string_view text = name;
  if (text.empty() || text.size() > 16) throw "a protocol's name has 1 to 16 characters";
  if (text[0] < 'a' || text[0] > 'z') throw "a protocol's name begins with a to z";
  for (const char c : text) {
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
      throw "a protocol's name has only a to z, 0 to 9 and -";
  }
  if (version < 1 || version > 65535) throw "a version is 1 to 65535";
  if (message_count < 1 || message_count > 65535) throw "a message count is 1 to 65535";
  if (max_message_bytes > (16u << 20)) throw "a message has at most 16 MiB";
  return {sizeof(helo_protocol), version, name, message_count, max_message_bytes};
}

// A command of the plugin's own: `helo plugin call NAME COMMAND ARGUMENT...`.
consteval helo_command Command(const char* name, const char* arguments, const char* summary) {
  const std::string_view text = name;
  if (text.empty() || text.size() > 32) throw "a command's name has 1 to 32 characters";
  if (text[0] < 'a' || text[0] > 'z') throw "a command's name begins with a to z";
  for (const char c : text) {
    if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
      throw "a command's name has only a to z, 0 to 9 and -";
  }
  return {sizeof(helo_command), 0, name, arguments, summary};
}

// One instance: its constructor, OnStart, then per session OnOpen, any number of others and exactly
// one OnClose, then OnStop and its destructor. To refuse to run, throw in the constructor or in
// OnStart: what() is the reason that the operator sees.
class Plugin {
 public:
  static constexpr std::array<helo_protocol, 0> kProtocols{};  // hide these with yours
  static constexpr std::array<helo_command, 0> kCommands{};

  explicit Plugin(const Host& host) : host_(host) {}
  virtual ~Plugin() = default;
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  virtual void OnStart() {}
  // info.protocol is the index into kProtocols of the version that both sides chose.
  virtual void OnOpen(Session /*session*/, const SessionInfo& /*info*/) {}
  virtual Verdict OnMessage(Session /*session*/, uint32_t /*type*/, Bytes /*payload*/) {
    return Verdict::kOk;
  }
  virtual void OnWritable(Session /*session*/) {}
  virtual void OnPosted(uint64_t /*token*/) {}
  virtual void OnTimer(uint64_t /*token*/) {}
  // `command` is an index into kCommands. Owes one answer; an exception refuses the call, too.
  virtual void OnCommand(const Call& call, uint32_t /*command*/, Arguments /*arguments*/) {
    call.Refuse("this plugin has no commands");
  }
  virtual void OnClose(Session /*session*/, int32_t /*reason*/) {}
  virtual void OnStop() {}  // join your own threads here: you have five seconds

  const Host& host() const { return host_; }

 private:
  Host host_;
};

// State per session, in the order in which they opened. What it holds is destroyed at Close.
template <typename T>
class SessionMap {
 public:
  template <typename... Args>
  T& Open(Session session, Args&&... args) {
    return map_.insert_or_assign(session, T{std::forward<Args>(args)...}).first->second;
  }
  T* Find(Session session) {  // nullptr: not open
    const auto it = map_.find(session);
    return it == map_.end() ? nullptr : &it->second;
  }
  bool Close(Session session) { return map_.erase(session) != 0; }
  size_t size() const { return map_.size(); }
  bool empty() const { return map_.empty(); }
  auto begin() { return map_.begin(); }  // pairs of Session and T
  auto end() { return map_.end(); }
  auto begin() const { return map_.begin(); }
  auto end() const { return map_.end(); }

 private:
  std::map<Session, T> map_;
};

// The C side of T. Nothing below is called by an author.
template <typename T>
struct Glue {
  static_assert(std::is_base_of_v<Plugin, T>, "a plugin derives from helo::Plugin");
  static_assert(std::size(T::kProtocols) <= 16, "a plugin has at most 16 protocols");

  static Plugin& Of(helo_plugin* plugin) { return *reinterpret_cast<Plugin*>(plugin); }

  template <typename R, typename F>
  static R Guard(const Host& host, R neutral, F&& body) noexcept {
    try {
      return body();
    } catch (const std::exception& e) {
      host.Fault(e.what());
    } catch (...) {
      host.Fault("it threw something that is no std::exception");
    }
    return neutral;
  }
  template <typename F>
  static void Run(helo_plugin* plugin, F&& body) noexcept {
    Guard(Of(plugin).host(), 0, [&] {
      body(Of(plugin));
      return 0;
    });
  }

  static helo_status Create(const helo_host* c_host, helo_bytes config,
                            helo_plugin** out) noexcept {
    const Host host(c_host);
    return Guard<helo_status>(host, HELO_E_FAILED, [&] {
      std::unique_ptr<Plugin> made;
      if constexpr (std::is_constructible_v<T, const Host&, std::string_view>) {
        const char* text = reinterpret_cast<const char*>(config.data);
        made = std::make_unique<T>(host, FromC(helo_str{text, config.size}));
      } else {
        made = std::make_unique<T>(host);
      }
      *out = reinterpret_cast<helo_plugin*>(made.release());
      return HELO_OK;
    });
  }
  static helo_status Start(helo_plugin* plugin) noexcept {
    return Guard<helo_status>(Of(plugin).host(), HELO_E_FAILED, [&] {
      Of(plugin).OnStart();
      return HELO_OK;
    });
  }
  static void Open(helo_plugin* plugin, helo_session session,
                   const helo_session_info* info) noexcept {
    Run(plugin, [&](Plugin& p) { p.OnOpen(session, *info); });
  }
  static helo_verdict Message(helo_plugin* plugin, helo_session session, uint32_t type,
                              helo_bytes payload) noexcept {
    return Guard<helo_verdict>(Of(plugin).host(), HELO_V_OK, [&] {
      return static_cast<helo_verdict>(Of(plugin).OnMessage(session, type, FromC(payload)));
    });
  }
  static void Writable(helo_plugin* plugin, helo_session session) noexcept {
    Run(plugin, [&](Plugin& p) { p.OnWritable(session); });
  }
  static void Posted(helo_plugin* plugin, uint64_t token) noexcept {
    Run(plugin, [&](Plugin& p) { p.OnPosted(token); });
  }
  static void Close(helo_plugin* plugin, helo_session session, int32_t reason) noexcept {
    Run(plugin, [&](Plugin& p) { p.OnClose(session, reason); });
  }
  static void Stop(helo_plugin* plugin) noexcept {
    Run(plugin, [](Plugin& p) { p.OnStop(); });
  }
  static void Destroy(helo_plugin* plugin) noexcept { delete &Of(plugin); }
  static void Timer(helo_plugin* plugin, uint64_t token) noexcept {
    Run(plugin, [&](Plugin& p) { p.OnTimer(token); });
  }
  static void OnCommand(helo_plugin* plugin, uint64_t id, uint32_t command,
                        const helo_str* arguments, uint32_t argument_count) noexcept {
    Run(plugin, [&](Plugin& p) {
      const Call call(p.host(), id);
      try {
        std::vector<std::string_view> views;
        views.reserve(argument_count);
        for (uint32_t i = 0; i < argument_count; ++i) views.push_back(FromC(arguments[i]));
        p.OnCommand(call, command, views);
      } catch (...) {
        call.Refuse("the plugin failed; see its state and the node's log");
        throw;
      }
    });
  }

  template <typename U, typename Table, size_t... I>
  static constexpr std::array<const U*, sizeof...(I)> Pointers(const Table& table,
                                                               std::index_sequence<I...> /*all*/) {
    return {&table[I]...};
  }
  static constexpr auto kProtocols =
      Pointers<helo_protocol>(T::kProtocols, std::make_index_sequence<std::size(T::kProtocols)>());
  static constexpr auto kCommands =
      Pointers<helo_command>(T::kCommands, std::make_index_sequence<std::size(T::kCommands)>());
  static constexpr helo_plugin_timer kTimer = {sizeof(helo_plugin_timer), 0, &Timer};
  static constexpr helo_plugin_command kCommand = {sizeof(helo_plugin_command),
                                                   static_cast<uint32_t>(kCommands.size()),
                                                   kCommands.data(), &OnCommand};

  static const void* Extension(helo_plugin* /*plugin*/, const char* id) noexcept {
    if (std::string_view(id) == HELO_EXT_TIMER) return &kTimer;
    if (std::string_view(id) == HELO_EXT_COMMAND && !kCommands.empty()) return &kCommand;
    return nullptr;
  }
};

// The descriptor of T, made when compiling.
template <typename T>
consteval helo_descriptor Describe() {
  using G = Glue<T>;
  return {.struct_size = sizeof(helo_descriptor),
          .abi_major = HELO_ABI_MAJOR,
          .abi_minor = HELO_ABI_MINOR,
          .flags = T::kAbout.flags,
          .id = T::kAbout.id,
          .version = T::kAbout.version,
          .description = T::kAbout.description,
          .protocols = G::kProtocols.data(),
          .protocol_count = static_cast<uint32_t>(G::kProtocols.size()),
          .reserved = 0,
          .create = &G::Create,
          .start = &G::Start,
          .on_open = &G::Open,
          .on_message = &G::Message,
          .on_writable = &G::Writable,
          .on_posted = &G::Posted,
          .on_close = &G::Close,
          .stop = &G::Stop,
          .destroy = &G::Destroy,
          .get_extension = &G::Extension};
}
template <typename T>
inline constexpr helo_descriptor kDescriptor = Describe<T>();

}  // namespace sdk
}  // namespace helo

// The one exported function of a plugin's library.
#define HELO_PLUGIN(Type)                                                            \
  extern "C" const helo_descriptor* helo_plugin_query(uint32_t /*host_abi_major*/) { \
    return &::helo::kDescriptor<Type>;                                               \
  }                                                                                  \
  static_assert(::helo::kDescriptor<Type>.struct_size != 0, "ends with a semicolon")

#endif
