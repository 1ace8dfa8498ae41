// What the tests of the plugins that ship have in common: the plugin that this program is linked
// with, on a fake host that kept and saw kept every rule.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "helo/bytes.hpp"
#include "helo/testing/fake_host.h"

namespace helo::testing {

class PluginTest : public ::testing::Test {
 protected:
  ~PluginTest() override {
    if (host_ == nullptr) return;
    host_->Stop();
    EXPECT_THAT(host_->violations(), ::testing::IsEmpty());
  }
  FakeHost& Start(FakeHost::Options options = {}) {
    host_ = std::make_unique<FakeHost>(helo_plugin_query(HELO_ABI_MAJOR), std::move(options));
    EXPECT_TRUE(host_->Run()) << ::testing::PrintToString(host_->faults());
    return *host_;
  }
  FakeHost& Start(const std::string& config) {
    FakeHost::Options options;
    options.config = config;
    return Start(std::move(options));
  }
  // "TYPE:HEX", shorter to compare.
  std::vector<std::string> SentHex(helo_session session) {
    std::vector<std::string> out;
    for (const Sent& sent : host_->TakeSent(session)) {
      out.push_back(std::to_string(sent.type) + ":" + Hex(AsBytes(sent.payload)));
    }
    return out;
  }

  std::unique_ptr<FakeHost> host_;
};

}  // namespace helo::testing
