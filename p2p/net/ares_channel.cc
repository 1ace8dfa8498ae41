#include "p2p/net/ares_channel.h"

#include <absl/strings/str_cat.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <utility>

#include "p2p/net/fd_table.h"

namespace helo::net {

FileStamp StampOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  return {info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

AresChannel::AresChannel(AresOwner& owner, EventLoop& loop, FdPool& files, FileStamp stamp)
    : owner_(owner), loop_(loop), files_(files), stamp_(stamp), timer_(loop, [this] {
        ares_process_fd(handle_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        Settle();
      }) {}

AresChannel::~AresChannel() {
  if (handle_ != nullptr) ares_destroy(handle_);
}

absl::Status AresChannel::Init(const AresOptions& options) {
  static std::once_flag once;
  static int library = ARES_SUCCESS;
  std::call_once(once, [] { library = ares_library_init(ARES_LIB_INIT_ALL); });
  if (library != ARES_SUCCESS) {
    return absl::InternalError(
        absl::StrCat("the resolver library does not start: ", ares_strerror(library)));
  }
  file_ticket_ = files_.TryTake();
  if (!file_ticket_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no descriptor is left to read ", options.resolv_conf,
                     ": the pool \"files\" is at its limit of ", files_.limit()));
  }
  ares_options settings{};
  int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF |
             ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT;
  // Three tries of doubled length, together seven eighths of what a query may take: so an IPv4
  // answer of a server that never answers for IPv6 is still of use.
  const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(options.timeout).count();
  settings.timeout = static_cast<int>(std::clamp<int64_t>(whole / 8, 1, 60'000));
  settings.tries = 3;
  settings.sock_state_cb = &AresChannel::OnSocketState;
  settings.sock_state_cb_data = this;
  std::string path = options.resolv_conf;
  settings.resolvconf_path = path.data();
  settings.udp_port = options.port;  // in host order, unlike most ports
  settings.tcp_port = options.port;
  const int status = ares_init_options(&handle_, &settings, mask);
  file_ticket_.reset();
  if (status != ARES_SUCCESS) {
    handle_ = nullptr;
    return absl::InternalError(
        absl::StrCat("the resolver does not start: ", ares_strerror(status)));
  }
  static const ares_socket_functions kFunctions = {
      &AresChannel::MakeSocket, &AresChannel::CloseSocket, &AresChannel::Connect,
      &AresChannel::ReceiveFrom, &AresChannel::SendVector};
  ares_set_socket_functions(handle_, &kFunctions, this);

  ares_addr_port_node* servers = nullptr;
  if (ares_get_servers_ports(handle_, &servers) == ARES_SUCCESS) {
    for (const ares_addr_port_node* it = servers; it != nullptr; it = it->next) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(&it->addr);
      const std::optional<IpAddress> ip =
          IpAddress::FromBytes({bytes, it->family == AF_INET ? size_t{4} : size_t{16}});
      if (ip) absl::StrAppend(&servers_, servers_.empty() ? "" : ", ", ip->ToString());
    }
    ares_free_data(servers);
  }
  return absl::OkStatus();
}

void AresChannel::Start(uint64_t query, const std::string& host) {
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  ++pending_;
  ++wanted_;
  if (pending_ == 1) socket_error_ = 0;
  // For /etc/hosts, which is closed again before a socket is made.
  file_ticket_ = files_.TryTake();
  if (!file_ticket_) socket_error_ = kNoTicket;
  ares_getaddrinfo(handle_, host.c_str(), nullptr, &hints, &AresChannel::OnResult,
                   new Call{this, query});
  file_ticket_.reset();
  Settle();
}

void AresChannel::Settle() {
  // c-ares cannot cancel one query, so those that nobody waits for go on until they are the only
  // ones.
  if (pending_ > 0 && wanted_ == 0) ares_cancel(handle_);
  timeval left{};
  if (ares_timeout(handle_, nullptr, &left) != nullptr) {
    timer_.SetAt(loop_.Now() + std::chrono::seconds(left.tv_sec) +
                 std::chrono::microseconds(left.tv_usec));
  } else {
    timer_.Cancel();
  }
  if (idle()) owner_.OnIdle(this);
}

void AresChannel::AddOwnFds(std::vector<OwnFd>& out) const {
  for (const auto& [fd, connection] : connections_) {
    out.push_back({fd, SocketCookie(fd), "asks a name server", connection->ticket.pool()->kind()});
  }
}

AresChannel::Connection* AresChannel::Find(int fd) {
  const auto it = connections_.find(fd);
  return it == connections_.end() ? nullptr : it->second.get();
}

bool AresChannel::OnSocketReady(Connection& connection, uint32_t /*events*/) {
  const uint64_t serial = connection.serial;
  const int fd = connection.fd.FdDoNotKeep();
  connection.more = false;
  ares_process_fd(handle_, connection.want_read ? fd : ARES_SOCKET_BAD,
                  connection.want_write ? fd : ARES_SOCKET_BAD);
  // It may have been closed meanwhile, and its number given to another.
  const Connection* const still = Find(fd);
  const bool more =
      still != nullptr && still->serial == serial && still->registration && still->more;
  Settle();
  return more;
}

ares_socket_t AresChannel::MakeSocket(int domain, int type, int protocol, void* self) {
  auto& channel = *static_cast<AresChannel*>(self);
  channel.file_ticket_.reset();
  std::optional<FdTicket> ticket = channel.files_.TryTake();
  if (!ticket) {
    channel.socket_error_ = kNoTicket;
    errno = EMFILE;
    return ARES_SOCKET_BAD;
  }
  UniqueFd fd(::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!fd) {
    if (errno != EAFNOSUPPORT) channel.socket_error_ = errno;
    return ARES_SOCKET_BAD;
  }
  const int number = fd.FdDoNotKeep();
  auto connection = std::make_unique<Connection>(channel, channel.next_serial_++);
  connection->ticket = std::move(*ticket);
  connection->fd = std::move(fd);
  channel.connections_[number] = std::move(connection);
  return number;
}

int AresChannel::CloseSocket(ares_socket_t fd, void* self) {
  static_cast<AresChannel*>(self)->connections_.erase(fd);
  return 0;
}

int AresChannel::Connect(ares_socket_t fd, const sockaddr* address, ares_socklen_t size,
                         void* /*self*/) {
  return ::connect(fd, address, size);
}

ares_ssize_t AresChannel::ReceiveFrom(ares_socket_t fd, void* data, size_t size, int flags,
                                      sockaddr* from, ares_socklen_t* from_size, void* self) {
  const ssize_t result = ::recvfrom(fd, data, size, flags, from, from_size);
  const int error = errno;
  if (Connection* const connection = static_cast<AresChannel*>(self)->Find(fd))
    connection->more = result > 0;
  errno = error;
  return result;
}

ares_ssize_t AresChannel::SendVector(ares_socket_t fd, const iovec* parts, int count,
                                     void* /*self*/) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<size_t>(count);
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

void AresChannel::OnSocketState(void* self, ares_socket_t fd, int readable, int writable) {
  auto& channel = *static_cast<AresChannel*>(self);
  Connection* const connection = channel.Find(fd);
  if (connection == nullptr) return;
  connection->want_read = readable != 0;
  connection->want_write = writable != 0;
  if (readable == 0 && writable == 0) {
    connection->registration.Reset();
  } else if (connection->registration) {
    connection->registration.Kick();  // it may be ready already, without a new edge
  } else {
    absl::StatusOr<Registration> registration =
        channel.loop_.Watch(fd, Lane::kSession, Subnet(), connection);
    // Without it the query runs into its deadline.
    if (registration.ok()) connection->registration = std::move(*registration);
  }
}

void AresChannel::OnResult(void* call, int status, int /*timeouts*/, ares_addrinfo* result) {
  const std::unique_ptr<Call> from(static_cast<Call*>(call));
  --from->channel->pending_;
  from->channel->owner_.OnResult(from->query, status, result);
  if (result != nullptr) ares_freeaddrinfo(result);
}

}  // namespace helo::net
