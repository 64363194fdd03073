"""Views that live: --watch runs a command again and again, on terminals and into pipes."""
import json
import os
import pty
import subprocess
import time
import unittest

from e2e.node import BIN, App, environment

Q = "/api/queues/%2F/"


class Watching(App):
    def watch(self, *args, **kw):
        p = subprocess.Popen([BIN, *args, "--watch", "--url", self.server.url], env=environment(), stdin=subprocess.DEVNULL, **kw)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        return p

    def test_json_is_a_line_a_second(self):
        self.ok("PUT", Q + "one", {}, 201)
        p = self.watch("queue", "show", "one", "--json", stdout=subprocess.PIPE, text=True)
        self.addCleanup(p.stdout.close)
        self.assertEqual(json.loads(p.stdout.readline())["messages"], 0)
        self.ok("POST", Q + "one/messages", {"n": 1}, 201)
        began = time.monotonic()
        self.assertEqual(json.loads(p.stdout.readline())["messages"], 1)
        self.assertLess(time.monotonic() - began, 5)

    def test_on_a_terminal_each_picture_takes_the_place_of_the_last(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.watch("queue", "ls", stdout=theirs, stderr=theirs)
        os.close(theirs)
        text = b""
        while text.count(b"\x1b[H\x1b[2J") < 3:
            text += os.read(ours, 65536)
        for picture in text.split(b"\x1b[H\x1b[2J")[1:-1]:
            self.assertIn(b"koan queue ls", picture)
            self.assertEqual(picture.count(b"QUEUE"), 1)

    def test_a_server_that_goes_away_is_asked_again(self):
        house, data = self.house, "away"
        node = house.node(data=data)
        p = subprocess.Popen([BIN, "queue", "ls", "--watch", "--json", "--url", node.url], env=environment(),
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.assertEqual(json.loads(p.stdout.readline()), [])
        port = node.port
        node.stop()
        house.node("--listen", f"127.0.0.1:{port}", data=data)
        self.assertEqual(json.loads(p.stdout.readline()), [])

    def test_what_is_said_wrong_is_said_once(self):
        p = self.watch("queue", "peek", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = p.communicate(timeout=10)
        self.assertEqual((p.returncode, out), (2, ""))


if __name__ == "__main__":
    unittest.main()
