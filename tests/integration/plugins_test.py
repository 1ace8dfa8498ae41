"""Plugins in nodes that run, as an operator meets them: what the three that ship do among peers, loading and unloading
while peers are connected, refusals and faults, a build that takes another's place, a node that is killed."""

import itertools
import os
import pathlib
import shutil
import sys
import threading
import unittest

import kit

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "wire_client"))
import helo_wire as wire  # noqa: E402  pylint: disable=wrong-import-position

SHIPPED = kit.BIN.parent / "lib/helo/plugins"
BUILT_FOR_TESTS = kit.BIN.parent / "test-plugins"
NOBODY = 65534
AS_ROOT = unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"),
                              "calling as another user takes root and setpriv")
CYCLES = 50


def with_plugins(*names):
    return [word for name in names for word in ("--plugin", name)]


def plugins(node):
    return {plugin["name"]: plugin for plugin in node.helo("plugins", "--json").json["plugins"]}


def plugin(node, *words, **options):
    return node.helo("plugin", *words, **options)


def gossip_stats(node):
    rows = plugin(node, "call", "gossip", "stats").stdout.splitlines()[1:]
    return {row.rsplit(None, 1)[0]: int(row.rsplit(None, 1)[1]) for row in rows}


def times_seen(node, text):
    return plugin(node, "call", "gossip", "log", "256").stdout.count(f'"{text}"')


def connections(node):
    return {peer["id"]: peer["connection"] for peer in node.peers()}


def shared(node):
    return {peer["id"]: set(peer["shared"]) for peer in node.peers()}


def copies(node):
    return sorted(path.name for path in (node.data_dir / "plugins").iterdir())


class PluginCase(kit.Case):
    def setUp(self):
        super().setUp()
        self.dir = self.scratch / "plugins"
        self.dir.mkdir(mode=0o755)
        self.dir.chmod(0o755)

    def put(self, name, source):
        """NAME.so of this test's own plugin directory."""
        source = pathlib.Path(source)
        if not source.exists():
            raise AssertionError(f"{source} is not built: it belongs to the target all")
        path = self.dir / f"{name}.so"
        shutil.copyfile(source, path)
        path.chmod(0o755)
        return path

    def own(self, *names):
        """Options for a node that takes its plugins from this test's directory, and these at start."""
        return ["--plugin-dir", self.dir, *(with_plugins(*names) if names else ["--plugin", "none"])]

    def until_sessions(self, node, name, count):
        kit.eventually(f"{node.name} has {count} sessions of {name}",
                       lambda: plugins(node)[name]["sessions"] == count,
                       detail=lambda: node.helo("plugins").stdout + node.helo("peers", "--wide").stdout + node.log())

    def until_shared(self, node, wanted):
        """A list of peers may be as old as the last one that was asked for."""
        kit.eventually(f"{node.name} shares {wanted}", lambda: shared(node) == wanted,
                       detail=lambda: node.helo("peers", "--wide").stdout)

    def refused(self, node, *words, code, says):
        done = plugin(node, *words, check=False)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, done.stderr)
        self.assertEqual(1, len(done.stderr.splitlines()), done.stderr)
        return done.stderr

    def mesh(self, count, *names):
        nodes = []
        for number in range(1, count + 1):
            nodes.append(self.node(f"n{number}", peers=list(nodes), options=with_plugins(*names)).start())
        for node in nodes:
            node.sees(*(other for other in nodes if other is not node))
            for name in names:
                self.until_sessions(node, name, count - 1)
        return nodes


class AmongPeers(PluginCase):
    def test_one_publish_is_seen_on_every_node_exactly_once(self):
        nodes = self.mesh(4, "gossip")
        said = plugin(nodes[0], "call", "gossip", "publish", "hello", "there").stdout
        self.assertEqual("sent to 3 of 3 peers\n", said)
        # Three copies go out, and each of those who got one hands it to the two others: when nine have arrived, nothing
        # is under way any more.
        kit.eventually("nine copies have arrived", lambda: sum(gossip_stats(node)["received"] for node in nodes) == 9,
                       detail=lambda: str([gossip_stats(node) for node in nodes]))
        for node in nodes:
            self.assertEqual(1, times_seen(node, "hello there"), node.name)
            self.assertEqual(0, gossip_stats(node)["missed by a slow peer"])
        self.assertEqual(9, sum(gossip_stats(node)["sent to peers"] for node in nodes))

    def test_nothing_is_published_where_nobody_listens(self):
        node = self.node("node", options=with_plugins("gossip")).start()
        self.refused(node, "call", "gossip", "publish", "hello", code=1, says="no peer that has gossip/1 is connected")
        self.assertEqual("no note was seen yet\n", plugin(node, "call", "gossip", "log").stdout)

    def test_the_heads_of_all_are_shown_and_a_new_one_is_announced(self):
        nodes = self.mesh(3, "chainstatus")
        plugin(nodes[0], "call", "chainstatus", "set-head", "1234")
        for node in nodes:
            kit.eventually(f"{node.name} has heard of the new head",
                           lambda node=node: "1234" in plugin(node, "call", "chainstatus", "heads").stdout)

    def test_another_genesis_parts_with_a_reason_in_the_history_of_both(self):
        nodes = []
        for name, genesis in (("here", "aa" * 32), ("there", "bb" * 32)):
            config = self.scratch / f"{name}.conf"
            config.write_text(f"[plugin chainstatus]\ngenesis = {genesis}\n")
            nodes.append(self.node(name, peers=list(nodes),
                                   options=[*with_plugins("chainstatus"), "--config", config]).start())
        here, there = nodes
        for node, direction in ((here, "in"), (there, "out")):
            close = node.attempt("PLUGIN_POLITE", direction)["close"]
            self.assertRegex(close["text"], "another chain: your genesis is (aaaaaaaaaa|bbbbbbbbbb)")
            self.assertIn("another chain", node.helo("history").stdout)
        self.assertEqual({"here": 0, "there": 0}, {node.name: plugins(node)["chainstatus"]["penalties"] for node in nodes})


class WhileConnected(PluginCase):
    def test_one_loaded_later_opens_sessions_and_one_unloaded_closes_them_without_reconnecting(self):
        hub = self.node("hub", options=with_plugins("echo")).start()
        have = [self.node(f"have{number}", peers=[hub], options=with_plugins("echo", "gossip")).start()
                for number in (1, 2)]
        lacks = self.node("lacks", peers=[hub], options=with_plugins("echo")).start()
        hub.sees(*have, lacks)
        before = connections(hub)
        self.until_shared(hub, {node.id: {"echo/1"} for node in (*have, lacks)})
        for _ in range(2):  # and again
            said = plugin(hub, "load", "gossip").stdout
            self.assertIn("gossip 1.0.0 is running", said)
            self.until_sessions(hub, "gossip", 2)
            for node in have:
                self.until_sessions(node, "gossip", 1)
            self.until_shared(hub, {have[0].id: {"echo/1", "gossip/1"}, have[1].id: {"echo/1", "gossip/1"},
                                    lacks.id: {"echo/1"}})
            self.assertEqual("sent to 2 of 2 peers\n", plugin(hub, "call", "gossip", "publish", "x").stdout)
            self.assertIn("gossip is unloaded", plugin(hub, "unload", "gossip").stdout)
            for node in have:
                self.until_sessions(node, "gossip", 0)
            self.until_shared(hub, {node.id: {"echo/1"} for node in (*have, lacks)})
            self.assertEqual(before, connections(hub))
        self.assertNotIn("gossip", plugins(hub))

    def test_a_peer_shows_what_is_shared_and_what_only_one_side_has(self):
        here = self.node("here", options=with_plugins("echo", "gossip")).start()
        there = self.node("there", peers=[here], options=with_plugins("echo", "chainstatus")).start()
        here.sees(there)
        self.assertIn("shared echo/1; only ours gossip/1; only theirs chainstatus/1",
                      here.helo("peer", there.id[:10]).stdout)
        there.sees(here)
        self.assertIn("shared echo/1; only ours chainstatus/1; only theirs gossip/1",
                      there.helo("peer", here.id[:10]).stdout)

    def test_another_count_of_messages_is_a_sentence_on_both_sides(self):
        sides = []
        for number, build in (("1", "swap1"), ("2", "swap3")):
            self.dir = self.scratch / f"plugins{number}"
            self.dir.mkdir(mode=0o755)
            self.put("swap", BUILT_FOR_TESTS / f"{build}.so")
            sides.append(self.node(f"side{number}", peers=list(sides), options=self.own("swap")).start())
        one, two = sides
        one.sees(two)
        two.sees(one)
        for node, ours, theirs in ((one, 1, 2), (two, 2, 1)):
            line = kit.eventually("the log tells of it", lambda node=node: next(
                (line for line in node.log().splitlines() if "count its messages differently" in line), None),
                detail=node.log)
            for part in ("capability=swap/1", f"messages_here={ours}", f"messages_there={theirs}"):
                self.assertIn(part, line)
        self.until_shared(one, {two.id: set()})
        self.assertIn("shared -; only ours swap/1; only theirs swap/1", one.helo("peer", two.id[:10]).stdout)

    def test_a_later_offer_that_counts_differently_is_told_as_well(self):
        node = self.node("node", options=with_plugins("echo")).start()
        host, port = node.address().rsplit(":", 1)
        with wire.dial((host, int(port)), wire.Identity.create(self.scratch)) as link:
            link.join(wire.hello(network="helo-it"))
            link.send(wire.CORE, wire.OFFER, wire.offer(wire.Offer(9, "echo", 1, message_count=3)))
            kit.eventually("the log tells of it", lambda: "messages_there=3" in node.log(), detail=node.log)
            self.until_shared(node, {peer["id"]: set() for peer in node.peers()})

    def test_a_node_without_plugins_has_no_capability_and_connects(self):
        bare = self.node("bare", options=["--plugin", "none"]).start()
        other = self.node("other", peers=[bare]).start()
        bare.sees(other)
        [peer] = bare.peers()
        self.assertEqual(([], [], ["echo/1"]), (peer["shared"], peer["only_ours"], peer["only_theirs"]))
        self.assertEqual({}, plugins(bare))
        self.assertIn("no plugin is loaded", bare.helo("plugins").stdout)

    def test_descriptors_threads_and_copies_are_back_after_many_lives(self):
        node = self.node("node", options=with_plugins("echo")).start()
        others = [self.node(f"other{number}", peers=[node], options=with_plugins("echo", "gossip")).start()
                  for number in (1, 2)]
        node.sees(*others)
        peers = connections(node)

        def life(number):
            plugin(node, "load", "gossip")
            # A node may change its mind 64 times a minute; what is beyond that waits for its turn (WIRE 2), and is not
            # shared meanwhile.
            if number < CYCLES // 2:
                self.until_sessions(node, "gossip", 2)
            kit.eventually("as many sessions as peers that share it", lambda: plugins(node)["gossip"]["sessions"] == sum(
                "gossip/1" in names for names in shared(node).values()), detail=lambda: node.helo("peers", "--wide").stdout)
            plugin(node, "unload", "gossip", "--drain", "0s")

        def held():
            rows = node.helo("fds", "--json").json["fds"]
            maps = pathlib.Path(f"/proc/{node.pid}/maps").read_text()
            return {"fds": sorted((row["kind"], row["what"]) for row in rows if not row["what"].startswith("admin caller")),
                    "mapped": {line.split()[-1] for line in maps.splitlines() if ".so" in line}, "copies": copies(node)}

        life(0)  # gRPC's own threads and pollers come with the first calls
        before, threads = held(), len(os.listdir(f"/proc/{node.pid}/task"))
        for number in range(CYCLES):
            life(number)
        kit.eventually("the node holds what it held", lambda: held() == before,
                       detail=lambda: f"before {before}\nnow {held()}")
        self.assertEqual(1, len(copies(node)))
        # gRPC keeps some threads or lets them go; a plugin's own would be one for each life.
        self.assertLess(len(os.listdir(f"/proc/{node.pid}/task")), threads + CYCLES // 2)
        self.assertEqual(peers, connections(node))


class Refusals(PluginCase):
    def test_what_cannot_be_loaded_is_refused_with_a_sentence(self):
        self.put("swap", BUILT_FOR_TESTS / "swap1.so")
        self.put("nosymbol", BUILT_FOR_TESTS / "nosymbol.so")
        self.put("abi2", BUILT_FOR_TESTS / "abi2.so")
        self.put("open", BUILT_FOR_TESTS / "swap1.so").chmod(0o777)
        text = self.dir / "text.so"
        text.write_text("#!/bin/sh\n")
        node = self.node("node", options=self.own()).start()
        self.refused(node, "load", "nothing", code=5,
                     says=[f"there is no {self.dir}/nothing.so", "has abi2, nosymbol, open, swap, text"])
        self.refused(node, "load", "open", code=4, says=["may be written by others (mode 0777)", "chmod go-w"])
        self.refused(node, "load", "text", code=1, says="text.so is not a plugin")
        self.refused(node, "load", "nosymbol", code=1, says="does not export helo_plugin_query")
        self.refused(node, "load", "abi2", code=1, says="ABI")
        for name in ("../swap", "swap.so", "Swap", "/etc/passwd", "a" * 65):
            self.refused(node, "load", name, code=2, says="is no plugin name")
        self.assertEqual({}, plugins(node))
        plugin(node, "load", "swap")
        self.refused(node, "load", "swap", code=1, says=["is loaded already", "helo plugin reload swap"])
        self.put("twin", BUILT_FOR_TESTS / "swap2.so")
        self.refused(node, "load", "twin", code=1, says=["swap/1", "helo plugin unload swap"])
        for verb in ("unload", "reload", "restart", "show"):
            self.refused(node, verb, "nobody", code=5, says="no plugin nobody is loaded")
        self.refused(node, "call", "nobody", "which", code=5, says="no plugin nobody is loaded")
        self.refused(node, "call", "swap", "dance", code=5, says=["no command dance", "which"])
        self.assertEqual(["swap"], list(plugins(node)))
        self.dir.chmod(0o777)
        self.refused(node, "reload", "swap", code=4, says=[str(self.dir), "chmod go-w"])
        self.assertEqual("this is 1.0.0\n", plugin(node, "call", "swap", "which").stdout)

    def test_a_name_that_is_not_there_stops_the_start_and_the_directory_is_named(self):
        self.put("swap", BUILT_FOR_TESTS / "swap1.so")
        node = self.node("node", options=self.own("gone")).launch()
        self.assertEqual(1, node.process.wait(timeout=kit.PATIENCE), node.log())
        self.assertIn(f"there is no {self.dir}/gone.so; {self.dir} has swap", node.log())
        self.assertFalse((node.data_dir / "helod.json").exists())
        # The default one, where somebody asked for it.
        node = self.node("echo", options=self.own("echo")).launch()
        self.assertEqual(1, node.process.wait(timeout=kit.PATIENCE), node.log())
        self.assertIn(f"there is no {self.dir}/echo.so", node.log())
        # Where nobody did, it is not missed: the program alone, without its plugins, is a node as well.
        node = self.node("default", options=["--plugin-dir", self.dir]).start()
        self.assertIn("there is no", node.log())
        self.assertEqual({}, plugins(node))
        node = self.node("bad", options=self.own("../gone")).launch()
        self.assertEqual(2, node.process.wait(timeout=kit.PATIENCE), node.log())
        self.assertIn("is not the name of a plugin", node.log())

    @AS_ROOT
    def test_another_user_calls_loads_and_unloads_with_the_token_alone(self):
        node = self.node("node", options=with_plugins("gossip")).start()
        token = self.scratch / "token"
        shutil.copy(node.data_dir / "admin.token", token)
        os.chown(token, NOBODY, NOBODY)
        for words in (["call", "gossip", "log"], ["load", "echo"], ["reload", "gossip"], ["restart", "gossip"],
                      ["unload", "gossip"], ["show", "gossip"]):
            refused = kit.helo("--admin", node.admin, "plugin", *words, user=NOBODY, check=False)
            self.assertEqual(4, refused.returncode, refused.stdout + refused.stderr)
            self.assertIn("token", refused.stderr)
        self.assertEqual(["gossip"], list(plugins(node)))
        self.assertEqual(0, plugins(node)["gossip"]["restarts"])
        served = kit.helo("--admin", node.admin, "--token-file", token, "plugin", "call", "gossip", "log", user=NOBODY)
        self.assertEqual("no note was seen yet\n", served.stdout)


class Builds(PluginCase):
    def which(self, node):
        return plugin(node, "call", "swap", "which").stdout

    def test_a_file_replaced_in_place_runs_from_the_reload_on(self):
        path = self.put("swap", BUILT_FOR_TESTS / "swap1.so")
        node = self.node("node", options=self.own("swap")).start()
        peer = self.node("peer", peers=[node], options=self.own("swap")).start()
        node.sees(peer)
        self.until_sessions(node, "swap", 1)
        before = connections(node)
        self.assertEqual("this is 1.0.0\n", self.which(node))
        # Over the very bytes of the file: what is mapped must not be that file.
        inode = path.stat().st_ino
        with open(path, "r+b") as file:
            file.truncate(0)
            file.write((BUILT_FOR_TESTS / "swap2.so").read_bytes())
        self.assertEqual(inode, path.stat().st_ino)
        self.assertEqual("this is 1.0.0\n", self.which(node))
        plugin(node, "restart", "swap")
        self.assertEqual("this is 1.0.0\n", self.which(node))
        self.assertIn("swap 2.0.0 is running", plugin(node, "reload", "swap").stdout)
        self.assertEqual("this is 2.0.0\n", self.which(node))
        self.until_sessions(node, "swap", 1)
        self.assertEqual(before, connections(node))
        self.assertEqual("this is 1.0.0\n", self.which(peer))
        self.assertEqual(1, len(copies(node)))
        # And back, the file being another one of that name.
        path.unlink()
        self.put("swap", BUILT_FOR_TESTS / "swap1.so")
        self.assertEqual("this is 2.0.0\n", self.which(node))
        plugin(node, "reload", "swap")
        self.assertEqual("this is 1.0.0\n", self.which(node))
        # A file that is no plugin takes nobody's place.
        path.write_text("not a plugin")
        self.refused(node, "reload", "swap", code=1, says="is not a plugin")
        self.assertEqual("this is 1.0.0\n", self.which(node))

    def test_a_fault_at_the_start_is_a_quarantine_and_the_node_runs(self):
        self.put("swap", BUILT_FOR_TESTS / "swap1.so")
        obstacle = self.scratch / "obstacle"
        obstacle.write_text("")
        data = self.scratch / "node"
        data.mkdir(mode=0o700)
        (data / "swap.conf").write_text(f"fail_while = {obstacle}\n")
        node = self.node("node", options=self.own("swap")).start()
        peer = self.node("peer", peers=[node], options=self.own("swap")).start()
        node.sees(peer)
        said = plugins(node)["swap"]
        self.assertEqual("quarantined", said["state"])
        self.assertIn(f"there is still a {obstacle}", said["reason"])
        shown = node.helo("plugins").stdout
        self.assertIn("swap is quarantined: ", shown)
        self.assertIn(f"there is still a {obstacle}", shown)
        self.assertIn("helo plugin restart swap", shown)
        self.assertEqual([], node.peers()[0]["shared"])
        self.refused(node, "restart", "swap", code=1, says=[f"there is still a {obstacle}", "quarantine"])
        self.refused(node, "call", "swap", "which", code=1, says="quarantine")
        obstacle.unlink()
        self.assertIn("swap 1.0.0 is running", plugin(node, "restart", "swap").stdout)
        self.assertEqual("this is 1.0.0\n", self.which(node))
        self.until_sessions(node, "swap", 1)
        # What it is configured with is read anew by reload.
        (data / "swap.conf").write_text("nonsense = 1\n")
        self.refused(node, "reload", "swap", code=1, says=["nonsense", "quarantine"])
        self.assertIn('there is no setting "nonsense"', node.helo("plugins").stdout)
        self.until_sessions(peer, "swap", 0)
        (data / "swap.conf").write_text("")
        self.assertIn("swap 1.0.0 is running", plugin(node, "reload", "swap").stdout)
        self.until_sessions(peer, "swap", 1)


class Killed(PluginCase):
    def test_killed_in_the_middle_of_traffic_the_others_go_on_and_it_comes_back(self):
        nodes = self.mesh(3, "echo", "gossip")
        victim, others = nodes[1], [nodes[0], nodes[2]]
        plugin(victim, "load", "chainstatus")
        stop = threading.Event()
        failures = []

        def publish(node):
            for number in itertools.count():
                if stop.is_set():
                    return
                done = plugin(node, "call", "gossip", "publish", f"{node.name}-{number}", check=False)
                if done.returncode != 0:
                    failures.append(done.stderr)

        threads = [threading.Thread(target=publish, args=[node]) for node in others]
        self.addCleanup(lambda: [thread.join() for thread in threads])
        self.addCleanup(stop.set)
        for thread in threads:
            thread.start()
        kit.eventually("traffic flows", lambda: gossip_stats(victim)["received"] > 20)
        address = victim.address()
        victim.kill()
        left = copies(victim)
        self.assertEqual(3, len(left), left)
        (victim.data_dir / "plugins" / "gossip-half.so").write_text("cut short")
        for node, other in (others, reversed(others)):
            node.sees(other)
            before = gossip_stats(node)["received"]
            kit.eventually("the others go on", lambda node=node, before=before:
                           gossip_stats(node)["received"] > before + 5)
        again = self.node("again", data_dir=victim.data_dir, listen=[address], peers=others,
                          options=with_plugins("echo", "gossip")).start()
        self.assertEqual(victim.file["id"], again.id)
        for node in (again, *others):
            self.until_sessions(node, "gossip", 2)
        kit.eventually("traffic reaches it", lambda: gossip_stats(again)["received"] > 5)
        stop.set()
        self.assertEqual([], failures)
        self.assertEqual(2, len(copies(again)), copies(again))
        self.assertTrue(set(copies(again)) < set(left))
        again.stop()
        self.assertEqual([], copies(again))


if __name__ == "__main__":
    kit.main()
