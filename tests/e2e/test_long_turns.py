"""A body full of names that tell of secrets does not stop the others."""

from __future__ import annotations

import threading
import time

from bench import Bench, Place
from raw_http import ask, request

from buffr.testing import answer


class TestTurns:
    def test_others_are_answered_meanwhile(self, bench: Bench, place: Place) -> None:
        """Half a megabyte of members that are all called password takes a second to search.

        On the reactor nobody would get an answer until it is done.
        """
        place.answers(answer(b"ok"))
        assert place.ask("auto").body == b"ok"
        members = b",".join([b'"password": "hunter%d"' % number for number in range(20_000)])
        body = b"{" + members + b"}"
        raw = request(place.path, method=b"POST", body=body)
        spans: list[float] = []
        worst = threading.Thread(target=lambda: spans.append(_seconds(bench, raw)))
        worst.start()
        meanwhile = []
        while worst.is_alive():
            meanwhile.append(_seconds(bench, request(place.path)))
        worst.join()
        assert len(meanwhile) > 3, "too short a time to tell anything"
        assert max(meanwhile) < spans[0] / 2


def _seconds(bench: Bench, raw: bytes) -> float:
    started = time.perf_counter()
    assert ask(bench.port("auto"), raw).body == b"ok"
    return time.perf_counter() - started
