"""Stock gRPC clients that know nothing of the project list and drop a peer, by server reflection alone: Python's gRPC with
messages built from the descriptors it is given, and grpcurl where it is installed (PATH or HELO_TOOLS_DIR)."""

import contextlib
import json
import os
import shutil
import subprocess
import time
import unittest

import kit

ADMIN = "helo.admin.v1.Admin"
GRPCURL = shutil.which("grpcurl", path=kit.TOOLS + os.pathsep + os.environ["PATH"])

try:
    import grpc
    import reflection_client
except ImportError as missing:
    if missing.name not in ("grpc", "google", "google.protobuf"):
        raise
    reflection_client = None


class Reflection(kit.Case):
    def pair(self):
        acceptor = self.node("acceptor").start()
        dialer = self.node("dialer", peers=[acceptor]).start()
        acceptor.sees(dialer)
        return acceptor, dialer

    @unittest.skipUnless(reflection_client, "python3-grpcio or python3-protobuf is missing: scripts/setup")
    def test_a_client_built_from_descriptors_lists_and_drops_a_peer(self):
        acceptor, dialer = self.pair()
        client = reflection_client.ReflectionClient(acceptor.admin)
        self.addCleanup(client.close)
        self.assertIn(ADMIN, client.services())
        self.assertIn("grpc.health.v1.Health", client.services())
        listed = client.call(ADMIN, "ListPeers")
        self.assertEqual([dialer.id], [peer["id"] for peer in listed["peers"]])
        dropped = client.call(ADMIN, "DropPeer", {"id": dialer.id[:8], "text": "by a stranger", "away_seconds": 60})
        self.assertEqual(dialer.id, dropped["id"])
        self.assertEqual("by a stranger", dialer.attempt("DROPPED", "out")["close"]["text"])
        self.assertEqual({}, client.call(ADMIN, "ListPeers"))
        self.assertEqual("SERVING", client.call("grpc.health.v1.Health", "Check")["status"])
        with self.assertRaises(grpc.RpcError) as refused:
            client.call(ADMIN, "DropPeer", {"id": "f" * 64})
        self.assertEqual(grpc.StatusCode.NOT_FOUND, refused.exception.code())

    @unittest.skipUnless(reflection_client, "python3-grpcio or python3-protobuf is missing: scripts/setup")
    def test_idle_streams_keep_nobody_else_out(self):
        """Reflection needs no token, so anybody on this machine may open streams and say nothing."""
        node = self.node("node", options=["--admin-auth", "token"]).start()
        for channels, streams in ((1, 30), (20, 1), (40, 4)):
            with self.subTest(channels=channels, streams=streams), contextlib.ExitStack() as stack:
                for _ in range(channels):
                    idle = reflection_client.ReflectionClient(node.admin, own_connection=True)
                    stack.callback(idle.close)
                    for _ in range(streams):
                        stack.callback(idle.open_stream())
                honest = reflection_client.ReflectionClient(node.admin, timeout=5, own_connection=True)
                stack.callback(honest.close)
                began = time.monotonic()
                self.assertIn(ADMIN, honest.services())
                self.assertLess(time.monotonic() - began, 5)
                self.assertEqual([], node.peers())  # and with the token the operator
        idle = reflection_client.ReflectionClient(node.admin, own_connection=True)
        self.addCleanup(idle.close)
        self.addCleanup(idle.open_stream())
        self.assertLess(node.stop(), 5)

    @unittest.skipUnless(GRPCURL, "grpcurl is not installed")
    def test_grpcurl_lists_and_drops_a_peer(self):
        acceptor, dialer = self.pair()

        def grpcurl(*args):
            done = subprocess.run([GRPCURL, "-plaintext", *args], stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=kit.PATIENCE, check=False, text=True)
            self.assertEqual(0, done.returncode, done.stdout + done.stderr)
            return done.stdout

        self.assertIn(ADMIN, grpcurl(acceptor.admin, "list"))
        self.assertIn("DropPeer", grpcurl(acceptor.admin, "describe", ADMIN))
        listed = json.loads(grpcurl(acceptor.admin, f"{ADMIN}/ListPeers"))
        self.assertEqual([dialer.id], [peer["id"] for peer in listed["peers"]])
        grpcurl("-d", json.dumps({"id": dialer.id}), acceptor.admin, f"{ADMIN}/DropPeer")
        dialer.attempt("DROPPED", "out")
        self.assertEqual({}, json.loads(grpcurl(acceptor.admin, f"{ADMIN}/ListPeers")))


if __name__ == "__main__":
    kit.main()
