// Runs a fuzz target without libFuzzer, under any compiler: every file of the corpus directories
// named, then as many random inputs as asked for, from fixed seeds. The input that was running when
// something broke is named first.
//   fuzz_session_replay [--random N] DIRECTORY...
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "p2p/base/testing/seeded_rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

char running[512];  // written before each input, printed by the handler of SIGABRT

void TellInput(int) {
  const size_t length = std::strlen(running);
  if (write(STDERR_FILENO, running, length) < 0) std::_Exit(3);
}

void Run(const std::string& name, const std::vector<uint8_t>& input) {
  std::snprintf(running, sizeof(running), "while running %s\n", name.c_str());
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGABRT, TellInput);
  size_t files = 0;
  uint64_t random = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--random" && i + 1 < argc) {
      random = std::strtoull(argv[++i], nullptr, 10);
      continue;
    }
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
      paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    for (const std::filesystem::path& path : paths) {
      std::ifstream file(path, std::ios::binary);
      Run(path.string(), {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
      ++files;
    }
  }
  for (uint64_t seed = 1; seed <= random; ++seed) {
    helo::testing::SeededRng rng(seed);
    std::vector<uint8_t> input(static_cast<size_t>(rng.Below(600)));
    rng.Fill(input);
    Run("random input of seed " + std::to_string(seed), input);
  }
  std::cout << files << " corpus files and " << random << " random inputs ran\n";
  return files > 0 ? 0 : 2;
}
