// A plugin that keeps every rule of helo/plugin.h but the one that BREAKS names, for the tests of
// `helo plugin check`.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "helo/extensions.h"
#include "helo/plugin.h"

#define STRING2(x) #x
#define STRING(x) STRING2(x)

// Visible in the whole process, so that its library is never unmapped.
template <typename T>
struct __attribute__((visibility("default"))) Unique {
  static inline int lives = 0;
};

namespace {

constexpr std::string_view kBreaks = STRING(BREAKS);
constexpr bool Breaks(std::string_view rule) { return kBreaks == rule; }

struct Instance {
  const helo_host* host;
  const helo_host_timer* timer;
  const helo_host_command* command;
  helo_bytes kept{};
  helo_session peer = 0;
  uint64_t call = 0;
};
Instance& I(helo_plugin* self) { return *reinterpret_cast<Instance*>(self); }
helo_str Str(std::string_view text) { return {text.data(), text.size()}; }

template <typename T>
const T* Get(const helo_host* host, const char* id) {
  return static_cast<const T*>(host->get_extension(host->ctx, id));
}

helo_status Create(const helo_host* host, helo_bytes config, helo_plugin** out) {
  if (config.size != 0) {
    if (Breaks("refusal_fd")) open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!Breaks("refusal")) host->fault(host->ctx, Str("it takes no configuration"));
    return HELO_E_FAILED;
  }
  auto* instance = new Instance{host, Get<helo_host_timer>(host, HELO_EXT_TIMER),
                                Get<helo_host_command>(host, HELO_EXT_COMMAND)};
  if (Breaks("start")) host->fault(host->ctx, Str("it never starts"));
  *out = reinterpret_cast<helo_plugin*>(instance);
  return HELO_OK;
}

helo_status Start(helo_plugin* self) {
  static int lives = 0;
  ++lives;
  if (Breaks("lives") && lives > 1) abort();
#ifdef BREAKS_UNIQUE
  ++Unique<int>::lives;
#endif
  if (Breaks("fds_left")) open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (Breaks("memory_left")) {
    void* volatile leaked = malloc(100'000);
    if (leaked == nullptr) return HELO_E_FAILED;
  }
  if (Breaks("threads_left")) {
    std::thread([] { std::this_thread::sleep_for(std::chrono::hours(1)); }).detach();
  }
  if (Breaks("older_host") || I(self).timer != nullptr) {
    I(self).timer->set(I(self).host->ctx, 1, 1'000'000'000);
  }
  return HELO_OK;
}

void OnOpen(helo_plugin* self, helo_session session, const helo_session_info* info) {
  I(self).peer = session;
  const helo_status sent = I(self).host->send(I(self).host->ctx, session, 0, {info->node_id, 32});
  if (Breaks("full") && sent != HELO_OK && sent != HELO_E_GONE) std::exit(3);
}

helo_verdict OnMessage(helo_plugin* self, helo_session session, uint32_t type, helo_bytes payload) {
  const helo_host* host = I(self).host;
  if (Breaks("sizes") && payload.size == 0) return payload.data[0];
  if (Breaks("hang") && type == 1) std::this_thread::sleep_for(std::chrono::hours(1));
  if (Breaks("slow") && type == 1 && payload.size == 1000)
    std::this_thread::sleep_for(std::chrono::milliseconds(600));
  if (Breaks("verdict") && type == 1) return 17;
  if (Breaks("random") && payload.size != 0) {
    host->fault(host->ctx, Str("a peer sent nonsense"));
    return HELO_V_OK;
  }
  if (Breaks("exception") && type == 1) throw std::runtime_error("it was not\x1b caught");
  if (Breaks("exit") && type == 1) std::exit(0);
  if (Breaks("read_beyond") && payload.size != 0) {
    volatile uint8_t sum = payload.data[payload.size];
    (void)sum;
  }
  if (I(self).kept.size != 0) {
    volatile uint8_t sum = I(self).kept.data[0];
    (void)sum;
  }
  if (Breaks("lent")) I(self).kept = payload;
  const helo_status sent = host->send(host->ctx, session, Breaks("send_type") ? 9 : 0, payload);
  if (Breaks("full") && sent == HELO_E_AGAIN) std::exit(3);
  return HELO_V_OK;
}

void OnClose(helo_plugin* /*self*/, helo_session /*session*/, int32_t /*reason*/) {
  static int closed = 0;
  if (Breaks("sessions") && ++closed == 500) abort();
}

void Stop(helo_plugin* /*self*/) {
  if (Breaks("stop")) std::this_thread::sleep_for(std::chrono::milliseconds(5100));
}
void Destroy(helo_plugin* self) { delete &I(self); }

void OnTimer(helo_plugin* self, uint64_t token) {
  static int fired = 0;
  if (Breaks("timers") && ++fired == 50) abort();
  I(self).timer->set(I(self).host->ctx, token, uint64_t{1'000'000'000});
}

constexpr helo_command kWell = {sizeof(helo_command), 0, "well", "", "answers once"};
constexpr helo_command kNever = {sizeof(helo_command), 0, "never", "", "does not answer"};
constexpr helo_command kTwice = {sizeof(helo_command), 0, "twice", "", "answers twice"};
constexpr helo_command kFirst = {sizeof(helo_command), 0, "first", "TEXT", "wants an argument"};
constexpr helo_command kWrong = {sizeof(helo_command), 0, "Not A Name", "", ""};
constexpr const helo_command* kCommands[] = {&kWell, Breaks("never")     ? &kNever
                                                     : Breaks("twice")   ? &kTwice
                                                     : Breaks("command") ? &kWrong
                                                                         : &kFirst};
void OnCommand(helo_plugin* self, uint64_t call, uint32_t command, const helo_str* arguments,
               uint32_t count) {
  const helo_host_command* host = I(self).command;
  helo_host_ctx* const ctx = I(self).host->ctx;
  if (command == 1 && Breaks("never")) return;
  if (command == 1 && Breaks("arguments") && arguments[0].size == 1) abort();
  host->answer(ctx, call, 0, command == 1 && count != 0 ? arguments[0] : Str("well"));
  if (command == 1 && Breaks("twice")) host->answer(ctx, call, 0, Str("again"));
}

const void* GetExtension(helo_plugin* /*self*/, const char* id) {
  static constexpr helo_plugin_timer kTimer = {sizeof(kTimer), 0, OnTimer};
  static constexpr helo_plugin_command kCommand = {sizeof(kCommand), 2, kCommands, OnCommand};
  const std::string_view name = id;
  if (name == HELO_EXT_TIMER) return &kTimer;
  return name == HELO_EXT_COMMAND ? &kCommand : nullptr;
}

constexpr helo_protocol kV1 = {sizeof(helo_protocol), 1, "breaks", 3, 1000};
constexpr const helo_protocol* kProtocols[] = {&kV1};
constexpr helo_descriptor kDescriptor = {sizeof(helo_descriptor),
                                         HELO_ABI_MAJOR,
                                         HELO_ABI_MINOR,
                                         HELO_F_UNLOADABLE,
                                         "com.example.breaks",
                                         "1.0.0",
                                         "breaks one rule",
                                         kProtocols,
                                         1,
                                         0,
                                         Create,
                                         Start,
                                         OnOpen,
                                         OnMessage,
                                         nullptr,
                                         nullptr,
                                         OnClose,
                                         Stop,
                                         Destroy,
                                         GetExtension};

}  // namespace

extern "C" const helo_descriptor* helo_plugin_query(uint32_t host_abi_major) {
  if (Breaks("query_major") && host_abi_major != HELO_ABI_MAJOR) return nullptr;
  if (Breaks("query")) return new helo_descriptor(kDescriptor);
  return &kDescriptor;
}
