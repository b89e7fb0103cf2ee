"""Secrets in another spelling: percent-encoded, escaped as in JSON, in base64."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Callable, Iterable, Iterator

from attrs import evolve

from buffr.redaction.found import Found
from buffr.redaction.pseudonym import STAND_IN

__all__ = ["SCREENED", "find_wrapped"]

SCREENED = (
    r"%[2-7][0-9A-Fa-f]",
    r"\\u00[2-7]",
    # Forty characters, one of them at least no letter: not a word, however long.
    r"[A-Za-z0-9+/_-]{4,}[0-9+/_-][A-Za-z0-9+/_-]{20,}",
)
"""Patterns (RE2) without which a text has nothing to decode."""

_PLAIN = rb"[A-Za-z0-9._~+/=:-]"
_PERCENT = re.compile(rb"%b*(?:%%[0-9A-Fa-f]{2}%b*)+" % (_PLAIN, _PLAIN))
_ESCAPED = re.compile(rb"%b*(?:\\+u00[0-9A-Fa-f]{2}%b*)+" % (_PLAIN, _PLAIN))
_PERCENT_UNIT = re.compile(rb"%([0-9A-Fa-f]{2})|.", re.DOTALL)
_ESCAPED_UNIT = re.compile(rb"\\+u00([0-9A-Fa-f]{2})|.", re.DOTALL)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{40,}={0,2}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_UNPRINTABLE = re.compile(rb"[^\t\n\r -~]")
_LONGEST = 8192
_LOOKED_AT = 24

Find = Callable[[bytes], Iterable[Found]]


def find_wrapped(text: bytes, find: Find) -> Iterator[Found]:
    """What ``find`` finds in stretches of a text once they are decoded, in no order.

    In match keys it counts by its pseudonym.
    """
    if b"%" in text:
        yield from _in_units(text, _PERCENT, _PERCENT_UNIT, find)
    if b"\\u00" in text:
        yield from _in_units(text, _ESCAPED, _ESCAPED_UNIT, find)
    for run in _BASE64.finditer(text):
        yield from _in_base64(run, find)


def _in_units(
    text: bytes, runs: re.Pattern[bytes], units: re.Pattern[bytes], find: Find
) -> Iterator[Found]:
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


def _in_base64(run: re.Match[bytes], find: Find) -> Iterator[Found]:
    raw = run[0]
    if len(raw) > _LONGEST:
        return
    plain = _decoded(raw)
    if plain is None or STAND_IN in plain or _UNPRINTABLE.search(plain[:_LOOKED_AT]):
        return
    for found in find(plain):
        # All of it: what is left of base64 with a hole in it is nothing.
        yield Found(*run.span(), found.name, raw, "base64", counted=True)
        return


def _decoded(raw: bytes) -> bytes | None:
    bare = raw.rstrip(b"=").translate(_URL_SAFE)
    try:
        return b64decode(bare + b"=" * (-len(bare) % 4))
    except (Error, ValueError):
        return None
