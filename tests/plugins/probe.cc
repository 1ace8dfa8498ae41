// The plugin that does what its test says (probe.h).
#include "tests/plugins/probe.h"

#include <atomic>
#include <exception>
#include <memory>
#include <thread>

#ifndef PROBE_FLAGS
#define PROBE_FLAGS HELO_F_UNLOADABLE
#endif
#ifndef PROBE_PROTOCOL
#define PROBE_PROTOCOL "probe"
#endif
#ifndef PROBE_VERSION
#define PROBE_VERSION "1.0.0"
#endif

#ifdef PROBE_UNIQUE
// A GNU_UNIQUE symbol: visible in the whole process, so its library is never unmapped.
template <typename T>
struct __attribute__((visibility("default"))) Unique {
  static inline int value = 0;
};
#endif

namespace {

using helo::testing::Probe;

struct Instance {
  Probe* probe;
  std::atomic<bool> stopped{false};
  std::thread thread;
};
Probe& P(helo_plugin* self) { return *reinterpret_cast<Instance*>(self)->probe; }

template <typename Fn>
void Guard(Probe& probe, Fn fn) {
  try {
    fn();
  } catch (const std::exception& e) {
    const std::string_view why = e.what();
    probe.host->fault(probe.host->ctx, {why.data(), why.size()});
  }
}

std::string Id(uint64_t n) { return std::to_string(n); }

helo_status Create(const helo_host* host, helo_bytes config, helo_plugin** out) {
  const std::string text(reinterpret_cast<const char*>(config.data), config.size);
  auto* probe = reinterpret_cast<Probe*>(std::stoull(text));
  probe->host = host;
  probe->timer =
      static_cast<const helo_host_timer*>(host->get_extension(host->ctx, HELO_EXT_TIMER));
  probe->command =
      static_cast<const helo_host_command*>(host->get_extension(host->ctx, HELO_EXT_COMMAND));
  probe->peers =
      static_cast<const helo_host_peers*>(host->get_extension(host->ctx, HELO_EXT_PEERS));
  probe->Note("create " PROBE_VERSION);
  if (probe->on_create) {
    if (const helo_status status = probe->on_create(); status != HELO_OK) return status;
  }
#ifdef PROBE_UNIQUE
  ++Unique<int>::value;
#endif
  auto instance = std::make_unique<Instance>();
  instance->probe = probe;
  *out = reinterpret_cast<helo_plugin*>(instance.release());
  return HELO_OK;
}

helo_status Start(helo_plugin* self) {
  P(self).Note("start");
#ifdef PROBE_THREAD
  // Never joined: it goes on when the instance is gone, and learns of it from the host.
  std::thread([probe = &P(self)] {
    helo_status status = HELO_OK;
    while ((status = probe->host->post(probe->host->ctx, 7)) != HELO_E_STOPPING)
      std::this_thread::yield();
    probe->Note("thread " + Id(static_cast<uint64_t>(status)));
  }).detach();
#endif
  return P(self).on_start ? P(self).on_start() : HELO_OK;
}
void OnOpen(helo_plugin* self, helo_session session, const helo_session_info* info) {
  P(self).Note("open " + Id(session) + " " + Id(info->protocol) + " " +
               std::string(info->address.data, info->address.size));
  Guard(P(self), [&] {
    if (P(self).on_open) P(self).on_open(session);
  });
}
helo_verdict OnMessage(helo_plugin* self, helo_session session, uint32_t type, helo_bytes payload) {
  const std::string_view text(reinterpret_cast<const char*>(payload.data), payload.size);
  if (!P(self).quiet)
    P(self).Note("message " + Id(session) + " " + Id(type) + " " + std::string(text));
  helo_verdict verdict = HELO_V_OK;
  Guard(P(self), [&] {
    if (P(self).on_message) verdict = P(self).on_message(session, type, text);
  });
  return verdict;
}
void OnWritable(helo_plugin* self, helo_session session) {
  P(self).Note("writable " + Id(session));
  if (P(self).on_writable) P(self).on_writable(session);
}
void OnPosted(helo_plugin* self, uint64_t token) {
#ifndef PROBE_THREAD
  P(self).Note("posted " + Id(token));
#endif
  if (P(self).on_posted) P(self).on_posted(token);
}
void OnClose(helo_plugin* self, helo_session session, int32_t reason) {
  P(self).Note("close " + Id(session) + " " + std::to_string(reason));
  if (P(self).on_close) P(self).on_close(session, reason);
}
void Stop(helo_plugin* self) {
  P(self).Note("stop");
  if (P(self).on_stop) P(self).on_stop();
}
void Destroy(helo_plugin* self) {
  const std::unique_ptr<Instance> instance(reinterpret_cast<Instance*>(self));
  if (instance->probe->on_destroy) instance->probe->on_destroy();
  instance->probe->Note("destroy");
}

constexpr helo_command kSay = {sizeof(helo_command), 0, "say", "TEXT", "says it"};
constexpr helo_command kCount = {sizeof(helo_command), 0, "count", "", "counts"};
constexpr const helo_command* kCommands[] = {&kSay, &kCount};
void OnCommand(helo_plugin* self, uint64_t call, uint32_t command, const helo_str* arguments,
               uint32_t count) {
  std::vector<std::string> args;
  for (uint32_t i = 0; i < count; ++i) args.emplace_back(arguments[i].data, arguments[i].size);
  P(self).Note("command " + Id(call) + " " + Id(command));
  if (P(self).on_command) P(self).on_command(call, command, args);
}
constexpr helo_plugin_command kCommandExtension = {sizeof(helo_plugin_command), 2, kCommands,
                                                   OnCommand};
void OnTimer(helo_plugin* self, uint64_t token) {
  P(self).Note("timer " + Id(token));
  if (P(self).on_timer) P(self).on_timer(token);
}
constexpr helo_plugin_timer kTimerExtension = {sizeof(helo_plugin_timer), 0, OnTimer};
const void* GetExtension(helo_plugin* /*self*/, const char* id) {
  if (std::string_view(id) == HELO_EXT_TIMER) return &kTimerExtension;
  if (std::string_view(id) == HELO_EXT_COMMAND) return &kCommandExtension;
  return nullptr;
}

constexpr helo_protocol kV1 = {sizeof(helo_protocol), 1, PROBE_PROTOCOL, 4, 65536};
constexpr helo_protocol kV2 = {sizeof(helo_protocol), 2, PROBE_PROTOCOL, 5, 1 << 20};
constexpr const helo_protocol* kProtocols[] = {&kV1, &kV2};
constexpr helo_descriptor kDescriptor = {sizeof(helo_descriptor),
                                         HELO_ABI_MAJOR,
                                         HELO_ABI_MINOR,
                                         PROBE_FLAGS,
                                         "com.example.probe",
                                         PROBE_VERSION,
                                         "does what its test says",
                                         kProtocols,
                                         2,
                                         0,
                                         Create,
                                         Start,
                                         OnOpen,
                                         OnMessage,
                                         OnWritable,
                                         OnPosted,
                                         OnClose,
                                         Stop,
                                         Destroy,
                                         GetExtension};

}  // namespace

extern "C" const helo_descriptor* helo_plugin_query(uint32_t /*host_abi_major*/) {
  return &kDescriptor;
}
