#include "plugins/check/drive.h"

#include <absl/strings/str_cat.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "p2p/base/text.h"
#include "plugins/check/rules.h"

namespace helo::plugins {
namespace {

// What the fake host says was broken, and where the header says so.
struct Known {
  const char* words;
  Place place;
};
constexpr Known kKnown[] = {
    {"answered twice", ExtensionsH("GONE: answered already")},
    {"never was", ExtensionsH("GONE: answered already")},
    {"never answered", ExtensionsH("Owes one answer, now or later")},
    {"timer was set before start", ExtensionsH("on_timer(token) in delay_ns")},
    {"after destroy", PluginH("valid from create until destroy has returned")},
    {"send of a type", PluginH("INVALID: type >= message_count")},
    {"NULL with a size", PluginH("may be NULL when size is 0")},
    {"send to the session 0", PluginH("never 0, never used again")},
    {"penalty that is not", PluginH("penalty 0: PLUGIN_POLITE")},
    {"did not say why", PluginH("say why with fault() before returning it")},
    {"without a word of why", PluginH("say why with fault() before returning it")},
    {"gave no instance", PluginH("On failure *out is not looked at")},
    {"verdict that there is not", PluginH("what on_message says of the PEER")},
    {"a level that there is not", PluginH("HELO_LOG_DEBUG = 0")},
};

std::string WithPlace(const std::string& violation) {
  for (const Known& known : kKnown) {
    if (violation.find(known.words) != std::string::npos) {
      return absl::StrCat(violation, " (", known.place.header, ":", known.place.line, ")");
    }
  }
  return violation;
}

testing::FakeHost::Options With(Subject& subject, testing::FakeHost::Options options) {
  if (options.config.empty()) options.config = subject.config;
  return options;
}

}  // namespace

Drive::Drive(Subject& subject, Options options)
    : subject_(subject),
      host_(subject.descriptor, With(subject, std::move(options))),
      random_(subject.seed) {}

Drive::~Drive() { End(); }

bool Drive::Run(bool may_refuse) {
  if (host_.Run()) return true;
  expect_fault_ = true;
  if (!may_refuse) {
    subject_.report.Broken(absl::StrCat("it does not start: ", WhyNot(),
                                        "; if it needs a configuration, give it with --config"));
  }
  return false;
}

std::string Drive::WhyNot() const {
  const std::vector<std::string> why = host_.faults();
  return why.empty() ? "and does not say why" : absl::StrCat("\"", QuoteRemote(why.front()), "\"");
}

helo_session Drive::Open(uint32_t protocol) {
  if (!running()) return 0;
  testing::FakePeer peer;
  peer.protocol = protocol;
  ++opened_;
  std::memcpy(peer.node_id.data(), &opened_, sizeof(opened_));
  peer.node_id[31] = 1;
  peer.address = absl::StrCat("192.0.2.", opened_ % 256, ":", 1024 + opened_ % 60'000);
  peer.agent = "odd\x1b[31m \"agent\"\xff";
  peer.inbound = opened_ % 2 == 0;
  return host_.Open(peer);
}

helo_session Drive::Peer(uint32_t protocol) {
  helo_session& session = peers_[protocol];
  if (session == 0 || !host_.open(session)) session = Open(protocol);
  return session;
}

std::vector<uint32_t> Drive::Types(uint32_t protocol) const {
  constexpr uint32_t kMost = 64;
  const uint32_t count = subject_.manifest.protocols[protocol].message_count;
  std::vector<uint32_t> types;
  for (uint32_t i = 0; i < std::min(count, kMost - 1); ++i) types.push_back(i);
  if (count >= kMost) types.push_back(count - 1);
  return types;
}

void Drive::Read() {
  for (const auto& [protocol, session] : peers_) {
    for (testing::Sent& sent : host_.TakeSent(session)) {
      std::vector<std::string>& samples = samples_[protocol];
      if (sent.payload.size() > 4096) continue;
      if (samples.size() < kMostSamples) {
        samples.push_back(std::move(sent.payload));
      } else {
        samples[random_() % kMostSamples] = std::move(sent.payload);
      }
    }
  }
}

std::string Drive::Random(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; i += 8) {
    const uint64_t word = random_();
    std::memcpy(bytes.data() + i, &word, std::min<size_t>(8, size - i));
  }
  return bytes;
}

std::string Drive::Odd(uint32_t protocol) {
  const size_t most = MaxBytes(protocol);
  const std::vector<std::string>& samples = samples_[protocol];
  if (samples.empty() || random_() % 3 == 0) {
    const size_t range = random_() % 8 == 0 ? size_t{65'536} : size_t{96};
    return Random(random_() % (std::min(most, range) + 1));
  }
  std::string bytes = samples[random_() % samples.size()];
  for (uint64_t edits = random_() % 4; edits > 0; --edits) {
    switch (random_() % 4) {
      case 0:
        if (!bytes.empty())
          bytes[random_() % bytes.size()] ^= static_cast<char>(1U << random_() % 8);
        break;
      case 1:
        bytes.resize(random_() % (bytes.size() + 1));
        break;
      case 2:
        bytes += Random(random_() % 16);
        break;
      default:
        if (!bytes.empty()) bytes[random_() % bytes.size()] = static_cast<char>(0xff);
    }
  }
  if (bytes.size() > most) bytes.resize(most);
  return bytes;
}

void Drive::SendOdd(size_t messages) {
  if (protocols() == 0) return;
  for (size_t i = 0; i < messages && running(); ++i) {
    const auto protocol = static_cast<uint32_t>(i % protocols());
    const std::vector<uint32_t> types = Types(protocol);
    host_.Message(Peer(protocol), types[random_() % types.size()], Odd(protocol));
    if (random_() % 8 == 0) Read();
  }
}

void Drive::CallCommands(const std::vector<std::string>& arguments) {
  for (const CommandInfo& command : TracedCommands()) {
    if (running()) host_.BeginCommand(command.name, arguments);
  }
  host_.RunPosted();
}

void Drive::Work(size_t messages) {
  for (uint32_t protocol = 0; protocol < protocols(); ++protocol) {
    Open(protocol);
    host_.Block(Peer(protocol));
  }
  CallCommands({"one", "2"});
  SendOdd(messages / 2);
  for (const auto& [protocol, session] : peers_) host_.Unblock(session);
  Read();
  host_.Advance(std::chrono::minutes(2));
  SendOdd(messages - messages / 2);
  CallCommands({});
  host_.WaitPosted(std::chrono::milliseconds(1));
  for (const auto& [protocol, session] : peers_) host_.Close(session);
  host_.Advance(std::chrono::minutes(2));
}

void Drive::End() {
  if (std::exchange(ended_, true)) return;
  host_.Stop();
  for (const std::string& violation : host_.violations()) {
    const bool of_answers = violation.find("answered") != std::string::npos;
    if (of_answers && !judge_answers_) continue;  // another rule's
    if (expect_fault_ && violation.find("did not say why") == std::string::npos) continue;
    subject_.report.Broken(WithPlace(QuoteRemote(violation)));
  }
  if (expect_fault_) return;
  constexpr Place kFault = PluginH("is put in quarantine, its sessions are closed");
  for (const std::string& fault : host_.faults()) {
    subject_.report.Broken(absl::StrCat("it called itself faulty (\"", QuoteRemote(fault),
                                        "\"), and nothing was wrong but what peers and operators "
                                        "may do: a node puts it in quarantine for that (",
                                        kFault.header, ":", kFault.line, ")"));
    break;
  }
}

}  // namespace helo::plugins
