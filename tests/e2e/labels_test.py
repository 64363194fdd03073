"""What a node has, and work that needs it: settings, handlers of the node, what waits and says for which label."""
import json
import os
import time

from e2e.handlers_test import HandlersCase

# One number for all handlers: of messages, of batches and of jobs.
WORK = """
queue "plain" {{}}
on "queue/work" {{ run = function(m) http.get("{url}/slow/" .. m) note("work " .. m) end }}
on "made" {{ group = "batches", batch = 1, needs = {{ gpu = 1 }}, run = function(list) http.get("{url}/slow/batch") note("batch") end }}
job "render" {{ needs = {{ gpu = 1 }}, run = function() http.get("{url}/slow/job") note("job") end }}
on "queue/any" {{ run = function(m) note("any " .. m) end }}
route "POST /needs/{{queue}}" {{ run = function(req)
  return {{ id = send(req.params.queue, req.json.body, {{ needs = req.json.needs }}) }}
end }}
route "POST /made" {{ run = function(req) publish("made", "x") end }}
route "POST /render" {{ run = function() return {{ id = job("render"):submit({{}}) }} end }}
"""


class LabelsCase(HandlersCase):
    def serve_work(self, *args):
        self.serve(WORK.format(url=self.outside()), *args)
        with open(os.path.join(self.server.data, "node.json")) as f:
            self.id = json.load(f)["id"]

    def needs(self, queue, body, **labels):
        a = self.ask("POST", f"/needs/{queue}", {"body": body, "needs": labels})
        self.assertEqual(a.status, 200, a.body)
        return a.json["id"]

    def look(self, queue, id_):
        a = self.ask("GET", f"/api/queues/default/{queue}/messages/{id_}")
        self.assertEqual(a.status, 200, a.body)
        return a.json

    def until_waits(self, queue, id_, want, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got = self.look(queue, id_).get("waiting_for")
            if got == want:
                return
            time.sleep(0.05)
        self.assertEqual(got, want)


class Labels(LabelsCase):
    def test_handlers_bring_the_labels_of_their_node(self):
        self.serve_work("--node.labels", "gpu=1 zone=a ssd")
        self.needs("any", 1, gpu=1, zone="a", ssd=True, node=self.id)
        self.needs("any", 2, zone=True, node=True)
        self.until(["any 1", "any 2"])
        for need, name in (({"zone": "b"}, "zone"), ({"gpu": 2}, "gpu"), ({"tape": True}, "tape"),
                           ({"node": "another", "zone": "a"}, "node")):
            self.until_waits("any", self.needs("any", 3, **need), {"what": "label", "name": name})
        self.needs("any", 4)  # what waits for a label holds nothing back
        self.until(["any 1", "any 2", "any 4"])
        self.assertEqual(self.ask("GET", "/api/queues/default/any").json["waiting_for_label"], 4)

    def test_a_number_is_used_up_by_all_handlers_of_the_node_together(self):
        self.serve_work("--node.labels", "gpu=2")
        self.needs("work", "one", gpu=1)
        self.assertEqual(self.ask("POST", "/made").status, 204)
        self.until_calls(2)
        waits = self.needs("work", "two", gpu=1)
        run = self.ask("POST", "/render").json["id"]
        self.until_waits("work", waits, {"what": "label", "name": "gpu"})
        self.assertEqual(self.ask("GET", f"/api/jobs/{run}").json["waiting_for"], {"what": "label", "name": "gpu"})
        self.needs("any", 1)
        self.until(["any 1"])
        self.assertEqual(len(self.calls), 2)
        self.go.set()
        self.until(["any 1", "batch", "job", "work one", "work two"])

    def test_a_node_that_is_only_for_some_work_takes_no_other(self):
        config = {"node": {"labels": {"gpu": 1, "zone": "a"}, "only": ["gpu"]}}
        path = self.write("koan.json", json.dumps(config))
        self.serve_work("--config", path, "--work.lease", "6s")
        plain = self.needs("any", 1)
        zone = self.needs("any", 2, zone="a")
        self.needs("any", 3, gpu=1)
        self.until(["any 3"])
        for id_ in (plain, zone):
            self.until_waits("any", id_, {"what": "label"})
        self.until_counted(2)
        with open(path, "w") as f:
            json.dump({"node": {"labels": {"gpu": 1}}}, f)
        self.server.process.send_signal(1)
        self.until(["any 1", "any 3"])  # live; the other waits for a zone now
        self.until_waits("any", zone, {"what": "label", "name": "zone"})
        self.until_counted(1)

    def until_counted(self, want, seconds=25):
        """In the metrics and in what health says of the queues."""
        end = time.monotonic() + seconds
        line = 'koan_queue_waiting_for_label{tenant="default",queue="any"} ' + str(want)
        while time.monotonic() < end:
            metrics = self.ask("GET", "/metrics").body.decode()
            health = {c["name"]: c for c in self.ask("GET", "/health").json["components"]}["queues"]
            facts = health.get("facts", {})
            if line in metrics and facts.get("waiting_for_label") == want:
                self.assertEqual((facts["waiting_for_label_most"], health["state"]), ("any", "healthy"))
                return
            time.sleep(0.1)
        self.fail(f"{line}\n{facts}")


class Settings(LabelsCase):
    def test_labels_are_a_table_in_the_file_and_words_elsewhere(self):
        self.write("koan.lua", 'return { node = { labels = { gpu = 2, zone = "a b", ssd = true } } }')
        self.serve_work("--config", self.path("koan.lua"))
        self.needs("any", 1, gpu=2, zone="a b", ssd=True)
        self.until(["any 1"])
        self.assertEqual(self.server.stop(), 0)
        os.remove(self.path("koan.lua"))
        self.server = self.node("--scripts", self.path("app"), env={"KOAN_NODE_LABELS": '{"zone": "c", "n": 3}'})
        self.ask = self.server.client()
        self.needs("any", 2, zone="c", n=3)
        self.until(["any 1", "any 2"])

    def test_wrong_labels_are_refused_with_the_way_out(self):
        for labels, words in (("gpu=0", "label 'gpu': true, a text of 1 to 128 bytes or a number"),
                              ("zone=a zone=b", "label 'zone' is there twice"),
                              ("node=x", "always there: it is the node's id"),
                              ("b@d", "no name of a label"),
                              ('{"gpu": 1.5}', "label 'gpu': true"),
                              (" ".join(f"l{i}" for i in range(16)), "16 labels: at most 15")):
            code, said = self.fails("--node.labels", labels)
            self.assertEqual(code, 2, said)
            self.assertIn("node.labels: ", said)
            self.assertIn(words, said)
        code, said = self.fails("--node.labels", "zone=a", "--node.only", "zone gpu")
        self.assertEqual(code, 2, said)
        self.assertIn("node.only: 'gpu' is no label of this node", said)
        self.write("koan.json", '{"node": {"labels": 7, "only": {"a": 1}, "onyl": []}}')
        code, said = self.fails("--config", self.path("koan.json"))
        self.assertEqual(code, 2, said)
        for words in ("node.labels: a table of labels was expected", "node.only: a list of names was expected", "did you mean 'node.only'"):
            self.assertIn(words, said)
