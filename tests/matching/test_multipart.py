"""Multipart forms: the content of a part counts, the client's notation does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.matching.body import BodyKind, BodyRules
from buffr.matching.matcher import Matcher, MatchRules
from buffr.message import Request

FORM_DATA = b"multipart/form-data; boundary="
RULES = BodyRules()


def form(*parts: bytes, boundary: bytes = b"XyZ") -> bytes:
    """A form of these parts, each with its fields."""
    lines = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    return lines + b"--%b--\r\n" % boundary


def canonical_parts(body: bytes, boundary: bytes = b"XyZ") -> bytes:
    return RULES.value(BodyKind(FORM_DATA + boundary), body)


FIELD = b'Content-Disposition: form-data; name="a"\r\n\r\n1'
FILE = (
    b'Content-Disposition: form-data; name="f"; filename="x y.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nhello"
)


class TestAlike:
    @pytest.mark.parametrize(
        "other",
        [
            (
                b'Content-Type: text/plain\r\ncontent-disposition: form-data; name="f";'
                b' filename="x y.txt"\r\n\r\nhello'
            ),
            (
                b'Content-Disposition: form-data; filename="x y.txt"; name=f\r\n'
                b"Content-Type:TEXT/plain\r\nContent-Length: 5\r\n\r\nhello"
            ),
            (
                b"Content-Disposition: form-data; name=\"f\"; filename*=utf-8''x%20y.txt\r\n"
                b"Content-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\nhello"
            ),
        ],
    )
    def test_how_a_part_is_written(self, other: bytes) -> None:
        """Order, case and quoting of its fields, and fields that say nothing more."""
        assert canonical_parts(form(FIELD, other)) == canonical_parts(form(FIELD, FILE))

    def test_escaped_quotes(self) -> None:
        """Browsers write ``%22``, others a backslash."""
        by_browser = b'Content-Disposition: form-data; name="a%22b"\r\n\r\n1'
        by_other = b'Content-Disposition: form-data; name="a\\"b"\r\n\r\n1'
        assert canonical_parts(form(by_browser)) == canonical_parts(form(by_other))


class TestDifferent:
    @pytest.mark.parametrize(
        "other",
        [
            FILE.replace(b"hello", b"hello\r\n"),
            FILE.replace(b'"f"', b'"g"'),
            FILE.replace(b"x y", b"x z"),
            FILE.replace(b'; filename="x y.txt"', b""),
            FILE.replace(b"text/plain", b"text/html"),
        ],
    )
    def test_the_content_of_a_part_counts(self, other: bytes) -> None:
        """Name, file name, media type, content."""
        assert canonical_parts(form(other)) != canonical_parts(form(FILE))

    def test_order_and_number(self) -> None:
        forms = [form(FIELD, FILE), form(FILE, FIELD), form(FILE), form(FIELD, FIELD, FILE)]
        assert len({canonical_parts(each) for each in forms}) == 4

    @given(
        st.lists(
            st.tuples(st.sampled_from(["a", "b;c", 'd"', "é"]), st.binary(max_size=6)), max_size=3
        ),
        st.lists(
            st.tuples(st.sampled_from(["a", "b;c", 'd"', "é"]), st.binary(max_size=6)), max_size=3
        ),
    )
    def test_forms_are_alike_only_when_equal(
        self, one: list[tuple[str, bytes]], other: list[tuple[str, bytes]]
    ) -> None:
        def made(parts: list[tuple[str, bytes]], boundary: bytes) -> bytes:
            head = b'Content-Disposition: form-data; name="%b"\r\n\r\n%b'
            texts = [head % (name.replace('"', "%22").encode(), content) for name, content in parts]
            return canonical_parts(form(*texts, boundary=boundary), boundary)

        assert (made(one, b"one") == made(other, b"other")) is (one == other)


class TestFields:
    def test_parts_that_rules_leave_out(self) -> None:
        """A credential's part has one content, a field that does not count is gone; files stay."""
        secret = FIELD.replace(b'"a"', b'"client_secret"')
        left_out = FIELD.replace(b'"a"', b'"b"')
        matcher = Matcher(MatchRules(form=("b", "f")), with_origin=False)
        request = Request(b"POST", b"/", ((b"Content-Type", FORM_DATA + b"XyZ"),))

        def key(*parts: bytes) -> bytes:
            return matcher.live(request, form(*parts)).keys[0].digest

        assert key(secret, left_out, FILE) == key(secret.replace(b"\r\n1", b"\r\n2"), FILE)
        assert key(secret, FILE) != key(secret)


class TestNoForm:
    @pytest.mark.parametrize(
        "body",
        [b"", b"x", b"--XyZ\r\n", b"x--XyZ--", form(b"no fields"), form(b"a: b\r\n\r\nc")],
    )
    def test_nothing_is_guessed(self, body: bytes) -> None:
        """Such a body is compared by its bytes, but for the boundary."""
        assert (
            canonical_parts(body) == body.replace(b"--XyZ", b"--<boundary>") or body == b"x--XyZ--"
        )

    @given(st.binary(max_size=60))
    def test_hostile(self, body: bytes) -> None:
        canonical_parts(form(body))
        canonical_parts(body)
