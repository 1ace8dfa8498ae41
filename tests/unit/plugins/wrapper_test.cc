// helo/plugin.hpp: what a C++ plugin does is what the C side sees, and nothing it throws gets out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "helo/bytes.hpp"
#include "helo/plugin.hpp"
#include "helo/testing/fake_host.h"

namespace {

using helo::testing::Answered;
using helo::testing::FakeHost;
using helo::testing::FakePeer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Does what the message says: "throw", "penalise", "send", ...
class Actor final : public helo::Plugin {
 public:
  static constexpr helo::About kAbout = {"org.example.actor", "1.2.3", "does as it is told",
                                         HELO_F_UNLOADABLE};
  static constexpr helo_protocol kProtocols[] = {helo::Protocol("actor", 1, 2, 100),
                                                 helo::Protocol("actor", 2, 3, 200)};
  static constexpr helo_command kCommands[] = {
      helo::Command("later", "", "answers by a timer"), helo::Command("throw", "", "throws"),
      helo::Command("list", "[WHAT]", "sessions or peers")};

  Actor(const helo::Host& host, std::string_view config) : Plugin(host), config_(config) {
    if (config == "refuse") throw std::runtime_error("the configuration says so");
  }
  void OnStart() override {
    if (config_ == "refuse start") throw std::runtime_error("not today");
    host().SetTimer(7, std::chrono::seconds(5));
  }
  void OnOpen(helo::Session session, const helo::SessionInfo& info) override {
    state_.Open(session, std::string(helo::FromC(info.address)));
  }
  helo::Verdict OnMessage(helo::Session session, uint32_t /*type*/, helo::Bytes payload) override {
    const std::string_view text = helo::AsText(payload);
    if (text == "throw") throw std::runtime_error("told to");
    if (text == "throw int") throw 1;
    if (text == "penalise") return helo::Verdict::kPenalise;
    if (text == "disconnect") return helo::Verdict::kDisconnect;
    if (text == "leave") host().Disconnect(session, "bye");
    if (text == "punish") host().Penalise(session, "bad");
    if (text == "who") last_ = host().Send(session, 1, helo::AsBytes(*state_.Find(session)));
    return helo::Verdict::kOk;
  }
  void OnTimer(uint64_t token) override {
    host().Info("timer " + std::to_string(token));
    for (const helo::Call& call : waiting_) call.Answer("now");
    waiting_.clear();
  }
  void OnCommand(const helo::Call& call, uint32_t command, helo::Arguments arguments) override {
    if (command == 0) {
      waiting_.push_back(call);
      host().SetTimer(8, std::chrono::seconds(1));
    } else if (command == 1) {
      throw std::runtime_error("in a command");
    } else {
      call.Answer(List(!arguments.empty() && arguments[0] == "peers"));
    }
  }
  void OnClose(helo::Session session, int32_t reason) override {
    state_.Close(session);
    host().Info("closed " + std::to_string(reason) + ", " + std::to_string(state_.size()) +
                " left");
  }

 private:
  std::string List(bool peers) {
    std::string out;
    const helo_status status =
        peers ? host().EachPeer([&](const helo_peer_info& p) { out += helo::FromC(p.agent); })
              : host().EachSession([&](helo::Session s, const helo::SessionInfo&) {
                  out += std::to_string(s) + ' ';
                  if (s == 99) throw std::runtime_error("in a visit");
                  return s < 2;
                });
    return status == HELO_OK ? out : "no list";
  }

  std::string config_;
  helo_status last_ = HELO_OK;
  helo::SessionMap<std::string> state_;
  std::vector<helo::Call> waiting_;
};

const helo_descriptor* const kActor = &helo::kDescriptor<Actor>;

FakeHost::Options With(const std::string& config) {
  FakeHost::Options options;
  options.config = config;
  return options;
}
std::vector<std::string> Lines(const FakeHost& host) {
  std::vector<std::string> lines;
  for (const auto& log : host.logs()) lines.push_back(log.line);
  return lines;
}

TEST(Wrapper, DescribesThePluginWhenCompiling) {
  static_assert(helo::kDescriptor<Actor>.protocol_count == 2);
  EXPECT_STREQ(kActor->id, "org.example.actor");
  EXPECT_EQ(kActor->flags, HELO_F_UNLOADABLE);
  EXPECT_STREQ(kActor->protocols[1]->name, "actor");
  EXPECT_EQ(kActor->protocols[1]->max_message_bytes, 200u);
}

TEST(Wrapper, CallsTheRightOnesInTheRightOrder) {
  FakeHost host(kActor);
  ASSERT_TRUE(host.Run());
  const helo::Session peer = host.Open({.address = "192.0.2.9:1"});
  host.Message(peer, 0, "who");
  ASSERT_EQ(host.TakeSent(peer).size(), 1u);
  host.Close(peer);
  host.Advance(std::chrono::seconds(5));
  EXPECT_THAT(Lines(host), ElementsAre("closed 107, 0 left", "timer 7"));
  EXPECT_THAT(host.violations(), IsEmpty());
}

TEST(Wrapper, WhatTheConstructorThrowsIsWhyItDoesNotRun) {
  FakeHost host(kActor, With("refuse"));
  EXPECT_FALSE(host.Run());
  EXPECT_THAT(host.faults(), ElementsAre("the configuration says so"));
  FakeHost second(kActor, With("refuse start"));
  EXPECT_TRUE(second.Create());
  EXPECT_FALSE(second.Start());
  EXPECT_THAT(second.faults(), ElementsAre("not today"));
  EXPECT_THAT(second.violations(), IsEmpty());
}

TEST(Wrapper, AnExceptionIsAFaultAndJudgesNoPeer) {
  for (const char* how : {"throw", "throw int"}) {
    FakeHost host(kActor);
    ASSERT_TRUE(host.Run());
    const helo::Session one = host.Open(), two = host.Open();
    EXPECT_EQ(host.Message(one, 0, how), HELO_V_OK);
    EXPECT_EQ(host.faults().size(), 1u);
    EXPECT_FALSE(host.running());
    ASSERT_EQ(host.closed().size(), 2u) << "exactly one close for each";
    EXPECT_EQ(host.closed()[0].reason, HELO_REASON_PLUGIN_GONE);
    EXPECT_FALSE(host.open(one) || host.open(two));
    EXPECT_THAT(host.violations(), IsEmpty());
  }
}

TEST(Wrapper, VerdictsAndDisconnectsCloseWithTheirReason) {
  FakeHost host(kActor);
  ASSERT_TRUE(host.Run());
  for (const char* how : {"penalise", "disconnect", "leave", "punish"})
    host.Message(host.Open(), 0, how);
  std::vector<int32_t> reasons;
  std::string whys;
  for (const auto& closed : host.closed())
    reasons.push_back(closed.reason), whys += closed.why + ";";
  EXPECT_THAT(reasons, ElementsAre(HELO_REASON_PLUGIN_VIOLATION, HELO_REASON_PLUGIN_POLITE,
                                   HELO_REASON_PLUGIN_POLITE, HELO_REASON_PLUGIN_VIOLATION));
  EXPECT_EQ(whys, ";;bye;bad;");
}

TEST(Wrapper, ACommandIsAnsweredNowOrLater) {
  FakeHost host(kActor);
  ASSERT_TRUE(host.Run());
  host.Open(), host.Open(), host.Open({.agent = "third"});
  EXPECT_EQ(host.Command("list").text, "1 2 ") << "a visit ends when the visitor says so";
  EXPECT_EQ(host.Command("list", {"peers"}).text, "fake/1.0fake/1.0third");
  const uint64_t call = host.BeginCommand("later");
  EXPECT_FALSE(host.TakeAnswer(call));
  host.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(host.TakeAnswer(call));
  EXPECT_EQ(host.TakeAnswer(call)->text, "now");
  EXPECT_THAT(host.violations(), IsEmpty());
}

TEST(Wrapper, AThrowingCommandIsRefusedAndIsAFault) {
  FakeHost host(kActor);
  ASSERT_TRUE(host.Run());
  const Answered answer = host.Command("throw");
  EXPECT_TRUE(answer.failed);
  EXPECT_THAT(answer.text, HasSubstr("failed"));
  EXPECT_THAT(host.faults(), ElementsAre("in a command"));
  EXPECT_THAT(host.violations(), IsEmpty());
}

TEST(Wrapper, WorksOnAHostThatLacksTheExtensions) {
  FakeHost host(kActor, {.timers = false, .commands = false, .peers = false});
  ASSERT_TRUE(host.Run());
  host.Message(host.Open(), 0, "who");
  EXPECT_TRUE(host.Command("list").failed);
  EXPECT_EQ(host.timers(), 0u);
  EXPECT_THAT(host.faults(), IsEmpty());
  EXPECT_THAT(host.violations(), IsEmpty());
}

TEST(Wrapper, WorksOnAHostOfASmallerStruct) {
  helo_host small = {};
  small.struct_size = offsetof(helo_host, get_extension);
  const helo::Host host(&small);
  EXPECT_FALSE(host.has_timers() || host.has_commands() || host.has_peers());
  EXPECT_EQ(host.SetTimer(1, std::chrono::seconds(1)), HELO_E_INVALID);
  EXPECT_EQ(host.Answer(1, false, ""), HELO_E_INVALID);
  EXPECT_EQ(host.EachPeer([](const helo_peer_info&) {}), HELO_E_INVALID);
  EXPECT_GT(host.Now().count(), 0);
}

TEST(Wrapper, WhatAVisitorThrowsGoesAroundTheHost) {
  helo_host_peers peers = {};
  peers.struct_size = sizeof(peers);
  peers.each_peer = [](helo_host_ctx*, void* arg, int32_t (*visit)(void*, const helo_peer_info*)) {
    const helo_peer_info info = {};
    EXPECT_EQ(visit(arg, &info), 0) << "the visit ends, and the C code goes on";
    return static_cast<helo_status>(HELO_OK);
  };
  helo_host c = {};
  c.struct_size = sizeof(c);
  c.ctx = reinterpret_cast<helo_host_ctx*>(&peers);
  c.get_extension = [](helo_host_ctx* ctx, const char* id) -> const void* {
    return std::string_view(id) == HELO_EXT_PEERS ? ctx : nullptr;
  };
  const helo::Host host(&c);
  EXPECT_THROW(host.EachPeer([](const helo_peer_info&) { throw std::runtime_error("x"); }),
               std::runtime_error);
}

}  // namespace
