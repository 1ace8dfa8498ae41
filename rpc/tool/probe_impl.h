// The inside of Probe(), shared by its two sources: probe.cc (the stages, and what ends them) and
// probe_io.cc (the bytes). Nobody else includes it. Thread: the one that runs the loop.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/text.h"
#include "p2p/net/event_loop.h"
#include "p2p/net/resolver.h"
#include "p2p/tls/channel.h"
#include "p2p/wire/session.h"
#include "rpc/tool/probe.h"

namespace helo::tool {

class Prober final : private net::Watcher, private wire::SessionSink {
 public:
  explicit Prober(const ProbeRequest& request) : request_(request) {}
  ProbeReport Run();

 private:
  enum class Phase : uint8_t { kResolving, kConnecting, kTls, kSession, kClosing, kDone };

  bool OnReady(uint32_t events) override;
  // SessionSink; a probe is never up.
  void OnHello(const wire::Hello& /*hello*/) override { would_accept_ = true; }
  void OnUp() override {}
  void OnOpen(const wire::OpenChannel& /*channel*/) override {}
  void OnMessage(uint32_t /*open*/, uint16_t /*type*/, ByteView /*payload*/) override {}
  void OnWritable() override {}
  void OnChannelClose(uint32_t /*open*/, uint32_t /*code*/) override {}
  void OnChallenge(bool /*alive*/) override {}
  void OnPeersRequested(uint32_t /*max*/) override {}
  void OnPeers(const std::vector<wire::PeerInfo>& /*peers*/) override {}
  void OnMismatch(const std::string& /*name*/, uint16_t /*version*/, uint16_t /*ours*/,
                  uint16_t /*theirs*/) override {}
  void OnClose(const CloseInfo& close) override { session_end_ = close; }

  absl::Status Prepare();
  void Resolved(absl::StatusOr<std::vector<IpAddress>> found);
  void ResolveFailed(Reason reason, std::string text);
  void NextAddress();
  void ConnectFailed(Reason reason, int error, std::string text);
  void Connected();
  void ReadSome();
  void Pump();
  void StartSession();
  void NoteHello();
  void Flush();
  void SocketEnded(int error);
  void AfterSession();
  void OnTimer();
  void Arm(MonoTime when) { timer_->SetAt(std::min(when, end_)); }
  void Step(Stage stage, bool ok, std::string text = {});
  void Fail(Reason reason, Decider decider, std::string text);
  void Finish();
  void TakeIcmp();
  MonoTime Now() const { return RealClock().Now(); }
  std::string Waited() const { return HumanDuration((Now() - stage_began_).count()); }

  const ProbeRequest& request_;
  ProbeReport report_;
  Phase phase_ = Phase::kResolving;
  MonoTime end_{}, stage_began_{}, hello_sent_{};
  std::vector<IpAddress> addresses_;
  size_t next_address_ = 0;
  bool would_accept_ = false;
  bool sent_close_notify_ = false;
  int write_error_ = 0;
  std::optional<CloseInfo> session_end_;
  wire::Profile profile_;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(16 * 1024);

  // Destroyed in the reverse order: everything before the loop, the loop before its pool. That
  // covers the loop's descriptors, the resolver's, a ping and the connection, with room.
  FdPool fds_{PoolKind::kSpare, 64};
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<tls::Context> context_;
  std::unique_ptr<net::Resolver> resolver_;
  std::unique_ptr<net::Timer> timer_, ask_timer_;
  std::unique_ptr<Ping> ping_;
  net::Socket socket_;
  net::Registration registration_;
  std::unique_ptr<tls::Channel> channel_;
  std::unique_ptr<wire::Session> session_;
};

}  // namespace helo::tool
