"""Who may use the admin API, and what the tool says to those who may not."""

import os
import shutil
import socket
import unittest

import kit

NOBODY = 65534
AS_ROOT = unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"),
                              "calling as another user takes root and setpriv")


class Admin(kit.Case):
    def test_an_address_beyond_loopback_is_refused_with_the_remedy(self):
        node = self.node("node", admin="0.0.0.0:0").launch()
        self.assertNotEqual(0, node.process.wait(timeout=kit.PATIENCE))
        self.assertIn("0.0.0.0", node.log())
        self.assertIn("ssh -L", node.log())

    @AS_ROOT
    def test_another_user_is_refused_without_the_token_and_served_with_it(self):
        node = self.node("node").start()
        refused = kit.helo("--admin", node.admin, "info", user=NOBODY, check=False)
        self.assertEqual(4, refused.returncode, refused.stdout + refused.stderr)
        self.assertIn("token", refused.stderr)
        token = self.scratch / "token"
        shutil.copy(node.data_dir / "admin.token", token)
        os.chown(token, NOBODY, NOBODY)
        served = kit.helo("--admin", node.admin, "--token-file", token, "info", "--json", user=NOBODY)
        self.assertEqual(node.id, served.json["id"])

    @AS_ROOT
    def test_another_user_with_a_wrong_token_is_refused(self):
        node = self.node("node").start()
        token = self.scratch / "token"
        token.write_text("f" * 64 + "\n")
        os.chown(token, NOBODY, NOBODY)
        token.chmod(0o600)
        refused = kit.helo("--admin", node.admin, "--token-file", token, "info", user=NOBODY, check=False)
        self.assertEqual(4, refused.returncode, refused.stdout + refused.stderr)

    @AS_ROOT
    def test_another_user_may_ask_for_health(self):
        node = self.node("node").start()
        kit.helo("--admin", node.admin, "health", user=NOBODY)

    def test_the_token_can_be_asked_of_everybody(self):
        node = self.node("node", options=["--admin-auth", "token"]).start()
        refused = kit.helo("--admin", node.admin, "info", check=False)
        self.assertEqual(4, refused.returncode, refused.stdout + refused.stderr)
        # By its data directory the tool finds the token too.
        self.assertEqual(node.id, node.info()["id"])

    def test_the_token_and_the_key_are_the_owners_alone(self):
        node = self.node("node").start()
        for name in ("admin.token", "node.key"):
            self.assertEqual(0o600, (node.data_dir / name).stat().st_mode & 0o777, name)
        self.assertEqual(0o700, node.data_dir.stat().st_mode & 0o777)

    def test_a_node_that_does_not_run_is_told_apart_from_something_else_on_the_port(self):
        down = kit.helo("--admin", "127.0.0.1:1", "info", check=False)
        self.assertEqual(3, down.returncode, down.stdout + down.stderr)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            other = kit.helo("--admin", "127.0.0.1:%d" % listener.getsockname()[1], "info", "--timeout", "2s", check=False)
        self.assertNotIn(other.returncode, (0, 3), other.stdout + other.stderr)

    def test_callers_that_say_nothing_do_not_lock_the_operator_out(self):
        node = self.node("node").start()
        host, port = node.admin.rsplit(":", 1)
        silent = [socket.create_connection((host, int(port))) for _ in range(100)]
        try:
            self.assertEqual(node.id, node.info()["id"])
        finally:
            for one in silent:
                one.close()
        self.assertEqual(node.id, node.info()["id"])

    def test_every_change_is_logged_with_the_callers_uid(self):
        node = self.node("node").start()
        node.helo("add", "helo://127.0.0.1:1")
        kit.eventually("the change is in the log", lambda: f"uid {os.geteuid()}" in node.log() or
                       f"uid={os.geteuid()}" in node.log(), detail=node.log)


if __name__ == "__main__":
    kit.main()
