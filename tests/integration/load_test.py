"""helo-load does what it says, in every mode; how fast is scripts/bench's matter."""

import json
import subprocess
import unittest

import kit

LOAD = kit.BIN / "helo-load"
BARE = kit.BIN / "helo-bare"
LOOP = kit.BIN / "helo-loop"


@unittest.skipUnless(LOAD.exists(), "helo-load is not built here")
class Load(kit.Case):
    def load(self, mode, target, *args):
        network = [] if "--network" in args else ["--network", "helo-it"]
        done = subprocess.run([str(LOAD), mode, "--target", target, "--json", *network, *map(str, args)],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60, encoding="utf-8", check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def bare(self, *args):
        process = subprocess.Popen([str(BARE), *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8")
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process.stdout.readline().strip()

    def test_storms(self):
        node = self.node("node", options=["--max-inbound", "200"]).start()
        for mode in ("full", "tls", "connect", "replay"):
            with self.subTest(mode):
                result = self.load(mode, node.address(), "--count", 100, "--pid", node.pid, "--source-base", "127.3.0.1")
                self.assertEqual((100, 100, {"done": 100}), (result["begun"], result["reached"], result["outcomes"]))
                self.assertGreater(result["latency_ms"]["max"], 0)
                self.assertGreater(result["node"]["after"]["rss_kb"], 0)
        closed = {entry["label"]: entry["count"] for entry in node.info()["closed_inbound"]}
        self.assertEqual(100, node.info()["accepted"] - 300, closed)

    def test_held_peers_answer_pings(self):
        node = self.node("node", options=["--max-inbound", "200", "--ping-idle", "300ms", "--ping-interval", "500ms"]).start()
        result = self.load("hold", node.address(), "--count", 100, "--seconds", 2, "--pid", node.pid,
                           "--source-base", "127.3.0.1", "--sources", 100, "--source-step", 1)
        self.assertEqual((100, 0), (result["held"], result["lost"]))
        self.assertGreaterEqual(result["pings_answered"], 100)
        self.assertAlmostEqual(1.0, result["node"]["fds_each"], delta=0.1)

    def test_churn_replaces_peers(self):
        node = self.node("node", options=["--max-inbound", "200"]).start()
        result = self.load("churn", node.address(), "--count", 20, "--churn", 50, "--seconds", 2)
        self.assertGreater(result["begun"], 40)
        self.assertEqual(0, result["lost"])

    def test_round_trips_and_the_bare_server(self):
        node = self.node("node").start()
        for target, more in ((node.address(), []), (self.bare(), ["--bare"]), (self.bare("--tcp"), ["--tcp"])):
            with self.subTest(more):
                self.assertGreater(
                    self.load("ping", target, "--seconds", 1, "--payload", 32, *more)["round_trip_ms"]["samples"], 10)
                if more:
                    self.assertEqual({"done": 50}, self.load("full", target, "--count", 50, *more)["outcomes"])

    def test_messages_both_ways(self):
        node = self.node("node").start()
        process = subprocess.Popen([str(LOOP)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8")
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        loop = process.stdout.readline().strip()
        for direction, bare in (("echo", self.bare()), ("in", self.bare("--sink"))):
            for target, more in ((node.address(), []), (loop, ["--network", "helo-dev"]), (bare, ["--bare"])):
                for size, peers in ((64, 1), (65536, 4)):
                    with self.subTest(direction=direction, more=more, size=size):
                        result = self.load("messages", target, "--direction", direction, "--payload", size, "--count", peers,
                                           "--seconds", 0.2, *more)
                        self.assertEqual((peers, 0, {}), (result["held"], result["lost"], result["outcomes"]))
                        self.assertGreater(result["messages"], 20)
                        self.assertGreater(result["mb_per_s"], 0)
        with self.subTest("usage"):
            done = subprocess.run([str(LOAD), "messages", "--target", loop, "--tcp"], stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=60, check=False)
            self.assertEqual(2, done.returncode)

    def test_usage(self):
        for words in ([], ["full"], ["full", "--target", "nowhere"], ["hold", "--target", "127.0.0.1:1"], ["dance"]):
            done = subprocess.run([str(LOAD), *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                                  check=False)
            self.assertEqual(2, done.returncode, words)


if __name__ == "__main__":
    kit.main()
