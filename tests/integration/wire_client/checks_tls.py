"""A dialer's side of section 1: TLS, certificates, the gate."""

import random
import ssl

import helo_wire as w
from conformance_kit import (PATIENCE, check, dial, ended, expect_alive, expect_silent_end, hello, joined, names,
                             require)

# ---- TLS ---------------------------------------------------------------------------------------------------------

def tls_refusal(lab, node, context):
    """The node ends TLS with an alert, HELLO being neither read nor sent. Returns the alert."""
    del lab
    link = w.Link(w.connect(node.address), context, dialer=True)
    with link:
        try:
            link.handshake(PATIENCE)
            link.send(w.CORE, w.HELLO, hello())
            got, how = ended(link)
            require(not got, f"frames came: {names(got)}")
        except w.Ended as end:
            how = end.how
        require(how.startswith("alert:"), f"no alert but {how}")
        return how


@check("tls: another ALPN is refused with alert 120", alpn=("helo/2",))
@check("tls: HTTP's ALPN is refused with alert 120", alpn=("h2", "http/1.1"))
@check("tls: no ALPN is refused with alert 120", alpn=())
def _(lab, node, alpn):
    alert = tls_refusal(lab, node, w.client_context(lab.identity(), alpn))
    require(alert == "alert:120", alert)


@check("tls: helo/1 among other ALPNs is found")
def _(lab, node):
    with w.dial(node.address, None, PATIENCE, w.client_context(lab.identity(), ("h2", "helo/2", "helo/1"))) as link:
        require(link.alpn == "helo/1", link.alpn)
        link.join(hello(), PATIENCE)
        expect_alive(link)


@check("tls: a dialer without a certificate is refused")
def _(lab, node):
    tls_refusal(lab, node, w.client_context())


@check("tls: an RSA key is refused", algorithm=("rsa:2048",))
@check("tls: a P-256 key is refused", algorithm=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"))
@check("tls: an Ed448 key is refused", algorithm=("ed448",))
def _(lab, node, algorithm):
    tls_refusal(lab, node, w.client_context(w.Identity.create(lab.folder, algorithm)))


@check("tls: two certificates are refused")
def _(lab, node):
    first, second = lab.identity(), lab.identity()
    both = lab.new_folder() / "both.crt"
    both.write_text(first.certificate.read_text() + second.certificate.read_text())
    tls_refusal(lab, node, w.client_context(w.Identity(both, first.key, first.id)))


@check("tls: a certificate list of more than 1,024 bytes is refused")
def _(lab, node):
    one = lab.identity()
    fat = lab.new_folder() / "fat.crt"
    w.openssl("req", "-x509", "-new", "-key", one.key, "-out", fat, "-subj", "/CN=wire", "-addext",
               "nsComment=" + "x" * 1000)
    tls_refusal(lab, node, w.client_context(w.Identity(fat, one.key, one.id)))


@check("tls: nothing but the key counts: names, critical extensions, dates and self-signature are what they like")
def _(lab, node):
    one = lab.identity()
    odd = lab.new_folder() / "odd.crt"
    w.openssl("req", "-x509", "-new", "-key", one.key, "-out", odd, "-subj", "/O=x/CN=not a node", "-days", "1",
               "-addext", "1.2.3.4=critical,ASN1:NULL", "-addext", "keyUsage=critical,cRLSign")
    der = bytearray(ssl.PEM_cert_to_DER_cert(odd.read_text()))
    dates = [at for at in range(len(der)) if der[at:at + 2] == b"\x17\x0d"]
    require(len(dates) == 2, "the two dates are not where they were expected")
    for at, date in zip(dates, (b"200101000000Z", b"200102000000Z")):
        der[at + 2:at + 15] = date  # long past, and the signature is wrong from here on
    odd.write_text(ssl.DER_cert_to_PEM_cert(bytes(der)))
    with joined(lab, node, w.Identity(odd, one.key, one.id))[0] as link:
        require(link.remote_id == node.id, "another id")
        expect_alive(link)


@check("tls: TLS 1.2 is refused")
def _(lab, node):
    tls_refusal(lab, node, w.client_context(lab.identity(), version=ssl.TLSVersion.TLSv1_2))


@check("tls: HTTP gets no answer in plain text", data=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
@check("tls: an SSH client gets no answer in plain text", data=b"SSH-2.0-x\r\n")
@check("tls: random bytes get no answer in plain text", data=random.Random(1).randbytes(300))
def _(lab, node, data):
    del lab
    with w.connect(node.address) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(data)
        got = b""
        try:
            while piece := sock.recv(1000):
                got += piece
        except ConnectionResetError:
            pass
        require(got == b"" or (got[:1] == b"\x15" and len(got) == 7), f"came {got!r}")


@check("tls: a caller that resets is no harm")
def _(lab, node):
    for step in range(4):
        link = w.Link(w.connect(node.address), w.client_context(lab.identity()), dialer=True)
        if step > 0:
            link.handshake(PATIENCE)
        if step > 1:
            link.send(w.CORE, w.HELLO, hello())
        if step > 2:
            link.receive(PATIENCE)
        link.reset()
    with joined(lab, node)[0] as link:
        expect_alive(link)


@check("gate: a caller too many is told by the seven bytes, or by RATE_LIMITED", "--exempt-sources", "none",
       "--source-attempts", "3", "--source-window", "60s")
def _(lab, node):
    for _attempt in range(3):
        with dial(lab, node) as link:
            link.send(w.CORE, w.DISCONNECT, w.disconnect(20))
            expect_silent_end(link)
    link = w.Link(w.connect(node.address), w.client_context(lab.identity()), dialer=True)
    with link:
        try:
            link.handshake(PATIENCE)
            link.send(w.CORE, w.HELLO, hello())
            got, how = ended(link)
            require(bool(got) and got[-1].message["code"] == w.CODE["RATE_LIMITED"], f"{names(got)}, {how}")
        except w.Ended as end:
            require(link.first_bytes == b"\x15\3\3\0\2\2\x50", f"{link.first_bytes.hex()}, {end.how}")
