"""What the build promises: one static binary of bounded size, an honest lock file, errors that name the way out."""
import os
import re
import struct
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("KOAN_BIN", os.path.join(ROOT, "build/rel/koan"))
SYSROOT = os.path.join(ROOT, "packaging/sysroot/sysroot")
CHOOSE = os.path.join(ROOT, "packaging/sysroot/choose")
PT_DYNAMIC, PT_INTERP = 2, 3


def program_headers(path):
    with open(path, "rb") as f:
        image = f.read()
    start, = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    return [struct.unpack_from("<I", image, start + i * size)[0] for i in range(count)]


class BuildTest(unittest.TestCase):
    def test_the_binary_is_static(self):
        kinds = program_headers(BINARY)
        self.assertNotIn(PT_INTERP, kinds)
        self.assertNotIn(PT_DYNAMIC, kinds)

    def test_the_binary_is_under_eight_megabytes(self):
        self.assertLess(os.path.getsize(BINARY), 8 << 20)

    def test_the_raft_core_shows_only_its_own_names(self):
        names = subprocess.run(["nm", "-g", "--defined-only", os.path.join(ROOT, "build/rel/raft.o")],
                               capture_output=True, text=True, check=True).stdout.split("\n")
        names = [line.split()[2] for line in names if line]
        self.assertIn("raft_step", names)
        self.assertEqual([n for n in names if not n.startswith("raft_")], [])

    def test_the_raft_core_is_patched(self):
        with open(os.path.join(ROOT, "build/raft/src/timeout.c")) as f:
            self.assertIn("timeoutForgetLeader", f.read())

    def make(self):
        done = subprocess.run(["make", "build/rel/koan"], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return re.findall(r"^  CC +(.*)$", done.stdout, re.M)

    def test_touching_one_source_compiles_one_source(self):
        self.make()
        os.utime(os.path.join(ROOT, "src/base/embed.c"))
        self.assertEqual(self.make(), ["build/rel/src/base/embed.o"])
        self.assertEqual(self.make(), [])

    def test_the_same_files_embed_the_same_way(self):
        texts = [subprocess.run([os.path.join(ROOT, "packaging/embed")], input="schema/a.sql\nschema/b.sql\n",
                                capture_output=True, text=True, check=True).stdout for _ in range(2)]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(re.findall(r'\.asciz "(.*)"', texts[0]), ["schema/a.sql", "schema/b.sql"])


class SysrootTest(unittest.TestCase):
    def test_every_locked_package_has_an_exact_version(self):
        with open(os.path.join(ROOT, "packaging/sysroot/packages.lock")) as f:
            lines = [line.split() for line in f if not line.startswith("#")]
        for line in lines:
            self.assertGreaterEqual(len(line), 3, line)
            self.assertIn(line[0], ("data", "bin", "src", "alt"))
            self.assertRegex(line[2], r"^[0-9]")
            for other in line[3:]:
                self.assertRegex(other, r"^[a-z0-9]+=[0-9]")

    def test_a_mirror_out_of_reach_is_an_error_that_says_what_to_do_and_leaves_nothing(self):
        with tempfile.TemporaryDirectory() as cache:
            done = subprocess.run([SYSROOT, "make"], capture_output=True, text=True,
                                  env={**os.environ, "KOAN_CACHE": cache, "KOAN_MIRROR": "http://127.0.0.1:1/debian"})
            self.assertEqual(done.returncode, 1)
            self.assertIn("KOAN_MIRROR=", done.stderr)
            self.assertIn("SYSTEM_DEPS=1", done.stderr)
            self.assertEqual(os.listdir(cache), [])

    def test_what_is_newer_than_the_lock_file_is_said_with_the_way_back(self):
        with tempfile.TemporaryDirectory() as as_pinned, tempfile.TemporaryDirectory() as other:
            with open(os.path.join(other, "newer"), "w") as f:
                f.write("libc6 2.41-12 2.41-13\n")
            told = subprocess.run([SYSROOT, "newer", as_pinned, other], capture_output=True, text=True, check=True)
            self.assertRegex(told.stderr, r"libc6 +pinned 2\.41-12, taken 2\.41-13")
            self.assertIn("make lock", told.stderr)
            told = subprocess.run([SYSROOT, "newer", as_pinned], capture_output=True, text=True, check=True)
            self.assertEqual(told.stdout + told.stderr, "")


class ChooseTest(unittest.TestCase):
    """Which version is taken, by what the mirror has."""

    def choose(self, index, *pins):
        lines = "".join(line + "\n" for line in index)
        done = subprocess.run([CHOOSE, *pins], input=lines, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def test_what_is_pinned_is_taken_where_it_is_though_there_is_newer(self):
        self.assertEqual(self.choose(["a 1.2-4", "a 1.2-3"], "a=1.2-3"), ["same a 1.2-3"])

    def test_else_the_newest_revision_of_the_same_upstream_version(self):
        index = ["a 1.2-3+deb13u1", "a 1.2-3+deb13u10", "a 1.2-3+deb13u9", "a 1.2-2"]
        self.assertEqual(self.choose(index, "a=1.2-3"), ["newer a 1.2-3 1.2-3+deb13u10"])
        self.assertEqual(self.choose(["a 2:1.2-4"], "a=2:1.2-3+b1"), ["newer a 2:1.2-3+b1 2:1.2-4"])

    def test_or_a_maintenance_release_or_a_later_edition(self):
        self.assertEqual(self.choose(["a 6.12.118-1"], "a=6.12.117-1"), ["newer a 6.12.117-1 6.12.118-1"])
        self.assertEqual(self.choose(["a 1.2.1-1"], "a=1.2-3"), ["newer a 1.2-3 1.2.1-1"])
        self.assertEqual(self.choose(["a 3.6.7-0.1~deb13u1"], "a=3.6.6-0.1~deb13u1"),
                         ["newer a 3.6.6-0.1~deb13u1 3.6.7-0.1~deb13u1"])
        self.assertEqual(self.choose(["a 2026g-0+deb13u1"], "a=2026f-0+deb13u1"),
                         ["newer a 2026f-0+deb13u1 2026g-0+deb13u1"])
        self.assertEqual(self.choose(["a 20260301~deb13u1"], "a=20250419+deb13u1"),
                         ["newer a 20250419+deb13u1 20260301~deb13u1"])

    def test_never_another_series_or_an_older_one(self):
        for there in "1.3-1", "2.2-1", "1.2-2", "1:1.2-4", "1.21-1":
            self.assertEqual(self.choose(["a " + there], "a=1.2-3"), ["gone a 1.2-3"], there)
        for there in "6.13.0-1", "6.12.116-1", "7.12.118-1":
            self.assertEqual(self.choose(["a " + there], "a=6.12.117-1"), ["gone a 6.12.117-1"], there)
        self.assertEqual(self.choose([], "a=1"), ["gone a 1"])

    def test_each_package_is_decided_by_itself(self):
        index = ["a 1.0-1", "ab 1.0-2", "b 1.0-3"]
        self.assertEqual(self.choose(index, "b=1.0-2", "a=1.0-1", "c=1.0-1"),
                         ["newer b 1.0-2 1.0-3", "same a 1.0-1", "gone c 1.0-1"])


if __name__ == "__main__":
    unittest.main()
