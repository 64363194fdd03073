"""The binary for arm64: cross-built from the same lock file, static, and at work under an emulator."""
import os
import shutil
import subprocess
import unittest

from build.build_test import PT_DYNAMIC, PT_INTERP, program_headers
from e2e.node import APPS, ROOT, Case

BINARY = os.path.join(ROOT, "build/arm64/koan")
EMULATOR = "qemu-aarch64-static"
EM_AARCH64 = 183


def setUpModule():
    if shutil.which(EMULATOR) is None:
        raise unittest.SkipTest(EMULATOR + " is missing; packaging/setup test installs it")
    done = subprocess.run(["make", "--no-print-directory", "build/arm64/koan"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError("make build/arm64/koan:\n" + done.stderr)


class Arm64Test(Case):
    def test_it_is_static_and_for_that_machine(self):
        with open(BINARY, "rb") as f:
            head = f.read(20)
        self.assertEqual(int.from_bytes(head[18:20], "little"), EM_AARCH64)
        kinds = program_headers(BINARY)
        self.assertNotIn(PT_INTERP, kinds)
        self.assertNotIn(PT_DYNAMIC, kinds)

    def test_it_starts_answers_and_drains(self):
        node = self.node(os.path.join(APPS, "todo"), prefix=(EMULATOR,), binary=BINARY)
        made = node.client()("POST", "/api/todo", {"title": "buy milk"})
        self.assertEqual(made.status, 201)
        self.assertEqual(node.stop(), 0)
        again = self.node(os.path.join(APPS, "todo"), prefix=(EMULATOR,), binary=BINARY)
        self.assertEqual(again.client()("GET", "/api/todo/" + made.json["id"]).json["title"], "buy milk")
        self.assertEqual(again.stop(), 0)


if __name__ == "__main__":
    unittest.main()
