"""Pages of other origins: what a browser asks ahead, what it is told, and what it may not do."""
import unittest

from e2e.node import Case

NOTE = 'entity "Note" { fields = { text = text { required = true } } }\n'
APP, EVIL = "https://app.example.org", "https://evil.example"


class Origins(Case):
    def serve(self, *args):
        self.write("scripts/app.lua", NOTE)
        self.n = self.node("--scripts", self.path("scripts"), *args)
        return self.n.client()

    def test_a_listed_origin_asks_ahead_and_is_answered(self):
        c = self.serve("--http.origins", f"{APP} http://localhost:3000")
        a = c("OPTIONS", "/api/note/x", None, {"Origin": APP, "Access-Control-Request-Method": "PATCH",
                                               "Access-Control-Request-Headers": "authorization,content-type,if-match"})
        self.assertEqual(a.status, 204)
        self.assertEqual(a.headers["Access-Control-Allow-Origin"], APP)
        self.assertIn("PATCH", a.headers["Access-Control-Allow-Methods"])
        self.assertEqual(a.headers["Access-Control-Allow-Headers"], "authorization,content-type,if-match")
        self.assertEqual(a.headers["Access-Control-Max-Age"], "7200")
        self.assertIsNone(a.headers.get("Access-Control-Allow-Credentials"))
        a = c("POST", "/api/note", {"text": "from a page"}, {"Origin": APP})
        self.assertEqual(a.status, 201)
        self.assertEqual(a.headers["Access-Control-Allow-Origin"], APP)
        self.assertIn("ETag", a.headers["Access-Control-Expose-Headers"])
        self.assertEqual(a.headers["Vary"], "Origin")
        a = c("GET", "/api/note/none", None, {"Origin": "http://localhost:3000"})  # refusals are for the page too
        self.assertEqual((a.status, a.headers["Access-Control-Allow-Origin"]), (404, "http://localhost:3000"))

    def test_others_get_no_leave_and_change_nothing(self):
        c = self.serve("--http.origins", APP)
        a = c("OPTIONS", "/api/note", None, {"Origin": EVIL, "Access-Control-Request-Method": "POST"})
        self.assertIsNone(a.headers.get("Access-Control-Allow-Origin"))
        self.assertIsNone(a.headers.get("Access-Control-Allow-Methods"))
        self.assertEqual(a.headers["Vary"], "Origin")  # a cache must not give it to the listed one
        for origin in (EVIL, "null", APP + ".evil.example"):
            a = c("POST", "/api/note", {"text": "forged"}, {"Origin": origin})
            self.assertEqual((a.status, a.json["code"]), (403, "forbidden"))
            self.assertIn("http.origins", a.json["detail"])
        self.assertEqual(c("GET", "/api/note").json, [])

    def test_without_a_list_only_its_own_pages_change_something(self):
        c = self.serve()
        a = c("POST", "/api/note", {"text": "explorer"}, {"Origin": self.n.url})
        self.assertEqual(a.status, 201)
        self.assertIsNone(a.headers.get("Vary"))
        self.assertEqual(c("POST", "/api/note", {"text": "x"}, {"Origin": EVIL}).status, 403)
        self.assertEqual(c("POST", "/api/note", {"text": "no browser"}).status, 201)
        a = c("GET", "/api/note", None, {"Origin": EVIL})
        self.assertEqual(a.status, 200)
        self.assertIsNone(a.headers.get("Access-Control-Allow-Origin"))

    def test_a_token_is_leave_enough(self):
        c = self.serve("--http.access", "token")
        with open(self.path("data/token")) as f:
            token = f.read().strip()
        a = c("POST", "/api/note", {"text": "x"}, {"Origin": EVIL, "Authorization": "Bearer " + token})
        self.assertEqual(a.status, 201)
        self.assertIsNone(a.headers.get("Access-Control-Allow-Origin"))

    def test_a_star_lets_all_in(self):
        c = self.serve("--http.origins", "*")
        self.assertEqual(c("POST", "/api/note", {"text": "x"}, {"Origin": EVIL}).headers["Access-Control-Allow-Origin"], EVIL)

    def test_what_is_no_origin_stops_the_start(self):
        code, err = self.fails("--http.origins", "app.example.org")
        self.assertNotEqual(code, 0)
        self.assertIn("http.origins", err)
        self.assertIn("https://app.example.org", err)


if __name__ == "__main__":
    unittest.main()
