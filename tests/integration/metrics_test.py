"""`--metrics`: a scrape of a running node, read line by line; what it refuses; and that nobody there can keep the operator
out.
"""

import contextlib
import http.client
import re
import socket

import kit

LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-z]+="(?:[^"\\\n]|\\.)*"(?:,[a-z]+="(?:[^"\\\n]|\\.)*")*\})? (\S+)$')


def at(node):
    host, port = node.file["metrics"].rsplit(":", 1)
    return host, int(port)


def asked_alone(node):
    """What the admin pool holds with one caller: both listeners, the share of the metrics, the caller."""
    share = {16 + 5: 4}.get(next(pool["limit"] for pool in node.info()["fd_pools"] if pool["name"] == "admin"), 1)
    return 2 + share + 1


def ask(node, method="GET", path="/metrics"):
    connection = http.client.HTTPConnection(*at(node), timeout=kit.PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer, answer.read().decode()
    finally:
        connection.close()


def scrape(case, node):
    """{'name{labels}': value}; every line must be one of the format."""
    answer, text = ask(node)
    case.assertEqual(200, answer.status, text)
    case.assertEqual("text/plain; version=0.0.4; charset=utf-8", answer.getheader("Content-Type"))
    values, helped, typed = {}, set(), {}
    case.assertTrue(text.endswith("\n"))
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split(" ", 3)[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            case.assertNotIn(name, typed)
            case.assertIn(name, helped)
            typed[name] = kind
        else:
            match = LINE.match(line)
            case.assertTrue(match, line)
            name, labels, value = match.groups()
            case.assertIn(name, typed, line)
            case.assertNotIn(name + (labels or ""), values)
            values[name + (labels or "")] = float(value)
    return values


class Metrics(kit.Case):
    def test_a_scrape_says_what_the_node_says(self):
        node = self.node("node", options=["--metrics", "127.0.0.1:0"]).start()
        dialer = self.node("dialer", peers=[node], options=["--user-agent", 'x"} 1']).start()
        other = self.node("other", peers=[node], network="elsewhere").start()
        node.sees(dialer)
        node.attempt("WRONG_NETWORK", "in")
        values = kit.eventually("both are counted", lambda: (lambda v: v if v[
            'helo_connections_closed_total{reason="WRONG_NETWORK",direction="in"}'] >= 1 else None)(scrape(self, node)))
        info = node.info()
        self.assertEqual(1, values['helo_peers{direction="in"}'])
        self.assertEqual(0, values['helo_peers{direction="out"}'])
        self.assertEqual(info["max_inbound"], values['helo_slots{direction="in"}'])
        self.assertEqual(1, values['helo_handshakes_completed_total{direction="in"}'])
        self.assertGreaterEqual(values['helo_connections_closed_total{reason="WRONG_NETWORK",direction="in"}'], 1)
        self.assertGreaterEqual(values["helo_connections_accepted_total"], 2)
        self.assertGreater(values['helo_received_bytes_total{direction="in"}'], 500)
        self.assertGreater(values['helo_sent_bytes_total{direction="in"}'], 500)
        self.assertEqual(0, values['helo_sent_bytes_total{direction="out"}'])
        self.assertEqual(int(info["fd_limit"]), values['helo_fd_limit{kind="soft"}'])
        self.assertEqual(0, values["helo_fds_foreign"])
        for pool in info["fd_pools"]:
            self.assertEqual(pool["limit"], values[f'helo_fd_pool_limit{{pool="{pool["name"]}"}}'])
        listener = node.file["listen"][0]
        self.assertGreaterEqual(values[f'helo_listener_accepted_total{{listener="{listener}"}}'], 2)
        # Counters only rise.
        later = scrape(self, node)
        self.assertEqual(set(values), set(later))
        for name, value in values.items():
            if name.split("{")[0].endswith("_total"):
                self.assertGreaterEqual(later[name], value, name)
        # The same, from the other side of the connection.
        other.stop()
        dialer.stop()
        kit.eventually("its end is counted", lambda: scrape(self, node)[
            'helo_connections_closed_total{reason="SHUTTING_DOWN",direction="in"}'] == 1)
        self.assertEqual(0, scrape(self, node)['helo_peers{direction="in"}'])

    def test_anything_else_is_refused(self):
        node = self.node("node", options=["--metrics", "127.0.0.1:0"]).start()
        self.assertEqual(404, ask(node, path="/")[0].status)
        answer, _ = ask(node, method="POST")
        self.assertEqual((405, "GET, HEAD"), (answer.status, answer.getheader("Allow")))
        answer, body = ask(node, method="HEAD")
        self.assertEqual((200, ""), (answer.status, body))
        self.assertGreater(int(answer.getheader("Content-Length")), 1000)

    def test_off_by_default_and_never_shown_to_a_network(self):
        node = self.node("node").start()
        self.assertIsNone(node.file["metrics"])
        wrong = self.node("wrong", options=["--metrics", "0.0.0.0:4358"]).launch()
        self.assertEqual(2, wrong.process.wait(timeout=kit.PATIENCE))
        self.assertIn("ssh -L", wrong.log())
        self.assertNotIn("ready", wrong.log())
        host, port = node.admin.rsplit(":", 1)
        taken = self.node("taken", options=["--metrics", f"{host}:{port}"]).launch()
        self.assertEqual(1, taken.process.wait(timeout=kit.PATIENCE))
        self.assertIn(port, taken.log())
        self.assertIn(str(node.pid), taken.log())

    def test_two_hundred_silent_connections_hurt_neither_the_operator_nor_the_scraper(self):
        for name, wrapper in (("ample", []), ("narrow", ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"])):
            with self.subTest(name), contextlib.ExitStack() as stack:
                node = self.node(name, options=["--metrics", "127.0.0.1:0"], wrapper=wrapper).start()
                peer = self.node(f"{name}-peer", peers=[node]).start()
                node.sees(peer)
                def used(name, of=node):
                    return next(pool["used"] for pool in of.info()["fd_pools"] if pool["name"] == name)
                # The tickets of callers that have gone come back a moment later.
                kit.eventually("only who asks is there", lambda: used("admin") == asked_alone(node))
                for _ in range(200):
                    stack.enter_context(socket.create_connection(at(node), timeout=kit.PATIENCE))
                for _ in range(10):
                    self.assertEqual([peer.id], node.peer_ids())  # over a connection of its own each time
                    self.assertEqual(1, scrape(self, node)['helo_peers{direction="in"}'])
                kit.eventually("no more of the admin pool is used than before",
                               lambda: used("admin") == asked_alone(node))
                self.assertEqual(1, used("inbound"))
                self.assertLess(node.stop(), 5)


if __name__ == "__main__":
    kit.main()
