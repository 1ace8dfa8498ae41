#include "rpc/service/guard.h"

#include <absl/strings/str_cat.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <unistd.h>

#include <string_view>
#include <utility>

#include "p2p/base/text.h"
#include "rpc/service/token.h"

namespace helo::rpc {
namespace {

std::string_view View(grpc::string_ref text) { return {text.data(), text.size()}; }

class Guard final : public grpc::AuthMetadataProcessor {
 public:
  Guard(std::string token, std::string token_path, bool token_for_all, const Clock& clock,
        LogSink& log)
      : token_(std::move(token)),
        token_path_(std::move(token_path)),
        token_for_all_(token_for_all),
        limiter_(clock),
        log_(log) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* /*context*/,
                       OutputMetadata* consumed, OutputMetadata* /*response*/) override {
    const auto path = metadata.find(":path");
    if (path != metadata.end() && NeedsNoToken(View(path->second))) return grpc::Status::OK;
    const auto [begin, end] = metadata.equal_range("authorization");
    bool right = false;
    for (auto it = begin; it != end; ++it) {
      // All are compared, so that the time does not tell which.
      right = SameSecret(BearerToken(View(it->second)), token_) || right;
      consumed->emplace("authorization", std::string(View(it->second)));
    }
    if (right) return grpc::Status::OK;
    const bool shown = begin != end;
    LogRefusal(path == metadata.end() ? std::string_view() : View(path->second), shown);
    return grpc::Status(
        grpc::StatusCode::UNAUTHENTICATED,
        absl::StrCat(shown ? "the token that came with this call is not this node's admin token"
                           : "this call needs the node's admin token",
                     "; send \"authorization: Bearer TOKEN\" with the token from ",
                     QuoteRemote(token_path_), " (helo --data-dir does that)",
                     token_for_all_ ? std::string(", which this node asks of everybody")
                                    : absl::StrCat(", or call as the node's own user (uid ",
                                                   geteuid(), ") or root")));
  }

 private:
  void LogRefusal(std::string_view path, bool shown) {
    const std::string_view message =
        shown ? "admin call refused: wrong token" : "admin call refused: no token";
    const LogLimiter::Pass pass = limiter_.Check(message);
    if (!pass.log) return;
    log_.Warn("rpc", message,
              {{"call", std::string(path)}, {"suppressed", std::to_string(pass.suppressed)}});
  }

  const std::string token_;
  const std::string token_path_;
  const bool token_for_all_;
  LogLimiter limiter_;
  LogSink& log_;
};

}  // namespace

bool NeedsNoToken(std::string_view path) {
  return path.starts_with("/grpc.reflection.") || path.starts_with("/grpc.health.");
}

std::shared_ptr<grpc::AuthMetadataProcessor> MakeGuard(std::string token, std::string token_path,
                                                       bool token_for_all, const Clock& clock,
                                                       LogSink& log) {
  return std::make_shared<Guard>(std::move(token), std::move(token_path), token_for_all, clock,
                                 log);
}

}  // namespace helo::rpc
