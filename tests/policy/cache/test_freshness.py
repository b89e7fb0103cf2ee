"""Dates, directives, ages and lifetimes (RFC 9110 5.6.7, RFC 9111 4.2)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.message import Headers, ResponseHead
from buffr.policy.cache.directives import directives, http_date, targeted_directives
from buffr.policy.cache.freshness import born_at, lifetime, terms_of
from buffr.policy.cache.rules import CacheRules
from buffr.policy.cache.storing import Stored, storing

NOW = 1_800_000_000.0
DATE = b"Fri, 15 Jan 2027 08:00:00 GMT"


class TestDates:
    @pytest.mark.parametrize(
        "text",
        [
            b"Sun, 06 Nov 1994 08:49:37 GMT",
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            b"Sun Nov  6 08:49:37 1994",
            b"sun, 06 NOV 1994 08:49:37 gmt",
        ],
    )
    def test_three_forms_and_letters_in_any_case(self, text: bytes) -> None:
        assert http_date(text, 2027) == 784111777

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"0",
            b"-1",
            b"Sun, 06 Nov 94 08:49:37 GMT",
            b"Sun, 6 Nov 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 8:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 UTC",
            b"Sun, 06 Nov 1994 08:49:37 +0000",
            b"Sun 06 Nov 1994 08:49:37 GMT",
            b"Sun, 31 Feb 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 24:49:37 GMT",
            b"x" * 1000,
        ],
    )
    def test_anything_else_is_no_date(self, text: bytes) -> None:
        assert http_date(text, 2027) is None

    @pytest.mark.parametrize(("digits", "year"), [("77", 2077), ("78", 1978), ("27", 2027)])
    def test_a_short_year_is_at_most_50_years_ahead(self, digits: str, year: int) -> None:
        text = f"Sunday, 06-Nov-{digits} 08:49:37 GMT".encode()
        expected = datetime(year, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()
        assert http_date(text, 2027) == expected

    @given(seconds=st.integers(0, 4_000_000_000))
    def test_every_second_of_the_preferred_form(self, seconds: int) -> None:
        text = format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)
        assert http_date(text.encode(), 2027) == seconds

    @given(text=st.binary(max_size=60))
    def test_hostile_bytes(self, text: bytes) -> None:
        value = http_date(text, 2027)
        assert value is None or isinstance(value, float)


class TestDirectives:
    def test_quoted_strings_hide_what_is_in_them(self) -> None:
        said = directives(b'ext="a, max-age=1, \\" no-store", Max-Age=60')
        assert said.seconds(b"max-age") == 60
        assert b"no-store" not in said

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            (b"max-age=60", 60),
            (b'max-age="60"', 60),
            (b"max-age=0060", 60),
            (b"max-age=99999999999999999999", 2**31),
            (b"max-age=60, max-age=5", 5),
            (b"max-age=-1", 0),
            (b"max-age=1.5", 0),
            (b"max-age='60'", 0),
            (b"max-age", 0),
            (b"max-age=", 0),
            (b"max-age =60", 0),
            (b"max-age= 60", 0),
            (b"x-max-age=60", None),
        ],
    )
    def test_what_is_no_number_is_stale(self, text: bytes, seconds: int | None) -> None:
        """RFC 9111 4.2.1: in doubt a response is stale."""
        assert directives(text).seconds(b"max-age") == seconds

    @pytest.mark.parametrize(
        ("text", "fields"),
        [
            (b'private="Set-Cookie, X-A"', {b"set-cookie", b"x-a"}),
            (b"private", None),
            (b'private="", private="x"', None),
            (b'private="x", private', None),
        ],
    )
    def test_fields_that_a_directive_is_limited_to(
        self, text: bytes, fields: set[bytes] | None
    ) -> None:
        assert directives(text).fields(b"private") == fields

    @given(text=st.binary(max_size=200))
    def test_hostile_bytes(self, text: bytes) -> None:
        """Whatever stands around it, a plain ``no-store`` at the end of a list is seen."""
        if text.count(b'"') == 0:
            assert b"no-store" in directives(text + b", no-store")
        directives(text)
        targeted_directives(text)

    @pytest.mark.parametrize(
        "text", [b"", b"max-age", b'max-age="60"', b"max-age=60,", b"&&", b"Max-Age=60", b"a=b c"]
    )
    def test_a_malformed_targeted_field_is_none(self, text: bytes) -> None:
        """RFC 9213 2.1."""
        assert targeted_directives(text) is None

    def test_a_targeted_field_hides_the_others(self) -> None:
        headers = ((b"Cache-Control", b"no-store"), (b"CDN-Cache-Control", b"max-age=60;x=1"))
        terms = terms_of(headers)
        assert terms.targeted
        assert b"no-store" not in terms.directives


class TestAge:
    @pytest.mark.parametrize(
        ("headers", "delay", "age"),
        [
            ((), 0, 0),
            (((b"Date", DATE),), 2, 2),
            (((b"Age", b"30"),), 2, 32),
            (((b"Date", b"Fri, 15 Jan 2027 07:59:00 GMT"), (b"Age", b"30")), 0, 60),
            (((b"Date", b"Fri, 15 Jan 2027 09:00:00 GMT"),), 1, 1),
            (((b"Age", b"-5"),), 0, 0),
            (((b"Age", b"5.5"),), 0, 0),
            (((b"Age", b"7, 9"),), 0, 7),
            (((b"Age", b"7"), (b"Age", b"9")), 0, 7),
        ],
    )
    def test_where_it_counts_from(self, headers: Headers, delay: float, age: float) -> None:
        """RFC 9111 4.2.3."""
        assert NOW - born_at(headers, NOW - delay, NOW) == age

    @given(
        skew=st.integers(-100_000, 100_000),
        age=st.integers(0, 2**31),
        delay=st.floats(0, 1000),
    )
    def test_it_is_never_too_young(self, skew: int, age: int, delay: float) -> None:
        """Whatever the upstream's clock says, a response is as old as its way was long."""
        date = format_datetime(datetime.fromtimestamp(NOW + skew, UTC), usegmt=True).encode()
        headers = ((b"Date", date), (b"Age", b"%d" % age))
        found = NOW - born_at(headers, NOW - delay, NOW)
        assert found >= age + delay - 0.001
        assert found >= -skew


def _lifetime(*headers: tuple[bytes, bytes], status: int = 200) -> float | None:
    found = lifetime(status, headers, terms_of(headers), NOW)
    return None if found is None else found.seconds


class TestLifetime:
    def test_the_order_of_what_says_it(self) -> None:
        expires = (b"Expires", b"Fri, 15 Jan 2027 08:00:30 GMT")
        date = (b"Date", DATE)
        control = b"Cache-Control"
        assert _lifetime(date, expires, (control, b"max-age=5, s-maxage=9")) == 9
        assert _lifetime(date, expires, (control, b"max-age=5")) == 5
        assert _lifetime(date, expires) == 30
        assert _lifetime(expires) == 30

    @pytest.mark.parametrize(
        "value", [b"0", b"-1", b"", b"tomorrow", b"Fri, 15 Jan 2027 07:00:00 GMT"]
    )
    def test_a_bad_or_past_expires_is_stale(self, value: bytes) -> None:
        assert _lifetime((b"Date", DATE), (b"Expires", value)) == 0

    def test_two_expires_are_stale(self) -> None:
        one = (b"Expires", b"Fri, 15 Jan 2027 09:00:00 GMT")
        assert _lifetime((b"Date", DATE), one, one) == 0

    def test_a_guess_is_a_tenth_and_at_most_a_day(self) -> None:
        date = (b"Date", DATE)
        assert _lifetime(date, (b"Last-Modified", b"Fri, 15 Jan 2027 07:50:00 GMT")) == 60
        assert _lifetime(date, (b"Last-Modified", b"Fri, 15 Jan 2016 07:50:00 GMT")) == 86400
        assert _lifetime(date, (b"Last-Modified", b"Fri, 15 Jan 2028 07:50:00 GMT")) == 0
        assert _lifetime(date) is None

    def test_a_guess_is_for_statuses_that_allow_it(self) -> None:
        modified = (b"Last-Modified", b"Fri, 15 Jan 2027 07:50:00 GMT")
        assert _lifetime((b"Date", DATE), modified, status=503) is None
        public = (b"Cache-Control", b"public")
        assert _lifetime((b"Date", DATE), modified, public, status=599) == 60


_SAID = st.lists(
    st.sampled_from(
        [
            b"max-age=60",
            b"s-maxage=30",
            b"no-store",
            b"private",
            b"no-cache",
            b"public",
            b"must-revalidate",
            b"must-understand",
            b"immutable",
            b"stale-while-revalidate=5",
            b'x="y, z"',
        ]
    ),
    max_size=5,
).map(b", ".join)


class TestStoring:
    @given(
        said=_SAID,
        status=st.sampled_from([200, 206, 301, 302, 304, 404, 500, 599]),
        ttl_s=st.sampled_from([None, 100.0]),
    )
    def test_what_is_forbidden_stays_so(
        self, said: bytes, status: int, ttl_s: float | None
    ) -> None:
        """No ttl, and no other directive, makes a private or a partial answer storable."""
        head = ResponseHead(status, b"", ((b"Cache-Control", said), (b"ETag", b'"1"')))
        verdict = storing(CacheRules(ttl_s=ttl_s), (), head, NOW)
        words = directives(said)
        if status in (206, 304) or b"private" in words:
            assert not isinstance(verdict, Stored)
        if b"no-store" in words and b"must-understand" not in words:
            assert not isinstance(verdict, Stored)
        if isinstance(verdict, Stored) and b"no-cache" in words:
            assert verdict.fresh_s == 0
