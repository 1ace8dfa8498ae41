#include "plugins/check/tracer.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <mutex>
#include <typeinfo>

#include "p2p/base/text.h"
#include "plugins/check/rules.h"

namespace helo::plugins {
namespace {

// The plugin of this process. Functions of C have no place for it but here.
struct State {
  Report* report = nullptr;
  helo_descriptor real{}, traced{};
  const helo_plugin_timer* timer = nullptr;
  const helo_plugin_command* command = nullptr;
  helo_plugin_timer traced_timer{};
  helo_plugin_command traced_command{};
  std::vector<CommandInfo> commands;
  std::mutex mutex;
  Slowest slowest;
  Duration stop{};
};
State& S() {
  static State* state = new State;  // never destroyed: the process ends by _exit
  return *state;
}

constexpr Place kNoException = PluginH("No exception may leave a plugin");

std::string At(const Place& place) {
  return absl::StrCat(" (", place.header, ":", place.line, ")");
}

template <typename R, typename F>
R Call(const std::string& what, R neutral, F&& body) {
  State& s = S();
  s.report->During(what);
  const auto began = std::chrono::steady_clock::now();
  R result = neutral;
  try {
    result = body();
  } catch (const std::exception& e) {
    s.report->Broken(absl::StrCat("an exception left ", what, ": ", QuoteRemote(e.what()),
                                  "; catch it there", At(kNoException)));
  } catch (...) {
    s.report->Broken(
        absl::StrCat("an exception left ", what, "; catch it there", At(kNoException)));
  }
  const Duration took = std::chrono::steady_clock::now() - began;
  s.report->During("");
  const std::lock_guard<std::mutex> lock(s.mutex);
  if (took > s.slowest.time) s.slowest = {took, what};
  if (what == "stop") s.stop = took;
  return result;
}
template <typename F>
void Run(const std::string& what, F&& body) {
  Call(what, 0, [&] {
    body();
    return 0;
  });
}

helo_status Create(const helo_host* host, helo_bytes config, helo_plugin** out) {
  return Call<helo_status>("create", HELO_E_FAILED,
                           [&] { return S().real.create(host, config, out); });
}
helo_status Start(helo_plugin* self) {
  return Call<helo_status>("start", HELO_E_FAILED, [&] { return S().real.start(self); });
}
void Open(helo_plugin* self, helo_session session, const helo_session_info* info) {
  Run("on_open", [&] { S().real.on_open(self, session, info); });
}
helo_verdict Message(helo_plugin* self, helo_session session, uint32_t type, helo_bytes payload) {
  return Call<helo_verdict>(absl::StrCat("on_message (type ", type, ", ", payload.size, " bytes)"),
                            HELO_V_OK,
                            [&] { return S().real.on_message(self, session, type, payload); });
}
void Writable(helo_plugin* self, helo_session session) {
  Run("on_writable", [&] { S().real.on_writable(self, session); });
}
void Posted(helo_plugin* self, uint64_t token) {
  Run("on_posted", [&] { S().real.on_posted(self, token); });
}
void Close(helo_plugin* self, helo_session session, int32_t reason) {
  Run("on_close", [&] { S().real.on_close(self, session, reason); });
}
void Stop(helo_plugin* self) {
  Run("stop", [&] { S().real.stop(self); });
}
void Destroy(helo_plugin* self) {
  Run("destroy", [&] { S().real.destroy(self); });
}
void Timer(helo_plugin* self, uint64_t token) {
  Run("on_timer", [&] { S().timer->on_timer(self, token); });
}
void Command(helo_plugin* self, uint64_t call, uint32_t command, const helo_str* arguments,
             uint32_t count) {
  Run(absl::StrCat("on_command (", S().commands[command].name, ", ", count, " arguments)"),
      [&] { S().command->on_command(self, call, command, arguments, count); });
}

const void* TimerExtension(const void* given) {
  constexpr Place kPlace = ExtensionsH("void (*on_timer)(helo_plugin*, uint64_t token)");
  State& s = S();
  s.timer = static_cast<const helo_plugin_timer*>(given);
  if (s.timer == nullptr) return nullptr;
  if (s.timer->struct_size < sizeof(helo_plugin_timer) || s.timer->on_timer == nullptr) {
    s.report->Broken(absl::StrCat("its helo.timer/1 is not whole: struct_size ",
                                  s.timer->struct_size, " or no on_timer", At(kPlace)));
    s.timer = nullptr;
    return nullptr;
  }
  s.traced_timer = {sizeof(helo_plugin_timer), 0, &Timer};
  return &s.traced_timer;
}
const void* CommandExtension(const void* given) {
  constexpr Place kPlace = ExtensionsH("} helo_command;");
  State& s = S();
  s.command = static_cast<const helo_plugin_command*>(given);
  s.commands.clear();
  if (s.command == nullptr) return nullptr;
  auto commands = CheckCommands(s.command);
  if (!commands.ok()) {
    s.report->Broken(absl::StrCat(commands.status().message(), At(kPlace)));
    return nullptr;
  }
  s.commands = *std::move(commands);
  s.traced_command = {sizeof(helo_plugin_command), s.command->count, s.command->commands, &Command};
  return &s.traced_command;
}
const void* Extension(helo_plugin* self, const char* id) {
  const void* given = Call<const void*>(absl::StrCat("get_extension (", id, ")"), nullptr,
                                        [&] { return S().real.get_extension(self, id); });
  const std::string_view name = id;
  if (name == HELO_EXT_TIMER) return TimerExtension(given);
  if (name == HELO_EXT_COMMAND) return CommandExtension(given);
  return given;
}

}  // namespace

const helo_descriptor* Trace(const helo_descriptor& real, Report& report) {
  State& s = S();
  s.report = &report;
  s.real = {};
  const size_t size = std::min<size_t>(real.struct_size, sizeof(helo_descriptor));
  std::memcpy(&s.real, &real, size);
  s.traced = s.real;
  helo_descriptor& t = s.traced;
  t.struct_size = static_cast<uint32_t>(size);
  t.create = &Create;
  t.on_message = &Message;
  t.destroy = &Destroy;
  if (t.start != nullptr) t.start = &Start;
  if (t.on_open != nullptr) t.on_open = &Open;
  if (t.on_writable != nullptr) t.on_writable = &Writable;
  if (t.on_posted != nullptr) t.on_posted = &Posted;
  if (t.on_close != nullptr) t.on_close = &Close;
  if (t.stop != nullptr) t.stop = &Stop;
  if (t.get_extension != nullptr) t.get_extension = &Extension;
  return &t;
}

const std::vector<CommandInfo>& TracedCommands() { return S().commands; }
bool TracedTimers() { return S().timer != nullptr; }
Slowest TracedSlowest() {
  const std::lock_guard<std::mutex> lock(S().mutex);
  return S().slowest;
}
Duration TracedStop() {
  const std::lock_guard<std::mutex> lock(S().mutex);
  return S().stop;
}

}  // namespace helo::plugins
