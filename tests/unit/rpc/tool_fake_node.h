// An admin API without a node behind it, on 127.0.0.1: answers what a test puts in, and remembers
// what it was asked. And a run of the tool against it, in this process.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/endpoint.h"

namespace helo {

class FakeNode {
 public:
  FakeNode();
  ~FakeNode();
  FakeNode(const FakeNode&) = delete;
  FakeNode& operator=(const FakeNode&) = delete;
  Endpoint address() const;
  std::string admin() const { return address().ToString(); }

  // What to answer; set before the tool runs.
  struct Answers {
    int status = 0;  // a grpc::StatusCode for every call but the health service's
    std::string message;
    std::string wanted_token;  // UNAUTHENTICATED without it
    bool serving = true;
    admin::v1::Node node;
    std::vector<admin::v1::Peer> peers;
    uint32_t page = 2;  // at most so many peers or attempts at once
    admin::v1::AddPeerResponse added;
    admin::v1::DropPeerResponse dropped;
    std::vector<admin::v1::Attempt> attempts;  // newest first
    std::vector<admin::v1::Fd> fds;
    std::vector<admin::v1::ListenerSocket> listeners;
    admin::v1::NetworkCounters network;
    std::vector<admin::v1::ConnectionSocket> connections;
    bool circles = false;  // every page of these names itself as the next
    std::vector<admin::v1::WatchResponse> events;
    bool hold_stream = false;  // after the events, until the caller leaves
  } answers;

  // What was asked last.
  struct Asked {
    std::string token;  // "" if none was sent
    admin::v1::AddPeerRequest add;
    admin::v1::RemovePeerRequest remove;
    admin::v1::DropPeerRequest drop;
    admin::v1::WatchRequest watch;
    admin::v1::ListPeersRequest list;
    std::string level;
    bool shutdown = false;
    int calls = 0;
  };
  Asked asked() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct ToolRun {
  int exit = -1;
  std::string out;
  std::string err;
};
ToolRun RunHelo(const std::vector<std::string>& arguments,
                const std::map<std::string, std::string>& environment = {}, size_t width = 0);

}  // namespace helo
