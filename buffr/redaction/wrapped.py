"""Secrets in another spelling: percent-encoded, escaped as in JSON, in base64."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from collections.abc import Callable, Iterable, Iterator

from attrs import evolve

from buffr.redaction.pseudonym import STAND_IN
from buffr.redaction.screen import compiled
from buffr.redaction.spans import SecretSpan

__all__ = [
    "SHOWN_BASE64",
    "SHOWN_ESCAPES",
    "base64_runs",
    "find_escaped",
    "find_in_base64",
    "has_escapes",
]

SHOWN_ESCAPES = (r"%[2-7][0-9A-Fa-f]", r"\\u00[2-7]")
"""Patterns (RE2) of escapes for printable ASCII."""

_PLAIN = r"[A-Za-z0-9._~+/=:-]"
_PERCENT = f"{_PLAIN}*(?:%[0-9A-Fa-f]{{2}}{_PLAIN}*)+"
_ESCAPED = rf"{_PLAIN}*(?:\\+u00[0-9A-Fa-f]{{2}}{_PLAIN}*)+"
_PERCENT_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_JSON_ESCAPE = re.compile(rb"\\+u00([0-9A-Fa-f]{2})")
_DIGITS = "0123456789abcdefABCDEF"
_BYTES = {(a + b).encode(): bytes.fromhex(a + b) for a in _DIGITS for b in _DIGITS}
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_UNPRINTABLE = re.compile(rb"[^\t\n\r -~]")
_PRINTABLE = _UNPRINTABLE.sub(b"", bytes(range(256)))
_LONGEST = 8192
_RUNS = bytes(
    ord("a") if re.match(rb"[A-Za-z0-9+/_-]", bytes((byte,))) else 0 for byte in range(256)
)
"""Base64's characters are one in it: to translate and to find takes half of what RE2 does."""
_LONG_RUN = b"a" * 40
_LOOKED_AT = 32


def _quad() -> str:
    """A pattern for four characters of base64 that are three printable ones."""
    alphabet = (*"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", r"+\-", "/_")
    sextets = (
        {one >> 2 for one in _PRINTABLE},
        {(one << 4 | two >> 4) & 63 for one in _PRINTABLE for two in _PRINTABLE},
        {(two << 2 | three >> 6) & 63 for two in _PRINTABLE for three in _PRINTABLE},
        {three & 63 for three in _PRINTABLE},
    )
    return "".join(f"[{''.join(alphabet[each] for each in sorted(some))}]" for some in sextets)


SHOWN_BASE64 = rf"(?:\A|[^A-Za-z0-9+/_-])(?:{_quad()}){{{_LOOKED_AT // 4}}}"
"""A pattern (RE2): a text that does not match has no base64 that is decoded.

To count to the shortest run wherever one begins would take an automaton too
many states. Most words cannot begin a run whose beginning is printable, which
shows in their first characters.
"""

Find = Callable[[bytes], Iterable[SecretSpan]]


def base64_runs(text: bytes) -> list[tuple[int, int]]:
    """Where a text may contain base64: long runs of its characters that are not words."""
    found: list[tuple[int, int]] = []
    runs = text.translate(_RUNS)
    start = runs.find(_LONG_RUN)
    while start >= 0:
        after = runs.find(0, start)
        end = after = len(text) if after < 0 else after
        while end < after + 2 and text.startswith(b"=", end):
            end += 1
        if not text[start:end].isalpha():
            found.append((start, end))
        start = runs.find(_LONG_RUN, after)
    return found


def find_in_base64(
    text: bytes, runs: Iterable[tuple[int, int]], find: Find
) -> Iterator[SecretSpan]:
    """What ``find`` finds in these runs after decoding; match keys include its pseudonym."""
    for start, end in runs:
        yield from _in_base64(text, start, end, find)


def has_escapes(text: bytes) -> bool:
    """Whether ``find_escaped`` may have something to decode."""
    return b"%" in text or (b"\\" in text and b"\\u00" in text)


def find_escaped(text: bytes, find: Find) -> Iterator[SecretSpan]:
    """The same for what is percent-encoded, or escaped as in JSON."""
    if b"%" in text:
        yield from _in_units(text, _PERCENT, _PERCENT_ESCAPE, find)
    if b"\\u00" in text:
        yield from _in_units(text, _ESCAPED, _JSON_ESCAPE, find)


def _in_units(
    text: bytes, runs: str, escape: re.Pattern[bytes], find: Find
) -> Iterator[SecretSpan]:
    for run in compiled(runs).finditer(text):
        if run.end() - run.start() > _LONGEST:
            continue
        coded = run[0]
        every = list(find(escape.sub(_unescaped, coded)))
        starts = _starts(coded, escape) if every else []
        for found in every:
            start, end = run.start() + starts[found.start], run.start() + starts[found.end]
            yield evolve(found, start=start, end=end, counted=True)


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return _BYTES[escape[1]]


def _starts(coded: bytes, escape: re.Pattern[bytes]) -> list[int]:
    """Where each byte is that was decoded, and the end."""
    starts: list[int] = []
    at = 0
    for one in escape.finditer(coded):
        starts += (*range(at, one.start()), one.start())
        at = one.end()
    return [*starts, *range(at, len(coded) + 1)]


def _in_base64(text: bytes, start: int, end: int, find: Find) -> Iterator[SecretSpan]:
    if end - start > _LONGEST:
        return
    raw = text[start:end]
    if _UNPRINTABLE.search(_decoded(raw[:_LOOKED_AT]) or b""):  # like nearly all
        return
    plain = _decoded(raw)
    if plain is None or STAND_IN in plain:
        return
    for found in find(plain):
        # All of it: the rest of damaged base64 is useless.
        yield SecretSpan(start, end, found.name, raw, "base64", counted=True)
        return


def _decoded(raw: bytes) -> bytes | None:
    bare = raw.rstrip(b"=").translate(_URL_SAFE)
    try:
        return a2b_base64(bare + b"=" * (-len(bare) % 4))
    except (Error, ValueError):
        return None
