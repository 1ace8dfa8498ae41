"""Every refusal between two nodes ends with the right code on both sides and in both histories."""

import shutil
import signal

import kit


class Refusals(kit.Case):
    def refused(self, acceptor, dialer, label, decider="them", other=None):
        """The dialer was told `label`; the acceptor's history says the same of its side."""
        ours = dialer.attempt(label, "out", decider=decider)
        theirs = acceptor.attempt(other or label, "in", decider="us" if decider == "them" else "them")
        return ours, theirs

    def test_another_network(self):
        acceptor = self.node("acceptor", network="helo-red").start()
        dialer = self.node("dialer", network="helo-blue", peers=[acceptor]).start()
        ours, theirs = self.refused(acceptor, dialer, "WRONG_NETWORK")
        self.assertEqual(dialer.id, theirs["id"])
        self.assertFalse(ours["was_up"])
        self.assertEqual([], acceptor.peers())

    def test_another_genesis(self):
        acceptor = self.node("acceptor", options=["--genesis", "aa"]).start()
        dialer = self.node("dialer", options=["--genesis", "bb"], peers=[acceptor]).start()
        self.refused(acceptor, dialer, "WRONG_GENESIS")

    def test_a_genesis_that_only_one_side_has_is_no_obstacle(self):
        acceptor = self.node("acceptor", options=["--genesis", "aa"]).start()
        dialer = self.node("dialer", peers=[acceptor]).start()
        dialer.sees(acceptor)

    def test_full(self):
        acceptor = self.node("acceptor", options=["--max-inbound", "1"]).start()
        first = self.node("first", peers=[acceptor]).start()
        acceptor.sees(first)
        second = self.node("second", peers=[acceptor]).start()
        self.refused(acceptor, second, "FULL")
        self.assertEqual([first.id], acceptor.peer_ids())

    def test_a_trusted_peer_is_admitted_above_the_limit(self):
        friend = self.node("friend").start()
        acceptor = self.node("acceptor", options=["--max-inbound", "1", "--trusted", friend.id]).start()
        stranger = self.node("stranger", peers=[acceptor]).start()
        acceptor.sees(stranger)
        friend.helo("add", acceptor.url, "--wait", "10s")
        acceptor.sees(stranger, friend)

    def test_itself(self):
        node = self.node("node").start()
        address = node.address()
        node.stop()
        node = self.node("node", listen=[address], peers=[f"helo://{address}"]).start()
        self.assertEqual(node.id, node.attempt("SELF", "out")["id"] or node.id)
        self.assertEqual([], node.peers())

    def test_another_key_than_the_one_asked_for(self):
        acceptor = self.node("acceptor").start()
        wrong = "11" * 32
        dialer = self.node("dialer", peers=[f"helo://{wrong}@{acceptor.address()}"]).start()
        ours, _ = self.refused(acceptor, dialer, "UNEXPECTED_ID", decider="us")
        self.assertEqual([], dialer.peers())
        self.assertIn(ours["stage"], ("tls", "hello"))

    def test_a_dropped_peer_that_dials_back_is_told_banned_and_for_how_long(self):
        acceptor = self.node("acceptor").start()
        dialer = self.node("dialer", peers=[acceptor]).start()
        acceptor.sees(dialer)
        acceptor.helo("drop", dialer.id, "--for", "300s")
        dialer.attempt("DROPPED", "out")
        fresh = dialer.helo("add", f"helo://{acceptor.address()}", "--wait", "20s", "--json", check=False)
        self.assertEqual(6, fresh.returncode, fresh.stdout + fresh.stderr)
        told = dialer.attempt("BANNED", "out", decider="them")
        self.assertTrue(0 < told["close"]["retry_after_s"] <= 300, told)
        acceptor.attempt("BANNED", "in", decider="us")

    def twin_of(self, node, name):
        """A second process with a copy of the node's key."""
        twin = self.node(name)
        twin.data_dir.mkdir(mode=0o700)
        shutil.copy(node.data_dir / "node.key", twin.data_dir / "node.key")
        return twin

    def test_a_second_process_with_the_same_key_is_a_duplicate_while_the_first_one_lives(self):
        acceptor, first = self.referee_and_other()
        first.helo("add", acceptor.url, "--wait", "10s")
        acceptor.sees(first)
        second = self.twin_of(first, "second").start()
        answer = second.helo("add", acceptor.url, "--wait", "10s", check=False)
        self.assertEqual(6, answer.returncode, answer.stdout + answer.stderr)
        self.refused(acceptor, second, "DUPLICATE")
        self.assertEqual([first.id], acceptor.peer_ids())

    def test_a_second_process_with_the_same_key_replaces_the_first_one_when_that_is_dead(self):
        acceptor, first = self.referee_and_other()
        first.helo("add", acceptor.url, "--wait", "10s")
        acceptor.sees(first)
        before = acceptor.peers()[0]["remote"]
        first.signal(signal.SIGSTOP)
        second = self.twin_of(first, "second").start()
        second.helo("add", acceptor.url, "--wait", "20s")
        acceptor.sees(first)
        self.assertNotEqual(before, acceptor.peers()[0]["remote"])
        acceptor.attempt("REPLACED", "in", decider="us")

    def referee_and_other(self):
        """Two fresh nodes, the one with the larger id first: only that one judges duplicates."""
        nodes = [self.node("one").start(), self.node("two").start()]
        nodes.sort(key=lambda node: node.id, reverse=True)
        return nodes

    def test_nobody_listens(self):
        node = self.node("node").start()
        gone = self.node("gone").start()
        url = gone.url
        gone.stop()
        answer = node.helo("add", url, "--wait", "10s", check=False)
        self.assertNotEqual(0, answer.returncode)
        self.assertIn("refused", (answer.stdout + answer.stderr).lower())
        node.attempt("REFUSED", "out", decider="network")

    def test_every_code_met_here_is_explained(self):
        for label in ("WRONG_NETWORK", "FULL", "SELF", "DUPLICATE", "REPLACED", "UNEXPECTED_ID", "BANNED", "REFUSED"):
            self.assertIn(label, kit.helo("explain", label).stdout)


if __name__ == "__main__":
    kit.main()
