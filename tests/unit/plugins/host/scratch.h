// A directory of a test's own, with plugins in it.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace helo::testing {

class Scratch {
 public:
  Scratch() {
    std::string name = ::testing::TempDir() + "helo-plugins-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    root_ = std::filesystem::canonical(name);
    std::filesystem::create_directory(dir());
    chmod(dir().c_str(), 0755);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  std::string root() const { return root_; }
  std::string dir() const { return root_ / "plugins"; }
  std::string copies() const { return root_ / "copies"; }
  std::string File(const std::string& name) const { return dir() + "/" + name + ".so"; }
  // The test plugin `from` under the name `as`; in the place of the one that is there.
  void Put(const std::string& from, const std::string& as = "") const {
    const std::string to = File(as.empty() ? from : as);
    std::filesystem::copy_file(std::string(TEST_PLUGINS) + "/" + from + ".so", to,
                               std::filesystem::copy_options::overwrite_existing);
    chmod(to.c_str(), 0755);
  }

 private:
  std::filesystem::path root_;
};

}  // namespace helo::testing
