"""helo doctor on this machine, beside real nodes and in network namespaces of its own."""

import os
import pathlib
import shutil
import socket
import subprocess
import unittest

import kit

NOBODY = 65534


def first_unprivileged_port():
    return int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())


class Doctor(kit.Case):
    def doctor(self, *args, wrapper=(), node=None):
        """Its findings by check, and its exit code, which must be 1 exactly if one is a problem."""
        where = ["--data-dir", str(node.data_dir)] if node else ["--admin", "127.0.0.1:1"]
        command = [*wrapper, str(kit.HELO), *where, "doctor", "--json", *map(str, args)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=kit.PATIENCE, check=False,
                              encoding="utf-8")
        answer = kit.Tool(command, done.returncode, done.stdout, done.stderr).json
        self.assertIn("findings", answer, done.stdout + done.stderr)
        problems = [one for one in answer["findings"] if one["level"] == "problem"]
        self.assertEqual((len(problems), 1 if problems else 0), (answer["problems"], done.returncode), done.stdout)
        for one in answer["findings"]:
            self.assertEqual(one["level"] == "ok", not one["means"], one)
        return {one["check"]: one for one in answer["findings"]}

    def level(self, findings, check, level):
        self.assertEqual(level, findings[check]["level"], findings[check])
        return findings[check]

    def test_a_free_port_and_one_in_use_with_who_has_it(self):
        self.level(self.doctor("--listen", "127.0.0.1:0"), "port", "ok")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            found = self.level(self.doctor("--listen", f"127.0.0.1:{port}"), "port", "problem")
            self.assertIn(f"process {os.getpid()}", found["means"])
            self.assertIn(f"sport = :{port}", found["remedies"]["shell"])
        self.level(self.doctor("--listen", f"127.0.0.1:{port}"), "port", "ok")

    def test_an_address_of_another_machine_and_one_that_is_none(self):
        self.level(self.doctor("--listen", "192.0.2.1:4356"), "port", "problem")
        self.assertEqual(2, kit.helo("doctor", "--listen", "999.999.999.999:8080", check=False).returncode)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root, to become nobody")
    @unittest.skipUnless(first_unprivileged_port() > 1, "here every port is open to everybody")
    def test_a_privileged_port(self):
        nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
        found = self.level(self.doctor("--listen", "127.0.0.1:1", wrapper=nobody), "port", "problem")
        self.assertIn("ip_unprivileged_port_start", found["means"])
        self.assertIn("CAP_NET_BIND_SERVICE", found["remedies"]["systemd"])

    @unittest.skipUnless(shutil.which("prlimit"), "no prlimit here")
    def test_few_descriptors(self):
        found = self.level(self.doctor(wrapper=("prlimit", "--nofile=200:200")), "fd-limit", "problem")
        self.assertIn("fewer peers", found["means"])
        self.assertEqual({"shell", "limits.conf", "systemd", "compose"}, set(found["remedies"]))
        found = self.level(self.doctor(wrapper=("prlimit", "--nofile=50:50")), "fd-limit", "problem")
        self.assertIn("refuses to start", found["means"])

    def test_a_node_on_loopback_alone_is_noted_and_one_on_every_address_is_well(self):
        alone = self.node("alone", listen=["127.0.0.1:0"]).start()
        found = self.level(self.doctor(node=alone), "reachable", "note")
        self.assertIn("loopback", found["means"])
        everywhere = self.node("everywhere", listen=["0.0.0.0:0"]).start()
        findings = self.doctor(node=everywhere)
        self.level(findings, "reachable", "ok")
        self.assertIn(f"pid {everywhere.pid}", self.level(findings, "node", "ok")["says"])
        self.level(findings, "data-dir", "ok")
        self.assertNotIn("port", findings)  # it would be found in use, by the node itself

    def test_a_node_that_does_not_answer_is_a_problem_and_its_port_is_not(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            where = "127.0.0.1:%d" % silent.getsockname()[1]
            done = kit.helo("--admin", where, "--timeout", "500ms", "doctor", "--json", check=False)
        findings = {one["check"]: one for one in done.json["findings"]}
        self.assertIn("did not answer", self.level(findings, "node", "problem")["means"])
        self.assertEqual(1, done.returncode)
        self.assertNotIn("port", findings)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root, to become nobody")
    def test_a_node_of_another_user_is_noted_and_its_port_is_no_problem(self):
        node = self.node("node").start()
        done = kit.helo("--admin", node.admin, "doctor", "--json", user=NOBODY, check=False)
        findings = {one["check"]: one for one in done.json["findings"]}
        self.assertIn("does not let", self.level(findings, "node", "note")["means"])
        self.assertNotIn("port", findings)

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to give a directory away")
    def test_root_looks_at_the_directory_of_a_service(self):
        folder = self.scratch / "service"
        folder.mkdir(mode=0o700)
        os.chown(folder, NOBODY, NOBODY)
        done = kit.helo("--data-dir", folder, "doctor", "--json", check=False)
        found = self.level({one["check"]: one for one in done.json["findings"]}, "data-dir", "ok")
        self.assertIn(f"uid {NOBODY}", found["says"])

    def test_an_admin_address_that_is_none_is_wrong_use(self):
        self.assertEqual(2, kit.helo("--admin", "192.0.2.1:4357", "doctor", check=False).returncode)

    def test_a_node_that_has_counted_its_descriptors_is_well(self):
        node = self.node("node").start()
        kit.eventually("it has counted them", lambda: len(node.info()["fd_sentences"]) > 1)
        self.level(self.doctor(node=node), "fd-of-node", "ok")

    def test_a_node_with_less_than_was_configured(self):
        node = self.node("node", wrapper=["prlimit", "--nofile=128:128"]).start()
        found = self.level(self.doctor(node=node), "fd-of-node", "problem")
        self.assertIn("less than configured", found["means"])

    def test_the_clocks_of_peers(self):
        node = self.node("node").start()
        other = self.node("other", peers=[node], options=["--ping-interval", "1s"]).start()
        node.sees(other)
        kit.eventually("a clock was compared", lambda: other.peers()[0]["skew_us"] is not None)
        self.assertIn("1 peer ", self.level(self.doctor(node=other), "clock-of-peers", "ok")["says"])

    def test_a_data_directory_that_others_may_write(self):
        folder = self.scratch / "open"
        folder.mkdir()
        folder.chmod(0o777)
        done = kit.helo("--data-dir", folder, "doctor", "--json", check=False)
        found = {one["check"]: one for one in done.json["findings"]}["data-dir"]
        self.assertEqual(("problem", 1), (found["level"], done.returncode), found)
        self.assertIn("777", found["says"])
        folder.chmod(0o700)
        done = kit.helo("--data-dir", folder, "doctor", "--json", check=False)
        self.assertEqual("ok", {one["check"]: one for one in done.json["findings"]}["data-dir"]["level"])

    def test_for_people(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = kit.helo("--admin", "127.0.0.1:1", "doctor", "--listen",
                            f"127.0.0.1:{taken.getsockname()[1]}", check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn("problem  port", done.stdout)
        self.assertRegex(done.stdout, r"\d+ problems?, \d+ notes?\n$")

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("ip"), "needs root, for a network namespace")
    def test_settings_of_the_network(self):
        name = f"helo-doctor-{os.getpid()}"
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
        if made.returncode != 0:
            self.skipTest("network namespaces cannot be made here")
        self.addCleanup(subprocess.run, ["ip", "netns", "del", name], check=True)
        inside = ("ip", "netns", "exec", name)
        findings = self.doctor("--listen", "tcp6://:4356", wrapper=inside)  # its loopback is down: no IPv6 at all
        self.level(findings, "ipv6", "note")
        self.assertIn("tcp4://:4356", self.level(findings, "port", "problem")["remedies"]["helod"])
        subprocess.run([*inside, "sysctl", "-qw", "net.core.somaxconn=64", "net.ipv4.tcp_abort_on_overflow=1"],
                       check=True)
        findings = self.doctor(wrapper=inside)
        self.assertIn("net.core.somaxconn=4096", self.level(findings, "backlog", "problem")["remedies"]["shell"])
        self.level(findings, "abort-on-overflow", "note")


if __name__ == "__main__":
    kit.main()
