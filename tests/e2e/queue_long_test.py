"""Streams that last: what a line costs ends with it."""
import threading
import unittest

from e2e.node import SANITIZED
from e2e.queue_stream_test import Q, Streams

LINES = 20_000 if SANITIZED else 400_000
PIECE = 10_000
SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Long(Streams):
    def test_a_stream_of_a_sampled_trace_takes_as_many_lines_as_come(self):  # H3
        q = self.queue()
        s = self.open(f"{Q}{q}/stream", headers=f"Traceparent: {SAMPLED}\r\n")
        lines = b'{"body":1}\n' * PIECE

        def send():
            for _ in range(LINES // PIECE):
                s.raw(lines)
            s.end()
        sender = threading.Thread(target=send)
        sender.start()
        answered = failed = 0
        while piece := s.chunk():
            answered += piece.count(b'"line":')
            failed += piece.count(b'"error":')
        sender.join()
        self.assertEqual((answered, failed), (LINES, 0))
        self.assertEqual(self.counts(q)["messages_ready"], LINES)


if __name__ == "__main__":
    unittest.main()
