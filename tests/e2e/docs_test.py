"""The guide: what its examples show works, and its links lead somewhere."""
import glob
import os
import re
import unittest

from e2e.node import ROOT, Case

PAGES = sorted(glob.glob(os.path.join(ROOT, "web/docs/*.md")))


class Docs(Case):
    def test_links_lead_somewhere(self):
        for page in [*PAGES, os.path.join(ROOT, "README.md"), os.path.join(ROOT, "CONTRIBUTING.md")]:
            with open(page) as f:
                for link in re.findall(r"\]\(([^)#]+)\)", f.read()):
                    if "://" not in link:
                        self.assertTrue(os.path.exists(os.path.join(os.path.dirname(page), link)), f"{page}: {link}")

    def test_every_page_is_served(self):
        c = self.node().client()
        self.assertEqual(c("GET", "/docs/").status, 200)
        for page in PAGES:
            answer = c("GET", "/docs/" + os.path.basename(page))
            with open(page, "rb") as f:
                self.assertEqual((answer.status, answer.body), (200, f.read()), page)

    def test_every_declaration_loads(self):
        blocks = 0
        for page in PAGES:
            with open(page) as f:
                for block in re.findall(r"```lua\n(.*?)```", f.read(), re.S):
                    if not re.search(r'\bentity "\w+" \{', block):
                        continue
                    blocks += 1
                    name = f"{os.path.basename(page)}-{blocks}"
                    self.write(f"{name}/x.lua", block)
                    with self.subTest(name):
                        self.assertEqual(self.node(self.path(name), data="data-" + name).stop(), 0)
        self.assertGreaterEqual(blocks, 3)


if __name__ == "__main__":
    unittest.main()
