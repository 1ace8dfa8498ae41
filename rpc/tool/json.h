// The answers of a node as JSON: field names as in admin.proto, every field present (absent
// optional ones are null), numbers as numbers, boot_id as a string (JSON readers keep 53 bits),
// genesis in hex, directions "in" and "out". Messages arrive quoted (rpc/client/quote.h), so every
// string is valid UTF-8 without control characters.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace google::protobuf {
class Message;
}

namespace helo::tool {

nlohmann::ordered_json ToJson(const google::protobuf::Message& message);
// Indented, ended by a newline.
std::string Document(const nlohmann::ordered_json& json);
// One line, ended by a newline.
std::string Line(const nlohmann::ordered_json& json);

}  // namespace helo::tool
