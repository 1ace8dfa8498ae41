// One c-ares channel on an event loop: the settings of one reading of resolv.conf, and the queries
// asked under them. c-ares makes its sockets through the functions given to it here, so that each
// takes a ticket; it tells which of them it wants to read or write, and is told when they are ready
// and when its timeouts are due. All entries into c-ares are from the top (Start, Settle, a
// watcher, a timer), none from within its own callbacks. Owner: the resolver. Thread: the loop's.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>
#include <ares.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "p2p/base/fd_ticket.h"
#include "p2p/net/event_loop.h"
#include "p2p/net/resolver.h"
#include "p2p/net/socket.h"

namespace helo::net {

// Identity and contents of a file as far as stat tells; equal when it did not change.
struct FileStamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = -1;
  int64_t seconds = 0, nanoseconds = 0;
  bool operator==(const FileStamp&) const = default;
};

FileStamp StampOf(const std::string& path);

class AresChannel;

// What a channel reports to.
class AresOwner {
 public:
  virtual ~AresOwner() = default;
  // From within c-ares, which must not be entered again: note it, no more. `found` is borrowed.
  virtual void OnResult(uint64_t query, int status, const ares_addrinfo* found) = 0;
  // From the top: it has nothing to do, and may be destroyed from here.
  virtual void OnIdle(AresChannel* channel) = 0;
};

class AresChannel {
 public:
  AresChannel(AresOwner& owner, EventLoop& loop, FdPool& files, FileStamp stamp);
  ~AresChannel();
  absl::Status Init(const AresOptions& options);

  void Start(uint64_t query, const std::string& host);
  // To be called after each entry into c-ares, and when a query is not wanted any more. May destroy
  // the channel.
  void Settle();
  void Unwant() { --wanted_; }

  bool idle() const { return pending_ == 0; }
  void AddOwnFds(std::vector<OwnFd>& out) const;
  const FileStamp& stamp() const { return stamp_; }
  const std::string& servers() const { return servers_; }
  // 0; or why the last socket could not be made: an errno, or kNoTicket.
  int socket_error() const { return socket_error_; }
  static constexpr int kNoTicket = -1;

 private:
  struct Connection : Watcher {
    Connection(AresChannel& channel_in, uint64_t serial_in)
        : channel(channel_in), serial(serial_in) {}
    bool OnReady(uint32_t events) override { return channel.OnSocketReady(*this, events); }
    AresChannel& channel;
    const uint64_t serial;
    FdTicket ticket;  // destroyed in the order watching stopped, closed, ticket back
    UniqueFd fd;
    Registration registration;  // while c-ares wants to read or write
    bool want_read = false;
    bool want_write = false;
    bool more = false;  // the last read found something
  };
  struct Call {
    AresChannel* channel;
    uint64_t query;
  };

  static ares_socket_t MakeSocket(int domain, int type, int protocol, void* self);
  static int CloseSocket(ares_socket_t fd, void* self);
  static int Connect(ares_socket_t fd, const sockaddr* address, ares_socklen_t size, void* self);
  static ares_ssize_t ReceiveFrom(ares_socket_t fd, void* data, size_t size, int flags,
                                  sockaddr* from, ares_socklen_t* from_size, void* self);
  static ares_ssize_t SendVector(ares_socket_t fd, const iovec* parts, int count, void* self);
  static void OnSocketState(void* self, ares_socket_t fd, int readable, int writable);
  static void OnResult(void* call, int status, int timeouts, ares_addrinfo* result);

  Connection* Find(int fd);
  bool OnSocketReady(Connection& connection, uint32_t events);

  AresOwner& owner_;
  EventLoop& loop_;
  FdPool& files_;
  const FileStamp stamp_;
  std::string servers_;
  ares_channel handle_ = nullptr;
  Timer timer_;
  absl::flat_hash_map<int, std::unique_ptr<Connection>> connections_;
  uint64_t next_serial_ = 1;
  std::optional<FdTicket> file_ticket_;  // while c-ares may read a file
  int socket_error_ = 0;
  size_t pending_ = 0;  // queries that c-ares works on
  size_t wanted_ = 0;   // of these, the ones that somebody still waits for
};

}  // namespace helo::net
