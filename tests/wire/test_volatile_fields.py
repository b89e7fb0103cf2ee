"""Requests without the values of their volatile fields: what is left says all about the rest."""

from __future__ import annotations

import pytest
from decoding import damaged
from hypothesis import assume, given
from hypothesis import strategies as st
from request_heads import ACCEPTED

from buffr.errors import BadRequest
from buffr.wire.http1_head import HeadLimits, parse_request_head
from buffr.wire.volatile_fields import VolatileFields, names_in

LIMITS = HeadLimits()
NAMES = (b"traceparent", b"X-Request-Id")
FIELDS = b"traceparent: 00-1-2-01\r\nA: b\r\nX-Request-Id: 7\r\n\r\n"


def volatile() -> VolatileFields:
    made = VolatileFields(lambda name: name in NAMES)
    made.meet(tuple((name, b"") for name in (*NAMES, b"A", b"Host")))
    return made


def outcome(raw: bytes) -> tuple[object, ...]:
    """All that a head says but for the fields in question; empty if it is refused."""
    try:
        request = parse_request_head(raw, LIMITS)
    except BadRequest:
        return ()
    others = [field for field in request.headers if field[0] not in NAMES]
    return (
        *(request.method, request.target, request.minor, request.body_length),
        *(request.keep_alive, request.expects_continue, request.upgrade, others),
    )


TRACED = [raw[:-2] + FIELDS for raw in ACCEPTED.values() if len(raw) < 2000]


class TestHeads:
    @given(st.sampled_from(TRACED), st.data())
    def test_what_is_left_decides(self, raw: bytes, data: st.DataObject) -> None:
        """If one is accepted, all with the same rest are that have no longer values."""
        known, other = volatile().cut(raw), volatile().cut(data.draw(damaged([raw])))
        assert known is not None
        assume(other is not None)
        if other is not None and other[0] == known[0]:
            assert outcome(raw)
            assert outcome(b"".join(_joined(*other))) == outcome(raw)

    @given(st.sampled_from(TRACED), st.binary(min_size=1, max_size=12))
    def test_any_value(self, raw: bytes, value: bytes) -> None:
        other = raw.replace(b"00-1-2-01", value)
        known, cut = volatile().cut(raw), volatile().cut(other)
        assert known is not None
        assert cut is not None, "the other field is still there"
        if cut[0] == known[0]:
            assert outcome(other) == outcome(raw)
            request = parse_request_head(raw, LIMITS).with_values([b"traceparent"], [value])
            assert parse_request_head(other, LIMITS).headers == request.headers

    def test_the_rest_and_the_values_are_the_request(self) -> None:
        for raw in TRACED:
            cut = volatile().cut(raw + b"body")
            assert cut is not None
            assert b"".join(_joined(*cut)) == raw + b"body"
            assert names_in(cut[0]) == (b"traceparent", b"x-request-id")
            assert cut[1] == (b"00-1-2-01", b"7")

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"\r\n",
            b"GET / HTTP/1.1\r\ntraceparent: 1\r\n",
            b"GET / HTTP/1.1\r\ntraceparent: 1 2\r\n\r\n",
            b"GET / HTTP/1.1\r\ntraceparent:1\r\n\r\n",
            b"GET / HTTP/1.1\r\nTraceparent: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: traceparent: 1\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n\r\ntraceparent: 1\r\n\r\n",
        ],
    )
    def test_no_others_are_looked_for(self, raw: bytes) -> None:
        assert volatile().cut(raw) is None

    def test_names_that_were_not_met(self) -> None:
        made = VolatileFields(lambda _: True)
        assert made.cut(TRACED[0]) is None
        made.meet(tuple((b"x-%d" % number, b"") for number in range(32)))
        made.meet(((b"traceparent", b""),))
        assert made.cut(TRACED[0]) is None, "the bound on names"


class TestFields:
    """The same in HTTP/2."""

    HEAD = ((b":method", b"GET"), (b":path", b"/"))

    def test_values_are_cut_out(self) -> None:
        cut = volatile().cut_fields((*self.HEAD, (b"traceparent", b"1"), (b"a", b"2")))
        assert cut == ((*self.HEAD, b"traceparent", (b"a", b"2")), (b"1",))
        assert names_in(cut[0]) == (b"traceparent",)

    @pytest.mark.parametrize("value", [b"", b" ", b"a b", b"a\n", b"\x80", b"\0"])
    def test_but_no_unusual_ones(self, value: bytes) -> None:
        assert volatile().cut_fields((*self.HEAD, (b"traceparent", value))) is None


def _joined(rest: tuple[object, ...], values: tuple[bytes, ...]) -> list[bytes]:
    parts = [part for part in rest if isinstance(part, bytes)]
    made = parts[:1]
    for at, value in enumerate(values):
        made += [b"\r\n", parts[2 * at + 1], b": ", value, parts[2 * at + 2]]
    return made
