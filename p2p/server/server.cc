#include "p2p/server/server.h"

#include <absl/strings/str_cat.h>

#include <atomic>
#include <future>

#include "p2p/base/text.h"
#include "p2p/server/connection.h"
#include "p2p/server/control.h"
#include "p2p/server/session_registry.h"
#include "p2p/server/worker.h"

namespace helo {

using server::Control;
using server::HandlerMessenger;
using server::SessionRegistry;
using server::Shared;
using server::Worker;

struct Server::Impl {
  Impl(ServerOptions options, const tls::NodeKey& key, ServerDeps deps)
      : shared(std::move(options), key, std::move(deps)) {}

  // Destroyed in reverse: workers before control, both before what they share.
  Shared shared;
  SessionRegistry registry;
  std::vector<std::unique_ptr<HandlerMessenger>> messengers;
  std::unique_ptr<Control> control;
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<net::Listener> listeners;  // until Start
  std::vector<Endpoint> listening;
  std::atomic<bool> running{
      false};  // commands are taken; before and after, they are answered at once
  Mutex stop_mutex;
  bool started ABSL_GUARDED_BY(stop_mutex) = false;
  bool stopped ABSL_GUARDED_BY(stop_mutex) = false;
};

namespace {

absl::Status NotRunning() {
  return absl::UnavailableError("the node is not running (yet, or any more)");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Create(ServerOptions options,
                                                       const tls::NodeKey& key, ServerDeps deps) {
  options.profile.self = key.id();
  options.profile.features |=
      wire::kFeatureGetPeers;  // control answers with the addresses it has reached itself
  if (options.loops < 1)
    return absl::InvalidArgumentError(
        absl::StrCat("loops is ", options.loops, "; it must be at least 1"));
  std::vector<net::Listener> listeners;
  for (const ListenAddress& address : options.listen) {
    auto ticket = deps.fds->pool(PoolKind::kListener).TryTake();
    if (!ticket) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no descriptor left in the pool of listeners for ", address.ToString(),
                       ": it holds ", deps.fds->pool(PoolKind::kListener).limit()));
    }
    auto listener = net::Listener::Open(address, options.backlog, std::move(*ticket), *deps.log);
    if (!listener.ok()) return listener.status();
    listeners.push_back(std::move(*listener));
  }
  auto impl = std::make_unique<Impl>(std::move(options), key, std::move(deps));
  for (const net::Listener& listener : listeners) impl->listening.push_back(listener.local());
  impl->listeners = std::move(listeners);
  auto control = Control::Create(impl->shared);
  if (!control.ok()) return control.status();
  impl->control = std::move(*control);
  for (int i = 0; i < impl->shared.options.loops; ++i) {
    auto worker = Worker::Create(impl->shared, impl->registry, static_cast<size_t>(i));
    if (!worker.ok()) return worker.status();
    impl->workers.push_back(std::move(*worker));
  }
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { Stop(); }

const NodeId& Server::id() const { return impl_->shared.key.id(); }
std::vector<Endpoint> Server::listening() const { return impl_->listening; }
EventLog& Server::events() { return impl_->shared.events; }

void Server::Start() {
  MutexLock lock(impl_->stop_mutex);
  if (impl_->started || impl_->stopped) return;
  impl_->started = true;
  std::vector<Worker*> workers;
  for (const auto& worker : impl_->workers) workers.push_back(worker.get());
  impl_->registry.SetWorkers(workers);
  for (Handler* handler : impl_->shared.deps.handlers) {
    impl_->messengers.push_back(std::make_unique<HandlerMessenger>(impl_->registry, *handler));
    handler->Attached(*impl_->messengers.back());
  }
  impl_->control->Launch(workers);
  for (Worker* worker : workers) worker->Launch(*impl_->control, workers);
  for (size_t i = 0; i < impl_->listeners.size(); ++i) {
    Event event;
    event.kind = EventKind::kListening;
    event.when = impl_->shared.deps.clock->WallNow();
    event.remote = impl_->listeners[i].local();
    event.text = impl_->listeners[i].asked().ToString();
    impl_->shared.events.Append(std::move(event));
    workers[i % workers.size()]->Accept(std::move(impl_->listeners[i]));
  }
  impl_->listeners.clear();
  impl_->control->StartDialing();
  impl_->running = true;
}

void Server::Stop(Duration deadline) {
  MutexLock lock(impl_->stop_mutex);
  if (std::exchange(impl_->stopped, true)) return;
  if (!impl_->started) return;
  Event event;
  event.kind = EventKind::kShuttingDown;
  event.when = impl_->shared.deps.clock->WallNow();
  impl_->shared.events.Append(std::move(event));
  impl_->control->StopDialing();
  // Peers are told and given the time of grace to read it; what is left then is closed as it
  // stands.
  struct Idle {
    Mutex mutex;
    CondVar cond;
    size_t missing ABSL_GUARDED_BY(mutex) = 0;
  };
  auto idle = std::make_shared<Idle>();
  {
    MutexLock idle_lock(idle->mutex);
    idle->missing = impl_->workers.size();
  }
  for (const auto& worker : impl_->workers) {
    worker->Drain([idle] {
      MutexLock idle_lock(idle->mutex);
      --idle->missing;
      idle->cond.NotifyAll();
    });
  }
  {
    const auto until = std::chrono::steady_clock::now() + deadline;
    MutexLock idle_lock(idle->mutex);
    while (idle->missing > 0) {
      if (!idle->cond.WaitUntil(idle->mutex, until)) break;
    }
  }
  for (const auto& worker : impl_->workers) worker->StopAndJoin();
  impl_->control->StopAndJoin();
  for (const auto& messenger : impl_->messengers) messenger->handler().Detached();
}

void Server::GetSnapshot(std::function<void(std::shared_ptr<const ServerSnapshot>)> done) {
  if (!impl_->running) {
    done(nullptr);
    return;
  }
  impl_->control->GetSnapshot(std::move(done));
}

std::shared_ptr<const ServerSnapshot> Server::Snapshot() {
  // Shared with the callback, which may outlive a wait that is broken off by the server's end.
  auto promise = std::make_shared<std::promise<std::shared_ptr<const ServerSnapshot>>>();
  auto result = promise->get_future();
  GetSnapshot([promise](std::shared_ptr<const ServerSnapshot> snapshot) {
    promise->set_value(std::move(snapshot));
  });
  promise.reset();
  try {
    return result.get();
  } catch (const std::future_error&) {  // dropped unanswered: the loop has stopped
    return nullptr;
  }
}

void Server::FindDescriptors(const DescriptorQuery& query,
                             std::function<void(std::vector<DescriptorSnapshot>)> done) {
  if (!impl_->running) {
    done({});
    return;
  }
  impl_->control->FindDescriptors(query, std::move(done));
}

void Server::AddPeer(const PeerAddress& address, bool saved, bool wait,
                     std::function<void(absl::StatusOr<AddResult>)> done) {
  if (!impl_->running) {
    done(NotRunning());
    return;
  }
  impl_->control->AddPeer(address, saved, wait, std::move(done));
}

void Server::RemovePeer(const PeerAddress& address, bool disconnect,
                        std::function<void(absl::Status)> done) {
  if (!impl_->running) {
    done(NotRunning());
    return;
  }
  impl_->control->RemovePeer(address, disconnect, std::move(done));
}

void Server::DropPeer(const NodeId& id, const std::string& text, Duration away,
                      std::function<void(absl::StatusOr<DropResult>)> done) {
  if (!impl_->running) {
    done(NotRunning());
    return;
  }
  impl_->control->DropPeer(id, text, away, std::move(done));
}

void Server::Forgive(const NodeId& id) {
  if (impl_->running) impl_->control->Forgive(id);
}

void Server::FindAttempts(const peers::AttemptHistory::Query& query,
                          std::function<void(std::vector<peers::Attempt>)> done) {
  if (!impl_->running) {
    done({});
    return;
  }
  impl_->control->FindAttempts(query, std::move(done));
}

}  // namespace helo
