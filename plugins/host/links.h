// The lines from plugins' threads to the rest of the node, each of which can be cut: a thread that
// never comes back from a plugin may outlive the host, and then finds nobody at the other end.
// Private to plugins/host. Thread: any.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "p2p/base/clock.h"
#include "p2p/base/log.h"
#include "p2p/base/mutex.h"
#include "p2p/server/handler.h"
#include "plugins/host/peers.h"

namespace helo::plugins {

// Lends a T to many threads at once; Close returns when nobody has it any more, and lends it to
// nobody after that. A loan lasts for one short call.
template <typename T>
class Gate {
 public:
  class Loan {
   public:
    explicit Loan(Gate& gate) : gate_(gate) {
      gate_.users_.fetch_add(1);  // before the look: Close looks the other way round
      thing_ = gate_.thing_.load();
    }
    ~Loan() { gate_.users_.fetch_sub(1); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    explicit operator bool() const { return thing_ != nullptr; }
    T* operator->() const { return thing_; }
    T& operator*() const { return *thing_; }

   private:
    Gate& gate_;
    T* thing_;
  };

  void Open(T& thing) { thing_.store(&thing); }
  bool is_open() const { return thing_.load() != nullptr; }
  void Close() {
    thing_.store(nullptr);
    while (users_.load() != 0) std::this_thread::yield();
  }

 private:
  std::atomic<T*> thing_{nullptr};
  std::atomic<int> users_{0};
};

struct Links {
  Gate<Messenger> messenger;  // open between Attached and Detached
  Gate<LogSink> log;
  Gate<const Clock> clock;
  Gate<const std::function<void(const NodeId&)>> forgive;
  Gate<const AskPeers> ask_peers;

  void CloseAll() {
    messenger.Close();
    log.Close();
    clock.Close();
    forgive.Close();
    ask_peers.Close();
  }
  std::optional<MonoTime> Now() {
    if (Gate<const Clock>::Loan loan(clock); loan) return loan->Now();
    return std::nullopt;
  }
  void Log(LogLevel level, std::string_view message, const LogFields& fields) {
    Gate<LogSink>::Loan loan(log);
    if (loan && loan->Enabled(level)) loan->Write(level, "plugin", message, fields);
  }
};

}  // namespace helo::plugins
