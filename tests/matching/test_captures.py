"""What rules with ``sync_response`` match in requests, recorded and live."""

from __future__ import annotations

import gzip

from attrs import evolve

from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.matching.captures import SyncRules, pairs, without_redacted
from buffr.matching.ignore import Ignore
from buffr.matching.rules import IgnoreRule
from buffr.message import Request, ResponseHead

LIMIT = 1000


def rules(*parts_and_patterns: tuple[str, str]) -> SyncRules:
    ignore, warnings = Ignore.of(
        (
            IgnoreRule(part="request.body", pattern="never"),
            *[
                IgnoreRule(part=part, pattern=pattern, sync_response=True)
                for part, pattern in parts_and_patterns
            ],
        )
    )
    assert not warnings
    return SyncRules.of(ignore, LIMIT)


ALL = rules(
    ("request.path", "run-[0-9]+"),
    ("request.query", "run-[0-9]+"),
    ("request.header.X-Run", "run-[0-9]+"),
    ("request.body", "run-[0-9]+"),
    ("websocket.frame", "run-[0-9]+"),
)
HEADERS = ((b"x-RUN", b"run-3"), (b"X-Other", b"run-9"), (b"X-Run", b"run-33"))


class TestLive:
    def test_each_rule_sees_its_part(self) -> None:
        """In order, several matches of one rule one after another."""
        request = Request(b"POST", b"/run-1?a=run-2", HEADERS)
        got = ALL.live(request, b"run-4 run-44 run-4")
        assert got == (
            (b"run-1",),
            (b"run-2",),
            (b"run-3", b"run-33"),
            (b"run-4", b"run-44", b"run-4"),
            (),
        )

    def test_frames(self) -> None:
        assert ALL.frame(b"a run-5") == ((), (), (), (), (b"run-5",))

    def test_a_coded_body(self) -> None:
        request = Request(b"POST", b"/", ((b"Content-Encoding", b"gzip"),))
        assert ALL.live(request, gzip.compress(b"run-4"))[3] == (b"run-4",)

    def test_no_rules(self) -> None:
        assert not rules()
        assert ALL


class TestRecorded:
    REQUEST = RecordedRequest(b"POST", b"/run-1", (), Body.of(b"run-4 run-44"))

    def test_captures_from_recording_count(self) -> None:
        """As the Go program stores it; for other rules the stored request is searched."""
        sync = rules(("request.body", "run-[0-9]+"), ("request.path", "[a-z]+-1"))
        stored = (("run-[0-9]+", "run-0"), ("another", "x"))
        assert sync.recorded(self.REQUEST, stored) == ((b"run-0",), (b"run-1",))
        assert sync.recorded(self.REQUEST) == ((b"run-4", b"run-44"), (b"run-1",))

    def test_stored_captures_give_the_same(self) -> None:
        sync = rules(("request.body", "run-[0-9]+"), ("request.path", "[a-z]+-1"))
        stored = sync.to_store(self.REQUEST)
        assert stored == (
            ("run-[0-9]+", "run-4"),
            ("run-[0-9]+", "run-44"),
            ("[a-z]+-1", "run-1"),
        )
        assert sync.recorded(evolve(self.REQUEST, body=Body()), stored) == sync.recorded(
            self.REQUEST
        )

    def test_captures_that_are_not_text_are_not_stored(self) -> None:
        sync = rules(("request.body", "(?s)run-.."))
        request = evolve(self.REQUEST, body=Body.of(b"run-\xff\xff"))
        assert sync.to_store(request) == ()

    def test_a_captured_secret_is_not_stored(self) -> None:
        """What redaction removed from the request must not be in its captures."""
        one = HTTPInteraction(
            evolve(self.REQUEST, target=b"/?token=REDACTED"),
            ResponseHead(200, b"OK", ()),
            captures=(("token=.*", "token=secret"), ("run-.", "run-4")),
        )
        kept = without_redacted(one, LIMIT)
        assert isinstance(kept, HTTPInteraction)
        assert kept.captures == (("run-.", "run-4"),)


class TestPairs:
    def test_in_order(self) -> None:
        """The first with the first; a surplus match has no pair."""
        assert pairs(((b"a", b"b"), (b"c",)), ((b"x",), (b"y", b"z"))) == (
            (b"a", b"x"),
            (b"c", b"y"),
        )
