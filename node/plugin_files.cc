#include "node/plugin_files.h"

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include <filesystem>
#include <optional>
#include <system_error>

#include "node/config_file.h"
#include "p2p/base/atomic_file.h"

namespace helo::node {
namespace {

constexpr size_t kMostConfig = size_t{1} << 20;

}  // namespace

std::string DefaultPluginDir() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return "";
  return (self.parent_path().parent_path() / "lib" / "helo" / "plugins").string();
}

absl::StatusOr<std::string> ReadPluginConfig(const std::string& config_file,
                                             const std::string& data_dir, const std::string& name) {
  // The host refuses such a name with a sentence; no file outside the data directory is opened.
  if (name.find('/') != std::string::npos) return std::string();
  if (!config_file.empty()) {
    const absl::StatusOr<std::string> text = ReadWholeFile(config_file, kMostConfig);
    if (!text.ok()) return text.status();
    if (std::optional<std::string> section = PluginSection(*text, name)) return *section;
  }
  absl::StatusOr<std::string> own =
      ReadWholeFile(absl::StrCat(data_dir, "/", name, ".conf"), kMostConfig);
  if (absl::IsNotFound(own.status())) return std::string();
  return own;
}

}  // namespace helo::node
