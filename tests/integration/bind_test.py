"""socket(), bind() and listen() of a real node: three steps that can be watched, and a sentence of its own for each way
in which one fails. What each sentence says in full is held by tests/unit/net/listener_test.cc."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import unittest

import kit

NOBODY = 65534
AS_ROOT = unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv") and shutil.which("unshare"),
                              "other users and networks of the test's own take root, setpriv and unshare")
OTHER_USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all",
              "--inh-caps=-all", "--"]


class Bind(kit.Case):
    def refused(self, *listen, **options):
        """What a node says that cannot listen there."""
        node = self.node("refused", listen=listen, **options).launch()
        self.assertNotEqual(0, node.process.wait(timeout=kit.PATIENCE), node.log())
        self.assertFalse((node.data_dir / "helod.json").exists())
        return node.log()

    def as_nobody(self, *listen):
        home = self.scratch / "nobody"
        home.mkdir(mode=0o700)
        os.chown(home, NOBODY, NOBODY)
        return self.refused(*listen, wrapper=OTHER_USER, data_dir=home)

    def assert_says(self, text, *parts):
        for part in parts:
            self.assertIn(str(part), text)

    def test_verbose_prints_the_three_steps_with_fd_and_result(self):
        node = self.node("node", options=["-v"]).start()
        listed = {entry["fd"]: entry for entry in node.helo("fds", "--json").json["fds"]}
        for asked, local in (("tcp://127.0.0.1:0", node.address()), ("tcp4://127.0.0.1:0", node.admin)):
            steps = [line for line in node.log().splitlines() if f"listen={asked} call=" in line]
            calls = [re.search(r'call="?(\w+)\(', line)[1] for line in steps]
            self.assertEqual(["socket", "bind", "listen"], calls, node.log())
            self.assertTrue(all("result=ok" in line for line in steps), steps)
            [fd] = {re.search(r" fd=(\d+)", line)[1] for line in steps}
            self.assertEqual(("LISTEN", local), (listed[int(fd)]["tcp_state"], listed[int(fd)]["local"]))

    def test_verbose_shows_the_step_that_failed_as_the_last(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            address = "127.0.0.1:%d" % other.getsockname()[1]
            log = self.refused(address, options=["-v"])
        steps = [line for line in log.splitlines() if "call=" in line]
        self.assertEqual(2, len(steps), log)
        self.assert_says(steps[-1], "bind(", "result=EADDRINUSE")

    def test_a_second_node_names_the_first(self):
        first = self.node("first").start()
        log = self.refused(first.address())
        self.assert_says(log, "EADDRINUSE", f"process {first.pid} (helod)", f"listens on {first.address()}",
                         "choose another port")
        self.assertEqual(first.id, first.info()["id"])

    @AS_ROOT
    def test_a_holder_that_another_user_may_not_see_is_named_by_its_user(self):
        first = self.node("first").start()
        log = self.as_nobody(first.address())
        port = first.address().rsplit(":", 1)[1]
        self.assert_says(log, "EADDRINUSE", "a process of user root", f"sudo ss -ltnp 'sport = :{port}'")
        self.assertNotIn(str(first.pid), log)

    def test_two_listeners_of_its_own_that_overlap(self):
        with socket.socket() as probe:  # a port that is free
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = self.refused(f"127.0.0.1:{port}", f"0.0.0.0:{port}")
        self.assert_says(log, "EADDRINUSE", "this process (fd ", "overlap")

    def test_an_outgoing_connection_that_has_the_port(self):
        with socket.socket() as server, socket.socket() as client:
            server.bind(("127.0.0.1", 0))
            server.listen()
            client.connect(server.getsockname())
            port = client.getsockname()[1]
            log = self.refused(f"127.0.0.1:{port}")
        self.assert_says(log, "EADDRINUSE", f"an outgoing connection of process {os.getpid()}",
                         "ip_local_port_range", "ip_local_reserved_ports")

    @AS_ROOT
    def test_a_privileged_port(self):
        start = int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
        if start <= 1:
            self.skipTest("no port is privileged on this machine")
        log = self.as_nobody("127.0.0.1:1")
        self.assert_says(log, "EACCES", f"below {start}", "ip_unprivileged_port_start", "CAP_NET_BIND_SERVICE")

    def test_an_address_that_is_not_on_this_host(self):
        self.assert_says(self.refused("192.0.2.1:0"), "EADDRNOTAVAIL", "no interface of this machine has the address",
                         "192.0.2.1")

    def test_malformed_addresses(self):
        for address in ("999.999.999.999:8080", "1.2.3:80", "017.0.0.1:80"):
            with self.subTest(address):
                self.assert_says(self.refused(address), address, "must be an IPv4 address",
                                 "four decimal numbers from 0 to 255 without leading zeros")

    @AS_ROOT
    def test_without_ipv6(self):
        # A network of its own, in which IPv6 is switched off: if_inet6 is empty.
        alone = ["unshare", "--net", "sh", "-c",
                 "ip link set lo up && sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && exec \"$@\"", "sh"]
        log = self.refused("tcp6://:0", wrapper=alone)
        self.assert_says(log, "no IPv6", "/proc/net/if_inet6 is empty", "tcp4://0.0.0.0")
        node = self.node("dual", listen=["tcp://:0"], wrapper=alone).start()
        self.assertTrue(node.file["listen"][0].startswith("0.0.0.0:"), node.file)
        self.assertIn("listening on IPv4 alone", node.log())

    @unittest.skipUnless(shutil.which("ss"), "takes ss (iproute2)")
    def test_a_restart_with_connections_in_time_wait_works(self):
        first = self.node("node").start()
        address = first.address()
        peers = [self.node(f"peer{i}", peers=[first]).start() for i in range(2)]
        first.sees(*peers)
        # Whoever closes first has TIME_WAIT: the node, when it drops a peer that answers.
        for peer in peers:
            first.helo("drop", peer.id, "--for", "1h")
        first.sees()
        first.stop()
        listed = subprocess.run(["ss", "-Htn", "state", "time-wait", f"src = {address}"], capture_output=True,
                                check=True, encoding="utf-8").stdout
        self.assertTrue(listed.strip(), "nothing is in TIME_WAIT, the test shows nothing")
        again = self.node("again", listen=[address]).start()
        self.assertEqual(address, again.address())


if __name__ == "__main__":
    kit.main()
