"""The binary for arm64: cross-built from the same lock file, static, and at work under an emulator."""
import filecmp
import os
import shutil
import unittest

from build.build_test import PT_DYNAMIC, PT_INTERP, program_headers
from build.elsewhere import made_elsewhere, make
from e2e.node import APPS, ROOT, Case

TARGET = "build/arm64/koan"
BINARY = os.path.join(ROOT, TARGET)
EMULATOR = "qemu-aarch64-static"
EM_AARCH64 = 183


def setUpModule():
    if shutil.which(EMULATOR) is None:
        raise unittest.SkipTest(EMULATOR + " is missing; packaging/setup test installs it")
    make(ROOT, TARGET)


class Arm64Test(Case):
    def test_it_is_static_and_for_that_machine(self):
        with open(BINARY, "rb") as f:
            head = f.read(20)
        self.assertEqual(int.from_bytes(head[18:20], "little"), EM_AARCH64)
        kinds = program_headers(BINARY)
        self.assertNotIn(PT_INTERP, kinds)
        self.assertNotIn(PT_DYNAMIC, kinds)

    def test_two_builds_in_different_folders_are_bit_identical(self):
        with made_elsewhere(TARGET, arch=("arm64",)) as copy:
            for name in (TARGET, TARGET + ".debug"):
                self.assertTrue(filecmp.cmp(os.path.join(ROOT, name), os.path.join(copy, name), False), name + " differs")

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
