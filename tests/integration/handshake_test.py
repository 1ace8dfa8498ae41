"""Two nodes meet: in both directions, over IPv4, IPv6 and one dual-stack listener, by address and by name."""

import unittest

import kit

IPV6 = unittest.skipUnless(kit.have_ipv6(), "this machine has no IPv6 (/proc/net/if_inet6 is empty)")


class Handshake(kit.Case):
    def meet(self, listen, address_of):
        """A dialer reaches an acceptor that listens so; both tell the same story."""
        acceptor = self.node("acceptor", listen=[listen]).start()
        dialer = self.node("dialer", peers=[address_of(acceptor)]).start()
        dialer.sees(acceptor)
        acceptor.sees(dialer)
        ours, theirs = dialer.peers()[0], acceptor.peers()[0]
        self.assertEqual(("out", "in"), (ours["direction"], theirs["direction"]))
        self.assertEqual(ours["local"], theirs["remote"])
        self.assertEqual(ours["remote"], theirs["local"])
        return ours, theirs

    def test_over_ipv4(self):
        ours, _ = self.meet("127.0.0.1:0", lambda node: node.url)
        self.assertTrue(ours["remote"].startswith("127.0.0.1:"))

    @IPV6
    def test_over_ipv6(self):
        ours, _ = self.meet("[::1]:0", lambda node: node.url)
        self.assertTrue(ours["remote"].startswith("[::1]:"))

    @IPV6
    def test_one_dual_stack_listener_serves_both_families_and_shows_ipv4_as_ipv4(self):
        acceptor = self.node("acceptor", listen=["tcp://:0"]).start()
        port = acceptor.address().rsplit(":", 1)[1]
        four = self.node("four", peers=[f"helo://{acceptor.id}@127.0.0.1:{port}"]).start()
        six = self.node("six", peers=[f"helo://{acceptor.id}@[::1]:{port}"]).start()
        acceptor.sees(four, six)
        remotes = {peer["id"]: peer["remote"] for peer in acceptor.peers()}
        self.assertTrue(remotes[four.id].startswith("127.0.0.1:"), remotes)
        self.assertTrue(remotes[six.id].startswith("[::1]:"), remotes)

    @IPV6
    def test_a_tcp6_listener_does_not_serve_ipv4(self):
        acceptor = self.node("acceptor", listen=["tcp6://:0"]).start()
        port = acceptor.address().rsplit(":", 1)[1]
        four = self.node("four", peers=[f"127.0.0.1:{port}"]).start()
        four.attempt("REFUSED", "out")
        self.assertEqual([], acceptor.peers())

    def test_without_an_id_whoever_answers_is_accepted(self):
        ours, _ = self.meet("127.0.0.1:0", lambda node: node.address())
        self.assertEqual(64, len(ours["id"]))

    def test_by_name(self):
        self.meet("127.0.0.1:0", lambda node: f"helo://{node.id}@localhost:{node.address().rsplit(':', 1)[1]}")

    def test_several_listeners_serve_at_the_same_time(self):
        acceptor = self.node("acceptor", listen=["127.0.0.1:0", "127.0.0.2:0"]).start()
        one = self.node("one", peers=[f"helo://{acceptor.id}@{acceptor.address(0)}"]).start()
        two = self.node("two", peers=[f"helo://{acceptor.id}@{acceptor.address(1)}"]).start()
        acceptor.sees(one, two)
        self.assertTrue(acceptor.address(1).startswith("127.0.0.2:"))

    def test_two_that_dial_each_other_end_with_one_connection(self):
        # Ports must be known to both before either starts: learn them from a first run.
        left = self.node("left").start()
        right = self.node("right", peers=[left]).start()
        left.sees(right)
        left_url, left_address = left.url, left.address()
        right_url, right_address = right.url, right.address()
        left.stop()
        right.stop()
        left = self.node("left", listen=[left_address], peers=[right_url])
        right = self.node("right", listen=[right_address], peers=[left_url])
        left.start()
        right.start()
        left.sees(right)
        right.sees(left)
        self.assertEqual(1, len(left.peers()))
        self.assertEqual(1, len(right.peers()))

    def test_a_peer_shows_what_it_is_and_what_it_did(self):
        acceptor = self.node("acceptor").start()
        dialer = self.node("dialer", peers=[acceptor], options=["--ping-interval", "1s"]).start()
        dialer.sees(acceptor)
        peer = dialer.helo("peer", acceptor.id[:12], "--json").json
        self.assertEqual(acceptor.id, peer["id"])
        self.assertIn("echo/1", peer["shared"])
        self.assertGreater(peer["fd"], 2)
        self.assertGreater(peer["bytes_in"], 0)
        self.assertTrue(peer["user_agent"])
        kit.eventually("a round trip was measured", lambda: dialer.peers()[0]["rtt_us"] is not None)

    def test_a_node_that_comes_late_is_reached_by_the_one_that_waits(self):
        early = self.node("early").start()
        address, url = early.address(), early.url
        early.stop()
        waiting = self.node("waiting", peers=[url]).start()
        waiting.attempt("REFUSED", "out")
        late = self.node("early", listen=[address]).start()
        waiting.sees(late)


if __name__ == "__main__":
    kit.main()
