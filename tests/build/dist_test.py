"""What `make dist` packs: the same bytes from any folder, complete archives, a unit that is tight and works, an image."""
import filecmp
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest

from build.elsewhere import EPOCH, made_elsewhere, make, sysroot
from e2e import npm
from e2e.node import APPS, ROOT, Case, Client, environment, run

DIST = os.path.join(ROOT, "build/dist")
ARCH = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True).stdout.strip()
# Checkers that Debian does not have: one for Containerfiles, one for bills of materials and what it asks for.
TOOLS = ("dist-tools-1", "dockerfile-utils@0.16.3", "@cyclonedx/cyclonedx-library@7.1.0", "ajv@8.17.1", "ajv-formats@3.0.1",
         "ajv-formats-draft2019@1.6.1")
HEADER = {"amd64": "x86_64-linux-gnu/asm/unistd_64.h", "arm64": "asm-generic/unistd.h"}.get(ARCH)
with open(os.path.join(ROOT, "Makefile")) as makefile:
    VERSION = re.search(r"^VERSION := (\S+)$", makefile.read(), re.M).group(1)
NAME = f"koan-{VERSION}-linux-{ARCH}"
DEB = os.path.join(DIST, f"koan_{VERSION}_{ARCH}.deb")
MAKE = ("dist", "ARCHS=" + ARCH)
UNIT = os.path.join(ROOT, "packaging/systemd/koan.service")


def setUpModule():
    shutil.rmtree(DIST, ignore_errors=True)
    make(ROOT, *MAKE)


def output(*command, **kw):
    return subprocess.run(command, capture_output=True, text=True, check=True, **kw).stdout


class ReproducibleTest(unittest.TestCase):
    def test_two_builds_in_different_folders_are_bit_identical(self):
        with made_elsewhere(*MAKE) as copy:
            files = sorted(os.listdir(DIST))
            self.assertEqual(sorted(os.listdir(os.path.join(copy, "build/dist"))), files)
            for name in ["../rel/koan", "../rel/koan.debug"] + files:
                self.assertTrue(filecmp.cmp(os.path.join(DIST, name), os.path.join(copy, "build/dist", name), False),
                                name + " differs")


class ArchiveTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="koan-dist-")
        self.addCleanup(shutil.rmtree, self.dir)

    def test_the_sums_are_those_of_the_files(self):
        with open(os.path.join(DIST, "SHA256SUMS")) as f:
            sums = dict(reversed(line.split()) for line in f)
        self.assertEqual(sorted(sums), sorted(n for n in os.listdir(DIST) if n != "SHA256SUMS"))
        for name, digest in sums.items():
            with open(os.path.join(DIST, name), "rb") as f:
                self.assertEqual(hashlib.sha256(f.read()).hexdigest(), digest, name)

    def test_the_tarball_unpacks_into_one_folder_and_its_binary_runs(self):
        with tarfile.open(os.path.join(DIST, NAME + ".tar.gz")) as tar:
            for member in tar:
                self.assertEqual((member.name.split("/")[0], member.uid, member.gid, member.mtime),
                                 (NAME, 0, 0, EPOCH), member.name)
            tar.extractall(self.dir)
        there = os.path.join(self.dir, NAME)
        for name in ("LICENSE", "NOTICE", "CHANGELOG.md", "koan.lua", "systemd/koan.service", "docs/install.md",
                     "meta/koan.lua", "licenses/raft", "licenses/LGPL-2.1", "man/koan.1", "completion/_koan"):
            self.assertGreater(os.path.getsize(os.path.join(there, name)), 0, name)
        self.assertIn(VERSION, output(os.path.join(there, "koan"), "version", env=environment()))

    def test_every_library_in_the_notice_has_its_licence_in_the_tarball(self):
        with tarfile.open(os.path.join(DIST, NAME + ".tar.gz")) as tar:
            kept = {os.path.basename(n) for n in tar.getnames() if "/licenses/" in n}
        self.assertEqual({"libsqlite3", "liblua5.4", "libuv1", "libllhttp", "libmbedtls", "libsodium", "libzstd",
                          "libjansson", "libjemalloc", "raft", "libc6", "GPL-3"} - kept, set())

    def test_the_debian_package_is_whole(self):
        fields = dict(re.findall(r"^(\S+): (.*)$", output("dpkg-deb", "--field", DEB), re.M))
        self.assertEqual((fields["Package"], fields["Version"], fields["Architecture"]), ("koan", VERSION, ARCH))
        self.assertNotIn("Depends", fields)
        output("dpkg-deb", "--raw-extract", DEB, self.dir)
        with open(os.path.join(self.dir, "DEBIAN/md5sums")) as f:
            sums = dict(line.split("  ", 1) for line in f.read().splitlines())
        for digest, name in sums.items():
            with open(os.path.join(self.dir, name), "rb") as f:
                self.assertEqual(hashlib.md5(f.read()).hexdigest(), digest, name)
        # What the unit starts and reads is in the package, and the configuration survives an upgrade.
        with open(os.path.join(self.dir, "usr/lib/systemd/system/koan.service")) as f:
            program, config = re.search(r"^ExecStart=(\S+) serve --config (\S+)$", f.read(), re.M).groups()
        self.assertTrue(os.access(self.dir + program, os.X_OK))
        with open(os.path.join(self.dir, "DEBIAN/conffiles")) as f:
            self.assertEqual(f.read().split(), [config])
        told = json.loads(output(self.dir + program, "config", "show", "--json", "--config", self.dir + config,
                                 env=environment()))
        self.assertIn("/var/lib/koan", json.dumps(told))

    def test_the_debian_package_enables_the_service_once_and_leaves_nothing_after_a_purge(self):
        output("dpkg-deb", "--raw-extract", DEB, self.dir)
        stubs, log = os.path.join(self.dir, "stubs"), os.path.join(self.dir, "log")
        os.mkdir(stubs)
        for name in ("deb-systemd-helper", "deb-systemd-invoke", "systemctl", "rm"):
            with open(os.path.join(stubs, name), "w") as f:
                f.write(f'#!/bin/sh\necho {name} "$@" >> {log}\n')
            os.chmod(f.name, 0o755)

        def script(*words):
            if os.path.exists(log):
                os.unlink(log)
            output(os.path.join(self.dir, "DEBIAN", words[0]), *words[1:],
                   env={"PATH": stubs + os.pathsep + os.environ["PATH"]})
            if not os.path.exists(log):
                return []
            with open(log) as f:
                return [line for line in f.read().splitlines() if not line.startswith(("deb-systemd-invoke", "systemctl"))]
        self.assertIn("deb-systemd-helper enable koan.service", script("postinst", "configure", ""))
        self.assertEqual(script("prerm", "upgrade", VERSION), [])
        self.assertEqual(script("postrm", "remove"), ["deb-systemd-helper mask koan.socket koan.service"])
        self.assertIn("rm -rf /var/lib/koan /var/lib/private/koan", script("postrm", "purge"))


class BillTest(unittest.TestCase):
    """The bill of materials."""

    def setUp(self):
        self.path = os.path.join(DIST, NAME + ".cdx.json")
        with open(self.path) as f:
            self.bill = json.load(f)

    def test_it_is_valid_cyclonedx(self):
        check = ("const { Validation: V, Spec } = require('@cyclonedx/cyclonedx-library');"
                 "new V.JsonStrictValidator(Spec.Version.v1dot5).validate(require('fs').readFileSync(0, 'utf8'))"
                 ".then(e => { if (e) { console.log(JSON.stringify(e)); process.exit(1); } });")
        with open(self.path) as f:
            done = subprocess.run(["node", "-e", check], stdin=f, capture_output=True, text=True,
                                  env=dict(os.environ, NODE_PATH=os.path.join(npm.programs(*TOOLS), "node_modules")))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_it_is_about_this_binary(self):
        with open(os.path.join(ROOT, "build/rel/koan"), "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        self.assertEqual(self.bill["metadata"]["component"]["hashes"], [{"alg": "SHA-256", "content": digest}])

    def test_it_names_every_library_that_is_linked_at_its_version(self):
        with open(os.path.join(ROOT, "packaging/sysroot/packages.lock")) as f:
            taken = {line.split()[1]: line.split()[2] for line in f if not line.startswith("#")}
        for of in (), ("data",):
            newer = os.path.join(sysroot(None, *of), "newer")
            if os.path.exists(newer):
                with open(newer) as f:
                    taken.update((line.split()[0], line.split()[2]) for line in f)
        told = {re.match(r"pkg:deb/debian/([^@]+)@", c["purl"]).group(1): c["version"]
                for c in self.bill["components"] if c["purl"].startswith("pkg:deb/")}
        for package, version in told.items():
            self.assertEqual(taken[package], version)
        # Every -dev package with an archive that the link line names, and what is compiled from source.
        with open(os.path.join(ROOT, "Makefile")) as f:
            text = f.read()
        linked = re.search(r"^DEPS_LIBS := .*?-l:lib,\$\(addsuffix \.a,(.*?)\)\)", text, re.M | re.S).group(1)
        for library in linked.replace("\\", "").replace("$(LUAC_VERSION)", "").split():
            stem = re.sub("x509|crypto", "tls", library)
            self.assertTrue(any(p.startswith("lib" + stem) for p in told), library)
        self.assertIn("raft", told)
        self.assertIn("libc6-dev", told)


class UnitTest(Case):
    def test_systemd_finds_no_fault(self):
        with open(UNIT) as f:
            text = f.read().replace("/usr/bin/koan", os.path.join(ROOT, "build/rel/koan"))
        socket = shutil.copy(os.path.join(os.path.dirname(UNIT), "koan.socket"), self.dir)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", self.write("koan.service", text), socket],
                              capture_output=True, text=True)
        self.assertEqual([line for line in done.stderr.splitlines() if "koan" in line], [])
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_its_exposure_is_low(self):
        shutil.copytree(os.path.dirname(UNIT), self.path("usr/lib/systemd/system"))
        done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=13",
                               "--root=" + self.dir, "koan.service"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout[-200:] + done.stderr)

    @unittest.skipIf(HEADER is None, "no table of system calls for this machine")
    def test_its_system_call_filter_lets_all_of_koan_through(self):
        filtered = (sys.executable, os.path.join(ROOT, "tests/build/seccomp.py"), UNIT,
                    os.path.join(sysroot(), "usr/include", HEADER))
        self.assertNotEqual(subprocess.run([*filtered, "chroot", "/", "true"], capture_output=True).returncode, 0)
        os.mkdir(self.path("scripts"))
        script = shutil.copy(os.path.join(APPS, "todo/todo.lua"), self.path("scripts/todo.lua"))
        node = self.node("--scripts", self.path("scripts"), prefix=filtered)
        client = node.client()
        made = client("POST", "/api/todo", {"title": "buy milk"}).json
        self.assertEqual(client("GET", "/api/todo/" + made["id"]).json, made)
        with open(script, "a") as f:
            f.write("\n-- changed\n")
        seen = len(node.logs)
        code, _, err = run("deploy", self.path("scripts"), "--no-check", "--url", node.url)
        self.assertEqual(code, 0, err)
        node.wait_log("deployed name=", start=seen)
        node.process.send_signal(signal.SIGHUP)
        self.assertEqual(client("GET", "/metrics").status, 200)
        self.assertEqual(node.stop(), 0)
        self.assertNotRegex(node.text, '"level":"(warn|error)"')


class Image:
    """The steps of packaging/Containerfile, carried out on an empty folder."""

    def __init__(self, root):
        self.root, self.env, self.user, self.work, self.command = root, {}, None, "/", {}
        arguments = {}
        with open(os.path.join(ROOT, "packaging/Containerfile")) as f:
            lines = [line.strip() for line in f if line.strip() and not line.startswith("#")]
        for line in lines:
            verb, rest = line.split(None, 1)
            for name, value in arguments.items():
                rest = rest.replace("${" + name + "}", value)
            getattr(self, "do_" + verb.lower())(rest, arguments)

    def do_from(self, rest, _):
        assert rest == "scratch" and os.listdir(self.root) == []

    def do_arg(self, rest, arguments):
        arguments[rest.split("=")[0]] = ARCH

    def do_add(self, rest, _):
        archive, where = rest.split()
        subprocess.run(["tar", "-xf", os.path.join(DIST, archive), "-C", self.root + where], check=True)

    def do_env(self, rest, _):
        self.env.update(pair.split("=", 1) for pair in rest.split())

    def do_workdir(self, rest, _):
        self.work = rest
        assert os.path.isdir(self.root + rest)

    def do_user(self, rest, _):
        self.user = rest

    def do_volume(self, rest, _):
        assert os.path.isdir(self.root + rest)

    def do_expose(self, rest, _):
        assert rest == self.env["KOAN_HTTP_LISTEN"].rpartition(":")[2]

    def do_stopsignal(self, rest, _):
        self.stopsignal = getattr(signal, rest)

    def do_entrypoint(self, rest, _):
        self.command["entrypoint"] = json.loads(rest)

    def do_cmd(self, rest, _):
        self.command["cmd"] = json.loads(rest)

    def start(self, **more):
        """As a container engine would, but for the network."""
        uid, gid = self.user.split(":")
        enter = (["chroot", f"--userspec={uid}:{gid}", self.root] if os.getuid() == 0 else
                 ["unshare", "--user", "--map-root-user", "chroot", self.root])
        return subprocess.Popen([*enter, *self.command["entrypoint"], *self.command["cmd"]],
                                env={"PATH": os.environ["PATH"], **self.env, **more}, text=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class ContainerTest(Case):
    def test_the_linter_finds_nothing(self):
        told = output(os.path.join(npm.programs(*TOOLS), "node_modules/.bin/dockerfile-utils"), "lint",
                      os.path.join(ROOT, "packaging/Containerfile"))
        self.assertEqual(told.strip(), "")

    def ready(self, process, lines):
        port, token = None, None
        for line in process.stderr:
            lines.append(line)
            found = re.search(r"https?://\S+:(\d+), \d+ thread", line)
            port = int(found.group(1)) if found else port
            found = re.search(r"shown only now: (\w+)", line)
            token = found.group(1) if found else token
            if "ready " in line and "after" in line:
                break
        else:
            self.fail("the container did not start:\n" + "".join(lines))
        threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True).start()
        return port, token

    def test_its_steps_on_an_empty_folder_give_a_server_that_keeps_its_data(self):
        os.mkdir(self.path("image"))
        os.chmod(self.dir, 0o755)
        image = Image(self.path("image"))
        shutil.copy(os.path.join(APPS, "todo/todo.lua"), self.path("image/app"))
        token, made = None, None
        for _ in range(2):
            lines = []
            # Any free port instead of 8090, which somebody else may have here.
            process = image.start(KOAN_HTTP_LISTEN="0.0.0.0:0")
            self.addCleanup(lambda p=process: (p.kill(), p.wait(), p.stderr.close()))
            port, shown = self.ready(process, lines)
            token = token or shown
            client = Client(port)
            self.addCleanup(client.close)
            self.assertEqual(client("GET", "/api/todo").status, 401)
            client.token = token
            made = made or client("POST", "/api/todo", {"title": "buy milk"}).json
            self.assertEqual(client("GET", "/api/todo/" + made["id"]).json, made)
            client.close()
            process.send_signal(image.stopsignal)
            self.assertEqual(process.wait(40), 0, "".join(lines))

    def test_only_the_data_folder_can_be_written_by_the_user_it_runs_as(self):
        with tarfile.open(os.path.join(DIST, f"koan-rootfs-{ARCH}.tar")) as tar:
            for member in tar:
                if member.name == "data":
                    self.assertEqual((member.uid, member.mode), (65532, 0o700))
                elif member.name != "tmp":
                    self.assertEqual((member.uid, member.mode & 0o022), (0, 0), member.name)

    def test_it_brings_the_public_authorities(self):
        with tarfile.open(os.path.join(DIST, f"koan-rootfs-{ARCH}.tar")) as tar:
            roots = tar.extractfile("etc/ssl/certs/ca-certificates.crt").read().decode()
        self.assertGreater(roots.count("-----BEGIN CERTIFICATE-----"), 100)
        self.assertEqual(roots.count("-----BEGIN CERTIFICATE-----"), roots.count("-----END CERTIFICATE-----\n"))


if __name__ == "__main__":
    unittest.main()
