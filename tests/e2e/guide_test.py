"""The guide: what it prints can be pasted. A block of Lua that begins with `-- name.lua` is that file of the page's one
project (so may be several in a block); any other is a project by itself. `koan check` finds nothing in them, and their tests pass."""
import glob
import json
import os
import re
import shlex
import subprocess
import sys
import time
import unittest

from e2e.node import ROOT, Case, run

PAGES = [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "web/docs/*.md")))]
FILE = re.compile(r"^-- ([\w/]+\.lua)\b.*$", re.M)


def text_of(page):
    with open(page) as f:
        return f.read()


def blocks_of(page, *languages):
    return re.findall(r"^```(?:%s)\n(.*?)^```" % "|".join(languages), text_of(page), re.M | re.S)


def code_of(page):
    """What is code and no Lua: blocks of other languages or none, and indented ones."""
    text = re.sub(r"^```lua\n.*?^```", "", text_of(page), flags=re.M | re.S)
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)
    return fenced + [re.sub(r"^    ", "", b, flags=re.M) for b in re.findall(r"(?<=\n\n)(?:    .*\n|\n(?=    ))+", rest)]


def commands_of(page, program):
    """The lines that call the program, with those that belong to them, as words."""
    found = []
    for block in code_of(page):
        lines = block.splitlines()
        while lines:
            line = re.sub(r"^\$ ", "", lines.pop(0))
            if not line.startswith(program + " "):
                continue
            while True:
                try:
                    if not line.endswith("\\"):
                        found.append(shlex.split(line.replace("\\\n", " "), comments=True))
                        break
                except ValueError:  # a quote is open
                    pass
                line += "\n" + lines.pop(0)
    return found


# What stands for an id, a token or a version that only the reader has: of that an answer may say that it is not there.
STANDS_FOR = re.compile(r"\.\.|\bID\b|token|if_version|If-Match")


def files_of(block):
    """{name: text} of a block that says its files, {} of one that does not. Lines keep their numbers."""
    heads = list(FILE.finditer(block))
    if not heads or heads[0].start() > 0:
        return {}
    ends = [h.start() for h in heads[1:]] + [len(block)]
    return {h.group(1): block[h.start():end] for h, end in zip(heads, ends)}


def projects_of(page):
    """Each as {name: text}; koan.lua is of the project, all others are scripts."""
    whole, single = {}, []
    for block in blocks_of(page, "lua"):
        files = files_of(block)
        for name, text in files.items():
            if name in whole:
                raise AssertionError(f"{page}: two files {name}")
            whole[name] = text
        if not files:
            single.append({"app.lua": block})
    return ([whole] if whole else []) + single


class Guide(Case):
    def put(self, name, files):
        os.makedirs(self.path(name, "app"), exist_ok=True)
        for file, text in files.items():
            self.write(f"{name}/{file}" if file == "koan.lua" else f"{name}/app/{file}", text)
        return self.path(name)

    def test_every_example_passes_koan_check(self):
        count = 0
        for page in PAGES:
            for n, files in enumerate(projects_of(page)):
                name = f"{os.path.basename(page)[:-3]}-{n}"
                folder = self.put(name, files)
                with self.subTest(name):
                    count += 1
                    code, out, err = run("check", "app", cwd=folder)
                    self.assertEqual(code, 0, f"{name}: {list(files)}\n{out}{err}")
                    self.assertRegex(out, r" 0 errors, 0 warnings; ", name)
        self.assertGreater(count, 15)

    def ask(self, port, words):
        """The status of a request as curl sends it."""
        told = "\0".join(words).replace("localhost:8090", f"127.0.0.1:{port}")
        told = re.sub(r"\w*-?\.\.\.", "0190c2a4-0000-7000-8000-000000000000", told)
        told = re.sub(r'(wait"?[=:] ?"?)\d+s', r"\g<1>1s", told)
        p = subprocess.run([*told.split("\0"), "-s", "-o", self.path("answer"), "-w", "%{http_code}", "--max-time", "20"],
                           capture_output=True, text=True, timeout=60)
        with open(self.path("answer"), errors="replace") as f:
            return int(p.stdout or 0), f.read()

    def test_every_request_is_understood(self):
        """Sent to a server with all that the page declares, in the order of the page."""
        count = 0
        for page in PAGES:
            asked = [w for w in commands_of(page, "curl") if "-N" not in w]
            for words in asked:
                self.assertTrue(any("localhost:8090" in w for w in words), f"{page}: {words}")
                if "--json" in words and not STANDS_FOR.search(words[words.index("--json") + 1]):
                    json.loads(words[words.index("--json") + 1])
            if not asked:
                continue
            name = "all-" + os.path.basename(page)[:-3]
            files = {f"{n}/{file}": text for n, p in enumerate(projects_of(page)) for file, text in p.items()
                     if file != "koan.lua" and not file.endswith("_test.lua")}
            server = self.node(os.path.join(self.put(name, files), "app"), data="data-" + name)
            for words in asked:
                with self.subTest(page=name, words=words):
                    count += 1
                    status, body = self.ask(server.port, words)
                    if STANDS_FOR.search(" ".join(words)):
                        self.assertNotIn(status // 100 * 100 if status >= 500 else status, (0, 400, 405, 415, 422, 500), body)
                        self.assertNotRegex(body, "there is no (entity|queue|job|model)")
                    else:
                        self.assertIn(status, (200, 201, 202, 204), body)
            self.assertEqual(server.stop(), 0)
        self.assertGreater(count, 20)

    def test_the_job_of_the_page_runs_as_printed(self):
        page = os.path.join(ROOT, "web/docs/jobs.md")
        files = {n: text for n, text in projects_of(page)[0].items() if not n.endswith("_test.lua")}
        server = self.node(os.path.join(self.put("jobs", files), "app"))
        for words in commands_of(page, "curl"):
            self.assertEqual(self.ask(server.port, words)[0], 201)
        printed = next(c for c in commands_of(page, "koan") if c[1:3] == ["jobs", "run"])
        code, out, err = run(*printed[1:], "--json", "--url", server.url)
        self.assertEqual((code, json.loads(out)["state"]), (0, "completed"), out + err)
        c = server.client()
        self.assertEqual([(r["total"], r["booked"]) for r in c("GET", "/api/closing").json], [(12, True)])
        follower = c("GET", "/api/jobs?job=send-statement").json["runs"][0]["id"]
        self.assertEqual(c("GET", f"/api/jobs/{follower}?wait=10s").json["state"], "completed")

    def test_other_languages_are_no_nonsense(self):
        for page in PAGES:
            for block in blocks_of(page, "python"):
                compile(block, page, "exec")

    def worker(self, page, last, url):
        """What the page's Python says, and then `last`, until the test ends."""
        text = "\n".join(blocks_of(page, "python")).replace("http://localhost:8090", url) + "\n" + last
        p = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.DEVNULL)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)

    def test_who_comes_from_elsewhere_can_work_with_what_is_printed(self):
        page = os.path.join(ROOT, "web/docs/coming.md")
        files = {n: text for n, text in projects_of(page)[0].items() if not n.endswith("_test.lua")}
        server = self.node(os.path.join(self.put("coming", files), "app"))
        c = server.client()
        self.assertEqual(c("PUT", "/api/queues/%2F/thumbs", {"keep_completed": "1h"}).status, 201)
        ids = [c("POST", "/api/queues/%2F/thumbs/messages", {"n": n}).json["id"] for n in (1, 2)]
        self.worker(page, "consume('thumbs', lambda body: 1 // (body['n'] - 1))", server.url)
        self.worker(page, "programs({'backup': ['true']})", server.url)
        backup = c("POST", "/api/jobs", {"job": "backup"}).json["id"]
        self.assertEqual(c("POST", "/orders", {"id": "o-1", "total": 7, "customer": "nobody"}).status, 202)

        def state(n):
            return c("GET", "/api/queues/%2F/thumbs/messages/" + ids[n]).json["state"]
        end = time.monotonic() + 20
        while time.monotonic() < end and (state(0), state(1)) != ("retryable", "completed"):
            time.sleep(0.05)
        self.assertEqual((state(0), state(1)), ("retryable", "completed"))
        self.assertEqual(c("GET", f"/api/jobs/{backup}?wait=20s").json["state"], "completed")
        while time.monotonic() < end and c("GET", "/api/queues/%2F/mail.dead").json["messages"] != 1:
            time.sleep(0.05)
        self.assertEqual(c("GET", "/api/queues/%2F/mail.dead").json["messages"], 1)
        self.assertEqual([i["total"] for i in c("GET", "/api/invoice").json], [7])

    def test_every_command_and_its_flags_are_there(self):
        count = 0
        for page in PAGES:
            inline = [shlex.split(c) for c in re.findall(r"`(koan [a-z][^`]*)`", text_of(page)) if c.count('"') % 2 == 0]
            for words in commands_of(page, "koan") + inline:
                end = next((i for i, w in enumerate(words) if w in (">", "|", "&&", "..")), len(words))
                with self.subTest(page=page, words=words):
                    count += 1
                    code, _, err = run(*words[1:end], "--help")
                    self.assertEqual((code, err), (0, ""), words)
        self.assertGreater(count, 60)


if __name__ == "__main__":
    unittest.main()
