"""Secrets in another spelling: percent-encoded, escaped as in JSON, in base64."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Callable, Iterable, Iterator

from attrs import evolve

from buffr.redaction.pseudonym import STAND_IN
from buffr.redaction.spans import SecretSpan

__all__ = ["SCREENED", "find_in_base64", "find_wrapped", "shows_base64"]

SCREENED = (r"%[2-7][0-9A-Fa-f]", r"\\u00[2-7]")
"""Patterns (RE2): a text that matches none has no escapes to decode.

Base64 is searched for separately: an automaton that also counts its characters
would have too many states.
"""

_PLAIN = rb"[A-Za-z0-9._~+/=:-]"
# Starts where plain characters start, or at an escape, without backtracking: a long text of plain
# characters is read once.
_RUN = rb"(?:(?<!%b)%b++)?+(?:%%b%b*+)++" % (_PLAIN, _PLAIN, _PLAIN)
_PERCENT = re.compile(_RUN % rb"%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile(_RUN % rb"(?<!\\)\\++u00[0-9A-Fa-f]{2}")
_PERCENT_UNIT = re.compile(rb"%([0-9A-Fa-f]{2})|.", re.DOTALL)
_ESCAPED_UNIT = re.compile(rb"\\+u00([0-9A-Fa-f]{2})|.", re.DOTALL)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{40,}={0,2}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_UNPRINTABLE = re.compile(rb"[^\t\n\r -~]")
_LONGEST = 8192
_RUNS = bytes(ord("a") if _BASE64.match(bytes((byte,)) * 40) else 0 for byte in range(256))
"""Base64's characters are one in it: to translate and to find takes half of what RE2 does."""
_LONG_RUN = b"a" * 40
_LOOKED_AT = 24

Find = Callable[[bytes], Iterable[SecretSpan]]


def shows_base64(text: bytes) -> bool:
    """Whether a text may contain base64: a long run of its characters that is not a word."""
    first = text.translate(_RUNS).find(_LONG_RUN)
    return first >= 0 and any(not run[0].isalpha() for run in _BASE64.finditer(text, first))


def find_wrapped(text: bytes, find: Find) -> Iterator[SecretSpan]:
    """What ``find`` finds in stretches of a text after decoding, in no particular order.

    Match keys include its pseudonym.
    """
    if b"%" in text:
        yield from _in_units(text, _PERCENT, _PERCENT_UNIT, find)
    if b"\\u00" in text:
        yield from _in_units(text, _ESCAPED, _ESCAPED_UNIT, find)
    yield from find_in_base64(text, find)


def find_in_base64(text: bytes, find: Find) -> Iterator[SecretSpan]:
    """The same for base64 only."""
    for run in _BASE64.finditer(text):
        if not run[0].isalpha():
            yield from _in_base64(run, find)


def _in_units(
    text: bytes, runs: re.Pattern[bytes], units: re.Pattern[bytes], find: Find
) -> Iterator[SecretSpan]:
    for run in runs.finditer(text):
        if run.end() - run.start() > _LONGEST:
            continue
        starts: list[int] = []
        plain = bytearray()
        for unit in units.finditer(run[0]):
            starts.append(run.start() + unit.start())
            plain += unit[0] if unit[1] is None else bytes.fromhex(unit[1].decode())
        starts.append(run.end())
        for found in find(bytes(plain)):
            start, end = starts[found.start], starts[found.end]
            yield evolve(found, start=start, end=end, counted=True)


def _in_base64(run: re.Match[bytes], find: Find) -> Iterator[SecretSpan]:
    raw = run[0]
    if len(raw) > _LONGEST:
        return
    plain = _decoded(raw)
    if plain is None or STAND_IN in plain or _UNPRINTABLE.search(plain[:_LOOKED_AT]):
        return
    for found in find(plain):
        # All of it: the rest of damaged base64 is useless.
        yield SecretSpan(*run.span(), found.name, raw, "base64", counted=True)
        return


def _decoded(raw: bytes) -> bytes | None:
    bare = raw.rstrip(b"=").translate(_URL_SAFE)
    try:
        return b64decode(bare + b"=" * (-len(bare) % 4))
    except (Error, ValueError):
        return None
