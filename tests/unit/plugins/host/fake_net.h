// The server as the host sees it, with a loop of its own: peers that share every capability that is
// offered, messages that are recorded, and the calls of the Messenger carried out as the server
// does, in order and later.
#pragma once

#include <deque>
#include <functional>
#include <future>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "p2p/base/mutex.h"
#include "p2p/server/handler.h"

namespace helo::testing {

class FakeNet final : public Messenger {
 public:
  struct Open {
    std::string name;
    uint16_t version = 0;
    int peer = 0;
  };
  struct Sent {
    SessionId session = 0;
    uint16_t type = 0;
    std::string payload;
  };

  // `peers`: how many there are; each shares what is offered, at the highest version.
  explicit FakeNet(Handler& handler, int peers = 0) : handler_(handler), peers_(peers) {
    std::map<std::string, Capability> first;
    for (const Capability& c : handler_.Capabilities()) first[c.name] = c;
    {
      MutexLock lock(mutex_);
      offered_ = first;
    }
    handler_.Attached(*this);
    thread_ = std::thread([this] { Loop(); });
    Run([&] {
      for (const auto& [name, capability] : first) OpenAll(capability);
    });
  }
  ~FakeNet() override { Stop(); }
  void Stop() {
    if (!thread_.joinable()) return;
    Run([this] {
      const auto open = open_;
      for (const auto& [id, session] : open) CloseNow(id, 20);
    });
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    thread_.join();
    handler_.Detached();
  }

  // On the loop, and back when it is done.
  void Run(std::function<void()> fn) {
    std::promise<void> done;
    Post([&] {
      fn();
      done.set_value();
    });
    done.get_future().wait();
  }
  SessionId OpenOne(const std::string& name, int peer = 1, uint16_t version = 1) {
    SessionId id = 0;
    Run([&] { id = OpenNow(name, version, peer); });
    return id;
  }
  void Deliver(SessionId session, uint16_t type, const std::string& text) {
    Run([&] { handler_.OnMessage(session, type, AsBytes(text)); });
  }
  void Writable(SessionId session) {
    Run([&] { handler_.OnWritable(session); });
  }
  void CloseOne(SessionId session, uint32_t code) {
    Run([&] { CloseNow(session, code); });
  }

  // Messenger.
  SendResult Send(SessionId session, uint16_t type, ByteView payload) override {
    MutexLock lock(mutex_);
    if (!known_.contains(session)) return SendResult::kGone;
    if (full_) return SendResult::kAgain;
    sent_.push_back({session, type, AsString(payload)});
    changed_.NotifyAll();
    return SendResult::kOk;
  }
  void Disconnect(SessionId session, Reason reason, const std::string& text) override {
    {
      MutexLock lock(mutex_);
      disconnected_[session] = {reason, text};
      changed_.NotifyAll();
    }
    Post([this, session, reason] { CloseNow(session, static_cast<uint32_t>(reason)); });
  }
  void PauseReading(SessionId session, bool paused) override {
    MutexLock lock(mutex_);
    paused_[session] = paused;
    ++pause_calls_;
    changed_.NotifyAll();
  }
  void Offer(const std::vector<Capability>& versions) override {
    Post([this, capability = versions.back()] {
      {
        MutexLock lock(mutex_);
        offered_[capability.name] = capability;
        changed_.NotifyAll();
      }
      OpenAll(capability);
    });
  }
  void Withdraw(const std::string& name, Reason code) override {
    Post([this, name, code] {
      {
        MutexLock lock(mutex_);
        offered_.erase(name);
        withdrawn_[name] = code;
        changed_.NotifyAll();
      }
      const auto open = open_;
      for (const auto& [id, session] : open) {
        if (session.name == name) CloseNow(id, static_cast<uint32_t>(code));
      }
    });
  }

  // What a test asks.
  template <typename Fits>
  bool WaitFor(Fits fits) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    MutexLock lock(mutex_);
    while (!fits(*this)) {
      if (!changed_.WaitUntil(mutex_, deadline)) return fits(*this);
    }
    return true;
  }
  void SetFull(bool full) {
    MutexLock lock(mutex_);
    full_ = full;
  }
  std::vector<Sent> sent() {
    MutexLock lock(mutex_);
    return sent_;
  }
  bool paused(SessionId session) {
    MutexLock lock(mutex_);
    return paused_[session];
  }
  std::pair<Reason, std::string> disconnected(SessionId session) {
    MutexLock lock(mutex_);
    auto it = disconnected_.find(session);
    return it == disconnected_.end() ? std::pair{Reason::kAccept, std::string()} : it->second;
  }
  bool offers(const std::string& name) {
    MutexLock lock(mutex_);
    return offered_.contains(name);
  }
  Reason withdrawn(const std::string& name) {
    MutexLock lock(mutex_);
    auto it = withdrawn_.find(name);
    return it == withdrawn_.end() ? Reason::kAccept : it->second;
  }
  size_t open_sessions() {
    MutexLock lock(mutex_);
    return known_.size();
  }
  bool WaitWithdrawn(const std::string& name) {
    return WaitFor([&](FakeNet& n) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return n.withdrawn_.contains(name) && !n.offered_.contains(name);
    });
  }
  bool WaitClosed(SessionId session) {
    return WaitFor([&](FakeNet& n)
                       ABSL_NO_THREAD_SAFETY_ANALYSIS { return !n.known_.contains(session); });
  }
  bool WaitAllClosed() {
    return WaitFor([](FakeNet& n) ABSL_NO_THREAD_SAFETY_ANALYSIS { return n.known_.empty(); });
  }
  bool WaitPaused(SessionId session, bool paused) {
    return WaitFor([&](FakeNet& n)
                       ABSL_NO_THREAD_SAFETY_ANALYSIS { return n.paused_[session] == paused; });
  }
  bool WaitSent(size_t count) {
    return WaitFor([&](FakeNet& n)
                       ABSL_NO_THREAD_SAFETY_ANALYSIS { return n.sent_.size() >= count; });
  }
  // The sessions that stand, by number.
  std::vector<SessionId> Sessions() {
    std::vector<SessionId> ids;
    Run([&] { ids = SessionsHere(); });
    return ids;
  }
  // The same from the loop itself, within Run.
  std::vector<SessionId> SessionsHere() {
    std::vector<SessionId> ids;
    for (const auto& [id, session] : open_) ids.push_back(id);
    return ids;
  }
  void OpenHere(const std::string& name, uint16_t version, int peer) {
    OpenNow(name, version, peer);
  }
  void CloseHere(SessionId session, uint32_t code) { CloseNow(session, code); }
  static NodeId PeerId(int peer) {
    NodeId id;
    id.bytes[0] = static_cast<uint8_t>(peer);
    id.bytes[1] = static_cast<uint8_t>(peer >> 8);
    return id;
  }

 private:
  void Post(std::function<void()> fn) {
    MutexLock lock(mutex_);
    if (stopping_) return;
    tasks_.push_back(std::move(fn));
    changed_.NotifyAll();
  }
  void Loop() {
    for (;;) {
      std::function<void()> task;
      {
        MutexLock lock(mutex_);
        while (tasks_.empty() && !stopping_) changed_.Wait(mutex_);
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }
  SessionId OpenNow(const std::string& name, uint16_t version, int peer) {
    const SessionId id = next_++;
    open_[id] = {name, version, peer};
    {
      MutexLock lock(mutex_);
      known_.insert(id);
    }
    SessionInfo info;
    info.session = id;
    info.name = name;
    info.version = version;
    info.message_count = 4;
    info.max_send_bytes = 65536;
    info.peer = PeerId(peer);
    info.remote = *Endpoint::Parse("192.0.2.7:4356");
    handler_.OnOpen(info);
    return id;
  }
  void OpenAll(const Capability& c) {
    for (int peer = 1; peer <= peers_; ++peer) OpenNow(c.name, c.version, peer);
  }
  void CloseNow(SessionId id, uint32_t code) {
    if (open_.erase(id) == 0) return;
    handler_.OnClose(id, code);
    MutexLock lock(mutex_);
    known_.erase(id);
    changed_.NotifyAll();
  }

  Handler& handler_;
  const int peers_;
  std::thread thread_;
  SessionId next_ = 1;  // the loop's, as is the next
  std::map<SessionId, Open> open_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool full_ ABSL_GUARDED_BY(mutex_) = false;
  int pause_calls_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  std::set<SessionId> known_ ABSL_GUARDED_BY(mutex_);
  std::vector<Sent> sent_ ABSL_GUARDED_BY(mutex_);
  std::map<SessionId, bool> paused_ ABSL_GUARDED_BY(mutex_);
  std::map<SessionId, std::pair<Reason, std::string>> disconnected_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Capability> offered_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Reason> withdrawn_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace helo::testing
