"""Bodies that take long to read: their meaning, in bounded memory and with pauses.

A body is read piece by piece from its source, once or twice. The result is
kept as one text only if something in it must be parsed, and no more than
``limit_bytes`` of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256

from attrs import define, field, frozen

from buffr.formats.codings import BadCoding, are_known, decoding
from buffr.matching.aws_chunked import BadChunks, ChunkDecoder, unframed_by_signatures
from buffr.matching.body import (
    IN_MEMORY,
    BodyKind,
    BodyRules,
    LongBody,
    digest_value,
    shortened,
    under_coding,
    unmistakable,
    with_trailers,
)
from buffr.matching.multipart import BoundaryReplacer
from buffr.matching.pieces import Pause, Piece, Text, digest_of_pieces, joined, size_of
from buffr.redaction.own_credentials import KnownSecrets

__all__ = ["ReadLong", "Source", "long_body"]

Source = Callable[[], Iterable[bytes]]
"""Gives the pieces of a body, as received or as stored, from its start each time."""

_FIRST_BYTES = 4096


ReadLong = Callable[[Source, Pause], LongBody]
"""Computes the values of a body. Raises what the source raises."""


def long_body(
    rules: BodyRules,
    kind: BodyKind,
    known: KnownSecrets,
    limit_bytes: int,
    source: Source,
    pause: Pause,
) -> LongBody:
    """The values of a body. Raises what ``source`` raises."""
    kind = kind.beginning(next(iter(source()), b""))
    return _Reader(rules, kind, known, source, limit_bytes, pause).body()


@define(eq=False)
class _ReadStream:
    """A stream that was read to its end: its digest, and its text if it is not too long.

    ``needed``: its digest alone does not suffice.
    """

    size_bytes: int = 0
    needed: bool = False
    text: bytearray | None = field(factory=bytearray)
    digest: str = ""

    @property
    def over(self) -> bool:
        return self.needed and self.text is None


@frozen(eq=False)
class _Reader:
    rules: BodyRules
    kind: BodyKind
    known: KnownSecrets
    source: Source
    limit_bytes: int
    pause: Pause

    def body(self) -> LongBody:
        return self._messages() or self._body()

    def _messages(self) -> LongBody | None:
        """The values of messages of a declared type that are not too long for rules."""
        messages = self.kind.messages
        if messages is None or messages.type is None:
            return None
        text, raw = bytearray(), sha256()
        for piece in self.source():
            raw.update(piece)
            text += piece
            if len(text) > self.limit_bytes:
                return None
            self.pause()
        body = bytes(text)
        meant = self.rules.value_of_messages(
            messages, self.kind, body, self.known, self.limit_bytes
        )
        if meant is None:
            return None
        self.pause()
        return LongBody(
            shortened(meant), self.rules.exact(self.kind, body, self.known), raw.digest()
        )

    def _body(self) -> LongBody:
        raw, stored = sha256(), sha256()
        size = 0

        def came() -> Iterator[bytes]:
            nonlocal size
            for piece in self.source():
                raw.update(piece)
                size += len(piece)
                self.pause()
                yield piece

        def as_stored() -> Iterator[bytes]:
            for piece in self._redacted(came()):
                stored.update(piece)
                yield piece

        undone = self.rules.normalise.content_coding
        if undone and self.kind.coded and are_known(self.kind.codings):
            for _ in came():
                pass
            exact = digest_value(raw.hexdigest())
            if size <= IN_MEMORY:
                exact = self.rules.value_of(self.kind, b"".join(self.source()), self.known)
            meant, over = self._tried(self._decoded)
        elif undone and self.kind.aws_chunked:
            stream = as_stored()
            meant, over = self._tried(lambda: self._unframed(stream))
            for _ in stream:
                pass
            exact = digest_value(stored.hexdigest())
        elif (hidden := self._hidden()) is not None:
            meant = exact = hidden
            over = False
            for _ in came():
                pass
        else:
            meant, over = self._plain(self._collapsed(as_stored()), self.source)
            exact = digest_value(stored.hexdigest())
        return LongBody(meant, exact, raw.digest(), over)

    def _redacted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        stretches = self.rules.redaction.stretches(self.kind.media_type, self.known)
        return stretches.over(pieces)

    def _collapsed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        return self.rules.redaction.collapsing().over(pieces)

    def _hidden(self) -> bytes | None:
        """The value of a body that is compared under its coding, if some of it is redacted."""
        kind, redaction = self.kind, self.rules.redaction
        if not kind.coded or kind.aws_chunked or not are_known(kind.codings):
            return None
        found, stored = redaction.stretches(kind.media_type, self.known), redaction.collapsing()
        try:
            taken = self._take(stored.over(found.over(decoding(kind.codings, self.source()))))
        except BadCoding:
            return None
        if not (found.changed or stored.changed):
            return None
        if taken.text is None or taken.size_bytes > IN_MEMORY:
            return under_coding(kind.codings, digest_value(taken.digest))
        return under_coding(kind.codings, unmistakable(bytes(taken.text)))

    def _tried(self, read: Callable[[], tuple[bytes, bool]]) -> tuple[bytes, bool]:
        """What was read; the body unchanged if it does not match its declared coding."""
        try:
            return read()
        except BadCoding:
            return self._plain(self._collapsed(self._redacted(self.source())), self.source)
        except BadChunks:
            found = self._by_signatures()
            if found is None:
                return self._plain(self._collapsed(self._redacted(self.source())), self.source)
            return found, False

    def _plain(self, redacted: Iterable[bytes], source: Source) -> tuple[bytes, bool]:
        """The value of a body without codings, and whether it is too long for rules."""
        taken = self._take(redacted)
        if taken.text is not None:
            return self._value(taken.text), False
        if taken.over and self.kind.boundary is not None and self.rules.normalise.multipart:
            # Without its boundary, at least.
            taken = self._take(self._redacted(BoundaryReplacer(self.kind.boundary).over(source())))
            return digest_value(taken.digest), True
        return digest_value(taken.digest), taken.over

    def _decoded(self) -> tuple[bytes, bool]:
        """The same for the decoded content."""
        if self.kind.aws_chunked:
            unframing = ChunkDecoder()
            with suppress(BadChunks):
                meant, over = self._under_codings(lambda: unframing.over(self.source()))
                return with_trailers(meant, unframing.trailers), over
        return self._under_codings(self.source)

    def _under_codings(self, source: Source) -> tuple[bytes, bool]:
        def plain() -> Iterator[bytes]:
            return decoding(self.kind.codings, source())

        return self._plain(self._collapsed(self._redacted(plain())), plain)

    def _unframed(self, stream: Iterable[bytes]) -> tuple[bytes, bool]:
        """The same for an aws-chunked payload."""
        unframing = ChunkDecoder()
        meant, over = self._plain(
            unframing.over(stream), lambda: ChunkDecoder().over(self._redacted(self.source()))
        )
        return with_trailers(meant, unframing.trailers), over

    def _by_signatures(self) -> bytes | None:
        """The value of stored chunks whose sizes no longer fit, if they fit into memory."""
        taken = self._take(self._redacted(self.source()), needed=True)
        if taken.text is None:
            return None
        found = unframed_by_signatures(bytes(taken.text))
        if found is None:
            return None
        payload, trailers = found
        return with_trailers(self._value(bytearray(payload)), trailers)

    def _take(self, pieces: Iterable[bytes], *, needed: bool = False) -> _ReadStream:
        taken = _ReadStream(needed=needed)
        hashed = sha256()
        for piece in pieces:
            hashed.update(piece)
            if not taken.size_bytes:
                start = piece[:_FIRST_BYTES]
                taken.needed = needed or self.rules.reads(self.kind, start)
            taken.size_bytes += len(piece)
            if taken.text is not None:
                taken.text += piece
                if len(taken.text) > (self.limit_bytes if taken.needed else IN_MEMORY):
                    taken.text = None
            self.pause()
        taken.digest = hashed.hexdigest()
        return taken

    def _value(self, text: Text) -> bytes:
        text = self.rules.ignore.replaced_in(self.rules.part, text, self.pause)
        pieces: list[Piece] = self.rules.meaning(self.kind, text, None, self.pause)
        if size_of(pieces) <= IN_MEMORY:
            return unmistakable(joined(pieces))
        return digest_value(digest_of_pieces(pieces, self.pause))
