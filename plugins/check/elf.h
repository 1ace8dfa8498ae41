// What the file of a plugin shows without being mapped. Private to plugins/check. Thread: any.
#pragma once

#include <string>
#include <vector>

#include "p2p/base/bytes.h"

namespace helo::plugins {

struct ElfFacts {
  std::vector<std::string> needed;   // libraries
  std::vector<std::string> exports;  // defined and visible, but for what every linker adds
  std::vector<std::string> unique;   // GNU_UNIQUE: they keep it mapped for ever
  bool generated_protobuf = false;   // registers descriptors of .proto files
};
// `contents` passed CheckElf. What is stripped or damaged is not there.
ElfFacts ReadElf(ByteView contents);

}  // namespace helo::plugins
