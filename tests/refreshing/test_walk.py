from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buffr.drift.carrying import Carried, asked_words
from buffr.drift.stand_ins import Credentials
from buffr.drift.talk import Talk
from buffr.drift.verdict import Asked, Verdict
from buffr.exchanges.pace import Pace
from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.message import ResponseHead
from buffr.origin import Origin
from buffr.policy.rate_limits import RateRules
from buffr.refreshing.asking import Asking, Rules
from buffr.refreshing.treq_client import Answered
from buffr.refreshing.walk import Step, Walk

ORIGIN = Origin("http", "a.test", 80)
JSON = ((b"Content-Type", b"application/json"),)


def exchange(target: str, value: Any = None, method: bytes = b"GET") -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(method, target.encode()),
        ResponseHead(200, b"OK", JSON),
        Body.of(json.dumps(value).encode()),
        recorded_at="2026-11-21T22:02:42Z",
    )


@define(eq=False)
class API:
    """A client whose answers come when the test says so."""

    asked: list[str] = field(factory=list)
    _waiting: dict[str, Deferred[HTTPInteraction]] = field(factory=dict)

    async def ask(
        self, origin: Origin, request: RecordedRequest, stay_s: float | None = None
    ) -> Answered:
        target = request.target.decode()
        self.asked.append(target)
        waiting = self._waiting[target] = Deferred()
        return Answered(await waiting, _nothing)

    async def speak(self, origin: Origin, request: RecordedRequest, talk: Talk) -> Answered:
        raise AssertionError(request.target)

    def answer(self, target: str, value: Any = None) -> None:
        self._waiting.pop(target).callback(exchange(target, value))


def _nothing() -> None:
    pass


@define(eq=False)
class Walking:
    """A walk under way, and the verdicts so far."""

    api: API
    verdicts: list[Verdict] = field(factory=list)

    @classmethod
    def through(cls, *recorded: HTTPInteraction, most: int = 3) -> Walking:
        clock, api = Clock(), API()
        rules = Rules(
            origin_of=lambda _: ORIGIN,
            redact=lambda one: one,
            credentials=Credentials({}, {}),
            unsafe=True,
            twice="never",
        )
        words = frozenset[bytes]().union(*map(asked_words, recorded))
        pace = Pace(clock, RateRules(), 60, seconds=clock.seconds, wall=clock.seconds)
        asking = Asking(rules, api, api, pace, Carried(words))
        steps = [
            Step(number, one.request.target.decode(), _loading(one))
            for number, one in enumerate(recorded)
        ]
        walking = cls(api)
        walk = Walk(asking, steps, most)
        Deferred.fromCoroutine(walking._take(walk)).addErrback(partial(_fail))
        return walking

    async def _take(self, walk: Walk) -> None:
        async for verdict in walk.verdicts():
            self.verdicts.append(verdict)

    @property
    def numbers(self) -> list[int]:
        assert all(one.asked is Asked.YES for one in self.verdicts)
        return [one.number for one in self.verdicts]


def _loading(one: HTTPInteraction) -> Callable[[], HTTPInteraction]:
    return lambda: one


def _fail(failure: Any) -> None:
    raise AssertionError(failure.getTraceback())


class TestWalk:
    def test_it_begins_with_one_and_takes_more_after_each_answer(self) -> None:
        walking = Walking.through(*[exchange(f"/{number}") for number in range(9)])
        api = walking.api
        assert api.asked == ["/0"]
        api.answer("/0")
        assert api.asked == ["/0", "/1", "/2"]
        api.answer("/1")
        assert api.asked == ["/0", "/1", "/2", "/3", "/4"]
        api.answer("/2")
        assert api.asked == ["/0", "/1", "/2", "/3", "/4", "/5"]  # no more than three

    def test_verdicts_come_in_recorded_order(self) -> None:
        walking = Walking.through(*[exchange(f"/{number}") for number in range(4)])
        api = walking.api
        api.answer("/0")
        api.answer("/2")
        assert walking.numbers == [0]
        api.answer("/1")
        assert walking.numbers == [0, 1, 2]
        api.answer("/3")
        assert walking.numbers == [0, 1, 2, 3]

    def test_what_may_change_something_is_alone(self) -> None:
        some = [exchange("/0"), exchange("/1"), exchange("/2", method=b"POST"), exchange("/3")]
        walking = Walking.through(*some)
        api = walking.api
        api.answer("/0")
        assert api.asked == ["/0", "/1"]
        api.answer("/1")
        assert api.asked == ["/0", "/1", "/2"]
        api.answer("/2")
        assert api.asked == ["/0", "/1", "/2", "/3"]

    def test_a_request_waits_for_the_answer_whose_value_it_needs(self) -> None:
        walking = Walking.through(
            exchange("/0"), exchange("/1", {"id": "thing-aaaa"}), exchange("/thing-aaaa")
        )
        api = walking.api
        api.answer("/0")
        assert api.asked == ["/0", "/1"]
        api.answer("/1", {"id": "thing-bbbb"})
        assert api.asked == ["/0", "/1", "/thing-bbbb"]
