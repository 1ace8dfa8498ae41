"""What an operator does to peers: add, remove, drop, and the end of a drop."""

import kit


class Operator(kit.Case):
    def pair(self, **options):
        acceptor = self.node("acceptor").start()
        dialer = self.node("dialer", peers=[acceptor], **options).start()
        dialer.sees(acceptor)
        acceptor.sees(dialer)
        return acceptor, dialer

    def test_a_dropped_peer_is_told_stays_away_and_comes_back_when_the_time_is_over(self):
        acceptor, dialer = self.pair()
        watch = acceptor.watch()
        watch.ready()
        answer = acceptor.helo("drop", dialer.id[:10], "--for", "3s", "--reason", "tidying up", "--json").json
        self.assertEqual(1, answer["connections_closed"])
        told = dialer.attempt("DROPPED", "out", decider="them")
        self.assertEqual("tidying up", told["close"]["text"])
        closed = watch.event("peer-closed", id=dialer.id)
        up = watch.event("peer-up", id=dialer.id)
        self.assertGreaterEqual(up["when_unix_us"] - closed["when_unix_us"], 2_900_000)
        acceptor.sees(dialer)

    def test_dropping_a_peer_that_we_dial_ourselves_pauses_the_dialing_and_says_so(self):
        acceptor, dialer = self.pair()
        watch = dialer.watch()
        watch.ready()
        answer = dialer.helo("drop", acceptor.id, "--for", "3s", "--json").json
        self.assertEqual(1, answer["targets_paused"])
        acceptor.attempt("DROPPED", "in", decider="them")
        target = dialer.info()["targets"][0]
        self.assertTrue(0 < target["paused_ms"] <= 3000, target)
        closed = watch.event("peer-closed", id=acceptor.id)
        up = watch.event("peer-up", id=acceptor.id)
        self.assertGreaterEqual(up["when_unix_us"] - closed["when_unix_us"], 2_900_000)

    def test_a_drop_holds_in_the_other_direction_too(self):
        acceptor, dialer = self.pair()
        acceptor.helo("drop", dialer.id, "--for", "300s")
        kit.eventually("nobody is connected", lambda: not acceptor.peers() and not dialer.peers())
        answer = acceptor.helo("add", dialer.url, "--wait", "5s", check=False)
        self.assertNotEqual(0, answer.returncode, answer.stdout)
        self.assertEqual([], acceptor.peers())
        away = acceptor.info()["away"]
        self.assertEqual([dialer.id], [one["id"] for one in away])
        self.assertTrue(200_000 < away[0]["remaining_ms"] <= 300_000, away)

    def test_an_added_peer_is_dialed_until_it_is_removed(self):
        acceptor = self.node("acceptor").start()
        dialer = self.node("dialer").start()
        answer = dialer.helo("add", acceptor.url, "--wait", "10s", "--json").json
        self.assertTrue(answer["up"], answer)
        self.assertEqual(acceptor.id, answer["id"])
        dialer.sees(acceptor)
        self.assertEqual(1, len(dialer.info()["targets"]))
        dialer.helo("remove", acceptor.url, "--disconnect")
        kit.eventually("the connection is closed", lambda: not dialer.peers())
        self.assertEqual([], dialer.info()["targets"])

    def test_removing_leaves_the_connection_unless_asked_otherwise(self):
        acceptor = self.node("acceptor").start()
        dialer = self.node("dialer").start()
        dialer.helo("add", acceptor.url, "--wait", "10s")
        dialer.helo("remove", acceptor.url)
        self.assertEqual([], dialer.info()["targets"])
        self.assertEqual([acceptor.id], dialer.peer_ids())

    def test_a_peer_from_the_configuration_cannot_be_removed_and_the_error_says_what_can_be_done(self):
        acceptor, dialer = self.pair()
        answer = dialer.helo("remove", acceptor.url, check=False)
        self.assertNotEqual(0, answer.returncode)
        self.assertIn("--peer", answer.stderr)
        self.assertEqual([acceptor.id], dialer.peer_ids())

    def test_a_saved_peer_survives_a_restart_and_an_unsaved_one_does_not(self):
        kept = self.node("kept").start()
        lost = self.node("lost").start()
        dialer = self.node("dialer").start()
        dialer.helo("add", kept.url, "--wait", "10s", "--save")
        dialer.helo("add", lost.url, "--wait", "10s")
        dialer.sees(kept, lost)
        dialer.stop()
        dialer.start()
        dialer.sees(kept)
        self.assertEqual([True], [target["saved"] for target in dialer.info()["targets"]])

    def test_an_unknown_id_is_told_apart_from_success(self):
        acceptor, _ = self.pair()
        self.assertEqual(5, acceptor.helo("drop", "f" * 64, check=False).returncode)
        self.assertEqual(5, acceptor.helo("peer", "f" * 64, check=False).returncode)
        self.assertNotEqual(0, acceptor.helo("drop", "zz", check=False).returncode)

    def test_the_list_can_be_filtered_by_direction(self):
        acceptor, dialer = self.pair()
        ids = lambda node, direction: [
            peer["id"] for peer in node.helo("peers", "--direction", direction, "--json").json["peers"]]
        self.assertEqual([dialer.id], ids(acceptor, "in"))
        self.assertEqual([], ids(acceptor, "out"))
        self.assertEqual([acceptor.id], ids(dialer, "out"))


if __name__ == "__main__":
    kit.main()
