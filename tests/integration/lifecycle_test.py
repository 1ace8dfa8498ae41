"""Start and stop: what a node leaves, what it refuses to start with, and that nothing can hold its end up."""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import unittest

import kit

NOBODY = 65534
AS_ROOT = unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"),
                              "a name server of the test's own takes root and unshare")


class Start(kit.Case):
    def test_ready_is_told_by_file_and_to_the_service_manager(self):
        path = self.scratch / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(path))
            manager.settimeout(kit.PATIENCE)
            node = self.node("node", env={"NOTIFY_SOCKET": str(path)}).start()
            self.assertIn(b"READY=1", manager.recv(4096))
            self.assertEqual(node.pid, node.file["pid"])
            self.assertEqual(64, len(node.id))
            self.assertEqual(1, len(node.file["listen"]))
            self.assertNotEqual("0", node.address().rsplit(":", 1)[1])
            node.stop()
            self.assertIn(b"STOPPING=1", manager.recv(4096))
        self.assertFalse((node.data_dir / "helod.json").exists())

    def test_the_id_stays_over_a_restart(self):
        node = self.node("node").start()
        first = node.id
        node.stop()
        self.assertEqual(first, node.start().id)

    def test_a_data_directory_in_use_is_refused_and_the_first_node_goes_on(self):
        first = self.node("first").start()
        second = self.node("second", data_dir=first.data_dir).launch()
        self.assertNotEqual(0, second.process.wait(timeout=kit.PATIENCE))
        self.assertIn(str(first.data_dir), second.log())
        self.assertIn(str(first.pid), second.log())
        self.assertEqual(first.id, first.info()["id"])
        self.assertEqual(first.pid, json.loads((first.data_dir / "helod.json").read_text())["pid"])

    def test_a_killed_node_does_not_block_the_next_start(self):
        node = self.node("node").start()
        node.kill()
        self.assertTrue((node.data_dir / "helod.json").exists())
        self.assertEqual(3, node.helo("info", check=False).returncode)
        node.start()
        self.assertEqual(node.pid, node.info()["pid"])

    def test_a_port_in_use_is_refused_by_name_of_its_holder(self):
        first = self.node("first").start()
        second = self.node("second", listen=[first.address()]).launch()
        self.assertNotEqual(0, second.process.wait(timeout=kit.PATIENCE))
        self.assertIn(first.address().rsplit(":", 1)[1], second.log())
        self.assertIn(str(first.pid), second.log())

    def test_unknown_and_malformed_options_are_named(self):
        for option, culprit in ((["--colour", "red"], "--colour"), (["--max-inbound", "many"], "many"),
                                (["--listen", "999.1.1.1:0"], "999.1.1.1")):
            node = self.node("node", options=option).launch()
            self.assertNotEqual(0, node.process.wait(timeout=kit.PATIENCE), option)
            self.assertIn(culprit, node.log())

    def test_the_same_option_from_three_places_follows_the_order_of_precedence(self):
        config = self.scratch / "helod.conf"
        config.write_text('network = "from-file"\nmax-inbound = 7\nmax-outbound = 5\n')
        node = self.node("node", network="from-arguments", options=["--config", config],
                         env={"HELO_NETWORK": "from-environment", "HELO_MAX_INBOUND": "9"}).start()
        info = node.info()
        self.assertEqual(("from-arguments", 9, 5), (info["network"], info["max_inbound"], info["max_outbound"]))
        # The tool tells it of the running node, whatever its own environment is.
        shown = {option["name"]: (option["values"], option["source"]) for option in node.helo("config", "--json").json["options"]}
        self.assertEqual((["from-arguments"], "command line"), shown["network"])
        self.assertEqual((["9"], "environment"), shown["max-inbound"])
        self.assertEqual((["5"], "file"), shown["max-outbound"])
        self.assertRegex(node.helo("config").stdout, r"max-outbound = 5 +# file .*helod.conf:3")

    def test_why_what_a_node_runs_with_is_not_known_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            shown = kit.helo("--admin", "127.0.0.1:%d" % silent.getsockname()[1], "--timeout", "500ms", "config")
        self.assertIn("did not answer", shown.stderr)
        self.assertIn("what helod would run with", shown.stderr)
        node = self.node("node").start()
        (node.data_dir / "config.json").write_text("no JSON")
        self.assertIn("is not one that helod wrote", node.helo("config").stderr)
        (node.data_dir / "config.json").unlink()
        self.assertIn("config.json", node.helo("config").stderr)
        if os.geteuid() == 0:
            self.assertIn("does not let", kit.helo("--admin", node.admin, "config", user=NOBODY).stderr)
        node.stop()
        self.assertIn("no node was found running", node.helo("config").stderr)

    def test_sighup_reopens_the_log(self):
        log = self.scratch / "helod.log"
        node = self.node("node", options=["--log-file", log]).start()
        log.rename(self.scratch / "helod.log.1")
        node.signal(signal.SIGHUP)
        kit.eventually("the log is there again", log.exists)
        node.helo("log-level", "debug")
        kit.eventually("it is written to", lambda: "log level" in log.read_text(), detail=log.read_text)
        node.stop()


class Stop(kit.Case):
    def test_peers_are_told_and_the_process_is_gone_within_five_seconds(self):
        acceptor = self.node("acceptor").start()
        dialers = [self.node(f"dialer{i}", peers=[acceptor]).start() for i in range(3)]
        acceptor.sees(*dialers)
        acceptor.stop()
        for dialer in dialers:
            dialer.attempt("SHUTTING_DOWN", "out", decider="them")

    def test_sigint_does_the_same(self):
        node = self.node("node").start()
        node.signal(signal.SIGINT)
        self.assertEqual(0, node.process.wait(timeout=5))
        node.check_clean_stop()

    def test_the_tool_can_ask_for_it(self):
        node = self.node("node").start()
        node.helo("shutdown")
        self.assertEqual(0, node.process.wait(timeout=5))
        node.check_clean_stop()

    @AS_ROOT
    def test_nothing_in_flight_holds_it_up(self):
        # A name server that hears and never answers, for helod alone: a resolv.conf in a mount namespace of its own.
        with contextlib.ExitStack() as stack:
            dns = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            dns.bind(("127.0.0.77", 53))
            conf = self.scratch / "resolv.conf"
            conf.write_text("nameserver 127.0.0.77\noptions timeout:30 attempts:3\n")
            frozen = self.node("frozen").start()
            node = self.node("node", peers=[frozen, "helo://unanswered.example.net:4356"],
                             wrapper=["unshare", "--mount", "--", "sh", "-c",
                                      f"mount --bind {conf} /etc/resolv.conf && exec \"$@\"", "sh"]).start()
            node.sees(frozen)
            self.assertTrue(select.select([dns], [], [], kit.PATIENCE)[0], "the name was never asked for")
            # A peer that reads nothing any more, a watcher that reads nothing, and callers that say nothing.
            frozen.signal(signal.SIGSTOP)
            watch = node.watch()
            watch.ready()
            os.kill(watch.process.pid, signal.SIGSTOP)
            for address in (node.admin, node.address()):
                host, port = address.rsplit(":", 1)
                for _ in range(3):
                    stack.enter_context(socket.create_connection((host, int(port))))
            half = stack.enter_context(socket.create_connection((host, int(port))))
            half.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a ClientHello
            try:
                self.assertLess(node.stop(within=5.0), 5.0)
            finally:
                os.kill(watch.process.pid, signal.SIGCONT)


if __name__ == "__main__":
    kit.main()
