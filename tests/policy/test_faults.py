"""Which request meets which fault."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from buffr.message import Request
from buffr.policy.faults import Fault, FaultRule, Faults

NEVER, ALWAYS = 0.999, 0.0


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
    rule = FaultRule(name="x", status=500, **conditions)  # type: ignore[arg-type]
    assert met(faults(rule), 6) == numbers


def test_each_scope_counts_for_itself() -> None:
    made = faults(FaultRule(name="x", reset=True, calls=(2,)))
    assert met(made, 3, "a") == [2]
    assert met(made, 3, "b") == [2]


@pytest.mark.parametrize(
    ("rule", "request_", "meets"),
    [
        (FaultRule(name="x", methods=frozenset((b"POST",))), get(), False),
        (FaultRule(name="x", methods=frozenset((b"GET",))), get(), True),
        (FaultRule(name="x", path=re.compile(rb"^/v1/")), get(b"/v2/a"), False),
        (FaultRule(name="x", path=re.compile(rb"^/v1/")), get(b"/v1/a"), True),
        (FaultRule(name="x", header=b"x-chaos"), get(), False),
        (FaultRule(name="x", header=b"x-chaos"), get(b"/", (b"X-Chaos", b"1")), True),
    ],
)
def test_by_request(rule: FaultRule, request_: Request, *, meets: bool) -> None:
    assert bool(met(faults(rule), 1, request=request_)) is meets


def test_requests_that_a_rule_does_not_concern_are_not_counted() -> None:
    made = faults(FaultRule(name="x", path=re.compile(rb"^/b"), calls=(2,)))
    assert made.of(get(b"/b"), "", 0.0) is None
    assert made.of(get(b"/a"), "", 0.0) is None
    assert made.of(get(b"/b"), "", 0.0) is not None


def test_a_seed_repeats_a_run() -> None:
    def run(seed: int) -> list[int]:
        rule = FaultRule(name="x", share=0.3)
        return met(faults(rule, chance=random.Random(seed).random), 1000)

    assert run(1) == run(1) != run(2)
    assert 200 < len(run(1)) < 400


def test_several_add_up() -> None:
    made = faults(
        FaultRule(name="slow", delay_s=1.0, jitter_s=2.0, bytes_per_s=10),
        FaultRule(name="later", delay_s=0.5, status=503, bytes_per_s=99),
        FaultRule(name="last", status=500),
        chance=lambda: 0.5,
    )
    found = made.of(get(), "", 0.0)
    assert found == Fault(names=("slow", "later", "last"), delay_s=2.5, status=503, bytes_per_s=10)


class TestQuota:
    def test_it_runs_out_and_comes_back(self) -> None:
        made = faults(FaultRule(name="quota", quota=2, quota_s=60))
        seen = [made.of(get(), "", now) for now in (0.0, 1.0, 10.0, 60.0)]
        assert [None if one is None else one.quota for one in seen] == [
            (2, 1),
            (2, 0),
            (2, 0),
            (2, 1),
        ]
        assert [one and one.status for one in seen] == [None, None, 429, None]
        assert seen[2] is not None
        assert seen[2].retry_after_s == 50
        assert seen[0] is not None
        assert seen[0].names == ()


def test_scopes_are_bounded() -> None:
    made = faults(FaultRule(name="x", status=500))
    for number in range(5000):
        made.of(get(), str(number), 0.0)
    assert len(made._counts) == 4096
