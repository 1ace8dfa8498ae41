"""What the tests with real processes share: start helod on ports that the kernel chooses, ask it through the tool, wait
for a condition with a deadline. Standard library only.

Environment: HELO_BIN_DIR, the folder with helod and helo; HELO_TOOLS_DIR, one that may hold other programs (grpcurl).
"""

import contextlib
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BIN = pathlib.Path(os.environ.get("HELO_BIN_DIR", "build/release/bin")).resolve()
HELOD = BIN / "helod"
HELO = BIN / "helo"
TOOLS = os.environ.get("HELO_TOOLS_DIR", "")
ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds, for what takes milliseconds on a quiet machine
SKIPPED = 77

# What a person's own environment says about helo must not reach the nodes.
for _name in [name for name in os.environ if name.startswith("HELO_")]:
    del os.environ[_name]


def eventually(what, condition, patience=PATIENCE, detail=None):
    """Asks until `condition()` is true and returns that; fails with `what` after `patience` seconds. What it asks about
    lives in other processes, which do not tell: hence it asks again."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience} s: {what}" + (f"\n{detail()}" if detail else ""))
        time.sleep(0.02)


def runs(pid):
    """False for one that is gone, or ended and merely not yet collected by its parent."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def have_ipv6():
    with contextlib.suppress(OSError):
        return bool(pathlib.Path("/proc/net/if_inet6").read_text())
    return False


class Tool(subprocess.CompletedProcess):
    """What a run of helo gave."""

    @property
    def json(self):
        return json.loads(self.stdout)


def helo(*args, check=True, timeout=PATIENCE, user=None, env=None):
    command = [str(HELO), *map(str, args)]
    if user is not None:
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--", *command]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False,
                          encoding="utf-8", errors="surrogateescape", env={**os.environ, **(env or {})})
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return Tool(done.args, done.returncode, done.stdout, done.stderr)


class Node:
    """One helod. `peers` are addresses or other nodes."""

    def __init__(self, case, name="node", peers=(), listen=("127.0.0.1:0",), admin="127.0.0.1:0",
                 network="helo-it", options=(), data_dir=None, wrapper=(), env=None):
        self.name = name
        self._case = case
        self.data_dir = pathlib.Path(data_dir) if data_dir else case.scratch / name
        self.log_path = case.scratch / f"{name}.log"
        self._listen, self._admin, self._network = listen, admin, network
        self._peers, self._options = list(peers), list(options)
        self._wrapper, self._env = list(wrapper), env or {}
        self.process = None
        self.file = None
        case.addCleanup(self.cleanup)

    def command(self):
        words = [*self._wrapper, str(HELOD), "--data-dir", str(self.data_dir), "--admin", self._admin,
                 "--network", self._network]
        for address in self._listen:
            words += ["--listen", address]
        for peer in self._peers:
            words += ["--peer", peer.url if isinstance(peer, Node) else peer]
        return words + [str(option) for option in self._options]

    def launch(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **self._env})
        return self

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            (self.data_dir / "helod.json").unlink()
        self.launch()
        self.file = eventually(f"{self.name} is ready", self._ready, detail=self.log)
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.data_dir / "helod.json").read_text())
        return None

    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def id(self):
        return self.file["id"]

    @property
    def pid(self):
        return self.process.pid

    @property
    def admin(self):
        return self.file["admin"]

    def address(self, index=0):
        """HOST:PORT to dial: of a listener on all addresses, loopback's."""
        address = self.file["listen"][index]
        address = address.split("://", 1)[-1]
        host, port = address.rsplit(":", 1)
        host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
        return f"{host}:{port}"

    @property
    def url(self):
        return f"helo://{self.id}@{self.address()}"

    # --- asking it

    def helo(self, *args, **options):
        return helo("--data-dir", self.data_dir, *args, **options)

    def info(self):
        return self.helo("info", "--json").json

    def peers(self):
        return self.helo("peers", "--json").json["peers"]

    def peer_ids(self):
        return sorted(peer["id"] for peer in self.peers())

    def history(self):
        return self.helo("history", "--json").json["attempts"]

    def sees(self, *others, patience=PATIENCE):
        """Waits until exactly these are its peers."""
        wanted = sorted(other.id for other in others)
        eventually(f"{self.name} sees {[other.name for other in others]}", lambda: self.peer_ids() == wanted,
                   patience, detail=self.log)

    def attempt(self, label, direction=None, patience=PATIENCE, **fields):
        """Waits for an attempt that ended with this reason; `fields` are what else its `close` must say."""
        def find():
            for attempt in self.history():
                close = attempt["close"] or {}
                if close.get("label") == label and direction in (None, attempt["direction"]) and all(
                        close.get(name) == value for name, value in fields.items()):
                    return attempt
            return None
        return eventually(f"{self.name} has an attempt with {label} {direction or ''} {fields or ''}", find, patience,
                          detail=lambda: json.dumps(self.history(), indent=1)[:6000] + self.log())

    def watch(self, *args):
        return Watch(self._case, self, args)

    # --- ending it

    def signal(self, number):
        os.kill(self.process.pid, number)

    def stop(self, within=5.0):
        """SIGTERM; returns the seconds that it took."""
        began = time.monotonic()
        self.process.terminate()
        try:
            code = self.process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not stop within {within} s of SIGTERM:\n{self.log()}") from None
        if code != 0:
            raise AssertionError(f"{self.name} ended with {code} after SIGTERM:\n{self.log()}")
        self.check_clean_stop()
        return time.monotonic() - began

    def check_clean_stop(self):
        """That it stopped by itself: the last resort ends a hung process with 0 too, but says so."""
        if "not everything could be stopped" in self.log():
            raise AssertionError(f"{self.name} had to be cut short:\n{self.log()}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def cleanup(self):
        if self.process and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.kill()


class Watch:
    """`helo watch --json`, line by line."""

    def __init__(self, case, node, args=()):
        self.process = subprocess.Popen(
            [str(HELO), "--data-dir", str(node.data_dir), "watch", "--json", *map(str, args)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        self._lines = queue.Queue()
        self.seen = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        case.addCleanup(self.close)

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(json.loads(line))

    def next(self, patience=PATIENCE):
        try:
            message = self._lines.get(timeout=patience)
        except queue.Empty:
            raise AssertionError(f"no further event within {patience} s; seen: {self.seen}") from None
        self.seen.append(message)
        return message

    def until(self, what, condition, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            message = self.next(max(0.01, deadline - time.monotonic()))
            if condition(message):
                return message
        raise AssertionError(f"not seen within {patience} s: {what}; seen: {self.seen}")

    def ready(self):
        return self.until("the stream stands", lambda m: m.get("ready") is not None)

    def event(self, kind, **fields):
        return self.until(f"{kind} {fields}", lambda m: m.get("event") and m["event"]["kind"] == kind and all(
            m["event"][name] == value for name, value in fields.items()))["event"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()
        self.process.stderr.close()


class Case(unittest.TestCase):
    """A test with a folder of its own, gone when it succeeds."""

    def setUp(self):
        # Short, so that Unix socket paths would fit, and outside the tree.
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="helo-it-"))
        self.scratch.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def node(self, name="node", **options):
        return Node(self, name, **options)


def main():
    """Runs the calling file's tests. Exits with 77 if every one of them was skipped; skips are said loudly."""
    program = unittest.main(exit=False, verbosity=2, buffer=False)
    result = program.result
    for test, reason in result.skipped:
        print(f"SKIPPED {test.id()}: {reason}", file=sys.stderr)
    if not result.wasSuccessful():
        sys.exit(1)
    # A class that was skipped whole counts as one skip and no run.
    if result.skipped and len(result.skipped) >= result.testsRun:
        sys.exit(SKIPPED)
    if result.testsRun == 0:
        sys.exit("no test ran")
