"""What the conformance checks share: the list of checks, a helod for each set of options, and sentences of the page as
expectations."""

import contextlib
import dataclasses
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

import helo_wire as w

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from kit import HELOD, eventually  # noqa: E402,F401  pylint: disable=wrong-import-position,unused-import

NETWORK = "helo-wire-test"
PATIENCE = 20.0  # seconds, for what takes milliseconds on a quiet machine

CHECKS = []  # (name, function, options of the node or None)


def check(name, *options, **parameters):
    """Registers a check. `options`: those of the node it runs against, shared by all checks with the same; a check that
    starts its own takes none and says `own=True`."""
    own = parameters.pop("own", False)

    def register(function):
        CHECKS.append((name, lambda lab, node: function(lab, node, **parameters), None if own else options))
        return function
    return register


class Helod:
    """One node in a folder of its own, on ports that the kernel chooses."""

    def __init__(self, binary, folder, options=()):
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [binary, "--data-dir", self.data, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--network",
                 NETWORK, "--max-inbound", "256", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": "/usr/bin:/bin"})
        try:
            info = eventually("helod is ready", self._ready, PATIENCE, detail=self.log_text)
        except AssertionError:
            self.stop()
            raise
        self.id = info["id"]
        host, _, port = info["listen"][0].rpartition(":")
        self.address = (host, int(port))
        self._certificate = None

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"helod ended with {self.process.returncode}:\n{self.log_text()}")
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.data / "helod.json").read_text())
        return None

    def log_text(self):
        return self.log.read_text(errors="replace")

    def certificate(self, lab):
        """Its certificate in DER, as it shows it to whoever dials it."""
        if self._certificate is None:
            with w.dial(self.address, lab.identity()) as link:
                self._certificate = link.remote_certificate
        return self._certificate

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        if self.process.poll() is None:
            self.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Lab:
    """Nodes and identities for checks that run in several threads."""

    def __init__(self, binary):
        self.binary = str(pathlib.Path(binary).resolve())
        self._scratch = tempfile.TemporaryDirectory(prefix="helo-wire-")
        self.folder = pathlib.Path(self._scratch.name)
        self._lock = threading.Lock()
        self._nodes = {}
        self._count = 0

    def new_folder(self):
        with self._lock:
            self._count += 1
            folder = self.folder / str(self._count)
        folder.mkdir()
        return folder

    def identity(self, below=None, above=None):
        """A fresh one; where it matters, with an id below or above another."""
        while True:
            one = w.Identity.create(self.folder)
            if (below is None or one.id < below) and (above is None or one.id > above):
                return one

    def node(self, *options):
        """A node of the caller's own."""
        return Helod(self.binary, self.new_folder(), options)

    def shared_node(self, options):
        with self._lock:
            entry = self._nodes.setdefault(options, [threading.Lock(), None])
        with entry[0]:
            if entry[1] is None:
                entry[1] = self.node(*options)
            return entry[1]

    def close(self):
        """Stops the shared nodes; returns what went wrong with them on the way."""
        wrong = []
        for options, (_, node) in self._nodes.items():
            if node is None:
                continue
            if node.process.poll() is not None:
                ended_how = "died"
            else:
                node.stop()
                ended_how = "ended"
            if ended_how == "died" or node.process.returncode != 0:
                wrong.append(f"helod {' '.join(options)} {ended_how} with {node.process.returncode}:\n"
                             f"{node.log_text()[-4000:]}")
        self._scratch.cleanup()
        return wrong


# ---- what the page says, as expectations -------------------------------------------------------------------------

def require(condition, what):
    if not condition:
        raise AssertionError(what)


def names(got):
    return ", ".join(map(str, got)) or "nothing"


def valid_text(text):
    return len(text) <= 256 and all(0x20 <= byte <= 0x7E for byte in text)


def judge_frame(one):
    """Holds a core frame of the node to sections 2 and 4."""
    if one.channel != w.CORE:
        return
    require(one.type in w.LIMITS, f"a core frame of unknown type {one.type}")
    require(len(one.payload) <= w.LIMITS[one.type], f"{one.name} of {len(one.payload)} bytes")
    message = one.message
    if one.type == w.HELLO:
        judge_hello(message)
    if one.type in (w.VERDICT, w.DISCONNECT):
        require(valid_text(message["text"]), f"text {message['text']!r}")
        require(message["code"] in w.CODES, f"code {message['code']} is not the page's")


def judge_hello(hello):
    require(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", hello["network"]), f"network {hello['network']!r}")
    require(len(hello["genesis"]) <= 64, "genesis")
    require(re.fullmatch(r"[ -~]{1,128}", hello["user_agent"]), f"user agent {hello['user_agent']!r}")
    require(len(hello["offers"]) <= 64 and len(hello["advertised"]) <= 8, "too many offers or addresses")
    for one in hello["offers"]:
        require(1 <= one["channel"] <= 65535 and re.fullmatch(r"[a-z][a-z0-9-]{0,15}", one["name"])
                and 1 <= one["version"] <= 65535 and 1 <= one["message_count"] <= 65535
                and 1 <= one["max_message_bytes"] <= 16777216, f"offer {one}")
    require(len({one["channel"] for one in hello["offers"]}) == len(hello["offers"]), "a channel number twice")
    for one in [*hello["advertised"], *([hello["observed"]] if hello["observed"] else [])]:
        require(len(one["ip"]) in (4, 16) and 1 <= one["port"] <= 65535, f"endpoint {one}")
    require(hello["purpose"] in (0, 1), "purpose")


def ended(link, timeout=PATIENCE):
    """Every frame up to the end, each held to the page, and how it ended."""
    got, how = link.until_end(timeout)
    for one in got:
        judge_frame(one)
    return got, how


def is_core(one, kind, code=None):
    return (one.channel, one.type) == (w.CORE, kind) and (code is None or one.message["code"] == w.CODE[code])


def expect_refusal(link, code, hello=True, timeout=PATIENCE):
    """HELLO (unless it came before) and VERDICT(code), close_notify and the end; returns the verdict."""
    got, how = ended(link, timeout)
    wanted = f"{'HELLO, ' if hello else ''}VERDICT({code})"
    good = len(got) == (2 if hello else 1) and is_core(got[-1], w.VERDICT, code) and (not hello or
                                                                                      is_core(got[0], w.HELLO))
    require(good, f"instead of {wanted} came {names(got)}, then {how}")
    require(how == "close_notify", f"after {wanted} no close_notify, but {how}")
    return got[-1].message


def expect_disconnect(link, code, timeout=PATIENCE, skip=lambda one: False):
    """DISCONNECT(code), close_notify and the end; `skip` says which frames may come before."""
    got, how = ended(link, timeout)
    rest = [one for one in got if not skip(one)]
    codes = (code,) if isinstance(code, str) else code
    good = len(rest) == 1 and any(is_core(rest[0], w.DISCONNECT, one) for one in codes)
    require(good, f"instead of DISCONNECT({' or '.join(codes)}) came {names(rest)}, then {how}")
    require(how == "close_notify", f"after DISCONNECT no close_notify, but {how}")
    return rest[0].message


def expect_shutdown(link):
    """DISCONNECT(SHUTTING_DOWN), before which plugins that stop may have withdrawn their names."""
    return expect_disconnect(link, "SHUTTING_DOWN", skip=lambda one: is_core(one, w.WITHDRAW))


def expect_silent_end(link, timeout=PATIENCE, how="close_notify"):
    """No frame any more, and the end."""
    got, ending = ended(link, timeout)
    require(not got, f"instead of nothing came {names(got)}")
    require(ending == how, f"ended by {ending}, not {how}")


def expect_alive(link, nonce=0x1122334455667788):
    """Up and served: a PING is answered. Returns what came before the PONG."""
    link.send(w.CORE, w.PING, w.ping(nonce))
    before = []
    while True:
        try:
            one = link.receive(PATIENCE)
        except (w.Ended, w.TimedOut) as error:
            raise AssertionError(f"no PONG but {names(before)}, then {type(error).__name__} {error}") from error
        judge_frame(one)
        if is_core(one, w.PONG) and one.message["nonce"] == nonce:
            return before
        before.append(one)


def hello(**more):
    return w.hello(**{"network": NETWORK, **more})


def dial(lab, node, identity=None):
    return w.dial(node.address, identity or lab.identity(), PATIENCE)


def joined(lab, node, identity=None, offers=(w.ECHO,), **more):
    """A link that is up, and the node's HELLO."""
    link = dial(lab, node, identity)
    theirs = link.join(hello(offers=offers, **more), PATIENCE)
    return link, theirs


def echo_channel(theirs):
    for one in theirs["offers"]:
        if (one["name"], one["version"], one["message_count"]) == ("echo", 1, 2):
            return one["channel"]
    raise AssertionError(f"no echo among {theirs['offers']}")


@dataclasses.dataclass
class Took:
    """Holds a duration to limits, with room for a busy machine above."""
    least: float
    most: float

    def __enter__(self):
        self._begun = time.monotonic()
        return self

    def __exit__(self, kind, *_):
        took = time.monotonic() - self._begun
        if kind is None:
            require(self.least <= took <= self.most, f"took {took:.2f} s, not {self.least} to {self.most}")
