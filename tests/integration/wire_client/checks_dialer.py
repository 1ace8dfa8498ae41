"""A dialer's side of sections 2, 3, 4 and 7 up to its ACCEPT: HELLO, VERDICT, sizes, order and times."""

import socket
import time

import helo_wire as w
from conformance_kit import (NETWORK, PATIENCE, Took, check, dial, ended, expect_alive, expect_disconnect,
                             expect_refusal, expect_silent_end, hello, is_core, joined, judge_frame, names, require)

GENESIS = "00112233"
QUICK = ("--hello-timeout", "1s", "--verdict-timeout", "1s", "--handshake-timeout", "3s", "--tls-timeout", "1s")


def expect_accept(link):
    got = [link.receive(PATIENCE), link.receive(PATIENCE)]
    require(is_core(got[0], w.HELLO) and is_core(got[1], w.VERDICT, "ACCEPT"), names(got))


# ---- joining -----------------------------------------------------------------------------------------------------


@check("join: HELLO, ACCEPT, ACCEPT, and up")
def _(lab, node):
    with dial(lab, node) as link:
        require(link.remote_id == node.id, f"the certificate says {link.remote_id}, helod.json {node.id}")
        require(link.tls_version == "TLSv1.3", link.tls_version)
        require(len(link.remote_certificate) <= 1024 - 5, "a certificate too large")
        theirs, judged = link.shake_hands(hello(offers=[w.ECHO]), PATIENCE)
        judge_frame(theirs)
        judge_frame(judged)
        require(is_core(theirs, w.HELLO) and is_core(judged, w.VERDICT, "ACCEPT"), names([theirs, judged]))
        message = theirs.message
        require(message["network"] == NETWORK, message["network"])
        ip, port = link.sock.getsockname()
        require(message["observed"] == {"ip": socket.inet_aton(ip), "port": port}, f"observed {message['observed']}")
        require(abs(message["clock_us"] / 1e6 - time.time()) < 60, f"clock {message['clock_us']}")
        require(message["purpose"] == 0, "its purpose is not JOIN")
        link.send(w.CORE, w.VERDICT, w.verdict(0))
        expect_alive(link)


@check("join: HELLO rides with Finished, frames right behind ACCEPT")
def _(lab, node):
    context = w.client_context(lab.identity())
    link = w.Link(w.connect(node.address), context, dialer=True)
    link.corked = False
    with link:
        link.handshake(PATIENCE)
        link.corked = True
        link.send(w.CORE, w.HELLO, hello(offers=[w.ECHO]))
        link.corked = False
        link.flush()
        expect_accept(link)
        link.send_raw(w.frame(w.CORE, w.VERDICT, w.verdict(0)) + w.frame(w.CORE, w.PING, w.ping(5)))
        got = link.receive(PATIENCE)
        require(is_core(got, w.PONG) and got.message["nonce"] == 5, str(got))


@check("join: byte by byte, each in a TLS record of its own")
def _(lab, node):
    with dial(lab, node) as link:
        for byte in w.frame(w.CORE, w.HELLO, hello(offers=[w.ECHO])):
            link.send_raw(bytes([byte]))
        expect_accept(link)
        for byte in w.frame(w.CORE, w.VERDICT, w.verdict(0)):
            link.send_raw(bytes([byte]))
        expect_alive(link)


@check("join: the acceptor sends no application byte before the dialer's HELLO")
def _(lab, node):
    with dial(lab, node) as link:
        try:
            require(False, f"unasked came {link.receive(0.3)}")
        except w.TimedOut:
            pass


@check("join: no session ticket is given")
def _(lab, node):
    with joined(lab, node)[0] as link:
        expect_alive(link)
        require(not link.has_ticket, "a ticket came")


@check("join: a server name in the ClientHello is ignored")
def _(lab, node):
    context = w.client_context(lab.identity())
    with w.Link(w.connect(node.address), context, dialer=True, server_name="node.example") as link:
        link.handshake(PATIENCE)
        link.join(hello(), PATIENCE)
        expect_alive(link)


@check("join: without any capability one stays connected all the same")
def _(lab, node):
    with joined(lab, node, offers=())[0] as link:
        expect_alive(link)


@check("join: NO_SHARED_CAPABILITY where configuration requires one", "--require-capability", "echo")
def _(lab, node):
    with joined(lab, node)[0] as link:
        expect_alive(link)
    for offers in ((), [w.Offer(7, "other")], [w.Offer(7, "echo", 2, 2)], [w.Offer(7, "echo", 1, 3)]):
        with dial(lab, node) as link:
            link.send(w.CORE, w.HELLO, hello(offers=offers))
            expect_refusal(link, "NO_SHARED_CAPABILITY")


# ---- configuration -----------------------------------------------------------------------------------------------

@check("refused: WRONG_NETWORK", name_sent="another-network")
@check("refused: WRONG_NETWORK, a prefix of the name", name_sent=NETWORK[:-1])
def _(lab, node, name_sent):
    with dial(lab, node) as link:
        link.send(w.CORE, w.HELLO, hello(network=name_sent))
        expect_refusal(link, "WRONG_NETWORK")


@check("refused: WRONG_GENESIS when both have set it, accepted when equal or not set", "--genesis", GENESIS)
def _(lab, node):
    for genesis in (b"", bytes.fromhex(GENESIS)):
        with joined(lab, node, genesis=genesis)[0] as link:
            expect_alive(link)
    for genesis in (b"\0", bytes.fromhex(GENESIS) + b"\0", b"x" * 64):
        with dial(lab, node) as link:
            link.send(w.CORE, w.HELLO, hello(genesis=genesis))
            expect_refusal(link, "WRONG_GENESIS")


@check("refused: first the encoding, then the network, then the genesis", "--genesis", GENESIS)
def _(lab, node):
    for wrong, code in (({"network": "other", "genesis": b"x", "user_agent": ""}, "MALFORMED"),
                        ({"network": "other", "genesis": b"x"}, "WRONG_NETWORK"), ({"genesis": b"x"}, "WRONG_GENESIS")):
        with dial(lab, node) as link:
            link.send(w.CORE, w.HELLO, hello(**wrong))
            expect_refusal(link, code)


# ---- HELLO: what is MALFORMED ------------------------------------------------------------------------------------

def offer_with(**wrong):
    return [w.Offer(**{"channel": 7, "name": "echo", "version": 1, "message_count": 2, **wrong})]


V4_MAPPED = bytes(10) + b"\xff\xff\x7f\0\0\1"
MALFORMED_HELLOS = {
    "not protobuf": b"\xff" * 20,
    "a cut varint": hello() + b"\x08\x80",
    "a varint of eleven bytes": hello() + b"\x08" + b"\x80" * 10 + b"\x01",
    "a field longer than the rest": hello() + b"\x7a\x05abc",
    "a cut fixed64": hello() + b"\x79\1\2\3",
    "field number 0": hello() + b"\x00\x01",
    "wire type 6": hello() + b"\x7e\x01",
    "wire type 7": hello() + b"\x7f\x01",
    "an end of group without its start": hello() + b"\x7c",
    "empty": b"",
    "no network": hello(network=""),
    "network in capitals": hello(network="Helo"),
    "network with a dot first": hello(network=".helo"),
    "network of 65": hello(network="a" * 65),
    "network with a space": hello(network="a b"),
    "network with a NUL": hello(network="a\0"),
    "network not UTF-8": hello(network=b"a\xff"),
    "genesis of 65": hello(genesis=b"g" * 65),
    "no user agent": hello(user_agent=""),
    "user agent of 129": hello(user_agent="u" * 129),
    "user agent with a control character": hello(user_agent="a\x1bb"),
    "user agent with 0x7f": hello(user_agent="a\x7f"),
    "user agent not ASCII": hello(user_agent="h\u00e9lo"),
    "user agent not UTF-8": hello(user_agent=b"a\xff"),
    "65 offers": hello(offers=[w.Offer(n, f"n{n}") for n in range(1, 66)]),
    "offer on channel 0": hello(offers=offer_with(channel=0)),
    "offer on channel 65536": hello(offers=offer_with(channel=65536)),
    "offer without a name": hello(offers=offer_with(name="")),
    "offer in capitals": hello(offers=offer_with(name="Echo")),
    "offer that begins with a digit": hello(offers=offer_with(name="1echo")),
    "offer with an underscore": hello(offers=offer_with(name="ec_ho")),
    "offer with a name of 17": hello(offers=offer_with(name="e" * 17)),
    "offer of version 0": hello(offers=offer_with(version=0)),
    "offer of version 65536": hello(offers=offer_with(version=65536)),
    "offer of no message": hello(offers=offer_with(message_count=0)),
    "offer of 65536 messages": hello(offers=offer_with(message_count=65536)),
    "offer of 0 bytes": hello(offers=offer_with(max_message_bytes=0)),
    "offer of 16777217 bytes": hello(offers=offer_with(max_message_bytes=16777217)),
    "an empty offer": hello(offers=[b""]),
    "a version offered twice": hello(offers=[w.Offer(7, "echo"), w.Offer(8, "echo")]),
    "a channel offered twice": hello(offers=[w.Offer(7, "echo"), w.Offer(7, "other")]),
    "nine addresses": hello(advertised=[w.endpoint("192.0.2.1", n) for n in range(1, 10)]),
    "an address of 5 bytes": hello(advertised=[w.endpoint(b"12345", 1)]),
    "an address of no bytes": hello(advertised=[w.field_varint(2, 1)]),
    "a v4-mapped address": hello(advertised=[w.endpoint(V4_MAPPED, 1)]),
    "an address with port 0": hello(advertised=[w.endpoint("192.0.2.1", 0)]),
    "an address with port 65536": hello(advertised=[w.endpoint("192.0.2.1", 65536)]),
    "observed v4-mapped": hello(observed=w.endpoint(V4_MAPPED, 1)),
    "observed without a port": hello(observed=w.field_bytes(1, b"\x7f\0\0\1")),
    "observed empty": hello(observed=b""),
    "observed not protobuf": hello(observed=b"\x0a\x7f"),
    "an unknown purpose": hello(purpose=2),
    "a purpose of 2^31": hello(purpose=1 << 31),
}


def malformed(lab, node, payload):
    with dial(lab, node) as link:
        link.send(w.CORE, w.HELLO, payload)
        expect_refusal(link, "MALFORMED")


for _name, _payload in MALFORMED_HELLOS.items():
    check(f"malformed HELLO: {_name}", payload=_payload)(malformed)

# ---- HELLO: what is odd and right --------------------------------------------------------------------------------

GOOD_HELLOS = {
    "unknown fields of every wire type": hello(extra=w.field_varint(99, 1) + w.field_fixed64(98, 2)
                                               + w.field_bytes(97, b"abc") + w.tag(96, 5) + b"1234"),
    "an unknown group": hello(extra=w.tag(95, 3) + w.field_varint(1, 1) + w.tag(95, 4)),
    "the last of a scalar wins": w.field_bytes(2, "OTHER") + w.field_bytes(4, "") + hello(),
    "a field of the wrong wire type is unknown": hello(extra=w.field_varint(2, 7) + w.field_bytes(9, b"\2")
                                                       + w.field_varint(5, 3)),
    "messages merge": hello(observed=w.field_bytes(1, b"\x7f\0\0\1"), extra=w.field_bytes(7, w.field_varint(2, 9))),
    "a uint32 is cut before its rule": hello(offers=[w.Offer((1 << 32) + 7, "echo", (5 << 32) + 1,
                                                                (1 << 40) + 2, 1 << 16)]),
    "a varint longer than needed": hello(extra=b"\x08\x80\x80\x80\x00"),
    "all limits reached": hello(user_agent="~" * 128, genesis=b"g" * 64,
                                advertised=[w.endpoint("2001:db8::1", n) for n in range(65528, 65536)],
                                offers=[w.Offer(65535 - n, "a" * 16, 65535 - n, 65535, 16777216) for n in range(64)]),
    "unknown features and a later minor": hello(features=(1 << 64) - 2, minor=0xFFFFFFFF),
    "a clock far out": hello(clock_us=-1),
    "a clock beyond 2^53": hello(clock_us=1 << 62),
    "no clock": hello(clock_us=0),
}


def good(lab, node, payload):
    with dial(lab, node) as link:
        link.join(payload, PATIENCE)
        expect_alive(link)


for _name, _payload in GOOD_HELLOS.items():
    check(f"odd but right HELLO: {_name}", payload=_payload)(good)

# ---- order and sizes before up -----------------------------------------------------------------------------------


def before_hello(lab, node, data, code):
    with dial(lab, node) as link:
        link.send_raw(data)
        expect_disconnect(link, code)


for _name, _data, _code in (
        ("a PING first", w.frame(w.CORE, w.PING, w.ping(1)), "UNEXPECTED"),
        ("a VERDICT first", w.frame(w.CORE, w.VERDICT), "UNEXPECTED"),
        ("an OFFER first", w.frame(w.CORE, w.OFFER, w.offer(w.Offer(9, "late"))), "UNEXPECTED"),
        ("a GET_PEERS first", w.frame(w.CORE, w.GET_PEERS), "UNEXPECTED"),
        ("an unknown type first", w.frame(w.CORE, 77, b"x"), "UNEXPECTED"),
        ("type 0 first", w.frame(w.CORE, 0), "UNEXPECTED"),
        ("another channel first", w.frame(1, 0, b"x"), "UNEXPECTED"),
        ("another channel first, by its header alone, of any size", w.header(1, 0, 0xFFFFFFFF), "UNEXPECTED"),
        ("a HELLO of 16385 by its header alone", w.header(w.CORE, w.HELLO, 16385), "TOO_LARGE"),
        ("a HELLO of 2^32-1 by its header alone", w.header(w.CORE, w.HELLO, 0xFFFFFFFF), "TOO_LARGE"),
        ("a PING of 65 by its header alone: size before order", w.header(w.CORE, w.PING, 65), "TOO_LARGE"),
        ("an unknown type of 1025 by its header alone", w.header(w.CORE, 500, 1025), "TOO_LARGE")):
    check(f"before HELLO: {_name}", data=_data, code=_code)(before_hello)


def before_verdict(lab, node, data, code):
    with dial(lab, node) as link:
        theirs, judged = link.shake_hands(hello(offers=[w.ECHO]), PATIENCE)
        require(is_core(theirs, w.HELLO) and is_core(judged, w.VERDICT, "ACCEPT"), names([theirs, judged]))
        link.send_raw(data)
        expect_disconnect(link, code)


for _name, _data, _code in (
        ("a second HELLO", w.frame(w.CORE, w.HELLO, hello()), "UNEXPECTED"),
        ("a second HELLO too large", w.header(w.CORE, w.HELLO, 16385), "TOO_LARGE"),
        ("a PING", w.frame(w.CORE, w.PING, w.ping(1)), "UNEXPECTED"),
        ("a frame on a channel", w.frame(1, 0), "UNEXPECTED"),
        ("a WITHDRAW", w.frame(w.CORE, w.WITHDRAW, w.withdraw("echo")), "UNEXPECTED"),
        ("a VERDICT of 1025", w.header(w.CORE, w.VERDICT, 1025), "TOO_LARGE"),
        ("a VERDICT that is not protobuf", w.frame(w.CORE, w.VERDICT, b"\xff"), "MALFORMED"),
        ("an ACCEPT whose text breaks the rule", w.frame(w.CORE, w.VERDICT, w.verdict(0, b"a\nb")), "MALFORMED"),
        ("an ACCEPT whose text is too long", w.frame(w.CORE, w.VERDICT, w.verdict(0, b"a" * 257)), "MALFORMED")):
    check(f"before the dialer's VERDICT: {_name}", data=_data, code=_code)(before_verdict)


@check("before the dialer's VERDICT: its refusal is taken, whatever its text", code=1, text=b"no")
@check("before the dialer's VERDICT: a refusal with a bad text is a refusal", code=10, text=b"\xff\0")
@check("before the dialer's VERDICT: an unknown code is a refusal", code=77, text=b"")
@check("before the dialer's VERDICT: a code over 99 is a refusal", code=100000, text=b"")
@check("before the dialer's VERDICT: PROBE on a JOIN is a refusal", code=15, text=b"")
def _(lab, node, code, text):
    with dial(lab, node) as link:
        link.shake_hands(hello(), PATIENCE)
        link.send(w.CORE, w.VERDICT, w.verdict(code, text))
        expect_silent_end(link)


@check("before HELLO: a DISCONNECT is not answered", payload=w.disconnect(20, b"bye"))
@check("before HELLO: a DISCONNECT that is not protobuf is not answered", payload=b"\xff")
@check("before HELLO: DISCONNECT(0) is not answered", payload=b"")
def _(lab, node, payload):
    with dial(lab, node) as link:
        link.send(w.CORE, w.DISCONNECT, payload)
        expect_silent_end(link)


@check("before HELLO: a close_notify is answered by one")
def _(lab, node):
    with dial(lab, node) as link:
        link.send_close_notify()
        expect_silent_end(link)


@check("before HELLO: a FIN without close_notify ends it")
def _(lab, node):
    with dial(lab, node) as link:
        link.send_fin()
        got, how = ended(link)
        require(not got and how in ("close_notify", "fin", "reset"), f"{names(got)}, {how}")


# ---- stage times -------------------------------------------------------------------------------------------------

@check("times: no HELLO is STAGE_TIMEOUT", *QUICK)
def _(lab, node):
    with dial(lab, node) as link, Took(0.8, 4):
        expect_disconnect(link, "STAGE_TIMEOUT")


def trickle(link, data, every):
    """A byte at a time until something comes back."""
    for byte in data:
        link.send_raw(bytes([byte]))
        try:
            return link.receive(every)
        except w.TimedOut:
            continue
    raise AssertionError("it took the whole trickle")


@check("times: a trickled HELLO is STAGE_TIMEOUT all the same", *QUICK)
def _(lab, node):
    with dial(lab, node) as link, Took(0.8, 4):
        got = trickle(link, w.frame(w.CORE, w.HELLO, hello()), 0.1)
        require(is_core(got, w.DISCONNECT, "STAGE_TIMEOUT"), str(got))


@check("times: no VERDICT of the dialer is STAGE_TIMEOUT", *QUICK)
def _(lab, node):
    with dial(lab, node) as link:
        link.shake_hands(hello(), PATIENCE)
        with Took(0.8, 4):
            expect_disconnect(link, "STAGE_TIMEOUT")


@check("times: a trickled VERDICT is STAGE_TIMEOUT all the same", *QUICK)
def _(lab, node):
    with dial(lab, node) as link:
        link.shake_hands(hello(), PATIENCE)
        with Took(0.8, 4):
            got = trickle(link, w.frame(w.CORE, w.VERDICT, w.verdict(0, b"t" * 200)), 0.1)
            require(is_core(got, w.DISCONNECT, "STAGE_TIMEOUT"), str(got))


@check("times: from accept to up, whatever arrives in time for its stage", "--hello-timeout", "20s",
       "--verdict-timeout", "20s", "--handshake-timeout", "2s", "--tls-timeout", "20s")
def _(lab, node):
    with Took(1.6, 6), dial(lab, node) as link:
        expect_disconnect(link, "STAGE_TIMEOUT")


@check("times: a caller without a byte of TLS is closed without one", *QUICK, data=b"")
@check("times: a cut ClientHello is closed without a byte", *QUICK,
       data=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
def _(lab, node, data):
    del lab
    with w.connect(node.address) as sock, Took(0.8, 6):
        sock.sendall(data)
        sock.settimeout(PATIENCE)
        try:
            require(sock.recv(100) == b"", "bytes came")
        except ConnectionResetError:
            pass
