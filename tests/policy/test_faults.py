"""Which request meets which fault."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from buffr.message import Request
from buffr.policy.faults import Fault, FaultRule, Faults, Latency, Quota, Refusal

NEVER, ALWAYS = 0.999, 0.0
X = Fault(names=("x",), refusal=Refusal(500))


def always() -> float:
    return ALWAYS


def faults(*rules: FaultRule, chance: Callable[[], float] = always) -> Faults:
    return Faults(rules, chance)


def get(target: bytes = b"/a", *headers: tuple[bytes, bytes], method: bytes = b"GET") -> Request:
    return Request(method, target, headers)


def met(made: Faults, count: int, scope: str = "", request: Request | None = None) -> list[int]:
    """The numbers of the requests that meet a fault."""
    asked = request or get()
    return [n for n in range(1, count + 1) if made.of(asked, scope, 0.0) is not None]


@pytest.mark.parametrize(
    ("conditions", "numbers"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"first": 2}, [1, 2]),
        ({"every": 3}, [3, 6]),
        ({"calls": (2, 5)}, [2, 5]),
        ({"every": 2, "first": 4}, [2, 4]),
        ({"share": 0.0}, []),
    ],
)
def test_by_number(conditions: dict[str, object], numbers: list[int]) -> None:
    rule = FaultRule(fault=X, **conditions)  # type: ignore[arg-type]
    assert met(faults(rule), 6) == numbers


def test_each_scope_counts_for_itself() -> None:
    made = faults(FaultRule(fault=X, calls=(2,)))
    assert met(made, 3, "a") == [2]
    assert met(made, 3, "b") == [2]


@pytest.mark.parametrize(
    ("rule", "request_", "meets"),
    [
        (FaultRule(fault=X, methods=frozenset((b"POST",))), get(), False),
        (FaultRule(fault=X, methods=frozenset((b"GET",))), get(), True),
        (FaultRule(fault=X, path=re.compile(rb"^/v1/")), get(b"/v2/a"), False),
        (FaultRule(fault=X, path=re.compile(rb"^/v1/")), get(b"/v1/a"), True),
        (FaultRule(fault=X, header=b"x-chaos"), get(), False),
        (FaultRule(fault=X, header=b"x-chaos"), get(b"/", (b"X-Chaos", b"1")), True),
    ],
)
def test_by_request(rule: FaultRule, request_: Request, *, meets: bool) -> None:
    assert bool(met(faults(rule), 1, request=request_)) is meets


def test_requests_that_a_rule_does_not_concern_are_not_counted() -> None:
    made = faults(FaultRule(fault=X, path=re.compile(rb"^/b"), calls=(2,)))
    assert made.of(get(b"/b"), "", 0.0) is None
    assert made.of(get(b"/a"), "", 0.0) is None
    assert made.of(get(b"/b"), "", 0.0) is not None


def test_a_seed_repeats_a_run() -> None:
    def run(seed: int) -> list[int]:
        rule = FaultRule(fault=X, share=0.3)
        return met(faults(rule, chance=random.Random(seed).random), 1000)

    assert run(1) == run(1) != run(2)
    assert 200 < len(run(1)) < 400


def test_several_add_up() -> None:
    made = faults(
        FaultRule(fault=Fault(names=("slow",), bytes_per_s=10), latency=Latency(1.0, 2.0)),
        FaultRule(
            fault=Fault(names=("later",), refusal=Refusal(503, 1), bytes_per_s=99, malformed=True),
            latency=Latency(0.5),
        ),
        FaultRule(fault=Fault(names=("last",), refusal=Refusal(500, body=b"x"), cut_after_bytes=0)),
        FaultRule(fault=Fault(names=("cut",), cut_after_bytes=9)),
        chance=lambda: 0.5,
    )
    assert made.of(get(), "", 0.0) == Fault(
        names=("slow", "later", "last", "cut"),
        delay_s=2.5,
        refusal=Refusal(503, 1),
        bytes_per_s=10,
        malformed=True,
        cut_after_bytes=0,
    )


class TestLatency:
    def test_fixed_and_by_chance(self) -> None:
        assert Latency(0.2).drawn(0.9) == 0.2
        assert Latency(0.2, 0.4).drawn(0.5) == pytest.approx(0.4)

    def test_as_services_are(self) -> None:
        """Half wait the delay or less; one in a hundred the other time or more."""
        drawn = random.Random(7)
        latency = Latency(0.1, p99_s=1.0)
        waits = sorted(latency.drawn(drawn.random()) for _ in range(10_000))
        assert waits[5_000] == pytest.approx(0.1, rel=0.1)
        assert waits[9_900] == pytest.approx(1.0, rel=0.1)
        assert waits[0] > 0
        assert Latency(0.1, p99_s=1.0).drawn(0.0) > 0


class TestQuota:
    def test_it_runs_out_and_comes_back(self) -> None:
        made = faults(FaultRule(fault=Fault(names=("quota",)), quota=Quota(2, 60)))
        seen = [made.of(get(), "", now) for now in (0.0, 1.0, 10.0, 60.0)]
        assert seen == [
            Fault(quota=(2, 1)),
            Fault(quota=(2, 0)),
            Fault(names=("quota",), quota=(2, 0), refusal=Refusal(429, 50)),
            Fault(quota=(2, 1)),
        ]

    def test_what_comes_when_it_has_run_out(self) -> None:
        made = faults(FaultRule(fault=X, latency=Latency(1.0), quota=Quota(1)))
        assert made.of(get(), "", 0.0) == Fault(quota=(1, 0))
        assert made.of(get(), "", 0.0) == Fault(
            names=("x",), delay_s=1.0, refusal=Refusal(500), quota=(1, 0)
        )


def test_scopes_are_bounded() -> None:
    made = faults(FaultRule(fault=X))
    for number in range(5000):
        made.of(get(), str(number), 0.0)
    assert len(made._counts) == 4096
