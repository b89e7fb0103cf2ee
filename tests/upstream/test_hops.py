"""By which buffrs a request came, and what is known again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import LoopDetected
from buffr.listeners.request_target import scoped
from buffr.message import Request
from buffr.upstream.hops import Hops

HERE, THERE = Hops(b"h" * 32), Hops(b"t" * 32)
ASKED = (b"GET", b"http://api.test/x")


class TestARequestThatComesBack:
    def test_is_known(self) -> None:
        """Behind any number of others, and before them."""
        _, hops = HERE.field(b"", *ASKED)
        for _ in range(5):
            _, hops = THERE.field(hops, b"GET", b"http://other.test/x")
        with pytest.raises(LoopDetected) as caught:
            HERE.check(hops, *ASKED)
        assert (caught.value.status, caught.value.reason) == (508, b"Loop Detected")

    @pytest.mark.parametrize(
        "other",
        [
            (b"POST", b"http://api.test/x"),
            (b"GET", b"http://api.test/y"),
            (b"GET", b"http://other.test/x"),
            (b"CONNECT", b"api.test:80"),
        ],
    )
    def test_is_none_when_it_asks_for_something_else(self, other: tuple[bytes, bytes]) -> None:
        """A program may be behind one port of a buffr, and before another."""
        _, hops = HERE.field(b"", *other)
        HERE.check(hops, *ASKED)

    def test_is_another_buffrs_business(self) -> None:
        _, hops = HERE.field(b"", *ASKED)
        THERE.check(hops, *ASKED)

    def test_is_known_by_the_number_of_its_hops(self) -> None:
        hops = b""
        for number in range(20):
            HERE.check(hops, *ASKED)
            _, hops = HERE.field(hops, b"GET", b"http://api.test" + b"/base" * number)
        with pytest.raises(LoopDetected):
            HERE.check(hops, *ASKED)


class TestTheField:
    def test_is_taken_off(self) -> None:
        """All of its lines are one list, in order, beside the scope."""
        fields = (
            (b"A", b"1"),
            (b"x-buffr-VIA", b"0123456789abcdef"),
            (b"X-Buffr-Scope", b"s"),
            (b"X-Buffr-Via", b"fedcba9876543210, 00000000000000ff"),
        )
        request, scope = scoped(Request(b"GET", b"/", fields))
        assert scope == "s"
        assert request.headers == ((b"A", b"1"),)
        assert request.hops == b"0123456789abcdef, fedcba9876543210, 00000000000000ff"

    @pytest.mark.parametrize(
        "value",
        [b"", b"x", b"0123456789ABCDEF", b"0123456789abcde", b"0123456789abcdef0", b'a;b="c"'],
    )
    def test_may_hold_anything(self, value: bytes) -> None:
        """What no buffr wrote is dropped."""
        request, _ = scoped(Request(b"GET", b"/", ((b"X-Buffr-Via", value),)))
        assert (request.headers, request.hops) == ((), b"")

    @given(st.lists(st.binary(max_size=40), max_size=4))
    def test_never_fails(self, values: list[bytes]) -> None:
        fields = tuple((b"X-Buffr-Via", value) for value in values)
        request, _ = scoped(Request(b"GET", b"/", fields))
        assert request.headers == ()
        for hop in filter(None, request.hops.split(b", ")):
            assert len(hop) == 16

    def test_of_one_head_is_one_request(self) -> None:
        request = Request(b"GET", b"/", ((b"X-Buffr-Via", b"0123456789abcdef"),))
        assert scoped(request)[0] is scoped(request)[0]
