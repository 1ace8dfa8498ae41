"""What the node shows of its descriptors and sockets is what the kernel has: held against /proc and ss."""

import contextlib
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import unittest

import kit

CROWD = 520  # with it the list has more than one page of 500
SS = unittest.skipUnless(shutil.which("ss"), "takes ss (iproute2)")


def numbers(pid):
    return {int(entry.name) for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir()}


def links(pid):
    """Number to link, as /proc has them at one moment: read until nothing changed meanwhile."""
    while True:
        before = numbers(pid)
        with contextlib.suppress(FileNotFoundError):
            found = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in before}
            if numbers(pid) == before:
                return found


def lowest_free(taken):
    return next(fd for fd in range(len(taken) + 1) if fd not in taken)


def fds(node):
    return node.helo("fds", "--json").json


def sockets(node):
    return node.helo("sockets", "--json").json


class Fds(kit.Case):
    def quiet(self, node):
        """The node's descriptors once no caller of the admin API is left; as `links`."""
        port = f":{int(node.admin.rsplit(':', 1)[1]):04X}"

        def settled():  # a caller's connection stands for a moment after its end
            found = links(node.pid)
            listing = pathlib.Path(f"/proc/{node.pid}/net/tcp").read_text()
            inodes = {line.split()[9] for line in listing.splitlines()[1:]
                      if line.split()[1].endswith(port) and line.split()[3] != "0A"}
            held = {link for link in found.values() if link.startswith("socket:")}
            if any(f"socket:[{inode}]" in held for inode in inodes):
                return None
            return found if links(node.pid) == found else None  # one that went in between was not in the listing
        return kit.eventually("no admin caller is left", settled)

    def test_the_list_is_what_proc_has_at_that_moment(self):
        node = self.node("node").start()
        peer = self.node("peer", peers=[node]).start()
        node.sees(peer)
        self.quiet(node)
        listed = fds(node)
        held = self.quiet(node)
        # The call itself came over a connection, which is gone by now.
        callers = [fd for fd in listed["fds"] if fd["what"].startswith("admin caller")]
        self.assertEqual(1, len(callers), callers)
        rest = {fd["fd"]: fd["link"] for fd in listed["fds"] if fd not in callers}
        self.assertEqual(held, rest)
        self.assertEqual(len(held) + 1, listed["total"])
        self.assertEqual(listed["limit"], int(re.search(
            r"Max open files\s+(\d+)", pathlib.Path(f"/proc/{node.pid}/limits").read_text())[1]))

    def test_every_descriptor_of_a_node_is_known_to_it(self):
        node = self.node("node", options=["--metrics", "127.0.0.1:0"]).start()
        dialer = self.node("dialer", peers=[node]).start()
        node.sees(dialer)
        unknown = [fd for fd in fds(node)["fds"] if not fd["ours"]]
        self.assertEqual([], unknown)
        kinds = {fd["what"]: fd for fd in fds(node)["fds"]}
        self.assertEqual("LISTEN", kinds["listens for peers"]["tcp_state"])
        self.assertEqual("listeners", kinds["listens for peers"]["pool"])
        self.assertEqual("admin", kinds["listens for the admin API"]["pool"])
        self.assertTrue(kinds["lock of the data directory"]["link"].endswith("/LOCK"))
        self.assertEqual("eventfd", kinds["loop net-0: wakes it"]["kind"])
        self.assertEqual(("LISTEN", "admin"), tuple(kinds["listens for metrics"][k] for k in ("tcp_state", "pool")))
        self.assertEqual("spare", kinds["counts the open descriptors"]["pool"])

    def test_a_peer_is_named_with_its_direction_on_both_sides(self):
        node = self.node("node").start()
        dialer = self.node("dialer", peers=[node]).start()
        node.sees(dialer)
        dialer.sees(node)
        for one, other, direction, pool in ((node, dialer, "in", "inbound"), (dialer, node, "out", "outbound")):
            [found] = [fd for fd in fds(one)["fds"] if fd["what"] == "peer"]
            self.assertEqual((other.id, direction, pool, "ESTABLISHED"),
                             (found["peer"], found["direction"], found["pool"], found["tcp_state"]))
            [peer] = one.peers()
            self.assertEqual((peer["fd"], peer["local"], peer["remote"], peer["connection"]),
                             (found["fd"], found["local"], found["remote"], found["connection"]))

    def test_who_says_nothing_is_shown_as_waiting_in_the_handshake_pool(self):
        node = self.node("node").start()
        host, port = node.address().rsplit(":", 1)
        with socket.create_connection((host, int(port))) as silent:
            us = "%s:%d" % silent.getsockname()
            found = kit.eventually("it is listed", lambda: [fd for fd in fds(node)["fds"] if fd["remote"] == us])[0]
        self.assertEqual(("handshakes", "in", "", "waits for its first byte"),
                         (found["pool"], found["direction"], found["peer"], found["what"]))

    def test_a_descriptor_that_was_inherited_is_shown_as_not_ours(self):
        inherited, other = os.pipe()
        self.addCleanup(os.close, inherited)
        self.addCleanup(os.close, other)
        os.set_inheritable(inherited, True)
        node = self.node("node")
        with open(node.log_path, "ab") as log:
            node.process = subprocess.Popen(node.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            pass_fds=[inherited])
        node.file = kit.eventually("ready", node._ready, detail=node.log)
        [foreign] = [fd for fd in fds(node)["fds"] if not fd["ours"]]
        self.assertEqual((inherited, "pipe"), (foreign["fd"], foreign["kind"]))
        self.assertIn("not ours", node.helo("fds").stdout)

    def test_the_story_of_the_numbers(self):
        """The listener is n. A gets the next free number, B the one after it, A goes, C gets A's: what was n, n+1 and n+2
        in a program with nothing else open is here the lowest free ones, since the node's loops have theirs."""
        node = self.node("node").start()
        at_start = set(self.quiet(node))
        [listener] = [fd["fd"] for fd in fds(node)["fds"] if fd["what"] == "listens for peers"]
        self.assertIn(listener, at_start)
        self.quiet(node)
        first = lowest_free(at_start)
        second = lowest_free(at_start | {first})

        def joins(name, number):
            # Asked of the one who dials: a caller of the node's own API would take the number.
            peer = self.node(name, peers=[node]).start()
            peer.sees(node)
            kit.eventually(f"{name} has its number", lambda: number in numbers(node.pid))
            return peer
        a = joins("a", first)
        b = joins("b", second)
        self.assertEqual(at_start | {first, second}, set(self.quiet(node)))
        a.stop()
        kit.eventually("the number of A is free", lambda: numbers(node.pid) == at_start | {second})
        c = joins("c", first)
        self.assertEqual(at_start | {first, second}, set(self.quiet(node)))
        node.sees(b, c)
        whose = {fd["fd"]: fd["peer"] for fd in fds(node)["fds"]}
        self.assertEqual((c.id, b.id), (whose[first], whose[second]))

    @unittest.skipIf(resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * CROWD or
                     resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 8 * CROWD, "too few descriptors for a crowd")
    def test_the_list_comes_in_pages_that_miss_nothing(self):
        node = self.node("node").start()
        host, port = node.address().rsplit(":", 1)
        with contextlib.ExitStack() as stack:
            for _ in range(CROWD):
                stack.enter_context(socket.create_connection((host, int(port))))
            held = kit.eventually("all are accepted", lambda: (
                lambda all: all if sum(fd["pool"] == "handshakes" for fd in all["fds"]) == CROWD else None)(fds(node)))
        listed = [fd["fd"] for fd in held["fds"]]
        self.assertEqual(sorted(set(listed)), listed)
        self.assertEqual(held["total"], len(listed))


@SS
class Sockets(kit.Case):
    def ss(self, *arguments):
        done = subprocess.run(["ss", "-OHtn", *arguments], capture_output=True, check=True, encoding="utf-8")
        return [line.split() for line in done.stdout.splitlines()]

    def test_a_listener_is_as_ss_shows_it(self):
        node = self.node("node", listen=["127.0.0.1:0"], options=["--backlog", "7"]).start()
        found = {entry["what"]: entry for entry in sockets(node)["listeners"]}
        self.assertEqual({"peers", "admin"}, set(found))
        for what, address in (("peers", node.address()), ("admin", node.admin)):
            [row] = self.ss("-l", f"src = {address}")
            self.assertEqual(int(row[1]), found[what]["accept_queue"], row)
            self.assertEqual(int(row[2]), found[what]["accept_limit"], row)
            self.assertEqual(0, found[what]["drops"])
            self.assertEqual(0, found[what]["syn_queue"])
        self.assertEqual(7, found["peers"]["accept_limit"])
        self.assertEqual(7, found["peers"]["listener"]["backlog_asked"])

    def test_a_queue_that_runs_over_is_seen_at_its_listener(self):
        node = self.node("node", options=["--backlog", "3"]).start()
        before = sockets(node)
        host, port = node.address().rsplit(":", 1)
        node.signal(signal.SIGSTOP)  # nobody accepts
        tasks = list(pathlib.Path(f"/proc/{node.pid}/task").iterdir())
        kit.eventually("every thread stands still", lambda: all(
            (task / "stat").read_text().rsplit(")", 1)[1].split()[0] == "T" for task in tasks))
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                caller = stack.enter_context(socket.socket())
                caller.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    caller.connect((host, int(port)))
            [row] = self.ss("-l", f"src = {node.address()}")
            self.assertEqual("4", row[1], "one more than the backlog fits")
        node.signal(signal.SIGCONT)
        after = sockets(node)
        drops = [next(entry for entry in found["listeners"] if entry["what"] == "peers")["drops"]
                 for found in (before, after)]
        self.assertEqual(0, drops[0])
        self.assertGreaterEqual(drops[1], 8)
        self.assertGreater(after["network"]["listen_overflows"], before["network"]["listen_overflows"])

    def test_a_connection_is_as_ss_shows_it(self):
        node = self.node("node").start()
        peer = self.node("peer", peers=[node]).start()
        node.sees(peer)
        [found] = [entry for entry in sockets(node)["connections"] if entry["peer"] == peer.id]
        [row] = self.ss("-i", f"src = {found['local']} and dst = {found['remote']}")
        text = " ".join(row)
        self.assertEqual("ESTAB", row[0])
        self.assertEqual("ESTABLISHED", found["tcp_state"])
        self.assertEqual((int(row[1]), int(row[2])), (found["receive_queue"], found["send_queue"]))
        self.assertEqual(int(re.search(r" mss:(\d+)", text)[1]), found["mss"])
        self.assertEqual(int((re.search(r" retrans:\d+/(\d+)", text) or [0, 0])[1]), found["retransmits"])
        # These move on between the two looks, with a ping a quarter of a minute apart at most.
        received = int(re.search(r" bytes_received:(\d+)", text)[1])
        self.assertLessEqual(found["bytes_received"], received)
        self.assertGreater(found["bytes_received"], 500)  # a handshake at least
        self.assertGreater(found["rtt_us"], 0)
        self.assertEqual(("in", "inbound"), (found["direction"], found["pool"]))

    def test_who_says_nothing_is_shown_with_what_it_is_about(self):
        node = self.node("node").start()
        host, port = node.address().rsplit(":", 1)
        with socket.create_connection((host, int(port))) as caller:
            us = "%s:%d" % caller.getsockname()
            mine = kit.eventually("it is listed", lambda: [
                entry for entry in sockets(node)["connections"] if entry["remote"] == us])[0]
        self.assertEqual((0, "handshakes", "waits for its first byte"),
                         (mine["receive_queue"], mine["pool"], mine["what"]))

    def test_the_namespaces_counters_are_the_kernels_and_labelled_so(self):
        node = self.node("node").start()
        text = node.helo("sockets").stdout
        self.assertIn("THIS NETWORK NAMESPACE, every program in it, now", text)
        self.assertIn("THE WHOLE MACHINE, now", text)
        network = sockets(node)["network"]
        self.assertEqual("", network["error"])
        self.assertEqual(int(pathlib.Path("/proc/sys/net/core/somaxconn").read_text()), network["somaxconn"])
        self.assertEqual(int(pathlib.Path("/proc/sys/net/ipv4/tcp_max_tw_buckets").read_text()),
                         network["max_time_wait"])
        # One more connection in TIME_WAIT: the side that closes first has it.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            for _ in range(20):
                with socket.create_connection(listener.getsockname()) as caller:
                    served, _ = listener.accept()
                    caller.close()
                    served.close()
            in_time_wait = len(self.ss("state", "time-wait", f"dport = :{listener.getsockname()[1]}"))
            self.assertEqual(20, in_time_wait)
            self.assertGreaterEqual(sockets(node)["network"]["time_wait"], 20)


if __name__ == "__main__":
    kit.main()
