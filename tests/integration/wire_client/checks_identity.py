"""A dialer's side of sections 3 and 6: PROBE, slots, and one connection a pair."""

import time

import helo_wire as w
from conformance_kit import (PATIENCE, Took, check, dial, expect_alive, expect_disconnect, expect_refusal,
                             expect_silent_end, hello, is_core, joined, names, require)

# ---- PROBE -------------------------------------------------------------------------------------------------------

def probe(**more):
    return hello(purpose=w.PROBE_PURPOSE, **more)


@check("probe: ACCEPT, then VERDICT(PROBE) and both close")
def _(lab, node):
    with dial(lab, node) as link:
        theirs, judged = link.shake_hands(probe(), PATIENCE)
        require(is_core(theirs, w.HELLO) and is_core(judged, w.VERDICT, "ACCEPT"), names([theirs, judged]))
        require(theirs.message["purpose"] == 0, "the acceptor's purpose")
        link.send(w.CORE, w.VERDICT, w.verdict(w.CODE["PROBE"]))
        expect_silent_end(link)


@check("probe: gets the refusal that a JOIN would get, and may leave with close_notify alone")
def _(lab, node):
    with dial(lab, node) as link:
        link.send(w.CORE, w.HELLO, probe(network="other"))
        verdict = expect_refusal(link, "WRONG_NETWORK")
        link.send_close_notify()
        require(verdict["code"] == w.CODE["WRONG_NETWORK"], str(verdict))


@check("probe: its VERDICT(0) is UNEXPECTED")
def _(lab, node):
    with dial(lab, node) as link:
        link.shake_hands(probe(), PATIENCE)
        link.send(w.CORE, w.VERDICT, w.verdict(0))
        expect_disconnect(link, "UNEXPECTED")


@check("probe: another refusing code ends it")
def _(lab, node):
    with dial(lab, node) as link:
        link.shake_hands(probe(), PATIENCE)
        link.send(w.CORE, w.VERDICT, w.verdict(1))
        expect_silent_end(link)


@check("probe: reserves nothing, and is told FULL", own=True)
def _(lab, _node):
    with lab.node("--max-inbound", "1") as node, dial(lab, node) as prober:
        theirs, judged = prober.shake_hands(probe(), PATIENCE)
        require(is_core(judged, w.VERDICT, "ACCEPT"), names([theirs, judged]))
        with joined(lab, node)[0] as link:
            expect_alive(link)
            with dial(lab, node) as second:
                second.send(w.CORE, w.HELLO, probe())
                expect_refusal(second, "FULL")
            expect_alive(link)


@check("probe: where a JOIN would start a challenge it gets DUPLICATE at once, and no PING is sent for it")
def _(lab, node):
    me = lab.identity(below=node.id)
    link, _ = joined(lab, node, me)
    link.answer_pings = False
    with link, dial(lab, node, me) as prober:
        prober.send(w.CORE, w.HELLO, probe())
        with Took(0, 1.9):
            expect_refusal(prober, "DUPLICATE")
        require(not expect_alive(link), "a challenge was sent")


# ---- one connection a pair ---------------------------------------------------------------------------------------

@check("identity: the node's own id is SELF, closed after TLS")
def _(lab, node):
    me = w.Identity.of_key(node.data / "node.key", lab.folder)
    require(me.id == node.id, "the key file is another's")
    with dial(lab, node, me) as link:
        expect_disconnect(link, "SELF")


@check("identity: FULL", own=True)
def _(lab, _node):
    with lab.node("--max-inbound", "1") as node, joined(lab, node)[0] as link:
        expect_alive(link)
        with dial(lab, node) as second:
            second.send(w.CORE, w.HELLO, hello())
            expect_refusal(second, "FULL")
        expect_alive(link)
        link.send(w.CORE, w.DISCONNECT, w.disconnect(20))
        expect_silent_end(link)
        with joined(lab, node)[0] as third:  # the slot is free when the close begins
            expect_alive(third)


@check("identity: a slot is held from the acceptor's ACCEPT on", own=True)
def _(lab, _node):
    with lab.node("--max-inbound", "1") as node, dial(lab, node) as waiting:
        theirs, judged = waiting.shake_hands(hello(), PATIENCE)
        require(is_core(judged, w.VERDICT, "ACCEPT"), names([theirs, judged]))
        with dial(lab, node) as second:
            second.send(w.CORE, w.HELLO, hello())
            expect_refusal(second, "FULL")
        waiting.send(w.CORE, w.VERDICT, w.verdict(0))
        expect_alive(waiting)


@check("identity: the referee answers DUPLICATE when the old connection is not up yet")
def _(lab, node):
    me = lab.identity(below=node.id)
    with dial(lab, node, me) as first:
        first.shake_hands(hello(), PATIENCE)
        with dial(lab, node, me) as second:
            second.send(w.CORE, w.HELLO, hello())
            expect_refusal(second, "DUPLICATE")
        first.send(w.CORE, w.VERDICT, w.verdict(0))
        expect_alive(first)


@check("identity: a challenge that is answered keeps the old connection")
def _(lab, node):
    me = lab.identity(below=node.id)
    link, _ = joined(lab, node, me)
    link.answer_pings = False
    with link, dial(lab, node, me) as second:
        second.send(w.CORE, w.HELLO, hello())
        challenge = link.receive(PATIENCE)
        require(is_core(challenge, w.PING), str(challenge))
        # Any frame is a sign of life.
        link.send(w.CORE, 300, b"alive")
        with Took(0, 1.9):
            expect_refusal(second, "DUPLICATE")
        link.send(w.CORE, w.PONG, w.pong(challenge.message["nonce"]))
        expect_alive(link)


@check("identity: a challenge that is not answered gives the newcomer the place")
def _(lab, node):
    me = lab.identity(below=node.id)
    link, _ = joined(lab, node, me)
    link.answer_pings = False
    with link, dial(lab, node, me) as second:
        with Took(1.5, 8):
            second.join(hello(), PATIENCE)
        expect_alive(second)
        expect_disconnect(link, "REPLACED", skip=lambda one: is_core(one, w.PING))


@check("identity: the fourth newcomer whose challenge fails in 60 s is RATE_LIMITED", "--challenge-timeout", "300ms")
def _(lab, node):
    me = lab.identity(below=node.id)
    link, _ = joined(lab, node, me)
    for _round in range(3):
        link.answer_pings = False
        newer, _ = joined(lab, node, me)
        link.sock.close()
        link = newer
    link.answer_pings = False
    with link, dial(lab, node, me) as fourth:
        fourth.send(w.CORE, w.HELLO, hello())
        verdict = expect_refusal(fourth, "RATE_LIMITED")
        require(0 < verdict["retry_after_s"] <= 60, f"retry_after {verdict['retry_after_s']}")
        require(all(is_core(one, w.PING) for one in expect_alive(link)), "the old connection does not stay")


@check("identity: beyond five challenges in 10 s a newcomer gets DUPLICATE without a PING")
def _(lab, node):
    me = lab.identity(below=node.id)
    link, _ = joined(lab, node, me)
    with link:
        for _round in range(8):
            with dial(lab, node, me) as newer:
                newer.send(w.CORE, w.HELLO, hello())
                # Somebody must read the old one, which answers by itself.
                deadline = time.monotonic() + 0.3
                while time.monotonic() < deadline:
                    try:
                        link.receive(deadline - time.monotonic())
                    except w.TimedOut:
                        pass
                expect_refusal(newer, "DUPLICATE")
        expect_alive(link)
        require(1 <= link.pings_answered <= 5, f"{link.pings_answered} challenges")


@check("identity: one that is not the referee lets the newcomer in and closes its older one with REPLACED")
def _(lab, node):
    me = lab.identity(above=node.id)
    link, _ = joined(lab, node, me)
    with link:
        second, _ = joined(lab, node, me)
        with second:
            expect_alive(second)
            expect_disconnect(link, "REPLACED")


@check("identity: crossing dials end with one connection", own=True)
def _(lab, _node):
    # The node is the referee. Its own dial waits here for our HELLO while we dial it.
    with w.Listener() as listener, lab.node("--peer", "%s:%d" % listener.address) as node:
        me = lab.identity(below=node.id)
        with listener.accept(w.server_context(me, node.certificate(lab)), PATIENCE) as held:
            require(is_core(held.receive(PATIENCE), w.HELLO), "no HELLO of the dialer")
            ours, _ = joined(lab, node, me)
            with ours:
                expect_alive(ours)
                ours.answer_pings = False
                held.send_raw(w.frame(w.CORE, w.HELLO, hello()) + w.frame(w.CORE, w.VERDICT))
                challenge = ours.receive(PATIENCE)
                require(is_core(challenge, w.PING), str(challenge))
                ours.send(w.CORE, w.PONG, w.pong(challenge.message["nonce"]))
                expect_refusal(held, "DUPLICATE", hello=False)
                expect_alive(ours)
