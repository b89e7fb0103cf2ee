"""Runs that are decoded before they are searched, compared with slow and plain patterns."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import scanner_of
from buffr.redaction.screen import compiled
from buffr.redaction.spans import SecretSpan
from buffr.redaction.wrapped import SHOWN_BASE64, base64_runs, find_escaped, find_in_base64

PIECES = (
    *(
        b"%41",
        b"%7e",
        b"%zz",
        b"%",
        b"\\u0041",
        b"\\\\u006A",
        b"\\u",
        b"\\",
        b"a",
        b"/b=",
        b" ",
        b"\n",
    ),
    *(b"'", b"\xff", b"\0", b"u0041", b"Zz-9" * 3),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join)
PLAIN = rb"[A-Za-z0-9._~+/=:-]"
PERCENT = re.compile(rb"%b*(?:%%[0-9A-Fa-f]{2}%b*)+" % (PLAIN, PLAIN))
PRINTABLE = bytes((b"\t\n\r" + bytes(range(0x20, 0x7F)))[byte % 98] for byte in range(256))
ESCAPED = re.compile(rb"%b*(?:\\+u00[0-9A-Fa-f]{2}%b*)+" % (PLAIN, PLAIN))


class TestEscapes:
    @given(TEXTS)
    def test_each_run_is_decoded(self, text: bytes) -> None:
        seen: list[bytes] = []

        def find(plain: bytes) -> Iterable[SecretSpan]:
            seen.append(plain)
            return ()

        assert not list(find_escaped(text, find))
        assert seen == [
            *(unquote_to_bytes(run) for run in PERCENT.findall(text)),
            *(
                re.sub(rb"\\+u00([0-9A-Fa-f]{2})", lambda one: bytes([int(one[1], 16)]), run)
                for run in ESCAPED.findall(text)
            ),
        ]

    @given(
        st.lists(st.sampled_from((b"a", b"b", b"%41", b"%7E")), min_size=3, max_size=9), st.data()
    )
    def test_what_is_found_is_where_it_was(self, units: list[bytes], data: st.DataObject) -> None:
        units.append(b"%20")
        start = data.draw(st.integers(0, len(units) - 1))
        end = data.draw(st.integers(start + 1, len(units)))

        def find(plain: bytes) -> Iterable[SecretSpan]:
            return [SecretSpan(start, end, b"", plain[start:end], "")]

        (found,) = find_escaped(b'"%b"' % b"".join(units), find)
        before = 1 + len(b"".join(units[:start]))
        assert (found.start, found.end) == (before, before + len(b"".join(units[start:end])))
        assert found.counted


class TestBase64:
    @given(
        st.lists(
            st.sampled_from((b"a" * 39, b"B" * 40, b"/+", b"0", b"-_", b"=", b" ", b"\xff")),
            max_size=12,
        ).map(b"".join)
    )
    def test_runs_are_long_and_no_words(self, text: bytes) -> None:
        runs = re.finditer(rb"[A-Za-z0-9+/_-]{40,}={0,2}", text)
        assert base64_runs(text) == [run.span() for run in runs if not run[0].isalpha()]

    @given(
        st.lists(
            st.sampled_from((b" ", b"=", b'"', b"ab", b"Q", b"\xff", b"Zz9/"))
            | st.builds(
                lambda plain, more, code: code(plain + more),
                st.binary(min_size=30, max_size=36).map(lambda data: data.translate(PRINTABLE)),
                st.binary(max_size=1),
                st.sampled_from((b64encode, urlsafe_b64encode)),
            ),
            max_size=5,
        ).map(b"".join)
    )
    def test_what_is_decoded_is_shown(self, text: bytes) -> None:
        def find(plain: bytes) -> Iterable[SecretSpan]:
            return [SecretSpan(0, len(plain), b"", plain, "")]

        if any(find_in_base64(text, base64_runs(text), find)):
            assert compiled(SHOWN_BASE64).search(text)

    def test_beside_it_every_escape_is_decoded(self) -> None:
        """In a long text, even if nothing in it is shown."""
        text = b"bearer%0Aabcdefgh01234567 " + b64encode(bytes(range(60))) + b" " * 20_000
        scanner = scanner_of(RedactionRules())
        assert not scanner.is_clear(text, b"")
        (found,) = scanner.in_body(text, b"")
        assert text[found.start : found.end] == b"abcdefgh01234567"
