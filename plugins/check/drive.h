// The plugin under test on a fake host, with peers of pretence that send it what peers may send.
// Private to plugins/check; in the child.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "helo/testing/fake_host.h"
#include "plugins/check/tracer.h"

namespace helo::plugins {

class Drive {
 public:
  using Options = testing::FakeHost::Options;
  explicit Drive(Subject& subject, Options options = {});
  ~Drive();  // End()
  Drive(const Drive&) = delete;
  Drive& operator=(const Drive&) = delete;

  // Create and start. False, with the reason reported as a broken rule unless `may_refuse`.
  bool Run(bool may_refuse = false);
  std::string WhyNot() const;  // the words with which it refused
  testing::FakeHost& host() { return host_; }
  bool running() const { return host_.running(); }

  helo_session Open(uint32_t protocol);
  // A session of this protocol that is open; a new one if the plugin closed the last.
  helo_session Peer(uint32_t protocol);
  uint32_t protocols() const { return static_cast<uint32_t>(subject_.manifest.protocols.size()); }
  // All of them, or of very many some, the first and the last among them.
  std::vector<uint32_t> Types(uint32_t protocol) const;
  uint32_t MaxBytes(uint32_t protocol) const {
    return subject_.manifest.protocols[protocol].max_message_bytes;
  }
  void Read();  // every peer reads what was sent to it
  std::string Random(size_t size);
  // A message as a peer might make it that means ill: random, or what the plugin sent, altered.
  std::string Odd(uint32_t protocol);
  void SendOdd(size_t messages);  // over all protocols and types
  void CallCommands(const std::vector<std::string>& arguments);
  // A little of everything: peers, messages, full queues, timers, posts, commands, closes.
  void Work(size_t messages);
  void End();  // stop and destroy; reports what was seen
  void JudgeAnswers() { judge_answers_ = true; }

 private:
  static constexpr size_t kMostSamples = 64;
  Subject& subject_;
  testing::FakeHost host_;
  bool judge_answers_ = false, ended_ = false, expect_fault_ = false;
  std::mt19937_64 random_;
  uint64_t opened_ = 0;
  std::map<uint32_t, helo_session> peers_;
  std::map<uint32_t, std::vector<std::string>> samples_;
};

}  // namespace helo::plugins
