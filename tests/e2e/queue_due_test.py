"""Many messages that are due one soon after the other: when they come."""
import statistics
import time
import unittest
from datetime import datetime, timezone

from e2e.node import SANITIZED
from e2e.queue_stream_test import Q, Streams

COUNT = 2_000 if SANITIZED else 20_000
OVER_S = 5
MEDIAN_MS = 50


def iso(ms):
    return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Due(Streams):
    def sent(self, queue, first_ms):
        """COUNT messages whose body is the moment at which they are due, in no order."""
        due = [first_ms + i * OVER_S * 1000 // COUNT for i in range(COUNT)]
        mixed = due[::2] + due[::-2]
        for i in range(0, COUNT, 1000):
            lines = "".join(f'{{"run_at":"{iso(ms)}","body":{ms}}}\n' for ms in mixed[i:i + 1000])
            a = self.ok("POST", f"{Q}{queue}/messages", lines, 200, Content_Type="application/x-ndjson").json
            self.assertEqual(a["counts"]["failed"], 0)
        return due

    def test_of_many_that_are_due_in_turn_the_median_comes_within_50_ms_and_none_too_early(self):
        q = self.queue()
        first = int((time.time() + 1 + COUNT / 10_000) * 1000)
        due = self.sent(q, first)
        self.assertLess(time.time() * 1000, first, "too slow to send: all must wait before the first is due")
        self.wait_counts(q, scheduled=COUNT)
        c = self.open(f"{Q}{q}/consume?prefetch=1000")
        late, came, left = [], [], COUNT
        while left > 0:
            m = c.line()
            if "body" not in m:
                continue
            late.append(time.time() * 1000 - m["body"])
            came.append(m["body"])
            left -= 1
            c.send({"id": m["id"], "token": m["token"], "outcome": "ack"})
        self.assertEqual(sorted(came), due)
        self.assertGreaterEqual(min(late), 0)
        self.assertLessEqual(statistics.median(late), MEDIAN_MS)


if __name__ == "__main__":
    unittest.main()
