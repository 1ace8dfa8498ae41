// The only place where the node's types become messages of the admin API and back. Bytes that a
// remote chose stay bytes. Thread: any; pure functions.
#pragma once

#include <absl/status/statusor.h>

#include <optional>
#include <string>

#include "helo/admin/v1/admin.pb.h"
#include "p2p/base/log.h"
#include "p2p/peers/attempt_history.h"
#include "p2p/server/event_log.h"
#include "p2p/server/snapshot.h"

namespace helo::net {
struct ConnectionStats;
struct FdEntry;
struct NetCounters;
}  // namespace helo::net

namespace helo::plugins {
struct PluginStatus;
}

namespace helo::rpc {

namespace proto = ::helo::admin::v1;

void ToProto(const CloseInfo& close, proto::Close& out);
// `taken`: the snapshot's time, which ages are counted from.
void ToProto(const PeerSnapshot& peer, MonoTime taken, proto::Peer& out);
void ToProto(const ListenerSnapshot& listener, proto::Listener& out);
void ToProto(const PoolSnapshot& pool, proto::FdPool& out);
void ToProto(const peers::Target& target, MonoTime taken, proto::Target& out);
void ToProto(const std::pair<NodeId, peers::Ban>& away, MonoTime taken, proto::Away& out);
void ToProto(const peers::Attempt& attempt, proto::Attempt& out);
void ToProto(const Event& event, proto::Event& out);
// What the kernel says of a descriptor; what its owner adds (convert_fds.cc).
void ToProto(const net::FdEntry& entry, proto::Fd& out);
void ToProto(const DescriptorSnapshot& owner, proto::Fd& out);
void ToProto(const net::FdEntry& entry, const DescriptorSnapshot& owner,
             const net::ConnectionStats& stats, proto::ConnectionSocket& out);
void ToProto(const net::NetCounters& counters, proto::NetworkCounters& out);
void ToProto(const plugins::PluginStatus& status, proto::Plugin& out);  // convert_plugins.cc
// Listeners, targets, pools, slots and counts; the rest of Node is not the snapshot's.
void ToProto(const ServerSnapshot& snapshot, proto::Node& out);

proto::Direction ToProto(Direction direction);
// nullopt: both. InvalidArgument for a number that this version does not know.
absl::StatusOr<std::optional<Direction>> FromProto(proto::Direction direction);

absl::StatusOr<LogLevel> ParseLogLevel(const std::string& name);

// A finite number of seconds within [0, most]; `what` names the field in the error.
absl::StatusOr<Duration> SecondsToDuration(double seconds, Duration most, const std::string& what);
int64_t ToUnixMicros(WallTime when);

}  // namespace helo::rpc
