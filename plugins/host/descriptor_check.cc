#include "plugins/host/descriptor_check.h"

#include <absl/strings/str_cat.h>

#include <cstddef>
#include <cstring>
#include <set>

#include "p2p/base/text.h"

namespace helo::plugins {
namespace {

constexpr size_t kSmallestDescriptor = offsetof(helo_descriptor, get_extension);
constexpr size_t kSmallestProtocol =
    offsetof(helo_protocol, max_message_bytes) + sizeof(helo_protocol::max_message_bytes);
constexpr uint32_t kMostProtocols = 16;
constexpr uint32_t kMostMessageBytes = uint32_t{16} << 20;
constexpr uint32_t kMostCommands = 256;

// The text, if it has 1 to `most` printable characters of ASCII.
bool Printable(const char* text, size_t most, std::string& out) {
  if (text == nullptr) return false;
  const size_t size = strnlen(text, most + 1);
  if (size == 0 || size > most) return false;
  out.assign(text, size);
  for (const char c : out) {
    if (c < 0x20 || c > 0x7e) return false;
  }
  return true;
}

bool IsName(const char* text, size_t most, std::string& out) {
  if (!Printable(text, most, out) || out[0] < 'a' || out[0] > 'z') return false;
  return out.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
}

absl::Status CheckProtocol(const helo_protocol* p, const std::string& name, uint32_t index,
                           Capability& out) {
  const auto bad = [&](const auto&... words) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, ".so's protocol ", index, " ", words..., " (helo_protocol)"));
  };
  if (p == nullptr) return bad("is NULL; point it at a helo_protocol");
  if (p->struct_size < kSmallestProtocol) {
    return bad("has struct_size ", p->struct_size, " and the smallest is ", kSmallestProtocol,
               "; set it to sizeof(helo_protocol)");
  }
  if (!IsName(p->name, 16, out.name))
    return bad("has a name that is not [a-z][a-z0-9-]{0,15}; rename it");
  if (p->version < 1 || p->version > 65535)
    return bad("has version ", p->version, "; it must be 1 to 65535");
  if (p->message_count < 1 || p->message_count > 65535)
    return bad("has message_count ", p->message_count, "; it must be 1 to 65535");
  if (p->max_message_bytes > kMostMessageBytes) {
    return bad("has max_message_bytes ", p->max_message_bytes, "; it must be at most ",
               kMostMessageBytes);
  }
  out.version = static_cast<uint16_t>(p->version);
  out.message_count = static_cast<uint16_t>(p->message_count);
  out.max_message_bytes = p->max_message_bytes;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Manifest> CheckDescriptor(const helo_descriptor* d, const std::string& name) {
  const auto bad = [&](const auto&... words) {
    return absl::FailedPreconditionError(absl::StrCat(name, ".so's descriptor ", words...));
  };
  if (d == nullptr)
    return bad("is NULL; helo_plugin_query must give one for every major that it is asked for");
  if (d->abi_major != HELO_ABI_MAJOR) {
    return absl::FailedPreconditionError(absl::StrCat(
        name, ".so needs ABI ", d->abi_major, " and this node speaks ABI ", HELO_ABI_MAJOR,
        d->abi_major > HELO_ABI_MAJOR
            ? ": upgrade the node, or rebuild the plugin against helo "
            : ": rebuild the plugin against this node's helo/plugin.h, of helo ",
        HELO_ABI_MAJOR, ".x"));
  }
  if (d->struct_size < kSmallestDescriptor) {
    return bad("has struct_size ", d->struct_size, " and the smallest is ", kSmallestDescriptor,
               "; set it to sizeof(helo_descriptor)");
  }
  Manifest m;
  m.abi_minor = d->abi_minor;
  m.flags = d->flags;
  if (!Printable(d->id, 128, m.id))
    return bad(
        "has no id of 1 to 128 printable characters; give it one, such as "
        "\"com.example.echo\"");
  if (!Printable(d->version, 64, m.version))
    return bad("has no version of 1 to 64 printable characters; give it one, such as \"1.0.0\"");
  if (d->description != nullptr && !Printable(d->description, 256, m.description))
    m.description = QuoteRemote({d->description, strnlen(d->description, 256)});
  if (d->create == nullptr || d->on_message == nullptr || d->destroy == nullptr) {
    return bad(
        "has no ",
        d->create == nullptr ? "create" : (d->on_message == nullptr ? "on_message" : "destroy"),
        "; create, on_message and destroy may not be NULL");
  }
  if (d->protocol_count > kMostProtocols) {
    return bad("lists ", d->protocol_count, " protocols and the most is ", kMostProtocols,
               "; split the plugin");
  }
  if (d->protocol_count > 0 && d->protocols == nullptr)
    return bad("counts ", d->protocol_count, " protocols and lists none; set protocols");
  std::set<std::pair<std::string, uint16_t>> seen;
  for (uint32_t i = 0; i < d->protocol_count; ++i) {
    Capability capability;
    if (absl::Status status = CheckProtocol(d->protocols[i], name, i, capability); !status.ok())
      return status;
    if (!seen.emplace(capability.name, capability.version).second) {
      return bad("lists ", capability.name, "/", capability.version,
                 " twice; list each version once");
    }
    m.protocols.push_back(std::move(capability));
  }
  return m;
}

absl::StatusOr<std::vector<CommandInfo>> CheckCommands(const helo_plugin_command* c) {
  std::vector<CommandInfo> commands;
  if (c == nullptr) return commands;
  if (c->struct_size < sizeof(helo_plugin_command) || c->count > kMostCommands ||
      (c->count > 0 && (c->commands == nullptr || c->on_command == nullptr))) {
    return absl::FailedPreconditionError(
        absl::StrCat("its helo.command/1 is not whole (struct_size ", c->struct_size, ", count ",
                     c->count, "); see helo/extensions.h"));
  }
  std::set<std::string> seen;
  for (uint32_t i = 0; i < c->count; ++i) {
    CommandInfo info;
    const helo_command* command = c->commands[i];
    if (command == nullptr || command->struct_size < sizeof(helo_command) ||
        !IsName(command->name, 32, info.name) || !seen.insert(info.name).second) {
      return absl::FailedPreconditionError(
          absl::StrCat("its command ", i,
                       " has no name [a-z][a-z0-9-]{0,31} of its own; see helo/extensions.h"));
    }
    const auto text = [](const char* t) {
      std::string shown;
      if (t == nullptr || Printable(t, 256, shown)) return shown;
      return QuoteRemote({t, strnlen(t, 256)});
    };
    info.arguments = text(command->arguments);
    info.summary = text(command->summary);
    commands.push_back(std::move(info));
  }
  return commands;
}

}  // namespace helo::plugins
