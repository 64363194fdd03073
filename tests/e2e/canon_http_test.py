"""Canon over HTTP: arrivals and their outcomes, bulk, why, lineage, merges, direct changes, withdrawal."""
import json
import unittest

from e2e.node import App

PEOPLE = """
entity "Person" {
  fields = {
    name  = text { max = 40 },
    email = email {},
    phone = text {},
    city  = text {},
  },
}
canon "Person" {
  sources = { erp = { rank = 1 }, crm = { rank = 2 }, web = { rank = 3 } },
  keys    = { "email:email", "phone:digits" },
  policy  = { name = "most_complete", city = source_of_truth { "erp", fallback = "latest" } },
  stages  = {
    validate = function(a, ctx)
      if a.city == "Nowhere" then ctx:park("NO_CITY", { hint = "which?" }) end
      if a.city == "Hell" then ctx:reject("no_such_city", "nobody lives there") end
    end,
  },
}
"""


class People(App):
    APP = PEOPLE

    def arrive(self, origin, source_id, status=200, **data):
        return self.ok("POST", f"/api/canon/person?source_id={source_id}", data, status, X_Canon_Origin=origin)


class Arrivals(People):
    def test_the_first_arrival_makes_a_golden_record(self):
        a = self.arrive("crm", "a1", name="Ann", email="Ann@Example.org")
        r = a.json
        self.assertEqual((r["outcome"], r["version"]), ("canonized", 1))
        self.assertEqual(r["changes"]["name"], "Ann")
        self.assertEqual((a.headers["X-Koan-Outcome"], a.headers["ETag"]), ("canonized", '"1"'))
        g = self.ok("GET", "/api/person/" + r["id"]).json
        self.assertEqual((g["name"], g["version"]), ("Ann", 1))

    def test_what_belongs_together_comes_together(self):
        a = self.arrive("crm", "b1", name="Bob", email="bob@example.org").json
        b = self.arrive("erp", "b2", email="BOB@example.org", city="Rome").json
        self.assertEqual((b["id"], b["version"]), (a["id"], 2))
        g = self.ok("GET", "/api/person/" + a["id"]).json
        self.assertEqual((g["name"], g["city"]), ("Bob", "Rome"))

    def test_a_repeat_is_a_noop(self):  # C5
        self.arrive("crm", "c1", name="Cy", email="cy@example.org")
        r = self.arrive("crm", "c1", name="Cy", email="cy@example.org").json
        self.assertEqual((r["outcome"], r["reason"]), ("noop", "REPEAT"))

    def test_no_key_parks_and_a_fix_resumes(self):
        a = self.ok("POST", "/api/canon/person", {"name": "Dee"}, status=202, X_Canon_Origin="crm")
        self.assertEqual((a.json["outcome"], a.json["reason"]), ("parked", "NO_KEYS"))
        arrival = a.json["arrival"]
        parked = self.ok("GET", "/api/canon/person/parked?limit=500").json
        self.assertIn(arrival, [p["id"] for p in parked])
        self.assertEqual(self.ok("GET", "/api/canon/person/arrivals/" + arrival).json["data"], {"name": "Dee"})
        r = self.ok("POST", f"/api/canon/person/parked/{arrival}/resume", {"email": "dee@example.org"}).json
        self.assertEqual(r["outcome"], "canonized")
        self.refused("POST", f"/api/canon/person/parked/{arrival}/resume", status=404, code="not_found")
        self.assertNotIn(arrival, [p["id"] for p in self.ok("GET", "/api/canon/person/parked?limit=500").json])

    def test_a_resumed_arrival_keeps_its_tags(self):
        parked = self.ok("POST", "/api/canon/person", {"name": "Eva"}, 202, X_Canon_Origin="web", X_Canon_Tag_Batch="7").json
        r = self.ok("POST", f"/api/canon/person/parked/{parked['arrival']}/resume", {"email": "eva@example.org"}).json
        self.assertEqual(self.ok("GET", "/api/canon/person/arrivals/" + r["arrival"]).json["tags"], {"batch": "7"})

    def test_a_stage_parks_and_rejects(self):
        a = self.arrive("crm", "e1", status=202, email="e1@example.org", city="Nowhere").json
        self.assertEqual(a["reason"], "NO_CITY")
        p = self.refused("POST", "/api/canon/person?source_id=e2", {"email": "e2@example.org", "city": "Hell"},
                         status=422, code="rejected", X_Canon_Origin="crm")
        self.assertEqual(p["outcome"], "failed")
        self.assertTrue(p["arrival"])

    def test_what_cannot_be_right_fails_with_its_reason(self):
        p = self.refused("POST", "/api/canon/person?source_id=f1", {"nmae": "x", "email": "f@example.org"},
                         status=422, code="rejected", words="nmae", X_Canon_Origin="crm")
        self.assertEqual(p["outcome"], "failed")
        self.refused("POST", "/api/canon/person?source_id=f2", {"email": "f@example.org"}, words="crm",
                     X_Canon_Origin="crn")

    def test_requests_that_are_wrong(self):
        self.refused("POST", "/api/canon/persn", {"name": "x"}, status=404, code="not_found", words="Person")
        self.refused("POST", "/api/canon/person?sourceid=1", {"name": "x"}, words="source_id")
        self.refused("POST", "/api/canon/person?mode=queue", {"name": "x"})
        self.refused("POST", "/api/canon/person", {"name": "x"}, words="observed_at", X_Canon_Observed_At="yesterday")
        self.refused("POST", "/api/canon/person", [], words="object")
        self.refused("POST", "/api/canon/person", "x=1", status=415, code="media_type",
                     Content_Type="application/x-www-form-urlencoded")

    def test_a_model_goes_by_its_name_too(self):
        self.ok("POST", "/api/canon/Person?source_id=g1", {"email": "g@example.org"}, X_Canon_Origin="web")
        self.assertEqual(self.ok("GET", "/api/canon/models").json, ["Person"])

    def test_tags_and_times_are_kept(self):
        a = self.ok("POST", "/api/canon/person?source_id=h1&observed_at=2020-01-02T03:04:05Z",
                    {"email": "h@example.org"}, X_Canon_Origin="web", X_Canon_Tag_Batch="7").json
        kept = self.ok("GET", "/api/canon/person/arrivals/" + a["arrival"]).json
        self.assertEqual((kept["tags"], kept["observed_at"][:10]), ({"batch": "7"}, "2020-01-02"))


class Bulk(People):
    def test_results_in_order_and_their_counts(self):
        rows = [{"source_id": f"k{i % 90}", "origin": "crm", "data": {"email": f"k{i % 45}@example.org", "name": f"K{i}"}}
                for i in range(100)]
        rows[7] = {"origin": "crm", "data": {"name": "nokey"}}
        rows[8] = {"source_id": 8, "origin": "nobody", "data": {"email": "k8@example.org"}}
        a = self.ok("POST", "/api/canon/person/bulk", rows)
        self.assertEqual(len(a.json["results"]), 100)
        self.assertEqual(a.json["results"][7]["outcome"], "parked")
        self.assertEqual(a.json["results"][8]["outcome"], "failed")
        self.assertEqual(sum(a.json["counts"].values()), 100)
        self.assertEqual((a.json["counts"]["parked"], a.json["counts"]["failed"]), (1, 1))
        self.assertEqual(a.json["results"][0]["id"], a.json["results"][45]["id"])
        self.assertGreater(int(a.headers["X-Koan-Seq"]), 0)

    def test_lines_take_their_origin_from_the_header(self):
        body = "\n".join(json.dumps({"source_id": f"n{i}", "data": {"email": f"n{i}@example.org"}}) for i in range(5))
        a = self.ok("POST", "/api/canon/person/bulk", body, Content_Type="application/x-ndjson", X_Canon_Origin="web")
        self.assertEqual(a.json["counts"]["canonized"], 5)

    def test_an_item_that_is_none_refuses_the_request(self):
        good = {"source_id": "x1", "origin": "crm", "data": {"email": "x1@example.org"}}
        for bad, words in (({"sourceid": "x"}, "source_id"), ({"data": []}, "data"), (7, "object"),
                           ({"data": {}, "observed_at": "never"}, "observed_at"), ({"data": {}, "tags": 1}, "tags"),
                           ({"data": {}, "source_id": []}, "source_id")):
            self.refused("POST", "/api/canon/person/bulk", [good, bad], words=words)
        self.refused("POST", "/api/canon/person/bulk", [good] * 1001, status=413, code="too_large")
        summary = self.ok("GET", "/api/canon/person/summary").json
        self.assertNotIn("x1@example.org", json.dumps(summary))

    def test_a_thousand_at_once(self):
        rows = [{"source_id": f"t{i}", "origin": "erp", "data": {"phone": f"+1 555 {i:04}", "name": "T"}} for i in range(1000)]
        self.assertEqual(self.ok("POST", "/api/canon/person/bulk", rows).json["counts"]["canonized"], 1000)


class Golden(People):
    def merged(self, tag):
        """Two golden records that a third arrival joins: (survivor, gone)."""
        a = self.arrive("crm", tag + "1", name="M", email=tag + "@example.org").json
        b = self.arrive("web", tag + "2", phone="0" + str(abs(hash(tag)) % 10**9)).json
        self.assertNotEqual(a["id"], b["id"])
        phone = self.ok("GET", "/api/person/" + b["id"]).json["phone"]
        c = self.arrive("erp", tag + "3", email=tag + "@example.org", phone=phone).json
        self.assertEqual(c["id"], a["id"])
        self.assertEqual(c["merged"], 1)
        return a["id"], b["id"]

    def test_a_merged_id_leads_to_the_survivor(self):
        live, gone = self.merged("ma")
        a = self.ok("GET", "/api/person/" + gone, status=308)
        self.assertEqual((a.headers["Location"], a.json["merged_into"]), ("/api/person/" + live, live))
        for method, body in (("PUT", {"name": "x"}), ("PATCH", {"name": "x"}), ("DELETE", None)):
            self.assertEqual(self.c(method, "/api/person/" + gone, body).status, 308)

    def test_why_and_lineage_tell_who_said_what(self):  # C8
        live, _ = self.merged("mb")
        why = self.ok("GET", f"/api/canon/person/{live}/why").json
        self.assertEqual(why["fields"]["name"]["origin"], "crm")
        self.assertEqual(len(why["sources"]), 3)
        lineage = self.ok("GET", f"/api/canon/person/{live}/lineage").json
        self.assertEqual([x["origin"] for x in lineage], ["erp", "web", "crm"])
        self.assertEqual(len(self.ok("GET", f"/api/canon/person/{live}/lineage?limit=2").json), 2)
        other = self.arrive("crm", "mb9", email="mb9@example.org").json["id"]
        self.assertIn("with", self.ok("GET", f"/api/canon/person/{live}/why?with={other}").json)
        self.refused("GET", "/api/canon/person/nobody/why", status=404, code="not_found")

    def test_the_summary_counts(self):
        self.arrive("web", "su1", email="su@example.org")
        s = self.ok("GET", "/api/canon/person/summary").json
        self.assertIn("web", json.dumps(s))

    def test_a_direct_save_is_a_statement_among_others(self):
        r = self.arrive("erp", "da1", name="D", email="da@example.org", city="Oslo").json
        a = self.ok("PUT", "/api/person/" + r["id"], {"email": "da@example.org", "phone": "123", "city": "Rome"})
        self.assertEqual((a.json["phone"], a.json["city"]), ("123", "Oslo"))
        self.assertEqual(a.json["id"], r["id"])
        a = self.ok("PATCH", "/api/person/" + r["id"], {"phone": "456"})
        self.assertEqual(a.json["phone"], "456")
        said = {s["origin"] for s in self.ok("GET", f"/api/canon/person/{r['id']}/why").json["sources"]}
        self.assertEqual(said, {"erp", "direct"})
        self.ok("DELETE", "/api/person/" + r["id"], status=204)
        self.assertNotIn("phone", self.ok("GET", "/api/person/" + r["id"]).json)
        self.refused("DELETE", "/api/person/" + r["id"], status=409, code="conflict", words="sources")

    def test_a_record_can_begin_directly(self):
        a = self.ok("POST", "/api/person", {"name": "New", "email": "direct@example.org"}, status=201)
        r = self.ok("GET", a.headers["Location"]).json
        self.assertEqual((r["name"], r["version"]), ("New", 1))
        self.assertEqual(self.arrive("crm", "db1", email="direct@example.org").json["id"], r["id"])

    def test_direct_changes_that_have_no_sense(self):
        r = self.arrive("erp", "dc1", email="dc@example.org").json
        path = "/api/person/" + r["id"]
        self.refused("PATCH", path, {"version": 3}, words="version")
        self.refused("PATCH", "/api/person/nobody", {"name": "x"}, status=404, code="not_found")
        self.refused("DELETE", "/api/person/nobody", status=404, code="not_found")

    def test_ids_of_golden_records_are_ids(self):
        for bad in ("a/b", "x" * 300, "x/" * 300, "a\u0001", "a\0b", "new", "", 7):
            self.refused("POST", "/api/person", {"id": bad, "email": "id@example.org"})

    def test_source_ids_may_be_odd_but_not_endless(self):
        rows = [{"source_id": s, "origin": "crm", "data": {"email": "odd@example.org"}}
                for s in ("a/b", "x/" * 300, "x" * 5000, "", "a\u0001b", "\u00e9\u4e2d")]
        got = self.ok("POST", "/api/canon/person/bulk", rows).json["results"]
        self.assertEqual(got[0]["outcome"], "canonized")
        self.assertEqual(got[2]["outcome"], "failed")
        self.assertEqual(self.ok("GET", "/livez").status, 200)
        self.ok("DELETE", "/api/canon/person/sources/crm/a%2Fb")

    def test_withdrawing_a_source_makes_the_record_again(self):
        r = self.arrive("crm", "wa1", name="W", email="wa@example.org", city="Bonn").json
        self.arrive("erp", "wa2", email="wa@example.org", city="Kiel")
        self.assertEqual(self.ok("GET", "/api/person/" + r["id"]).json["city"], "Kiel")
        self.ok("DELETE", "/api/canon/person/sources/erp/wa2")
        self.assertEqual(self.ok("GET", "/api/person/" + r["id"]).json["city"], "Bonn")
        self.refused("DELETE", "/api/canon/person/sources/erp/wa2", status=404, code="not_found")
        said = self.ok("DELETE", "/api/canon/person/sources/crm/wa1?erase=true&dry_run=true").json
        self.assertEqual((said["source_id"], said["id"], said["fields"]["email"]), ("wa1", r["id"], "wa@example.org"))
        self.refused("DELETE", "/api/canon/person/sources/crm/none?erase=true&dry_run=true", status=404, code="not_found")
        for query in ("", "&confirm=", "&confirm=person", "&confirm=wa2"):
            self.refused("DELETE", "/api/canon/person/sources/crm/wa1?erase=true" + query, words="confirm=wa1")
        self.ok("GET", "/api/person/" + r["id"])
        self.ok("DELETE", "/api/canon/person/sources/crm/wa1?erase=true&confirm=wa1")
        why = self.c("GET", f"/api/canon/person/{r['id']}/why")
        self.assertIn(why.status, (200, 404))
        if why.status == 200:
            self.assertEqual(why.json["lifecycle"], "withdrawn")

    def test_what_a_withdrawn_source_alone_connected_is_parted(self):
        a = self.arrive("crm", "pa1", name="P", email="pa@example.org", city="Bonn").json["id"]
        b = self.arrive("web", "pa2", phone="77001", city="Kiel").json["id"]
        self.assertEqual(self.arrive("erp", "pa3", email="pa@example.org", phone="77001").json["id"], a)
        self.ok("GET", "/api/person/" + b, status=308)
        self.ok("DELETE", "/api/canon/person/sources/erp/pa3")
        left = self.ok("GET", "/api/person/" + a).json
        self.assertEqual((left["email"], left["city"], left.get("phone")), ("pa@example.org", "Bonn", None))
        other = self.arrive("crm", "pa4", phone="77001").json["id"]
        self.assertNotIn(other, (a, b))
        parted = self.ok("GET", "/api/person/" + other).json
        self.assertEqual((parted["phone"], parted["city"], parted.get("email")), ("77001", "Kiel", None))
        self.assertEqual({s["source_id"] for s in self.ok("GET", f"/api/canon/person/{other}/why").json["sources"]},
                         {"pa2", "pa4"})
        self.assertEqual([x["source_id"] for x in self.ok("GET", f"/api/canon/person/{other}/lineage").json], ["pa4", "pa2"])
        self.assertEqual(self.ok("GET", "/api/person/" + b, status=308).json["merged_into"], a)


if __name__ == "__main__":
    unittest.main()
