// Nothing that came over the network reaches a terminal or a file as it came: every answer of a
// node passes through QuoteMessage before the tool sees it, so unquoted text cannot be printed by
// accident.
#pragma once

#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace helo::client {

// For text that the node itself wrote (paths, sentences): printable text in valid UTF-8 stays;
// control characters, invalid bytes and invisible or direction-changing code points become \xHH.
std::string QuoteText(std::string_view text);

// In place, in every nested message: `string` fields by QuoteText, `bytes` fields (chosen by
// remotes) by QuoteRemote. The binary field `genesis` stays as it is and is only ever written in
// hex.
void QuoteMessage(google::protobuf::Message& message);

}  // namespace helo::client
