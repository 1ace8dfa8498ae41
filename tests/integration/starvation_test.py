"""The accept loop where descriptors run out: a lowered limit, kernel errors, thousands of silent callers. The node must
not die, not spin, keep its peers, keep the operator's door open, and go on by itself when there is room again.
"""

import contextlib
import os
import pathlib
import resource
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

import kit

MOST_CPU = 0.10  # of one core while starved; what is reached is printed, and is below 0.02 on a quiet machine
AS_ROOT = unittest.skipUnless(os.geteuid() == 0, "changing another process's limits takes root")
HAVE_STRACE = unittest.skipUnless(shutil.which("strace"), "strace is not installed: scripts/setup installs it")
# Pings that a test can see within seconds, and still no more of them than WIRE allows.
LIVELY = ["--ping-idle", "1500ms", "--ping-interval", "3s"]


def raise_own_limit(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise unittest.SkipTest(f"this process may open {hard} files, the test takes {wanted}")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_now(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Callers:
    """Connections that say nothing, from addresses of 127/8; whoever is closed comes again at once."""

    def __init__(self, case, address, count, sources=8):
        host, port = address.rsplit(":", 1)
        self._target, self._sources = (host, int(port)), sources
        self._epoll, self._sockets, self._stop = select.epoll(), {}, threading.Event()
        self.closed = 0
        case.addCleanup(self.close)
        for index in range(count):
            self._call(index)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _call(self, index):
        caller = socket.socket()
        caller.setblocking(False)
        caller.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        caller.bind((f"127.0.{index % self._sources}.{1 + index // self._sources % 250}", 0))
        caller.connect_ex(self._target)
        self._sockets[caller.fileno()] = (caller, index)
        self._epoll.register(caller.fileno(), select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP)

    def _run(self):
        while not self._stop.is_set():
            for number, _ in self._epoll.poll(0.1):
                caller, index = self._sockets.pop(number)
                self._epoll.unregister(number)
                caller.close()
                self.closed += 1
                self._call(index)

    def close(self):
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        for caller, _ in self._sockets.values():
            caller.close()
        self._epoll.close()


class Inject:
    """strace on one thread of a node, or on all, that makes a system call fail."""

    def __init__(self, case, node, what, thread=None):
        target = str(node.pid)
        words = ["-f"]
        if thread:
            tasks = pathlib.Path(f"/proc/{node.pid}/task")
            target = next(task.name for task in tasks.iterdir() if (task / "comm").read_text().strip() == thread)
            words = []
        call = what.split(":", 1)[0]
        self.process = subprocess.Popen(
            ["strace", *words, "-p", target, "-e", f"trace={call}", "-e", f"inject={what}", "-e", "signal=none",
             "-o", "/dev/null"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
        case.addCleanup(self.detach)
        line = self.process.stderr.readline()
        if "attached" not in line:
            self.process.kill()
            if "ptrace" in line:
                raise unittest.SkipTest(f"strace may not attach here: {line.strip()}")
            raise AssertionError(f"strace: {line}")

    def detach(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=kit.PATIENCE)
            self.process.stderr.close()


class Starved(kit.Case):
    def with_peers(self, count=3, **options):
        """A node and `count` others connected to it."""
        node = self.node("starved", options=LIVELY + list(options.pop("options", ())), **options).start()
        self.dialers = [self.node(f"peer{i}", peers=[node], options=LIVELY).start() for i in range(count)]
        node.sees(*self.dialers)
        return node

    def listener(self, node):
        return node.info()["listeners"][0]

    def connections(self, node):
        return sorted((peer["id"], peer["connection"]) for peer in node.peers())

    def pongs(self, node):
        return {peer["id"]: next((f["frames_in"] for f in peer["frames"] if f["name"] == "PONG"), 0)
                for peer in node.peers()}

    def watch_over(self, node, seconds, what, most_cpu=MOST_CPU):
        """The operator asks once a second; afterwards nobody must have been hurt. Prints what it cost."""
        before, pongs = self.connections(node), self.pongs(node)
        began, cpu, slowest = time.monotonic(), cpu_seconds(node.pid), 0.0
        for turn in range(seconds):
            asked = time.monotonic()
            node.info()  # fails beyond the tool's own time-out
            slowest = max(slowest, time.monotonic() - asked)
            threading.Event().wait(max(0.0, began + turn + 1 - time.monotonic()))
        share = (cpu_seconds(node.pid) - cpu) / (time.monotonic() - began)
        print(f"{what}: CPU {share:.2%} of a core over {seconds} s, slowest helo info {slowest * 1000:.0f} ms",
              flush=True)
        self.assertTrue(kit.runs(node.pid), node.log())
        self.assertLess(share, most_cpu, what)
        self.assertEqual(before, self.connections(node), f"{what}: a peer was lost\n{node.log()}")
        self.pings_go_on(node, pongs)

    def pings_go_on(self, node, before):
        kit.eventually("every peer has answered further pings",
                       lambda: all(count > before[peer] for peer, count in self.pongs(node).items()),
                       detail=node.log)

    def newcomer(self, node, name):
        dialer = self.node(name, peers=[node], options=LIVELY).start()
        kit.eventually(f"{name} gets in", lambda: node.id in dialer.peer_ids(), detail=node.log)
        dialer.stop()


@AS_ROOT
class Limit(Starved):
    def test_a_limit_lowered_on_a_live_node(self):
        raise_own_limit(2048)
        node = self.with_peers()
        _, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
        full = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (open_now(node.pid) + 4, hard))
        callers = Callers(self, node.address(), 400)
        kit.eventually("accepting pauses", lambda: self.listener(node)["starved"] > 0, detail=node.log)
        self.watch_over(node, 8, "prlimit to 4 above what is open, 400 callers")
        accepted = self.listener(node)["accepted"]
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, full)
        kit.eventually("the callers that waited are accepted once the limit is up again",
                       lambda: self.listener(node)["accepted"] >= accepted + 300, detail=node.log)
        callers.close()
        self.newcomer(node, "newcomer")

    def test_a_limit_at_what_is_open_leaves_the_operator_a_door(self):
        node = self.with_peers()
        full = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
        Callers(self, node.address(), 100)
        kit.eventually("the callers are in", lambda: self.listener(node)["accepted"] >= 100)
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (open_now(node.pid), full[1]))
        self.watch_over(node, 4, "prlimit to what is open, 100 callers")
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, full)
        self.newcomer(node, "newcomer")

    def test_a_node_with_64_descriptors(self):
        raise_own_limit(2048)
        node = self.with_peers(wrapper=["prlimit", "--nofile=64:64"])
        self.assertEqual(64, node.info()["fd_limit"])
        callers = Callers(self, node.address(), 400)
        kit.eventually("callers are served", lambda: self.listener(node)["accepted"] > 10, detail=node.log)
        self.watch_over(node, 5, "ulimit -n 64, 400 callers")
        admin = Callers(self, node.admin, 200, sources=1)
        self.watch_over(node, 3, "ulimit -n 64, 200 more at the admin port", most_cpu=1.0)
        self.assertLessEqual(open_now(node.pid), 64)
        callers.close()
        admin.close()
        self.newcomer(node, "newcomer")


class AdminPort(Starved):
    def test_5000_silent_connections_do_not_lock_the_operator_out(self):
        raise_own_limit(6000)
        node = self.with_peers()
        before, pongs = self.connections(node), self.pongs(node)
        callers = Callers(self, node.admin, 5000, sources=100)
        began = time.monotonic()
        for turn in range(5):
            threading.Event().wait(max(0.0, began + turn - time.monotonic()))
            asked = time.monotonic()
            info = node.info()
            print(f"helo info {turn}, {time.monotonic() - began:.1f} s after 5,000 silent callers: "
                  f"{(time.monotonic() - asked) * 1000:.0f} ms, {callers.closed} closed, and back", flush=True)
        pools = {pool["name"]: pool for pool in info["fd_pools"]}
        self.assertLessEqual(pools["admin"]["used"], pools["admin"]["limit"])
        self.assertEqual(before, self.connections(node))
        self.pings_go_on(node, pongs)
        self.newcomer(node, "newcomer")


@AS_ROOT
@HAVE_STRACE
class Errors(Starved):
    def test_accept4_fails_in_every_way(self):
        node = self.with_peers()
        for error in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED"):
            with self.subTest(error), contextlib.ExitStack() as stack:
                injected = Inject(self, node, f"accept4:error={error}", thread="net-0")
                stack.callback(injected.detach)
                callers = Callers(self, node.address(), 50)
                stack.callback(callers.close)
                kit.eventually("accepting pauses", lambda: self.listener(node)["paused"], detail=node.log)
                self.watch_over(node, 3, f"accept4 gives {error}")
                accepted = self.listener(node)["accepted"]
                injected.detach()
                kit.eventually("it goes on by itself", lambda: self.listener(node)["accepted"] >= accepted + 50,
                               detail=node.log)
        self.newcomer(node, "newcomer")

    def test_other_calls_fail_for_want_of_descriptors(self):
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        # One more to dial: one that hangs up, so that it is dialed again and again.
        node = self.with_peers(options=["--peer", f"127.0.0.1:{silent.getsockname()[1]}", "--dial-backoff-first", "100ms",
                                        "--dial-backoff-max", "300ms", "--tls-timeout", "1s"])
        for call in ("socket", "epoll_ctl", "openat"):
            with self.subTest(call), contextlib.ExitStack() as stack:
                # epoll_ctl on the peers' loop alone: all of gRPC stands on it, and gRPC gives up where it fails.
                injected = Inject(self, node, f"{call}:error=EMFILE", thread="net-0" if call == "epoll_ctl" else None)
                stack.callback(injected.detach)
                callers = Callers(self, node.address(), 20)
                stack.callback(callers.close)
                self.watch_over(node, 3, f"{call} gives EMFILE")
                injected.detach()
                callers.close()
                self.newcomer(node, f"after-{call}")


if __name__ == "__main__":
    kit.main()
