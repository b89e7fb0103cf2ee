"""The explainer: a miss reports the nearest recordings, and what would help."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from buffr.exchanges.explain import Explainer, as_data, as_json, as_text, in_short
from buffr.exchanges.playhead import Playhead, Repeat
from buffr.interaction import Body, BrokenInteraction, HTTPInteraction, IndexEntry, RecordedRequest
from buffr.matching.matcher import Matcher
from buffr.matching.near_miss import NearMiss
from buffr.matching.rules import MatchRules
from buffr.message import Request, ResponseHead
from buffr.redaction.rules import RedactionRules
from buffr.stores.base import Store
from buffr.stores.memory import MemoryInteractions

TRIAL = unittest.SynchronousTestCase()
JSON = ((b"Content-Type", b"application/json"),)


class Threads(Clock):
    """A reactor whose threads run at once, and whose work is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[str] = []

    def getThreadPool(self) -> Threads:
        return self

    def callInThreadWithCallback(
        self, told: Callable[[bool, object], None], run: Callable[..., object], *args: object
    ) -> None:
        self.ran.append(run.__name__)
        told(True, run(*args))

    def callFromThread(self, run: Callable[..., object], *args: object) -> None:
        run(*args)


class Bench:
    """An explainer over a store in memory."""

    def __init__(self) -> None:
        self.clock = Threads()
        self.matcher = Matcher(MatchRules(), with_origin=False)
        self.store = MemoryInteractions().view(self.matcher.recorded_key)
        self.explainer = Explainer(self.clock, self.store, self.matcher, RedactionRules())

    def record(self, path: bytes, body: bytes, *, truncated: str | None = None) -> None:
        request = RecordedRequest(b"POST", path, JSON, Body.of(body))
        interaction = HTTPInteraction(request, ResponseHead(200, b"OK", ()), truncated=truncated)
        TRIAL.successResultOf(Deferred.fromCoroutine(self.store.append(interaction)))

    def start_miss(self, path: bytes, body: bytes) -> Deferred[tuple[NearMiss, ...]]:
        request = Request(b"POST", path, JSON, body_length=len(body))
        identity = self.matcher.live(request, body)
        return Deferred.fromCoroutine(self.explainer.nearest(identity))

    def miss(self, path: bytes, body: bytes) -> tuple[NearMiss, ...]:
        asking = self.start_miss(path, body)
        while not asking.called:
            self.clock.advance(0)
        return TRIAL.successResultOf(asking)

    def explained(self, path: bytes, body: bytes) -> str:
        request = Request(b"POST", path, JSON, body_length=len(body))
        identity = self.matcher.live(request, body)
        asking = Deferred.fromCoroutine(self.explainer.explained(request, body, identity))
        while not asking.called:
            self.clock.advance(0)
        return TRIAL.successResultOf(asking).text


class Counted:
    """A store that counts by turns how many of its entries are read."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self.clock = clock
        self.read: dict[float, list[int]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def entries(
        self, places: Sequence[int]
    ) -> Sequence[IndexEntry | BrokenInteraction | None]:
        self.read.setdefault(self.clock.seconds(), []).extend(places)
        return await self._store.entries(places)

    def take_read(self) -> list[list[int]]:
        """The places that were read, turn by turn, since the last call."""
        read, self.read = self.read, {}
        return list(read.values())


class TestIndexing:
    """The index is made in small steps, from each recording once."""

    def bench(self) -> tuple[Bench, Counted]:
        bench = Bench()
        for number in range(100):
            bench.record(b"/chat", b'{"q": "%d", "pad": "%b"}' % (number, b"x" * 1000))
        counted = Counted(bench.store, bench.clock)
        bench.explainer = Explainer(bench.clock, counted, bench.matcher, RedactionRules())
        return bench, counted

    def test_before_the_first_miss(self) -> None:
        """A turn reads a few recordings, or a few kilobytes of bodies; a miss then no more."""
        bench, counted = self.bench()
        bench.explainer.begin()
        assert counted.take_read() == []
        for _ in range(2000):
            bench.clock.advance(0.001)
        read = counted.take_read()
        assert [place for turn in read for place in turn] == list(range(100))
        assert max(map(len, read)) < 10
        assert len(bench.miss(b"/chat", b'{"q": "new"}')) == 3
        assert sum(map(len, counted.take_read())) <= 8

    def test_it_rests_while_recordings_are_replayed(self) -> None:
        bench, counted = self.bench()
        playhead = bench.explainer.playhead = Playhead(Repeat.CYCLE)
        bench.explainer.begin()
        for _ in range(500):
            playhead.next("", b"key", (0,))
            bench.clock.advance(0.001)
        assert sum(map(len, counted.take_read())) < 50
        for _ in range(500):
            bench.clock.advance(0.001)
        assert sum(map(len, counted.take_read())) > 50

    def test_a_miss_waits_for_no_more_than_one_pause(self) -> None:
        """From then on the steps follow each other; each place is read once."""
        bench, counted = self.bench()
        bench.explainer.begin()
        bench.clock.advance(0.05)
        asking = bench.start_miss(b"/chat", b'{"q": "new"}')
        bench.clock.advance(0.01)
        for _ in range(100):
            bench.clock.advance(0)
        assert len(TRIAL.successResultOf(asking)) == 3
        made = [place for turn in counted.take_read() for place in turn][:100]
        assert made == list(range(100))


class TestRemembered:
    """The same miss again is explained out of memory, until the store changes."""

    def test_as_before(self) -> None:
        bench, counted = TestIndexing().bench()
        first = bench.explained(b"/chat", b'{"q": "new"}')
        counted.take_read()
        assert bench.explained(b"/chat", b'{"q": "new"}') == first
        assert bench.explained(b"/chat", b'{"q": "other"}') != first
        assert bench.explained(b"/other", b'{"q": "new"}') != first
        assert sum(map(len, counted.take_read())) <= 8

    def test_not_when_the_store_has_more(self) -> None:
        bench, _ = TestIndexing().bench()
        assert "interaction 100 " not in bench.explained(b"/chat", b'{"q": "new"}')
        bench.record(b"/chat", b'{"q": "nef"}')
        assert "interaction 100 comes near" in bench.explained(b"/chat", b'{"q": "new"}')


class TestTurns:
    """Bodies full of credentials take a microsecond a byte to search."""

    LONG = b'{"n": %d, ' + b", ".join([b'"password": "hunter2hunter2"'] * 400) + b"}"

    def test_long_bodies_are_searched_on_threads(self) -> None:
        bench = Bench()
        for number in range(3):
            bench.record(b"/chat", self.LONG % number)
        assert len(bench.miss(b"/chat", self.LONG % 9)) == 3
        # When the index is made, and again for the differences.
        assert bench.clock.ran == ["recorded"] * 6 + ["near_misses"]
        request = Request(b"POST", b"/chat", JSON)
        body = (self.LONG % 9).replace(b"{", b'{"operationName": "Ask", ')
        operation = Deferred.fromCoroutine(bench.explainer.operation(request, body))
        assert TRIAL.successResultOf(operation) == "Ask"
        assert bench.clock.ran[-1] == "operation_in"

    def test_short_ones_are_not(self) -> None:
        bench = Bench()
        bench.record(b"/chat", b'{"q": "one"}')
        assert bench.miss(b"/chat", b'{"q": "two"}')
        assert bench.clock.ran == []


class TestNearest:
    def test_the_difference_and_the_rule_that_helps(self) -> None:
        """Noise in one place: the pointer, both values, and a rule to paste."""
        bench = Bench()
        bench.record(b"/other", b"{}")
        bench.record(b"/chat", b'{"ts": 1763700000, "q": "hi"}')
        nearest = bench.miss(b"/chat", b'{"ts": 1763700099, "q": "hi"}')
        data = as_data(nearest, bench.explainer.first)
        assert data[0]["index"] == 1
        assert data[0]["differences"] == [
            {"part": "body", "pointer": "/ts", "recorded": "1763700000", "live": "1763700099"}
        ]
        assert data[0]["rule"] == "match:\n  json:\n    - '$.ts'\n"
        assert data[0]["rule_is_enough"] is True
        assert "$.ts" in as_text(nearest, 0)
        assert in_short(nearest, 0) == "interaction 1 differs in body /ts"

    def test_as_json(self) -> None:
        """The same as the standard library's, whatever the texts are."""
        bench = Bench()
        bench.record(b"/chat", b'{"differences": [], "run": "run-0001", "q": "\xc3\xa9"}')
        bench.record(b"/chat", b'{"a": [1, {"\\"differences\\": []": 2}]}')
        bench.record(b"/cut", b"{}", truncated='"differences": []')
        for path in (b"/chat", b"/cut", b"/"):
            for body in (b'{"differences": [], "run": "run-0002"}', b"{}", b""):
                nearest = bench.miss(path, body)
                data = as_data(nearest, 0)
                assert as_json(nearest, data) == json.dumps(data)

    def test_noise_beside_a_real_difference(self) -> None:
        """The rule for the noise is offered anyway, and does not promise too much."""
        bench = Bench()
        bench.record(b"/chat", b'{"ts": 1763700000, "q": "hi"}')
        nearest = bench.miss(b"/chat", b'{"ts": 1763700099, "q": "ho"}')
        (data,) = as_data(nearest, 0)
        assert (data["rule"], data["rule_is_enough"]) == ("match:\n  json:\n    - '$.ts'\n", False)
        assert "the rest still differs" in as_text(nearest, 0)
        assert "it matches" not in as_text(nearest, 0)

    def test_later_recordings_count(self) -> None:
        """The index follows the store."""
        bench = Bench()
        assert bench.miss(b"/chat", b"{}") == ()
        bench.record(b"/chat", b'{"a": 1}')
        assert [miss.place for miss in bench.miss(b"/chat", b'{"a": 2}')] == [0]

    def test_many_are_taken_in_by_steps(self) -> None:
        """More than one step's worth: nothing is left out, and other work gets its turn."""
        bench = Bench()
        for number in range(350):
            bench.record(b"/%d" % number, b'{"a": %d}' % number)
        (first, *_) = bench.miss(b"/349", b'{"a": 0}')
        assert first.place == 349

    def test_a_cut_off_recording_of_the_same_request(self) -> None:
        """It is never replayed, and the miss says how it was cut off."""
        bench = Bench()
        bench.record(b"/chat", b'{"a": 1}')
        bench.record(b"/chat", b'{"a": 2}', truncated="the upstream dropped the connection")
        nearest = bench.miss(b"/chat", b'{"a": 2}')
        assert in_short(nearest, 0) == (
            "interaction 1 is the same request, but cannot be replayed:"
            " it was not recorded whole: the upstream dropped the connection"
        )
        assert as_text(nearest, 0).splitlines()[1].startswith("interaction 0 comes near")
        (broken, near) = as_data(nearest, 0)
        assert (broken["index"], broken["broken"]) == (
            1,
            "it was not recorded whole: the upstream dropped the connection",
        )
        assert "broken" not in near

    def test_a_cut_off_recording_of_another_request(self) -> None:
        """It is never replayed, so it cannot be what was meant."""
        bench = Bench()
        bench.record(b"/chat", b'{"a": 1}', truncated="cut")
        assert bench.miss(b"/chat", b'{"a": 2}') == ()

    def test_nothing_near(self) -> None:
        """An empty cassette says so."""
        assert as_text((), 0) == ""
        assert in_short((), 0) == "the cassette contains nothing similar"

    def test_used_up(self) -> None:
        """The same request was recorded, but ``repeat: once`` lets it answer only once."""
        bench = Bench()
        bench.record(b"/chat", b'{"a": 1}')
        nearest = bench.miss(b"/chat", b'{"a": 1}')
        assert in_short(nearest, 0).endswith("used up, since repeat is once")
        assert as_text(nearest, 0) == in_short(nearest, 0) + "\n"

    def test_secrets_are_not_shown(self) -> None:
        """A credential field's values stay hidden in an answer that goes to logs."""
        bench = Bench()
        bench.record(b"/chat", b'{"api_key": "sk-recorded-recorded-1"}')
        nearest = bench.miss(b"/chat", b'{"api_key": "sk-live-live-live-live-2"}')
        text = as_text(nearest, 0) + str(as_data(nearest, 0))
        assert "sk-" not in text
