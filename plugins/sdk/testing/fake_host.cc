// The fake host: life and the order of calls. What a test plays is in host_drive.cc, what the
// plugin calls in host_calls.cc.
#include "helo/testing/fake_host.h"

#include <algorithm>
#include <set>
#include <thread>
#include <utility>

#include "plugins/sdk/testing/borrowed.h"

namespace helo::testing {
namespace {

bool GoodName(const char* name, size_t most) {
  const std::string_view text = name == nullptr ? "" : name;
  if (text.empty() || text.size() > most || text[0] < 'a' || text[0] > 'z') return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::string Words(const char* what, uint64_t number) { return what + std::to_string(number); }

}  // namespace

FakeHost::FakeHost(const helo_descriptor* descriptor) : FakeHost(descriptor, Options()) {}

FakeHost::FakeHost(const helo_descriptor* descriptor, Options options)
    : descriptor_(descriptor), options_(std::move(options)) {
  host_.struct_size = sizeof(host_);
  host_.abi_minor = HELO_ABI_MINOR;
  host_.ctx = reinterpret_cast<helo_host_ctx*>(this);
  host_.send = [](helo_host_ctx* c, helo_session s, uint32_t type, helo_bytes payload) {
    return Of(c).DoSend(s, type, payload);
  };
  host_.disconnect = [](helo_host_ctx* c, helo_session s, int32_t penalty, helo_str why) {
    return Of(c).DoDisconnect(s, penalty, why);
  };
  host_.post = [](helo_host_ctx* c, uint64_t token) { return Of(c).DoPost(token); };
  host_.fault = [](helo_host_ctx* c, helo_str why) { Of(c).DoFault(why); };
  host_.log = [](helo_host_ctx* c, int32_t level, helo_str line) { Of(c).DoLog(level, line); };
  host_.get_extension = [](helo_host_ctx* c, const char* id) { return Of(c).DoGetExtension(id); };
  timer_ = {sizeof(timer_), 0,
            [](helo_host_ctx* c, uint64_t token, uint64_t delay) {
              return Of(c).DoSetTimer(token, delay);
            },
            [](helo_host_ctx* c, uint64_t token) { return Of(c).DoCancelTimer(token); },
            [](helo_host_ctx* c) {
              const Lock lock(Of(c).mutex_);
              return Of(c).now_ns_;
            }};
  command_ = {sizeof(command_), 0,
              [](helo_host_ctx* c, uint64_t call, int32_t failed, helo_str text) {
                return Of(c).DoAnswer(call, failed, text);
              }};
  peers_ = {sizeof(peers_), 0,
            [](helo_host_ctx* c, void* arg,
               int32_t (*visit)(void*, helo_session, const helo_session_info*)) {
              return Of(c).DoEachSession(arg, visit);
            },
            [](helo_host_ctx* c, void* arg, int32_t (*visit)(void*, const helo_peer_info*)) {
              return Of(c).DoEachPeer(arg, visit);
            }};
  CheckDescriptor();
}

FakeHost::~FakeHost() { Stop(); }

bool FakeHost::Check(bool holds, const std::string& otherwise) {
  if (!holds) violations_.push_back(otherwise);
  return holds;
}

void FakeHost::CheckDescriptor() {
  const Lock lock(mutex_);
  const size_t before = violations_.size();
  usable_ = false;
  if (!Check(descriptor_ != nullptr, "helo_plugin_query gave no descriptor")) return;
  const helo_descriptor& d = *descriptor_;
  if (!Check(d.abi_major == HELO_ABI_MAJOR, Words("abi_major is ", d.abi_major))) return;
  if (!Check(d.struct_size >= offsetof(helo_descriptor, get_extension),
             Words("struct_size is ", d.struct_size)))
    return;
  Check(d.id != nullptr && d.version != nullptr, "id or version is NULL");
  Check(d.create != nullptr && d.on_message != nullptr && d.destroy != nullptr,
        "create, on_message or destroy is NULL");
  Check(d.protocol_count <= 16, "more than 16 protocols");
  Check(d.protocol_count == 0 || d.protocols != nullptr, "protocols is NULL");
  std::set<std::pair<std::string, uint32_t>> seen;
  for (uint32_t i = 0; violations_.size() == before && i < d.protocol_count; ++i) {
    const helo_protocol* p = d.protocols[i];
    const std::string which = Words("protocol ", i);
    if (!Check(p != nullptr && p->struct_size >= sizeof(*p), which + ": NULL or too short")) return;
    Check(GoodName(p->name, 16), which + ": its name is not [a-z][a-z0-9-]{0,15}");
    Check(p->version >= 1 && p->version <= 65535, which + ": its version is not 1 to 65535");
    Check(p->message_count >= 1 && p->message_count <= 65535,
          which + ": its message_count is not 1 to 65535");
    Check(p->max_message_bytes <= 16u << 20, which + ": its max_message_bytes is above 16 MiB");
    Check(seen.emplace(p->name == nullptr ? "" : p->name, p->version).second,
          which + " is there twice");
  }
  usable_ = violations_.size() == before;
}

// One call into the plugin: never within another one, and what it asked for is done after it.
bool FakeHost::InCall(const char* what, const std::function<void()>& body) {
  {
    const Lock lock(mutex_);
    if (in_call_ != nullptr) {
      violations_.push_back(std::string(what) + " was called while " + in_call_ +
                            " runs: calls into a plugin come one after the other");
      return false;
    }
    in_call_ = what;
  }
  if (options_.rotate_threads) {
    std::thread(body).join();
  } else {
    body();
  }
  {
    const Lock lock(mutex_);
    in_call_ = nullptr;
  }
  Settle();
  return true;
}

bool FakeHost::Create() {
  {
    const Lock lock(mutex_);
    if (!usable_ || !Check(state_ == State::kNew, "created twice")) return false;
  }
  helo_plugin* made = nullptr;
  helo_status status = HELO_OK;
  InCall("create", [&] {
    const Borrowed config(options_.config, options_.guard_lent);
    status = descriptor_->create(&host_, config.bytes(), &made);
    // `config` holds its block in a unique_ptr, which the analyzer does not follow into here.
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks)
  });
  const Lock lock(mutex_);
  if (status == HELO_OK) {
    Check(made != nullptr, "create said OK and gave no instance");
  } else {
    Check(!faults_.empty(), "create failed and did not say why: call fault() before returning");
  }
  if (status != HELO_OK || made == nullptr) {
    state_ = State::kOver;
    return false;
  }
  plugin_ = made;
  state_ = State::kCreated;
  if (HELO_HAS(descriptor_, helo_descriptor, get_extension)) {
    const auto* timer = descriptor_->get_extension(plugin_, HELO_EXT_TIMER);
    const auto* command = descriptor_->get_extension(plugin_, HELO_EXT_COMMAND);
    plugin_timer_ = static_cast<const helo_plugin_timer*>(timer);
    plugin_command_ = static_cast<const helo_plugin_command*>(command);
    for (uint32_t i = 0; plugin_command_ != nullptr && i < plugin_command_->count; ++i) {
      const helo_command* c = plugin_command_->commands[i];
      Check(GoodName(c->name, 32) && c->arguments != nullptr && c->summary != nullptr,
            Words("command ", i) + ": its name is not [a-z][a-z0-9-]{0,31}, or a text is NULL");
    }
  }
  return true;
}

bool FakeHost::Start() {
  {
    const Lock lock(mutex_);
    if (!Check(state_ == State::kCreated, "started when it is not created")) return false;
    if (!faults_.empty()) return false;
    state_ = State::kRunning;  // within start timers may be set
  }
  helo_status status = HELO_OK;
  InCall("start", [&] {
    if (descriptor_->start != nullptr) status = descriptor_->start(plugin_);
    if (status != HELO_OK) {
      const Lock lock(mutex_);
      Check(!faults_.empty(), "start failed and did not say why: call fault() before returning");
      state_ = State::kDraining;  // only destroy follows
    }
  });
  if (status != HELO_OK) Finish();
  return running();
}

void FakeHost::Stop() {
  {
    const Lock lock(mutex_);
    if (in_call_ != nullptr) {
      violations_.push_back(std::string("stop was called while ") + in_call_ + " runs");
      return;
    }
    if (state_ == State::kCreated) {
      state_ = State::kDraining;
    } else if (state_ != State::kRunning) {
      return;
    }
  }
  CloseAll(HELO_REASON_PLUGIN_GONE);
}

void FakeHost::Quarantine() { CloseAll(HELO_REASON_PLUGIN_GONE); }

void FakeHost::CloseAll(int32_t reason) {
  bool started = false;
  {
    const Lock lock(mutex_);
    if (state_ == State::kOver) return;
    started = state_ == State::kRunning;
    state_ = State::kDraining;
    for (auto& [id, session] : sessions_) {
      if (session.opened && !session.closed && !std::exchange(session.closing, true)) {
        session.reason = reason;
      }
    }
  }
  DeliverCloses();
  if (started) {
    InCall("stop", [&] {
      if (descriptor_->stop != nullptr) descriptor_->stop(plugin_);
    });
  }
  Finish();
}

void FakeHost::Finish() {
  if (plugin_ == nullptr) return;
  InCall("destroy", [&] { descriptor_->destroy(plugin_); });
  const Lock lock(mutex_);
  plugin_ = nullptr;
  state_ = State::kOver;
  for (const auto& [id, call] : calls_) {
    Check(call.answer.has_value() || !faults_.empty(),
          "the command " + call.name + " was never answered");
  }
}

void FakeHost::Settle() {
  DeliverCloses();
  bool faulty = false;
  {
    const Lock lock(mutex_);
    faulty = !faults_.empty() && in_call_ == nullptr && state_ == State::kRunning;
  }
  if (faulty) Quarantine();
}

void FakeHost::DeliverCloses() {
  {
    const Lock lock(mutex_);
    if (in_call_ != nullptr || std::exchange(delivering_, true)) return;
  }
  for (;;) {
    helo_session session = 0;
    int32_t reason = 0;
    {
      const Lock lock(mutex_);
      for (auto& [id, state] : sessions_) {
        if (!state.closing || state.closed) continue;
        state.closed = true;
        session = id, reason = state.reason;
        closed_.push_back({id, state.reason, state.why});
        break;
      }
      if (session == 0) {
        delivering_ = false;
        return;
      }
    }
    InCall("on_close", [&] {
      if (descriptor_->on_close != nullptr) descriptor_->on_close(plugin_, session, reason);
    });
  }
}

}  // namespace helo::testing
