#!/usr/bin/env python3
"""A hand on the wire: speak helo/1 to a node by hand, without any code of the node.

  helo_wire_cli.py probe 127.0.0.1:4356              what the node would answer to a JOIN
  helo_wire_cli.py join 127.0.0.1:4356 --seconds 60  join, answer pings, print what comes
  helo_wire_cli.py echo 127.0.0.1:4356 hello         one round trip through the echo capability
  helo_wire_cli.py send 127.0.0.1:4356 0 4 09...     join, send one frame (channel, type, hex payload), print the answer
  helo_wire_cli.py listen 127.0.0.1:4400             accept whoever dials, and print what comes
  helo_wire_cli.py id --key FILE                     the node id of a key file

--key takes an Ed25519 key in PEM; without it a fresh one is made. Exit: 0 done, 1 refused or ended early, 2 usage.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import helo_wire as w


def address(text):
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def own_hello(options, **more):
    return w.hello(network=options.network, genesis=bytes.fromhex(options.genesis), offers=[w.ECHO], **more)


def say(text):
    print(text, flush=True)


def joined(options, me):
    link = w.dial(options.address, me)
    say(f"TLS with {link.remote_id}")
    theirs, judged = link.shake_hands(own_hello(options))
    say(f"< {theirs}\n< {judged}")
    if judged.type != w.VERDICT or judged.message["code"] != 0:
        raise SystemExit(1)
    link.send(w.CORE, w.VERDICT, w.verdict(0))
    return link, theirs.message


def follow(link, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            say(f"< {link.receive(deadline - time.monotonic())}")
        except w.TimedOut:
            break
        except w.Ended as end:
            say(f"ended: {end.how}")
            return 1
    link.send(w.CORE, w.DISCONNECT, w.disconnect(w.CODE["SHUTTING_DOWN"], b"done"))
    link.close()
    return 0


def do_probe(options, me):
    link = w.dial(options.address, me)
    say(f"TLS with {link.remote_id}")
    theirs, judged = link.shake_hands(own_hello(options, purpose=w.PROBE_PURPOSE))
    say(f"< {theirs}\n< {judged}")
    accepted = judged.type == w.VERDICT and judged.message["code"] == 0
    if accepted:
        link.send(w.CORE, w.VERDICT, w.verdict(w.CODE["PROBE"]))
    link.close()
    return 0 if accepted else 1


def do_join(options, me):
    link, _ = joined(options, me)
    return follow(link, options.seconds)


def do_send(options, me):
    link, _ = joined(options, me)
    link.send(options.channel, options.type, bytes.fromhex(options.payload))
    return follow(link, options.seconds)


def do_echo(options, me):
    link, theirs = joined(options, me)
    channel = next((one["channel"] for one in theirs["offers"] if one["name"] == "echo"), None)
    if channel is None:
        say("the node does not offer echo")
        return 1
    begun = time.monotonic()
    link.send(channel, 0, options.text.encode())
    while True:
        got = link.receive()
        if (got.channel, got.type) == (w.ECHO.channel, 1):
            say(f"{got.payload.decode(errors='replace')} ({(time.monotonic() - begun) * 1e3:.2f} ms)")
            link.close()
            return 0
        say(f"< {got}")


def do_listen(options, me):
    with w.Listener(options.address) as listener:
        host, port = listener.address
        say(f"helo://{me.id}@{host}:{port}")
        # A caller's certificate cannot be asked for before it is known: see helo_wire.server_context.
        with listener.accept(w.server_context(me), timeout=options.seconds) as link:
            say(f"< {link.welcome(own_hello(options))}")
            return follow(link, options.seconds)


def do_id(options, me):
    say(me.id)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", type=pathlib.Path, help="node key, PEM")
    parser.add_argument("--network", default="helo-dev")
    parser.add_argument("--genesis", default="", help="hex")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (("probe", do_probe), ("join", do_join), ("echo", do_echo), ("send", do_send),
                      ("listen", do_listen), ("id", do_id)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        if name != "id":
            command.add_argument("address", type=address)
        if name == "echo":
            command.add_argument("text")
        if name == "send":
            command.add_argument("channel", type=int)
            command.add_argument("type", type=int)
            command.add_argument("payload", nargs="?", default="")
        if name in ("join", "send", "listen"):
            command.add_argument("--seconds", type=float, default=2.0 if name == "send" else 3600.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="helo-wire-") as folder:
        me = w.Identity.of_key(options.key, folder) if options.key else w.Identity.create(folder)
        try:
            return options.run(options, me)
        except (w.Ended, w.TimedOut, OSError) as error:
            say(f"{type(error).__name__}: {error}")
            return 1


if __name__ == "__main__":
    sys.exit(main())
