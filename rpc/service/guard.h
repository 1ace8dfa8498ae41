// Who came through the guarded acceptor shows the admin token with every call, except to reflection
// and health. Thread: any.
#pragma once

#include <memory>
#include <string>

#include "p2p/base/clock.h"
#include "p2p/base/log.h"

namespace grpc {
class AuthMetadataProcessor;
}

namespace helo::rpc {

// Lets pass what needs no token and what carries it; everything else is UNAUTHENTICATED with a
// sentence that says where the token is and, unless `token_for_all`, who needs none. Does not
// block.
std::shared_ptr<grpc::AuthMetadataProcessor> MakeGuard(std::string token, std::string token_path,
                                                       bool token_for_all, const Clock& clock,
                                                       LogSink& log);

// Whether a call of this path ("/package.Service/Method") needs no token. Whole packages, so that a
// client that tries a newer version of reflection first learns that it is not there and tries the
// older one.
bool NeedsNoToken(std::string_view path);

}  // namespace helo::rpc
