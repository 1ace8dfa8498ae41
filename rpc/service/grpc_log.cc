#include "rpc/service/grpc_log.h"

#include <absl/strings/str_cat.h>
#include <grpc/support/log.h>

#include <memory>
#include <string>

#include "p2p/base/mutex.h"

namespace helo::rpc {
namespace {

struct Target {
  Mutex mutex;
  LogSink* log ABSL_GUARDED_BY(mutex) = nullptr;
  std::unique_ptr<LogLimiter> limiter ABSL_GUARDED_BY(mutex);
};

// Never destroyed: gRPC's threads may log while the process ends.
Target& TheTarget() {
  static Target& target = *new Target;
  return target;
}

void OnGrpcLog(gpr_log_func_args* args) {
  Target& target = TheTarget();
  MutexLock lock(target.mutex);
  if (target.log == nullptr) return;
  const LogLevel level = args->severity == GPR_LOG_SEVERITY_ERROR  ? LogLevel::kWarn
                         : args->severity == GPR_LOG_SEVERITY_INFO ? LogLevel::kDebug
                                                                   : LogLevel::kTrace;
  if (!target.log->Enabled(level)) return;
  const std::string place = absl::StrCat(args->file, ":", args->line);
  const LogLimiter::Pass pass = target.limiter->Check(place);
  if (!pass.log) return;
  target.log->Write(
      level, "rpc", "from gRPC",
      {{"said", args->message}, {"at", place}, {"suppressed", std::to_string(pass.suppressed)}});
}

}  // namespace

GrpcLogCapture::GrpcLogCapture(const Clock& clock, LogSink& log) {
  Target& target = TheTarget();
  {
    MutexLock lock(target.mutex);
    target.log = &log;
    target.limiter = std::make_unique<LogLimiter>(clock);
  }
  gpr_set_log_function(&OnGrpcLog);
}

GrpcLogCapture::~GrpcLogCapture() {
  gpr_set_log_function(nullptr);
  Target& target = TheTarget();
  MutexLock lock(target.mutex);
  target.log = nullptr;
  target.limiter.reset();
}

}  // namespace helo::rpc
