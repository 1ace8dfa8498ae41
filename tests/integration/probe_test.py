"""helo probe against everything that can stand at an address: nodes that accept and refuse, fakes that misbehave, and
(as root, in network namespaces) firewalls, routes and full queues. What it finds must be told apart by name."""

import contextlib
import ctypes
import http.server
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

import kit

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "wire_client"))
import helo_wire as w  # noqa: E402  pylint: disable=wrong-import-position

OK, FAILED, USAGE, REFUSED, TIMED_OUT = 0, 1, 2, 6, 7
NETWORK = "helo-it"
MOST_BYTES, ONE_READ = 256 * 1024, 16 * 1024  # what a probe listens to, and reads at once


def address_of(sock):
    return "%s:%d" % sock.getsockname()[:2]


class Fake:
    """Serves connections, each in a thread with `serve(sock)`, until the test ends."""

    def __init__(self, case, serve, sock=None):
        self.sock = sock or socket.create_server(("127.0.0.1", 0))
        self.address = address_of(self.sock)
        self._serve, self._threads, self._taken = serve, [], []
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        case.addCleanup(self.close)

    def _accept(self):
        while True:
            try:
                taken, _ = self.sock.accept()
            except OSError:
                return
            self._taken.append(taken)
            thread = threading.Thread(target=self._run, args=(taken,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _run(self, taken):
        with contextlib.suppress(OSError, w.Ended, w.TimedOut, AssertionError):
            self._serve(taken)

    def close(self):
        self.over.set()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for taken in self._taken:
            taken.close()
        self._thread.join(5)


class ProbeCase(kit.Case):
    prefix = ()

    def probe(self, address, *args, network=NETWORK, env=None, timeout=kit.PATIENCE):
        command = [*self.prefix, str(kit.HELO), "probe", address, "--network", network, *map(str, args)]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False,
                              encoding="utf-8", env={**os.environ, **(env or {})})

    def finds(self, finding, code, address, *args, **options):
        """The probe of `address` ends with this finding and exit code, in JSON; what it says is whole. Returns it."""
        done = self.probe(address, "--json", *args, **options)
        tool = kit.Tool(done.args, done.returncode, done.stdout, done.stderr)
        self.assertEqual((finding, code), (tool.json.get("finding"), done.returncode), done.stdout + done.stderr)
        if finding != "accepted":
            for part in ("sentence", "cause", "remedy"):
                self.assertTrue(tool.json[part].strip(), tool.json)
        return tool.json


class Nodes(ProbeCase):
    """Against real nodes."""

    def test_a_node_that_would_accept_and_nothing_changes_there(self):
        node = self.node(options=["--max-inbound", "1"]).start()
        for _ in range(2):  # a slot that the first had reserved would refuse the second
            found = self.finds("accepted", OK, node.address())
            self.assertEqual(["resolve", "connect", "tls", "hello", "verdict"], [s["stage"] for s in found["steps"]])
            self.assertTrue(all(step["ok"] for step in found["steps"]))
            self.assertEqual((node.id, NETWORK), (found["peer"]["id"], found["peer"]["network"]))
            self.assertTrue(found["seen"]["certificate_requested"])
            self.assertLess(abs(found["peer"]["skew_us"]), 1_000_000)
        self.assertEqual([], node.peers())
        node.attempt("PROBE", "in", decider="them")

    def test_by_id_and_by_name_and_for_people(self):
        node = self.node().start()
        port = node.address().rsplit(":", 1)[1]
        done = self.probe(f"helo://{node.id}@localhost:{port}")
        self.assertEqual(OK, done.returncode, done.stderr)
        self.assertIn("would be accepted", done.stdout)
        self.assertIn(node.id, done.stdout)

    @unittest.skipUnless(kit.have_ipv6(), "this machine has no IPv6")
    def test_over_ipv6(self):
        node = self.node(listen=["[::1]:0"]).start()
        found = self.finds("accepted", OK, node.address())
        self.assertTrue(found["peer"]["observed"].startswith("[::1]:"), found)
        self.finds("closed-port", FAILED, "[::1]:1")

    def test_another_key_than_the_one_asked_for(self):
        node = self.node().start()
        found = self.finds("wrong-id", FAILED, f"helo://{'11' * 32}@{node.address()}")
        self.assertEqual(("UNEXPECTED_ID", "us"), (found["close"]["label"], found["close"]["decider"]))
        self.assertIn(node.id, found["sentence"])

    def test_another_network_and_genesis(self):
        node = self.node(network="helo-red", options=["--genesis", "aa"]).start()
        found = self.finds("wrong-network", REFUSED, node.address())
        self.assertIn("helo-red", found["remedy"])
        self.finds("wrong-genesis", REFUSED, node.address(), "--genesis", "bb", network="helo-red")
        self.finds("accepted", OK, node.address(), "--genesis", "aa", network="helo-red")

    def test_the_network_may_come_from_the_environment(self):
        node = self.node(network="helo-red").start()
        done = kit.helo("probe", node.address(), env={"HELO_NETWORK": "helo-red"})
        self.assertEqual(OK, done.returncode)

    def test_full(self):
        node = self.node("full", options=["--max-inbound", "1"]).start()
        first = self.node("first", peers=[node]).start()
        node.sees(first)
        found = self.finds("full", REFUSED, node.address())
        self.assertEqual("them", found["close"]["decider"])

    def test_banned(self):
        node = self.node("node").start()
        other = self.node("other", peers=[node]).start()
        node.sees(other)
        node.helo("drop", other.id, "--for", "300s", "--reason", "upgrade, please")
        found = self.finds("banned", REFUSED, node.address(), "--key", other.data_dir)
        self.assertTrue(0 < found["close"]["retry_after_s"] <= 300, found)
        self.finds("accepted", OK, node.address())

    def test_with_the_key_of_the_node_itself(self):
        node = self.node().start()
        self.finds("self", FAILED, node.address(), "--key", node.data_dir)

    def test_a_capability_that_is_required(self):
        node = self.node(options=["--require-capability", "echo"]).start()
        self.finds("no-shared-capability", REFUSED, node.address())
        self.finds("accepted", OK, node.address(), "--offer", "echo/1:2")

    def test_the_admin_port_is_named_as_such(self):
        node = self.node().start()
        self.assertIn("4357", self.finds("http2", FAILED, node.admin)["cause"])

    def test_a_node_that_listens_on_another_address_of_this_machine(self):
        node = self.node(listen=["127.0.0.1:0"]).start()
        port = node.address().rsplit(":", 1)[1]
        found = self.finds("other-address", FAILED, f"127.0.0.2:{port}")
        self.assertIn(f"127.0.0.1:{port}", found["remedy"])

    @unittest.skipUnless(kit.have_ipv6(), "this machine has no IPv6")
    def test_a_node_that_listens_on_every_address_of_the_other_family(self):
        node = self.node(listen=["0.0.0.0:0"]).start()
        port = node.address().rsplit(":", 1)[1]
        found = self.finds("other-address", FAILED, f"[::1]:{port}")
        self.assertIn(f"Dial 127.0.0.1:{port}", found["remedy"])  # 0.0.0.0 is no address to dial


class Fakes(ProbeCase):
    """Against what is no node, or a bad one, on loopback."""

    def fake(self, serve):
        return Fake(self, serve)

    def identity(self, *algorithm):
        return w.Identity.create(self.scratch, algorithm or ("ed25519",))

    def tls(self, context, then=None):
        """A TLS server; `then(link)` goes on once the handshake is done."""
        def serve(sock):
            link = w.Link(sock, context, dialer=False).handshake()
            if then:
                then(link)
        return self.fake(serve)

    def test_a_closed_port(self):
        with socket.socket() as bound:  # bound and not listening: nobody else gets the port
            bound.bind(("127.0.0.1", 0))
            found = self.finds("closed-port", FAILED, address_of(bound))
        self.assertEqual(("REFUSED", "ECONNREFUSED"), (found["close"]["label"], found["seen"]["errno"]))

    def test_no_such_name_and_no_such_address(self):
        self.assertEqual(USAGE, self.probe("999.999.999.999:8080").returncode)
        self.assertEqual(USAGE, self.probe("localhost").returncode)
        self.assertEqual(USAGE, self.probe("localhost:1", network="No Such").returncode)
        self.assertEqual(USAGE, self.probe("localhost:1", "--genesis", "xyz").returncode)
        for offers in (["echo"], ["Echo/1:2"], ["echo/1:0"], ["echo/1:2", "echo/1:3"]):
            options = [word for offer in offers for word in ("--offer", offer)]
            self.assertEqual(USAGE, self.probe("localhost:1", *options).returncode, offers)

    def test_a_full_backlog(self):
        with socket.socket() as listener, contextlib.ExitStack() as stack:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            fill(listener.getsockname(), stack)
            found = self.finds("full-backlog", TIMED_OUT, address_of(listener), "--timeout", "1500ms")
        self.assertIn(str(os.getpid()), found["sentence"])
        self.assertIn("1 connection waits", found["cause"])
        self.assertEqual("CONNECT_TIMEOUT", found["close"]["label"])

    def test_a_listener_that_never_answers(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts for it
            found = self.finds("silent", TIMED_OUT, address_of(listener), "--timeout", "700ms")
        self.assertEqual(("STAGE_TIMEOUT", "tls"), (found["close"]["label"], found["close"]["stage"]))

    def test_one_that_trickles_cannot_extend_its_time(self):
        def trickle(sock):
            for byte in b"\x16\x03\x03\x40\x00" + bytes(4000):
                sock.sendall(bytes([byte]))
                time.sleep(0.02)  # its pace, not a wait for anything
        found = self.finds("trickles", TIMED_OUT, self.fake(trickle).address, "--timeout", "700ms")
        self.assertGreater(found["seen"]["bytes_received"], 0)

    def test_one_that_trickles_after_tls(self):
        def trickle(link):
            for byte in w.frame(w.CORE, w.HELLO, bytes(8000)):
                link.send_raw(bytes([byte]))
                time.sleep(0.02)
        fake = self.tls(w.server_context(self.identity()), trickle)
        found = self.finds("trickles", TIMED_OUT, fake.address, "--timeout", "1s")
        self.assertEqual("hello", found["close"]["stage"])

    def test_one_that_is_silent_after_tls(self):
        fake = self.tls(w.server_context(self.identity()), lambda link: link.until_end())
        found = self.finds("silent-after-tls", TIMED_OUT, fake.address, "--timeout", "1s")
        self.assertFalse(found["seen"]["certificate_requested"])

    def test_an_http_server(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        server.RequestHandlerClass.log_message = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        found = self.finds("http", FAILED, address_of(server.socket))
        self.assertEqual("NOT_TLS", found["close"]["label"])

    def test_what_a_stranger_wrote_cannot_steer_a_terminal(self):
        address = self.fake(lambda sock: sock.sendall(b"\x1b]0;owned\x07\x1b[2J'\"\xff\n" * 20)).address
        done = self.probe(address)
        self.assertEqual(FAILED, done.returncode)
        self.assertIn("\\x1b]0;owned\\x07", done.stdout)
        self.assertFalse([c for c in done.stdout if not c.isprintable() and c != "\n"], repr(done.stdout))

    def test_a_tls_server_that_is_not_helo(self):
        rsa = w.server_context(self.identity("rsa:2048"), alpn=())
        self.finds("tls-not-helo", FAILED, self.tls(rsa).address)
        old = w.server_context(self.identity("rsa:2048"), alpn=(), version=w.ssl.TLSVersion.TLSv1_2)
        found = self.finds("tls-not-helo", FAILED, self.tls(old).address)
        self.assertEqual(70, found["seen"]["tls_alert"])

    def test_a_tls_server_without_a_certificate(self):
        context = w.ssl.SSLContext(w.ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols([w.ALPN])
        found = self.finds("tls-not-helo", FAILED, self.tls(context).address)
        self.assertIn("has no certificate", found["cause"])

    def test_wrong_alpn_found_here_and_said_by_the_other_side(self):
        for alpn in ((), ("h2",)):  # a server that knows no common one goes on without
            fake = self.tls(w.server_context(self.identity(), alpn=alpn), lambda link: link.until_end())
            self.assertEqual("us", self.finds("wrong-alpn", FAILED, fake.address)["close"]["decider"])
        alert = self.fake(lambda sock: (sock.recv(4096), sock.sendall(bytes.fromhex("15030300020278"))))
        self.assertEqual("them", self.finds("wrong-alpn", FAILED, alert.address)["close"]["decider"])

    def test_a_certificate_that_is_not_one_of_helo(self):
        mine, other = self.identity(), self.identity()
        chain = self.scratch / "chain.crt"
        chain.write_text(mine.certificate.read_text() + other.certificate.read_text())
        context = w.server_context(w.Identity(chain, mine.key, mine.id))
        self.assertIn("more than one", self.finds("bad-certificate", FAILED, self.tls(context).address)["sentence"])

    def test_one_that_does_not_ask_for_our_certificate(self):
        fake = self.tls(w.server_context(self.identity()), lambda link: link.sock.close())
        found = self.finds("closed-early", FAILED, fake.address)
        self.assertFalse(found["seen"]["certificate_requested"])
        self.assertIn("no certificate was requested", found["cause"])

    def test_the_alerts_of_a_gate(self):
        for byte, finding in ((49, "gate-not-welcome"), (80, "gate-no-room")):
            record = bytes.fromhex("150303000202") + bytes([byte])
            self.finds(finding, REFUSED, self.fake(lambda sock, r=record: (sock.recv(4096), sock.sendall(r))).address)

    def test_one_that_resets_and_one_that_closes(self):
        def reset(sock):
            sock.recv(1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        self.finds("reset", FAILED, self.fake(reset).address)
        self.finds("closed-early", FAILED, self.fake(lambda sock: (sock.recv(4096), sock.shutdown(1))).address)

    def test_one_that_sends_much_and_says_little(self):
        # A byte a record, padded to 16 KiB: by TLS's own rules and helo's nothing is wrong with it yet.
        me = self.identity()
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-tls1_3", "-alpn", w.ALPN,
                   "-cert", str(me.certificate), "-key", str(me.key), "-num_tickets", "0", "-record_padding", "16384"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
            self.addCleanup(server.kill)
            line = next(line for line in server.stdout if line.startswith(b"ACCEPT "))
            over = threading.Event()

            def trickle():
                with contextlib.suppress(OSError):
                    for byte in w.frame(w.CORE, w.HELLO, bytes(8000))[:400]:
                        server.stdin.write(bytes([byte]))
                        server.stdin.flush()
                        if over.wait(0.02):  # its pace, so that each byte is a record
                            return
            thread = threading.Thread(target=trickle, daemon=True)
            thread.start()
            try:
                found = self.finds("flood", FAILED, line.split()[1].decode())
            finally:
                over.set()
                thread.join(kit.PATIENCE)
                server.kill()
        self.assertEqual(("FLOOD", "us", "hello"), tuple(found["close"][key] for key in ("label", "decider", "stage")))
        self.assertTrue(MOST_BYTES < found["seen"]["bytes_received"] <= MOST_BYTES + ONE_READ, found["seen"])

    def test_after_the_verdict_nobody_can_hold_the_probe(self):
        def hold(link):
            link.receive()
            link.send_raw(w.frame(w.CORE, w.HELLO, w.hello(network=NETWORK)) + w.frame(w.CORE, w.VERDICT))
            self.told = link.receive()
            while link.send_some(w.frame(w.CORE, 99, bytes(1000)) * 64):  # and never closes
                pass
        fake = self.tls(w.server_context(self.identity()), hold)
        found = self.finds("accepted", OK, fake.address)
        self.assertLessEqual(found["seen"]["bytes_received"], MOST_BYTES + ONE_READ)
        self.assertEqual((w.VERDICT, w.CODE["PROBE"]), (self.told.type, self.told.message["code"]))

    def test_a_refusal_with_hostile_words_and_one_with_an_unknown_code(self):
        def refuse(code, text):
            def then(link):
                link.receive()
                link.send_raw(w.frame(w.CORE, w.HELLO, w.hello(network=NETWORK))
                              + w.frame(w.CORE, w.VERDICT, w.verdict(code, text, 7)))
                link.until_end()
            return self.tls(w.server_context(self.identity()), then).address
        found = self.finds("full", REFUSED, refuse(1, b"\x1b[31mno"))
        self.assertEqual(("", 7), (found["close"]["text"], found["close"]["retry_after_s"]))
        self.assertEqual(57, self.finds("internal", REFUSED, refuse(57, b"so"))["close"]["wire_code"])

    def test_a_hello_that_breaks_the_rules(self):
        def broken(link):
            link.receive()
            link.send(w.CORE, w.HELLO, b"\xff\xff\xff")
            link.send(w.CORE, w.VERDICT)
            link.until_end()
        fake = self.tls(w.server_context(self.identity()), broken)
        found = self.finds("malformed", FAILED, fake.address)
        self.assertEqual("us", found["close"]["decider"])

    @unittest.skipUnless(shutil.which("strace"), "no strace here")
    def test_a_policy_that_forbids_connecting_and_no_descriptor_left(self):
        for call, error, finding, label in (("connect", "EPERM", "forbidden-here", "FILTERED"),
                                            ("socket", "EMFILE", "no-fd", "NO_FD")):
            self.prefix = ("strace", "-f", "-o", "/dev/null", f"--inject={call}:error={error}")
            found = self.finds(finding, FAILED, "127.0.0.1:1")
            self.assertEqual(label, found["close"]["label"])


def fill(address, stack, limit=64):
    """Connects until the listener at `address` takes no more; the sockets live as long as `stack`."""
    for _ in range(limit):
        sock = stack.enter_context(socket.socket())
        sock.settimeout(0.3)
        try:
            sock.connect(address)
        except TimeoutError:
            return
    raise AssertionError(f"{address} took {limit} connections and is not full")


def namespaces_missing():
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    for program in ("ip", "nft", "ss", "sysctl"):
        if not shutil.which(program):
            return f"needs {program}"
    name = f"helo-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode != 0:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return None


MISSING = namespaces_missing()


@unittest.skipIf(MISSING, MISSING)
class Networks(ProbeCase):
    """Two namespaces and a cable: 10.203.0.1 probes 10.203.0.2."""

    HERE, THERE = "10.203.0.1", "10.203.0.2"

    def setUp(self):
        super().setUp()
        self.here, self.there = (f"helo-it-{os.getpid()}-{end}" for end in "ab")
        for name in (self.here, self.there):
            self.run_ip("netns", "add", name)
            self.addCleanup(self.run_ip, "netns", "del", name)
        self.run_ip("link", "add", "v0", "netns", self.here, "type", "veth", "peer", "name", "v0", "netns", self.there)
        for name, address in ((self.here, self.HERE), (self.there, self.THERE)):
            self.run_ip("-n", name, "addr", "add", f"{address}/24", "dev", "v0")
            for link in ("lo", "v0"):
                self.run_ip("-n", name, "link", "set", link, "up")
            self.nft(name, "add", "table", "inet", "t")
            for hook in ("input", "output"):
                self.nft(name, f"add chain inet t {hook} {{ type filter hook {hook} priority 0; }}")
        self.prefix = ("ip", "netns", "exec", self.here)

    def run_ip(self, *words):
        subprocess.run(["ip", *words], check=True)

    def nft(self, name, *words):
        subprocess.run(["ip", "netns", "exec", name, "nft", *words], check=True)

    def rule(self, name, hook, rule):
        self.nft(name, "flush", "chain", "inet", "t", hook)
        if rule:
            self.nft(name, "add", "rule", "inet", "t", hook, *rule.split())

    def inside(self, name, work):
        """`work()` in a thread of that namespace: sockets that it makes stay there."""
        result = []

        def run():
            with open(f"/run/netns/{name}", "rb") as handle:
                if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), 0x40000000) == 0:  # CLONE_NEWNET
                    result.append(work())
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(kit.PATIENCE)
        self.assertTrue(result, f"nothing came of the work in {name}")
        return result[0]

    def listener(self, backlog):
        def make():
            sock = socket.socket()
            sock.bind((self.THERE, 0))
            sock.listen(backlog)
            return sock
        sock = self.inside(self.there, make)
        self.addCleanup(sock.close)
        return sock

    def fill_there(self, listener):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.inside(self.there, lambda: fill(listener.getsockname(), stack) or True)

    def test_a_node_behind_the_cable(self):
        node = self.node(listen=[f"{self.THERE}:4356"], wrapper=["ip", "netns", "exec", self.there]).start()
        self.finds("accepted", OK, f"helo://{node.id}@{self.THERE}:4356")

    def test_a_closed_port_and_a_firewall_that_rejects(self):
        self.finds("closed-port", FAILED, f"{self.THERE}:4356")
        for how, code in (("reject", 3), ("reject with icmp admin-prohibited", 13)):
            self.rule(self.there, "input", f"tcp dport 4356 {how}")
            found = self.finds("rejected", FAILED, f"{self.THERE}:4356")
            icmp = found["seen"]["icmp"]
            self.assertEqual((self.THERE, 3, code, False),
                             (icmp["from"], icmp["type"], icmp["code"], icmp["from_this_machine"]))
            self.assertEqual("FILTERED", found["close"]["label"])

    def test_rules_of_this_machine(self):
        self.rule(self.here, "output", "tcp dport 4356 reject")
        self.assertTrue(self.finds("rejected-here", FAILED, f"{self.THERE}:4356")["seen"]["icmp"]["from_this_machine"])
        self.rule(self.here, "output", "tcp dport 4356 drop")
        self.finds("dropped-here", TIMED_OUT, f"{self.THERE}:4356", "--timeout", "2s")
        self.rule(self.here, "output", f"ip daddr {self.THERE} drop")
        found = self.finds("dropped-here", TIMED_OUT, f"{self.THERE}:4356", "--timeout", "2s")
        self.assertEqual("forbidden", found["seen"]["ping"])

    def test_a_listener_of_this_machine_behind_a_rule_is_not_taken_for_a_full_one(self):
        def make():
            return socket.create_server((self.HERE, 4356))
        self.addCleanup(self.inside(self.here, make).close)
        self.rule(self.here, "input", "tcp dport 4356 drop")
        found = self.finds("dropped-here", TIMED_OUT, f"{self.HERE}:4356", "--timeout", "1500ms")
        self.assertIn(str(os.getpid()), found["sentence"])

    def test_routes_of_this_machine(self):
        for last, kind, finding, errno_name in ((1, "blackhole", "blackhole-here", "EINVAL"),
                                                (2, "prohibit", "prohibited-here", "EACCES"),
                                                (3, "unreachable", "no-neighbour", "EHOSTUNREACH")):
            self.run_ip("-n", self.here, "route", "add", kind, f"10.204.0.{last}")
            found = self.finds(finding, FAILED, f"10.204.0.{last}:4356")
            self.assertEqual(errno_name, found["seen"]["errno"])
        self.finds("no-route", FAILED, "10.205.0.1:4356")

    def test_an_address_that_nobody_has(self):
        self.finds("no-neighbour", TIMED_OUT, "10.203.0.77:4356", "--timeout", "1500ms")

    def test_a_port_that_is_dropped_and_a_machine_that_is(self):
        self.rule(self.there, "input", "tcp dport 4356 drop")
        found = self.finds("port-silent", TIMED_OUT, f"{self.THERE}:4356", "--timeout", "2s")
        self.assertEqual("answered", found["seen"]["ping"])
        self.rule(self.there, "input", f"ip saddr {self.HERE} drop")
        found = self.finds("no-answer", TIMED_OUT, f"{self.THERE}:4356", "--timeout", "2s")
        self.assertEqual("silent", found["seen"]["ping"])

    def with_files(self, **files):
        """The prefix of a command that sees these texts as /etc/NAME."""
        mounts = []
        for name, text in files.items():
            path = self.scratch / name
            path.write_text(text)
            target = f"/etc/{name.replace('_', '.')}"
            mounts.append(f"mount --bind {path} {os.path.realpath(target)}")
        return ("unshare", "-m", "sh", "-ec", "\n".join([*mounts, 'exec "$@"']), "sh")

    def test_a_name_server_that_does_not_answer(self):
        self.rule(self.there, "input", "udp dport 53 drop")
        self.prefix = (*self.prefix, *self.with_files(resolv_conf=f"nameserver {self.THERE}\n"))
        found = self.finds("name-server-silent", TIMED_OUT, "node1.example.org:4356", "--timeout", "1s")
        self.assertEqual(("RESOLVE", "resolve"), (found["close"]["label"], found["close"]["stage"]))

    def test_a_name_with_two_addresses_of_which_one_answers(self):
        self.prefix = (*self.prefix, *self.with_files(hosts="127.0.0.2 two\n127.0.0.3 two\n"))
        tries = []
        for port, address in ((4356, "127.0.0.2"), (4357, "127.0.0.3")):
            self.node(address, listen=[f"{address}:{port}"], wrapper=["ip", "netns", "exec", self.here]).start()
            found = self.finds("accepted", OK, f"two:{port}")
            connects = [step["ok"] for step in found["steps"] if step["stage"] == "connect"]
            self.assertTrue(connects[-1] and not any(connects[:-1]), found)
            tries.append(len(connects))
        self.assertEqual([1, 2], sorted(tries))  # whatever the order: once the dead one came first

    def test_a_full_backlog_of_another_machine(self):
        listener = self.listener(0)
        self.fill_there(listener)
        found = self.finds("port-silent", TIMED_OUT, address_of(listener), "--timeout", "2s")
        self.assertIn("accept queue is full", found["cause"])

    def overflow(self, abort, timeout):
        """The queue fills between the probe's SYN and its ACK, which are held up by a rule for as long."""
        subprocess.run(["ip", "netns", "exec", self.there, "sysctl", "-qw", f"net.ipv4.tcp_abort_on_overflow={abort}"],
                       check=True)
        listener = self.listener(0)
        self.rule(self.there, "input", f"ip saddr {self.HERE} tcp flags & (syn|ack) == ack drop")
        command = [*self.prefix, str(kit.HELO), "probe", address_of(listener), "--network", NETWORK, "--json",
                   "--timeout", timeout]
        with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
            kit.eventually("a handshake is half done", lambda: subprocess.run(
                ["ip", "netns", "exec", self.there, "ss", "-Htn", "state", "syn-recv"], capture_output=True,
                check=True).stdout.strip())
            self.fill_there(listener)
            self.rule(self.there, "input", "")
            out, _ = process.communicate(timeout=kit.PATIENCE)
        return kit.Tool(command, process.returncode, out, "")

    def test_a_queue_that_fills_at_the_last_step(self):
        done = self.overflow(0, "4s")
        self.assertEqual(("not-acknowledged", TIMED_OUT), (done.json["finding"], done.returncode), done.stdout)

    def test_a_queue_that_fills_at_the_last_step_with_tcp_abort_on_overflow(self):
        done = self.overflow(1, "10s")
        self.assertEqual(("reset", FAILED), (done.json["finding"], done.returncode), done.stdout)
        self.assertIn("tcp_abort_on_overflow", done.json["cause"])


if __name__ == "__main__":
    kit.main()
