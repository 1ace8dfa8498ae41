// Telling the service manager how far we are: man 3 sd_notify, without its library. Thread: any.
#pragma once

#include <absl/status/status.h>

#include <string>
#include <string_view>

namespace helo::node {

// Sends `state` ("READY=1") to the socket that NOTIFY_SOCKET names: a path, or @name in the
// abstract namespace. Never blocks. Ok and nothing done if `socket_name` is empty.
absl::Status NotifyServiceManager(const std::string& socket_name, std::string_view state);

}  // namespace helo::node
