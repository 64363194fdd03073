"""A copy of the project in another folder, with its libraries in another cache: what is built there must be the same bytes."""
import contextlib
import os
import shutil
import subprocess
import tempfile

from e2e.node import ROOT

EPOCH = 1700000000


def sysroot(cache=None, *arch):
    env = dict(os.environ, **({"KOAN_CACHE": cache} if cache else {}))
    return subprocess.run([os.path.join(ROOT, "packaging/sysroot/sysroot"), "path", *arch], env=env, capture_output=True,
                          text=True, check=True).stdout.strip()


def make(root, *what, **more):
    env = dict(os.environ, SOURCE_DATE_EPOCH=str(EPOCH), **more)
    done = subprocess.run(["make", "--no-print-directory", *what], cwd=root, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError("make " + " ".join(what) + ":\n" + done.stdout + done.stderr)


@contextlib.contextmanager
def made_elsewhere(*what, arch=()):
    """The folder of a copy in which `what` was made, by another clock's zone and in another language."""
    with tempfile.TemporaryDirectory(prefix="koan-elsewhere-") as home:
        copy, cache = os.path.join(home, "quite/another/folder"), os.path.join(home, "cache")
        shutil.copytree(ROOT, copy, symlinks=True, ignore=lambda where, _: ["build", ".git"] if where == ROOT else [])
        os.mkdir(cache)
        for of in (arch, ("data",)):
            subprocess.run(["cp", "-a", sysroot(None, *of), sysroot(cache, *of)], check=True)
        make(copy, *what, KOAN_CACHE=cache, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", LANG="C.UTF-8")
        yield copy
