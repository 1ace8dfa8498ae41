"""scripts/testnet, as a person types it."""

import json
import os
import re
import signal
import socket
import subprocess

import kit

TESTNET = kit.ROOT / "scripts" / "testnet"


def free_base():
    """A port base whose next 60 ports nobody listens on, below the range of outgoing connections."""
    for base in range(24000, 30000, 200):
        try:
            for port in range(base + 1, base + 61):
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise AssertionError("no free ports between 24000 and 30000")


class Testnet(kit.Case):
    def setUp(self):
        super().setUp()
        base = free_base()
        self.env = {**os.environ, "HELO_BIN_DIR": str(kit.BIN), "HELO_TESTNET_DIR": str(self.scratch / "net"),
                    "HELO_TESTNET_PORT": str(base), "HELO_TESTNET_ADMIN_PORT": str(base + 30)}
        self.base = base
        self.addCleanup(self.run_testnet, "down", check=False)

    def run_testnet(self, *args, check=True, timeout=120):
        done = subprocess.run([TESTNET, *args], env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if check:
            self.assertEqual(0, done.returncode, f"{args}: {done.stdout}{done.stderr}")
        return done

    def status(self):
        lines = self.run_testnet("status").stdout.splitlines()
        return {line.split()[0]: line.split() for line in lines[1:]}

    def peers(self, node):
        return [peer["id"] for peer in json.loads(self.run_testnet("exec", node, "peers", "--json").stdout)["peers"]]

    def test_a_life_of_four_nodes(self):
        up = self.run_testnet("up", "4").stdout
        for name in ("n1", "n2", "n3", "n4"):
            self.assertRegex(up, rf"(?m)^{name}  [0-9a-f]{{8}}  listens on 127\.0\.0\.1:\d+")
        status = self.status()
        self.assertEqual(["running"] * 4, [line[1] for line in status.values()])
        self.assertEqual(["3"] * 4, [line[3] for line in status.values()])
        # The keys, and so the ids, are the same on every machine.
        self.assertIn("44ff7fa87f54f2f7d0abc411ad17f97206c0ab7816bde1c0d3222f62970469bf", self.peers("n1"))

        # What `up` tells to try next about the plugins, word for word.
        for line in ("n1 plugins", "n1 plugin call gossip publish hello", "n4 plugin call gossip log",
                     "n1 plugin call chainstatus heads"):
            self.assertIn(f"\n  scripts/testnet exec {line}\n", up)
        said = self.run_testnet("exec", "n1", "plugin", "call", "gossip", "publish", "hello").stdout
        self.assertEqual("sent to 3 of 3 peers\n", said)
        for name in ("n1", "n2", "n3", "n4"):
            kit.eventually(f"{name} has seen it", lambda name=name: '"hello"' in self.run_testnet(
                "exec", name, "plugin", "call", "gossip", "log").stdout)
        heads = self.run_testnet("exec", "n1", "plugin", "call", "chainstatus", "heads").stdout
        self.assertEqual(["101", "102", "103", "104"], sorted(re.findall(r"  (10\d)  ", heads)), heads)

        self.run_testnet("kill", "n2")
        self.assertEqual("stopped", self.status()["n2"][1])
        kit.eventually("n1 has lost n2", lambda: self.status()["n1"][3] == "2")
        self.run_testnet("wait", "30")
        self.run_testnet("start", "n2")
        self.run_testnet("wait", "90")
        self.assertEqual(["3"] * 4, [line[3] for line in self.status().values()])

        self.run_testnet("pause", "n3")
        self.assertEqual("paused", self.status()["n3"][1])
        self.run_testnet("resume", "n3")
        self.run_testnet("wait", "30")
        self.assertIn("n4", self.run_testnet("logs").stdout)

        pids = [int(line[2]) for line in self.status().values()]
        self.run_testnet("pause", "n4")
        self.run_testnet("down")
        for pid in pids:
            self.assertFalse(kit.runs(pid), pid)
        self.assertFalse((self.scratch / "net").exists())

    def test_a_machine_that_went_down_leaves_state_that_the_next_start_cleans(self):
        self.run_testnet("up", "2")
        for line in self.status().values():
            os.kill(int(line[2]), signal.SIGKILL)
        kit.eventually("both are seen as gone", lambda: [line[1] for line in self.status().values()] == ["gone"] * 2)
        # A pid that the kernel gave to somebody else meanwhile is not taken for a node, and not killed.
        other = subprocess.Popen(["sleep", "600"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        process = self.scratch / "net" / "n1" / "process"
        process.write_text(re.sub(r"^\d+", str(other.pid), process.read_text()))
        self.assertEqual("gone", self.status()["n1"][1])
        up = self.run_testnet("up", "3").stdout
        self.assertIn("earlier testnet", up)
        self.assertEqual(["running"] * 3, [line[1] for line in self.status().values()])
        self.run_testnet("down")
        self.assertIsNone(other.poll())

    def test_a_failed_start_shows_the_nodes_own_words(self):
        done = self.run_testnet("up", "2", "--", "--max-inbound", "plenty", check=False)
        self.assertNotEqual(0, done.returncode)
        self.assertIn("plenty", done.stderr)
        self.assertRegex(done.stderr, r"n1: ")

    def test_other_plugins_can_be_named_instead(self):
        up = self.run_testnet("up", "2", "--", "--plugin", "echo").stdout
        self.assertNotIn("gossip", up)
        listed = json.loads(self.run_testnet("exec", "n1", "plugins", "--json").stdout)["plugins"]
        self.assertEqual(["echo"], [plugin["name"] for plugin in listed])

    def test_a_port_in_use_is_named_before_anything_starts(self):
        with socket.create_server(("127.0.0.1", self.base + 2)):
            done = self.run_testnet("up", "3", check=False)
        self.assertNotEqual(0, done.returncode)
        self.assertIn(str(self.base + 2), done.stderr)
        self.assertIn(str(os.getpid()), done.stderr)

    def test_mistakes_are_answered_with_the_usage(self):
        self.assertEqual(2, self.run_testnet("up", "many", check=False).returncode)
        self.assertEqual(2, self.run_testnet("dance", check=False).returncode)
        self.assertEqual(1, self.run_testnet("kill", "n1", check=False).returncode)


if __name__ == "__main__":
    kit.main()
