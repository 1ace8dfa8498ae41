"""The containers of docker-compose.yml on the real engine, through scripts/testnet compose: the mesh, a node that dies and
returns with another address, a dropped peer, a node off the network, more of `extra`, and the end of it all."""

import json
import os
import subprocess
import time
import unittest

import kit

TESTNET = kit.ROOT / "scripts" / "testnet"
BASE_IMAGE = "debian:bookworm-slim"
NAMED = ["n1", "n2", "n3", "n4"]


def run(*command, timeout=60, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
                          **options)


def why_not():
    """What is missing to run this, or None."""
    try:
        answer = run("docker", "version")
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no docker engine: {error}"
    if answer.returncode != 0:
        return f"no docker engine: {answer.stderr.strip()}"
    if run("docker", "compose", "version").returncode != 0:
        try:
            run("docker-compose", "version")
        except OSError:
            return "neither `docker compose` nor docker-compose is installed"
    if run("docker", "image", "inspect", BASE_IMAGE).returncode != 0:
        make = kit.ROOT.parent / "shared" / "tools" / "base-image"
        command = [str(make)] if make.exists() else ["docker", "pull", BASE_IMAGE]
        made = run(*command, timeout=300)
        if made.returncode != 0:
            return f"the base image {BASE_IMAGE} is not to be had: {made.stderr.strip()[-300:]}"
    return None


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        reason = why_not()
        if reason:
            raise unittest.SkipTest(reason)
        cls.project = f"helo-it-{os.getpid()}"
        cls.env = {**os.environ, "HELO_BIN_DIR": str(kit.BIN), "HELO_COMPOSE_PROJECT": cls.project,
                   "HELO_NOFILE": "16384"}
        cls.addClassCleanup(cls.call, "down", check=False)
        cls.up = cls.call("up", "1", timeout=300).stdout

    @classmethod
    def call(cls, *args, check=True, timeout=120):
        done = run(str(TESTNET), "compose", *args, timeout=timeout, env=cls.env)
        if check and done.returncode != 0:
            logs = run("docker", "ps", "-a").stdout
            raise AssertionError(f"testnet compose {' '.join(args)}: {done.stdout}{done.stderr}{logs}")
        return done

    def tool(self, node, *args, **options):
        return self.call("exec", node, *args, **options)

    def peers(self, node):
        done = self.tool(node, "peers", "--json", check=False)
        return {peer["id"]: peer for peer in json.loads(done.stdout)["peers"]} if done.returncode == 0 else {}

    def id(self, node):
        return json.loads(self.tool(node, "info", "--json").stdout)["id"]

    def status(self):
        return {line.split()[0]: line.split() for line in self.call("status").stdout.splitlines()[1:]}

    def test_1_the_mesh_stands_and_shows_itself(self):
        for node in NAMED:
            self.assertRegex(self.up, rf"(?m)^{node}  [0-9a-f]{{8}}  at ")
            self.assertEqual(4, len(self.peers(node)), f"{node} has the other three and extra")
        self.assertEqual(4, len(self.peers("extra")))
        kit.eventually("all are healthy", lambda: {line[2] for line in self.status().values()} == {"healthy"},
                       detail=lambda: str(self.status()))

    def test_2_the_containers_hold_no_more_than_they_need(self):
        container = run("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={self.project}",
                        "--filter", "label=com.docker.compose.service=n1").stdout.strip()
        status = run("docker", "exec", container, "cat", "/proc/1/status").stdout
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.assertEqual("10001", fields["Uid"].split()[0])
        for name in ("CapPrm", "CapEff", "CapBnd"):
            self.assertEqual(0, int(fields[name], 16), name)
        self.assertEqual("1", fields["NoNewPrivs"].strip())
        # As root, whom only the mount can stop.
        self.assertIn("Read-only file system",
                      run("docker", "exec", "-u", "0", container, "touch", "/usr/local/x").stderr)
        # From another container of the network the admin API is not to be reached; the peer port is.
        other = self.status()["n2"][4]
        reach = lambda port: run("docker", "exec", container, "bash", "-c", f": </dev/tcp/{other}/{port}")
        self.assertEqual(0, reach(4356).returncode, reach(4356).stderr)
        self.assertIn("Connection refused", reach(4357).stderr)

    def test_2_the_plugins_run_and_are_roots_own(self):
        for node in (*NAMED, "extra"):
            listed = json.loads(self.tool(node, "plugins", "--json").stdout)["plugins"]
            self.assertEqual({"chainstatus": "running", "echo": "running", "gossip": "running"},
                             {plugin["name"]: plugin["state"] for plugin in listed}, node)
        container = run("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={self.project}",
                        "--filter", "label=com.docker.compose.service=n1").stdout.strip()
        folder = "/usr/local/lib/helo/plugins"
        held = run("docker", "exec", container, "sh", "-c", f"stat -c '%u:%g %a %n' {folder} {folder}/*").stdout
        self.assertEqual([f"0:0 755 {folder}", *(f"0:0 644 {folder}/{name}.so" for name in
                                                 ("chainstatus", "echo", "gossip"))], held.splitlines())
        self.assertEqual("sent to 4 of 4 peers\n", self.tool("n1", "plugin", "call", "gossip", "publish", "hello").stdout)
        for node in (*NAMED, "extra"):
            kit.eventually(f"{node} has seen it", lambda node=node: '"hello"' in self.tool(
                node, "plugin", "call", "gossip", "log").stdout)
        heads = self.tool("n1", "plugin", "call", "chainstatus", "heads").stdout
        for height in range(100, 105):
            self.assertIn(f"  {height}  ", heads)

    def test_3_a_killed_node_comes_back_with_another_address(self):
        lost = self.id("n2")
        before = self.status()["n2"][4]
        self.call("kill", "n2")
        kit.eventually("n1 has lost n2", lambda: lost not in self.peers("n1"), 60)
        # Its address is free now and goes to the next who comes.
        squatter = f"{self.project}-squatter"
        self.addCleanup(run, "docker", "rm", "-f", "-v", squatter)
        taken = run("docker", "run", "-d", "--name", squatter, "--network", f"{self.project}_helo", "--entrypoint",
                    "sleep", "helo:local", "600")
        self.assertEqual(0, taken.returncode, taken.stderr)
        self.call("start", "n2")
        kit.eventually("n2 has another address", lambda: self.status()["n2"][4] not in ("-", before), 30)
        self.call("wait", "60")
        self.assertIn(lost, self.peers("n1"))

    def test_4_a_dropped_peer_stays_away_and_comes_back(self):
        dropped = self.id("n3")
        self.tool("n1", "drop", dropped[:12], "--for", "8s", "--reason", "for a while")
        began = time.monotonic()
        self.assertNotIn(dropped, self.peers("n1"))
        kit.eventually("n3 was told", lambda: "for a while" in self.tool("n3", "history", "--json").stdout)
        kit.eventually("n3 is back", lambda: dropped in self.peers("n1"), 90)
        self.assertGreaterEqual(time.monotonic() - began, 7.0)
        self.call("wait", "60")

    def test_5_a_node_off_the_network_comes_back_within_30_seconds(self):
        lost = self.id("n4")
        self.call("cut", "n4")
        self.assertEqual("-", self.status()["n4"][4])
        kit.eventually("n1 has noticed", lambda: lost not in self.peers("n1"), 90)
        self.call("heal", "n4")
        began = time.monotonic()
        self.call("wait", "30")
        self.assertLess(time.monotonic() - began, 32)

    def test_6_extra_scales_to_three(self):
        scaled = self.call("up", "3", timeout=180).stdout
        for name in ("extra", "extra-2", "extra-3"):
            self.assertRegex(scaled, rf"(?m)^{name}  ")
            self.assertEqual(4, len(self.peers(name)), name)
        self.assertEqual(3, len({self.id(name) for name in ("extra", "extra-2", "extra-3")}))
        self.assertEqual(6, len(self.peers("n1")))

    def test_7_it_goes_down_and_leaves_nothing(self):
        containers = run("docker", "ps", "-q", "--filter", f"label=com.docker.compose.project={self.project}").stdout.split()
        self.assertEqual(7, len(containers))
        began = time.monotonic()
        self.call("stop", "n1")
        self.assertLess(time.monotonic() - began, 8)
        first = run("docker", "ps", "-a", "-q", "--filter", f"label=com.docker.compose.project={self.project}",
                    "--filter", "label=com.docker.compose.service=n1").stdout.strip()
        self.assertEqual("0", run("docker", "inspect", "-f", "{{.State.ExitCode}}", first).stdout.strip())
        self.call("down")
        for kind in ("container", "volume", "network"):
            args = ["docker", kind, "ls", "-q", "--filter", f"label=com.docker.compose.project={self.project}"]
            if kind == "container":
                args.append("-a")
            self.assertEqual("", run(*args).stdout, kind)


if __name__ == "__main__":
    kit.main()
