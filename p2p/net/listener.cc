#include "p2p/net/listener.h"

#include <absl/strings/str_cat.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "p2p/base/text.h"
#include "p2p/net/port_owner.h"

namespace helo::net {

namespace {

// A kernel without IPv6 has no such file; one where it is switched off has an empty one.
bool HostHasIpv6() {
  std::ifstream file("/proc/net/if_inet6");
  std::string line;
  return static_cast<bool>(std::getline(file, line));
}

std::string FirstLine(const char* path, const char* otherwise) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return otherwise;
  for (char& c : line) {
    if (c == '\t') c = '-';  // "32768\t60999"
  }
  return line;
}

std::string UnprivilegedPortStart() {
  return FirstLine("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024");
}

// What is to be bound, once the family is settled.
struct Plan {
  bool v6 = false;
  bool dual = false;
  bool fallback = false;
  Endpoint endpoint;
};

absl::StatusOr<Plan> MakePlan(const ListenAddress& address) {
  using Family = ListenAddress::Family;
  Plan plan;
  plan.endpoint.port = address.port;
  const bool says_v4 = address.family == Family::kV4 || (address.ip && address.ip->is_v4());
  const bool says_v6 = address.family == Family::kV6 || (address.ip && !address.ip->is_v4());
  if (says_v4 && says_v6) {
    return absl::InvalidArgumentError(absl::StrCat(
        address.ToString(), ": the family and the address contradict each other; write ",
        "tcp4:// with an IPv4 address, tcp6:// with an IPv6 one, or tcp://"));
  }
  if (address.ip) plan.endpoint.ip = *address.ip;
  if (says_v4) return plan;
  if (!HostHasIpv6()) {
    if (says_v6) {
      return absl::FailedPreconditionError(
          absl::StrCat(address.ToString(),
                       ": this machine has no IPv6 (/proc/net/if_inet6 is empty); switch it ",
                       "on (sysctl net.ipv6.conf.all.disable_ipv6=0) or listen on tcp4://0.0.0.0:",
                       address.port));
    }
    plan.fallback = true;
    return plan;
  }
  plan.v6 = true;
  plan.dual = address.family == Family::kAny && (!address.ip || address.ip->IsUnspecified());
  if (!address.ip) plan.endpoint.ip = IpAddress::V6({});
  return plan;
}

// One line a step, so that `helod -v` shows a learner what happens and an operator where it stops.
class Steps {
 public:
  Steps(const ListenAddress& address, LogSink& log) : address_(address.ToString()), log_(log) {}
  void Log(std::string_view step, int fd, const std::string& call, int error) {
    if (!log_.Enabled(LogLevel::kDebug)) return;
    log_.Debug("net", step,
               {{"listen", address_},
                {"call", call},
                {"fd", fd >= 0 ? absl::StrCat(fd) : "none"},
                {"result", error == 0 ? "ok" : ErrnoName(error)}});
  }

 private:
  const std::string address_;
  LogSink& log_;
};

absl::Status NoDescriptor(const std::string& what, int error) {
  const char* remedy = error == EMFILE ? "; raise the limit of open files (ulimit -n, LimitNOFILE=)"
                       : error == ENFILE
                           ? "; the whole machine is out of descriptors: raise fs.file-max"
                           : "; the machine is out of memory for sockets: see /proc/net/sockstat";
  return absl::ResourceExhaustedError(absl::StrCat(ErrnoSentence(error, what), remedy));
}

absl::Status SocketError(const ListenAddress& address, int error) {
  const std::string what = absl::StrCat("socket() for ", address.ToString());
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return NoDescriptor(what, error);
    case EAFNOSUPPORT:
      return absl::FailedPreconditionError(absl::StrCat(
          ErrnoSentence(error, what), "; this kernel has no IPv6: listen on tcp4:// instead"));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(absl::StrCat(
          ErrnoSentence(error, what),
          "; a security policy (SELinux, AppArmor, seccomp) forbids sockets to this program"));
    default:
      return absl::InternalError(ErrnoSentence(error, what));
  }
}

absl::Status InUse(const std::string& what, const Plan& plan) {
  const std::string range =
      FirstLine("/proc/sys/net/ipv4/ip_local_port_range", "see net.ipv4.ip_local_port_range");
  if (plan.endpoint.port == 0) {
    return absl::AlreadyExistsError(
        absl::StrCat(what, ": no free port is left of net.ipv4.ip_local_port_range (", range,
                     "); widen that range, or name a port"));
  }
  const std::string port = absl::StrCat("port ", plan.endpoint.port);
  const std::optional<PortOwner> owner = FindPortOwner(plan.endpoint, plan.v6, plan.dual);
  if (!owner) {
    return absl::AlreadyExistsError(absl::StrCat(
        what, ": ", port,
        " is in use (EADDRINUSE), by a socket that /proc/net/tcp does not show: one that ",
        "is bound but does not listen yet; try again, or choose another port"));
  }
  const std::string who = Describe(*owner);
  switch (owner->kind) {
    case PortOwner::Kind::kListener:
      if (owner->ours) {
        return absl::AlreadyExistsError(
            absl::StrCat(what, ": ", port, " is in use (EADDRINUSE): ", who, " listens on ",
                         owner->local.ToString(), " already; two addresses to listen on overlap, ",
                         "remove one of them"));
      }
      return absl::AlreadyExistsError(absl::StrCat(
          what, ": ", port, " is in use (EADDRINUSE): ", who, " listens on ",
          owner->local.ToString(), "; stop it, or choose another port",
          owner->pid == 0 ? absl::StrCat(" (which process it is shows: sudo ss -ltnp 'sport = :",
                                         plan.endpoint.port, "')")
                          : ""));
    case PortOwner::Kind::kOutgoing:
      return absl::AlreadyExistsError(absl::StrCat(
          what, ": ", port, " is in use (EADDRINUSE): an outgoing connection of ", who, " to ",
          owner->remote.ToString(), " has it as its local port; the kernel gives outgoing ",
          "connections the ports of net.ipv4.ip_local_port_range (", range,
          "): choose a port outside that range, or reserve it in ",
          "net.ipv4.ip_local_reserved_ports"));
    case PortOwner::Kind::kConnection:
      return absl::AlreadyExistsError(absl::StrCat(
          what, ": ", port, " is in use (EADDRINUSE): a connection of ", who, " with ",
          owner->remote.ToString(), " still uses it; stop that program, or wait until the ",
          "connection has ended"));
    case PortOwner::Kind::kTimeWait:
      return absl::AlreadyExistsError(absl::StrCat(
          what, ": ", port, " is in use (EADDRINUSE): a connection with ", owner->remote.ToString(),
          " ended lately and stands in TIME_WAIT; it goes by itself within 60 s. A connection "
          "made ",
          "from here took the port out of net.ipv4.ip_local_port_range (", range,
          "): choose one outside that range"));
  }
  return absl::AlreadyExistsError(absl::StrCat(what, ": ", port, " is in use"));
}

absl::Status BindError(const ListenAddress& address, const Plan& plan, int error) {
  const std::string what = absl::StrCat("bind() to ", address.ToString());
  switch (error) {
    case EADDRINUSE:
      return InUse(what, plan);
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(
          absl::StrCat(ErrnoSentence(error, what), ": ports below ", UnprivilegedPortStart(),
                       " (net.ipv4.ip_unprivileged_port_start) need a privilege; choose a higher "
                       "port, or allow it: ",
                       "sysctl net.ipv4.ip_unprivileged_port_start=", address.port,
                       ", or give the program CAP_NET_BIND_SERVICE"));
    case EADDRNOTAVAIL:
      return absl::InvalidArgumentError(absl::StrCat(
          ErrnoSentence(error, what), ": no interface of this machine has the address ",
          plan.endpoint.ip.ToString(),
          "; see `ip address`, or leave the host empty to listen on all"));
    case EINVAL:
    case ENODEV:
      return absl::InvalidArgumentError(absl::StrCat(
          ErrnoSentence(error, what), ": a link-local address needs the interface with it, as in ",
          "[fe80::1%eth0]:4356"));
    case ENOBUFS:
    case ENOMEM:
      return NoDescriptor(what, error);
    default:
      return absl::InternalError(ErrnoSentence(error, what));
  }
}

absl::Status ListenError(const ListenAddress& address, const Plan& plan, int error) {
  const std::string what = absl::StrCat("listen() on ", address.ToString());
  switch (error) {
    case EADDRINUSE:  // with SO_REUSEADDR two may bind, one may listen
      return InUse(what, plan);
    case ENOBUFS:
    case ENOMEM:
      return NoDescriptor(what, error);
    default:
      return absl::InternalError(ErrnoSentence(error, what));
  }
}

int SetOption(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof(value)) == 0 ? 0 : errno;
}

}  // namespace

absl::StatusOr<Listener> Listener::Open(const ListenAddress& address, int backlog, FdTicket ticket,
                                        LogSink& log) {
  absl::StatusOr<Plan> planned = MakePlan(address);
  if (!planned.ok()) return planned.status();
  const Plan& plan = *planned;
  Steps steps(address, log);
  if (plan.fallback) {
    log.Warn("net",
             "this machine has no IPv6 (/proc/net/if_inet6 is empty): listening on IPv4 alone",
             {{"listen", address.ToString()}});
  }

  UniqueFd fd(
      ::socket(plan.v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  int error = fd ? 0 : errno;
  steps.Log("socket: an endpoint without a name", fd.FdDoNotKeep(),
            absl::StrCat("socket(", plan.v6 ? "AF_INET6" : "AF_INET",
                         ", SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC)"),
            error);
  if (error != 0) return SocketError(address, error);

  error = SetOption(fd.FdDoNotKeep(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (error == 0 && plan.v6) {
    error = SetOption(fd.FdDoNotKeep(), IPPROTO_IPV6, IPV6_V6ONLY, plan.dual ? 0 : 1);
  }
  // Accepted sockets inherit it, which saves a system call each.
  if (error == 0) error = SetOption(fd.FdDoNotKeep(), IPPROTO_TCP, TCP_NODELAY, 1);
  if (error != 0) {
    return absl::InternalError(
        ErrnoSentence(error, absl::StrCat("setsockopt() for ", address.ToString())));
  }

  sockaddr_storage name{};
  const socklen_t size = plan.endpoint.ToSockaddr(name);
  error = ::bind(fd.FdDoNotKeep(), reinterpret_cast<const sockaddr*>(&name), size) == 0 ? 0 : errno;
  steps.Log("bind: the address and port are its name now", fd.FdDoNotKeep(),
            absl::StrCat("bind(", plan.endpoint.ToString(), ")"), error);
  if (error != 0) return BindError(address, plan, error);

  error = ::listen(fd.FdDoNotKeep(), backlog) == 0 ? 0 : errno;
  steps.Log("listen: the kernel queues connections for it from now on", fd.FdDoNotKeep(),
            absl::StrCat("listen(", backlog, ")"), error);
  if (error != 0) return ListenError(address, plan, error);

  Listener listener;
  listener.asked_ = address;
  listener.dual_stack_ = plan.dual;
  listener.ipv4_fallback_ = plan.fallback;
  listener.backlog_asked_ = backlog;
  // Of a listening socket, TCP_INFO tells the limit of the accept queue in this field.
  tcp_info info{};
  socklen_t info_size = sizeof(info);
  listener.backlog_effective_ =
      ::getsockopt(fd.FdDoNotKeep(), IPPROTO_TCP, TCP_INFO, &info, &info_size) == 0
          ? static_cast<int>(info.tcpi_sacked)
          : backlog;
  if (listener.backlog_effective_ < backlog) {
    log.Info("net",
             "the kernel made the accept queue shorter than asked for; sysctl net.core.somaxconn "
             "raises it",
             {{"listen", address.ToString()},
              {"asked", absl::StrCat(backlog)},
              {"effective", absl::StrCat(listener.backlog_effective_)}});
  }
  listener.socket_ = Socket(std::move(fd), std::move(ticket));
  const std::optional<Endpoint> local = listener.socket_.Local();
  if (!local) {
    return absl::InternalError(
        ErrnoSentence(errno, absl::StrCat("getsockname() of ", address.ToString())));
  }
  listener.local_ = *local;
  return listener;
}

}  // namespace helo::net
