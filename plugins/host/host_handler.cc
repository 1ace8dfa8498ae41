// The host as the server's handler.
#include <utility>

#include "plugins/host/links.h"
#include "plugins/host/loader.h"
#include "plugins/host/plugin_host.h"
#include "plugins/host/plugin_runner.h"
#include "plugins/host/session.h"

namespace helo::plugins {
namespace {

// This thread is a loop in the middle of a burst: plugins are woken at its end, once.
thread_local bool in_burst = false;
thread_local std::vector<std::shared_ptr<PluginRunner>> to_wake;

}  // namespace

std::vector<Capability> PluginHost::Capabilities() const {
  std::vector<Capability> all;
  MutexLock lock(mutex_);
  for (const auto& [name, entry] : entries_) {
    if (!entry.runner->published()) continue;
    for (const Capability& capability : entry.runner->protocols()) {
      all.push_back(capability);
      announced_.insert(capability.name);
    }
  }
  return all;
}

// What came or went since the server asked for Capabilities() is made good here.
void PluginHost::Attached(Messenger& messenger) {
  MutexLock lock(mutex_);
  links_->messenger.Open(messenger);
  for (const auto& [name, entry] : entries_) {
    if (!entry.runner->published()) continue;
    bool known = true;
    for (const Capability& c : entry.runner->protocols())
      known = known && announced_.contains(c.name);
    if (!known) entry.runner->Publish();
  }
  for (const std::string& name : announced_) {
    bool served = false;
    for (const auto& [plugin, entry] : entries_) {
      for (const Capability& c : entry.runner->protocols())
        served = served || (entry.runner->published() && c.name == name);
    }
    if (!served) messenger.Withdraw(name, Reason::kPluginGone);
  }
}

void PluginHost::OnOpen(const SessionInfo& info) {
  std::shared_ptr<PluginRunner> runner;
  uint32_t protocol = 0;
  {
    MutexLock lock(mutex_);
    for (const auto& [name, entry] : entries_) {
      if (!entry.runner->running()) continue;
      const std::vector<Capability>& protocols = entry.runner->protocols();
      for (uint32_t i = 0; i < protocols.size(); ++i) {
        if (protocols[i].name != info.name || protocols[i].version != info.version) continue;
        runner = entry.runner;
        protocol = i;
      }
    }
  }
  if (!runner) return;  // it is being withdrawn: the server closes this one next
  auto session = std::make_shared<Session>(info, protocol);
  session->runner = runner;
  // Known before the plugin hears of it, which may send at once.
  sessions_->Add(session);
  if (!runner->PushOpen(session)) sessions_->Take(info.session);
}

void PluginHost::OnMessage(SessionId id, uint16_t type, ByteView payload) {
  const std::shared_ptr<Session> session = sessions_->Find(id);
  if (!session) return;
  PluginRunner& runner = *session->runner;
  if (!runner.PushMessage(*session, type, payload, /*wake_later=*/in_burst)) return;
  if (to_wake.empty() || to_wake.back().get() != &runner) to_wake.push_back(session->runner);
}

void PluginHost::OnBurst(bool begins) {
  in_burst = begins;
  for (const auto& runner : to_wake) runner->WakeIfAsleep();
  to_wake.clear();
}

void PluginHost::OnWritable(SessionId id) {
  if (const std::shared_ptr<Session> session = sessions_->Find(id))
    session->runner->PushWritable(*session);
}

void PluginHost::OnClose(SessionId id, uint32_t code) {
  if (const std::shared_ptr<Session> session = sessions_->Take(id))
    session->runner->PushClose(*session, code);
}

void PluginHost::Detached() {
  links_->messenger.Close();
  for (const auto& session : sessions_->TakeAll())
    session->runner->PushClose(*session, static_cast<uint32_t>(Reason::kShuttingDown));
}

}  // namespace helo::plugins
