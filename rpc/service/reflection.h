// gRPC's server reflection (v1alpha), so that grpcurl and any stock client work unprepared. Our
// own, because libgrpc++'s answers each stream in a thread that waits for the next question: eight
// idle streams, which need no token, were enough to turn everybody else's away. Here a stream holds
// no thread while it waits, and to the door it is no call in flight, so its connection is among
// those that make room. Private to rpc/service; no gRPC type here. Thread: any.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace grpc {
class ServerBuilder;
}

namespace helo::rpc {

class ReflectionService {
 public:
  // `services`: those that it lists beside itself. It describes whatever is linked in.
  static std::unique_ptr<ReflectionService> Make(std::vector<std::string> services);
  virtual ~ReflectionService() = default;  // after the server
  virtual void Register(grpc::ServerBuilder& builder) = 0;
};

}  // namespace helo::rpc
