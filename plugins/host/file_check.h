// Is a file fit to be mapped into the node? Who could write it, and is it a whole shared object of
// this machine. Every refusal is one sentence with its remedy. Private to plugins/host.
// Thread: any.
#pragma once

#include <absl/status/statusor.h>

#include <string>
#include <string_view>

#include "p2p/base/bytes.h"

namespace helo::plugins {

// `path`, absolute and without symbolic links (realpath(3)) but perhaps the last part, and every
// directory above it belong to root or to us and cannot be written by group or others. A sticky
// directory, such as /tmp, is accepted where what follows it in the path is root's or ours, because
// then nobody else can replace that.
absl::Status CheckPath(const std::string& path);

// Opens DIR/NAME.so once, checks the path and the descriptor, and reads all of it.
struct FileRead {
  std::string path;  // as it was found, without symbolic links
  Bytes contents;
};
absl::StatusOr<FileRead> ReadPluginFile(const std::string& dir, const std::string& name);

// An ELF shared object for this machine, of which nothing is cut off: a short one would kill the
// process with SIGBUS when it is mapped. `name` is for the sentence.
absl::Status CheckElf(ByteView contents, std::string_view name);

// SHA-256 as 64 hex digits.
std::string Sha256Hex(ByteView contents);

// "echo, gossip" or "no plugin": the names that DIR/NAME.so would find.
std::string NamesIn(const std::string& dir);

// [a-z][a-z0-9_-]*, at most 64.
bool IsPluginName(std::string_view name);

}  // namespace helo::plugins
