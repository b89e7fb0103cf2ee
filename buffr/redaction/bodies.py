"""Redacted bodies.

A body without a finding is unchanged, byte for byte. A body with a content
coding is decoded for the search, and encoded again if something was replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

from attrs import frozen

from buffr.formats.codings import (
    BadCoding,
    are_known,
    are_plain,
    decoded,
    decoding,
    encoded,
    encoding,
    unlabelled,
)
from buffr.formats.protobuf.bodies import Messages
from buffr.interaction import Body
from buffr.message import Headers, media_type
from buffr.redaction.charsets import as_searched
from buffr.redaction.messages import message_text
from buffr.redaction.own_credentials import KnownSecrets
from buffr.redaction.scanner import Scanner
from buffr.redaction.spans import Edit, SecretSpan, is_binary, replaced, settled
from buffr.redaction.streaming import ON_A_THREAD, StreamRedactor
from buffr.transport.spool import Spool

__all__ = ["Bodies", "Redacted", "described", "holds_more"]

_IN_MEMORY = 32 << 20
_JSON = b"application/json"
_MOST_DECODED = 1 << 30
_PIECE_BYTES = 256 * 1024


@frozen
class Redacted:
    """A redacted body: what is stored instead of the original.

    ``edits`` are the changes; ``None`` if the body was encoded again, or had
    too many changes to list.
    """

    body: Body
    edits: Sequence[Edit] | None


@frozen(eq=False)
class Bodies:
    """Searches bodies, in memory or in files, which are read in pieces.

    ``stand_in`` returns the replacement for a secret. ``spool`` creates a file
    for a large body. JSONPaths are applied to documents of up to
    ``document_bytes``. ``unsafe`` is called with the reason if a body cannot
    be searched; if it returns, the bytes are searched undecoded. With
    ``pieces``, secrets spread over the lines of a body in memory are found,
    too.
    """

    scanner: Scanner
    stand_in: Callable[[SecretSpan], bytes]
    spool: Callable[[], Spool]
    unsafe: Callable[[str], None]
    document_bytes: int = 32 << 20
    pieces: bool = False

    def redacted(
        self,
        body: Body,
        headers: Headers,
        known: KnownSecrets,
        *,
        whole: bool = True,
        messages: Messages | None = None,
    ) -> Redacted | None:
        """What is stored for a body; ``None`` if it is unchanged.

        ``whole`` is false for a body that was cut off. ``messages`` are
        protobuf's.
        """
        if not body.size_bytes:
            return None
        kind, codings = described(headers)
        if messages is not None:
            found = self._in_messages(messages, body, codings, known)
            if found is not None:
                return found if found.body is not body else None
        gzip = b"" if codings else _unlabelled(body)
        if not gzip:
            return self._redacted(body, kind, codings, known, whole=whole)
        # Without a header field that says gzip, a body may begin like gzip and continue otherwise.
        found = self._redacted(body, kind, gzip, known, whole=False)
        if found is not None and whole and _is_broken(gzip, body):
            self.unsafe("it begins like gzip and contains a credential, but is not gzip")
        return found

    def _redacted(
        self, body: Body, kind: bytes, codings: bytes, known: KnownSecrets, *, whole: bool
    ) -> Redacted | None:
        if body.file is None:
            plain = self._decoded(codings, body.data, whole=whole)
            if plain is not None:
                return self._in_memory(plain, kind, codings, known)
        return self._in_pieces(body, kind, codings, known, whole=whole)

    def _in_messages(
        self, messages: Messages, body: Body, codings: bytes, known: KnownSecrets
    ) -> Redacted | None:
        """What is stored for messages, ``body`` itself if it is unchanged.

        ``None`` if it has to be searched as bytes of any kind.
        """
        if messages.type is None and body.size_bytes > self.document_bytes:
            return None  # as for its match key
        if body.size_bytes > _IN_MEMORY:
            self.unsafe(f"it is too large for a search by field ({body.size_bytes} bytes)")
            return None
        data = b"".join(_pieces(body))
        if codings:
            undone = decoded(codings, data, limit_bytes=_IN_MEMORY)
            if undone is None:
                return None
            data = undone
        text = message_text(messages, data, _IN_MEMORY)
        if text is None:
            return None
        found = self.scanner.in_body(text.text, _JSON, known)
        hidden = text.replaced(found, self.stand_in, partial(self._opaque, known))
        if hidden is None:
            return Redacted(body, None)
        plain, edits = hidden
        if codings:
            return Redacted(Body.of(encoded(codings, plain)), None)
        return Redacted(Body.of(plain), edits)

    def _opaque(self, known: KnownSecrets, content: bytes) -> bytes:
        """Bytes that may be anything, without secrets, in the same length."""
        found = self.scanner.in_body(content, b"", known)
        return replaced(content, found, self.stand_in, fit=True)[0] if found else content

    def found(self, body: Body, headers: Headers, known: KnownSecrets) -> Iterator[SecretSpan]:
        """The secrets in a body. In a long one, their positions are relative to its stretches."""
        kind, codings = described(headers)
        codings = codings or _unlabelled(body)
        if body.file is None:
            plain = self._decoded(codings, body.data, whole=True)
            if plain is not None:
                yield from self._found_in(as_searched(plain)[0], kind, known)
                return
        found: list[SecretSpan] = []

        def note(one: SecretSpan) -> bytes:
            found.append(one)
            return b""

        stretches = self._stretches(kind, known, note)
        for _ in stretches.over(self._plain(body, codings if are_known(codings) else b"")):
            yield from found
            found.clear()
        yield from found

    def _in_memory(
        self, plain: bytes, kind: bytes, codings: bytes, known: KnownSecrets
    ) -> Redacted | None:
        searched, charset = as_searched(plain)
        found = self._found_in(searched, kind, known)
        if not found:
            return None
        text, edits = replaced(searched, found, self.stand_in)
        if charset is not None:
            text = charset.encoded(text)
        if codings and are_known(codings):
            return Redacted(Body.of(encoded(codings, text)), None)
        return Redacted(Body.of(text), edits if charset is None else None)

    def _found_in(self, text: bytes, kind: bytes, known: KnownSecrets) -> list[SecretSpan]:
        found = self.scanner.in_body(text, kind, known)
        if self.pieces and b"\n" in text:
            found = settled([*found, *self.scanner.in_pieces([text], known).get(0, ())])
        return found

    def _decoded(self, codings: bytes, data: bytes, *, whole: bool) -> bytes | None:
        """A decoded body in memory; ``None`` if it is too large for that."""
        if not codings:
            return data
        if not are_known(codings):
            self.unsafe(f"its Content-Encoding {codings.decode('latin-1')} is unknown")
            return data
        plain = decoded(codings, data, limit_bytes=_IN_MEMORY)
        if plain is not None:
            return plain
        return None if _begins_coded(codings, data) or not whole else self._as_it_is(codings, data)

    def _as_it_is(self, codings: bytes, data: bytes) -> bytes:
        if is_binary(data):
            self.unsafe(f"it does not match its Content-Encoding {codings.decode('latin-1')}")
        return data

    def _in_pieces(
        self, body: Body, kind: bytes, codings: bytes, known: KnownSecrets, *, whole: bool
    ) -> Redacted | None:
        if self.scanner.places and body.size_bytes > self.document_bytes:
            self.unsafe(f"it is too large for a JSONPath search ({body.size_bytes} bytes)")
        elif self.scanner.places and body.file is not None:
            data = b"".join(_pieces(body))
            return self.redacted(Body.of(data), ((b"content-type", kind),), known)
        known_codings = codings if are_known(codings) else b""
        if codings and not known_codings:
            self.unsafe(f"its Content-Encoding {codings.decode('latin-1')} is unknown")

        def plain() -> Iterator[bytes]:
            return self._plain(body, known_codings, whole=whole)

        stretches = self._stretches(kind, known)
        for _ in stretches.over(plain()):
            if stretches.changed:
                break
        if not stretches.changed:
            return None
        stretches = self._stretches(kind, known)
        spool = self.spool()
        for piece in encoding(known_codings, stretches.over(plain())):
            spool.write(piece)
        edits = None if known_codings or stretches.overfull else stretches.edits
        return Redacted(_body_of(spool), edits)

    def _stretches(
        self,
        kind: bytes,
        known: KnownSecrets,
        stand_in: Callable[[SecretSpan], bytes] | None = None,
    ) -> StreamRedactor:
        return StreamRedactor(
            lambda text, begins: self.scanner.in_stretch(text, kind, known, begins=begins),
            stand_in or self.stand_in,
            ON_A_THREAD,
        )

    def _plain(self, body: Body, codings: bytes, *, whole: bool = True) -> Iterator[bytes]:
        """A decoded body, in pieces.

        A damaged body yields as much as decodes, or its bytes undecoded.
        """
        if not codings:
            yield from _pieces(body)
            return
        size = 0
        try:
            for piece in decoding(codings, _pieces(body)):
                size += len(piece)
                if size > _MOST_DECODED:
                    self.unsafe("it is too large when decoded")
                    return
                yield piece
        except BadCoding:
            if whole:
                self.unsafe(f"it does not match its Content-Encoding {codings.decode('latin-1')}")
            if not size:
                yield from _pieces(body)


@lru_cache(maxsize=512)
def described(headers: Headers) -> tuple[bytes, bytes]:
    """The media type of a body, and its content codings if it has any. Most sections recur."""
    return media_type(headers), _codings(headers)


def _codings(headers: Headers) -> bytes:
    named = [value for name, value in headers if name.lower() == b"content-encoding"]
    if not named:
        return b""
    codings = b",".join(named)
    return b"" if are_plain(codings) else codings


def holds_more(body: Body, headers: Headers, size_bytes: int) -> bool:
    """Whether a body in memory decodes to more than this size, at any step.

    A body that does not match its codings counts as well, as its size is
    unknown.
    """
    if body.file is not None:
        return False
    codings = described(headers)[1] or _unlabelled(body)
    if not codings or not are_known(codings):
        return False
    return decoded(codings, body.data, limit_bytes=size_bytes) is None


def _unlabelled(body: Body) -> bytes:
    """The coding of a gzip body whose header fields do not declare it."""
    return unlabelled(body.data if body.file is None else next(_pieces(body), b""))


def _is_broken(codings: bytes, body: Body) -> bool:
    try:
        for _ in decoding(codings, _pieces(body)):
            pass
    except BadCoding:
        return True
    return False


def _begins_coded(codings: bytes, data: bytes) -> bool:
    try:
        return bool(next(decoding(codings, (data,)), b""))
    except BadCoding:
        return False


def _pieces(body: Body) -> Iterator[bytes]:
    path: Path | None = body.file
    if path is None:
        yield body.data
        return
    with path.open("rb", buffering=0) as file:
        offset = 0
        while True:
            # Other readers of an open file move its position.
            file.seek(offset)
            piece = file.read(_PIECE_BYTES)
            if not piece:
                return
            offset += len(piece)
            yield piece


def _body_of(spool: Spool) -> Body:
    if spool.path is None:
        return Body.of(spool.read(0, spool.size_bytes))
    return Body(size_bytes=spool.size_bytes, file=spool.path)
