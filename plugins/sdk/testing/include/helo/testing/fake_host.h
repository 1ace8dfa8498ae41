// helo/testing/fake_host.h: a node of pretence for the tests of a plugin, in one process, with no
// socket, and with a clock that only the test moves. The test plays the peers and the operator:
//
//   helo::testing::FakeHost host(helo_plugin_query(1));
//   host.Run();
//   helo::Session peer = host.Open();
//   host.Message(peer, 0, "hello");
//   EXPECT_EQ(host.TakeSent(peer)[0].payload, "hello");
//   EXPECT_THAT(host.violations(), IsEmpty());
//
// It calls by the rules of helo/plugin.h and watches that the plugin, and the test, keep them: what
// broke one is a sentence in violations(). All bytes that it lends are exact-size blocks, spoilt
// and freed when the call returns, so that AddressSanitizer finds a pointer that was kept.
//
// Threads: what the test calls, it calls from one thread. The plugin's calls may come from any.
#ifndef HELO_TESTING_FAKE_HOST_H_
#define HELO_TESTING_FAKE_HOST_H_

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "helo/extensions.h"
#include "helo/plugin.h"

namespace helo::testing {

struct FakePeer {
  std::array<uint8_t, 32> node_id{};  // all zero: one of its own
  std::string address = "192.0.2.7:4356";
  std::string agent = "fake/1.0";
  bool inbound = true;
  uint32_t protocol = 0;        // index into the plugin's protocols
  uint32_t max_send_bytes = 0;  // 0: as much as the plugin takes itself
  uint64_t age_ms = 0, rtt_us = 0;
};
struct Sent {
  uint32_t type;
  std::string payload;
};
struct Closed {  // a session whose on_close was called
  helo_session session;
  int32_t reason;
  std::string why;  // the plugin's words, if it asked for it
};
struct Logged {
  int32_t level;
  std::string line;
};
struct Answered {
  bool failed;
  std::string text;
};

class FakeHost {
 public:
  struct Options {
    std::string config = {};
    bool timers = true, commands = true, peers = true;  // which extensions it has
    size_t quota_bytes = 1 << 20;                       // of what a peer has not read yet
    bool rotate_threads = false;  // each call from another thread of the system, as is allowed
    bool guard_lent = false;  // what is lent lies on pages that fault at once when they are touched
                              // after the call, or beyond the end; keeps address space, no memory
  };

  explicit FakeHost(const helo_descriptor* descriptor);
  FakeHost(const helo_descriptor* descriptor, Options options);
  ~FakeHost();  // Stop(), if it still runs
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  // Life. False: it refused; faults() says why.
  bool Create();
  bool Start();
  bool Run() { return Create() && Start(); }
  void Stop();  // as an unload does: no sends any more, on_close for each session, stop, destroy
  bool running() const;

  // Peers. A session that is gone is passed over, as it is by a node.
  helo_session Open(FakePeer peer = {});
  helo_verdict Message(helo_session session, uint32_t type, std::string_view payload);
  void Close(helo_session session, int32_t reason = HELO_REASON_EOF_EARLY);
  // The peer reads: what was sent to it since the last time. If that makes room after an AGAIN,
  // on_writable follows.
  std::vector<Sent> TakeSent(helo_session session);
  void Block(helo_session session);    // the peer does not read: every send says AGAIN,
  void Unblock(helo_session session);  // and now it does; on_writable follows if there was one
  bool open(helo_session session) const;
  void AddPeer(FakePeer peer);  // a peer without a session: for helo.peers/1 only

  // Time, posted tokens, commands.
  void Advance(std::chrono::nanoseconds by);          // timers that are due fire in their order
  size_t RunPosted();                                 // delivers the tokens that wait now; how many
  size_t WaitPosted(std::chrono::milliseconds most);  // the same, once there is one (real time)
  Answered Command(std::string_view name, const std::vector<std::string>& arguments = {});
  uint64_t BeginCommand(std::string_view name, const std::vector<std::string>& arguments = {});
  std::optional<Answered> TakeAnswer(uint64_t call);  // nullopt: not answered yet
  void Settle();  // does what calls from the plugin's own threads have asked for meanwhile

  // What was seen. Copies, in order.
  std::vector<Closed> closed() const;
  std::vector<Logged> logs() const;
  std::vector<std::string> faults() const;  // not empty: it is in quarantine, all is closed
  std::vector<std::string> violations() const;
  size_t timers() const;  // that are set now

 private:
  enum class State { kNew, kCreated, kRunning, kDraining, kOver };
  struct SessionState {
    FakePeer peer;
    bool opened = false, closing = false, closed = false, blocked = false, again = false;
    int32_t reason = 0;
    std::string why;
    size_t unread = 0;
    std::vector<Sent> sent;
  };
  struct Timer {
    uint64_t due_ns, order;
  };
  struct CallState {
    std::string name;
    std::optional<Answered> answer;
  };
  using Lock = std::lock_guard<std::mutex>;

  static FakeHost& Of(helo_host_ctx* ctx) { return *reinterpret_cast<FakeHost*>(ctx); }
  void CheckDescriptor();
  bool Check(bool holds, const std::string& otherwise);  // mutex_ held
  bool InCall(const char* what, const std::function<void()>& body);
  void DeliverCloses();
  void Quarantine();
  void CloseAll(int32_t reason);
  void Finish();
  std::optional<helo_status> Usable(const char* what);  // mutex_ held
  bool Talking(helo_session session) const;             // mutex_ held
  const helo_protocol* ProtocolOf(const SessionState& session) const;

  helo_status DoSend(helo_session session, uint32_t type, helo_bytes payload);
  helo_status DoDisconnect(helo_session session, int32_t penalty, helo_str why);
  helo_status DoPost(uint64_t token);
  void DoFault(helo_str why);
  void DoLog(int32_t level, helo_str line);
  const void* DoGetExtension(const char* id);
  helo_status DoSetTimer(uint64_t token, uint64_t delay_ns);
  helo_status DoCancelTimer(uint64_t token);
  helo_status DoAnswer(uint64_t call, int32_t failed, helo_str text);
  helo_status DoEachSession(void* arg,
                            int32_t (*visit)(void*, helo_session, const helo_session_info*));
  helo_status DoEachPeer(void* arg, int32_t (*visit)(void*, const helo_peer_info*));

  const helo_descriptor* const descriptor_;
  const Options options_;
  helo_host host_{};
  helo_host_timer timer_{};
  helo_host_command command_{};
  helo_host_peers peers_{};
  helo_plugin* plugin_ = nullptr;
  const helo_plugin_timer* plugin_timer_ = nullptr;
  const helo_plugin_command* plugin_command_ = nullptr;

  mutable std::mutex mutex_;
  std::condition_variable posted_changed_;
  State state_ = State::kNew;
  const char* in_call_ = nullptr;  // the name of the callback that runs
  bool delivering_ = false, usable_ = true;
  uint64_t now_ns_ = 1'000'000'000, next_timer_ = 0;
  helo_session next_session_ = 1;
  uint64_t next_call_ = 1;
  uint8_t next_node_ = 1;
  std::map<helo_session, SessionState> sessions_;
  std::vector<FakePeer> strangers_;
  std::map<uint64_t, Timer> timers_;
  std::deque<uint64_t> posted_;
  std::map<uint64_t, CallState> calls_;
  std::vector<Closed> closed_;
  std::vector<Logged> logs_;
  std::vector<std::string> faults_, violations_;
};

}  // namespace helo::testing

#endif
