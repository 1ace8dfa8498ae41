// The C calls of a plugin, turned into those of its runner.
#include "plugins/host/host_context.h"

#include <cstring>
#include <memory>
#include <vector>

#include "p2p/base/mutex.h"
#include "plugins/host/plugin_runner.h"

namespace helo::plugins {
namespace {

// Short calls run on loan; longer ones, which call back into the plugin or wait, keep the runner
// alive instead, so that nobody waits for them.
template <typename Fn>
helo_status OnLoan(helo_host_ctx* ctx, Fn fn) {
  if (ctx == nullptr) return HELO_E_INVALID;
  Gate<PluginRunner>::Loan runner(ctx->runner);
  return runner ? fn(*runner) : HELO_E_STOPPING;
}
std::shared_ptr<PluginRunner> Keep(helo_host_ctx* ctx) {
  if (ctx == nullptr) return nullptr;
  Gate<PluginRunner>::Loan runner(ctx->runner);
  return runner ? runner->shared_from_this() : nullptr;
}

helo_status Send(helo_host_ctx* ctx, helo_session session, uint32_t type, helo_bytes payload) {
  return OnLoan(ctx, [&](PluginRunner& r) { return r.Send(session, type, payload); });
}
helo_status Disconnect(helo_host_ctx* ctx, helo_session session, int32_t penalty, helo_str why) {
  const auto runner = Keep(ctx);
  return runner ? runner->Disconnect(session, penalty, why) : HELO_E_STOPPING;
}
helo_status Post(helo_host_ctx* ctx, uint64_t token) {
  return OnLoan(ctx, [&](PluginRunner& r) { return r.Post(token); });
}
void Fault(helo_host_ctx* ctx, helo_str why) {
  if (const auto runner = Keep(ctx)) {
    const bool empty = why.data == nullptr || why.size == 0;
    runner->Fault(empty ? "it gave no reason"
                        : std::string(why.data, std::min<size_t>(why.size, 512)));
  }
}
void Log(helo_host_ctx* ctx, int32_t level, helo_str line) {
  if (const auto runner = Keep(ctx)) runner->Log(level, line);
}

helo_status SetTimer(helo_host_ctx* ctx, uint64_t token, uint64_t delay_ns) {
  return OnLoan(ctx, [&](PluginRunner& r) { return r.SetTimer(token, delay_ns); });
}
helo_status CancelTimer(helo_host_ctx* ctx, uint64_t token) {
  return OnLoan(ctx, [&](PluginRunner& r) { return r.CancelTimer(token); });
}
uint64_t NowNs(helo_host_ctx* /*ctx*/) {
  return static_cast<uint64_t>(Steady::now().time_since_epoch().count());
}
helo_status AnswerCall(helo_host_ctx* ctx, uint64_t call, int32_t failed, helo_str text) {
  const auto runner = Keep(ctx);
  return runner ? runner->Answer(call, failed != 0, text) : HELO_E_STOPPING;
}
helo_status EachSession(helo_host_ctx* ctx, void* arg,
                        int32_t (*visit)(void*, helo_session, const helo_session_info*)) {
  const auto runner = Keep(ctx);
  return runner ? runner->EachSession(arg, visit) : HELO_E_STOPPING;
}
helo_status EachPeer(helo_host_ctx* ctx, void* arg,
                     int32_t (*visit)(void*, const helo_peer_info*)) {
  const auto runner = Keep(ctx);
  return runner ? runner->EachPeer(arg, visit) : HELO_E_STOPPING;
}

constexpr helo_host_timer kTimer = {sizeof(helo_host_timer), 0, SetTimer, CancelTimer, NowNs};
constexpr helo_host_command kCommand = {sizeof(helo_host_command), 0, AnswerCall};
constexpr helo_host_peers kPeers = {sizeof(helo_host_peers), 0, EachSession, EachPeer};

const void* GetExtension(helo_host_ctx* /*ctx*/, const char* id) {
  if (id == nullptr) return nullptr;
  if (std::strcmp(id, HELO_EXT_TIMER) == 0) return &kTimer;
  if (std::strcmp(id, HELO_EXT_COMMAND) == 0) return &kCommand;
  if (std::strcmp(id, HELO_EXT_PEERS) == 0) return &kPeers;
  return nullptr;
}

}  // namespace

helo_host_ctx* NewHostContext() {
  struct All {
    Mutex mutex;
    std::vector<std::unique_ptr<helo_host_ctx>> contexts ABSL_GUARDED_BY(mutex);
  };
  static All& all = *new All;  // for as long as the process
  auto context = std::make_unique<helo_host_ctx>();
  helo_host_ctx* raw = context.get();
  raw->host = {sizeof(helo_host), HELO_ABI_MINOR, raw, Send, Disconnect, Post, Fault, Log,
               GetExtension};
  MutexLock lock(all.mutex);
  all.contexts.push_back(std::move(context));
  return raw;
}

void FillInfo(const Session& session, helo_session_info& info) {
  info.struct_size = sizeof(info);
  info.protocol = session.protocol;
  std::memcpy(info.node_id, session.info.peer.bytes.data(), sizeof(info.node_id));
  info.inbound = session.info.direction == Direction::kInbound ? 1 : 0;
  info.max_send_bytes = session.info.max_send_bytes;
  info.address = {session.address.data(), session.address.size()};
}

}  // namespace helo::plugins
