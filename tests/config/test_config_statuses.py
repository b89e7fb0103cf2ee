"""Sets of statuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.config import StatusSet


class TestStatusSet:
    @pytest.mark.parametrize(
        ("entries", "inside", "outside"),
        [
            ((), (100, 200, 599), ()),
            (("200",), (200,), (199, 201, 404)),
            (("2xx",), (200, 299), (199, 300)),
            (("5XX",), (500, 599), (499,)),
            (("9xx", "777"), (900, 999, 777), (899, 778)),
            (("400-499",), (400, 499), (399, 500)),
            (("2xx", "404"), (200, 404), (403,)),
            (("!429",), (200, 428, 599), (429,)),
            (("!429", "!5xx"), (200, 404), (429, 500, 599)),
            (("2xx", "!204"), (200,), (204, 404)),
            (("!204", "2xx"), (200,), (204, 404)),
            (("!400-499", "404"), (), (404, 200)),
        ],
    )
    def test_membership(
        self, entries: tuple[str, ...], inside: tuple[int, ...], outside: tuple[int, ...]
    ) -> None:
        """What is excluded is out; else what is included is in, and all when nothing is."""
        statuses = StatusSet.of(*entries)
        assert all(status in statuses for status in inside)
        assert not any(status in statuses for status in outside)

    @pytest.mark.parametrize(
        "entry", ["", "20", "2000", "0xx", "2x", "!", "!!429", "499-400", "400-", "-400", "2xx-4xx"]
    )
    def test_refused(self, entry: str) -> None:
        """What names no statuses is a ValueError."""
        with pytest.raises(ValueError):
            StatusSet.of(entry)

    @given(st.integers(100, 599), st.integers(100, 599), st.integers(100, 599))
    def test_negation(self, low: int, high: int, status: int) -> None:
        """A range and its negation share no status, and together hold all."""
        low, high = sorted((low, high))
        entry = f"{low}-{high}"
        assert (status in StatusSet.of(entry)) != (status in StatusSet.of(f"!{entry}"))

    def test_nothing_but_statuses(self) -> None:
        """A value that is not a number is in no status set."""
        assert "200" not in StatusSet.of("200")
