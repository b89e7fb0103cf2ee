"""Instants in every spelling: moved, and otherwise as they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.clock.spellings import moved_date, moved_number, moved_value

YEAR_S = 365 * 86400


def a_year_on(instant: int, unit: int) -> int:
    """A year and a bit, that is no whole number of minutes or days."""
    moved = instant + YEAR_S + 61
    return moved - (moved - instant) % unit


MOVED = [
    (b"Sun, 29 Nov 2026 09:33:06 GMT", b"Mon, 29 Nov 2027 09:34:07 GMT"),
    (b"Sun, 29-Nov-2026 09:33:06 GMT", b"Mon, 29-Nov-2027 09:34:07 GMT"),
    (b"Sunday, 29-Nov-26 09:33:06 GMT", b"Monday, 29-Nov-27 09:34:07 GMT"),
    (b"Sun, 1 Nov 2026 09:33:06 +0100", b"Mon, 1 Nov 2027 09:34:07 +0100"),
    (b"Sun Nov  1 09:33:06 2026", b"Mon Nov  1 09:34:07 2027"),
    (b"2026-11-29T09:33:06Z", b"2027-11-29T09:34:07Z"),
    (b"2026-11-29t09:33:06.123456z", b"2027-11-29t09:34:07.123456z"),
    (b"2026-12-31T23:59:06.1+02:00", b"2028-01-01T00:00:07.1+02:00"),
    (b"2026-11-29T09:33:06-0530", b"2027-11-29T09:34:07-0530"),
    (b"2026-11-29T09%3A33%3A06Z", b"2027-11-29T09%3A34%3A07Z"),
    (b"2026-11-29T09:33:06%2B02:00", b"2027-11-29T09:34:07%2B02:00"),
    (b"2026-11-29 09:33:06", b"2027-11-29 09:34:07"),
    (b"2026-11-29 09:33:06 UTC", b"2027-11-29 09:34:07 UTC"),
    (b"2026-11-29T09:33Z", b"2027-11-29T09:34Z"),
    (b"2026-11-29", b"2027-11-29"),
    (b"20261129T093306Z", b"20271129T093407Z"),
    (b"1764410000", b"1795946061"),
    (b"1764410000.250", b"1795946061.250"),
    (b"1764410000123", b"1795946061123"),
    (b"1764410000123456", b"1795946061123456"),
    (b"1764410000123456789", b"1795946061123456789"),
]

NOT_MOVED = [
    b"Thu, 01 Jan 1970 00:00:00 GMT",
    b"9999-12-31T23:59:59Z",
    b"2026-02-30T00:00:00Z",
    b"2026-13-01",
    b"Sun, 29 Nix 2026 09:33:06 GMT",
    b"12345678",
    b"17644100001",
    b"9999999999",
    b"+17644100000",
    b"1e9",
    b"tomorrow",
    b"",
]


class TestMoved:
    @pytest.mark.parametrize(("text", "moved"), MOVED)
    def test_in_its_own_spelling(self, text: bytes, moved: bytes) -> None:
        assert moved_value(text, a_year_on) == moved

    @pytest.mark.parametrize("text", NOT_MOVED)
    def test_what_is_no_instant_or_means_never(self, text: bytes) -> None:
        assert moved_value(text, a_year_on) is None

    @pytest.mark.parametrize(("text", "moved"), MOVED)
    def test_there_and_back(self, text: bytes, moved: bytes) -> None:
        """A table of what was moved leads back, whatever the unit."""
        known: dict[int, int] = {}

        def move(instant: int, unit: int) -> int:
            known[a_year_on(instant, unit)] = instant
            return a_year_on(instant, unit)

        assert moved_value(text, move) == moved
        assert moved_value(moved, lambda instant, _: known.get(instant, instant)) == text

    @given(
        st.datetimes(datetime(1999, 1, 1), datetime(2060, 1, 1)),  # noqa: DTZ001  # zones follow
        st.timedeltas(timedelta(hours=-14), timedelta(hours=14)),
        st.integers(-10_000_000, 10_000_000),
    )
    def test_any_date_and_zone(self, naive: datetime, zone: timedelta, by_s: int) -> None:
        """As the standard library reads and writes them."""
        offset = timezone(timedelta(minutes=round(zone.total_seconds() / 60)))
        when = naive.replace(tzinfo=offset)

        def move(instant: int, _unit: int) -> int:
            return instant + by_s

        moved = moved_date(when.isoformat().encode(), move)
        want = when + timedelta(seconds=by_s)
        assert moved == (None if by_s == 0 else want.isoformat().encode())
        whole = when.astimezone(UTC).replace(microsecond=0)
        moved = moved_date(format_datetime(whole, usegmt=True).encode(), move)
        want = whole + timedelta(seconds=by_s)
        assert moved == (None if by_s == 0 else format_datetime(want, usegmt=True).encode())

    @given(st.binary(max_size=40))
    def test_any_bytes(self, text: bytes) -> None:
        """They move, or they do not."""
        moved_date(text, a_year_on)
        moved_number(text, a_year_on)
