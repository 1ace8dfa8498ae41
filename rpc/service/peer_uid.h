// Whose process is at the other end of a loopback TCP connection: what SO_PEERCRED tells on a Unix
// socket. The kernel is asked by the 4-tuple over sock_diag (man 7 sock_diag), /proc/net/tcp and
// tcp6 are the fallback.
//
// Only a socket that is still held by a process has a uid: the kernel shows an orphaned one (its
// process closed it, data may still be on the way) as uid 0 and inode 0. So an answer counts only
// for an ESTABLISHED socket with an inode, and only if asking again gives the same one: then it was
// not orphaned while the first answer was made. Thread: the owner's.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "p2p/base/endpoint.h"
#include "p2p/base/fd_ticket.h"
#include "p2p/net/socket.h"

namespace helo::rpc {

class PeerUid {
 public:
  // Holds one netlink descriptor, charged to `files`; where it cannot be had, /proc alone is used.
  explicit PeerUid(FdPool& files);

  // The uid of the process that holds the socket `caller` -> `us`; nullopt where that cannot be
  // told.
  std::optional<uid_t> Find(const Endpoint& caller, const Endpoint& us);
  int fd() const { return netlink_.FdDoNotKeep(); }  // the number, for people; -1: none
  bool has_netlink() const { return static_cast<bool>(netlink_); }

  // For tests: the two sources by themselves.
  std::optional<uid_t> FindByNetlink(const Endpoint& caller, const Endpoint& us);
  std::optional<uid_t> FindInProc(const Endpoint& caller, const Endpoint& us);

 private:
  struct Holder {
    uid_t uid = 0;
    uint64_t inode = 0;
    bool operator==(const Holder&) const = default;
  };
  enum class Answer : uint8_t { kHeld, kNotHeld, kNoAnswer };
  Answer AskNetlink(const Endpoint& caller, const Endpoint& us, Holder& holder);
  std::optional<Holder> AskProc(const Endpoint& caller, const Endpoint& us);
  std::optional<uid_t> Believable(uid_t uid) const;

  FdPool& files_;
  net::UniqueFd netlink_;
  FdTicket ticket_;
  uint32_t sequence_ = 0;
  bool netlink_answers_ = false;  // it has found a socket before: "no such socket" can be believed
  // In a user namespace every uid that it does not map reads as this one, so it names nobody.
  std::optional<uid_t> overflow_uid_;
};

}  // namespace helo::rpc
