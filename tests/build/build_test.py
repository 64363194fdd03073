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


if __name__ == "__main__":
    unittest.main()
