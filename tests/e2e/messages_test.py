"""What the public JavaScript libraries of CloudEvents and Standard Webhooks send is read, and what is written they read
and believe. Between them and us there is no server yet, only a program that reads and writes."""
import base64
import json
import os
import subprocess
import time
import unittest

from e2e import npm

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEER = "build/dbg/tests/e2e/messages_peer"
LIBRARIES = ("messages-1", "cloudevents@10.0.0", "standardwebhooks@1.1.1")
NODE_S = 60

# The library writes header values as they are, so that what the binding wants encoded can be sent structured only.
SENDER = """
const { HTTP, CloudEvent } = require("cloudevents");
const same = { id: "e-1", source: "/shop/1", type: "order.placed", time: "2018-04-05T17:31:00.000Z" };
const events = [
  { ...same, datacontenttype: "application/json", data: { a: [1, 2.5, "x"], b: null } },
  { ...same, datacontenttype: "application/json", subject: "o-7", number: 5, flag: true, word: "v",
    dataschema: "https://example.com/order.json" },
  { ...same, datacontenttype: "application/xml", data: "<much wow='xml'/>" },
  { ...same, datacontenttype: "image/png", data: new Uint8Array([0, 255, 16, 128]) },
  { ...same, datacontenttype: "text/plain", data: "gr\\u00fc\\u00df dich" },
];
const bytes = (b) => b instanceof Uint8Array ? Buffer.from(b) : Buffer.from(b === undefined ? "" : b);
const message = (m) => ({
  headers: Object.entries(m.headers).map(([k, v]) => [k, String(v)]), body: bytes(m.body).toString("base64"),
});
console.log(JSON.stringify(events.map((e) => {
  const ev = new CloudEvent(e);
  return [message(HTTP.binary(ev)), message(HTTP.structured(ev))];
})));
"""
RECEIVER = """
const { HTTP } = require("cloudevents");
const list = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(list.map((m) => {
  const headers = Object.fromEntries(m.headers.map(([k, v]) => [k.toLowerCase(), v]));
  const raw = Buffer.from(m.body, "base64");
  const bytes = /^image/.test(headers["content-type"]);
  const got = HTTP.toEvent({ headers, body: raw.length == 0 ? undefined : bytes ? raw : raw.toString() });
  return (Array.isArray(got) ? got : [got]).map((e) => e.toJSON());
})));
"""
VERIFIER = """
const { Webhook } = require("standardwebhooks");
const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
const body = Buffer.from(asked.body, "base64").toString();
console.log(JSON.stringify(asked.secrets.map((s) => {
  try { new Webhook(s).verify(body, Object.fromEntries(asked.headers)); return "yes"; }
  catch (e) { return e.message; }
})));
"""


def secret(fill):
    return "whsec_" + base64.b64encode(bytes([fill]) * 24).decode()


class Messages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["make", "--no-print-directory", PEER], cwd=ROOT, check=True, capture_output=True)
        cls.folder = npm.programs(*LIBRARIES)

    def node(self, script, given=None):
        done = subprocess.run(["node", "--input-type=commonjs", "-e", script], input=json.dumps(given), text=True,
                              capture_output=True, timeout=NODE_S, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def peer(self, *asked):
        done = subprocess.run([os.path.join(ROOT, PEER)], input="".join(json.dumps(a) + "\n" for a in asked), text=True,
                              capture_output=True, timeout=NODE_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_events_go_there_and_back_in_every_mode(self):
        sent = self.node(SENDER)
        before = self.node(RECEIVER, [structured for _, structured in sent])
        for (binary, structured), want in zip(sent, before):
            read = self.peer(*({"do": "event", **m} for m in (binary, structured)))
            self.assertEqual([r["mode"] for r in read], [0, 1])
            for answer in read:
                for written, got in zip(answer["messages"], self.node(RECEIVER, answer["messages"])):
                    self.assertEqual(len(got), 1)
                    # In headers everything is text.
                    as_text = {k: str(v).lower() if k in ("number", "flag") else v for k, v in want[0].items()}
                    got = {k: str(v).lower() if k in ("number", "flag") else v for k, v in got[0].items()}
                    self.assertEqual(got, as_text, written)

    def test_what_the_library_does_not_encode_is_refused_by_name(self):
        event = {"do": "event", "body": "", "headers": [["ce-specversion", "1.0"], ["ce-id", "1"], ["ce-type", "t"],
                                                        ["ce-source", "/s"], ["ce-subject", "100% sure"]]}
        self.assertEqual(self.peer(event)[0]["field"], "subject")

    def test_signatures_are_believed_by_who_knows_one_of_the_secrets(self):
        body = base64.b64encode('{"grüße": [1, 2]}'.encode()).decode()
        signed = self.peer({"do": "sign", "secrets": [secret(1), secret(2)], "body": body,
                            "id": "0192e4a1-7b7c-7000-8000-000000000001", "at": int(time.time() * 1000)})[0]
        said = self.node(VERIFIER, {"secrets": [secret(1), secret(2), secret(3)], "body": body, **signed})
        self.assertEqual(said[:2], ["yes", "yes"])
        self.assertNotEqual(said[2], "yes")


if __name__ == "__main__":
    unittest.main()
