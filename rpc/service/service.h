// The gRPC face of the admin API: turns calls into requests on the admin loop and replies into
// answers. No call holds a thread while it waits. Private to rpc/service; no gRPC type here.
// Thread: any.
#pragma once

#include <memory>

#include "rpc/service/api.h"
#include "rpc/service/door.h"
#include "rpc/service/reply.h"
#include "rpc/service/watch.h"

namespace grpc {
class ServerBuilder;
}

namespace helo::rpc {

class AdminService {
 public:
  virtual ~AdminService() = default;
  virtual void Register(grpc::ServerBuilder& builder) = 0;
  // `api` and `door` outlive the service; `api` is touched on the admin loop only, while the
  // mailbox is open.
  static std::unique_ptr<AdminService> Make(AdminApi& api, std::shared_ptr<WatchHub> hub,
                                            Door& door, std::shared_ptr<Mailbox> mailbox);
};

}  // namespace helo::rpc
