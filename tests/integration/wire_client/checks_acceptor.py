"""An acceptor's side: a node that dials us. Each check has a node of its own."""

import contextlib
import socket
import ssl
import time

import helo_wire as w
from conformance_kit import (PATIENCE, Took, check, echo_channel, ended, expect_alive, expect_disconnect,
                             expect_refusal, expect_silent_end, hello, is_core, joined, judge_frame, names, require,
                             expect_shutdown)

# Fast redials, and always after the same time.
EAGER = ("--dial-backoff-first", "200ms", "--dial-backoff-max", "400ms", "--dial-jitter", "0")
QUICK = ("--hello-timeout", "1s", "--verdict-timeout", "1s")


class Dialed:
    """A node that dials our listener, and what it needs to be let in."""

    def __init__(self, lab, *options, identity=None, named=True, eager=True):
        self.me = identity or lab.identity()
        self.listener = w.Listener()
        host, port = self.listener.address
        named_id = named if isinstance(named, str) else self.me.id
        peer = f"helo://{named_id}@{host}:{port}" if named else f"{host}:{port}"
        self.node = lab.node("--peer", peer, *(EAGER if eager else ()), *options)
        self._lab = lab

    def context(self, **more):
        return w.server_context(self.me, self.node.certificate(self._lab), **more)

    def accept(self, timeout=PATIENCE, **more):
        return self.listener.accept(self.context(**more), timeout)

    def expect_no_dial(self, seconds):
        try:
            self.listener.accept_tcp(seconds).close()
        except w.TimedOut:
            return
        raise AssertionError(f"it dialed again within {seconds} s")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.node.stop()
        self.listener.close()


def first_hello(link):
    one = link.receive(PATIENCE)
    require(is_core(one, w.HELLO), f"instead of a HELLO came {one}")
    judge_frame(one)
    return one.message


def greet(link, **more):
    link.send_raw(w.frame(w.CORE, w.HELLO, hello(**more)) + w.frame(w.CORE, w.VERDICT))


@check("dialed: HELLO, ACCEPT, up, echo both in order", own=True)
def _(lab, _node):
    with Dialed(lab) as it, it.accept() as link:
        require(link.remote_id == it.node.id and link.alpn == "helo/1" and link.tls_version == "TLSv1.3", "TLS")
        theirs = first_hello(link)
        require(theirs["purpose"] == 0, "a PROBE")
        host, port = link.sock.getpeername()
        require(theirs["observed"] == {"ip": socket.inet_aton(it.listener.address[0]), "port": it.listener.address[1]},
                f"observed {theirs['observed']} by {host}:{port}")
        greet(link, offers=[w.ECHO])
        accepted = link.receive(PATIENCE)
        require(is_core(accepted, w.VERDICT, "ACCEPT"), str(accepted))
        expect_alive(link)
        link.send(echo_channel(theirs), 0, b"from the acceptor")
        got = link.receive(PATIENCE)
        require((got.channel, got.type, got.payload) == (w.ECHO.channel, 1, b"from the acceptor"), str(got))


@check("dialed: it offers helo/1 alone and no server name", own=True)
def _(lab, _node):
    with Dialed(lab) as it:
        seen = []
        context = it.context()
        context.sni_callback = lambda tls, name, ctx: seen.append(name)
        # Were there another name in its list, it would be chosen: ours come first.
        context.set_alpn_protocols(["h2", "http/1.1", "helo/2", "helo/0", "helo/1"])
        with it.listener.accept(context, PATIENCE) as link:
            require(link.alpn == "helo/1", link.alpn)
            first_hello(link)
            require(seen in ([], [None]), f"server name {seen}")


@check("dialed: byte by byte it is understood", own=True)
def _(lab, _node):
    with Dialed(lab) as it, it.accept() as link:
        first_hello(link)
        for byte in w.frame(w.CORE, w.HELLO, hello()) + w.frame(w.CORE, w.VERDICT, w.verdict(0, b"welcome")):
            link.send_raw(bytes([byte]))
        require(is_core(link.receive(PATIENCE), w.VERDICT, "ACCEPT"), "refused")
        expect_alive(link)


@check("dialed: without an id in the address anybody may answer", own=True)
def _(lab, _node):
    with Dialed(lab, named="") as it, it.accept() as link:
        first_hello(link)
        greet(link)
        require(is_core(link.receive(PATIENCE), w.VERDICT, "ACCEPT"), "refused")
        expect_alive(link)


@check("dialed: another id than named is told UNEXPECTED_ID, and gets no HELLO", own=True)
def _(lab, _node):
    with Dialed(lab, named=lab.identity().id) as it:
        with it.accept() as link:
            expect_disconnect(link, "UNEXPECTED_ID")
        it.expect_no_dial(2)  # one minute, the page says


@check("dialed: its own id is SELF, and gets no HELLO", own=True)
def _(lab, _node):
    with Dialed(lab, named="") as it:
        it.me = w.Identity.of_key(it.node.data / "node.key", lab.folder)
        with it.accept() as link:
            expect_disconnect(link, "SELF")


# ---- what it refuses ---------------------------------------------------------------------------------------------

def judged_by_dialer(lab, _node, payload, code, behind=w.frame(w.CORE, w.VERDICT)):
    with Dialed(lab, eager=False) as it, it.accept() as link:
        first_hello(link)
        link.send_raw(w.frame(w.CORE, w.HELLO, payload) + behind)
        expect_refusal(link, code, hello=False)


for _name, _payload, _code in (
        ("another network", hello(network="other"), "WRONG_NETWORK"),
        ("a HELLO that is not protobuf", b"\xff", "MALFORMED"),
        ("no user agent", hello(user_agent=""), "MALFORMED"),
        ("a channel offered twice", hello(offers=[w.Offer(7, "a"), w.Offer(7, "b")]), "MALFORMED"),
        ("an unknown purpose", hello(purpose=3), "MALFORMED"),
        ("purpose PROBE in an acceptor's HELLO", hello(purpose=1), "UNEXPECTED")):
    check(f"dialed: {_name} is {_code}", own=True, payload=_payload, code=_code)(judged_by_dialer)

check("dialed: an ACCEPT that is not protobuf is MALFORMED", own=True, payload=hello(), code="MALFORMED",
      behind=w.frame(w.CORE, w.VERDICT, b"\x08"))(judged_by_dialer)
check("dialed: an ACCEPT whose text breaks the rule is MALFORMED", own=True, payload=hello(), code="MALFORMED",
      behind=w.frame(w.CORE, w.VERDICT, w.verdict(0, b"\n")))(judged_by_dialer)
check("dialed: a PING in front of the VERDICT is UNEXPECTED", own=True, payload=hello(), code="UNEXPECTED",
      behind=w.frame(w.CORE, w.PING))(judged_by_dialer)
check("dialed: a second HELLO is UNEXPECTED", own=True, payload=hello(), code="UNEXPECTED",
      behind=w.frame(w.CORE, w.HELLO, hello()))(judged_by_dialer)
check("dialed: a VERDICT too large by its header is TOO_LARGE", own=True, payload=hello(), code="TOO_LARGE",
      behind=w.header(w.CORE, w.VERDICT, 1025))(judged_by_dialer)
check("dialed: a frame on a channel in front of the VERDICT is UNEXPECTED", own=True, payload=hello(),
      code="UNEXPECTED", behind=w.header(5, 0, 1 << 30))(judged_by_dialer)


def before_our_hello(lab, _node, data, code):
    with Dialed(lab, eager=False) as it, it.accept() as link:
        first_hello(link)
        link.send_raw(data)
        expect_disconnect(link, code)


for _name, _data, _code in (
        ("a VERDICT without a HELLO", w.frame(w.CORE, w.VERDICT), "UNEXPECTED"),
        ("a PING without a HELLO", w.frame(w.CORE, w.PING), "UNEXPECTED"),
        ("a HELLO too large by its header", w.header(w.CORE, w.HELLO, 16385), "TOO_LARGE")):
    check(f"dialed: {_name} is {_code} by DISCONNECT", own=True, data=_data, code=_code)(before_our_hello)


@check("dialed: an acceptor without HELLO is STAGE_TIMEOUT by DISCONNECT", own=True)
def _(lab, _node):
    with Dialed(lab, *QUICK) as it, it.accept() as link:
        first_hello(link)
        with Took(0.6, 5):
            expect_disconnect(link, "STAGE_TIMEOUT")


@check("dialed: an acceptor without VERDICT is STAGE_TIMEOUT by VERDICT", own=True)
def _(lab, _node):
    with Dialed(lab, *QUICK) as it, it.accept() as link:
        first_hello(link)
        link.send(w.CORE, w.HELLO, hello())
        with Took(0.6, 5):
            expect_refusal(link, "STAGE_TIMEOUT", hello=False)


@check("dialed: a session ticket is TLS_MISUSE", own=True)
def _(lab, _node):
    with Dialed(lab) as it, it.accept(tickets=2) as link:
        one = link.receive(PATIENCE)
        rest, how = ended(link)
        got = [one, *rest]
        require(how == "close_notify" and any(is_core(last, kind, "TLS_MISUSE") for last in got[-1:]
                                              for kind in (w.DISCONNECT, w.VERDICT)), f"{names(got)}, then {how}")


# ---- how it is refused, and when it comes again ------------------------------------------------------------------

def refuse(link, code, retry_after_s=0, payload=None):
    first_hello(link)
    link.send_raw(w.frame(w.CORE, w.HELLO, hello() if payload is None else payload)
                  + w.frame(w.CORE, w.VERDICT, w.verdict(w.CODE.get(code, code), b"not now", retry_after_s)))
    expect_silent_end(link)


@check("dialed: FULL is taken with close_notify, and tried again by backoff", own=True)
def _(lab, _node):
    with Dialed(lab) as it:
        for _round in range(3):
            with it.accept(5) as link:
                refuse(link, "FULL")
        with it.accept(5) as link:
            first_hello(link)
            greet(link)
            require(is_core(link.receive(PATIENCE), w.VERDICT, "ACCEPT"), "refused")
            expect_alive(link)


@check("dialed: retry_after is honoured", own=True, code="FULL")
@check("dialed: retry_after is honoured with an unknown code", own=True, code=57)
@check("dialed: retry_after is honoured with BANNED", own=True, code="BANNED")
def _(lab, _node, code):
    with Dialed(lab) as it:
        with it.accept() as link:
            refuse(link, code, retry_after_s=3)
        with Took(2.6, 7):
            it.listener.accept_tcp(PATIENCE).close()


@check("dialed: retry_after in a DISCONNECT is honoured", own=True)
def _(lab, _node):
    with Dialed(lab) as it:
        with it.accept() as link:
            link.welcome(hello(), PATIENCE)
            link.send(w.CORE, w.DISCONNECT, w.disconnect(w.CODE["DROPPED"], b"later", 3))
            expect_silent_end(link)
        with Took(2.6, 7):
            it.listener.accept_tcp(PATIENCE).close()


@check("dialed: a refusing VERDICT wins, whatever the HELLO", own=True)
def _(lab, _node):
    with Dialed(lab) as it, it.accept() as link:
        refuse(link, "FULL", payload=b"\xff")


@check("dialed: a refusal whose text breaks the rule is a refusal", own=True)
def _(lab, _node):
    with Dialed(lab) as it, it.accept() as link:
        first_hello(link)
        link.send_raw(w.frame(w.CORE, w.HELLO, hello())
                      + w.frame(w.CORE, w.VERDICT, w.verdict(1, b"\x1b]0;owned\x07" * 100)[:1024]))
        expect_silent_end(link)


@check("dialed: WRONG_NETWORK is not tried again soon", own=True, code="WRONG_NETWORK")
@check("dialed: MALFORMED is not tried again soon", own=True, code="MALFORMED")
def _(lab, _node, code):
    with Dialed(lab) as it:
        with it.accept() as link:
            refuse(link, code)
        it.expect_no_dial(2)


@check("dialed: a DISCONNECT instead of a HELLO is taken with close_notify", own=True, payload=w.disconnect(20))
@check("dialed: one that is not protobuf too", own=True, payload=b"\xff")
def _(lab, _node, payload):
    with Dialed(lab) as it, it.accept() as link:
        first_hello(link)
        link.send(w.CORE, w.DISCONNECT, payload)
        expect_silent_end(link)


def leave(link, how):
    if how == "close_notify":
        link.send_close_notify()
        expect_silent_end(link)
    elif how == "fin":
        link.send_fin()
        got, ending = ended(link)
        require(not got and ending in ("close_notify", "fin", "reset"), f"{names(got)}, {ending}")
    else:
        link.reset()


@check("dialed: an end before HELLO by close_notify is answered, and tried again", own=True, how="close_notify")
@check("dialed: an end before HELLO by FIN is tried again", own=True, how="fin")
@check("dialed: an end before HELLO by reset is tried again", own=True, how="reset")
def _(lab, _node, how):
    with Dialed(lab) as it:
        with it.accept() as link:
            first_hello(link)
            leave(link, how)
        it.listener.accept_tcp(5).close()


@check("dialed: an end when up by close_notify is answered, and tried again", own=True, how="close_notify")
@check("dialed: an end when up by FIN is tried again", own=True, how="fin")
@check("dialed: an end when up by reset is tried again", own=True, how="reset")
def _(lab, _node, how):
    with Dialed(lab) as it:
        with it.accept() as link:
            link.welcome(hello(), PATIENCE)
            expect_alive(link)
            leave(link, how)
        it.listener.accept_tcp(5).close()


# ---- what is no helo/1 -------------------------------------------------------------------------------------------

@check("dialed: a gate alert 49 is tried again", own=True, data=b"\x15\3\3\0\2\2\x31")
@check("dialed: a gate alert 80 is tried again", own=True, data=b"\x15\3\3\0\2\2\x50")
@check("dialed: HTTP is tried again", own=True, data=b"HTTP/1.1 400 Bad Request\r\n\r\n")
@check("dialed: an SSH banner is tried again", own=True, data=b"SSH-2.0-OpenSSH_9.2\r\n")
@check("dialed: an end without a byte is tried again", own=True, data=b"")
def _(lab, _node, data):
    with Dialed(lab) as it:
        for _round in range(2):
            with it.listener.accept_tcp(5) as sock:
                sock.settimeout(PATIENCE)
                require(sock.recv(5)[:2] == b"\x16\x03", "no ClientHello")
                with contextlib.suppress(OSError):
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(4096):
                        pass


def shown_the_door(it, context):
    """TLS ends without a frame of the node."""
    link = w.Link(it.listener.accept_tcp(PATIENCE), context, dialer=False)
    with link:
        try:
            link.handshake(PATIENCE)
            got, how = ended(link)
            require(not got, f"frames came: {names(got)}")
        except w.Ended as end:
            how = end.how
        require(how != "close_notify", "it closed as if TLS stood")
        return how


@check("dialed: an acceptor that does not confirm ALPN gets no HELLO", own=True)
def _(lab, _node):
    with Dialed(lab) as it:
        shown_the_door(it, it.context(alpn=()))


@check("dialed: an acceptor with an RSA key gets no HELLO", own=True, algorithm=("rsa:2048",))
@check("dialed: an acceptor with a P-256 key gets no HELLO", own=True,
       algorithm=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"))
def _(lab, _node, algorithm):
    with Dialed(lab) as it:
        it.me = w.Identity.create(lab.folder, algorithm)
        shown_the_door(it, it.context())


@check("dialed: an acceptor without a certificate gets no HELLO", own=True)
def _(lab, _node):
    with Dialed(lab) as it:
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        bare.set_alpn_protocols([w.ALPN])
        shown_the_door(it, bare)


@check("dialed: an acceptor with two certificates gets no HELLO", own=True)
def _(lab, _node):
    with Dialed(lab) as it:
        both = lab.new_folder() / "both.crt"
        both.write_text(it.me.certificate.read_text() + lab.identity().certificate.read_text())
        it.me = w.Identity(both, it.me.key, it.me.id)
        shown_the_door(it, it.context())


@check("dialed: an acceptor of TLS 1.2 gets no HELLO", own=True)
def _(lab, _node):
    with Dialed(lab) as it:
        shown_the_door(it, it.context(version=ssl.TLSVersion.TLSv1_2))


@check("dialed: an acceptor that never answers TLS is given up", own=True)
def _(lab, _node):
    with Dialed(lab, "--tls-timeout", "1s") as it, it.listener.accept_tcp(PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        with Took(0.5, 6), contextlib.suppress(ConnectionResetError):
            while sock.recv(4096):
                pass


@check("dialed: a node that dials is still one to be dialed", own=True)
def _(lab, _node):
    with Dialed(lab) as it, it.accept() as link:
        link.welcome(hello(), PATIENCE)
        with joined(lab, it.node)[0] as other:
            expect_alive(other)
        expect_alive(link)
        began = time.monotonic()
        it.node.terminate()
        expect_shutdown(link)
        require(it.node.process.wait(10) == 0 and time.monotonic() - began < 6, "a slow or failed end")
