#include "rpc/client/errors.h"

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <unistd.h>

#include "p2p/base/text.h"
#include "rpc/client/quote.h"
#include "rpc/client/token.h"

namespace helo::client {
namespace {

std::string Where(const NodeTarget& target) {
  return absl::StrCat(target.admin.ToString(), " (", target.found_by, ")");
}

// The remedy of "nothing listens", which depends on how we came to that address.
std::string HowToStart(const NodeTarget& target) {
  if (target.file && !WriterExists(*target.file)) {
    return absl::StrCat(
        "The node's process, pid ", target.file->pid, ", is gone and left its ", kNodeFileName,
        " behind: it was killed or crashed. Start it again: helod --data-dir ", target.data_dir);
  }
  if (target.file) {
    return absl::StrCat("A process with the node's pid ", target.file->pid,
                        " exists, so it is either stopping or another program by now (ps -fp ",
                        target.file->pid, "). Try again, or start it: helod --data-dir ",
                        target.data_dir);
  }
  if (target.found_by == "--admin" || target.found_by == "HELO_ADMIN") {
    return "Start the node, or look for its admin address in its log or in helod.json in its data "
           "directory (helo --data-dir DIR info)";
  }
  return "Start one (helod), or name the one you mean: helo --data-dir DIR or helo --admin "
         "HOST:PORT";
}

std::string IsItThePeerPort(const NodeTarget& target, Answer answer) {
  if (answer == Answer::kTls || answer == Answer::kClosesAtOnce || target.admin.port == 4356) {
    return "If this is the peer port of a node: helo wants its admin port, by default 4357. ";
  }
  return "";
}

absl::Status NotANode(const NodeTarget& target, Answer answer) {
  return absl::InternalError(absl::StrCat(
      "what answers at ", Where(target), " is not the admin port of a helo node: ",
      Describe(answer), ". ", IsItThePeerPort(target, answer),
      "Check the port; the node says its admin address when it starts and in helod.json "
      "(helo --data-dir DIR info)"));
}

absl::Status TimedOut(const NodeTarget& target, const CallFailure& failure) {
  const std::string after = HumanDuration(failure.timeout.count());
  if (failure.answer == Answer::kSilent || failure.answer == Answer::kUnreachable) {
    return absl::DeadlineExceededError(absl::StrCat(
        Where(target), " did not answer ", failure.call, " within ", after, ": ",
        Describe(failure.answer),
        ". Either the node hangs or is suspended (ps -o pid,stat,cmd -C helod), or the port "
        "belongs to another program (ss -ltnp)"));
  }
  return absl::DeadlineExceededError(absl::StrCat(
      "the node at ", Where(target), " did not answer ", failure.call, " within ", after,
      ". It is overloaded or hangs: try a longer --timeout and look at its log"));
}

// "sentence" without the full stop that the next one would double.
std::string Words(const CallFailure& failure) {
  std::string words = QuoteText(failure.message);
  while (!words.empty() && words.back() == '.') words.pop_back();
  return words.empty() ? "no reason was given" : words;
}

absl::Status NotAllowed(const NodeTarget& target, const CallFailure& failure) {
  std::string sentence =
      absl::StrCat("the node at ", Where(target), " does not let ", UserName(geteuid()), " call ",
                   failure.call, ": ", Words(failure), ".");
  if (!failure.token_note.empty()) absl::StrAppend(&sentence, " ", failure.token_note, ".");
  absl::StrAppend(&sentence, " With --token-file DATA_DIR/", kTokenFileName,
                  " helo sends the token that is in it");
  return absl::Status(failure.code, sentence);
}

}  // namespace

Exit ExitOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return Exit::kOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return Exit::kUsage;
    case absl::StatusCode::kUnavailable:
      return Exit::kNodeNotRunning;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return Exit::kNotAllowed;
    case absl::StatusCode::kNotFound:
      return Exit::kNotFound;
    case absl::StatusCode::kFailedPrecondition:
      return absl::StrContains(absl::AsciiStrToLower(status.message()), "ambiguous")
                 ? Exit::kNotFound
                 : Exit::kFailed;
    case absl::StatusCode::kAborted:
      return Exit::kRefusedByPeer;
    case absl::StatusCode::kDeadlineExceeded:
      return Exit::kTimedOut;
    default:
      return Exit::kFailed;
  }
}

std::string_view ExitLabel(Exit exit) {
  switch (exit) {
    case Exit::kOk:
      return "OK";
    case Exit::kFailed:
      return "FAILED";
    case Exit::kUsage:
      return "USAGE";
    case Exit::kNodeNotRunning:
      return "NODE_NOT_RUNNING";
    case Exit::kNotAllowed:
      return "NOT_ALLOWED";
    case Exit::kNotFound:
      return "NOT_FOUND";
    case Exit::kRefusedByPeer:
      return "REFUSED_BY_PEER";
    case Exit::kTimedOut:
      return "TIMED_OUT";
  }
  return "FAILED";
}

absl::Status ConnectError(const NodeTarget& target, ConnectResult result, int error,
                          Duration timeout) {
  if (result == ConnectResult::kRefused) {
    return absl::UnavailableError(absl::StrCat(
        "no node runs at ", Where(target), ": nothing listens on that port. ", HowToStart(target)));
  }
  if (result == ConnectResult::kTimedOut) {
    return absl::DeadlineExceededError(absl::StrCat(
        "connecting to ", Where(target), " was not answered within ",
        HumanDuration(timeout.count()),
        ": its accept queue is full because the node hangs, or packets to that address are "
        "dropped. Look at it: ss -ltn; a node's admin API is only reachable on its own machine"));
  }
  return absl::InternalError(absl::StrCat(
      ErrnoSentence(error, absl::StrCat("connect to ", Where(target))),
      ". A node's admin API is only reachable on its own machine, by default at ", kDefaultAdmin));
}

bool WantsSecondLook(absl::StatusCode code) {
  return code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded ||
         code == absl::StatusCode::kInternal || code == absl::StatusCode::kUnknown;
}

absl::Status CallError(const NodeTarget& target, const CallFailure& failure) {
  switch (failure.answer) {
    case Answer::kHttp1:
    case Answer::kTls:
    case Answer::kSsh:
    case Answer::kOther:
    case Answer::kClosesAtOnce:
      return NotANode(target, failure.answer);
    case Answer::kNothingListens:
      return absl::UnavailableError(
          absl::StrCat("the node at ", Where(target), " went away during ", failure.call,
                       ": nothing listens there any more. ", HowToStart(target)));
    case Answer::kSilent:
    case Answer::kUnreachable:
      return TimedOut(target, failure);
    case Answer::kHttp2:
      break;
  }
  switch (failure.code) {
    case absl::StatusCode::kDeadlineExceeded:
      return TimedOut(target, failure);
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return NotAllowed(target, failure);
    case absl::StatusCode::kUnimplemented:
      return absl::UnimplementedError(absl::StrCat(
          "what answers at ", Where(target), " speaks gRPC but does not know ", failure.call,
          ": another program, or a node of another version (helo version tells this one's). Check "
          "the port"));
    case absl::StatusCode::kUnavailable:
      return absl::InternalError(absl::StrCat(
          "the node at ", Where(target), " closed the connection during ", failure.call, ": ",
          Words(failure),
          ". It is stopping, or it needed the place of an idle connection: try again"));
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return absl::Status(failure.code, absl::StrCat("the node at ", Where(target), " failed in ",
                                                     failure.call, ": ", Words(failure)));
    default:
      // The node's own sentence, which names the remedy.
      return absl::Status(failure.code, Words(failure));
  }
}

}  // namespace helo::client
