from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.message import ResponseHead
from buffr.policy.rate_limits import silence_asked

NOW = 1_700_000_000.0


def asked(status: int, **fields: str) -> float | None:
    headers = tuple(
        (name.replace("_", "-").encode("ascii"), value.encode("ascii"))
        for name, value in fields.items()
    )
    return silence_asked(ResponseHead(status, b"", headers), NOW)


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503])
    def test_seconds(self, status: int) -> None:
        assert asked(status, Retry_After="12") == 12.0

    def test_a_date_counts_from_the_upstreams_own(self) -> None:
        """Its clock may be wrong."""
        later = "Tue, 01 Jan 2030 00:00:30 GMT"
        assert asked(429, Retry_After=later, Date="Tue, 01 Jan 2030 00:00:00 GMT") == 30.0

    def test_a_date_without_another_counts_from_now(self) -> None:
        assert asked(429, Retry_After="Tue, 14 Nov 2023 22:14:20 GMT") == 60.0

    @pytest.mark.parametrize("value", ["", "soon", "-5", "1e3", "Tue, 99 Foo 2030 00:00:00 GMT"])
    def test_what_is_neither_counts_for_nothing(self, value: str) -> None:
        assert asked(429, Retry_After=value) is None

    @pytest.mark.parametrize("status", [200, 202, 301, 413])
    def test_with_other_statuses_it_is_about_something_else(self, status: int) -> None:
        assert asked(status, Retry_After="12") is None

    @given(st.integers(100, 599), st.binary(max_size=60), st.binary(max_size=60))
    def test_any_bytes_are_a_time_or_nothing(self, status: int, one: bytes, other: bytes) -> None:
        for name in (b"Retry-After", b"RateLimit", b"X-RateLimit-Reset"):
            fields = ((name, one), (b"Date", other), (b"X-RateLimit-Remaining", b"0"))
            found = silence_asked(ResponseHead(status, b"", fields), NOW)
            assert found is None or found >= 0


class TestRateLimit:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ('"default";r=0;t=30', 30.0),
            ('"a";r=5;t=60, "b";r=0;t=7', 7.0),
            ('"a";r=0;t=60, "b";r=0;t=7', 60.0),
            ("limit=100, remaining=0, reset=9", 9.0),
            ('"default";r=3;t=30', None),
            ("limit=100, remaining=10, reset=9", None),
            ('"default";r=0', None),
            ("nonsense", None),
        ],
    )
    def test_of_any_draft(self, value: str, seconds: float | None) -> None:
        assert asked(200, RateLimit=value) == seconds

    @pytest.mark.parametrize("prefix", ["RateLimit", "X_RateLimit", "X_Rate_Limit"])
    @pytest.mark.parametrize(
        ("reset", "seconds"), [("8", 8.0), ("1700000020", 20.0), ("1700000020000", 20.0)]
    )
    def test_single_fields(self, prefix: str, reset: str, seconds: float) -> None:
        """A reset is seconds from now, or a moment."""
        fields = {f"{prefix}_Reset": reset}
        assert asked(200, **fields, **{f"{prefix}_Remaining": "0"}) == seconds
        assert asked(200, **fields, **{f"{prefix}_Remaining": "1"}) is None
        assert asked(200, **fields) is None
        assert asked(429, **fields) == seconds
