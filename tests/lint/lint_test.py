"""The linter must see what it is for: plants each kind of mistake in a copy of the sources."""
import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LINT = os.path.join(ROOT, "tests/lint/lint")


class LintTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        self.objects = os.path.join(self.root, "objects")
        shutil.copytree(os.path.join(ROOT, "src"), os.path.join(self.root, "src"))
        shutil.copytree(os.path.join(ROOT, "build/dbg/src"), os.path.join(self.objects, "src"),
                        ignore=lambda _, names: [n for n in names if "." in n and not n.endswith(".o")])

    def write(self, path, text):
        with open(os.path.join(self.root, path), "w") as f:
            f.write(text)

    def plant(self, path, text):
        """Write a source into the copy and compile it among the objects."""
        self.write(path, text)
        target = os.path.join(self.objects, path[:-2] + ".o")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        subprocess.run(["gcc", "-I", os.path.join(self.root, "src"), "-c", os.path.join(self.root, path), "-o", target],
                       check=True, capture_output=True)

    def lint(self):
        done = subprocess.run([LINT, "--root", self.root, "--objects", self.objects], capture_output=True, text=True)
        return done.returncode, done.stdout

    def assert_caught(self, *words):
        code, output = self.lint()
        self.assertEqual(code, 1, output)
        line = [l for l in output.splitlines() if all(w in l for w in words)]
        self.assertTrue(line, f"no line with {words} in:\n{output}")

    def test_the_sources_as_they_are_pass(self):
        code, output = self.lint()
        self.assertEqual(code, 0, output)

    def test_an_upward_include_is_caught(self):
        self.write("src/base/planted.c", '#include "ledger/ledger.h"\n')
        self.assert_caught("src/base/planted.c:1", "base may not include", "from base to ledger")

    def test_an_upward_symbol_is_caught(self):
        self.plant("src/ledger/planted_far.c", "int ledger_planted_far(void);\n"
                                               "int ledger_planted_far(void) { return 1; }\n")
        self.plant("src/base/planted.c", "extern int ledger_planted_far(void);\n"
                                         "int base_planted(void);\n"
                                         "int base_planted(void) { return ledger_planted_far(); }\n")
        self.assert_caught("src/base/planted.o", "base links ledger_planted_far() of ledger")

    def test_a_downward_include_that_floors_does_not_name_is_caught(self):
        self.write("src/db/planted.c", '#include "codec/planted.h"\n')
        os.makedirs(os.path.join(self.root, "src/codec"), exist_ok=True)
        self.write("src/codec/planted.h", "")
        self.assert_caught("src/db/planted.c:1", "from db to codec")

    def test_a_private_header_of_another_module_is_caught(self):
        self.write("src/io/planted_priv.h", "")
        self.write("src/db/planted.c", '#include "io/planted_priv.h"\n')
        self.assert_caught("src/db/planted.c:1", "private to io")

    def test_a_library_outside_its_owner_is_caught(self):
        self.plant("src/ledger/planted.c", "extern int sqlite3_open(const char *, void **);\n"
                                           "int ledger_planted(void);\n"
                                           "int ledger_planted(void) { return sqlite3_open(0, 0); }\n")
        self.write("src/ledger/planted_include.c", "#include <sqlite3.h>\n")
        self.assert_caught("src/ledger/planted.o", "sqlite3_open() belongs to SQLite")
        self.assert_caught("src/ledger/planted_include.c:1", "<sqlite3.h> belongs to SQLite")

    def test_banned_functions_are_caught_but_not_in_comments_or_members(self):
        self.write("src/db/planted.c", "/* time(NULL) */\nint x = disk->open(a) + disk.fsync(b); /* \"free(\" */\n"
                                       'char *s = "strcpy(";\nint y = time(0);\nint z = atoi(s);\n')
        self.assert_caught("src/db/planted.c:4", "time() is banned")
        self.assert_caught("src/db/planted.c:5", "atoi() is banned")
        self.assertEqual(self.lint()[1].count("src/db/planted.c:"), 2)

    def test_mutable_globals_are_caught_but_not_const_tables(self):
        self.plant("src/db/planted.c", "int db_planted;\nconst char *const db_names[] = {\"a\", \"b\"};\n"
                                       "int db_next(void);\nint db_next(void) { static int n = 1; return n++; }\n")
        self.assert_caught("src/db/planted.o: db_planted is a mutable global")
        self.assert_caught("src/db/planted.o: n.")
        self.assertNotIn("db_names", self.lint()[1])

    def test_a_module_without_a_floor_is_caught(self):
        os.makedirs(os.path.join(self.root, "src/attic"))
        self.write("src/attic/planted.c", "int attic;\n")
        self.assert_caught("module attic has no line in src/FLOORS")

    def test_a_floor_that_names_a_higher_one_is_caught(self):
        with open(os.path.join(self.root, "src/FLOORS"), "a") as f:
            f.write("15 planted ledger\n")
        self.assert_caught("src/FLOORS", "planted names ledger")


if __name__ == "__main__":
    unittest.main()
