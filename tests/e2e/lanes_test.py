"""Lanes as settings: lanes.NAME of the file, of koan config set, of koan apply; PUT /api/lanes is one of these ways."""
import json
import signal
import time
import unittest

from e2e.node import Case, run

SETTINGS = "/api/cluster/settings"
LIMIT = 16  # CORE_LANES_MAX


class Lanes(Case):
    def start(self, **lanes):
        self.write("koan.json", json.dumps({"lanes": lanes}))
        self.server = self.node("--config", self.path("koan.json"))
        self.c = self.server.client()

    def koan(self, *args, code=0):
        got, out, err = run(*args, "--url", self.server.url, "--json", cwd=self.dir)
        self.assertEqual(got, code, out + err)
        return json.loads(out if code == 0 else err)

    def lane(self, name):
        """Weight and cap, or None."""
        items = self.c("GET", "/api/lanes").json["items"]
        return next(((l["weight"], l.get("cap")) for l in items if l["name"] == name), None)

    def becomes(self, name, want):
        """What a file says is in force soon."""
        end = time.monotonic() + 5
        while self.lane(name) != want:
            self.assertLess(time.monotonic(), end, self.lane(name))
            time.sleep(0.02)

    def shown(self):
        return {s["name"]: (s["value"], s["origin"]) for s in self.c("GET", SETTINGS).json["settings"]}

    def put(self, name, body, status=204):
        a = self.c("PUT", "/api/lanes/" + name, body)
        self.assertEqual(a.status, status, a.body)
        return a

    def test_a_file_says_what_lanes_are_and_what_goes_out_of_it_is_as_before(self):
        self.start(bulk={"weight": 3, "cap": 0}, system={"cap": 2})
        self.becomes("bulk", (3, 0))
        self.becomes("system", (8, 2))
        self.assertEqual(self.c("PUT", "/api/queues/%2F/q", {}).status, 201)
        self.assertIn(self.c("POST", "/api/queues/%2F/q/messages?lane=bulk", 1).status, (200, 201))
        lease = lambda: self.c("POST", "/api/queues/%2F/q/lease", {"max": 9, "wait": "0s"}).json["messages"]
        self.assertEqual(lease(), [])
        self.write("koan.json", json.dumps({"lanes": {"bulk": {"cap": 1}}}))
        self.server.process.send_signal(signal.SIGHUP)
        self.becomes("bulk", (1, 1))
        self.becomes("system", (8, None))
        self.assertEqual(len(lease()), 1)
        self.server.stop()
        self.start()  # not a word of lanes
        self.becomes("bulk", (1, None))

    def test_what_is_set_while_it_runs_goes_before_the_file_until_it_is_unset(self):  # F1
        self.start(bulk={"weight": 3, "cap": 4})
        self.becomes("bulk", (3, 4))
        got = self.koan("config", "set", "lanes.bulk", '{"cap": 0}')
        self.assertEqual(got["changes"][0]["state"], "in force")
        self.assertEqual(self.lane("bulk"), (1, 0))  # at once, and the whole lane
        self.assertEqual(self.shown()["lanes.bulk"], ('{"cap":0}', "replicated, revision 1"))
        self.server.stop()
        self.start(bulk={"weight": 3, "cap": 4})
        self.assertEqual(self.lane("bulk"), (1, 0))
        self.koan("config", "unset", "lanes.bulk")
        self.assertEqual(self.lane("bulk"), (3, 4))
        self.assertEqual(self.shown()["lanes.bulk"][1], self.path("koan.json"))

    def test_put_of_a_lane_is_the_setting(self):
        self.start(bulk={"weight": 3}, system={"weight": 7})
        self.becomes("bulk", (3, None))
        self.put("bulk", {"cap": 5})
        self.assertEqual(self.lane("bulk"), (1, 5))
        self.put("system", {"cap": 3})
        self.assertEqual(self.lane("system"), (8, 3))
        self.assertEqual(self.shown()["lanes.system"], ('{"cap":3}', "replicated, revision 2"))
        self.server.process.send_signal(signal.SIGHUP)
        self.server.stop()
        self.start(bulk={"weight": 3}, system={"weight": 7})
        self.put("slow", {"weight": 2})
        self.assertEqual((self.lane("bulk"), self.lane("system")), ((1, 5), (8, 3)))
        history = self.koan("config", "history")["history"]
        self.assertEqual([(h["name"], h["value"]) for h in history],
                         [("lanes.slow", {"weight": 2}), ("lanes.system", {"cap": 3}), ("lanes.bulk", {"cap": 5})])
        self.put("slow", {"weight": 1001}, 400)
        self.put("slow", {"weght": 1}, 400)
        self.assertEqual(self.lane("slow"), (2, None))

    def test_numbers_that_come_as_text_are_kept_as_numbers(self):
        self.start()
        self.put("bulk", {"weight": "3", "cap": "0"})
        self.assertEqual(self.shown()["lanes.bulk"][0], '{"cap":0,"weight":3}')
        time.sleep(0.5)  # the configuration is read, and compared with the lanes
        self.assertEqual(self.lane("bulk"), (3, 0))

    def test_apply_brings_lanes_to_what_a_file_declares(self):
        self.start()
        live = self.write("live.lua", "return { lanes = { bulk = { weight = 2 }, media = { cap = 0 }, slow = {} } }")
        self.assertEqual(len(self.koan("apply", live, "--dry-run")["changes"]), 3)
        self.assertIsNone(self.lane("media"))
        self.koan("apply", live)
        self.assertEqual([self.lane(n) for n in ("bulk", "media", "slow")], [(2, None), (1, 0), (1, None)])
        self.write("live.lua", "return { lanes = { bulk = { weight = 2 } } }")
        self.koan("apply", live, "--prune")
        self.assertEqual([self.lane(n) for n in ("bulk", "media")], [(2, None), (1, None)])

    def test_a_lane_that_cannot_be_is_refused_with_its_setting(self):
        self.start()
        for name, value, words in (("lanes.bulk", '{"cap": -1}', "cap"), ("lanes.bulk", "7", "was expected"),
                                   ("lanes.bulk", '{"wieght": 1}', "weight"), ("lanes.bulk.cap", "0", "set whole")):
            self.assertIn(words, json.dumps(self.koan("config", "set", name, value, code=1)))
        before = len(self.c("GET", "/api/lanes").json["items"])
        for i in range(LIMIT - before):
            self.put(f"l{i}", {"cap": 1})
        refused = self.koan("config", "set", "lanes.one-more", '{"cap": 1}', code=1)
        self.assertIn("there are 16 lanes already", json.dumps(refused))
        self.assertNotIn("lanes.one-more", self.shown())
        self.put("one-more", {"cap": 1}, 413)
        self.assertNotIn("lanes.one-more", self.shown())


if __name__ == "__main__":
    unittest.main()
