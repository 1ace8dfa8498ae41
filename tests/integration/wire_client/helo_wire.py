"""helo/1, written from the protocol page alone: a second implementation to hold the first one to.

It shares no code with p2p and is nobody's dependency. It dials, it accepts, it sends any bytes whatever as a frame, and
it does nothing by itself but answer a PING, and that only where the caller lets it: a script that misbehaves on purpose
must stay in charge. Python's standard library and the `openssl` command; nothing else.

    me = Identity.create(folder)
    link = dial(("127.0.0.1", 4356), me)
    link.join(hello(offers=[ECHO]))
    link.send(CORE, PING, ping(nonce=7))
    print(link.receive(timeout=2))

Thread rule: a Link and a Listener belong to one thread at a time.
"""

import dataclasses
import os
import pathlib
import select
import socket
import ssl
import struct
import subprocess
import time

ALPN = "helo/1"
CORE = 0  # the channel of the core messages
HELLO, VERDICT, DISCONNECT, PING, PONG, OFFER, WITHDRAW, GET_PEERS, PEERS = range(1, 10)
TYPE_NAMES = {HELLO: "HELLO", VERDICT: "VERDICT", DISCONNECT: "DISCONNECT", PING: "PING", PONG: "PONG", OFFER: "OFFER",
              WITHDRAW: "WITHDRAW", GET_PEERS: "GET_PEERS", PEERS: "PEERS"}
LIMITS = {HELLO: 16384, VERDICT: 1024, DISCONNECT: 1024, PING: 64, PONG: 64, OFFER: 4096, WITHDRAW: 64, GET_PEERS: 64,
          PEERS: 16384}
UNKNOWN_LIMIT = 1024
JOIN, PROBE_PURPOSE = 0, 1

CODES = {
    0: "ACCEPT", 1: "FULL", 2: "BUSY", 3: "RATE_LIMITED", 4: "BANNED", 5: "EVICTED", 6: "DUPLICATE", 7: "REPLACED",
    8: "SELF", 10: "WRONG_NETWORK", 11: "WRONG_GENESIS", 12: "NO_SHARED_CAPABILITY", 13: "MINOR_TOO_OLD",
    14: "UNEXPECTED_ID", 15: "PROBE", 20: "SHUTTING_DOWN", 21: "DROPPED", 22: "PLUGIN_POLITE", 30: "MALFORMED",
    31: "UNEXPECTED", 32: "TOO_LARGE", 33: "UNKNOWN_CHANNEL", 34: "FLOOD", 35: "PLUGIN_VIOLATION", 36: "TLS_MISUSE",
    40: "STAGE_TIMEOUT", 41: "PING_TIMEOUT", 42: "NOT_READING", 43: "PLUGIN_SLOW", 44: "INTERNAL", 45: "PLUGIN_GONE",
}
CODE = {name: number for number, name in CODES.items()}


# ---- protobuf, by hand -------------------------------------------------------------------------------------------

def varint(value):
    value &= (1 << 64) - 1  # negative int64 takes ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number, wire_type):
    return varint(number << 3 | wire_type)


def field_varint(number, value):
    return tag(number, 0) + varint(value)


def field_fixed64(number, value):
    return tag(number, 1) + struct.pack("<Q", value)


def field_bytes(number, value):
    if isinstance(value, str):
        value = value.encode()
    return tag(number, 2) + varint(len(value)) + value


class Malformed(Exception):
    pass


def _take_varint(data, at):
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed("a varint is cut")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise Malformed("a varint of more than ten bytes")


def fields(data):
    """The fields of a message in their order, as (number, wire type, value)."""
    at, found = 0, []
    while at < len(data):
        key, at = _take_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise Malformed("field number 0")
        if wire_type == 0:
            value, at = _take_varint(data, at)
        elif wire_type in (1, 2, 5):
            size = {1: 8, 5: 4}.get(wire_type)
            if size is None:
                size, at = _take_varint(data, at)
            value = data[at:at + size]
            if len(value) != size:
                raise Malformed("a field is cut")
            at += size
        else:
            raise Malformed(f"wire type {wire_type}")
        found.append((number, wire_type, value))
    return found


ENDPOINT = {1: ("ip", "bytes"), 2: ("port", "uint32")}
OFFER_FIELDS = {1: ("channel", "uint32"), 2: ("name", "string"), 3: ("version", "uint32"),
                4: ("message_count", "uint32"), 5: ("max_message_bytes", "uint32")}
SCHEMA = {
    HELLO: {1: ("minor", "uint32"), 2: ("network", "string"), 3: ("genesis", "bytes"), 4: ("user_agent", "string"),
            5: ("offers", [OFFER_FIELDS]), 6: ("advertised", [ENDPOINT]), 7: ("observed", ENDPOINT),
            8: ("clock_us", "int64"), 9: ("purpose", "uint32"), 10: ("features", "uint64")},
    VERDICT: {1: ("code", "uint32"), 2: ("text", "bytes"), 3: ("retry_after_s", "uint32")},
    DISCONNECT: {1: ("code", "uint32"), 2: ("text", "bytes"), 3: ("retry_after_s", "uint32")},
    PING: {1: ("nonce", "fixed64")},
    PONG: {1: ("nonce", "fixed64"), 2: ("clock_us", "int64")},
    OFFER: {1: ("offers", [OFFER_FIELDS])},
    WITHDRAW: {1: ("name", "string"), 2: ("code", "uint32")},
    GET_PEERS: {1: ("max", "uint32")},
    PEERS: {1: ("peers", [{1: ("node_id", "bytes"), 2: ("endpoint", ENDPOINT), 3: ("age_s", "uint32")}])},
}
_DEFAULT = {"uint32": 0, "uint64": 0, "int64": 0, "fixed64": 0, "bytes": b"", "string": ""}
_WIRE_TYPE = {"uint32": 0, "uint64": 0, "int64": 0, "fixed64": 1, "bytes": 2, "string": 2}


def decode(schema, data):
    """A message as a dictionary of all its known fields; absent ones have proto3's defaults, absent messages None."""
    message = {name: [] if isinstance(kind, list) else None if isinstance(kind, dict) else _DEFAULT[kind]
               for name, kind in schema.values()}
    _merge(schema, data, message)
    return message


def _merge(schema, data, message):
    for number, wire_type, value in fields(data):
        if number not in schema:
            continue
        name, kind = schema[number]
        if wire_type != (2 if isinstance(kind, (dict, list)) else _WIRE_TYPE[kind]):
            continue
        if isinstance(kind, list):
            message[name].append(decode(kind[0], value))
        elif isinstance(kind, dict):
            message[name] = message[name] or decode(kind, b"")
            _merge(kind, value, message[name])
        elif kind == "uint32":
            message[name] = value & 0xFFFFFFFF
        elif kind == "int64":
            message[name] = value - (1 << 64) if value >> 63 else value
        elif kind == "fixed64":
            message[name] = struct.unpack("<Q", value)[0]
        elif kind == "string":
            try:
                message[name] = value.decode()
            except UnicodeDecodeError as error:
                raise Malformed(f"{name} is not UTF-8") from error
        else:
            message[name] = value


# ---- messages ----------------------------------------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Offer:
    channel: int
    name: str
    version: int = 1
    message_count: int = 1
    max_message_bytes: int = 65536

    def encode(self):
        return (field_varint(1, self.channel) + field_bytes(2, self.name) + field_varint(3, self.version)
                + field_varint(4, self.message_count) + field_varint(5, self.max_message_bytes))


# Test capability of the node under test: message 0 is answered by message 1 with the same bytes.
ECHO = Offer(channel=7, name="echo", version=1, message_count=2, max_message_bytes=65536)


def endpoint(ip, port):
    """`ip` as text, or as raw bytes where it shall be wrong."""
    if isinstance(ip, str):
        ip = socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)
    return field_bytes(1, ip) + field_varint(2, port)


def hello(network="helo-dev", genesis=b"", user_agent="helo-wire-py/1", offers=(), advertised=(), observed=None,
          clock_us=None, purpose=JOIN, features=0, minor=0, extra=b""):
    """A HELLO's payload. Nothing is checked; `extra` are more bytes at its end."""
    out = b""
    if minor:
        out += field_varint(1, minor)
    out += field_bytes(2, network)
    if genesis:
        out += field_bytes(3, genesis)
    out += field_bytes(4, user_agent)
    for one in offers:
        out += field_bytes(5, one if isinstance(one, bytes) else one.encode())
    for one in advertised:
        out += field_bytes(6, one)
    if observed is not None:
        out += field_bytes(7, observed)
    out += field_varint(8, int(time.time() * 1e6) if clock_us is None else clock_us)
    if purpose:
        out += field_varint(9, purpose)
    if features:
        out += field_varint(10, features)
    return out + extra


def verdict(code=0, text=b"", retry_after_s=0):
    out = field_varint(1, code) if code else b""
    if text:
        out += field_bytes(2, text)
    return out + (field_varint(3, retry_after_s) if retry_after_s else b"")


disconnect = verdict  # the same three fields


def ping(nonce):
    return field_fixed64(1, nonce)


def pong(nonce, clock_us=None):
    return field_fixed64(1, nonce) + field_varint(2, int(time.time() * 1e6) if clock_us is None else clock_us)


def offer(*offers):
    return b"".join(field_bytes(1, one if isinstance(one, bytes) else one.encode()) for one in offers)


def withdraw(name, code=0):
    return field_bytes(1, name) + (field_varint(2, code) if code else b"")


def get_peers(most=0):
    return field_varint(1, most) if most else b""


def header(channel, kind, length):
    return struct.pack(">IHH", length, channel, kind)


def frame(channel, kind, payload=b""):
    return header(channel, kind, len(payload)) + payload


@dataclasses.dataclass(frozen=True)
class Frame:
    channel: int
    type: int
    payload: bytes

    @property
    def message(self):
        """The decoded core message."""
        return decode(SCHEMA[self.type], self.payload)

    @property
    def name(self):
        return TYPE_NAMES.get(self.type, str(self.type)) if self.channel == CORE else f"{self.channel}/{self.type}"

    def __str__(self):
        if self.channel != CORE or self.type not in SCHEMA:
            return f"{self.name} {self.payload[:40].hex()} ({len(self.payload)} bytes)"
        try:
            message = self.message
        except Malformed as error:
            return f"{self.name} malformed: {error}"
        if self.type in (VERDICT, DISCONNECT):
            code = message["code"]
            return f"{self.name}({CODES.get(code, code)}) {message['text']!r} retry_after {message['retry_after_s']} s"
        return f"{self.name} {message}"


# ---- identity ----------------------------------------------------------------------------------------------------

SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(map(str, arguments))}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def _der(data, at):
    """(tag, start of the body, end) of the element at `at`."""
    size, body = data[at + 1], at + 2
    if size >= 0x80:
        count = size & 0x7F
        size, body = int.from_bytes(data[body:body + count], "big"), body + count
    return data[at], body, body + size


def id_of_certificate(der):
    """The node id: the key in the SubjectPublicKeyInfo, which is the seventh element of the TBSCertificate, or the
    sixth where the version is absent."""
    _, certificate, _ = _der(der, 0)
    _, at, _ = _der(der, certificate)
    if der[at] == 0xA0:
        at = _der(der, at)[2]
    for _ in range(5):  # serial, algorithm, issuer, validity, subject
        at = _der(der, at)[2]
    spki = der[at:_der(der, at)[2]]
    if len(spki) != 44 or not spki.startswith(SPKI_PREFIX):
        raise Malformed(f"not an Ed25519 key: {spki.hex()}")
    return spki[12:].hex()


@dataclasses.dataclass(frozen=True)
class Identity:
    certificate: pathlib.Path  # PEM
    key: pathlib.Path          # PEM
    id: str                    # 64 hex digits; empty when the key is not Ed25519

    @staticmethod
    def create(folder, algorithm=("ed25519",)):
        """A fresh key and its certificate, by one call of openssl."""
        base = pathlib.Path(folder) / os.urandom(8).hex()
        key, certificate = base.with_suffix(".key"), base.with_suffix(".crt")
        openssl("req", "-x509", "-newkey", *algorithm, "-nodes", "-keyout", key, "-out", certificate, "-subj",
                 "/CN=wire", "-days", "36500")
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        return Identity(certificate, key, id_of_certificate(der) if algorithm[0] == "ed25519" else "")

    @staticmethod
    def of_key(key, folder):
        """A certificate of one's own around an existing key file."""
        certificate = pathlib.Path(folder) / (os.urandom(8).hex() + ".crt")
        openssl("req", "-x509", "-new", "-key", key, "-out", certificate, "-subj", "/CN=wire", "-days", "36500")
        return Identity(certificate, pathlib.Path(key),
                        id_of_certificate(ssl.PEM_cert_to_DER_cert(certificate.read_text())))


# ---- connections -------------------------------------------------------------------------------------------------

class Ended(Exception):
    """The other side ended the connection. `how`: "close_notify", "fin" (without close_notify), "reset", or
    "alert:NUMBER" where an alert came in plain text, else "alert:NAME" or "tls:NAME" in OpenSSL's words, an alert
    having been received or a failure found here."""

    def __init__(self, how):
        super().__init__(how)
        self.how = how


class TimedOut(Exception):
    pass


def client_context(identity=None, alpn=(ALPN,), version=ssl.TLSVersion.TLSv1_3):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # who it is, id_of_certificate says; TLS proves that it holds the key
    context.minimum_version = min(version, ssl.TLSVersion.TLSv1_2)
    context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


def server_context(identity, trusted_der=None, alpn=(ALPN,), tickets=0, version=ssl.TLSVersion.TLSv1_3):
    """`trusted_der`: the one certificate that a caller may show. Python's ssl can only ask for a certificate that it
    knows beforehand; without it none is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = min(version, ssl.TLSVersion.TLSv1_2)
    context.maximum_version = version
    context.num_tickets = tickets
    if alpn:
        context.set_alpn_protocols(list(alpn))
    context.load_cert_chain(identity.certificate, identity.key)
    if trusted_der is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=trusted_der)
    return context


class Link:
    """One connection with TLS driven by hand over memory buffers, so that what goes into which TCP segment, and how it
    ends, is the caller's to say."""

    def __init__(self, sock, context, dialer, server_name=None):
        self.sock = sock
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=not dialer, server_hostname=server_name)
        self._plain = bytearray()
        self._ended = None
        self.first_bytes = b""  # as they came, before TLS made anything of them
        self.answer_pings = True
        self.corked = False
        self.pings_answered = 0

    # -- below: TCP

    def send_wire(self, data, timeout=10.0):
        """Raw bytes on the socket. That the other side has closed is not an error here: reading says how."""
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view):]
            except BlockingIOError:
                if not select.select([], [self.sock], [], max(0.0, deadline - time.monotonic()))[1]:
                    raise TimedOut(f"{len(view)} bytes do not go out") from None
            except OSError:
                return

    def send_some(self, data):
        """As many bytes of the stream of frames as go out within a short time; what does not is dropped, so the stream
        is of no use afterwards. False once the other side takes nothing."""
        self.corked = True
        self.send_raw(data)
        self.corked = False
        try:
            self.send_wire(self._out.read(), timeout=0.2)
            return True
        except TimedOut:
            return False

    def flush(self):
        if not self.corked and self._out.pending:
            self.send_wire(self._out.read())

    def _fill(self, deadline):
        """Waits for bytes of the other side; raises TimedOut or Ended."""
        if not select.select([self.sock], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimedOut()
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            self._end("reset")
        except OSError as error:
            self._end(f"os:{error.errno}")
        if not data:
            self._end("fin")
        if len(self.first_bytes) < 64:
            self.first_bytes += data[:64]
        self._in.write(data)

    def _end(self, how):
        self._ended = self._ended or how
        raise Ended(self._ended)

    # -- TLS

    def _tls_failed(self, error):
        self.flush()  # the alert
        name = error.reason or type(error).__name__
        if self.first_bytes[:1] == b"\x15" and len(self.first_bytes) >= 7:
            self._end(f"alert:{self.first_bytes[6]}")  # in plain text, where Python has no word for some
        self._end(f"alert:{name}" if "ALERT" in name else f"tls:{name}")

    def handshake(self, timeout=10.0):
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._tls.do_handshake()
                self.flush()
                return self
            except ssl.SSLWantReadError:
                self.flush()
                self._fill(deadline)
            except ssl.SSLError as error:
                self._tls_failed(error)

    @property
    def remote_certificate(self):
        return self._tls.getpeercert(binary_form=True)

    @property
    def remote_id(self):
        return id_of_certificate(self.remote_certificate)

    @property
    def alpn(self):
        return self._tls.selected_alpn_protocol()

    @property
    def has_ticket(self):
        return self._tls.session is not None and self._tls.session.has_ticket

    @property
    def tls_version(self):
        return self._tls.version()

    def send_raw(self, data):
        """Bytes of the stream of frames, whole frames or not."""
        for at in range(0, len(data), 16384):
            try:
                self._tls.write(data[at:at + 16384])
            except ssl.SSLError:
                break  # the other side is gone; reading says how
            self.flush()

    def _read_plain(self, deadline):
        while True:
            try:
                data = self._tls.read(65536)
                if not data:
                    self._end("close_notify")
                self._plain += data
                return
            except ssl.SSLWantReadError:
                self.flush()
                self._fill(deadline)
            except ssl.SSLZeroReturnError:
                self._end("close_notify")
            except ssl.SSLError as error:
                self._tls_failed(error)

    # -- frames

    def send(self, channel, kind, payload=b""):
        self.send_raw(frame(channel, kind, payload))

    def receive(self, timeout=10.0):
        """The next frame. PINGs are answered and not returned while `answer_pings`."""
        deadline = time.monotonic() + timeout
        while True:
            if len(self._plain) >= 8:
                length, channel, kind = struct.unpack(">IHH", self._plain[:8])
                if len(self._plain) >= 8 + length:
                    got = Frame(channel, kind, bytes(self._plain[8:8 + length]))
                    del self._plain[:8 + length]
                    if self.answer_pings and (channel, kind) == (CORE, PING):
                        self.send(CORE, PONG, pong(got.message["nonce"]))
                        self.pings_answered += 1
                        continue
                    return got
            if self._ended:
                raise Ended(self._ended)
            self._read_plain(deadline)

    def until_end(self, timeout=10.0):
        """Every frame up to the end, and how it ended."""
        deadline = time.monotonic() + timeout
        got = []
        while True:
            try:
                got.append(self.receive(max(0.0, deadline - time.monotonic())))
            except Ended as end:
                return got, end.how

    # -- the dance

    def shake_hands(self, payload, timeout=10.0):
        """As a dialer: HELLO out, HELLO and VERDICT in, as two frames."""
        self.send(CORE, HELLO, payload)
        return self.receive(timeout), self.receive(timeout)

    def join(self, payload, timeout=10.0):
        """As a dialer, to up. Returns the other side's HELLO."""
        theirs, judged = self.shake_hands(payload, timeout)
        if (theirs.channel, theirs.type) != (CORE, HELLO):
            raise AssertionError(f"instead of a HELLO came {theirs}")
        if (judged.channel, judged.type) != (CORE, VERDICT) or judged.message["code"] != 0:
            raise AssertionError(f"instead of VERDICT(ACCEPT) came {judged}")
        self.send(CORE, VERDICT, verdict(0))
        return theirs.message

    def welcome(self, payload, timeout=10.0):
        """As an acceptor, to up. Returns the dialer's HELLO."""
        theirs = self.receive(timeout)
        if (theirs.channel, theirs.type) != (CORE, HELLO):
            raise AssertionError(f"instead of a HELLO came {theirs}")
        self.send_raw(frame(CORE, HELLO, payload) + frame(CORE, VERDICT, verdict(0)))
        judged = self.receive(timeout)
        if (judged.channel, judged.type) != (CORE, VERDICT) or judged.message["code"] != 0:
            raise AssertionError(f"instead of VERDICT(ACCEPT) came {judged}")
        return theirs.message

    # -- ends

    def send_close_notify(self):
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # wants the other's, which receive() will see
        self.flush()

    def send_fin(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        """Ends with a TCP RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.send_close_notify()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def connect(address, timeout=10.0):
    return socket.create_connection(address, timeout=timeout)


def dial(address, identity, timeout=10.0, context=None):
    """TLS to `address`, nothing sent yet."""
    link = Link(connect(address, timeout), context or client_context(identity), dialer=True)
    try:
        link.handshake(timeout)
        if link.alpn != ALPN and context is None:
            raise AssertionError(f"ALPN is {link.alpn}")
    except BaseException:
        link.sock.close()
        raise
    return link


class Listener:
    """Where a node may dial us."""

    def __init__(self, address=("127.0.0.1", 0)):
        self.sock = socket.create_server(address)
        self.address = self.sock.getsockname()[:2]

    def accept_tcp(self, timeout=10.0):
        self.sock.settimeout(timeout)
        try:
            return self.sock.accept()[0]
        except TimeoutError:
            raise TimedOut("nobody dials") from None

    def accept(self, context, timeout=10.0):
        link = Link(self.accept_tcp(timeout), context, dialer=False)
        try:
            return link.handshake(timeout)
        except BaseException:
            link.sock.close()
            raise

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
