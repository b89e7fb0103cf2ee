"""Secrets found in a text, the text without them, and where its chunks then begin."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from attrs import evolve, frozen

from buffr.interaction import Chunk
from buffr.redaction.pseudonym import (
    CONSTANT,
    COUNTED,
    COUNTED_MARK,
    HEX_MARK,
    MARK,
    NO_DIGEST,
    STAND_IN,
)

__all__ = [
    "Edit",
    "SecretSpan",
    "collapsed",
    "has_stand_in",
    "is_binary",
    "nameless",
    "new_offsets",
    "recut",
    "replaced",
    "rescaled",
    "settled",
    "stand_ins",
]

_CONSTANT = re.compile(CONSTANT)
_COUNTED = re.compile(COUNTED)
_BARE = re.compile(STAND_IN)
_UPPER_MARK = HEX_MARK.upper()
_DIGEST_ONLY = re.compile(rb"REDACTED_[0-9a-f]{8}")
_DIGEST = re.compile(rb"(?:-|0000)([0-9a-fA-F]{8})\Z")
_CONTINUATION = bytes(range(0x80, 0xC0))
_AT_EDGE = 4


Edit = tuple[int, int, int]
"""A change in a text: where it started and ended, and the length of the stand-in."""


@frozen
class SecretSpan:
    """A secret at ``text[start:end]``.

    ``name`` is the name for its stand-in, ``secret`` its plain value, however
    the text spells it. ``rule`` says what found it. ``quotes``: the stand-in
    needs quotes, as it replaces a JSON number. ``digest``: its digest does not
    help to guess it. ``doubtful``: its name may mean something else than a
    credential. ``counted``: match keys include its pseudonym.
    """

    start: int
    end: int
    name: bytes
    secret: bytes
    rule: str
    quotes: bool = False
    digest: bool = True
    doubtful: bool = False
    counted: bool = False


def settled(found: Iterable[SecretSpan]) -> list[SecretSpan]:
    """The secrets in order, overlapping ones merged: the first and longest determines the name.

    Secrets that count in match keys never overlap those that do not: the
    latter are found alike in every recording, including old ones.
    """
    every = list(found)
    if not any(each.counted for each in every):
        return _merged(every)
    constant = _merged(each for each in every if not each.counted)
    beside = [each for each in every if each.counted and not _overlaps(each, constant)]
    return sorted([*constant, *_merged(beside)], key=lambda one: one.start)


def _overlaps(one: SecretSpan, others: Sequence[SecretSpan]) -> bool:
    """Whether it overlaps any of the others, which are in order and disjoint."""
    at = bisect_right(others, one.start, key=lambda other: other.end)
    return at < len(others) and others[at].start < one.end


def _merged(found: Iterable[SecretSpan]) -> list[SecretSpan]:
    kept: list[SecretSpan] = []
    # The shape of a token says more than a name with many meanings, such as "token".
    for each in sorted(found, key=lambda one: (one.start, -one.end, one.doubtful)):
        if kept and each.start < kept[-1].end:
            if each.end > kept[-1].end:
                kept[-1] = evolve(kept[-1], end=each.end)
        else:
            kept.append(each)
    return kept


def replaced(
    text: bytes,
    found: Sequence[SecretSpan],
    stand_in: Callable[[SecretSpan], bytes],
    *,
    fit: bool = False,
) -> tuple[bytes, list[Edit]]:
    """The text with a stand-in for each secret, and the changes.

    In a binary text, or to ``fit``, a stand-in is as long as the secret, so
    that lengths and offsets in such formats stay correct.
    """
    parts: list[bytes] = []
    edits: list[Edit] = []
    binary = fit or is_binary(text)
    at = 0
    for each in found:
        instead = stand_in(each)
        if binary:
            instead = _fitted(instead, each.end - each.start)
        elif each.quotes:
            instead = b'"' + instead + b'"'
        parts += (text[at : each.start], instead)
        edits.append((each.start, each.end, len(instead)))
        at = each.end
    parts.append(text[at:])
    return b"".join(parts), edits


def _fitted(stand_in: bytes, size: int) -> bytes:
    return stand_in[:size].rstrip(b"-").ljust(size, b"0")


def is_binary(text: bytes) -> bool:
    """Whether a text, which may be cut out of a longer one, is not UTF-8."""
    if b"\0" in text:
        return True
    middle = text[:-_AT_EDGE].lstrip(_CONTINUATION) if len(text) > 2 * _AT_EDGE else text
    end = len(middle)
    try:
        middle.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start < end - _AT_EDGE or len(text) <= 2 * _AT_EDGE
    return False


def new_offsets(offsets: Iterable[int], edits: Iterable[Edit]) -> Iterator[int]:
    """Where ascending offsets of the old text are in the new one.

    An offset inside a secret moves to the end of its stand-in.
    """
    coming = iter(edits)
    edit = next(coming, None)
    moved = 0
    for offset in offsets:
        while edit is not None and edit[1] <= offset:
            moved += edit[2] - (edit[1] - edit[0])
            edit = next(coming, None)
        if edit is not None and edit[0] < offset:
            yield edit[0] + moved + edit[2]
        else:
            yield offset + moved


def collapsed(text: bytes, data: re.Pattern[bytes] | None = None) -> bytes:
    """The text with equal stand-ins for all credentials, so that it reveals nothing about them.

    Stand-ins that ``data`` matches as a whole stay: their names may mean data.
    Of those that count in match keys only the digests stay.
    """
    if not has_stand_in(text):
        return text
    text = _COUNTED.sub(_counted_digest, text)
    if data is None:
        return _CONSTANT.sub(STAND_IN, text)
    return _CONSTANT.sub(lambda one: one[0] if data.fullmatch(one[0]) else STAND_IN, text)


def stand_ins(text: bytes) -> list[SecretSpan]:
    """The stand-ins in a text, in order, including those that reveal nothing."""
    if STAND_IN not in text and not has_stand_in(text):
        return []
    every = [*_COUNTED.finditer(text), *_CONSTANT.finditer(text), *_BARE.finditer(text)]
    return _merged(SecretSpan(*one.span(), b"", one[0], "stand-in") for one in every)


def has_stand_in(text: bytes) -> bool:
    """Whether a text may have a stand-in that distinguishes secrets."""
    return MARK in text or COUNTED_MARK in text or HEX_MARK in text or _UPPER_MARK in text


def nameless(text: bytes) -> bytes:
    """The text with stand-ins that distinguish secrets, but not where each was found.

    An ``access_token`` in an answer comes back as ``authorization``.
    """
    if not has_stand_in(text):
        return text
    return _CONSTANT.sub(_digest_alone, _COUNTED.sub(_counted_digest, text))


def _counted_digest(found: re.Match[bytes]) -> bytes:
    if _DIGEST_ONLY.fullmatch(found[0]):
        return found[0]  # already done
    digest = next(filter(None, found.groups()), b"")
    return COUNTED_MARK + (b"" if digest == NO_DIGEST else digest.lower())


def _digest_alone(found: re.Match[bytes]) -> bytes:
    digest = _DIGEST.search(found[0])
    if digest is None or digest[1] == NO_DIGEST:
        return STAND_IN
    return b"REDACTED-" + digest[1].lower()


def recut(chunks: Sequence[Chunk], edits: Iterable[Edit]) -> tuple[Chunk, ...]:
    """The chunks of the new body, divided where the old one was.

    A stand-in goes whole into the chunk in which the secret began. A chunk
    that becomes empty is dropped, and its delay is added to the next one.
    """
    return tuple(_at(chunks, new_offsets(_ends(chunks), edits)))


def rescaled(chunks: Sequence[Chunk], old_bytes: int, new_bytes: int) -> tuple[Chunk, ...]:
    """The same for a body that was encoded again: divided in the old proportions."""
    if not old_bytes:
        return tuple(chunks)
    return tuple(_at(chunks, (end * new_bytes // old_bytes for end in _ends(chunks))))


def _ends(chunks: Sequence[Chunk]) -> Iterator[int]:
    return accumulate(chunk.size_bytes for chunk in chunks)


def _at(chunks: Sequence[Chunk], ends: Iterable[int]) -> Iterator[Chunk]:
    start = waited_ms = after = 0
    for chunk, end in zip(chunks, ends, strict=True):
        waited_ms += chunk.delay_ms
        after = max(after, chunk.after)
        if end > start or (chunk.after and not chunk.size_bytes):
            yield Chunk(end - start, waited_ms, after)
            start, waited_ms, after = end, 0, 0
