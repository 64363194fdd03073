"""/openapi.json: valid by the tools that others use, complete, and good enough to make a client from."""
import glob
import json
import os
import re
import shutil
import subprocess
import unittest

from e2e import npm
from e2e.node import ROOT, Case

SCRIPT = """
entity "Customer" {
  fields = {
    name = text { required = true, max = 20, search = true, pattern = "[A-Za-z ]+" }, email = email { unique = true },
    tier = choice { "free", "pro", default = "free" }, total = int { min = 0, max = 100 }, price = decimal,
    share = number { min = 0.5 }, at = geo, tags = list { text { max = 10 }, max = 5 }, born = date, seen = time,
    extra = json, counts = map { int }, ok = bool, data = bytes, home = url, key = uuid, grid = list { of = list { int } },
  },
  history = true, soft_remove = true, access = { read = "public" },
}
entity "OrderLine" { fields = { order = ref { "Customer" }, sku = text } }
entity "Problem" { fields = { what = text } }
entity "Node" { fields = { what = text } }
entity "Golden" { fields = { name = text } }
canon "Golden" { sources = { erp = { rank = 1 } }, keys = { "name" } }
route "GET /hello/{name}" { access = "public", summary = "Says hello", run = function(req) return { hello = req.params.name } end }
route "PUT /hello/{name}" { run = function() end }
route "GET /files/{path...}" { run = function(req) return req.params.path end }
route "GET /a/b" { run = function() end }
route "GET /a-b" { run = function() end }
"""
# At versions that run with the node 18 of Debian 12.
TOOLS = ("openapi-tools-2", "@redocly/cli@2.77.0", "@apidevtools/swagger-parser@12.0.0", "openapi-typescript@7.13.0",
         "openapi-fetch@0.17.0", "typescript@5.9.3", "@types/node@22.19.1")
TOKEN = "a-token-of-the-test-1"


class Openapi(Case):
    def setUp(self):
        super().setUp()
        self.write("scripts/a.lua", SCRIPT)
        self.server = self.node(self.path("scripts"), env={"KOAN_TOKEN": TOKEN})
        a = self.server.client(token=TOKEN)("GET", "/openapi.json")
        self.assertEqual((a.status, a.headers["Content-Type"]), (200, "application/json"))
        self.doc = a.json
        self.file = self.path("openapi.json")
        with open(self.file, "wb") as f:
            f.write(a.body)

    def tool(self, *command, cwd=None):
        p = subprocess.run(command, cwd=cwd or self.dir, capture_output=True, text=True, timeout=300)
        self.assertEqual(p.returncode, 0, p.stdout[-4000:] + p.stderr[-4000:])
        return p.stdout + p.stderr

    def test_it_wants_the_token_like_everything(self):
        self.assertEqual(self.server.client()("GET", "/openapi.json").status, 401)
        self.assertEqual(self.server.client(token=TOKEN)("GET", "/openapi.json?x=1").status, 400)

    def test_every_route_of_the_program_is_in_it(self):
        routes = set()
        for source in glob.glob(os.path.join(ROOT, "src/api/*.c")):
            with open(source) as f:
                text = f.read()
            routes |= set(re.findall(r'HTTP_VERB_(\w+),\s*(?:\.pattern = )?"([^"]+)"', text))
        self.assertGreater(len(routes), 25)
        paths = self.doc["paths"]
        for verb, pattern in routes:
            if pattern in ("/", "/docs", "/docs/*rest"):
                continue
            path = re.sub(r"[:*](\w+)", r"{\1}", pattern).replace("{entity}", "customer")
            self.assertIn(verb.lower(), paths.get(path, {}), f"{verb} {pattern}")

    def test_routes_of_scripts_are_in_it(self):
        paths = self.doc["paths"]
        get, put = paths["/hello/{name}"]["get"], paths["/hello/{name}"]["put"]
        self.assertEqual((get["operationId"], get["summary"], get["security"]), ("getHelloNameRoute", "Says hello", [{}, {"token": []}]))
        self.assertEqual([p["name"] for p in get["parameters"]], ["name"])
        self.assertIn("application/json", put["requestBody"]["content"])
        self.assertNotIn("security", put)
        self.assertEqual(paths["/files/{path}"]["get"]["parameters"][0]["name"], "path")
        self.assertEqual({paths["/a/b"]["get"]["operationId"], paths["/a-b"]["get"]["operationId"]}, {"getABRoute", "getABRoute2"})

    def test_it_says_what_is_declared(self):
        s = self.doc["components"]["schemas"]
        p = s["Customer"]["properties"]
        self.assertEqual(p["name"], {"type": "string", "maxLength": 20, "pattern": "^(?:[A-Za-z ]+)$"})
        self.assertEqual(p["tier"], {"type": "string", "enum": ["free", "pro"]})
        self.assertEqual(p["total"], {"type": "integer", "format": "int64", "minimum": 0, "maximum": 100})
        self.assertEqual(p["grid"]["items"]["items"], {"type": "integer", "format": "int64"})
        self.assertIn("Customer", s["OrderLine"]["properties"]["order"]["description"])
        self.assertEqual(s["Customer.Input"]["required"], ["name"])
        self.assertEqual(s["Customer.Input"]["properties"]["tier"]["description"], 'Default: "free"')
        self.assertIn("version", s["Customer"]["required"])
        # Entities may have names that the description uses itself.
        self.assertIn("what", s["Problem"]["properties"])
        codes = s["koan.Problem"]["properties"]["code"]["enum"]
        self.assertTrue({"invalid", "conflict", "too_large", "disk_full"} <= set(codes))
        self.assertEqual(len(codes), len(set(codes)))
        # What is not declared is not offered.
        def parameters(path):
            return [x["$ref"].rsplit("/")[-1] for x in self.doc["paths"][path]["get"]["parameters"]]
        self.assertIn("q", parameters("/api/customer"))
        self.assertNotIn("q", parameters("/api/order-line"))
        self.assertNotIn("/api/order-line/{id}/history", self.doc["paths"])
        self.assertNotIn("/api/order-line/{id}/restore", self.doc["paths"])
        # Who may.
        self.assertEqual(self.doc["security"], [{"token": []}])
        self.assertEqual(self.doc["paths"]["/api/customer"]["get"]["security"], [{}, {"token": []}])
        self.assertNotIn("security", self.doc["paths"]["/api/customer"]["post"])
        self.assertEqual(self.doc["components"]["parameters"]["model"]["schema"]["enum"], ["Golden"])

    def test_public_tools_find_nothing_wrong(self):
        tools = npm.programs(*TOOLS)
        said = self.tool("node", os.path.join(tools, "node_modules/@redocly/cli/bin/cli.js"), "lint", "--format=json",
                         self.file)
        totals = json.loads(said[said.index('{\n  "totals"'):said.rindex("}") + 1]) if '"totals"' in said else None
        self.assertIsNotNone(totals, said)
        self.assertEqual(totals["totals"]["errors"], 0, said)
        # One name for a record's reason and one for a stored arrival: the router tells them apart.
        self.assertEqual({p["ruleId"] for p in totals["problems"]} - {"no-ambiguous-paths"}, set(), said)
        self.tool("node", "-e", "import('@apidevtools/swagger-parser').then(m => m.default.validate(process.argv[1]))"
                  ".catch(e => { console.error(e); process.exit(1) })", self.file, cwd=tools)

    def test_a_generated_client_works(self):
        tools = npm.programs(*TOOLS)
        work = self.path("client")
        os.mkdir(work)
        os.symlink(os.path.join(tools, "node_modules"), os.path.join(work, "node_modules"))
        shutil.copy(os.path.join(ROOT, "tests/e2e/openapi_client.ts"), work)
        self.tool("node", "node_modules/openapi-typescript/bin/cli.js", self.file, "-o", "koan.ts", cwd=work)
        with open(os.path.join(work, "package.json"), "w") as f:
            f.write('{"type": "module"}')
        self.tool("node", "node_modules/typescript/bin/tsc", "--strict", "--target", "es2022", "--module", "nodenext",
                  "--rewriteRelativeImportExtensions", "--skipLibCheck", "--types", "node", "openapi_client.ts", cwd=work)
        self.assertIn("all right", self.tool("node", "openapi_client.js", self.server.url, TOKEN, cwd=work))


if __name__ == "__main__":
    unittest.main()
