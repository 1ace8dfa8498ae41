#include "plugins/host/loader.h"

#include <absl/strings/str_cat.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "p2p/base/text.h"
#include "plugins/host/file_check.h"

namespace helo::plugins {
namespace {

using Query = const helo_descriptor* (*)(uint32_t);

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// dlerror() in a sentence: what is missing, and what to do.
absl::Status WhyNotMapped(const std::string& name, const std::string& copy, std::string error) {
  if (const size_t at = error.find(": cannot open shared object file"); at != std::string::npos) {
    const std::string library = error.substr(0, at);
    if (library != copy) {
      return absl::FailedPreconditionError(absl::StrCat(
          name, ".so needs the library ", library,
          ", which is not on this machine; install it, or link it into the plugin (an $ORIGIN path "
          "does not work: the node maps a private copy)"));
    }
  }
  constexpr char kUndefined[] = "undefined symbol: ";
  if (const size_t at = error.find(kUndefined); at != std::string::npos) {
    std::string symbol = error.substr(at + sizeof(kUndefined) - 1);
    symbol.resize(std::min(symbol.size(), symbol.find_first_of(" \t(")));
    return absl::FailedPreconditionError(
        absl::StrCat(name, ".so needs the symbol ", symbol,
                     ", which neither it nor its libraries define (the node exports none); link "
                     "what defines it, and use -Wl,-z,defs to hear of it when you build"));
  }
  constexpr char kVersion[] = ": version `";
  if (error.find(kVersion) != std::string::npos) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, ".so was built against newer libraries than this machine has (", error,
                     "); build it on this release"));
  }
  if (error.find("Operation not permitted") != std::string::npos) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, ".so cannot be mapped from ", copy, " (", error,
                     "); is that file system mounted noexec? Give a --data-dir on another"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(name, ".so cannot be mapped (", error, "); rebuild it for this machine"));
}

}  // namespace

absl::StatusOr<Mapped> MapPlugin(const std::string& name, const std::string& copy) {
  void* handle = dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* error = dlerror();
    return WhyNotMapped(name, copy, error == nullptr ? "no reason given" : error);
  }
  auto query = reinterpret_cast<Query>(dlsym(handle, "helo_plugin_query"));
  if (query == nullptr) {
    dlclose(handle);
    return absl::FailedPreconditionError(
        absl::StrCat(name,
                     ".so is not a plugin: it does not export helo_plugin_query, which this "
                     "node calls; define it with HELO_EXPORT, as helo/plugin.h says"));
  }
  return Mapped{handle, query};
}

absl::Status Library::Unmap() {
  if (!manifest_.unloadable()) {
    return absl::FailedPreconditionError(
        absl::StrCat(name_, ".so stays mapped: it does not set HELO_F_UNLOADABLE"));
  }
  if (handle_ == nullptr) return absl::OkStatus();
  descriptor_ = nullptr;
  dlclose(std::exchange(handle_, nullptr));
  if (void* still = dlopen(copy_.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)) {
    dlclose(still);
    return absl::FailedPreconditionError(absl::StrCat(
        name_,
        ".so cannot be unloaded although it sets HELO_F_UNLOADABLE: something keeps it "
        "mapped (a GNU_UNIQUE symbol, a thread-local destructor, -z nodelete, or a second "
        "use); build it with -fno-gnu-unique and -fvisibility=hidden"));
  }
  unlink(copy_.c_str());
  return absl::OkStatus();
}

Loader::Loader(std::string plugin_dir, std::string private_dir)
    : plugin_dir_(std::move(plugin_dir)), private_dir_(std::move(private_dir)) {}

absl::Status Loader::PreparePrivateDir() {
  if (prepared_) return absl::OkStatus();
  if (mkdir(private_dir_.c_str(), 0700) != 0 && errno != EEXIST)
    return ErrnoStatus(errno, absl::StrCat("create ", private_dir_));
  struct stat info {};
  if (lstat(private_dir_.c_str(), &info) != 0)
    return ErrnoStatus(errno, absl::StrCat("stat ", private_dir_));
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(private_dir_,
                     ", where the node keeps its copies of plugins, is not a directory that only "
                     "uid ",
                     geteuid(), " can use; run: chown ", geteuid(), " ", private_dir_,
                     " && chmod 700 ", private_dir_));
  }
  DIR* dir = opendir(private_dir_.c_str());
  if (dir == nullptr) return ErrnoStatus(errno, absl::StrCat("read ", private_dir_));
  while (const dirent* entry = readdir(dir)) {
    if (EndsWith(entry->d_name, ".so")) unlinkat(dirfd(dir), entry->d_name, 0);
  }
  closedir(dir);
  prepared_ = true;
  return absl::OkStatus();
}

// Not synced: no later process uses it.
absl::Status Loader::WriteCopy(const std::string& path, ByteView contents) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0500);
  // One that is there was written whole by this process, into a directory that only it uses.
  if (fd < 0 && errno == EEXIST) return absl::OkStatus();
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("create ", path));
  int error = 0;
  while (!contents.empty() && error == 0) {
    const ssize_t wrote = write(fd, contents.data(), contents.size());
    if (wrote > 0) contents = contents.subspan(static_cast<size_t>(wrote));
    if (wrote < 0 && errno != EINTR) error = errno;
  }
  if (close(fd) != 0 && errno != EINTR && error == 0) error = errno;
  if (error == 0) return absl::OkStatus();
  unlink(path.c_str());
  return ErrnoStatus(error, absl::StrCat("write ", path));
}

absl::StatusOr<std::shared_ptr<Library>> Loader::Open(const std::string& name) {
  if (!IsPluginName(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", ToAbsl(QuoteRemote(name)),
                     "\" is no plugin name: it is the file's, without .so and "
                     "directory ([a-z][a-z0-9_-]*); ",
                     plugin_dir_, " has ", NamesIn(plugin_dir_)));
  }
  auto read = ReadPluginFile(plugin_dir_, name);
  if (!read.ok()) return read.status();
  if (absl::Status status = CheckElf(read->contents, read->path); !status.ok()) return status;
  std::shared_ptr<Library> library(new Library);
  library->name_ = name;
  library->file_ = read->path;
  library->hash_ = Sha256Hex(read->contents);
  library->copy_ = absl::StrCat(private_dir_, "/", name, "-", library->hash_, ".so");

  MutexLock lock(mutex_);  // dlerror and the copies
  if (absl::Status status = PreparePrivateDir(); !status.ok()) return status;
  if (absl::Status status = WriteCopy(library->copy_, read->contents); !status.ok()) return status;
  auto mapped = MapPlugin(name, library->copy_);
  if (!mapped.ok()) {
    unlink(library->copy_.c_str());
    return mapped.status();
  }
  const helo_descriptor* descriptor = mapped->query(HELO_ABI_MAJOR);
  auto manifest = CheckDescriptor(descriptor, name);
  if (!manifest.ok()) {
    // Closed again: it was never called but for the query.
    dlclose(mapped->handle);
    return manifest.status();
  }
  library->manifest_ = std::move(*manifest);
  library->descriptor_ = descriptor;
  library->handle_ = mapped->handle;
  return library;
}

}  // namespace helo::plugins
