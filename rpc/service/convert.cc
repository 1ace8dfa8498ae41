#include "rpc/service/convert.h"

#include <absl/container/flat_hash_set.h>
#include <absl/strings/str_cat.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "p2p/base/text.h"
#include "p2p/wire/frame.h"

namespace helo::rpc {
namespace {

int64_t Millis(Duration d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}
int64_t Micros(Duration d) {
  return std::chrono::duration_cast<std::chrono::microseconds>(d).count();
}

// From `now` to `when`, without overflow; `never` where there is no such time.
int64_t MillisUntil(MonoTime when, MonoTime now, int64_t never) {
  return when == kNever ? never : Millis(when - now);
}

void AddFrames(std::string_view name, const wire::FrameCount& in, const wire::FrameCount& out,
               proto::Peer& peer) {
  if (in.frames == 0 && out.frames == 0) return;
  proto::FrameCount& count = *peer.add_frames();
  count.set_name(std::string(name));
  count.set_frames_in(in.frames);
  count.set_bytes_in(in.bytes);
  count.set_frames_out(out.frames);
  count.set_bytes_out(out.bytes);
}

void AddReasonCounts(const absl::flat_hash_map<Reason, uint64_t>& counts,
                     google::protobuf::RepeatedPtrField<proto::ReasonCount>& out) {
  std::vector<std::pair<Reason, uint64_t>> sorted(counts.begin(), counts.end());
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [reason, n] : sorted) {
    proto::ReasonCount& count = *out.Add();
    count.set_code(static_cast<uint32_t>(reason));
    count.set_label(std::string(Label(reason)));
    count.set_count(n);
  }
}

// A `string` field must be UTF-8; what we put there is ours and ASCII already, unless somebody
// configured otherwise.
std::string Ascii(const std::string& text) {
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  return plain ? text : QuoteRemote(text);
}

}  // namespace

int64_t ToUnixMicros(WallTime when) { return when.time_since_epoch().count(); }

proto::Direction ToProto(Direction direction) {
  return direction == Direction::kInbound ? proto::INBOUND : proto::OUTBOUND;
}

absl::StatusOr<std::optional<Direction>> FromProto(proto::Direction direction) {
  switch (direction) {
    case proto::DIRECTION_UNSPECIFIED:
      return std::optional<Direction>();
    case proto::INBOUND:
      return std::optional<Direction>(Direction::kInbound);
    case proto::OUTBOUND:
      return std::optional<Direction>(Direction::kOutbound);
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("direction ", static_cast<int>(direction),
                       " is unknown: give INBOUND, OUTBOUND or none for both"));
  }
}

void ToProto(const CloseInfo& close, proto::Close& out) {
  out.set_code(static_cast<uint32_t>(close.reason));
  out.set_label(std::string(Label(close.reason)));
  out.set_decider(std::string(ToString(close.decider)));
  out.set_stage(std::string(ToString(close.stage)));
  out.set_text(close.text);
  out.set_retry_after_s(close.retry_after_s);
  out.set_wire_code(close.wire_code);
}

void ToProto(const PeerSnapshot& peer, MonoTime taken, proto::Peer& out) {
  out.set_id(peer.id.ToHex());
  out.set_connection(peer.connection);
  out.set_direction(ToProto(peer.direction));
  out.set_remote(peer.remote.ToString());
  out.set_local(peer.local.ToString());
  out.set_fd(peer.fd);
  out.set_user_agent(peer.user_agent);
  out.set_minor(peer.minor);
  out.set_trusted(peer.trusted);
  out.set_from_configuration(peer.is_static);
  out.set_up_since_unix_us(ToUnixMicros(peer.up_since));
  out.set_age_ms(Millis(peer.age));
  const wire::SessionStats& stats = peer.stats;
  if (stats.last_rtt) out.set_rtt_us(Micros(*stats.last_rtt));
  if (stats.least_rtt) out.set_least_rtt_us(Micros(*stats.least_rtt));
  if (stats.skew_us) out.set_skew_us(*stats.skew_us);
  out.set_queued_bytes(stats.queued_bytes);
  if (peer.since_message) out.set_last_message_ms(Millis(*peer.since_message));
  if (stats.last_receive != kNever) {
    out.set_last_receive_ms(std::max<int64_t>(0, Millis(taken - stats.last_receive)));
  }
  for (const std::string& name : peer.capabilities.shared) out.add_shared(name);
  for (const std::string& name : peer.capabilities.only_ours) out.add_only_ours(name);
  for (const std::string& name : peer.capabilities.only_theirs) out.add_only_theirs(name);
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  for (size_t type = 0; type < stats.core_in.size(); ++type) {
    AddFrames(wire::CoreTypeName(static_cast<uint16_t>(type)), stats.core_in[type],
              stats.core_out[type], out);
    bytes_in += stats.core_in[type].bytes;
    bytes_out += stats.core_out[type].bytes;
  }
  for (const wire::SessionStats::Named& named : stats.named) {
    AddFrames(named.name, named.in, named.out, out);
    bytes_in += named.in.bytes;
    bytes_out += named.out.bytes;
  }
  out.set_bytes_in(bytes_in);
  out.set_bytes_out(bytes_out);
  out.set_late_frames(stats.late_frames);
  out.set_reading_paused(peer.reading_paused);
  out.set_loop(peer.loop);
}

void ToProto(const ListenerSnapshot& listener, proto::Listener& out) {
  out.set_asked(Ascii(listener.asked));
  out.set_local(listener.local.ToString());
  out.set_fd(listener.fd);
  out.set_dual_stack(listener.dual_stack);
  out.set_backlog_asked(static_cast<uint32_t>(listener.backlog_asked));
  out.set_backlog_effective(static_cast<uint32_t>(listener.backlog_effective));
  out.set_accepted(listener.stats.accepted);
  out.set_aborted(listener.stats.aborted);
  out.set_starved(listener.stats.starved);
  out.set_paused(listener.stats.paused);
}

void ToProto(const PoolSnapshot& pool, proto::FdPool& out) {
  out.set_name(std::string(ToString(pool.kind)));
  out.set_used(static_cast<uint32_t>(std::max(0, pool.used)));
  out.set_limit(static_cast<uint32_t>(std::max(0, pool.limit)));
}

void ToProto(const peers::Target& target, MonoTime taken, proto::Target& out) {
  out.set_address(target.address.ToString());
  out.set_from_configuration(target.kind == peers::TargetKind::kStatic);
  out.set_saved(target.saved);
  if (target.known_id) out.set_known_id(target.known_id->ToHex());
  out.set_trying(target.trying);
  out.set_connected(target.connected);
  const bool planned = !target.trying && !target.connected && target.next_try != kNever;
  out.set_next_try_ms(planned ? std::max<int64_t>(0, Millis(target.next_try - taken)) : -1);
  out.set_paused_ms(target.paused_until > taken ? MillisUntil(target.paused_until, taken, INT64_MAX)
                                                : 0);
  out.set_failures(static_cast<uint32_t>(std::max(0, target.failures)));
  if (target.last) ToProto(*target.last, *out.mutable_last());
}

void ToProto(const std::pair<NodeId, peers::Ban>& away, MonoTime taken, proto::Away& out) {
  out.set_id(away.first.ToHex());
  out.set_remaining_ms(std::max<int64_t>(0, MillisUntil(away.second.until, taken, INT64_MAX)));
  out.set_text(Ascii(away.second.text));
}

void ToProto(const peers::Attempt& attempt, proto::Attempt& out) {
  out.set_sequence(attempt.sequence);
  out.set_direction(ToProto(attempt.direction));
  out.set_began_unix_us(ToUnixMicros(attempt.began));
  out.set_ended_unix_us(ToUnixMicros(attempt.ended));
  out.set_target(Ascii(attempt.target));
  if (attempt.remote) out.set_remote(attempt.remote->ToString());
  if (attempt.id) out.set_id(attempt.id->ToHex());
  out.set_user_agent(attempt.user_agent);
  out.set_stage(std::string(ToString(attempt.stage)));
  for (size_t i = 0; i < attempt.spent.size(); ++i) {
    if (attempt.spent[i] == Duration::zero()) continue;
    (*out.mutable_spent_us())[std::string(ToString(static_cast<Stage>(i)))] =
        Micros(attempt.spent[i]);
  }
  if (!attempt.still_up) ToProto(attempt.close, *out.mutable_close());
  out.set_was_up(attempt.was_up);
  out.set_still_up(attempt.still_up);
  out.set_repeats(attempt.repeats);
}

void ToProto(const Event& event, proto::Event& out) {
  out.set_sequence(event.sequence);
  out.set_when_unix_us(ToUnixMicros(event.when));
  out.set_kind(std::string(ToString(event.kind)));
  if (event.id) out.set_id(event.id->ToHex());
  if (event.remote) out.set_remote(event.remote->ToString());
  if (event.direction) out.set_direction(ToProto(*event.direction));
  out.set_target(Ascii(event.target));
  switch (event.kind) {
    case EventKind::kPeerClosed:
    case EventKind::kAttemptFailed:
    case EventKind::kRefused:
    case EventKind::kDropped:
      ToProto(event.close, *out.mutable_close());
      break;
    default:
      break;
  }
  out.set_text(Ascii(event.text));
}

void ToProto(const ServerSnapshot& snapshot, proto::Node& out) {
  for (const ListenerSnapshot& listener : snapshot.listeners)
    ToProto(listener, *out.add_listeners());
  for (const PoolSnapshot& pool : snapshot.pools) ToProto(pool, *out.add_fd_pools());
  out.set_fd_limit(snapshot.fds.soft);
  out.set_fd_hard_limit(snapshot.fds.hard);
  out.set_fd_open(static_cast<uint32_t>(snapshot.fds.open_now));
  out.set_fd_own(static_cast<uint32_t>(snapshot.fds.own));
  out.set_fd_foreign(static_cast<uint32_t>(snapshot.fds.foreign));
  out.set_fd_outside(static_cast<uint32_t>(snapshot.fds.outside));
  out.set_fd_reduced(snapshot.fds.reduced);
  for (const std::string& sentence : snapshot.fds.sentences) out.add_fd_sentences(sentence);
  absl::flat_hash_set<NodeId> up;
  for (const PeerSnapshot& peer : snapshot.peers) up.insert(peer.id);
  for (const peers::Target& target : snapshot.targets) {
    proto::Target& shown = *out.add_targets();
    ToProto(target, snapshot.taken, shown);
    // A peer that came to us by itself is connected too: its address is not dialed meanwhile.
    if (target.known_id && up.contains(*target.known_id)) {
      shown.set_connected(true);
      shown.set_next_try_ms(-1);
    }
  }
  for (const auto& away : snapshot.away) ToProto(away, snapshot.taken, *out.add_away());
  out.set_inbound(static_cast<uint32_t>(snapshot.inbound));
  out.set_max_inbound(static_cast<uint32_t>(snapshot.max_inbound));
  out.set_outbound(static_cast<uint32_t>(snapshot.outbound));
  out.set_max_outbound(static_cast<uint32_t>(snapshot.max_outbound));
  out.set_handshakes(static_cast<uint32_t>(snapshot.handshakes));
  AddReasonCounts(snapshot.closed_in, *out.mutable_closed_inbound());
  AddReasonCounts(snapshot.closed_out, *out.mutable_closed_outbound());
  out.set_accepted(snapshot.accepted);
  out.set_gate_refused(snapshot.gate_refused);
}

absl::StatusOr<LogLevel> ParseLogLevel(const std::string& name) {
  std::string known;
  for (const LogLevel level : {LogLevel::kTrace, LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn,
                               LogLevel::kError, LogLevel::kOff}) {
    if (name == ToString(level)) return level;
    absl::StrAppend(&known, known.empty() ? "" : ", ", ToAbsl(ToString(level)));
  }
  return absl::InvalidArgumentError(absl::StrCat("\"", QuoteRemote(name.substr(0, 64)),
                                                 "\" is not a log level: give one of ", known));
}

absl::StatusOr<Duration> SecondsToDuration(double seconds, Duration most, const std::string& what) {
  const double limit = std::chrono::duration<double>(most).count();
  if (!std::isfinite(seconds) || seconds < 0 || seconds > limit) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " is ", seconds, ": give a number of seconds from 0 to ", limit));
  }
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace helo::rpc
