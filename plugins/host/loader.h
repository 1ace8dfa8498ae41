// From a name to a plugin's code in this process: the file is checked, read once, hashed, copied
// into a directory of ours under its name and hash, and that copy is mapped; so whoever replaces
// the file neither crashes the node nor gets old code, and a debugger finds what runs. Holds no
// descriptor afterwards. Every refusal is a sentence that names both sides and the remedy.
// Thread: any.
#pragma once

#include <absl/status/statusor.h>

#include <memory>
#include <string>

#include "p2p/base/mutex.h"
#include "plugins/host/descriptor_check.h"

namespace helo::plugins {

// One mapped plugin. Stays mapped when destroyed; Unmap takes it away.
class Library {
 public:
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const std::string& name() const { return name_; }  // the operator's
  const std::string& file() const { return file_; }  // as found below the plugin directory
  const std::string& copy() const { return copy_; }  // what is mapped
  const std::string& hash() const { return hash_; }  // SHA-256 of both
  const Manifest& manifest() const { return manifest_; }
  const helo_descriptor& descriptor() const { return *descriptor_; }

  // dlclose, only for a plugin whose author vouches for it and once nothing of it runs or is
  // referred to. FailedPrecondition, with the reason, if it stays mapped all the same.
  absl::Status Unmap();

 private:
  friend class Loader;
  Library() = default;
  std::string name_, file_, copy_, hash_;
  Manifest manifest_;
  void* handle_ = nullptr;
  const helo_descriptor* descriptor_ = nullptr;
};

// Maps the file `copy`, whose bytes CheckElf accepted, and asks it for its descriptor, which is not
// judged yet. `name` is the operator's, for the sentence. dlclose(handle) is the caller's.
struct Mapped {
  void* handle = nullptr;
  const helo_descriptor* (*query)(uint32_t host_abi_major) = nullptr;
};
absl::StatusOr<Mapped> MapPlugin(const std::string& name, const std::string& copy);

class Loader {
 public:
  // `private_dir` is made, 0700, with the first plugin; copies that an earlier process left in it
  // are removed then.
  Loader(std::string plugin_dir, std::string private_dir);

  absl::StatusOr<std::shared_ptr<Library>> Open(const std::string& name);
  const std::string& plugin_dir() const { return plugin_dir_; }

 private:
  absl::Status PreparePrivateDir() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteCopy(const std::string& path, ByteView contents)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string plugin_dir_, private_dir_;
  Mutex mutex_;
  bool prepared_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace helo::plugins
