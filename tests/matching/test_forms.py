"""Fields of forms and queries, by their decoded names, in their order."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.matching.forms import canonical_form, form_in_slices, without_fields
from buffr.matching.pieces import go_on

FIELDS = st.lists(st.tuples(st.text(min_size=1, max_size=4), st.text(max_size=4)), max_size=4)


def as_is(_name: bytes, value: bytes) -> bytes:
    return value


class TestCanonicalForm:
    @pytest.mark.parametrize(
        ("form", "spelling"),
        [
            (b"a=b+c&d=%7E", b"a=b%20c&d=~"),
            (b"b=1&a=2&b=3", b"b=1&a=2&b=3"),
            (b"a&b=&&c", b"a&b=&&c"),
            (b"a%3db=%26", b"a%3Db=%26"),
            ("ü=ü".encode(), b"%C3%BC=%C3%BC"),
            (b"a=%zz", b"a=%25zz"),
        ],
    )
    def test_spelling(self, form: bytes, spelling: bytes) -> None:
        """One spelling for each byte; order, duplicates, flags and empty fields stay."""
        assert canonical_form(form, as_is) == spelling

    @given(FIELDS)
    def test_keeps_its_meaning(self, fields: list[tuple[str, str]]) -> None:
        """A server reads from it what was sent."""
        form = canonical_form(urlencode(fields).encode(), as_is)
        assert parse_qsl(form.decode(), keep_blank_values=True) == fields
        assert canonical_form(form, as_is) == form

    def test_replace(self) -> None:
        """Values change and fields are removed by their decoded names."""
        form = canonical_form(b"a=1&%62=2&c=3", {b"a": None, b"b": b"x"}.get)
        assert form == b"b=x&c=3"


class TestWithoutFields:
    @pytest.mark.parametrize(
        ("form", "rest"),
        [
            (b"ts=1&a=%7e&t%73=2&ts&TS=3", b"a=%7e&TS=3"),
            (b"a=1&&b", b"a=1&&b"),
            (b"ts=1", b""),
        ],
    )
    def test_names(self, form: bytes, rest: bytes) -> None:
        """Fields with these decoded names go; the bytes of the others stay."""
        assert without_fields(form, frozenset((b"ts",))) == rest


class TestInSlices:
    @given(
        st.one_of(
            st.text("ab=&%+2fFé", max_size=60).map(str.encode),
            FIELDS.map(lambda fields: urlencode(fields).encode()),
            st.binary(max_size=30),
        ),
        st.integers(3, 20),
    )
    def test_a_long_form_has_the_same_spelling(self, form: bytes, window: int) -> None:
        """Wherever its slices end."""
        pieces = form_in_slices(form, as_is, go_on, window)
        assert b"".join(pieces) == canonical_form(form, as_is)

    def test_replace(self) -> None:
        replaced = {b"a": None, b"b": b"x"}.get
        form = b"a=%b&%%62=%b&c=3" % (b"1" * 50, b"2" * 50)

        def replace(name: bytes, value: bytes) -> bytes | None:
            return replaced(name, value)

        assert b"".join(form_in_slices(form, replace, go_on, 8)) == b"b=x&c=3"
