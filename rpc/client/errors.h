// From an absl::Status to what a person or a script gets: the exit code, and sentences that tell a
// node that is down, a wrong port, a missing permission and a slow node apart and say what to do.
// Status codes used by this room: Unavailable: no node runs there. Unauthenticated,
// PermissionDenied: not allowed. NotFound, AlreadyExists(ambiguous comes as FailedPrecondition):
// which object. Aborted: the peer refused. DeadlineExceeded: timed out.
#pragma once

#include <absl/status/status.h>

#include <string>
#include <string_view>

#include "rpc/client/connection.h"
#include "rpc/client/find_node.h"

namespace helo::client {

enum class Exit : int {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kNodeNotRunning = 3,
  kNotAllowed = 4,
  kNotFound = 5,  // or ambiguous
  kRefusedByPeer = 6,
  kTimedOut = 7,
};
Exit ExitOf(const absl::Status& status);
// "NODE_NOT_RUNNING": for JSON.
std::string_view ExitLabel(Exit exit);

// No connection could be made.
absl::Status ConnectError(const NodeTarget& target, ConnectResult result, int error,
                          Duration timeout);

// What is known when a call has failed.
struct CallFailure {
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::string message;             // the server's or gRPC's words, unquoted
  std::string call;                // "ListPeers"
  Duration timeout{};              // that the call was given
  std::string token_note;          // what became of the token, as a sentence; may be empty
  Answer answer = Answer::kHttp2;  // what a second look at the address found, where there was one
};
// True if the code leaves it open whether a node answers there at all, so that a second look is
// worth its time.
bool WantsSecondLook(absl::StatusCode code);
absl::Status CallError(const NodeTarget& target, const CallFailure& failure);

}  // namespace helo::client
