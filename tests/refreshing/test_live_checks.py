from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.task import Clock

from buffr.drift.stand_ins import Credentials, live_values
from buffr.drift.talk import Talk
from buffr.exchanges.pace import Pace
from buffr.interaction import RecordedRequest
from buffr.message import Request
from buffr.origin import Origin
from buffr.policy.rate_limits import RateRules
from buffr.refreshing.asking import Rules
from buffr.refreshing.live_checks import LiveChecks
from buffr.refreshing.treq_client import Answered

GET = Request(b"GET", b"/", ())


class _Nobody:
    """A client that is not to be used."""

    async def ask(
        self, origin: Origin, request: RecordedRequest, stay_s: float | None = None
    ) -> Answered:
        raise AssertionError(request.target)

    async def speak(self, origin: Origin, request: RecordedRequest, talk: Talk) -> Answered:
        raise AssertionError(request.target)


def checks(share: float, chances: Iterator[float]) -> LiveChecks:
    clock = Clock()
    rules = Rules(
        origin_of=lambda _: Origin("http", "a.test", 80),
        redact=lambda one: one,
        credentials=Credentials({}, {}),
    )
    pace = Pace(clock, RateRules(), 60, seconds=clock.seconds, wall=clock.seconds)
    nobody = _Nobody()
    return LiveChecks(share, lambda: next(chances), rules, nobody, nobody, pace, clock)


class TestChoice:
    def test_a_share_of_the_requests_and_each_recording_once(self) -> None:
        some = checks(0.5, iter([0.7, 0.4, 0.1]))
        assert not some.wants(0, GET)
        assert not some.is_done(0)
        assert some.wants(0, GET)
        assert some.is_done(0)
        assert not some.wants(0, GET)
        assert some.wants(1, GET)

    def test_what_may_change_something_never(self) -> None:
        some = checks(1.0, iter([]))
        assert not some.wants(0, Request(b"POST", b"/", ()))
        assert not some.wants(1, Request(b"GET", b"/", (), upgrade=b"websocket"))
        assert some.is_done(0)
        assert some.is_done(1)


class TestLiveValues:
    def test_they_have_the_names_of_stand_ins(self) -> None:
        headers = (
            (b"Authorization", b"Bearer sk-1"),
            (b"X-Api_Key", b"key"),
            (b"Cookie", b"sid=abc; theme=dark"),
        )
        assert live_values(Request(b"GET", b"/?api_key=a%2Fb&x", headers)) == {
            "authorization": b"sk-1",
            "x-api-key": b"key",
            "sid": b"abc",
            "theme": b"dark",
            "api-key": b"a/b",
        }
