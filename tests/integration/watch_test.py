"""The event stream: live, resumed across a gap, and across a restart of the node."""

import kit


class WatchStream(kit.Case):
    def test_events_come_while_they_happen(self):
        acceptor = self.node("acceptor").start()
        watch = acceptor.watch()
        watch.ready()
        dialer = self.node("dialer", peers=[acceptor]).start()
        up = watch.event("peer-up", id=dialer.id)
        self.assertEqual("in", up["direction"])
        dialer.stop()
        closed = watch.event("peer-closed", id=dialer.id)
        self.assertEqual("SHUTTING_DOWN", closed["close"]["label"])
        self.assertEqual("them", closed["close"]["decider"])
        self.assertGreater(closed["sequence"], up["sequence"])

    def test_a_watcher_that_comes_back_gets_what_it_missed_without_a_hole(self):
        acceptor = self.node("acceptor").start()
        watch = acceptor.watch()
        watch.ready()
        dialer = self.node("dialer", peers=[acceptor]).start()
        watch.event("peer-up", id=dialer.id)
        last = watch.seen[-1]
        watch.close()
        dialer.stop()
        acceptor.attempt("SHUTTING_DOWN", "in")
        again = acceptor.watch("--since", f"{last['boot_id']}:{last['event']['sequence']}")
        again.event("peer-closed", id=dialer.id)
        self.assertFalse([message for message in again.seen if message.get("gap")])
        sequences = [message["event"]["sequence"] for message in again.seen if message.get("event")]
        self.assertEqual(list(range(last["event"]["sequence"] + 1, sequences[-1] + 1)), sequences)

    def test_a_watcher_that_comes_back_too_late_is_told_how_much_it_missed(self):
        # The ring holds 4,096 events; each add and remove of a target is one.
        node = self.node("node").start()
        watch = node.watch()
        watch.ready()
        node.helo("add", "helo://127.0.0.1:1")
        first = watch.next()
        watch.close()
        self.flood(node, 4200)
        again = node.watch("--since", f"{first['boot_id']}:{first['event']['sequence']}")
        gap = again.until("a gap", lambda message: message.get("gap") is not None)["gap"]
        self.assertFalse(gap["other_boot"])
        self.assertGreater(gap["missed"], 0)
        following = again.until("the first event kept", lambda message: message.get("event") is not None)["event"]
        self.assertEqual(first["event"]["sequence"] + gap["missed"] + 1, following["sequence"])

    def flood(self, node, count):
        """Adds and removes a target until so many events have happened, over one gRPC connection."""
        import reflection_client
        client = reflection_client.ReflectionClient(node.admin)
        self.addCleanup(client.close)
        add = client.method("helo.admin.v1.Admin", "AddPeer")
        remove = client.method("helo.admin.v1.Admin", "RemovePeer")
        for _ in range(count // 2):
            add({"address": "helo://127.0.0.1:2"})
            remove({"address": "helo://127.0.0.1:2"})

    def test_a_watcher_that_comes_back_after_a_restart_is_told_that_it_was_another_run(self):
        node = self.node("node").start()
        watch = node.watch()
        ready = watch.ready()
        watch.close()
        node.stop()
        node.start()
        again = node.watch("--since", f"{ready['boot_id']}:1")
        gap = again.until("a gap", lambda message: message.get("gap") is not None)
        self.assertTrue(gap["gap"]["other_boot"])
        self.assertNotEqual(ready["boot_id"], gap["boot_id"])

    def test_the_stream_ends_when_the_node_does(self):
        node = self.node("node").start()
        watch = node.watch()
        watch.ready()
        node.stop()
        self.assertEqual(3, watch.until("why it ended", lambda message: "error" in message)["error"]["exit"])
        self.assertEqual(3, watch.process.wait(timeout=kit.PATIENCE))


if __name__ == "__main__":
    kit.main()
