"""Nothing is lost over tens of thousands of connections, whichever way they end: the same descriptors, tickets, slots and
memory as after the first 2,000 of them. scripts/soak runs this file with ten times the cycles.

Environment: HELO_LEAK_CYCLES, how many connections in all (default 20,000).
"""

import os
import pathlib
import subprocess
import json
import time
import unittest

CYCLES = int(os.environ.get("HELO_LEAK_CYCLES", "20000"))

import kit  # noqa: E402  (it takes HELO_* out of the environment)

LOAD = kit.BIN / "helo-load"
PATHS = ("peer", "us", "reset", "timeout", "gate", "tls", "hello", "verdict")
WARM = 2000
MOST_GROWTH = 0.02
# What a path is given: how many at once, and where it comes from. The gate refuses one source beyond its limits; all
# other paths come from addresses without.
LIMITED = ["--source-base", "127.2.0.1", "--sources", "4", "--source-step", "1", "--in-flight", "64"]
FREE = ["--source-base", "127.1.0.1", "--sources", "16", "--in-flight", "100"]
MANY = ["--source-base", "127.1.0.1", "--sources", "16", "--in-flight", "200"]  # as many in the first 2,000 too
PLACES = {"gate": LIMITED, "timeout": MANY}


def resident_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    raise AssertionError("smaps_rollup without Rss")


def admin_callers(node):
    """Inodes of the connections at the node's admin port whose descriptor it has not closed yet."""
    here = f":{int(node.admin.rsplit(':', 1)[1]):04X}"
    rows = [line.split() for line in pathlib.Path(f"/proc/{node.pid}/net/tcp").read_text().splitlines()[1:]]
    return [row[9] for row in rows if row[1].endswith(here) and row[3] != "0A" and row[9] != "0"]


@unittest.skipUnless(LOAD.exists(), "helo-load is not built here")
class Leaks(kit.Case):
    def cycles(self, node, path, count, place=None):
        command = [str(LOAD), "cycle", "--close-path", path, "--count", str(count), "--target", node.address(),
                   "--network", "helo-it", "--json", *(place or PLACES.get(path, FREE))]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False,
                              timeout=60 + count / 20)
        self.assertEqual(0, done.returncode, done.stderr)
        result = json.loads(done.stdout.splitlines()[-1])
        # On a busy machine a second may pass between two steps of a handshake; that is a close path too.
        self.assertGreaterEqual(result["outcomes"].get("done", 0), count * 0.98,
                                f"{path}: {result['outcomes']} {result['troubles']}\n{node.log()[-4000:]}")
        return result["seconds"]

    def run_all(self, node, total):
        """Every close path in turn; returns what the node holds afterwards."""
        took = {path: self.cycles(node, path, total // len(PATHS)) for path in PATHS}
        return took, self.holdings(node)

    def holdings(self, node):
        def settled():
            info = node.info()
            used = {pool["name"]: pool["used"] for pool in info["fd_pools"]}
            idle = all(used[name] == 0 for name in ("inbound", "handshakes", "closing")) and used["admin"] <= 2
            return info if idle else None
        info = kit.eventually("the last connections are gone", settled, detail=lambda: json.dumps(node.info(), indent=1))
        tickets = {pool["name"]: pool["used"] for pool in info["fd_pools"]}
        # The connection that asked is not the node's: its descriptor closes when it pleases.
        tickets.pop("admin")
        return {"fds": self.settled_fds(node), "tickets": tickets, "slots": (info["inbound"], info["outbound"]),
                "rss": resident_kb(node.pid)}

    def settled_fds(self, node):
        """How many are open, once nobody is at the admin port and two looks in a row see the same ones."""
        before = None

        def same():
            nonlocal before
            last, before = before, sorted(os.listdir(f"/proc/{node.pid}/fd"))
            return len(before) if before == last and not admin_callers(node) else None

        return kit.eventually("the caller's own descriptor is closed and no other comes or goes", same,
                              detail=lambda: f"{before}, admin callers {admin_callers(node)}")

    def test_every_close_path(self):
        node = self.node("node", options=["--tls-timeout", "1s", "--hello-timeout", "1s", "--linger", "500ms",
                                          "--max-inbound", "512", "--max-handshakes", "512", "--log-level", "warn",
                                          "--exempt-sources", "127.1.0.0/16"]).start()
        # What a node may remember is bounded, and full before the first look: 4,096 events, two a peer that was up;
        # 1,024 sources that were refused.
        self.cycles(node, "reset", 1500)
        self.cycles(node, "tls", 1200, [*FREE[:2], "--sources", "1200", "--source-step", "1", "--in-flight", "100"])
        self.run_all(node, WARM)  # and the heap is as large as this many at once make it
        _, warm = self.run_all(node, WARM)
        began = time.monotonic()
        took, after = self.run_all(node, CYCLES - WARM)
        seconds = time.monotonic() - began
        for path in PATHS:
            count = (CYCLES - WARM) // len(PATHS)
            print(f"{path:8} {count:7} cycles in {took[path]:7.1f} s, {count / took[path]:7.0f}/s", flush=True)
        growth = after["rss"] / warm["rss"] - 1
        print(f"{CYCLES} cycles, {seconds:.1f} s after the first {WARM}: fds {warm['fds']} -> {after['fds']}, "
              f"tickets {sum(warm['tickets'].values())} -> {sum(after['tickets'].values())}, "
              f"slots {warm['slots']} -> {after['slots']}, RSS {warm['rss']} -> {after['rss']} kB ({growth:+.2%})",
              flush=True)
        # A busy machine may have had more at once than before the first look, and the heap keeps that: what leaks grows in
        # every round.
        for _ in range(2):
            if growth <= MOST_GROWTH:
                break
            before = after["rss"]
            _, after = self.run_all(node, CYCLES - WARM)
            growth = after["rss"] / before - 1
            print(f"once more: RSS {before} -> {after['rss']} kB ({growth:+.2%})", flush=True)
        self.assertEqual(warm["fds"], after["fds"])
        self.assertEqual(warm["tickets"], after["tickets"])
        self.assertEqual(warm["slots"], after["slots"])
        self.assertLessEqual(growth, MOST_GROWTH, "the node's memory grows")


if __name__ == "__main__":
    kit.main()
