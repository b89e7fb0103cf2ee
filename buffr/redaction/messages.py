"""Secrets in the fields of protobuf's messages, found as in JSON and replaced on the wire.

A message stays one that its programs can read: a text becomes a stand-in, a
number zero, and lengths follow. What no descriptor declares is searched as it
is, and keeps its length.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from attrs import define, frozen

from buffr.formats.grpc import COMPRESSED, END_OF_STREAM, TRAILERS, Framed, framed, frames
from buffr.formats.protobuf.bodies import Messages, from_base64
from buffr.formats.protobuf.leaves import FieldKind, Leaf, Leaves, Replacement
from buffr.redaction.spans import Edit, SecretSpan

__all__ = ["MessageText", "message_text"]

_PREFIX_BYTES = 5


@frozen(eq=False)
class _Part:
    """A message of a body, at ``start`` in its text. ``leaves`` is ``None`` for what is none."""

    frame: Framed
    start: int
    leaves: Leaves | None


@define(eq=False)
class MessageText:
    """The messages of a body as one JSON ``text``, which can be searched, and the body itself."""

    text: bytes
    _messages: Messages
    _body: bytes
    _parts: Sequence[_Part]

    def replaced(
        self,
        found: Sequence[SecretSpan],
        stand_in: Callable[[SecretSpan], bytes],
        opaque: Callable[[bytes], bytes],
    ) -> tuple[bytes, list[Edit] | None] | None:
        """The body with stand-ins, and the changes; ``None`` if nothing was replaced.

        ``found`` are the secrets in the text. ``opaque`` returns bytes of
        unknown meaning without theirs, in the same length. The changes are
        ``None`` for a body in base64, which is encoded anew.
        """
        replacements: list[Replacement] = []
        for part in self._parts:
            replacements += self._in_part(part, found, stand_in, opaque)
        if not replacements:
            return None
        body = _applied(self._body, replacements)
        if self._messages.framing.base64:
            return b64encode(body), None
        return body, [(start, end, len(new)) for start, end, new in replacements]

    def _in_part(
        self,
        part: _Part,
        found: Sequence[SecretSpan],
        stand_in: Callable[[SecretSpan], bytes],
        opaque: Callable[[bytes], bytes],
    ) -> list[Replacement]:
        content = part.frame.content
        if part.leaves is None:
            hidden = opaque(content)
            changes = [] if hidden == content else [(0, len(content), hidden)]
        else:
            changed = dict(_changed(part, found, stand_in, opaque))
            changes = part.leaves.replacements(changed) if changed else []
        return self._placed(part.frame, changes) if changes else []

    def _placed(self, one: Framed, changes: list[Replacement]) -> list[Replacement]:
        """Changes in a message as changes in the body. A compressed message is stored plain."""
        if not self._messages.framing.enveloped:
            return changes
        if one.compressed:
            content = _applied(one.content, changes)
            return [(one.start, one.end, framed(one.flags & ~COMPRESSED, content))]
        at = one.start + _PREFIX_BYTES
        size = len(one.content) + sum(len(new) - (end - start) for start, end, new in changes)
        inner = [(at + start, at + end, new) for start, end, new in changes]
        if size == len(one.content) or not one.whole:
            return inner
        return [(one.start + 1, at, size.to_bytes(4, "big")), *inner]


def message_text(messages: Messages, body: bytes, most_bytes: int) -> MessageText | None:
    """The text of a body; ``None`` if its framing is damaged, or it is too long inflated.

    Messages that are not of a declared type are not part of the text.
    """
    if messages.framing.base64:
        try:
            body = from_base64(body)
        except ValueError:
            return None
    text = bytearray(b"[" if messages.several else b"")
    parts: list[_Part] = []
    try:
        for one in _frames(messages, body, most_bytes):
            leaves = None
            if not one.flags & (TRAILERS | END_OF_STREAM):
                leaves = _leaves(one.content, messages)
            if leaves is not None and parts and text[-1:] not in b"[":
                text += b","
            parts.append(_Part(one, len(text), leaves))
            if leaves is not None:
                text += leaves.text
    except ValueError:
        return None
    text += b"]" if messages.several else b""
    return MessageText(bytes(text), messages, body, parts)


def _frames(messages: Messages, body: bytes, most_bytes: int) -> Iterator[Framed]:
    if messages.framing.enveloped:
        return frames(body, most_bytes, cut=True)
    return iter((Framed(0, 0, len(body), body),))


def _leaves(content: bytes, messages: Messages) -> Leaves | None:
    if messages.type is None:
        return None
    for cut in (False, True):
        with suppress(ValueError):
            return Leaves(content, messages.type.layout, cut)
    return None


def _changed(
    part: _Part,
    found: Sequence[SecretSpan],
    stand_in: Callable[[SecretSpan], bytes],
    opaque: Callable[[bytes], bytes],
) -> Iterator[tuple[int, bytes]]:
    """The leaves with secrets, by their numbers, with their new bytes."""
    leaves = part.leaves
    assert leaves is not None
    at = 0
    in_text = sorted((leaf.at, number) for number, leaf in enumerate(leaves.leaves) if leaf.to)
    for start, number in in_text:
        leaf = leaves.leaves[number]
        while at < len(found) and found[at].end <= part.start + start:
            at += 1
        inside = list(_until(found, at, part.start + leaf.to))
        if inside:
            yield number, _without(leaves, part.start, leaf, inside, stand_in)
    for number, leaf in enumerate(leaves.leaves):
        if leaf.opaque:
            content = leaves.data[leaf.start : leaf.end]
            hidden = opaque(content)
            if hidden != content:
                yield number, hidden


def _until(found: Sequence[SecretSpan], at: int, end: int) -> Iterator[SecretSpan]:
    while at < len(found) and found[at].start < end:
        yield found[at]
        at += 1


def _without(
    leaves: Leaves,
    offset: int,
    leaf: Leaf,
    found: Iterable[SecretSpan],
    stand_in: Callable[[SecretSpan], bytes],
) -> bytes:
    """The new bytes of a leaf."""
    if leaf.kind not in (FieldKind.TEXT, FieldKind.BYTES):
        return leaf.zeros(leaves.data)
    pieces: list[bytes] = []
    at = leaf.at
    for one in found:
        instead = stand_in(one)
        if leaf.base64:
            return instead
        start, end = max(one.start - offset, at), min(one.end - offset, leaf.to)
        pieces += (bytes(leaves.text[at:start]), instead)
        at = end
    pieces.append(bytes(leaves.text[at : leaf.to]))
    try:
        text: str = json.loads(b'"%b"' % b"".join(pieces), strict=False)
    except ValueError:  # a secret that begins or ends within an escape
        return b"".join(pieces[1::2])
    return text.encode()


def _applied(data: bytes, replacements: Iterable[Replacement]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for start, end, new in replacements:
        pieces += (data[at:start], new)
        at = end
    return b"".join((*pieces, data[at:]))
