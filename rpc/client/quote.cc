#include "rpc/client/quote.h"

#include <absl/strings/str_format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/text.h"

namespace helo::client {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

struct Range {
  uint32_t first, last;
};
// Beyond ASCII: C1 controls, soft hyphen, what is invisible, breaks lines or changes direction,
// private use, tags.
constexpr std::array<Range, 13> kHidden = {{{0x7f, 0xa0},
                                            {0xad, 0xad},
                                            {0x61c, 0x61c},
                                            {0x180e, 0x180e},
                                            {0x200b, 0x200f},
                                            {0x2028, 0x202f},
                                            {0x205f, 0x206f},
                                            {0xd800, 0xf8ff},
                                            {0xfe00, 0xfe0f},
                                            {0xfeff, 0xfeff},
                                            {0xfff0, 0xffff},
                                            {0xe0000, 0xe0fff},
                                            {0xf0000, 0x10ffff}}};

bool Shown(uint32_t code) {
  if (code < 0x20) return false;
  for (const Range& range : kHidden) {
    if (code >= range.first && code <= range.last) return false;
  }
  return true;
}

// Length of the well-formed UTF-8 sequence at the front (RFC 3629), 0 if there is none.
size_t DecodeFront(std::string_view text, uint32_t& code) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) {
    code = lead;
    return 1;
  }
  const size_t length = lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (length == 0 || lead > 0xf4 || text.size() < length) return 0;
  code = lead & (0xff >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const uint32_t least = length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000;
  return code < least || code > 0x10ffff ? 0 : length;
}

// What a plugin answers to the operator is a text of lines: these stay, each quoted as our own
// words are. A remote's words that the plugin put there come out harmless too.
bool IsPluginsAnswer(const FieldDescriptor& field) {
  return field.full_name() == "helo.admin.v1.CallPluginResponse.text";
}

std::string QuoteLines(std::string_view text) {
  std::string out;
  for (size_t end = 0; end != std::string_view::npos;) {
    end = text.find('\n');
    out += QuoteText(text.substr(0, end));
    if (end == std::string_view::npos) break;
    out += '\n';
    text.remove_prefix(end + 1);
  }
  return out;
}

// The quoted form, or nothing when the text may stay as it is, which is nearly always.
std::optional<std::string> Quoted(const FieldDescriptor& field, const std::string& value) {
  const bool remote = field.type() == FieldDescriptor::TYPE_BYTES;
  if (remote && field.name() == "genesis") return std::nullopt;
  if (IsPluginsAnswer(field)) return QuoteLines(value);
  const bool plain = std::all_of(value.begin(), value.end(), [remote](char c) {
    return c >= 0x20 && c < 0x7f && !(remote && (c == '\\' || c == '"' || c == '\''));
  });
  if (plain) return std::nullopt;
  return remote ? QuoteRemote(value) : QuoteText(value);
}

}  // namespace

std::string QuoteText(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    uint32_t code = 0;
    const size_t length = DecodeFront(text, code);
    if (length > 0 && Shown(code)) {
      out.append(text.substr(0, length));
    } else {
      for (size_t i = 0; i < std::max<size_t>(length, 1); ++i) {
        absl::StrAppendFormat(&out, "\\x%02x", static_cast<uint8_t>(text[i]));
      }
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

void QuoteMessage(Message& message) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  std::string scratch;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (field->is_repeated()) {
        for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
          QuoteMessage(*reflection.MutableRepeatedMessage(&message, field, i));
        }
      } else {
        QuoteMessage(*reflection.MutableMessage(&message, field));
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      if (field->is_repeated()) {
        for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
          if (auto quoted = Quoted(
                  *field, reflection.GetRepeatedStringReference(message, field, i, &scratch))) {
            reflection.SetRepeatedString(&message, field, i, *std::move(quoted));
          }
        }
      } else {
        if (auto quoted = Quoted(*field, reflection.GetStringReference(message, field, &scratch))) {
          reflection.SetString(&message, field, *std::move(quoted));
        }
      }
    }
  }
  message.GetReflection()->MutableUnknownFields(&message)->Clear();
}

}  // namespace helo::client
