"""The manual page and the completion of shells: they know every command, and the programs they are for accept them."""
import re
import subprocess
import unittest

from e2e.node import Case, run


def words(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


class Shell(Case):
    def told(self, *args):
        code, out, err = run(*args)
        self.assertEqual(code, 0, err)
        return out

    def commands(self):
        return re.findall(r"^  koan ((?:[a-z]+ )+)", self.told("help"), re.M)

    def script(self, shell):
        return self.write("koan." + shell, self.told("completion", shell))

    def bash(self, *typed):
        line = " ".join(f"'{w}'" for w in ("koan", *typed))
        return words("bash", "--norc", "-uc", f"source {self.script('bash')}; COMP_WORDS=({line}); "
                     f"COMP_CWORD={len(typed)}; _koan; echo \"${{COMPREPLY[@]}}\"").split()

    def test_bash_completes_commands_and_flags_and_leaves_files_to_readline(self):
        self.assertIn("serve", self.bash(""))
        self.assertEqual(self.bash("comp"), ["completion"])
        self.assertEqual(set(self.bash("entity", "p")), {"put", "patch"})
        self.assertEqual(self.bash("entity", "ls", "todo", "--so"), ["--sort"])
        self.assertEqual(self.bash("import", "--sou"), ["--source-id"])
        self.assertIn("--listen", self.bash("serve", "--"))
        self.assertIn("--log-level", self.bash("serve", "app", "--lo"))
        self.assertEqual(self.bash("serve", "ap"), [])

    def test_fish_completes_the_same(self):
        def fish(typed):
            listed = words("fish", "--no-config", "-c", f"source {self.script('fish')}; complete -C '{typed}'")
            return [line.split("\t")[0] for line in listed.splitlines()]
        self.assertEqual(fish("koan comp"), ["completion"])
        self.assertEqual(set(fish("koan entity p")), {"put", "patch"})
        self.assertEqual(fish("koan entity ls todo --so"), ["--sort"])
        self.assertIn("--listen", fish("koan serve --"))

    def test_zsh_takes_its_script(self):
        words("zsh", "-n", self.script("zsh"))
        loaded = words("zsh", "-fc", f"autoload -U compinit; compinit -u -d {self.path('dump')}; "
                       f"source {self.script('zsh')}; whence -w _koan; print $_comps[koan]")
        self.assertEqual(loaded.split("\n")[:2], ["_koan: function", "_koan"])
        # What it would offer, with zsh's own functions replaced by ones that print.
        offered = words("zsh", "-fc", f"compdef() {{}}; source {self.script('zsh')}; _describe() {{ print -lr -- $found }}; "
                        "words=(koan entity ls --); CURRENT=4 PREFIX=--; _koan")
        self.assertIn("--sort:", offered)

    def test_an_unknown_shell_is_refused(self):
        code, _, err = run("completion", "tcsh")
        self.assertEqual(code, 2)
        self.assertIn("none of: bash zsh fish", err)

    def test_the_manual_page_has_every_command_and_no_fault(self):
        page = self.write("koan.1", self.told("man"))
        faults = subprocess.run(["mandoc", "-Tlint", "-W", "warning", page], capture_output=True, text=True).stdout
        # A date would make two builds differ; the version stands instead.
        self.assertEqual([line for line in faults.splitlines() if "missing date" not in line], [])
        text = re.sub(r".\x08", "", words("mandoc", "-Tascii", page))
        commands = self.commands()
        self.assertGreater(len(commands), 15)
        for command in commands:
            self.assertRegex(text, r"koan " + command.strip())
        for name in ("KOAN_HTTP_LISTEN", "--log-level", "--source-id", "--insecure"):
            self.assertIn(name, text)


if __name__ == "__main__":
    unittest.main()
