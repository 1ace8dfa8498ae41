"""What holds once a connection is up: sections 2, 5, 7 and 8."""

import os
import select
import subprocess
import time

import helo_wire as w
from conformance_kit import (PATIENCE, Took, check, echo_channel, ended, expect_alive, expect_disconnect,
                             expect_silent_end, hello, is_core, joined, names, require, expect_shutdown)

RESTLESS = ("--ping-idle", "500ms", "--ping-interval", "1s", "--ping-timeout", "2s")


def any_ping(one):
    return is_core(one, w.PING)


def not_core(one):
    return one.channel != w.CORE


# ---- PING and PONG -----------------------------------------------------------------------------------------------

@check("ping: ten in a burst are answered, once each, in order, with the node's clock")
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.send_raw(b"".join(w.frame(w.CORE, w.PING, w.ping(nonce)) for nonce in range(10)))
        for nonce in range(10):
            got = link.receive(PATIENCE)
            require(is_core(got, w.PONG) and got.message["nonce"] == nonce, str(got))
            require(abs(got.message["clock_us"] / 1e6 - time.time()) < 60, str(got))


@check("ping: the twentieth within 10 s is FLOOD at the latest")
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.send_raw(b"".join(w.frame(w.CORE, w.PING, w.ping(nonce)) for nonce in range(20)))
        expect_disconnect(link, "FLOOD", skip=lambda one: is_core(one, w.PONG))


@check("ping: an empty one has the nonce 0, unknown fields are not echoed")
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.send(w.CORE, w.PING, w.field_bytes(9, b"x"))
        got = link.receive(PATIENCE)
        require(is_core(got, w.PONG) and got.message["nonce"] == 0, str(got))
        require(all(number in (1, 2) for number, _, _ in w.fields(got.payload)), got.payload.hex())


@check("ping: the node pings when nothing was sent, and takes any answer's frame for life", *RESTLESS)
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.answer_pings = False
        with Took(0.2, 6):
            got = link.receive(PATIENCE)
        require(is_core(got, w.PING), str(got))
        # Twice the time after which silence would end it, with frames that are no PONG.
        end = time.monotonic() + 4
        while time.monotonic() < end:
            link.send(w.CORE, 300)
            try:
                require(is_core(link.receive(0.5), w.PING), "something else than a PING")
            except w.TimedOut:
                pass
        expect_alive(link)


@check("ping: silence is PING_TIMEOUT", *RESTLESS)
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.answer_pings = False
        with Took(1.2, 8):
            expect_disconnect(link, "PING_TIMEOUT", skip=any_ping)


@check("ping: a PONG that answers nothing counts as an unknown frame")
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.send(w.CORE, w.PONG, w.pong(99))
        expect_alive(link)


# ---- unknown, too large, malformed, out of order -----------------------------------------------------------------

@check("frames: unknown types are skipped", kind=0)
@check("frames: the last unknown type is skipped", kind=65535)
def _(lab, node, kind):
    with joined(lab, node)[0] as link:
        for size in (0, 1, 1024):
            link.send(w.CORE, kind, b"\xff" * size)
        expect_alive(link)


@check("frames: 64 KiB of unknown ones a minute are tolerated, 128 KiB are FLOOD")
def _(lab, node):
    with joined(lab, node)[0] as link:
        one = w.frame(w.CORE, 999, bytes(1016))
        link.send_raw(one * 64)
        expect_alive(link)
        link.send_raw(one * 65)
        expect_disconnect(link, "FLOOD")


@check("frames: unanswerable PONGs beyond 128 KiB are FLOOD")
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.send_raw(w.frame(w.CORE, w.PONG, w.pong(1) + w.field_bytes(9, b"x" * 40)) * 2200)
        expect_disconnect(link, "FLOOD")


def bad_frame(lab, node, data, code):
    with joined(lab, node)[0] as link:
        expect_alive(link)
        link.send_raw(data)
        expect_disconnect(link, code)


for _name, _data, _code in (
        ("a HELLO when up", w.frame(w.CORE, w.HELLO, w.hello()), "UNEXPECTED"),
        ("a VERDICT when up", w.frame(w.CORE, w.VERDICT), "UNEXPECTED"),
        ("a refusing VERDICT when up", w.frame(w.CORE, w.VERDICT, w.verdict(1)), "UNEXPECTED"),
        ("PEERS that nobody asked for", w.frame(w.CORE, w.PEERS), "UNEXPECTED"),
        ("a HELLO of 16385 by its header", w.header(w.CORE, w.HELLO, 16385), "TOO_LARGE"),
        ("a VERDICT of 1025 by its header", w.header(w.CORE, w.VERDICT, 1025), "TOO_LARGE"),
        ("a DISCONNECT of 1025 by its header", w.header(w.CORE, w.DISCONNECT, 1025), "TOO_LARGE"),
        ("a PING of 65 by its header", w.header(w.CORE, w.PING, 65), "TOO_LARGE"),
        ("a PONG of 65 by its header", w.header(w.CORE, w.PONG, 65), "TOO_LARGE"),
        ("an OFFER of 4097 by its header", w.header(w.CORE, w.OFFER, 4097), "TOO_LARGE"),
        ("a WITHDRAW of 65 by its header", w.header(w.CORE, w.WITHDRAW, 65), "TOO_LARGE"),
        ("a GET_PEERS of 65 by its header", w.header(w.CORE, w.GET_PEERS, 65), "TOO_LARGE"),
        ("PEERS of 16385 by its header", w.header(w.CORE, w.PEERS, 16385), "TOO_LARGE"),
        ("an unknown type of 1025 by its header", w.header(w.CORE, 10, 1025), "TOO_LARGE"),
        ("an unknown type of 2^32-1 by its header", w.header(w.CORE, 65535, 0xFFFFFFFF), "TOO_LARGE"),
        ("a PING that is not protobuf", w.frame(w.CORE, w.PING, b"\xff"), "MALFORMED"),
        ("a PING whose nonce is cut", w.frame(w.CORE, w.PING, b"\x09\1\2"), "MALFORMED"),
        ("a PONG that is not protobuf", w.frame(w.CORE, w.PONG, b"\x10"), "MALFORMED"),
        ("an OFFER that is not protobuf", w.frame(w.CORE, w.OFFER, b"\x0a\x05a"), "MALFORMED"),
        ("a WITHDRAW that is not protobuf", w.frame(w.CORE, w.WITHDRAW, b"\x0a\x05a"), "MALFORMED"),
        ("a channel never offered", w.frame(4242, 0, b"x"), "UNKNOWN_CHANNEL"),
        ("a channel never offered, by its header, of any size", w.header(4242, 0, 0xFFFFFFFF), "UNKNOWN_CHANNEL")):
    check(f"frames: {_name} is {_code}", data=_data, code=_code)(bad_frame)


@check("frames: GET_PEERS to one that does not answer it is UNEXPECTED; else PEERS, and FLOOD for two within 50 s")
def _(lab, node):
    link, theirs = joined(lab, node)
    with link:
        link.send(w.CORE, w.GET_PEERS, w.get_peers(10))
        if not theirs["features"] & 1:
            expect_disconnect(link, "UNEXPECTED")
            return
        got = link.receive(PATIENCE)
        require(is_core(got, w.PEERS), str(got))
        peers = got.message["peers"]
        require(len(peers) <= 10, f"{len(peers)} peers")
        for one in peers:
            require(len(one["node_id"]) == 32 and one["endpoint"] and one["age_s"] < 86400, str(one))
        link.send(w.CORE, w.GET_PEERS)
        expect_disconnect(link, "FLOOD")


# ---- KeyUpdate, which Python's ssl cannot send and `openssl s_client` can ----------------------------------------

class SClient:
    """`openssl s_client`, up. Its command `k` sends a KeyUpdate with the next data, but only when it reads the letter
    at the start of its input, so that each step waits for a trace of the one before."""

    def __init__(self, lab, node):
        me = lab.identity()
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", "%s:%d" % node.address, "-tls1_3", "-alpn", w.ALPN, "-noservername",
             "-cert", me.certificate, "-key", me.key], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, bufsize=0)
        self.out = self.err = b""
        self._wait(lambda: b"Verify return code" in self.out)
        self.send(w.frame(w.CORE, w.HELLO, hello()))
        self._wait(lambda: w.header(w.CORE, w.VERDICT, 0) in self.out)
        self.send(w.frame(w.CORE, w.VERDICT))
        require(self.ping(1), "not up")

    def send(self, data):
        try:
            self.process.stdin.write(data)
        except BrokenPipeError:
            pass

    def _wait(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            require(time.monotonic() < deadline, f"s_client gives {self.out[-200:]!r} {self.err[-200:]!r}")
            for ready in select.select([self.process.stdout, self.process.stderr], [], [], 1)[0]:
                data = os.read(ready.fileno(), 65536)
                if ready is self.process.stdout:
                    self.out += data
                else:
                    self.err += data
                if not data and self.process.poll() is not None:
                    return

    def key_update(self, nonce):
        """A KeyUpdate and a PING. False if the PING got no answer."""
        before = self.err.count(b"KEYUPDATE")
        self.send(b"k\n")
        self._wait(lambda: self.err.count(b"KEYUPDATE") > before or self.refused())
        return self.ping(nonce)

    def ping(self, nonce):
        self.send(w.frame(w.CORE, w.PING, w.ping(nonce)))
        answer = w.header(w.CORE, w.PONG, 0)[4:] + w.ping(nonce)
        self._wait(lambda: answer in self.out or self.refused())
        return answer in self.out

    def refused(self):
        return w.header(w.CORE, w.DISCONNECT, 0)[4:] + w.disconnect(w.CODE["FLOOD"]) in self.out

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


@check("key updates: four a minute are tolerated, the eighth is FLOOD at the latest")
def _(lab, node):
    with SClient(lab, node) as client:
        answered = 0
        while answered < 8 and client.key_update(0x5A5A5A00 + answered):
            answered += 1
        require(4 <= answered <= 7, f"{answered} were tolerated")
        require(client.refused(), "no DISCONNECT(FLOOD)")


# ---- echo over its channel ---------------------------------------------------------------------------------------

def echoed(link, channel, ours, data):
    link.send(channel, 0, data)
    got = link.receive(PATIENCE)
    require((got.channel, got.type, got.payload) == (ours, 1, data), f"{len(data)} bytes came back as {got}")


@check("channels: echo gives back the same bytes, of every size, each under the receiver's number")
def _(lab, node):
    mine = w.Offer(65535, "echo", 1, 2, 65536)
    link, theirs = joined(lab, node, offers=[w.Offer(9, "other"), mine])
    with link:
        largest = min(65536, next(one["max_message_bytes"] for one in theirs["offers"] if one["name"] == "echo"))
        for size in (0, 1, 100, 16384, 16385, largest):
            echoed(link, echo_channel(theirs), mine.channel, bytes(n % 251 for n in range(size)))


@check("channels: a thousand messages keep their order")
def _(lab, node):
    link, theirs = joined(lab, node)
    with link:
        channel = echo_channel(theirs)
        link.send_raw(b"".join(w.frame(channel, 0, b"%d" % n) for n in range(1000)))
        for n in range(1000):
            got = link.receive(PATIENCE)
            require((got.channel, got.type, got.payload) == (w.ECHO.channel, 1, b"%d" % n), f"{n}: {got}")


@check("channels: a message of one byte too many is TOO_LARGE by its header")
def _(lab, node):
    link, theirs = joined(lab, node)
    with link:
        limit = next(one["max_message_bytes"] for one in theirs["offers"] if one["name"] == "echo")
        link.send_raw(w.header(echo_channel(theirs), 0, limit + 1))
        expect_disconnect(link, "TOO_LARGE")


@check("channels: a type beyond the count is UNKNOWN_CHANNEL", size=0)
@check("channels: a type beyond the count is UNKNOWN_CHANNEL before its size is looked at", size=0xFFFFFFFF)
def _(lab, node, size):
    link, theirs = joined(lab, node)
    with link:
        link.send_raw(w.header(echo_channel(theirs), 2, size))
        expect_disconnect(link, "UNKNOWN_CHANNEL")


@check("channels: not offered by us it is not open", offers=())
@check("channels: with another count it is not shared", offers=(w.Offer(7, "echo", 1, 3),))
@check("channels: with another version it is not shared", offers=(w.Offer(7, "echo", 2, 2),))
@check("channels: with another name it is not shared", offers=(w.Offer(7, "ech", 1, 2),))
def _(lab, node, offers):
    link, theirs = joined(lab, node, offers=offers)
    with link:
        expect_alive(link)
        link.send(echo_channel(theirs), 0, b"x")
        expect_disconnect(link, "UNKNOWN_CHANNEL")


@check("channels: of several versions the shared one is spoken")
def _(lab, node):
    offers = [w.Offer(20, "echo", 9, 2), w.Offer(21, "echo", 1, 2), w.Offer(22, "echo", 3, 5)]
    link, theirs = joined(lab, node, offers=offers)
    with link:
        echoed(link, echo_channel(theirs), 21, b"which")


@check("channels: no frame above the receiver's limit is sent")
def _(lab, node):
    link, theirs = joined(lab, node, offers=[w.Offer(7, "echo", 1, 2, 10)])
    with link:
        echoed(link, echo_channel(theirs), 7, b"0123456789")
        link.send(echo_channel(theirs), 0, b"0123456789a")
        for one in expect_alive(link):
            require(len(one.payload) <= 10, f"{len(one.payload)} bytes came")


@check("channels: a whole 16 MiB cannot be claimed beyond what was offered")
def _(lab, node):
    link, theirs = joined(lab, node)
    with link:
        link.send_raw(w.header(echo_channel(theirs), 0, 16777216) + bytes(1000))
        expect_disconnect(link, "TOO_LARGE")


# ---- OFFER and WITHDRAW ------------------------------------------------------------------------------------------

@check("offers: OFFER opens a name, WITHDRAW closes it, a new OFFER opens it again")
def _(lab, node):
    link, theirs = joined(lab, node, offers=())
    channel = echo_channel(theirs)
    with link:
        link.send(w.CORE, w.OFFER, w.offer(w.Offer(30, "echo", 1, 2)))
        echoed(link, channel, 30, b"opened")
        link.send(w.CORE, w.WITHDRAW, w.withdraw("echo", 45))
        expect_alive(link)
        link.send(w.CORE, w.OFFER, w.offer(w.Offer(31, "echo", 1, 2)))
        echoed(link, channel, 31, b"and again")
        link.send(w.CORE, w.WITHDRAW, w.withdraw("echo"))
        link.send(channel, 0, b"late")
        expect_disconnect(link, "UNKNOWN_CHANNEL")


@check("offers: a frame is answered that stood in front of the WITHDRAW, or dropped, but harms nobody")
def _(lab, node):
    link, theirs = joined(lab, node)
    with link:
        link.send_raw(w.frame(echo_channel(theirs), 0, b"x") * 50 + w.frame(w.CORE, w.WITHDRAW, w.withdraw("echo")))
        before = expect_alive(link)
        require(all((one.channel, one.type) == (w.ECHO.channel, 1) for one in before), names(before))
        require(not expect_alive(link), "frames after the WITHDRAW was seen")


@check("offers: a name that the node does not know is fine, and its WITHDRAW with any code")
def _(lab, node):
    link, theirs = joined(lab, node)
    with link:
        link.send(w.CORE, w.OFFER, w.offer(*(w.Offer(100 + n, "game", n + 1, 3) for n in range(16))))
        link.send(w.CORE, w.WITHDRAW, w.withdraw("game", 4000000000))
        echoed(link, echo_channel(theirs), w.ECHO.channel, b"still there")


@check("offers: 64 OFFER and WITHDRAW a minute are tolerated, 128 are FLOOD")
def _(lab, node):
    with joined(lab, node)[0] as link:
        def pair(n):
            return w.frame(w.CORE, w.OFFER, w.offer(w.Offer(1000 + n, "game"))) + w.frame(w.CORE, w.WITHDRAW,
                                                                                      w.withdraw("game"))
        link.send_raw(b"".join(map(pair, range(32))))
        expect_alive(link)
        link.send_raw(b"".join(map(pair, range(32, 64))))
        expect_disconnect(link, "FLOOD")


@check("offers: 64 stand, the 65th is FLOOD")
def _(lab, node):
    with joined(lab, node, offers=())[0] as link:
        for name in ("a", "b", "c", "d"):
            link.send(w.CORE, w.OFFER, w.offer(*(w.Offer(ord(name) * 100 + n, name, n + 1) for n in range(16))))
        expect_alive(link)
        link.send(w.CORE, w.OFFER, w.offer(w.Offer(1, "e")))
        expect_disconnect(link, "FLOOD")


def bad_offer(lab, node, data):
    with joined(lab, node, offers=[w.ECHO])[0] as link:
        link.send_raw(data)
        expect_disconnect(link, "MALFORMED")


for _name, _data in (
        ("an empty OFFER", w.frame(w.CORE, w.OFFER)),
        ("17 offers", w.frame(w.CORE, w.OFFER, w.offer(*(w.Offer(50 + n, "n", n + 1) for n in range(17))))),
        ("two names", w.frame(w.CORE, w.OFFER, w.offer(w.Offer(50, "one"), w.Offer(51, "two")))),
        ("a version twice", w.frame(w.CORE, w.OFFER, w.offer(w.Offer(50, "one"), w.Offer(51, "one")))),
        ("a channel twice", w.frame(w.CORE, w.OFFER, w.offer(w.Offer(50, "one", 1), w.Offer(50, "one", 2)))),
        ("a channel of the HELLO", w.frame(w.CORE, w.OFFER, w.offer(w.Offer(w.ECHO.channel, "one")))),
        ("a name that stands", w.frame(w.CORE, w.OFFER, w.offer(w.Offer(50, "echo", 2)))),
        ("a number used before, though withdrawn", w.frame(w.CORE, w.WITHDRAW, w.withdraw("echo"))
         + w.frame(w.CORE, w.OFFER, w.offer(w.Offer(w.ECHO.channel, "echo", 1, 2)))),
        ("channel 0", w.frame(w.CORE, w.OFFER, w.offer(w.Offer(0, "one")))),
        ("no messages", w.frame(w.CORE, w.OFFER, w.offer(w.Offer(50, "one", 1, 0)))),
        ("a bad name", w.frame(w.CORE, w.OFFER, w.offer(w.Offer(50, "One")))),
        ("a WITHDRAW of a name without a standing set", w.frame(w.CORE, w.WITHDRAW, w.withdraw("other"))),
        ("a WITHDRAW twice", w.frame(w.CORE, w.WITHDRAW, w.withdraw("echo")) * 2),
        ("a WITHDRAW without a name", w.frame(w.CORE, w.WITHDRAW)),
        ("a WITHDRAW not UTF-8", w.frame(w.CORE, w.WITHDRAW, w.withdraw(b"\xff")))):
    check(f"offers: {_name} is MALFORMED", data=_data)(bad_offer)

# ---- ends --------------------------------------------------------------------------------------------------------


@check("close: a DISCONNECT is answered by close_notify alone", payload=w.disconnect(20, b"bye", 5))
@check("close: a DISCONNECT with an unknown code too", payload=w.disconnect(88))
@check("close: a DISCONNECT with a text that breaks the rule too", payload=w.disconnect(20, b"\x1b[2J" * 100))
@check("close: a DISCONNECT that is not protobuf too", payload=b"\xff\xff")
@check("close: DISCONNECT(0) too", payload=b"")
def _(lab, node, payload):
    with joined(lab, node)[0] as link:
        link.send(w.CORE, w.DISCONNECT, payload)
        expect_silent_end(link)


@check("close: close_notify without DISCONNECT is answered by one")
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.send_close_notify()
        expect_silent_end(link)


@check("close: a FIN without close_notify ends both directions")
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.send_fin()
        got, how = ended(link)
        require(not got and how in ("close_notify", "fin"), f"{names(got)}, {how}")


@check("close: a FIN in the middle of a frame ends both directions")
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.send_raw(w.frame(w.CORE, w.PING, w.ping(1))[:11])
        link.send_fin()
        got, how = ended(link)
        require(not got and how in ("close_notify", "fin"), f"{names(got)}, {how}")


@check("close: what we had sent behind the fault does not cost us the DISCONNECT")
def _(lab, node):
    link, theirs = joined(lab, node)
    with link:
        link.send_raw(w.frame(4242, 0) + w.frame(echo_channel(theirs), 0, bytes(16000)) * 3)
        expect_disconnect(link, "UNKNOWN_CHANNEL")


@check("close: the linger ends by itself when nobody closes behind it", "--linger", "1s")
def _(lab, node):
    with joined(lab, node)[0] as link:
        link.send(4242, 0)
        with Took(0, 8):
            expect_disconnect(link, "UNKNOWN_CHANNEL")
            # Our direction is still open; when the node has closed, writing is answered by a reset.
            deadline = time.monotonic() + PATIENCE
            poll = select.poll()
            poll.register(link.sock, select.POLLERR | select.POLLHUP)
            while not poll.poll(100):
                link.send_wire(b"\x17\3\3\0\1x")
                require(time.monotonic() < deadline, "the socket stays")


@check("close: one that does not read is NOT_READING and gone", "--not-reading-timeout", "2s")
def _(lab, node):
    link, theirs = joined(lab, node)
    with link:
        link.answer_pings = False
        one = w.frame(echo_channel(theirs), 0, bytes(60000))
        while link.send_some(one):  # until our bytes pile up behind its answers, which pile up here
            pass
        poll = select.poll()
        poll.register(link.sock, select.POLLERR | select.POLLHUP)
        with Took(0, 15):
            require(poll.poll(16000), "it is still connected")


@check("close: SIGTERM says SHUTTING_DOWN to everybody", own=True)
def _(lab, _node):
    with lab.node() as node:
        first, _ = joined(lab, node)
        second, _ = joined(lab, node)
        with first, second:
            expect_alive(first)
            expect_alive(second)
            node.terminate()
            expect_shutdown(first)
            expect_shutdown(second)
            with Took(0, 6):
                require(node.process.wait(10) == 0, f"exit {node.process.returncode}")
