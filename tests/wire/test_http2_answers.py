"""Heads of answers in HTTP/2: which statuses are none."""

from __future__ import annotations

import pytest

from buffr.errors import BadUpstreamAnswer
from buffr.message import ResponseHead
from buffr.wire.http1_head import HeadLimits
from buffr.wire.http2.answers import answer_of


def answered(status: bytes) -> ResponseHead:
    return answer_of(
        ((b":status", status),), ended=True, limits=HeadLimits(1000, 20), method=b"GET"
    )


@pytest.mark.parametrize("status", [b"", b"0", b"000", b"099", b"20", b"2000", b"+20", b"20x"])
def test_what_is_no_status(status: bytes) -> None:
    with pytest.raises(BadUpstreamAnswer):
        answered(status)


def test_http2_has_no_switch_of_protocols() -> None:
    with pytest.raises(BadUpstreamAnswer):
        answered(b"101")
    assert answered(b"103").status == 103
    assert answered(b"599").status == 599
