"""Parts of multipart bodies: their delimiters, their fields, and the positions of contents."""

from __future__ import annotations

import email.policy
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.formats.multipart import (
    Disposition,
    disposition_of,
    field_end,
    field_heads,
    fields_in,
    multipart,
    parameters,
)


def contents(body: bytes, boundary: bytes) -> list[bytes] | None:
    found = multipart(body, boundary)
    return None if found is None else [body[part.start : part.end] for part in found.parts]


class TestParts:
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"--b\r\n\r\none\r\n--b--", [b"one"]),
            (b"--b\r\n\r\none\r\n--b--\r\n", [b"one"]),
            (b"--b\n\none\n--b\nA: b\n\ntwo\n--b--\n", [b"one", b"two"]),
            (b"--b  \r\nA: b\r\n\r\none\r\n\r\n--b-- \r\n", [b"one\r\n"]),
            (b"--b\r\n\r\n\r\n--b--", [b""]),
            (b"--b\r\n\r\n--b--", [b""]),
            (b"--b\r\nA: b\r\n--b--", [b""]),
            (b"--b\r\n\r\none\r\n--bc\r\n--b--", [b"one\r\n--bc"]),
            (b"--b\r\n\r\nx--b--\r\n--b--", [b"x--b--"]),
            (b"before\r\n--b\r\n\r\none\r\n--b--\r\nafter", [b"one"]),
            (b"--b--", []),
            (b"x--b--", None),
            (b"x--b\r\n--b\r\n\r\none\r\n--b--", [b"one"]),
            (b"--b\r\n\r\none\n--b\r\n\r\n--b--", [b"one\n--b\r\n"]),
            (b"--b\n\none\r\n--b--", [b"one\r"]),
            (b"", None),
            (b"--b\r\n\r\nnever ends", None),
            (b"--b\r\nno field\r\n\r\none\r\n--b--", None),
            (b"--b\r\n bad: name\r\n\r\none\r\n--b--", None),
        ],
    )
    def test_examples(self, body: bytes, expected: list[bytes] | None) -> None:
        assert contents(body, b"b") == expected

    def test_text_around_the_parts(self) -> None:
        body = b"before\r\n--b\r\n\r\none\r\n--b--\r\nafter"
        found = multipart(body, b"b")
        assert found is not None
        assert body[slice(*found.preamble)] == b"before"
        assert body[slice(*found.epilogue)] == b"after"

    def test_within_a_text(self) -> None:
        body = b"x--b\r\n\r\none\r\n--b--y"
        found = multipart(body, b"b", 1, len(body) - 1)
        assert found is not None
        assert [body[part.start : part.end] for part in found.parts] == [b"one"]

    @given(
        st.lists(st.binary(max_size=40), max_size=5),
        st.sampled_from([b"\r\n", b"\n"]),
    )
    def test_contents_come_back(self, wanted: list[bytes], line: bytes) -> None:
        """Whatever bytes they are, as long as no line of them is a delimiter."""
        boundary = b"a-boundary-that-is-in-no-content"
        parts = [b"--" + boundary + line + b"A: b" + line * 2 + each + line for each in wanted]
        assert contents(b"".join(parts) + b"--" + boundary + b"--", boundary) == wanted

    def test_large_contents_are_searched_in_steps(self) -> None:
        """A delimiter may be anywhere, and other work gets a turn."""
        turns = 0

        def pause() -> None:
            nonlocal turns
            turns += 1

        for size in range(256 * 1024 - 12, 256 * 1024 + 4):
            body = b"--bound\r\n\r\n" + b"x" * size + b"\r\n--bound--\r\n"
            found = multipart(body, b"bound", pause=pause)
            assert found is not None
            assert [part.end - part.start for part in found.parts] == [size]
        assert turns

    @given(st.binary(max_size=60), st.sampled_from([b"b", b"-", b"b-b"]))
    def test_hostile(self, body: bytes, boundary: bytes) -> None:
        multipart(b"--" + boundary + body, boundary)

    def test_as_the_email_package_writes_them(self) -> None:
        """As Google's client does: bare line feeds, folded fields."""
        root = MIMEMultipart("mixed")
        root.attach(MIMEText("text", "plain"))
        root.attach(MIMEApplication(b"\x00\x01", Name="n" * 100))
        written = root.as_bytes(policy=email.policy.compat32)
        head, _, body = written.partition(b"\n\n")
        boundary = dict(parameters(head.replace(b"\n", b"")))[b"boundary"].strip(b'"')
        found = multipart(body, boundary)
        assert found is not None
        kinds = [part.value(b"content-type") for part in found.parts]
        assert kinds[0] == b'text/plain; charset="us-ascii"'
        assert kinds[1] is not None
        assert kinds[1].endswith(b'"%b"' % (b"n" * 100))


class TestFields:
    @pytest.mark.parametrize(
        ("head", "fields"),
        [
            (b"", ()),
            (b"A: b", ((b"A", b"b"),)),
            (b"A:b\r\nC:  d ", ((b"A", b"b"), (b"C", b"d"))),
            (b"A: b\n c", ((b"A", b"b c"),)),
            (b"A b", None),
            (b": b", None),
            (b"A : b", None),
        ],
    )
    def test_examples(self, head: bytes, fields: object) -> None:
        assert fields_in(head) == fields


class TestDisposition:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b'form-data; name="a"', Disposition(b"a", None)),
            (b"Form-Data;filename=x;NAME = a", Disposition(b"a", b"x")),
            (b'form-data; name="a%22b"; filename=""', Disposition(b'a"b', b"")),
            (b"form-data; name=a; filename*=utf-8''x%20y", Disposition(b"a", b"x y")),
            (b'form-data; filename="; name=no"; name=yes', Disposition(b"yes", b"; name=no")),
            (b"form-data", None),
            (b"attachment; name=a", None),
        ],
    )
    def test_examples(self, value: bytes, expected: Disposition | None) -> None:
        assert disposition_of(value) == expected


class TestFieldHeads:
    def test_in_a_text_without_its_boundary(self) -> None:
        """A stretch that was cut out of a body."""
        text = (
            b'tail\r\n--b\r\nContent-Disposition: form-data; name="a"\r\nX: y\r\n\r\none\r\n--b\r\n'
            b'Content-Disposition: form-data; name="f"; filename=x\n\ntwo'
        )
        found = [
            (head.disposition, text[head.start : field_end(text, head.start)])
            for head in field_heads(text)
        ]
        assert found == [(Disposition(b"a", None), b"one"), (Disposition(b"f", b"x"), b"two")]
