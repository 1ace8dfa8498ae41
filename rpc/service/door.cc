#include "rpc/service/door.h"

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>
#include <fcntl.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <tuple>
#include <utility>

#include "p2p/base/text.h"

namespace helo::rpc {
namespace {

using grpc::experimental::ExternalConnectionAcceptor;

constexpr Duration kSweepFirst =
    std::chrono::milliseconds(1);  // a closing socket is gone within about a millisecond
constexpr Duration kSweepFull =
    std::chrono::milliseconds(10);  // somebody may be waiting for a ticket
constexpr Duration kSweepIdle = std::chrono::milliseconds(100);
constexpr int kVictimsAtOnce = 4;
// What a connection is given to say its first word (most have said it while they waited in the
// kernel's queue), and then to begin a call, before it may have to make room.
constexpr Duration kFirstWord = std::chrono::milliseconds(10);
constexpr Duration kFirstCall = std::chrono::milliseconds(100);
// A second descriptor in reserve only where the pool of files has this much to spare besides.
constexpr int kFilesNotTouched = 8;

// The kernel's name of a socket, never used twice (SO_COOKIE, since Linux 4.12); 0: `fd` is no
// socket.
uint64_t Cookie(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

// Nothing was ever received. A number that is not the socket's any more may give any answer: who
// acts on it looks at the cookie.
bool Silent(int fd) {
  tcp_info info{};
  socklen_t size = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
         size >= offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received &&
         info.tcpi_bytes_received == 0;
}

}  // namespace

std::string Caller::UidText() const { return uid ? std::to_string(*uid) : std::string("unknown"); }

std::optional<Endpoint> ParseGrpcPeer(std::string_view peer) {
  constexpr size_t kPrefix = 5;  // "ipv4:" or "ipv6:"
  if (peer.substr(0, kPrefix) != "ipv4:" && peer.substr(0, kPrefix) != "ipv6:") return std::nullopt;
  return Endpoint::Parse(
      absl::StrReplaceAll(ToAbsl(peer.substr(kPrefix)), {{"%5B", "["}, {"%5D", "]"}}));
}

absl::StatusOr<std::unique_ptr<Door>> Door::Open(const Endpoint& address, int backlog,
                                                 bool token_for_all, FdPool& admin, FdPool& files,
                                                 const Clock& clock, LogSink& log) {
  if (!address.ip.IsLoopback()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--admin ", address.ToString(),
        ": the admin API listens on this machine only (127.0.0.1 or [::1]), since it is not "
        "encrypted and trusts local "
        "users; to reach it from elsewhere keep it on 127.0.0.1 and forward the port: ssh -L ",
        address.port, ":127.0.0.1:", address.port, " USER@THIS_MACHINE"));
  }
  auto door = std::unique_ptr<Door>(new Door(token_for_all, admin, files, clock, log));
  std::optional<FdTicket> ticket = admin.TryTake();
  std::optional<FdTicket> scratch = files.TryTake();
  if (!ticket || !scratch) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "admin API on ", address.ToString(), ": no file descriptor left in the pool '",
        ToAbsl(ToString(ticket ? files.kind() : admin.kind())), "'; raise the limit (ulimit -n)"));
  }
  door->reserve_tickets_.push_back(*std::move(scratch));
  if (files.limit() - files.used() > kFilesNotTouched) {
    if (std::optional<FdTicket> second = files.TryTake())
      door->reserve_tickets_.push_back(*std::move(second));
  }
  door->RefillReserve();
  ListenAddress where;
  where.family = address.ip.is_v4() ? ListenAddress::Family::kV4 : ListenAddress::Family::kV6;
  where.ip = address.ip;
  where.port = address.port;
  absl::StatusOr<net::Listener> listener =
      net::Listener::Open(where, backlog, *std::move(ticket), log);
  if (!listener.ok()) return listener.status();
  door->address_ = listener->local();
  door->listener_ = *std::move(listener);
  return door;
}

Door::Door(bool token_for_all, FdPool& admin, FdPool& files, const Clock& clock, LogSink& log)
    : token_for_all_(token_for_all),
      own_uid_(geteuid()),
      admin_(admin),
      clock_(clock),
      log_(log),
      limiter_(clock),
      uids_(files) {}

Door::~Door() = default;

void Door::AddAcceptors(grpc::ServerBuilder& builder,
                        const std::shared_ptr<grpc::AuthMetadataProcessor>& guard) {
  using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  // LOCAL_TCP is plaintext that refuses an address which is not local.
  const auto open = grpc::experimental::LocalServerCredentials(LOCAL_TCP);
  const auto guarded = grpc::experimental::LocalServerCredentials(LOCAL_TCP);
  guarded->SetAuthMetadataProcessor(guard);
  open_ = builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD, open);
  guarded_ = builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD, guarded);
}

absl::Status Door::Start(net::EventLoop& loop) {
  sweep_ = std::make_unique<net::Timer>(loop, [this] {
    Sweep();
    ArmSweep();
  });
  net::Listener listener = *std::move(listener_);
  listener_.reset();
  absl::StatusOr<std::unique_ptr<net::Acceptor>> acceptor =
      net::Acceptor::Start(loop, std::move(listener), admin_, *this, log_);
  if (!acceptor.ok()) return acceptor.status();
  acceptor_ = *std::move(acceptor);
  return absl::OkStatus();
}

void Door::StopAccepting() {
  acceptor_.reset();
  listener_.reset();
}

void Door::WhenEmpty(std::function<void()> empty) {
  when_empty_ = std::move(empty);
  Sweep();
  ArmSweep();
}

void Door::Close() {
  StopAccepting();
  sweep_.reset();
  when_empty_ = nullptr;
}

bool Door::MayEnterFreely(std::optional<uid_t> uid) const {
  return !token_for_all_ && uid && (*uid == own_uid_ || *uid == 0);
}

void Door::OnAccepted(net::Socket socket, const Endpoint& remote, const Endpoint& local) {
  const uint64_t cookie = Cookie(socket.FdDoNotKeep());
  if (cookie == 0 || !remote.ip.IsLoopback()) return;  // closes it
  socket.SetNoDelay();
  const std::optional<uid_t> uid = uids_.Find(remote, local);
  const bool guarded = !MayEnterFreely(uid);
  FdTicket ticket = std::move(socket.ticket());
  const int fd = socket.TakeFd().Release();
  {
    MutexLock lock(mutex_);
    Connection connection;
    connection.fd = fd;
    connection.cookie = cookie;
    connection.ticket = std::move(ticket);
    connection.remote = remote;
    connection.uid = uid;
    connection.guarded = guarded;
    connection.accepted = clock_.Now();
    by_remote_[remote] = next_;
    connections_.emplace(next_++, std::move(connection));
    ++stats_.accepted;
  }
  if (log_.Enabled(LogLevel::kDebug)) {
    log_.Debug("rpc", "admin connection",
               {{"from", remote.ToString()},
                {"uid", uid ? std::to_string(*uid) : "unknown"},
                {"token", guarded ? "needed" : "not needed"}});
  }
  // The entry stands before gRPC has the descriptor, for gRPC may close it at once.
  ExternalConnectionAcceptor::NewConnectionParameters handover;
  handover.fd = fd;
  (guarded ? guarded_ : open_)->HandleNewConnection(&handover);
  ArmSweep();
}

// The uid that holds most connections loses one without a call in flight: so a flood from one user
// hurts that user, and an operator with a connection or two is never the one. Among its connections
// those that never sent a byte go first, for a caller speaks first; then the oldest.
Door::Choice Door::ChooseVictim() const {
  std::map<std::optional<uid_t>, int> held;
  for (const auto& [id, connection] : connections_) {
    if (!connection.closing) ++held[connection.uid];
  }
  Choice choice;
  const MonoTime now = clock_.Now();
  std::tuple<int, bool, bool> worth;                   // greater goes first
  for (const auto& [id, connection] : connections_) {  // oldest first
    if (connection.closing || connection.calls > 0) continue;
    const bool silent = Silent(connection.fd);
    if (now < connection.accepted + (silent ? kFirstWord : kFirstCall)) {
      choice.some_new = true;
      continue;
    }
    const std::tuple<int, bool, bool> mine(held[connection.uid], silent, connection.guarded);
    if (!choice.victim || mine > worth) {
      choice.victim = id;
      choice.silent = silent;
      worth = mine;
    }
  }
  return choice;
}

// gRPC owns the descriptor and may close it at any moment, after which the number may be a peer's.
// So: a duplicate first, then a look at whose socket it is, then shutdown(2), upon which gRPC reads
// end-of-file and closes. False: not even a descriptor for that moment is to be had.
bool Door::ShutDown(const Connection& connection) {
  net::UniqueFd copy(fcntl(connection.fd, F_DUPFD_CLOEXEC, 0));
  if (!copy && errno != EBADF && GiveUpReserve()) {
    copy = net::UniqueFd(fcntl(connection.fd, F_DUPFD_CLOEXEC, 0));
  }
  if (!copy) return errno == EBADF;  // closed meanwhile: the sweep finds it
  if (Cookie(copy.FdDoNotKeep()) == connection.cookie) shutdown(copy.FdDoNotKeep(), SHUT_RDWR);
  return true;
}

bool Door::MakeRoom() {
  if (Sweep()) return true;
  int coming = 0;
  bool all_busy = false;
  bool all_new = false;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, connection] : connections_) coming += connection.closing ? 1 : 0;
    while (coming < kVictimsAtOnce) {
      const Choice choice = ChooseVictim();
      all_new = choice.some_new;
      // While one is on its way out, only those that never spoke follow it: the caller whose place
      // becomes free is one, and somebody's first call may be about to begin.
      if (!choice.victim || (coming > 0 && !choice.silent)) break;
      Connection& connection = connections_.at(*choice.victim);
      if (!ShutDown(connection)) break;
      connection.closing = true;
      ++stats_.closed_for_room;
      ++coming;
      // Where others wait too they ask again; one at a time would let a flood queue up before the
      // operator.
      if (!connection.guarded) break;
    }
    all_busy = coming == 0 && !all_new;
  }
  if (all_busy) {
    if (const LogLimiter::Pass pass = limiter_.Check("busy"); pass.log) {
      log_.Warn("rpc", "every admin connection has a call in flight, callers wait",
                {{"limit", std::to_string(admin_.limit())},
                 {"suppressed", std::to_string(pass.suppressed)}});
    }
  } else {
    sweep_wait_ = kSweepFirst;
    sweep_->SetAt(clock_.Now() + sweep_wait_);
  }
  return !all_busy;
}

bool Door::GiveUpReserve() {
  if (reserve_.empty()) return false;
  reserve_.pop_back();
  if (sweep_) {
    const MonoTime when = clock_.Now() + kSweepFull;  // fills it again
    if (sweep_->when() > when) sweep_->SetAt(when);
  }
  return true;
}

void Door::RefillReserve() {
  while (reserve_.size() < reserve_tickets_.size()) {
    net::UniqueFd fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!fd) return;
    reserve_.push_back(std::move(fd));
  }
}

bool Door::Sweep() {
  RefillReserve();
  std::vector<FdTicket> back;  // given back without the lock: that calls whoever waits for them
  MutexLock lock(mutex_);
  for (auto it = connections_.begin(); it != connections_.end();) {
    Connection& connection = it->second;
    if (Cookie(connection.fd) == connection.cookie) {
      ++it;
      continue;
    }
    const auto remote = by_remote_.find(connection.remote);
    if (remote != by_remote_.end() && remote->second == it->first) by_remote_.erase(remote);
    back.push_back(std::move(connection.ticket));
    it = connections_.erase(it);
  }
  return !back.empty();
}

void Door::ArmSweep() {
  bool any = false;
  bool closing = false;
  {
    MutexLock lock(mutex_);
    any = !connections_.empty();
    for (const auto& [id, connection] : connections_) closing = closing || connection.closing;
  }
  const bool reserve_short = reserve_.size() < reserve_tickets_.size();
  if (!any) {
    sweep_->Cancel();
    if (reserve_short) sweep_->SetAt(clock_.Now() + kSweepIdle);
    if (const std::function<void()> empty = std::exchange(when_empty_, nullptr)) empty();
    return;
  }
  if (closing || when_empty_) {
    sweep_wait_ = std::min(std::max(sweep_wait_ * 2, kSweepFirst), kSweepFull);
  } else {
    sweep_wait_ = reserve_short || admin_.used() >= admin_.limit() ? kSweepFull : kSweepIdle;
  }
  const MonoTime when = clock_.Now() + sweep_wait_;
  if (sweep_->when() > when || sweep_->when() <= clock_.Now()) sweep_->SetAt(when);
}

Caller Door::CallBegan(std::string_view peer) {
  Caller caller;
  const std::optional<Endpoint> remote = ParseGrpcPeer(peer);
  if (!remote) return caller;
  caller.remote = *remote;
  MutexLock lock(mutex_);
  const auto found = by_remote_.find(*remote);
  if (found == by_remote_.end()) return caller;
  Connection& connection = connections_.at(found->second);
  ++connection.calls;
  caller.connection = found->second;
  caller.uid = connection.uid;
  caller.by_token = connection.guarded;
  return caller;
}

void Door::CallEnded(uint64_t connection) {
  MutexLock lock(mutex_);
  const auto found = connections_.find(connection);
  if (found != connections_.end()) --found->second.calls;
}

std::vector<net::OwnFd> Door::OwnFds() const {
  std::vector<net::OwnFd> fds;
  if (const std::optional<ListenerSnapshot> l = listener()) {
    fds.push_back({l->fd, l->cookie, "listens for the admin API", PoolKind::kAdmin});
  }
  if (uids_.fd() >= 0) {
    fds.push_back(
        {uids_.fd(), Cookie(uids_.fd()), "asks whose process a caller is", PoolKind::kFiles});
  }
  for (const net::UniqueFd& fd : reserve_) {
    fds.push_back({fd.FdDoNotKeep(), 0, "in reserve, to let the operator in", PoolKind::kFiles});
  }
  MutexLock lock(mutex_);
  for (const auto& [id, connection] : connections_) {
    const std::string uid = connection.uid ? std::to_string(*connection.uid) : "unknown";
    fds.push_back({connection.fd, connection.cookie, absl::StrCat("admin caller, uid ", uid),
                   PoolKind::kAdmin});
  }
  return fds;
}

std::optional<ListenerSnapshot> Door::listener() const {
  if (!acceptor_) return std::nullopt;
  return SnapshotOf(*acceptor_);
}

Door::Stats Door::stats() const {
  MutexLock lock(mutex_);
  Stats stats = stats_;
  for (const auto& [id, connection] : connections_)
    ++(connection.guarded ? stats.guarded : stats.open);
  return stats;
}

}  // namespace helo::rpc
