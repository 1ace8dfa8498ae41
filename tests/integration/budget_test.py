"""The budget of file descriptors with real processes: little of them from the start, the limit changed under a running
node (prlimit), and standard descriptors that are closed.
"""

import contextlib
import os
import re
import resource
import socket

import kit

CHECK_EVERY = 10  # seconds; the node's own


def set_limit(node, soft):
    """As `prlimit --pid PID --nofile=SOFT:` does it; the hard limit stays."""
    _, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (soft, hard))


def pool(node, name):
    return next(pool for pool in node.info()["fd_pools"] if pool["name"] == name)


def outside(node):
    return int(re.search(r"(\d+) open outside the pools", node.helo("info", "--json").stdout).group(1))


def open_fds(node):
    return len(os.listdir(f"/proc/{node.pid}/fd"))


class Sum(kit.Case):
    def test_what_it_says_is_what_proc_says(self):
        other = self.node("other").start()
        node = self.node("node", peers=[other]).start()
        node.sees(other)
        info = node.info()
        soft, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
        self.assertEqual((str(soft), str(min(hard, 1 << 30) if hard >= 0 else 1 << 30)),
                         (str(info["fd_limit"]), str(info["fd_hard_limit"])))
        kit.eventually("the count is the one of /proc/PID/fd but for the asking connection itself",
                       lambda: abs(node.info()["fd_open"] - open_fds(node)) <= 1)
        self.assertEqual(0, node.info()["fd_foreign"])
        text = node.helo("info", "--wide").stdout
        self.assertIn("File descriptors:", text)
        self.assertIn("0 foreign", text)

    def test_descriptors_that_it_was_given_are_outside_the_pools_and_not_foreign(self):
        plain = self.node("plain").start()
        given = self.node("given", wrapper=["sh", "-c", 'exec 5</dev/null 6</dev/null 7</dev/null; exec "$@"',
                                            "sh"]).start()
        self.assertEqual(0, given.info()["fd_foreign"])
        self.assertEqual(3, outside(given) - outside(plain))


class SixtyFour(kit.Case):
    def test_sixty_four_descriptors_are_workable(self):
        narrow = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
        first = self.node("first", wrapper=narrow).start()
        second = self.node("second", peers=[first], wrapper=narrow).start()
        third = self.node("third", peers=[f"helo://{first.id}@localhost:{first.address().rsplit(':', 1)[1]}"],
                          wrapper=narrow).start()  # a name: the resolver has descriptors left
        first.sees(second, third)
        second.helo("add", third.url, "--wait", "20s")
        second.sees(first, third)
        self.assertEqual(["in"], [peer["direction"] for peer in third.peers() if peer["id"] == second.id])
        for node in (first, second, third):
            self.assertLessEqual(open_fds(node), 64)
            self.assertEqual(64, int(node.info()["fd_limit"]))
            self.assertIn("That is less than configured", node.log())

    def test_with_less_than_a_working_minimum_it_refuses_and_names_the_remedies(self):
        node = self.node("node", wrapper=["sh", "-c", 'ulimit -n 30; exec "$@"', "sh"]).launch()
        self.assertEqual(1, node.process.wait(timeout=kit.PATIENCE))
        for words in ("too low to work with", "ulimit -n", "LimitNOFILE=", "limits.conf", "ulimits"):
            self.assertIn(words, node.log())


class StandardDescriptors(kit.Case):
    def test_no_socket_ever_gets_the_number_of_a_closed_standard_descriptor(self):
        other = self.node("other").start()
        node = self.node("node", peers=[other], options=["--log-file", self.scratch / "own.log"],
                         wrapper=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]).start()
        node.sees(other)
        self.assertEqual(["/dev/null"] * 3, [os.readlink(f"/proc/{node.pid}/fd/{fd}") for fd in range(3)])
        node.stop()

    def test_each_of_them_alone(self):
        for closed, redirect in ((0, "<&-"), (1, ">&-"), (2, "2>&-")):
            node = self.node(f"node{closed}", wrapper=["sh", "-c", f'exec "$@" {redirect}', "sh"]).start()
            self.assertEqual("/dev/null", os.readlink(f"/proc/{node.pid}/fd/{closed}"))
            node.stop()


class Live(kit.Case):
    def test_the_limit_falls_and_peers_are_told_it_rises_and_they_come_back(self):
        node = self.node("node", options=["--trusted", "11" * 32]).start()
        self.assertEqual(65, pool(node, "inbound")["limit"])
        dialers = [self.node(f"dialer{i}", peers=[node], options=["--dial-backoff-max", "1s"]).start() for i in range(8)]
        node.sees(*dialers)

        # Less than is open by three, one of them the connection of whoever asks.
        set_limit(node, open_fds(node) - 3)
        kit.eventually("some peers had to go", lambda: 0 < len(node.peers()) < 8, detail=node.log)
        left = node.peer_ids()
        self.assertLessEqual(len(left), pool(node, "inbound")["limit"])
        gone = [dialer for dialer in dialers if dialer.id not in left]
        for dialer in gone:
            close = dialer.attempt("EVICTED", "out", decider="them")["close"]
            self.assertEqual(20, close["retry_after_s"])
            self.assertIn("file descriptors", close["text"])
        node.attempt("EVICTED", "in", decider="us", retry_after_s=20)
        self.assertIn("EVICTED", node.helo("history").stdout)
        self.assertIn("the limit of file descriptors was changed", node.log())
        self.assertIn(f"prlimit --pid {node.pid}", node.helo("info", "--wide").stdout)

        set_limit(node, 512)
        node.sees(*dialers, patience=CHECK_EVERY + 20 + kit.PATIENCE)
        self.assertEqual(65, pool(node, "inbound")["limit"])

    def test_just_above_what_is_open_peers_stay_the_operator_gets_in_and_accepting_resumes(self):
        node = self.node("node").start()
        peer = self.node("peer", peers=[node]).start()
        node.sees(peer)
        host, port = node.address().rsplit(":", 1)
        limit = open_fds(node) + 4
        set_limit(node, limit)
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                stack.enter_context(socket.create_connection((host, int(port))))
            kit.eventually("the pools followed", lambda: "the limit of file descriptors was changed" in node.log(),
                           detail=node.log)
            for _ in range(20):
                info = node.info()
                self.assertEqual(limit, int(info["fd_limit"]))
                self.assertEqual([peer.id], node.peer_ids())
            self.assertTrue(info["listeners"][0]["paused"], info["listeners"])
        set_limit(node, 512)
        newcomer = self.node("newcomer", peers=[node]).start()
        node.sees(peer, newcomer, patience=CHECK_EVERY + kit.PATIENCE)


if __name__ == "__main__":
    kit.main()
