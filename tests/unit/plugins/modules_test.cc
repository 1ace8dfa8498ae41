// The plugins that ship, as the files that they are: each loads alone, runs, and leaves no trace.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "helo/testing/fake_host.h"

namespace {

using helo::testing::FakeHost;

bool IsMapped(const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  return std::string(std::istreambuf_iterator<char>(maps), {}).find(path) != std::string::npos;
}

class ModulesTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ModulesTest, LoadsRunsAndIsUnmapped) {
  const std::string path = std::string(HELO_PLUGIN_DIR) + "/" + GetParam() + ".so";
  for (int round = 0; round < 3; ++round) {
    void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << dlerror();
    const auto query =
        reinterpret_cast<decltype(&helo_plugin_query)>(dlsym(library, "helo_plugin_query"));
    ASSERT_NE(query, nullptr) << dlerror();
    const helo_descriptor* const descriptor = query(HELO_ABI_MAJOR);
    EXPECT_EQ(query(HELO_ABI_MAJOR + 1), descriptor) << "so that a refusal can name both versions";
    {
      FakeHost::Options options;
      options.rotate_threads = true;
      FakeHost host(descriptor, options);
      ASSERT_TRUE(host.Run());
      const helo_session peer = host.Open();
      for (uint32_t type = 0; type < descriptor->protocols[0]->message_count; ++type) {
        host.Message(peer, type, "not what it wants");
      }
      host.Stop();
      EXPECT_THAT(host.violations(), ::testing::IsEmpty());
      EXPECT_THAT(host.faults(), ::testing::IsEmpty());
      EXPECT_EQ(host.closed().size(), 1u);
    }
    EXPECT_TRUE(IsMapped(path));
    ASSERT_TRUE(descriptor->flags & HELO_F_UNLOADABLE);
    EXPECT_EQ(dlclose(library), 0);
    EXPECT_FALSE(IsMapped(path)) << "something in it keeps it mapped, such as a GNU_UNIQUE symbol";
  }
}

INSTANTIATE_TEST_SUITE_P(All, ModulesTest, ::testing::Values("echo", "gossip", "chainstatus"),
                         [](const auto& test) { return test.param; });

}  // namespace
