"""koan config export: files for other programs."""
import json
import os
import unittest

from e2e.node import ROOT, Case, run


class Export(Case):
    def read(self, *names):
        with open(os.path.join(*names)) as f:
            return f.read()

    def test_the_dashboard_and_the_rules_are_those_that_are_tested(self):
        code, out, err = run("config", "export", "grafana", "--to", self.path("new/deep"), "--json")
        self.assertEqual((code, err), (0, ""))
        files = json.loads(out)["files"]
        self.assertEqual([os.path.basename(f) for f in files], ["koan-dashboard.json", "koan-alerts.yml"])
        self.assertEqual(self.read(files[0]), self.read(ROOT, "packaging/grafana/koan.json"))
        self.assertEqual(self.read(files[1]), self.read(ROOT, "packaging/prometheus/alerts.yml"))
        self.assertIn("panels", json.loads(self.read(files[0])))

    def test_without_a_folder_they_lie_here_and_twice_is_the_same(self):
        for _ in range(2):
            self.assertEqual(run("config", "export", "grafana", cwd=self.dir)[:2], (0, "./koan-dashboard.json\n./koan-alerts.yml\n"))

    def test_what_somebody_has_changed_is_kept_unless_forced(self):
        self.write("koan-alerts.yml", "mine")
        code, _, err = run("config", "export", "grafana", cwd=self.dir)
        self.assertEqual(code, 1)
        self.assertIn("--force", err)
        self.assertEqual(self.read(self.dir, "koan-alerts.yml"), "mine")
        self.assertFalse(os.path.exists(self.path("koan-dashboard.json")))
        self.assertEqual(run("config", "export", "grafana", "--force", cwd=self.dir)[0], 0)
        self.assertNotEqual(self.read(self.dir, "koan-alerts.yml"), "mine")

    def test_what_there_is_not_is_refused_by_name(self):
        for kind in ("compose", "kubernetes", "helm", "bicep"):
            code, out, err = run("config", "export", kind, cwd=self.dir)
            self.assertEqual((code, out), (1, ""))
            self.assertRegex(err, kind + ": needs the roles of a cluster, which this version")
        code, _, err = run("config", "export", "word", cwd=self.dir)
        self.assertEqual(code, 2)
        self.assertIn("only grafana", err)
        self.assertEqual(os.listdir(self.dir), [])


if __name__ == "__main__":
    unittest.main()
