"""The orders sample for real: a mail provider, a bank and a payment provider outside; killed in front of every write to its log.

No order is paid twice, none is lost; each mail is noted once, each listener hears each order once, and the night's
settlement closes every paid order once, whichever write was the last."""
import concurrent.futures
import http.server
import json
import os
import threading
import time
import unittest

from e2e.node import APPS, SANITIZED, Case
from e2e.slow_sync import DeadlyWrites, possible

ORDERS = os.path.join(APPS, "orders")
STEP = int(os.environ.get("ORDERS_STEP", "1"))  # in front of every so many writes
SIDE_BY_SIDE = 4


class Outside:
    """Another system: answers POSTs with an id, the same for the same Idempotency-Key."""

    def __init__(self, status=lambda n: 200):
        self.seen, self.lock = {}, threading.Lock()
        outside = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null")
                with outside.lock:
                    key = self.headers.get("Idempotency-Key")
                    n = outside.calls = getattr(outside, "calls", 0) + 1
                    code = status(n)
                    if code == 200:
                        outside.seen.setdefault(key, body)
                answer = json.dumps({"id": "x-" + str(key)}).encode()
                try:
                    self.send_response(code)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:  # who asked was killed
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Shop:
    """The server with its callers, who try until they are answered; `start` begins it again when it is gone."""

    def __init__(self, case, name, mail, bank, prefix=()):
        self.case, self.name, self.env = case, name, {"KOAN_APP_MAIL_URL": mail.url, "KOAN_APP_BANK_URL": bank.url,
                                                      "KOAN_HTTP_ALLOW": "127.0.0.1/32", "KOAN_WORK_LEASE": "1s"}
        self.node = case.node("--scripts", ORDERS, data=name, env=self.env, prefix=prefix, wait=False)
        self.lives = 1
        try:
            self.node.wait_ready()
        except AssertionError:
            self.again()

    def again(self):
        self.node.process.wait(30)
        self.node = self.case.node("--scripts", ORDERS, data=self.name, env=self.env)
        self.lives += 1

    def call(self, method, path, body=None):
        while True:
            try:
                c = self.node.client()
                answer = c(method, path, body)
                c.close()
                return answer
            except OSError:
                self.again()
            except Exception as e:
                if "Remote" not in type(e).__name__ and "Bad" not in type(e).__name__:
                    raise
                self.again()

    def items(self, entity):
        return self.call("GET", f"/api/{entity}?pageSize=200").json

    def until(self, what, wanted):
        end = time.monotonic() + 60
        while not wanted():
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not come:\n{self.node.text[-6000:]}")
            time.sleep(0.03)


ORDER_IDS = ("o-1", "o-2", "o-3")


class Orders(Case):
    def setUp(self):
        super().setUp()
        self.mail, self.bank = Outside(), Outside()
        self.addCleanup(self.mail.close)
        self.addCleanup(self.bank.close)

    def trade(self, shop):
        """Three orders, each paid by a webhook that comes twice; then the night."""
        for n, id in enumerate(ORDER_IDS):
            answer = shop.call("POST", "/orders", {"id": id, "customer": "Ann", "email": f"{id}@example.com", "total": 100 + n})
            self.assertIn(answer.status, (200, 201), answer.body)
            for _ in range(2):
                paid = shop.call("POST", "/payments", {"event": "e-" + id, "order": id, "amount": 100 + n})
                self.assertEqual(paid.status, 202, paid.body)
        shop.until("payment", lambda: all(o["state"] == "paid" for o in shop.items("order")) and len(shop.items("order")) == 3)
        self.settle(shop)
        shop.until("mail", lambda: len(shop.items("mail")) >= 6 and len(shop.items("trail")) >= 6)

    def settle(self, shop):
        answer = shop.call("POST", "/api/jobs", {"job": "settle-orders", "args": {"day": "2026-05-01"},
                                                 "options": {"unique": "night", "dedup": "night"}})
        self.assertIn(answer.status, (200, 202), answer.body)
        shop.until("report", lambda: len(shop.items("report")) == 1)

    def check(self, shop, mail, bank):
        payments = shop.items("payment")
        self.assertEqual(sorted(p["order"] for p in payments), list(ORDER_IDS))
        self.assertEqual(sorted(m["subject"] for m in shop.items("mail")),
                         sorted([f"Order {i} is paid" for i in ORDER_IDS] + [f"Thank you for order {i}" for i in ORDER_IDS]))
        self.assertEqual(sorted((e["what"], e["order"]) for e in shop.items("trail")),
                         sorted((w, i) for w in ("order.paid", "order.placed") for i in ORDER_IDS))
        closings = shop.items("closing")
        self.assertEqual([(c["orders"], c["total"]) for c in closings], [(3, 303)])
        self.assertEqual({o["closing"] for o in shop.items("order")}, {closings[0]["id"]})
        self.assertEqual([b["amount"] for b in bank.seen.values()], [303])  # one key over all attempts of the step
        self.assertEqual(len(mail.seen), 6)
        for queue in ("mail", "payments"):
            self.assertEqual(shop.call("GET", f"/api/queues/%2F/{queue}.dead").json["messages"], 0)

    def test_each_verb_does_its_part(self):
        self.mail.close()
        self.mail = Outside(lambda n: 429 if n == 1 else 500 if n == 2 else 200)
        shop = Shop(self, "shop", self.mail, self.bank)
        self.trade(shop)
        self.check(shop, self.mail, self.bank)
        self.assertIn("3 orders, 303 cents", shop.call("GET", "/reports/2026-05-01").body.decode())
        shop.call("POST", "/orders", {"id": "o-4", "customer": "Bob", "email": "bob@example.com", "total": 7})
        shop.call("POST", "/payments", {"event": "e-4", "order": "o-4", "amount": 8})
        dead = "/api/queues/%2F/payments.dead"
        shop.until("a dead letter", lambda: shop.call("GET", dead).json["messages"] == 1)
        self.assertEqual(shop.call("GET", "/api/order/o-4").json["state"], "placed")
        self.assertEqual(shop.node.stop(), 0)

    def one_life(self, n):
        """Killed in front of its n-th write to the log: (whether it came to that, writes seen)."""
        mail, bank = Outside(), Outside()
        deadly = DeadlyWrites(self.path(f"s{n}"), "/log/", n)
        try:
            shop = Shop(self, f"d{n}", mail, bank, deadly.prefix)
            self.trade(shop)
            self.check(shop, mail, bank)
            shop.node.stop()
            return deadly.struck, deadly.seen
        except AssertionError as e:
            raise AssertionError(f"killed in front of write {n}: {e}") from e
        finally:
            deadly.close()
            mail.close()
            bank.close()

    @unittest.skipUnless(possible(), "needs seccomp on x86-64")
    @unittest.skipIf(SANITIZED, "each write is a server of its own")
    def test_whichever_write_is_the_last_no_order_is_paid_twice_and_none_is_lost(self):  # J2 J3 B1 Q2
        n, lives = 1, 0
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            while True:
                some = [pool.submit(self.one_life, n + i * STEP) for i in range(SIDE_BY_SIDE)]
                struck = [f.result()[0] for f in some]
                lives += sum(struck)
                n += SIDE_BY_SIDE * STEP
                if not all(struck):
                    break
        self.assertGreater(lives, 30 // STEP)  # or the sample has become too small to prove anything


if __name__ == "__main__":
    unittest.main()
