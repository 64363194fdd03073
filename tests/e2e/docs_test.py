"""The guide: every page is served, and its links lead somewhere. What its examples show: guide_test."""
import glob
import os
import re
import shutil
import subprocess
import unittest
import urllib.parse

from e2e.node import ROOT, Case

PAGES = sorted(glob.glob(os.path.join(ROOT, "web/docs/*.md")))


class Docs(Case):
    def test_links_lead_somewhere(self):
        for page in [*PAGES, os.path.join(ROOT, "README.md"), os.path.join(ROOT, "CONTRIBUTING.md")]:
            with open(page) as f:
                for link in re.findall(r"\]\(([^)#]+)\)", f.read()):
                    if "://" not in link:
                        self.assertTrue(os.path.exists(os.path.join(os.path.dirname(page), link)), f"{page}: {link}")

    def test_the_contents_and_the_readme_name_every_page(self):
        for page, folder in ((os.path.join(ROOT, "web/docs/index.md"), ""), (os.path.join(ROOT, "README.md"), "web/docs/")):
            with open(page) as f:
                links = set(re.findall(r"\]\(([^)#]+)", f.read()))
            names = {folder + os.path.basename(p) for p in PAGES}
            self.assertEqual(names - links - {"index.md"}, set(), page)

    def test_every_page_is_served(self):
        c = self.node().client()
        self.assertEqual(c("GET", "/docs/").status, 200)
        for page in PAGES:
            answer = c("GET", "/docs/" + os.path.basename(page))
            with open(page, "rb") as f:
                self.assertEqual((answer.status, answer.body), (200, f.read()), page)

    def test_every_page_is_html_too_and_its_links_lead_on(self):
        c = self.node().client()
        seen, queue, headings, places = set(), ["/docs/", "/docs/api"], {}, []
        while queue:
            path, _, place = queue.pop().partition("#")
            places.append((path, place))
            if path in seen:
                continue
            seen.add(path)
            answer = c("GET", path)
            self.assertEqual(answer.status, 200, path)
            if not answer.headers["Content-Type"].startswith("text/html"):
                continue
            page = answer.body.decode()
            self.assertTrue(page.startswith("<!doctype html>") and page.rstrip().endswith("</html>"), path)
            self.assertNotRegex(page, r"\{(title|head|nav|body)\}")
            self.assertIn("script-src 'self'" if "script-src" in answer.headers["Content-Security-Policy"] else
                          "default-src 'self'", answer.headers["Content-Security-Policy"])
            self.assertNotRegex(page, r'<[^>]+ (style|on\w+)="')
            ids = re.findall(r' id="([^"]*)"', page)
            self.assertEqual(len(ids), len(set(ids)), f"{path}: an id twice")
            headings[path] = ids
            for link in re.findall(r'(?:href|src)="([^"]+)"', page):
                if "://" not in link:
                    queue.append(urllib.parse.urljoin(path, link))
        for path, place in places:
            if place and path in headings and path != "/docs/api":  # there a request, made from /openapi.json
                self.assertIn(place, headings[path], path)
        names = {"/docs/" + os.path.basename(p)[:-3] for p in PAGES} - {"/docs/index"}
        self.assertLessEqual(names | {"/docs/explorer.js", "/docs/docs.css", "/openapi.json"}, seen)
        for hidden in ("/docs/_page.html", "/docs/_explorer", "/docs/nothing"):
            self.assertEqual(c("GET", hidden).status, 404, hidden)

    def test_pages_are_listed_beside_what_they_belong_to(self):
        nav = re.search(r"<nav.*?</nav>", self.node().client()("GET", "/docs/").body.decode(), re.S).group()
        pages = re.findall(r'href="/docs/(\w*)"', nav)
        self.assertEqual(pages[:2], ["", "entities"])
        at = pages.index("jobs")
        self.assertEqual(pages[at:at + 3], ["jobs", "schedules", "runs"])
        self.assertEqual(pages[pages.index("queues") + 1], "handlers")
        self.assertIn("coming", pages)

    def test_the_explorer_shows_what_is_declared(self):
        browser = shutil.which("chromium")
        if browser is None:
            self.skipTest("no chromium; packaging/setup test brings it")
        self.write("scripts/a.lua", 'entity "Todo" { fields = { title = text { required = true } } }')
        node = self.node(self.path("scripts"))
        p = subprocess.run([browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + self.path("profile"),
                            "--virtual-time-budget=5000", "--dump-dom", node.url + "/docs/api#createTodo"],
                           capture_output=True, text=True, timeout=120)
        dom = p.stdout
        self.assertRegex(dom, r'id="state"[^>]*>Koan \S+: \d+ paths\.')
        for name in ("listTodo", "createTodo", "patchTodo", "getHealth"):
            self.assertIn(f'id="{name}"', dom)
        # The one that the address names is open, with a body to send.
        self.assertRegex(dom, r'<details class="op" id="createTodo"[^>]* open')
        self.assertIn('name="body"', dom)


if __name__ == "__main__":
    unittest.main()
